/* Settings, generated from their rows: each at and beyond its ends from each source, each in a reload. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these first */
#include <cmocka.h>

#include "src/settings.c"

#include <sys/mman.h>
#include <unistd.h>

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

/* One value from one source, past the texts above, which split at '|'. */
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

/* The sentence says where it came from, the key, and the value unless it is a secret. */
static void refused_from_everywhere(const struct setting *s, const char *value, const char *range)
{
    for (enum source source = 0; source < SOURCES; source++) {
        if (load_one(s, source, value))
            fail_msg("%s took \"%s\" from source %d", s->name, value, source);
        if (!strstr(error, s->name) || !strstr(error, range))
            fail_msg("\"%s\" names not %s and %s", error, s->name, range);
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

/* By itself; whether several go together is another question, whose sentence names no source. */
static void taken_from_everywhere(const struct setting *s, const char *value)
{
    for (enum source source = 0; source < SOURCES; source++)
        if (!load_one(s, source, value) &&
            (strstr(error, "command line:") || strstr(error, "environment variable") ||
             strstr(error, " line 1:")))
            fail_msg("%s refused \"%s\": %s", s->name, value, error);
}

static void number_at_its_ends(const struct setting *s)
{
    static const char *const junk[] = {
        "x", "-1", "+1", " 1", "1 ", "0x10", "1.5", "1e3", "4294967296", "99999999999999999999999",
        "on"};
    char value[32], range[80];

    snprintf(range, sizeof(range), "from %u to %u", (unsigned)s->min, (unsigned)s->max);
    snprintf(value, sizeof(value), "%u", (unsigned)s->min);
    taken_from_everywhere(s, value);
    snprintf(value, sizeof(value), "%u", (unsigned)s->max);
    taken_from_everywhere(s, value);
    snprintf(value, sizeof(value), "%llu", (unsigned long long)s->max + 1);
    refused_from_everywhere(s, value, range);
    if (s->min > 0) {
        snprintf(value, sizeof(value), "%u", (unsigned)s->min - 1);
        refused_from_everywhere(s, value, range);
    }
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
        refused_from_everywhere(s, junk[i], range);
}

/* Words and addresses have shapes of their own (refusals); here only how long they may be. */
static void text_at_its_ends(const struct setting *s)
{
    char value[SETTING_TEXT_ROOM + 2], range[80];

    assert_true(s->max < SETTING_TEXT_ROOM);
    snprintf(range, sizeof(range), "%u to %u bytes", (unsigned)s->min, (unsigned)s->max);
    memset(value, 'a', sizeof(value));
    value[s->max + 1] = '\0';
    refused_from_everywhere(s, value, range);
    if (s->min > 1) {
        value[s->min - 1] = '\0';
        refused_from_everywhere(s, value, range);
    }
    value[0] = '\0'; /* in the environment that is "not set" */
    assert_int_equal(load_one(s, FROM_COMMAND_LINE, value), s->min == 0);
    assert_int_equal(load_one(s, FROM_FILE, value), s->min == 0);
    assert_true(load_one(s, FROM_ENVIRONMENT, value));
    for (enum source source = 0; source < SOURCES; source++) {
        assert_false(load_one(s, source, "a\033b[31m"));
        assert_non_null(strstr(error, s->name));
        assert_null(strchr(error, '\033'));
    }
    for (size_t i = 0; i < sizeof(enumerated) / sizeof(enumerated[0]); i++)
        if (strcmp(enumerated[i].name, s->name) == 0)
            return;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        if (strcmp(addresses[i], s->name) == 0)
            return;
    memset(value, 'a', s->max);
    value[s->max] = '\0';
    taken_from_everywhere(s, value);
}

static void every_row_at_its_ends(void **state)
{
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];

        assert_true(s->min <= s->max);
        if (s->type == SETTING_u32) {
            number_at_its_ends(s);
        } else if (s->type == SETTING_flag) {
            taken_from_everywhere(s, "on");
            taken_from_everywhere(s, "off");
            refused_from_everywhere(s, "maybe", "on or off");
            refused_from_everywhere(s, "2", "on or off");
        } else {
            text_at_its_ends(s);
        }
    }
}

/* ---- reload ---- */

/* Each row changed by itself: named once, as live or as not; taken over only when live. */
static void a_reload_takes_what_is_live(void **state)
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
    memset(&fresh, 0xff, sizeof(fresh)); /* everything at once: all names fit */
    settings_compare(&now, &fresh, "CP", &changes);
    assert_true(strlen(changes.live) + 65 < SETTING_NAMES_BYTES);
    assert_true(strlen(changes.restart) + 65 < SETTING_NAMES_BYTES);
    loads_words(2, "--media-log-level=warn"); /* given, although it is the default */
    settings_compare(&now, &settings, "DP", &changes);
    assert_string_equal(changes.live, "media_log_level");
    settings_apply_live(&now, &settings);
    assert_true(now.media_log_level_given);
}

static void no_secret_is_left_for_a_child(void **state)
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
        cmocka_unit_test(every_row_at_its_ends),
        cmocka_unit_test(a_reload_takes_what_is_live),
        cmocka_unit_test(no_secret_is_left_for_a_child),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
