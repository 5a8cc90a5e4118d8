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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
