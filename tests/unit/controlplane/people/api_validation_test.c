/* Fields of REST bodies: which values are valid, how they are normalised, the sentences for the
 * others. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/validate.h"

static void email_syntax(void **state)
{
    static const struct {
        const char *email;
        bool valid;
    } rows[] = {
        {"ada@example.org", true},
        {"a@b.cd", true},
        {"a.b+c_d-e@sub.example.co.uk", true},
        {"o'neill@example.org", true},
        {"j\xc3\xb6rg@example.org", true},
        {"\xe7\x94\xa8\xe6\x88\xb7@example.org", true},
        {"j\xc2\xa0rg@example.org", false},
        {"j\xc2\x85rg@example.org", false},
        {"x@xn--bcher-kva.example", true},
        {"1@1.example", true},
        {"", false},
        {"@", false},
        {"ada", false},
        {"ada@", false},
        {"@example.org", false},
        {"ada@localhost", false},
        {"ada@example", false},
        {"ada@example.", false},
        {"ada@.example.org", false},
        {"ada@example..org", false},
        {"ada@-example.org", false},
        {"ada@example-.org", false},
        {"ada@example.org-", false},
        {"ada@example.o", false},
        {"ada@example.123", false},
        {"ada@[192.0.2.1]", false},
        {"ada@192.0.2.1", false},
        {".ada@example.org", false},
        {"ada.@example.org", false},
        {"a..da@example.org", false},
        {"a da@example.org", false},
        {"a@da@example.org", false},
        {"\"a da\"@example.org", false},
        {"ada\\@example.org", false},
        {"<ada@example.org>", false},
        {"ada@example.org\r\nBcc: x@example.org", false},
        {"ada@exam_ple.org", false},
        {"ada@b\xc3\xbc"
         "cher.example",
         false},
        {"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg@example.org", true},
        {"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg@example.org", false},
        {"a@aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg.org", true},
        {"a@aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg.org", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (email_is_valid(rows[i].email) != rows[i].valid)
            fail_msg("%s", rows[i].email);
}

static void expect_sentence(cJSON *errors, bool valid, const char *sentence)
{
    assert_int_equal(cJSON_GetArraySize(errors), sentence ? 1 : 0);
    assert_int_equal(valid, sentence == NULL);
    if (sentence)
        assert_string_equal(cJSON_GetArrayItem(errors, 0)->valuestring, sentence);
    cJSON_Delete(errors);
}

static void email_is_trimmed_and_in_lower_case(void **state)
{
    static const struct {
        const char *body, *email, *sentence;
    } rows[] = {
        {"{\"email\":\"ada@example.org\"}", "ada@example.org", NULL},
        {"{\"email\":\"  ADA@Example.ORG\\t\\n\"}", "ada@example.org", NULL},
        {"{\"email\":\"\xc2\xa0"
         "ada@example.org\xe3\x80\x80\"}",
         "ada@example.org", NULL},
        {"{\"email\":\"J\xc3\xb6rg@B\xc3\xbc"
         "cher.Example\"}",
         "j\xc3\xb6rg@xn--bcher-kva.example", NULL},
        {"{\"email\":\"a@B\xc3\x9c"
         "CHER.example\"}",
         "a@xn--bcher-kva.example", NULL},
        {"{\"email\":\"a@bu\xcc\x88"
         "cher.example\"}",
         "a@xn--bcher-kva.example", NULL}, /* u and a combining diaeresis */
        {"{\"email\":\"a@XN--bcher-kva.example\"}", "a@xn--bcher-kva.example", NULL},
        {"{\"email\":\"a@\xe4\xbe\x8b\xe3\x81\x88.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88\"}",
         "a@xn--r8jz45g.xn--zckzah", NULL},
        {"{\"email\":\"a@b\xe2\x80\xae"
         "c.example\"}",
         NULL, "email must be an email"},
        {"{\"email\":\"\\\"a b\\\"@example.org\"}", NULL, "email must be an email"},
        {"{\"email\":\"\"}", NULL, "email must be an email"},
        {"{\"email\":\"   \"}", NULL, "email must be an email"},
        {"{\"email\":null}", NULL, "email must be an email"},
        {"{\"email\":1}", NULL, "email must be an email"},
        {"{\"email\":[\"ada@example.org\"]}", NULL, "email must be an email"},
        {"{\"email\":{}}", NULL, "email must be an email"},
        {"{\"Email\":\"ada@example.org\"}", NULL, "email must be an email"},
        {"{}", NULL, "email must be an email"},
        {"[]", NULL, "email must be an email"},
    };
    char email[256], body[400];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cJSON *parsed = cJSON_Parse(rows[i].body), *errors = cJSON_CreateArray();

        expect_sentence(errors, validate_email(parsed, true, email, errors), rows[i].sentence);
        if (rows[i].email)
            assert_string_equal(email, rows[i].email);
        cJSON_Delete(parsed);
    }
    for (unsigned length = 254; length <= 257; length++) { /* at most 255 characters */
        cJSON *parsed, *errors = cJSON_CreateArray();
        int head = snprintf(body, sizeof(body), "{\"email\":\"a@");

        for (unsigned i = 2; i < length - 4; i++)
            body[head++] = i % 60 ? 'b' : '.';
        snprintf(body + head, sizeof(body) - (size_t)head, ".org\"}");
        parsed = cJSON_Parse(body);
        assert_non_null(parsed);
        expect_sentence(errors, validate_email(parsed, true, email, errors),
                        length <= 255 ? NULL
                                      : "email must be shorter than or equal to 255 characters");
        cJSON_Delete(parsed);
    }
}

/* Whoever has an account can log in, however strange the address is. */
static void addresses_for_a_login(void **state)
{
    static const struct {
        const char *given, *email; /* NULL: refused */
    } rows[] = {
        {"Ada@Example.org", "ada@example.org"},
        {"\"a b\"@example.org", "\"a b\"@example.org"},
        {"\"a@b\"@example.org", "\"a@b\"@example.org"},
        {"j\xc3\xb6rg@example.org", "j\xc3\xb6rg@example.org"},
        {"j\xc3\xb6rg@b\xc3\xbc"
         "cher.example",
         "j\xc3\xb6rg@xn--bcher-kva.example"},
        {"root@localhost", "root@localhost"},
        {"a..b@example.org", "a..b@example.org"},
        {"a@[192.0.2.1]", "a@[192.0.2.1]"},
        {"ada", NULL},
        {"@example.org", NULL},
        {"ada@", NULL},
        {"ada@example.org\r\nx", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cJSON *body = cJSON_CreateObject(), *errors = cJSON_CreateArray();
        char email[256];

        cJSON_AddStringToObject(body, "email", rows[i].given);
        if (validate_email(body, false, email, errors) != (rows[i].email != NULL))
            fail_msg("%s", rows[i].given);
        if (rows[i].email)
            assert_string_equal(email, rows[i].email);
        cJSON_Delete(body);
        cJSON_Delete(errors);
    }
}

static void an_international_domain_has_another_form(void **state)
{
    char other[256];

    assert_true(email_other_form("a@xn--bcher-kva.example", other));
    assert_string_equal(other, "a@b\xc3\xbc"
                               "cher.example");
    assert_false(email_other_form("a@example.org", other));
    assert_false(email_other_form("xn--bcher-kva@example.org", other));
    assert_false(email_other_form("a", other));
}

static cJSON *body_with(const char *name, const char *piece, unsigned times)
{
    cJSON *body = cJSON_CreateObject();
    char *text = calloc(times + 1, strlen(piece) + 1);

    for (unsigned i = 0; i < times; i++)
        memcpy(text + i * strlen(piece), piece, strlen(piece));
    cJSON_AddStringToObject(body, name, text);
    free(text);
    return body;
}

static void password_length_counts_characters(void **state)
{
    static const char *const shorter = "password must be longer than or equal to 8 characters";
    static const char *const longer = "password must be shorter than or equal to 128 characters";
    static const struct {
        const char *piece;
        unsigned times;
        const char *registering, *logging_in;
    } rows[] = {
        {"a", 0, shorter, "password should not be empty"},
        {"a", 1, shorter, NULL},
        {"a", 7, shorter, NULL},
        {"a", 8, NULL, NULL},
        {" ", 8, NULL, NULL}, /* not trimmed */
        {"a", 128, NULL, NULL},
        {"a", 129, longer, longer},
        {"a", 60000, longer, longer},
        {"\xf0\x9f\x8e\xa9", 7, shorter, NULL},
        {"\xf0\x9f\x8e\xa9", 8, NULL, NULL},
        {"\xf0\x9f\x8e\xa9", 128, NULL, NULL},
        {"\xf0\x9f\x8e\xa9", 129, longer, longer},
    };
    char password[PASSWORD_TEXT_BYTES];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int is_new = 0; is_new < 2; is_new++) {
            cJSON *body = body_with("password", rows[i].piece, rows[i].times);
            cJSON *errors = cJSON_CreateArray();
            const char *sentence = is_new ? rows[i].registering : rows[i].logging_in;

            expect_sentence(errors, validate_password(body, is_new, password, errors), sentence);
            if (!sentence)
                assert_int_equal(strlen(password), strlen(rows[i].piece) * rows[i].times);
            cJSON_Delete(body);
        }
}

static void lines_are_trimmed_and_have_a_maximum_length(void **state)
{
    static const struct {
        const char *body, *line, *sentence;
    } rows[] = {
        {"{\"title\":\"Stand-up\"}", "Stand-up", NULL},
        {"{\"title\":\" \\t Stand up \xe2\x80\x83 \"}", "Stand up", NULL},
        {"{\"title\":\"\xc3\xa9\"}", "\xc3\xa9", NULL},
        {"{\"title\":\"<b>&'\\\";--\"}", "<b>&'\";--", NULL},
        {"{\"title\":\"\"}", NULL, "title must be longer than or equal to 1 characters"},
        {"{\"title\":\" \\n\xe2\x80\xa8 \"}", NULL,
         "title must be longer than or equal to 1 characters"},
        {"{\"title\":\"a\\nb\"}", NULL, "title must not contain control characters"},
        {"{\"title\":\"a\\u001bb\"}", NULL, "title must not contain control characters"},
        {"{\"title\":\"a\\u007fb\"}", NULL, "title must not contain control characters"},
        {"{\"title\":\"a\\u0085b\"}", NULL, "title must not contain control characters"},
        {"{\"title\":\"a\\u00a1b\"}",
         "a\xc2\xa1"
         "b",
         NULL},
        {"{\"title\":7}", NULL, "title must be a string"},
        {"{}", NULL, "title must be a string"},
    };
    char line[401];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cJSON *body = cJSON_Parse(rows[i].body), *errors = cJSON_CreateArray();

        expect_sentence(errors, validate_line(body, "title", 100, line, sizeof(line), errors),
                        rows[i].sentence);
        if (rows[i].line)
            assert_string_equal(line, rows[i].line);
        cJSON_Delete(body);
    }
    for (unsigned count = 99; count <= 101; count++) {
        cJSON *body = body_with("title", "\xf0\x9f\x8e\xa9", count), *errors = cJSON_CreateArray();

        expect_sentence(errors, validate_line(body, "title", 100, line, sizeof(line), errors),
                        count <= 100 ? NULL
                                     : "title must be shorter than or equal to 100 characters");
        cJSON_Delete(body);
    }
}

static void counts_are_whole_numbers_between_min_and_max(void **state)
{
    static const struct {
        const char *body;
        uint32_t count; /* 0: refused */
        const char *sentence;
    } rows[] = {
        {"{}", 100, NULL},
        {"{\"maxParticipants\":null}", 100, NULL},
        {"{\"maxParticipants\":2}", 2, NULL},
        {"{\"maxParticipants\":100}", 100, NULL},
        {"{\"maxParticipants\":5e1}", 50, NULL},
        {"{\"maxParticipants\":1}", 0, "maxParticipants must not be less than 2"},
        {"{\"maxParticipants\":0}", 0, "maxParticipants must not be less than 2"},
        {"{\"maxParticipants\":-5}", 0, "maxParticipants must not be less than 2"},
        {"{\"maxParticipants\":101}", 0, "maxParticipants must not be greater than 100"},
        {"{\"maxParticipants\":4294967298}", 0, "maxParticipants must not be greater than 100"},
        {"{\"maxParticipants\":1e300}", 0, "maxParticipants must not be greater than 100"},
        {"{\"maxParticipants\":2.5}", 0, "maxParticipants must be an integer number"},
        {"{\"maxParticipants\":\"10\"}", 0, "maxParticipants must be an integer number"},
        {"{\"maxParticipants\":true}", 0, "maxParticipants must be an integer number"},
        {"{\"maxParticipants\":[10]}", 0, "maxParticipants must be an integer number"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cJSON *body = cJSON_Parse(rows[i].body), *errors = cJSON_CreateArray();
        uint32_t count = 0;

        expect_sentence(errors,
                        validate_count(body, "maxParticipants", 2, 100, 100, &count, errors),
                        rows[i].sentence);
        if (rows[i].count)
            assert_int_equal(count, rows[i].count);
        cJSON_Delete(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(email_syntax),
        cmocka_unit_test(email_is_trimmed_and_in_lower_case),
        cmocka_unit_test(addresses_for_a_login),
        cmocka_unit_test(an_international_domain_has_another_form),
        cmocka_unit_test(password_length_counts_characters),
        cmocka_unit_test(lines_are_trimmed_and_have_a_maximum_length),
        cmocka_unit_test(counts_are_whole_numbers_between_min_and_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
