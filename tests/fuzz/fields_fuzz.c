/* uses: controlplane */
/* Validates the fields of an arbitrary REST body. A field that is accepted must be within its
 * limits; for each that is refused there must be one error text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/validate.h"
#include "controlplane/web/json.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cJSON *body = json_parse((const char *)data, size), *errors = cJSON_CreateArray();
    char email[256], password[PASSWORD_TEXT_BYTES], line[401];
    uint32_t count;
    int refused = 0;

    if (validate_email(body, true, email, errors))
        check(email_is_valid(email) &&
              strpbrk(email, " \t\r\nABCDEFGHIJKLMNOPQRSTUVWXYZ\"<>") == NULL);
    else
        refused++;
    if (validate_password(body, true, password, errors))
        check(strlen(password) >= 8 && strlen(password) <= 512);
    else
        refused++;
    if (validate_line(body, "displayName", 100, line, sizeof(line), errors))
        check(line[0] > ' ' || line[0] < 0);
    else
        refused++;
    if (validate_count(body, "maxParticipants", 2, 100, 50, &count, errors))
        check(count >= 2 && count <= 100);
    else
        refused++;
    check(cJSON_GetArraySize(errors) == refused);
    cJSON_Delete(errors);
    cJSON_Delete(body);
    return 0;
}
