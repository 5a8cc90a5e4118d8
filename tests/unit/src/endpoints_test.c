/* Lists of host:port, and of STUN and TURN URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/endpoints.h"

/* A list, and its parsed items as "host port,". After a '!' stands the rest from the first wrong
 * item. */
static const char *const rows[][2] = {
    {"", ""},
    {" , ", ""},
    {"a", "a 9,"},
    {"a:1", "a 1,"},
    {"a:1,b:65535", "a 1,b 65535,"},
    {" a:1 , b ,", "a 1,b 9,"},
    {"10.0.0.1:26379", "10.0.0.1 26379,"},
    {"[::1]:7,[2001:db8::2]", "::1 7,2001:db8::2 9,"},
    {"a:0", "!a:0"},
    {"a:65536", "!a:65536"},
    {"a:", "!a:"},
    {"a:1x", "!a:1x"},
    {"a:-1", "!a:-1"},
    {"a:000001", "!a:000001"},
    {":1", "!:1"},
    {"::1", "!::1"},
    {"[]", "![]"},
    {"[::1", "![::1"},
    {"[::1]7", "![::1]7"},
    {"a,b:c:1,d", "a 9,!b:c:1,d"},
};

static void lists_of_host_and_port(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char host[ENDPOINT_HOST_ROOM], found[600] = "";
        const char *list = rows[i][0];
        uint16_t port = 9;

        while (endpoint_next(&list, host, &port)) {
            snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s %u,", host, port);
            port = 9;
        }
        if (*list)
            snprintf(found + strlen(found), sizeof(found) - strlen(found), "!%s", list);
        assert_string_equal(found, rows[i][1]);
    }
}

static void the_longest_host(void **state)
{
    char text[400], host[ENDPOINT_HOST_ROOM];
    const char *list = text;
    uint16_t port;

    memset(text, 'a', sizeof(text));
    text[255] = '\0';
    assert_true(endpoint_next(&list, host, &port));
    assert_int_equal(strlen(host), 255);
    text[255] = 'a';
    text[256] = '\0';
    list = text;
    assert_false(endpoint_next(&list, host, &port));
}

static void urls_of_stun_and_turn(void **state)
{
    static const char *const good[] = {
        "stun:a",
        "stuns:a.b-c:5349",
        "turn:turn.example.org:3478?transport=udp",
        "turns:10.0.0.1?transport=tcp",
        "turn:[2001:db8::1]:3478",
    };
    static const char *const bad[] = {
        "http://a",
        "turn",
        "turn:",
        "TURN:a",
        "turn://a",
        "turn:a:0",
        "turn:a:b",
        "turn:a?transport=sctp",
        "turn:a?",
        "stun:a?transport=udp",
        "turn:a?transport=udp&x",
        "turn:a@b",
        "turn:u:p@b",
        "turn:a/b",
        "turn:[a]x",
        "turn:[g::]",
        "xturn:a",
        "turn:?transport=udp",
        "turn:a\"b",
    };
    char url[ICE_URL_ROOM], list_text[400];
    const char *list;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(list_text, sizeof(list_text), " %s, stun:z", good[i]);
        list = list_text;
        assert_true(ice_url_next(&list, url));
        assert_string_equal(url, good[i]);
        assert_true(ice_url_next(&list, url));
        assert_string_equal(url, "stun:z");
        assert_false(ice_url_next(&list, url));
        assert_int_equal(*list, 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        list = bad[i];
        if (ice_url_next(&list, url))
            fail_msg("%s was accepted", bad[i]);
        assert_string_equal(list, bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_host_and_port),
        cmocka_unit_test(the_longest_host),
        cmocka_unit_test(urls_of_stun_and_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
