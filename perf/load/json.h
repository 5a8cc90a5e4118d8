/* Reading values out of parsed JSON. A missing or wrong value reads as "" or 0. */
#ifndef RINGCAST_LOAD_JSON_H
#define RINGCAST_LOAD_JSON_H

#include <cjson/cJSON.h>
#include <stdint.h>

static inline const cJSON *json_item(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static inline const char *json_text(const cJSON *object, const char *name)
{
    const cJSON *item = json_item(object, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static inline double json_number(const cJSON *object, const char *name)
{
    const cJSON *item = json_item(object, name);

    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

#endif
