/* Settings: the four sources and which one wins, the sentence of every refusal, the printed
 *           forms. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "src/settings.c"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static struct settings settings;
static enum settings_request request;
static char error[SETTING_ERROR_BYTES];

/* Splits "a|b|c" into words; an empty list has none. */
static unsigned split(const char *list, char *room, char **words, unsigned most)
{
    unsigned count = 0;

    strcpy(room, list);
    for (char *word = strtok(room, "|"); word && count < most; word = strtok(NULL, "|"))
        words[count++] = word;
    words[count] = NULL;
    return count;
}

/* Loads from texts. `file` goes into a memory file that --config names; NULL: no file. */
static bool load(const char *arguments, const char *environment, const char *file)
{
    char argument_room[1024], environment_room[1024], path[40];
    char *argv[40] = {"program"}, *env[40];
    unsigned argc = 1 + split(arguments, argument_room, argv + 1, 30);
    int fd = -1;
    bool fine;

    split(environment, environment_room, env, 30);
    if (file) {
        fd = memfd_create("settings", 0);
        assert_int_equal(write(fd, file, strlen(file)), strlen(file));
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        argv[argc++] = "--config";
        argv[argc++] = path;
    }
    fine = settings_load(&settings, (int)argc, argv, env, &request, error);
    if (fd >= 0)
        close(fd);
    return fine;
}

static void loads(const char *arguments, const char *environment, const char *file)
{
    if (!load(arguments, environment, file))
        fail_msg("refused: %s", error);
}

static void defaults(void **state)
{
    loads("", "", NULL);
    assert_int_equal(request, SETTINGS_RUN);
    assert_string_equal(settings.node_env, "development");
    assert_int_equal(settings.http_port, 3000);
    assert_int_equal(settings.media_port_min, 40000);
    assert_int_equal(settings.media_port_max, 49999);
    assert_true(settings.short_events);
    assert_true(settings.sandbox);
    assert_string_equal(settings.jwt_secret, "");
    assert_string_equal(settings.media_codecs, "opus,VP8,VP9,VP9:2,H264:4d0032,H264:42e01f,AV1");
    assert_false(settings.media_log_level_given);
}

/* A default must pass the same checks as a value that a person gives. */
static void defaults_are_allowed(void **state)
{
    char arguments[700], value[SETTING_TEXT_ROOM];

    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];

        if (s->type == SETTING_u32)
            snprintf(value, sizeof(value), "%u", s->default_number);
        else if (s->type == SETTING_flag)
            snprintf(value, sizeof(value), "%s", s->default_number ? "on" : "off");
        else
            snprintf(value, sizeof(value), "%s", s->default_text);
        snprintf(arguments, sizeof(arguments), "--%s=%s", s->name, value);
        loads(arguments, "", NULL);
        assert_true(s->max < SETTING_TEXT_ROOM || s->type == SETTING_u32);
    }
}

static void later_sources_win(void **state)
{
    static const struct {
        const char *arguments, *environment, *file;
        uint32_t port;
    } rows[] = {
        {"", "", NULL, 3000},
        {"", "PORT=1", NULL, 1},
        {"", "PORT=1", "http_port = 2\n", 2},
        {"--http-port|3", "PORT=1", "http_port = 2\n", 3},
        {"--http-port=3", "PORT=1", "http_port = 2\n", 3},
        {"--http_port|3", "", NULL, 3},
        {"--http-port|3|--http-port|4", "", NULL, 4},
        {"", "", "http_port = 5\nhttp_port = 6", 6},
        {"", "", "http-port=5", 5},
        {"", "PORT=", NULL, 3000},
        {"", "PORTX=7|XPORT=8|PORT", NULL, 3000},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        loads(rows[i].arguments, rows[i].environment, rows[i].file);
        assert_int_equal(settings.http_port, rows[i].port);
    }
}

static void file_syntax(void **state)
{
    loads("", "",
          "# a comment\n"
          "\n"
          "  \t # another\r\n"
          "http_port=81\r\n"
          "  node_env\t=  production  \n"
          "jwt_secret = a#b=c d # and this is not it\n"
          "cors_origins = \"https://a.example, https://b.example\" # quoted\n"
          "page_directory = \" # \"\n"
          "trusted_proxies = \"a \\\"b\\\" c\\\\\" # escapes\n"
          "run_as = \"\"\n"
          "http_listen_ip =\n"
          "sandbox = off");
    assert_int_equal(settings.http_port, 81);
    assert_string_equal(settings.node_env, "production");
    assert_string_equal(settings.jwt_secret, "a#b=c d");
    assert_string_equal(settings.cors_origins, "https://a.example, https://b.example");
    assert_string_equal(settings.page_directory, " # ");
    assert_string_equal(settings.trusted_proxies, "a \"b\" c\\");
    assert_string_equal(settings.run_as, "");
    assert_string_equal(settings.http_listen_ip, "");
    assert_false(settings.sandbox);
}

static void environment_of_the_nestjs_backend(void **state)
{
    loads("",
          "NODE_ENV=production|PORT=8080|JWT_SECRET=0123456789abcdef0123456789abcdef|"
          "JWT_EXPIRATION=7200|MEDIASOUP_LISTEN_IP=0.0.0.0|MEDIASOUP_ANNOUNCED_IP=203.0.113.9|"
          "MEDIASOUP_MIN_PORT=41000|MEDIASOUP_MAX_PORT=41999|MEDIASOUP_NUM_WORKERS=2|"
          "MEDIASOUP_LOG_LEVEL=none|MAX_PARTICIPANTS_PER_ROOM=50|POSTGRES_HOST=db|REDIS_HOST=r|"
          "REDIS_PORT=6380|"
          "REDIS_PASSWORD=p",
          NULL);
    assert_string_equal(settings.redis_host, "r");
    assert_int_equal(settings.redis_port, 6380);
    assert_string_equal(settings.redis_password, "p");
    assert_string_equal(settings.node_env, "production");
    assert_int_equal(settings.http_port, 8080);
    assert_string_equal(settings.jwt_secret, "0123456789abcdef0123456789abcdef");
    assert_int_equal(settings.jwt_expiration_s, 7200);
    assert_string_equal(settings.media_announced_ip, "203.0.113.9");
    assert_int_equal(settings.media_port_min, 41000);
    assert_int_equal(settings.media_port_max, 41999);
    assert_int_equal(settings.workers, 2);
    assert_int_equal(settings.room_participants_max, 50);
    assert_string_equal(settings.media_log_level, "none");
    assert_true(settings.media_log_level_given);
}

static void media_log_level_is_given_by_any_source(void **state)
{
    loads("--media-log-level|debug", "", NULL);
    assert_true(settings.media_log_level_given);
    loads("", "", "media_log_level = error");
    assert_true(settings.media_log_level_given);
    loads("--log-level|debug", "MEDIASOUP_LOG_LEVEL=", NULL);
    assert_false(settings.media_log_level_given);
}

static void flags(void **state)
{
    static const struct {
        const char *word;
        int value; /* -1: refused */
    } rows[] = {{"on", 1},  {"off", 0}, {"TRUE", 1}, {"False", 0}, {"1", 1}, {"0", 0},
                {"yes", 1}, {"no", 0},  {"2", -1},   {"onn", -1},  {"", -1}, {"o", -1}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char argument[40];

        snprintf(argument, sizeof(argument), "--sandbox=%s", rows[i].word);
        assert_int_equal(load(argument, "", NULL), rows[i].value >= 0);
        if (rows[i].value >= 0)
            assert_int_equal(settings.sandbox, rows[i].value);
        else
            assert_non_null(strstr(error, "set it to on or off"));
    }
}

static void requests(void **state)
{
    static const struct {
        const char *arguments, *environment;
        enum settings_request request;
    } rows[] = {
        {"--help", "", SETTINGS_HELP},
        {"--help", "PORT=nonsense", SETTINGS_HELP},
        {"--version", "PORT=nonsense", SETTINGS_VERSION},
        {"--check", "", SETTINGS_CHECK},
        {"--print-config|--http-port|4", "", SETTINGS_PRINT},
        {"--http-port|4|--print-config", "", SETTINGS_PRINT},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        loads(rows[i].arguments, rows[i].environment, NULL);
        assert_int_equal(request, rows[i].request);
    }
    assert_int_equal(settings.http_port, 4);
}

/* ---- refusals: the sentence names the setting, the value and what is allowed ---- */

static void refusals(void **state)
{
    static const struct {
        const char *arguments, *environment, *file, *sentence;
    } rows[] = {
        {"--http-port|0", "", NULL,
         "command line: http_port cannot be \"0\": set it to a whole number from 1 to 65535, or "
         "remove it to get the default, 3000"},
        {"--http-port|65536", "", NULL, "http_port cannot be \"65536\": set"},
        {"--http-port|99999999999999999999", "", NULL,
         "http_port cannot be \"99999999999999999999\": set"},
        {"--http-port|12x", "", NULL, "http_port cannot be \"12x\": set"},
        {"--http-port=-1", "", NULL, "http_port cannot be \"-1\": set"},
        {"--http-port=+1", "", NULL, "http_port cannot be \"+1\": set"},
        {"--http-port= 1", "", NULL, "http_port cannot be \" 1\": set"},
        {"--http-port=0x10", "", NULL, "http_port cannot be \"0x10\": set"},
        {"--http-port=", "", NULL, "http_port cannot be \"\": set"},
        {"--consent-timeout-ms|1", "", NULL,
         "cannot be \"1\": set it to a whole number from 5000 to 120000 ms"},
        {"", "PORT=abc", NULL, "environment variable PORT: http_port cannot be"},
        {"", "", "\nhttp_port = x", " line 2: http_port cannot be"},
        {"--http-port", "", NULL,
         "command line: --http-port needs a value: write --http-port=VALUE"},
        {"--http-port|--help", "", NULL,
         "command line: --http-port needs a value: write --http-port=VALUE"},
        {"--config", "", NULL, "command line: --config needs a value"},
        {"--config|/nonexistent/ringcast.conf", "", NULL,
         "the configuration file /nonexistent/ringcast.conf cannot be read: No such file or "
         "directory; check"},
        {"http_port|3", "", NULL, "\"http_port\" is not an option"},
        {"-h", "", NULL, "\"-h\" is not an option"},
        {"--", "", NULL, "\"--\" is not an option"},
        {"--htp-port|3", "", NULL, "there is no setting htp-port; did you mean http_port?"},
        {"--MEDIASOUP_MIN_PORT|3", "", NULL, "did you mean media_port_min?"},
        {"--colour|red", "", NULL, "there is no setting colour; --help lists all settings"},
        {"", "", "media_prot_min = 3",
         "line 1: there is no setting media_prot_min; did you mean "
         "media_port_min?"},
        {"", "", "http_port 3",
         "line 1: \"http_port 3\" has no '=': write the line as name = value"},
        {"", "", "node_env = \"x", "line 1: the quotes around the value of node_env do not match"},
        {"", "", "node_env = \"x\\", "the quotes around the value of node_env do not match"},
        {"", "", "node_env = \"x\\\"", "the quotes around the value of node_env do not match"},
        {"", "", "node_env = \"x\" y", "the quotes around the value of node_env do not match"},
        {"", "", "node_env =", "node_env cannot be \"\": set it to any text of 1 to 32 bytes"},
        {"", "", "node_env = a\tb", "node_env contains a control character: remove it"},
        {"--log-level|loud", "", NULL,
         "log_level cannot be \"loud\": set it to error, warn, info or debug, or remove it to get "
         "the default, info"},
        {"--log-level|inf", "", NULL, "log_level cannot be \"inf\": set it to error, warn"},
        {"--log-level|warn info", "", NULL, "log_level cannot be \"warn info\""},
        {"--media-log-level|info", "", NULL,
         "cannot be \"info\": set it to debug, warn, error or none"},
        {"--log-format|xml!", "", NULL, "log_format cannot be \"xml!\": set it to logfmt or json"},
        {"--persistence|oracle", "", NULL,
         "persistence cannot be \"oracle\": set it to sqlite or postgres"},
        {"--state|valkey", "", NULL, "state cannot be \"valkey\": set it to memory or redis"},
        {"--redis-sentinels|a:1,b:70000", "", NULL,
         "redis_sentinels has \"b:70000\", which is not host:port"},
        {"", "REDIS_TLS_CERT=/c.pem", NULL, "only one of redis_tls_cert and redis_tls_key is set"},
        {"", "TURN_URLS=turn:a,http://b", NULL, "turn_urls has \"http://b\", which is not a stun:"},
        {"", "REDIS_PORT=0", NULL,
         "environment variable REDIS_PORT: redis_port cannot be \"0\": set it to a whole number "
         "from 1"},
        {"--io-backend|dpdk", "", NULL, "cannot be \"dpdk\": set it to auto, io_uring or socket"},
        {"--media-listen-ip|localhost", "", NULL,
         "set it to IPv4 or IPv6 addresses, comma separated"},
        {"--media-listen-ip|1.2.3", "", NULL, "set it to IPv4 or IPv6 addresses, comma separated"},
        {"--http-listen-ip|127.0.0.1,::1", "", NULL,
         "cannot be \"127.0.0.1,::1\": set it to an IPv4 or IPv6 address, or empty"},
        {"--media-announced-ip|1.2.3.4,", "", NULL,
         "set it to IPv4 or IPv6 addresses, comma separated"},
        {"--media-announced-ip|1.2.3.4,,::1", "", NULL,
         "set it to IPv4 or IPv6 addresses, comma separated"},
        {"--media-port-min|50000", "", NULL,
         "media_port_max (49999) is below media_port_min (50000): raise"},
        {"--media-port-min|49998|--workers|3", "", NULL,
         "holds only 2 ports and each worker needs one"},
        {"--workers|17", "", NULL, "cannot be \"17\": set it to a whole number from 0 to 16"},
    };

    loads("--http-port|1234", "", NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_false(load(rows[i].arguments, rows[i].environment, rows[i].file));
        if (!strstr(error, rows[i].sentence))
            fail_msg("\"%s\" does not say \"%s\"", error, rows[i].sentence);
        assert_null(strchr(error, '\n'));
        assert_int_equal(settings.http_port, 1234); /* a refused load changes nothing */
    }
}

static void addresses_that_are_allowed(void **state)
{
    static const char *const rows[] = {"0.0.0.0", "::", "0.0.0.0,::", "192.0.2.1, 2001:db8::1",
                                       "192.0.2.1 ,198.51.100.2"};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char argument[80];

        snprintf(argument, sizeof(argument), "--media-announced-ip=%s", rows[i]);
        loads(argument, "", NULL);
        assert_string_equal(settings.media_announced_ip, rows[i]);
    }
}

static void an_error_text_shows_no_secret(void **state)
{
    char secret[700], argument[720];

    memset(secret, 'k', sizeof(secret) - 1);
    secret[sizeof(secret) - 1] = '\0';
    snprintf(argument, sizeof(argument), "--jwt-secret=%s", secret);
    assert_false(load(argument, "", NULL));
    assert_non_null(strstr(error,
                           "jwt_secret cannot be a text of 699 bytes: set it to any text of up to "
                           "500 bytes"));
    assert_null(strstr(error, "kkk"));
}

static void lines_that_are_too_long(void **state)
{
    char file[3000];

    memset(file, 'a', sizeof(file));
    file[sizeof(file) - 1] = '\0';
    assert_false(load("", "", file));
    assert_non_null(strstr(error, "line 1 is longer than"));
    memcpy(file, "# ", 2);
    assert_false(load("", "", file));
}

static void postgres_variables_are_found(void **state)
{
    char *none[] = {"PORT=1", "POSTGRES_HOST=", "XPOSTGRES_DB=1", NULL};
    char *some[] = {"POSTGRES_DB=d", "POSTGRES_PASSWORD=secret", NULL};
    char names[200], little[10];

    assert_false(settings_find_postgres_variables(none, names, sizeof(names)));
    assert_string_equal(names, "");
    assert_true(settings_find_postgres_variables(some, names, sizeof(names)));
    assert_string_equal(names, "POSTGRES_PASSWORD, POSTGRES_DB");
    assert_true(settings_find_postgres_variables(some, little, sizeof(little)));
    assert_string_equal(little, "POSTGRES_");
}

/* ---- printing ---- */

static char printed[60000];

static const char *print_form(enum settings_form form)
{
    int fd = memfd_create("printed", 0);
    ssize_t bytes;

    settings_print(&settings, form, fd);
    bytes = pread(fd, printed, sizeof(printed) - 1, 0);
    assert_in_range(bytes, 1, sizeof(printed) - 2);
    printed[bytes] = '\0';
    close(fd);
    return printed;
}

static void what_is_printed_loads_again(void **state)
{
    struct settings before;

    loads("--http-port|99|--sandbox|off|--page-directory|/a "
          "b\"\\/#c|--data-directory|a\"b\\c|--run-as=|--cors-origins|*",
          "MEDIASOUP_LOG_LEVEL=error", NULL);
    before = settings;
    loads("", "", print_form(SETTINGS_AS_FILE));
    assert_memory_equal(&before, &settings, sizeof(before));
    loads("", "", NULL);
    before = settings;
    loads("", "", print_form(SETTINGS_AS_FILE));
    assert_memory_equal(&before, &settings, sizeof(before));
}

static void secrets_are_masked(void **state)
{
    loads("--jwt-secret|hunter2hunter2", "", NULL);
    for (int form = SETTINGS_AS_FILE; form <= SETTINGS_AS_MARKDOWN; form++)
        assert_null(strstr(print_form((enum settings_form)form), "hunter2"));
    assert_non_null(strstr(print_form(SETTINGS_AS_FILE), "# jwt_secret = (set)\n"));
}

/* The sample file holds the defaults: as it is, and with the # removed from every setting. */
static void the_sample_holds_the_defaults(void **state)
{
    static char sample[60000], used[60000];
    struct settings fresh;
    unsigned taken = 0;

    loads("", "", NULL);
    fresh = settings;
    strcpy(sample, print_form(SETTINGS_AS_SAMPLE));
    loads("", "", sample);
    assert_memory_equal(&fresh, &settings, sizeof(fresh));
    used[0] = '\0';
    for (char *line = strtok(sample, "\n"); line; line = strtok(NULL, "\n")) {
        const char *equals = strstr(line, " = ");
        char name[64] = "";

        if (equals && sscanf(line, "# %63s", name) == 1 && find_setting(name)) {
            strcat(strcat(used, line + 2), "\n");
            taken++;
        }
    }
    assert_int_equal(taken, settings_row_count);
    loads("", "", used);
    assert_true(settings.media_log_level_given);
    settings.media_log_level_given = false;
    assert_memory_equal(&fresh, &settings, sizeof(fresh));
}

static void every_form_names_every_setting(void **state)
{
    loads("", "", NULL);
    for (int form = SETTINGS_AS_FILE; form <= SETTINGS_AS_MARKDOWN; form++) {
        print_form((enum settings_form)form);
        for (size_t i = 0; i < settings_row_count; i++) {
            char name[64];

            snprintf(name, sizeof(name), "%s", settings_rows[i].name);
            for (char *at = name; form == SETTINGS_AS_HELP && *at; at++)
                *at = *at == '_' ? '-' : *at;
            assert_non_null(strstr(printed, name));
        }
    }
}

static void every_form_shows_every_heading(void **state)
{
    unsigned headings = 0;

    loads("", "", NULL);
    assert_non_null(settings_rows[0].heading);
    for (int form = SETTINGS_AS_FILE; form <= SETTINGS_AS_MARKDOWN; form++) {
        print_form((enum settings_form)form);
        for (size_t i = 0; i < settings_row_count; i++) {
            if (!settings_rows[i].heading)
                continue;
            assert_non_null(strstr(printed, settings_rows[i].heading));
            headings++;
        }
    }
    assert_true(headings >= 4 * 10);
}

/* Help, sample and Markdown say what is allowed in the same words as the error text. */
static void every_form_says_what_is_allowed(void **state)
{
    char allowed[SETTING_ALLOWED_BYTES];

    loads("", "", NULL);
    for (int form = SETTINGS_AS_HELP; form <= SETTINGS_AS_MARKDOWN; form++) {
        print_form((enum settings_form)form);
        for (size_t i = 0; i < settings_row_count; i++)
            assert_non_null(strstr(printed, setting_allowed(&settings_rows[i], allowed)));
    }
}

/* configs/ringcast.conf is `ringcastctl settings --sample`; tests run in the top folder. */
static void the_sample_in_configs_is_up_to_date(void **state)
{
    static char stored[60000];
    int fd = open("configs/ringcast.conf", O_RDONLY);
    ssize_t bytes = read(fd, stored, sizeof(stored) - 1);

    assert_true(fd >= 0 && bytes > 0);
    close(fd);
    loads("", "", NULL);
    if (strcmp(stored, print_form(SETTINGS_AS_SAMPLE)) != 0)
        fail_msg("configs/ringcast.conf is out of date: run "
                 "make settings");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(defaults_are_allowed),
        cmocka_unit_test(later_sources_win),
        cmocka_unit_test(file_syntax),
        cmocka_unit_test(environment_of_the_nestjs_backend),
        cmocka_unit_test(media_log_level_is_given_by_any_source),
        cmocka_unit_test(flags),
        cmocka_unit_test(requests),
        cmocka_unit_test(refusals),
        cmocka_unit_test(addresses_that_are_allowed),
        cmocka_unit_test(an_error_text_shows_no_secret),
        cmocka_unit_test(lines_that_are_too_long),
        cmocka_unit_test(postgres_variables_are_found),
        cmocka_unit_test(what_is_printed_loads_again),
        cmocka_unit_test(secrets_are_masked),
        cmocka_unit_test(the_sample_holds_the_defaults),
        cmocka_unit_test(every_form_names_every_setting),
        cmocka_unit_test(every_form_shows_every_heading),
        cmocka_unit_test(every_form_says_what_is_allowed),
        cmocka_unit_test(the_sample_in_configs_is_up_to_date),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
