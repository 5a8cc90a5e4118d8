/* Random identifiers: their form, their bits, and that none comes twice. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/uuid.h"

static void uuids_are_version_4(void **state)
{
    for (unsigned i = 0; i < 1000; i++) {
        char text[UUID_TEXT_BYTES];

        uuid_make(text);
        assert_true(uuid_is_valid(text));
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
    }
}

static void only_well_formed_identifiers_are_valid(void **state)
{
    static const struct {
        const char *text;
        bool uuid, code;
    } rows[] = {
        {"00000000-0000-4000-8000-000000000000", true, false},
        {"f47ac10b-58cc-4372-a567-0e02b2c3d479", true, false},
        {"F47AC10B-58CC-4372-A567-0E02B2C3D479", false, false},
        {"f47ac10b-58cc-4372-a567-0e02b2c3d47", false, false},
        {"f47ac10b-58cc-4372-a567-0e02b2c3d4790", false, false},
        {"f47ac10b058cc-4372-a567-0e02b2c3d479", false, false},
        {"f47ac10b-58cc-4372-a567-0e02b2c3d47g", false, false},
        {"' OR 1=1 --", false, false},
        {"", false, false},
        {"ABCD-EFGH-JKLM", false, true},
        {"2345-6789-ZYXW", false, true},
        {"abcd-EFGH-JKLM", false, false},
        {"ABCD-EFGH-JKL0", false, false},
        {"ABCD-EFGH-JKL1", false, false},
        {"ABCI-EFGH-JKLM", false, false},
        {"ABCO-EFGH-JKLM", false, false},
        {"ABCDEEFGH-JKLM", false, false},
        {"ABCD-EFGH-JKLMN", false, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(uuid_is_valid(rows[i].text), rows[i].uuid);
        assert_int_equal(room_code_is_valid(rows[i].text), rows[i].code);
    }
}

static void identifiers_have_one_spelling(void **state)
{
#define ID "f47ac10b-58cc-4372-a567-0e02b2c3d479"
#define CODE "ABCD-EFGH-JKLM"
    static const struct {
        const char *text, *name; /* name "": it is neither an id nor a code */
    } rows[] = {
        {ID, ID},
        {"F47AC10B-58CC-4372-A567-0E02B2C3D479", ID},
        {" \t" ID "\r\n ", ID},
        {CODE, CODE},
        {"abcd-efgh-jklm", CODE},
        {"abcdefghjklm", CODE},
        {"  AbCd EfGh JkLm\n", CODE},
        {"ABC-DEF-GHJ-KLM", CODE},
        {"f47ac10b58cc4372a5670e02b2c3d479", ""}, /* PostgreSQL would read this as a UUID */
        {"{" ID "}", ""},
        {"f47ac10b-58cc-4372-a567-0e02b2c3 d479", ""},
        {ID " x", ""},
        {ID "0", ""},
        {"ABCD-EFGH-JKLMN", ""},
        {"ABCD-EFGH-JKL", ""},
        {"ABCD-EFGH-JKL0", ""},
        {"", ""},
        {" - ", ""},
        {NULL, ""},
    };
    char name[UUID_TEXT_BYTES];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(name, 'x', sizeof(name));
        assert_int_equal(room_name_normalize(rows[i].text, name), rows[i].name[0] != 0);
        assert_string_equal(name, rows[i].name);
    }
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void identifiers_do_not_repeat(void **state)
{
    enum { COUNT = 20000 };
    static char ids[COUNT][UUID_TEXT_BYTES], codes[COUNT][ROOM_CODE_BYTES];
    unsigned seen[128] = {0};

    for (unsigned i = 0; i < COUNT; i++) {
        uuid_make(ids[i]);
        room_code_make(codes[i]);
        assert_true(room_code_is_valid(codes[i]));
        for (const char *at = codes[i]; *at; at++)
            seen[(unsigned char)*at]++;
    }
    qsort(ids, COUNT, sizeof(ids[0]), compare);
    qsort(codes, COUNT, sizeof(codes[0]), compare);
    for (unsigned i = 1; i < COUNT; i++) {
        assert_string_not_equal(ids[i - 1], ids[i]);
        assert_string_not_equal(codes[i - 1], codes[i]);
    }
    /* 240000 characters, 32 kinds: 7500 of each, with a standard deviation of 85. Allowed: 8 of
     * them. */
    for (const char *at = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"; *at; at++)
        assert_in_range(seen[(unsigned char)*at], 7500 - 8 * 85, 7500 + 8 * 85);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uuids_are_version_4),
        cmocka_unit_test(only_well_formed_identifiers_are_valid),
        cmocka_unit_test(identifiers_have_one_spelling),
        cmocka_unit_test(identifiers_do_not_repeat),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
