/* Where servers are, as settings name them: host:port lists. */
#include "endpoints.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static bool take_port(const char *digits, const char *end, uint16_t *port)
{
    size_t count = strspn(digits, "0123456789");
    unsigned long number = strtoul(digits, NULL, 10);

    if (count == 0 || count > 5 || digits + count != end || number == 0 || number > 65535)
        return false;
    *port = (uint16_t)number;
    return true;
}

/* The host ends where a ']' or ':' says so; a second ':' without brackets is no port. */
static bool take_endpoint(const char *at, const char *end, char *host, uint16_t *port)
{
    const char *host_end, *rest;

    if (*at == '[') {
        at++;
        host_end = memchr(at, ']', (size_t)(end - at));
        if (host_end == NULL)
            return false;
        rest = host_end + 1;
    } else {
        host_end = memchr(at, ':', (size_t)(end - at));
        if (host_end == NULL)
            host_end = end;
        rest = host_end;
    }
    if (host_end == at || host_end - at >= ENDPOINT_HOST_ROOM)
        return false;
    if (rest != end && (*rest != ':' || !take_port(rest + 1, end, port)))
        return false;
    memcpy(host, at, (size_t)(host_end - at));
    host[host_end - at] = '\0';
    return true;
}

bool endpoint_next(const char **list, char host[ENDPOINT_HOST_ROOM], uint16_t *port)
{
    const char *at = *list + strspn(*list, ", "), *end = at + strcspn(at, ", ");

    bool taken = *at != '\0' && take_endpoint(at, end, host, port);

    *list = taken ? end : at;
    return taken;
}
