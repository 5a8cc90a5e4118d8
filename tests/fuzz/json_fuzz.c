/* uses: controlplane */
/* Parses arbitrary bytes as JSON. A value that is accepted can be printed, and parsed again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    cJSON *value = json_parse((const char *)data, bytes), *again;
    char *text;

    if (value == NULL)
        return 0;
    text = cJSON_PrintUnformatted(value);
    if (text == NULL)
        abort();
    again = json_parse(text, strlen(text));
    if (again == NULL)
        abort();
    cJSON_Delete(again);
    cJSON_free(text);
    cJSON_Delete(value);
    return 0;
}
