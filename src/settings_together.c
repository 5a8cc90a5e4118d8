/* Settings that are right one by one but must also fit each other. */
#include <stdio.h>

#include "endpoints.h"
#include "settings_rows.h"

static bool check_ports(const struct settings *settings, char *error)
{
    uint32_t min = settings->media_port_min, max = settings->media_port_max;

    if (max < min)
        return settings_refuse(error,
                               "media_port_max (%u) is below media_port_min (%u): raise "
                               "media_port_max or lower media_port_min",
                               max, min);
    if (settings->workers > max - min + 1)
        return settings_refuse(
            error,
            "workers is %u, but media_port_min (%u) to media_port_max (%u) holds "
            "only %u ports and each worker needs one: lower workers or allow more "
            "ports",
            settings->workers, min, max, max - min + 1);
    return true;
}

static bool check_redis(const struct settings *settings, char *error)
{
    const char *list = settings->redis_sentinels;
    char host[ENDPOINT_HOST_ROOM];
    uint16_t port;

    while (endpoint_next(&list, host, &port))
        ;
    if (*list != '\0')
        return settings_refuse(error,
                               "redis_sentinels has \"%.60s\", which is not host:port: write each "
                               "Sentinel as host:port, comma separated",
                               list);
    if ((settings->redis_tls_cert[0] == '\0') != (settings->redis_tls_key[0] == '\0'))
        return settings_refuse(
            error, "only one of redis_tls_cert and redis_tls_key is set: set both or neither");
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
    return settings_refuse(error,
                           "turn_urls has \"%.60s\", which is not a stun:, stuns:, turn: or turns: "
                           "URL: write URLs like turn:turn.example.org:3478, comma separated",
                           list);
}

/* Secrets are not checked here: only the control plane gets them, and checks them itself. */
bool settings_check_together(const struct settings *settings, char *error)
{
    return check_ports(settings, error) && check_redis(settings, error) &&
           check_turn(settings, error);
}
