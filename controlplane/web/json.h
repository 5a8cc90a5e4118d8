/* Strict JSON for all text from outside: UTF-8, at most 16 levels, at most 256 keys in an object,
 * no key twice, nothing after the value, finite numbers.
 *
 * Memory: the value is the caller's (cJSON_Delete). Errors: NULL for everything else.
 * Source: RFC 8259. */
#ifndef RINGCAST_WEB_JSON_H
#define RINGCAST_WEB_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

cJSON *json_parse(const char *text, size_t bytes);

/* Building an answer. cJSON leaves out what it has no memory for; json_is_complete tells. Build from the
 * outside to the inside: json_new_object or json_new_array first, then what is put into it. NULL: no memory. */
cJSON *json_new_object(void);
cJSON *json_new_array(void);
/* These own the item, even when they fail. */
void json_add(cJSON *object, const char *key, cJSON *item);
void json_push(cJSON *array, cJSON *item);
/* False: the value is NULL, or an allocation has failed since it was made. */
bool json_is_complete(const cJSON *value);

#endif
