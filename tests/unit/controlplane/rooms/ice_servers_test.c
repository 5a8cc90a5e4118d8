/* The STUN and TURN servers that clients are told. */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "controlplane/rooms/ice_servers.h"
#include "rooms_steps.h"

#define SECRET "planted-turn-secret-0123"

/* Joins a new room with these settings, and returns iceServers of the acknowledgement. */
static cJSON *servers_of(const char *urls, const char *secret, const char **user_id)
{
    struct socket *s = connect_user(user(1));
    const char *room = make_room(s);
    cJSON *servers, *again;

    snprintf(settings.turn_urls, sizeof(settings.turn_urls), "%s", urls);
    snprintf(settings.turn_secret, sizeof(settings.turn_secret), "%s", secret);
    servers = cJSON_Duplicate(
        cJSON_GetObjectItem(request(s, "room:join", "{'roomId':'%s'}", room), "iceServers"), 1);
    again = cJSON_GetObjectItem(
        request(s, "media:createTransport", "{'roomId':'%s','direction':'send'}", room),
        "iceServers");
    assert_int_equal(cJSON_GetArraySize(servers), cJSON_GetArraySize(again));
    *user_id = user(1);
    request(s, "room:leave", "{'roomId':'%s'}", room);
    socket_lose(s);
    return servers;
}

static void no_servers(void **state)
{
    const char *who;
    cJSON *servers = servers_of("", "", &who);

    assert_true(cJSON_IsArray(servers));
    assert_int_equal(cJSON_GetArraySize(servers), 0);
    cJSON_Delete(servers);
}

static void stun_needs_no_credentials(void **state)
{
    const char *who;
    cJSON *servers = servers_of("stun:a:1, stuns:b", "", &who);
    char *text = cJSON_PrintUnformatted(servers);

    assert_string_equal(text, "[{\"urls\":[\"stun:a:1\",\"stuns:b\"]}]");
    cJSON_free(text);
    cJSON_Delete(servers);
}

static void turn_gets_credentials(void **state)
{
    int64_t now_s = (int64_t)(clock_wall_ns() / NS_PER_S), expiry;
    const char *who, *username;
    uint8_t digest[EVP_MAX_MD_SIZE], wanted[64];
    unsigned bytes;
    char *rest, *urls;
    cJSON *servers, *server;

    settings.turn_ttl_s = 600;
    servers = servers_of("turn:t?transport=udp,stun:s,turns:t:5349", SECRET, &who);
    assert_int_equal(cJSON_GetArraySize(servers), 2);
    server = cJSON_GetArrayItem(servers, 1);
    urls = cJSON_PrintUnformatted(cJSON_GetObjectItem(server, "urls"));
    assert_string_equal(urls, "[\"turn:t?transport=udp\",\"turns:t:5349\"]");
    cJSON_free(urls);
    username = text_of(server, "username");
    expiry = strtoll(username, &rest, 10);
    assert_in_range(expiry, now_s + 600, (int64_t)(clock_wall_ns() / NS_PER_S) + 600);
    assert_int_equal(*rest, ':');
    assert_string_equal(rest + 1, who);
    HMAC(EVP_sha1(), SECRET, (int)strlen(SECRET), (const uint8_t *)username, strlen(username),
         digest, &bytes);
    assert_int_equal(bytes, 20);
    EVP_EncodeBlock(wanted, digest, (int)bytes);
    assert_string_equal(text_of(server, "credential"), (char *)wanted);
    cJSON_Delete(servers);
}

static void settings_that_contradict_each_other(void **state)
{
    static const struct {
        const char *urls, *secret, *node_env, *why;
    } rows[] = {
        {"", "", "production", NULL},
        {"stun:a", "", "production", NULL},
        {"turn:a", "0123456789abcdef", "production", NULL},
        {"turn:a", "short", "development", NULL},
        {"turn:a", "short", "production", "TURN_SECRET is shorter than 16 bytes"},
        {"turns:a", "", "development", "TURN_SECRET is not set"},
        {"stun:a", "0123456789abcdef", "development", "names no turn: or turns: server"},
        {"", "0123456789abcdef", "development", "names no turn: or turns: server"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct settings some = settings;
        char why[192] = "";

        snprintf(some.turn_urls, sizeof(some.turn_urls), "%s", rows[i].urls);
        snprintf(some.turn_secret, sizeof(some.turn_secret), "%s", rows[i].secret);
        snprintf(some.node_env, sizeof(some.node_env), "%s", rows[i].node_env);
        assert_int_equal(ice_servers_check(&some, why), rows[i].why == NULL);
        if (rows[i].why)
            assert_non_null(strstr(why, rows[i].why));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(no_servers),
        TEST(stun_needs_no_credentials),
        TEST(turn_gets_credentials),
        TEST(settings_that_contradict_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
