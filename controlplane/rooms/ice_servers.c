/* iceServers: STUN and TURN servers, with TURN credentials that are valid for a limited time.
 *
 * Source: RFC 7064 and RFC 7065 for the URLs; draft-uberti-behave-turn-rest-00, section 2.2, for
 * the credentials, with a secret that the TURN server knows too:
 *   username = expiry as Unix time in seconds, a colon, the user's id
 *   password = base64(HMAC-SHA1(secret, username)) */
#include "ice_servers.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/persistence.h"
#include "controlplane/web/json.h"
#include "src/clock.h"
#include "src/endpoints.h"

/* The URLs of one scheme, as an array; NULL: the setting has none. */
static cJSON *urls_of(const char *list, const char *scheme, const char *secure_scheme)
{
    char url[ICE_URL_ROOM];
    cJSON *urls = NULL;

    while (ice_url_next(&list, url)) {
        size_t bytes = strcspn(url, ":");

        if ((bytes != strlen(scheme) || strncmp(url, scheme, bytes) != 0) &&
            (bytes != strlen(secure_scheme) || strncmp(url, secure_scheme, bytes) != 0))
            continue;
        if (urls == NULL)
            urls = json_new_array();
        json_push(urls, cJSON_CreateString(url));
    }
    return urls;
}

static void add_credentials(cJSON *server, const struct settings *settings, const char *user_id)
{
    char username[24 + UUID_TEXT_BYTES], password[4 * ((EVP_MAX_MD_SIZE + 2) / 3) + 1];
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;

    snprintf(username, sizeof(username), "%" PRId64 ":%s",
             (int64_t)(clock_wall_ns() / NS_PER_S) + settings->turn_ttl_s, user_id);
    HMAC(EVP_sha1(), settings->turn_secret, (int)strlen(settings->turn_secret),
         (const uint8_t *)username, strlen(username), digest, &bytes);
    EVP_EncodeBlock((uint8_t *)password, digest, (int)bytes);
    cJSON_AddStringToObject(server, "username", username);
    cJSON_AddStringToObject(server, "credential", password);
    explicit_bzero(digest, sizeof(digest));
    explicit_bzero(password, sizeof(password));
}

cJSON *ice_servers(const struct settings *settings, const char *user_id)
{
    cJSON *servers = json_new_array(), *server;
    cJSON *stun = urls_of(settings->turn_urls, "stun", "stuns");
    cJSON *turn =
        settings->turn_secret[0] != '\0' ? urls_of(settings->turn_urls, "turn", "turns") : NULL;

    if (stun != NULL) {
        server = json_new_object();
        json_add(server, "urls", stun);
        json_push(servers, server);
    }
    if (turn != NULL) {
        server = json_new_object();
        json_add(server, "urls", turn);
        add_credentials(server, settings, user_id);
        json_push(servers, server);
    }
    return servers;
}

bool ice_servers_check(const struct settings *settings, char *why)
{
    cJSON *turn = urls_of(settings->turn_urls, "turn", "turns");
    size_t bytes = strlen(settings->turn_secret);
    bool production = settings_in_production(settings), fine = false;

    if (turn != NULL && bytes == 0)
        snprintf(why, 192,
                 "TURN_URLS names TURN servers, but TURN_SECRET is not set: give it the "
                 "static-auth-secret of coturn");
    else if (turn == NULL && bytes != 0)
        snprintf(why, 192, "TURN_SECRET is set, but TURN_URLS names no turn: or turns: server");
    else if (production && bytes != 0 && bytes < 16)
        snprintf(why, 192,
                 "TURN_SECRET is shorter than 16 bytes; make one with: openssl rand -hex 32");
    else
        fine = true;
    cJSON_Delete(turn);
    return fine;
}
