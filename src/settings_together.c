/* Settings that name servers of others: whether they can be understood and go together. */
#include <stdio.h>

#include "endpoints.h"
#include "settings_rows.h"

static bool check_redis(const struct settings *settings, char *error)
{
    const char *list = settings->redis_sentinels;
    char host[ENDPOINT_HOST_ROOM];
    uint16_t port;

    while (endpoint_next(&list, host, &port))
        ;
    if (*list != '\0') {
        snprintf(
            error, SETTING_ERROR_BYTES,
            "redis_sentinels must be host:port, comma separated; \"%.60s\" cannot be understood",
            list);
        return false;
    }
    if ((settings->redis_tls_cert[0] == '\0') != (settings->redis_tls_key[0] == '\0')) {
        snprintf(error, SETTING_ERROR_BYTES,
                 "redis_tls_cert and redis_tls_key go together; only one is set");
        return false;
    }
    return true;
}

static bool check_turn(const struct settings *settings, char *error)
{
    const char *list = settings->turn_urls;
    char url[ICE_URL_ROOM];

    while (ice_url_next(&list, url))
        ;
    if (*list == '\0')
        return true;
    snprintf(error, SETTING_ERROR_BYTES,
             "turn_urls must be stun:, stuns:, turn: or turns: URLs, comma separated; \"%.60s\" is "
             "none",
             list);
    return false;
}

/* Secrets are not looked at: only the control plane is given them (see rooms_open). */
bool settings_check_servers(const struct settings *settings, char *error)
{
    return check_redis(settings, error) && check_turn(settings, error);
}
