/* Log lines: form, escaping, cutting, muting, several threads. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "src/log.c"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

static char caught[1 << 20];

/* catch_begin redirects standard error to a memory file; catch_end returns what was written. */
static int saved, capture;

static void catch_begin(void)
{
    capture = memfd_create("log", MFD_CLOEXEC);
    saved = dup(STDERR_FILENO);
    dup2(capture, STDERR_FILENO);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_APPEND), 0);
}

static const char *catch_end(void)
{
    ssize_t bytes;

    dup2(saved, STDERR_FILENO);
    close(saved);
    bytes = pread(capture, caught, sizeof(caught) - 1, 0);
    caught[bytes < 0 ? 0 : bytes] = '\0';
    close(capture);
    return caught;
}

/* Checks the form of the time stamp; returns the rest of the line. */
static const char *behind_time(const char *line, bool json)
{
    const char *shape =
        json ? "{\"time\":\"dddd-dd-ddTdd:dd:dd.dddZ\"," : "time=dddd-dd-ddTdd:dd:dd.dddZ ";
    const char *at = line;

    for (; *shape; shape++, at++) {
        if (*shape == 'd')
            assert_in_range(*at, '0', '9');
        else
            assert_int_equal(*at, *shape);
    }
    return at;
}

static void form_of_a_line(void **state)
{
    log_open("handshaker", LOG_INFO, false);
    catch_begin();
    LOG(INFO, "dtls", "handshake finished", F("transport", "%s", "ab-12"), F("ms", "%u", 12u));
    assert_string_equal(behind_time(catch_end(), false),
                        "level=info process=handshaker area=dtls transport=ab-12 ms=12 "
                        "msg=\"handshake finished\"\n");
    log_open("handshaker", LOG_INFO, true);
    catch_begin();
    LOG(ERROR, "dtls", "no", F("n", "%d", -1));
    assert_string_equal(behind_time(catch_end(), true),
                        "\"level\":\"error\",\"process\":\"handshaker\",\"area\":\"dtls\","
                        "\"n\":\"-1\",\"msg\":\"no\"}\n");
    log_open("x", LOG_INFO, false);
    catch_begin();
    LOG(WARN, "a", "b");
    assert_string_equal(behind_time(catch_end(), false), "level=warn process=x area=a msg=b\n");
}

static void levels(void **state)
{
    static const struct {
        enum log_level set;
        bool error, warn, info, debug;
    } rows[] = {
        {LOG_ERROR, true, false, false, false},
        {LOG_WARN, true, true, false, false},
        {LOG_INFO, true, true, true, false},
        {LOG_DEBUG, true, true, true, true},
    };

    for (size_t i = 0; i < 4; i++) {
        log_open("x", rows[i].set, false);
        assert_int_equal(log_enabled(LOG_ERROR), rows[i].error);
        assert_int_equal(log_enabled(LOG_WARN), rows[i].warn);
        assert_int_equal(log_enabled(LOG_INFO), rows[i].info);
        assert_int_equal(log_enabled(LOG_DEBUG), rows[i].debug);
    }
    log_open("x", LOG_WARN, false);
    catch_begin();
    LOG(INFO, "a", "not this");
    assert_string_equal(catch_end(), "");
}

static void escaping(void **state)
{
    static const struct {
        const char *value, *logfmt, *json;
    } rows[] = {
        {"plain-1.2:3/4", "plain-1.2:3/4", "\"plain-1.2:3/4\""},
        {"", "\"\"", "\"\""},
        {"two words", "\"two words\"", "\"two words\""},
        {"a=b", "\"a=b\"", "\"a=b\""},
        {"say \"x\"", "\"say \\\"x\\\"\"", "\"say \\\"x\\\"\""},
        {"back\\slash", "\"back\\\\slash\"", "\"back\\\\slash\""},
        {"line\nfeed", "\"line\\nfeed\"", "\"line\\nfeed\""},
        {"tab\tcr\r", "\"tab\\x09cr\\x0d\"", "\"tab\\u0009cr\\u000d\""},
        {"\033[2J", "\"\\x1b[2J\"", "\"\\u001b[2J\""},
        {"\x7f", "\"\\x7f\"", "\"\\u007f\""},
        {"Jürgen €", "\"Jürgen €\"", "\"Jürgen €\""},
        {"\U0001f600", "\"\U0001f600\"", "\"\U0001f600\""},
        {"\xc2\x9b"
         "2J",
         "\"\\xc2\\x9b2J\"", "\"\\u00c2\\u009b2J\""}, /* C1 control */
        {"\xff\xfe", "\"\\xff\\xfe\"", "\"\\u00ff\\u00fe\""},
        {"\xc0\x80", "\"\\xc0\\x80\"", "\"\\u00c0\\u0080\""},                 /* over-long */
        {"\xed\xa0\x80", "\"\\xed\\xa0\\x80\"", "\"\\u00ed\\u00a0\\u0080\""}, /* surrogate */
        {"cut \xe2\x82", "\"cut \\xe2\\x82\"", "\"cut \\u00e2\\u0082\""},
        {"\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\"", "\"\\u00f4\\u0090\\u0080\\u0080\""},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (unsigned json = 0; json < 2; json++) {
            struct log_site site = {0};
            struct log_field field = F("v", "%s", rows[i].value);
            char expected[200];
            const char *line;

            log_open("x", LOG_INFO, json);
            catch_begin();
            log_line(&site, LOG_INFO, "a", "m", &field, 1);
            line = catch_end();
            snprintf(expected, sizeof(expected),
                     json ? "\"v\":%s,\"msg\":\"m\"}\n" : " v=%s msg=m\n",
                     json ? rows[i].json : rows[i].logfmt);
            if (!strstr(line, expected))
                fail_msg("row %zu: %s has no %s", i, line, expected);
        }
    }
}

/* However many and long the fields are: one line, at most LINE_BYTES, with the message complete. */
static void long_lines_are_cut(void **state)
{
    static const char *const fillers[] = {"x", "\x01", "\"", "€"};
    struct log_field fields[40];

    for (unsigned f = 0; f < 4; f++) {
        for (unsigned count = 0; count <= 40; count++) {
            struct log_site site = {0};
            const char *line;
            size_t bytes;

            for (unsigned i = 0; i < count; i++) {
                fields[i] = log_field("key", "%s", "");
                while (strlen(fields[i].value) + strlen(fillers[f]) < LOG_FIELD_BYTES)
                    strcat(fields[i].value, fillers[f]);
            }
            log_open("x", LOG_INFO, true);
            catch_begin();
            log_line(&site, LOG_INFO, "a", "the message", fields, count);
            line = catch_end();
            bytes = strlen(line);
            assert_true(bytes <= LINE_BYTES);
            assert_ptr_equal(strchr(line, '\n'), line + bytes - 1);
            assert_string_equal(line + bytes - 22, ",\"msg\":\"the message\"}\n");
        }
    }
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void write_lines(struct log_site *site, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        log_line(site, LOG_WARN, "a", "again", NULL, 0);
}

static void a_busy_site_is_muted(void **state)
{
    struct log_site site = {0}, other = {0};

    log_open("x", LOG_INFO, false);
    catch_begin();
    write_lines(&site, 1000);
    write_lines(&other, 1);
    assert_int_equal(count_lines(catch_end()), LOG_BURST + 1);

    site.window_ns -= MUTE_NS; /* as if MUTE_NS had passed */
    catch_begin();
    write_lines(&site, 2);
    assert_int_equal(count_lines(catch_end()), 2);
    assert_non_null(strstr(caught, "suppressed=990 msg=again\n"));
    assert_null(strstr(strchr(caught, '\n'), "suppressed"));

    site.window_ns -= 2 * WINDOW_NS; /* a burst long ago does not mute the site */
    catch_begin();
    write_lines(&site, LOG_BURST);
    assert_int_equal(count_lines(catch_end()), LOG_BURST);
}

#define THREADS 4
#define LINES_EACH 5000

static struct log_site shared_site;

static void *flood(void *context)
{
    unsigned *number = context;

    for (unsigned i = 0; i < LINES_EACH; i++) {
        struct log_field field = F("thread", "%u", *number);

        log_line(&shared_site, LOG_WARN, "a", "shared", &field, 1);
        if (i % 1000 == 0)
            LOG(WARN, "a", "own line", F("thread", "%u", *number));
    }
    return NULL;
}

static void threads_share_a_site(void **state)
{
    unsigned numbers[THREADS], lines = 0;
    pthread_t threads[THREADS];

    log_open("x", LOG_INFO, false);
    catch_begin();
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, flood, &numbers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    catch_end();
    for (char *line = strtok(caught, "\n"); line; line = strtok(NULL, "\n")) {
        assert_int_equal(strncmp(line, "time=", 5), 0);
        assert_true(strstr(line, "msg=shared") || strstr(line, "msg=\"own line\""));
        lines++;
    }
    assert_in_range(lines, 2, 2 * LOG_BURST + 2 * THREADS);
    assert_true(shared_site.suppressed + LOG_BURST + THREADS >= THREADS * LINES_EACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form_of_a_line),
        cmocka_unit_test(levels),
        cmocka_unit_test(escaping),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(a_busy_site_is_muted),
        cmocka_unit_test(threads_share_a_site),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
