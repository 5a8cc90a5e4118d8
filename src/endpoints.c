/* Parses lists of host:port and of STUN and TURN URLs. */
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

/* The host ends at its ']' or at the first ':'. Without brackets a second ':' is an error. */
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

/* ---- STUN and TURN URLs ---- */

/* Letters, digits, dots and dashes; between brackets the characters of an IPv6 address. */
static bool is_host(const char *host, bool bracketed)
{
    const char *wanted = bracketed ? "0123456789abcdefABCDEF:."
                                   : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789.-";

    return host[strspn(host, wanted)] == '\0';
}

static bool is_ice_url(const char *at, const char *end)
{
    static const char *const schemes[] = {"stun:", "stuns:", "turn:", "turns:"};
    static const char *const transports[] = {"?transport=udp", "?transport=tcp"};
    const char *query = memchr(at, '?', (size_t)(end - at));
    char host[ENDPOINT_HOST_ROOM];
    size_t bytes = 0, i;
    uint16_t port;

    for (i = 0; i < 4 && bytes == 0; i++)
        if (strncmp(at, schemes[i], strlen(schemes[i])) == 0)
            bytes = strlen(schemes[i]);
    if (bytes == 0)
        return false;
    if (query != NULL) {
        if (*at != 't' || end - query != 14 ||
            (strncmp(query, transports[0], 14) != 0 && strncmp(query, transports[1], 14) != 0))
            return false;
        end = query;
    }
    at += bytes;
    return at < end && take_endpoint(at, end, host, &port) && is_host(host, *at == '[');
}

bool ice_url_next(const char **list, char url[ICE_URL_ROOM])
{
    const char *at = *list + strspn(*list, ", "), *end = at + strcspn(at, ", ");
    bool taken = at != end && end - at < ICE_URL_ROOM && is_ice_url(at, end);

    if (taken) {
        memcpy(url, at, (size_t)(end - at));
        url[end - at] = '\0';
    }
    *list = taken ? end : at;
    return taken;
}
