/* The table of routes. */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>

struct route *routes_add(struct routes *routes, const char *method, const char *path,
                         void (*handler)(struct http_request *request), void *context)
{
    struct route *route = &routes->list[routes->count];
    const char *colon = strchr(path, ':');

    if (routes->count == HTTP_ROUTES_MAX || strlen(path) >= sizeof(route->path) ||
        strlen(method) >= sizeof(route->method))
        abort();
    routes->count++;
    memcpy(route->method, method, strlen(method) + 1);
    memcpy(route->path, path, strlen(path) + 1);
    route->has_parameter = colon != NULL;
    if (colon != NULL)
        route->path[colon - path] = '\0';
    route->handler = handler;
    route->context = context;
    return route;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* Percent-decodes one path segment. False when it is malformed, too long or not printable UTF-8. */
static bool decode_segment(struct slice segment, char *to, size_t room)
{
    size_t written = 0;

    for (size_t i = 0; i < segment.bytes; i++) {
        char c = segment.at[i];

        if (c == '%') {
            if (segment.bytes - i < 3 || hex_value(segment.at[i + 1]) < 0 ||
                hex_value(segment.at[i + 2]) < 0)
                return false;
            c = (char)(hex_value(segment.at[i + 1]) << 4 | hex_value(segment.at[i + 2]));
            i += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f || written + 1 >= room)
            return false;
        to[written++] = c;
    }
    to[written] = '\0';
    return utf8_valid(to, written);
}

static bool route_has_path(const struct route *route, struct slice path, struct slice *segment)
{
    size_t fixed = strlen(route->path);

    *segment = (struct slice){"", 0};
    if (!route->has_parameter)
        return slice_is(path, route->path);
    if (path.bytes <= fixed || memcmp(path.at, route->path, fixed) != 0)
        return false;
    *segment = (struct slice){path.at + fixed, path.bytes - fixed};
    return memchr(segment->at, '/', segment->bytes) == NULL;
}

int routes_find(const struct routes *routes, const struct http_head *head,
                const struct route **found, char parameter[ROUTE_PARAMETER_ROOM], char *allow,
                size_t allow_room)
{
    bool is_head = slice_is(head->method, "HEAD");
    struct slice path = head->path;
    size_t used = 0;
    struct slice segment;

    allow[0] = '\0';
    if (path.bytes > 1 && path.at[path.bytes - 1] == '/')
        path.bytes--;
    for (unsigned i = 0; i < routes->count; i++) {
        const struct route *route = &routes->list[i];

        if (!route_has_path(route, route->is_raw ? head->path : path, &segment))
            continue;
        if (route->is_raw || slice_is(head->method, route->method) ||
            (is_head && strcmp(route->method, "GET") == 0)) {
            if (!decode_segment(segment, parameter, ROUTE_PARAMETER_ROOM))
                return 400;
            *found = route;
            return 200;
        }
        used += (size_t)snprintf(allow + used, allow_room - used, "%s%s", used > 0 ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    }
    return used > 0 ? 405 : 404;
}
