/* Allowed origins, the client behind trusted proxies, and the settings for both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/policy.h"

static struct policy *policy_of(const char *environment, const char *origins, const char *proxies)
{
    struct settings settings = {0};
    char why[192];

    strcpy(settings.node_env, environment);
    strcpy(settings.cors_origins, origins);
    strcpy(settings.trusted_proxies, proxies);
    return policy_open(&settings, why);
}

static void head_of(struct http_head *head, char *text, size_t room, const char *fields)
{
    size_t used;

    snprintf(text, room, "GET / HTTP/1.1\r\nHost: own.example:3000\r\n%s\r\n", fields);
    assert_int_equal(http_head_parse(text, strlen(text), head, &used), 200);
}

static void origins(void **state)
{
    static const struct {
        const char *environment, *origins, *fields, *answer; /* NULL: refused */
    } rows[] = {
        {"development", "", "", ""},
        {"development", "", "Origin: https://evil\r\n", "*"},
        {"production", "", "", ""},
        {"production", "", "Origin: https://evil\r\n", NULL},
        {"production", "", "Origin: http://own.example:3000\r\n", ""},
        {"production", "", "Origin: https://OWN.example:3000\r\n", ""},
        {"production", "", "Origin: https://own.example\r\n", NULL},
        {"production", "*", "Origin: https://evil\r\n", "*"},
        {"production", " https://a.b , https://c.d/ ", "Origin: https://c.d\r\n", "https://c.d"},
        {"production", "https://a.b", "Origin: HTTPS://A.B\r\n", "HTTPS://A.B"},
        {"production", "https://a.b", "Origin: https://a.b.evil\r\n", NULL},
        {"production", "https://a.b", "Origin: http://a.b\r\n", NULL},
        {"production", "https://a.b", "Origin: null\r\n", NULL},
        {"production", "https://a.b", "Origin:\r\n", NULL},
        {"production", "https://a.b", "Origin: https://a.b\r\nOrigin: https://a.b\r\n", NULL},
        {"development", "https://a.b", "Origin: https://evil\r\n", NULL},
        {"production", "", "Origin: https://pub\r\nX-Forwarded-Host: pub\r\n", NULL},
        {"production", "null", "Origin: null\r\n", "null"},
        {"production", "file://", "Origin: file://\r\n", "file://"},
        {"production", "https://a.b,null", "Origin: file://\r\n", NULL},
        {"production", "https://*.a.b", "Origin: https://c.a.b\r\n", "https://c.a.b"},
        {"production", "https://*.a.b", "Origin: https://D.c.A.b\r\n", "https://D.c.A.b"},
        {"production", "https://*.a.b", "Origin: https://a.b\r\n", NULL},
        {"production", "https://*.a.b", "Origin: https://.a.b\r\n", NULL},
        {"production", "https://*.a.b", "Origin: http://c.a.b\r\n", NULL},
        {"production", "https://*.a.b", "Origin: https://ca.b\r\n", NULL},
        {"production", "https://*.a.b", "Origin: https://c.a.b.evil\r\n", NULL},
        {"production", "https://*.a.b", "Origin: https://evil/.a.b\r\n", NULL},
        {"production", "https://*.a.b", "Origin: https://evil:1.a.b\r\n", NULL},
        {"production", "https://*.a.b", "Origin: https://c.a.b:81\r\n", NULL},
        {"production", "https://*.a.b:81", "Origin: https://c.a.b:81\r\n", "https://c.a.b:81"},
    };
    const struct address peer = {{[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy *policy = policy_of(rows[i].environment, rows[i].origins, "");
        struct http_head head;
        char text[512], copy[256];
        const char *answer;

        head_of(&head, text, sizeof(text), rows[i].fields);
        answer = policy_origin(policy, &head, &peer, copy, sizeof(copy));
        if ((answer == NULL) != (rows[i].answer == NULL) ||
            (answer != NULL && strcmp(answer, rows[i].answer) != 0))
            fail_msg("row %zu: %s", i, answer == NULL ? "refused" : answer);
        policy_free(policy);
    }
}

static void forwarded(void **state)
{
    static const struct {
        const char *proxies, *peer, *fields, *ip;
    } rows[] = {
        {"", "192.0.2.1", "X-Forwarded-For: 203.0.113.7\r\n", "192.0.2.1"},
        {"192.0.2.1", "192.0.2.1", "", "192.0.2.1"},
        {"192.0.2.1", "192.0.2.1", "X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"},
        {"192.0.2.1", "192.0.2.1", "X-Forwarded-For: 1.1.1.1, 203.0.113.7\r\n", "203.0.113.7"},
        {"192.0.2.1", "192.0.2.1", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n",
         "2.2.2.2"},
        {"192.0.2.0/24", "192.0.2.1", "X-Forwarded-For: 1.1.1.1, 192.0.2.9\r\n", "1.1.1.1"},
        {"192.0.2.0/25", "192.0.2.1", "X-Forwarded-For: 1.1.1.1, 192.0.2.129\r\n", "192.0.2.129"},
        {"192.0.2.1", "192.0.2.1", "X-Forwarded-For: 192.0.2.1, 192.0.2.1\r\n", "192.0.2.1"},
        {"2001:db8::/32", "2001:db8:1::1", "X-Forwarded-For: [2001:db9::1]:80\r\n", "2001:db9::1"},
        {"::1", "::1", "X-Forwarded-For: 203.0.113.7:80\r\n", "203.0.113.7"},
        {"::1", "::1", "X-Forwarded-For: unknown\r\n", "::1"},
        {"::1", "::1", "X-Forwarded-For:\r\n", "::1"},
        {"::1", "::1", "X-Forwarded-For: [::2\r\n", "::1"},
        {"192.0.2.1", "::ffff:192.0.2.1", "X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy *policy = policy_of("production", "", rows[i].proxies);
        struct address peer;
        struct http_head head;
        char text[512], ip[ADDRESS_TEXT_ROOM];

        assert_true(address_parse(rows[i].peer, &peer));
        head_of(&head, text, sizeof(text), rows[i].fields);
        policy_client_ip(policy, &peer, &head, ip);
        if (strcmp(ip, rows[i].ip) != 0)
            fail_msg("row %zu: %s, not %s", i, ip, rows[i].ip);
        policy_free(policy);
    }
}

static void bad_settings(void **state)
{
    static const char *const bad_origins[] = {"evil",          "https:/x",     "a,b",
                                              "https://*",     "https://*b.c", "https://a.*.c",
                                              "https://*.*.c", "https://*.org"};
    static const char *const bad_proxies[] = {"x",      "1.2.3",    "1.2.3.4/33",
                                              "::/129", "1.2.3.4/", "1.2.3.4/a"};

    for (size_t i = 0; i < sizeof(bad_origins) / sizeof(bad_origins[0]); i++)
        assert_null(policy_of("production", bad_origins[i], ""));
    for (size_t i = 0; i < 6; i++)
        assert_null(policy_of("production", "", bad_proxies[i]));
}

static void base64(void **state)
{
    /* RFC 4648 10 */
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Z===", "====", "Zm9v=", "Zm 9v", "Zm-v", "=Zm9", "Zg==Zg=="};
    unsigned char bytes[32];
    char text[32];

    for (size_t i = 0; i < 7; i++) {
        size_t count = strlen(pairs[i][0]);

        assert_int_equal(base64_encode((const unsigned char *)pairs[i][0], count, text),
                         strlen(pairs[i][1]));
        assert_memory_equal(text, pairs[i][1], strlen(pairs[i][1]));
        assert_int_equal(base64_decode(pairs[i][1], strlen(pairs[i][1]), bytes), count);
        assert_memory_equal(bytes, pairs[i][0], count);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (base64_decode(bad[i], strlen(bad[i]), bytes) >= 0)
            fail_msg("%s was taken", bad[i]);
}

static void utf8(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xf0\x90\x80",
                                      "\xe2\x28\xa1",
                                      "\xf0\x90\x28\x80"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (utf8_valid(bad[i], strlen(bad[i])))
            fail_msg("row %zu was taken", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins), cmocka_unit_test(forwarded), cmocka_unit_test(bad_settings),
        cmocka_unit_test(base64),  cmocka_unit_test(utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
