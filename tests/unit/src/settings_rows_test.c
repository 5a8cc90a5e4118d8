/* Tests that walk the rows of settings: the limits of each one from each source, and each one in
 * a reload. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "src/settings_rows.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/log.h"

static struct settings settings;
static enum settings_request request;
static char error[SETTING_ERROR_BYTES];

static void loads_words(int argc, char *word)
{
    char *argv[] = {"program", word, NULL};

    if (!settings_load(&settings, argc, argv, NULL, &request, error))
        fail_msg("refused: %s", error);
}

enum source { FROM_COMMAND_LINE, FROM_ENVIRONMENT, FROM_FILE, SOURCES };

/* Loads one value from one source. */
static bool load_one(const struct setting *s, enum source source, const char *value)
{
    char text[1400], path[40], *argv[] = {"program", text, NULL}, *env[] = {text, NULL};
    int fd = -1;
    bool fine;

    if (source == FROM_COMMAND_LINE) {
        snprintf(text, sizeof(text), "--%s=%s", s->name, value);
        return settings_load(&settings, 2, argv, NULL, &request, error);
    }
    if (source == FROM_ENVIRONMENT) {
        snprintf(text, sizeof(text), "%s=%s", s->environment, value);
        return settings_load(&settings, 1, argv, env, &request, error);
    }
    fd = memfd_create("settings", 0);
    assert_true(dprintf(fd, "%s = \"%s\"\n", s->name, value) > 0);
    snprintf(path, sizeof(path), "--config=/proc/self/fd/%d", fd);
    argv[1] = path;
    fine = settings_load(&settings, 2, argv, NULL, &request, error);
    close(fd);
    return fine;
}

/* The sentence says where the value came from, the setting, what is allowed, and the value unless
 * it is a secret. */
static void refused_from_everywhere(const struct setting *s, const char *value)
{
    char allowed[SETTING_ALLOWED_BYTES];

    setting_allowed(s, allowed);
    for (enum source source = 0; source < SOURCES; source++) {
        if (load_one(s, source, value))
            fail_msg("%s took \"%s\" from source %d", s->name, value, source);
        if (!strstr(error, s->name) || !strstr(error, allowed))
            fail_msg("\"%s\" does not name %s and %s", error, s->name, allowed);
        if (source == FROM_ENVIRONMENT)
            assert_non_null(strstr(error, s->environment));
        if (source == FROM_FILE)
            assert_non_null(strstr(error, "line 1"));
        if (s->type == SETTING_secret && strlen(value) > 3)
            assert_null(strstr(error, value));
        else if (strlen(value) <= 40 && !strstr(error, value))
            fail_msg("\"%s\" does not name \"%s\"", error, value);
    }
}

/* The value itself is fine. It may still not fit another setting; that sentence names no source. */
static void taken_from_everywhere(const struct setting *s, const char *value)
{
    for (enum source source = 0; source < SOURCES; source++)
        if (!load_one(s, source, value) &&
            (strstr(error, "command line:") || strstr(error, "environment variable") ||
             strstr(error, " line 1:")))
            fail_msg("%s refused \"%s\": %s", s->name, value, error);
}

static void number_limits(const struct setting *s)
{
    static const char *const junk[] = {
        "x", "-1", "+1", " 1", "1 ", "0x10", "1.5", "1e3", "4294967296", "99999999999999999999999",
        "on"};
    char value[32];

    snprintf(value, sizeof(value), "%u", (unsigned)s->min);
    taken_from_everywhere(s, value);
    snprintf(value, sizeof(value), "%u", (unsigned)s->max);
    taken_from_everywhere(s, value);
    snprintf(value, sizeof(value), "%llu", (unsigned long long)s->max + 1);
    refused_from_everywhere(s, value);
    if (s->min > 0) {
        snprintf(value, sizeof(value), "%u", (unsigned)s->min - 1);
        refused_from_everywhere(s, value);
    }
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
        refused_from_everywhere(s, junk[i]);
}

static void word_limits(const struct setting *s)
{
    char words[200];

    assert_null(strstr(s->words, ",,"));
    snprintf(words, sizeof(words), "%s", s->words);
    for (char *word = strtok(words, ", "); word; word = strtok(NULL, ", "))
        taken_from_everywhere(s, word);
    refused_from_everywhere(s, s->words); /* the whole list is not one of its words */
    refused_from_everywhere(s, "x");
    assert_false(load_one(s, FROM_COMMAND_LINE, ""));
    assert_false(load_one(s, FROM_FILE, ""));
    assert_true(load_one(s, FROM_ENVIRONMENT, "")); /* there, empty means "not set" */
}

/* Addresses have a form of their own (settings_test.c); here only their length is tested. */
static void text_limits(const struct setting *s)
{
    char value[SETTING_TEXT_ROOM + 2];

    assert_true(s->max < SETTING_TEXT_ROOM);
    memset(value, 'a', sizeof(value));
    value[s->max + 1] = '\0';
    refused_from_everywhere(s, value);
    if (s->min > 1) {
        value[s->min - 1] = '\0';
        refused_from_everywhere(s, value);
    }
    value[0] = '\0';
    assert_int_equal(load_one(s, FROM_COMMAND_LINE, value), s->min == 0);
    assert_int_equal(load_one(s, FROM_FILE, value), s->min == 0);
    assert_true(load_one(s, FROM_ENVIRONMENT, value)); /* there, empty means "not set" */
    for (enum source source = 0; source < SOURCES; source++) {
        assert_false(load_one(s, source, "a\033b[31m"));
        assert_non_null(strstr(error, s->name));
        assert_null(strchr(error, '\033'));
    }
    if (s->type == SETTING_address || s->type == SETTING_addresses)
        return;
    memset(value, 'a', s->max);
    value[s->max] = '\0';
    taken_from_everywhere(s, value);
}

static void limits_of_every_row(void **state)
{
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];

        assert_true(s->min <= s->max);
        if (s->type == SETTING_u32) {
            number_limits(s);
        } else if (s->type == SETTING_flag) {
            taken_from_everywhere(s, "on");
            taken_from_everywhere(s, "off");
            refused_from_everywhere(s, "maybe");
            refused_from_everywhere(s, "2");
        } else if (s->type == SETTING_word) {
            word_limits(s);
        } else {
            text_limits(s);
        }
    }
}

/* Each word of log_level is a level that the log knows, and of media_log_level all but "none". */
static void words_of_log_levels(void **state)
{
    unsigned levels = 0;

    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];
        enum log_level level;
        char words[200];

        if (s->type != SETTING_word || !strstr(s->name, "log_level"))
            continue;
        snprintf(words, sizeof(words), "%s", s->words);
        for (char *word = strtok(words, ", "); word; word = strtok(NULL, ", ")) {
            assert_int_equal(log_level_find(word, &level), strcmp(word, "none") != 0);
            levels++;
        }
    }
    assert_int_equal(levels, 8);
}

/* ---- reload ---- */

/* Changes each row alone: the comparison names it once, as live or as needing a restart, and a
 * reload applies it only when it is live. */
static void a_reload_applies_live_settings(void **state)
{
    struct settings_changes changes;
    struct settings now, fresh, after;

    loads_words(1, NULL);
    now = settings;
    settings_compare(&now, &now, "CP", &changes);
    assert_string_equal(changes.live, "");
    assert_string_equal(changes.restart, "");
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];
        bool mine = strcmp(s->who, "DP") != 0;

        fresh = after = now;
        ((uint8_t *)&fresh)[s->offset] ^= 1;
        settings_compare(&now, &fresh, "CP", &changes);
        assert_string_equal(changes.live, s->live && mine ? s->name : "");
        assert_string_equal(changes.restart, !s->live && mine ? s->name : "");
        settings_compare(&now, &fresh, "DP", &changes);
        mine = strcmp(s->who, "CP") != 0;
        assert_string_equal(changes.live, s->live && mine ? s->name : "");
        assert_string_equal(changes.restart, !s->live && mine ? s->name : "");
        settings_apply_live(&after, &fresh);
        assert_memory_equal(&after, s->live ? &fresh : &now, sizeof(after));
    }
    memset(&fresh, 0xff, sizeof(fresh)); /* with all settings changed, all names still fit */
    settings_compare(&now, &fresh, "CP", &changes);
    assert_true(strlen(changes.live) + 65 < SETTING_NAMES_BYTES);
    assert_true(strlen(changes.restart) + 65 < SETTING_NAMES_BYTES);
    loads_words(2, "--media-log-level=warn"); /* the default, but given */
    settings_compare(&now, &settings, "DP", &changes);
    assert_string_equal(changes.live, "media_log_level");
    settings_apply_live(&now, &settings);
    assert_true(now.media_log_level_given);
}

static void children_do_not_inherit_secrets(void **state)
{
    unsigned secrets = 0;

    for (size_t i = 0; i < settings_row_count; i++)
        setenv(settings_rows[i].environment, "planted", 1);
    settings_unset_secrets();
    for (size_t i = 0; i < settings_row_count; i++) {
        bool is_secret = settings_rows[i].type == SETTING_secret;

        assert_int_equal(getenv(settings_rows[i].environment) == NULL, is_secret);
        secrets += is_secret;
    }
    assert_true(secrets >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_of_every_row),
        cmocka_unit_test(words_of_log_levels),
        cmocka_unit_test(a_reload_applies_live_settings),
        cmocka_unit_test(children_do_not_inherit_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
