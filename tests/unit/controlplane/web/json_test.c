/* Strict JSON: which texts are accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controlplane/web/json.h"

static bool takes(const char *text, size_t bytes)
{
    char *copy =
        malloc(bytes); /* a block of exactly this length: the sanitizer sees a read after its end */
    cJSON *value;

    memcpy(copy, text, bytes);
    value = json_parse(copy, bytes);
    free(copy);
    cJSON_Delete(value);
    return value != NULL;
}

static void texts(void **state)
{
    static const struct {
        const char *text;
        bool taken;
    } rows[] = {
        {"{}", true},
        {" \t\r\n[ ] \n", true},
        {"null", true},
        {"true", true},
        {"\"\"", true},
        {"0", true},
        {"-0", true},
        {"-1.5e+10", true},
        {"1E2", true},
        {"1e308", true},
        {"{\"a\":{\"a\":1},\"b\":[1,\"x\",false,null]}", true},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"", true},
        {"\"\\ud834\\udd1e\"", true},
        {"\"\xc3\xbc\xe2\x82\xac\xf0\x9d\x84\x9e\"", true},
        {"", false},
        {" ", false},
        {"{} {}", false},
        {"{}x", false},
        {"\xef\xbb\xbf{}", false},
        {"{", false},
        {"}", false},
        {"[", false},
        {"[1", false},
        {"[1,", false},
        {"[1,]", false},
        {"[,1]", false},
        {"[1 2]", false},
        {"{\"a\"}", false},
        {"{\"a\":}", false},
        {"{\"a\":1,}", false},
        {"{a:1}", false},
        {"{'a':1}", false},
        {"{1:1}", false},
        {"nul", false},
        {"NULL", false},
        {"True", false},
        {"01", false},
        {"-", false},
        {"+1", false},
        {"1.", false},
        {".5", false},
        {"1e", false},
        {"1e+", false},
        {"0x10", false},
        {"1e309", false},
        {"-1e999", false},
        {"NaN", false},
        {"Infinity", false},
        {"// x\n1", false},
        {"\"", false},
        {"\"\\\"", false},
        {"\"\\x41\"", false},
        {"\"\\u12\"", false},
        {"\"\\u12g4\"", false},
        {"\"\\u0000\"", false},
        {"\"\\ud834\"", false},
        {"\"\\ud834\\u0041\"", false},
        {"\"\\udd1e\"", false},
        {"\"\n\"", false},
        {"\"\x01\"", false},
        {"\"\xc0\x80\"", false},
        {"\"\xed\xa0\x80\"", false},
        {"\"\xf4\x90\x80\x80\"", false},
        {"\"\xe2\x82\"", false},
        {"\"\xff\"", false},
        {"{\"a\":1,\"a\":2}", false},
        {"{\"a\":1,\"\\u0061\":2}", false},
        {"[{\"x\":{\"a\":1,\"b\":1,\"a\":2}}]", false},
        {"{\"a\":1,\"A\":2}", true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (takes(rows[i].text, strlen(rows[i].text)) != rows[i].taken)
            fail_msg("%s should %sbe taken", rows[i].text, rows[i].taken ? "" : "not ");
    assert_false(takes("\"a\0b\"", 5));
    assert_false(takes("{}\0", 3));
    assert_null(json_parse(NULL, 0));
}

/* "open × n, close × n" around `middle`. */
static bool takes_nested(const char *open, const char *middle, const char *close, unsigned n)
{
    char text[4096] = "";

    for (unsigned i = 0; i < n; i++)
        strcat(text, open);
    strcat(text, middle);
    for (unsigned i = 0; i < n; i++)
        strcat(text, close);
    return takes(text, strlen(text));
}

static bool takes_keys(unsigned n)
{
    char text[16384] = "{";

    for (unsigned i = 0; i < n; i++)
        sprintf(text + strlen(text), "%s\"k%u\":1", i > 0 ? "," : "", i);
    strcat(text, "}");
    return takes(text, strlen(text));
}

static bool takes_values(unsigned n)
{
    char *text = malloc(2 * n + 2);
    size_t at = 0;
    bool taken;

    text[at++] = '[';
    for (unsigned i = 0; i < n; i++) {
        text[at++] = '1';
        text[at++] = i + 1 < n ? ',' : ']';
    }
    taken = takes(text, at);
    free(text);
    return taken;
}

static void limits(void **state)
{
    assert_true(takes_nested("[", "1", "]", 16));
    assert_false(takes_nested("[", "1", "]", 17));
    assert_true(takes_nested("{\"a\":", "1", "}", 16));
    assert_false(takes_nested("{\"a\":", "1", "}", 17));
    assert_true(takes_keys(256));
    assert_false(takes_keys(257));
    assert_true(takes_values(16383));
    assert_false(takes_values(16384));
    assert_true(
        takes_nested("", "1234567890123456789012345678901234567890123456789012345678", "", 0));
    assert_false(
        takes_nested("", "1234567890123456789012345678901234567890123456789012345678901", "", 0));
}

/* FNV-1a, which anybody can compute: the hash that json.c used before. */
static unsigned known_slot(const char *key)
{
    uint32_t hash = 2166136261u;

    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * 16777619u;
    return hash % 512;
}

/* Objects with 256 keys each. colliding: all keys have one slot in a table with the known hash. */
static char *objects_of_keys(bool colliding, size_t *bytes)
{
    size_t room = 63 * 256 * 24, at = 0;
    char *text = malloc(room), key[16];
    unsigned next = 0;

    at += (size_t)sprintf(text, "[");
    for (unsigned object = 0; object < 63; object++) {
        at += (size_t)sprintf(text + at, "%s{", object > 0 ? "," : "");
        next = 0;
        for (unsigned count = 0; count < 256; count++) {
            do
                snprintf(key, sizeof(key), "k%07u", next++);
            while (colliding && known_slot(key) != 7);
            at += (size_t)sprintf(text + at, "%s\"%s\":1", count > 0 ? "," : "", key);
        }
        at += (size_t)sprintf(text + at, "}");
    }
    at += (size_t)sprintf(text + at, "]");
    *bytes = at;
    return text;
}

/* The least of several, so that other processes do not count. */
static double parse_ms(const char *text, size_t bytes)
{
    double least = 1e9;

    for (unsigned i = 0; i < 20; i++) {
        struct timespec begin, end;
        double ms;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        assert_true(takes(text, bytes));
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        ms =
            (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
        least = ms < least ? ms : least;
    }
    return least;
}

static void chosen_keys_cost_no_more_than_others(void **state)
{
    size_t bytes, other_bytes;
    char *chosen = objects_of_keys(true, &bytes), *others = objects_of_keys(false, &other_bytes);
    double chosen_ms = parse_ms(chosen, bytes), others_ms = parse_ms(others, other_bytes);

    print_message("%zu kB of chosen keys: %.1f ms, %zu kB of others: %.1f ms\n", bytes / 1000,
                  chosen_ms, other_bytes / 1000, others_ms);
    assert_true(chosen_ms < 2 * others_ms);
    free(chosen);
    free(others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(limits),
        cmocka_unit_test(chosen_keys_cost_no_more_than_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
