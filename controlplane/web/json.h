/* Strict JSON for all text from outside: UTF-8, at most 16 levels, at most 256 keys in an object,
 * no key twice, nothing after the value, finite numbers.
 *
 * Memory: the value is the caller's (cJSON_Delete). Errors: NULL for everything else.
 * Source: RFC 8259. */
#ifndef RINGCAST_WEB_JSON_H
#define RINGCAST_WEB_JSON_H

#include <cjson/cJSON.h>
#include <stddef.h>

cJSON *json_parse(const char *text, size_t bytes);

#endif
