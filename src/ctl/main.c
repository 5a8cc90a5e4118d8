/* ringcastctl: reads the command line and calls the command. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "src/log.h"
#include "src/settings.h"
#include "src/version.h"

#define USAGE_STATUS 2
#define SETTING_ARGUMENTS_MAX 32

static const char usage[] =
    "ringcastctl looks into a running Ringcast data plane.\n"
    "\n"
    "  ringcastctl dump [TABLE] [--all|--used] [--json]\n"
    "      rows in use (--all: also those that are free again) of a table, or of all tables;\n"
    "      --json: one object a line\n"
    "  ringcastctl top [--once] [--interval SECONDS]\n"
    "      workers, verdicts and transports, live; --once: one look and out\n"
    "  ringcastctl check\n"
    "      headers, rings and heartbeats of the shared memory; status 0 when all writers live\n"
    "  ringcastctl settings [--sample|--markdown|--options]\n"
    "      the settings in force, a sample file, the README's table, every option\n"
    "  ringcastctl version\n"
    "\n"
    "The data plane is found by --data-directory DIR, RINGCAST_DATA or a --config FILE\n"
    "(default ./ringcast-data).\n";

struct arguments {
    const char *command;
    struct dump_options dump;
    struct top_options top;
    enum settings_form form;
    /* The rest, for settings_load. */
    int setting_count;
    char *settings[SETTING_ARGUMENTS_MAX + 1];
};

static bool refuse(const char *text, const char *what)
{
    fprintf(stderr, "ringcastctl: %s%.60s; ringcastctl --help says more\n", text, what);
    return false;
}

static bool parse_interval(const char *text, unsigned *interval_ms)
{
    char *end;
    double seconds = text ? strtod(text, &end) : 0;

    if (!text || *end != '\0' || !(seconds >= 0.1 && seconds <= 3600))
        return refuse("--interval must be 0.1 to 3600 seconds; it is ", text ? text : "missing");
    *interval_ms = (unsigned)(seconds * 1000);
    return true;
}

/* Takes an option of one command. -1: it is none. */
static int take_option(struct arguments *a, const char *word)
{
    static const struct {
        const char *command, *option;
    } options[] = {{"dump", "--all"},      {"dump", "--used"},       {"dump", "--json"},
                   {"top", "--once"},      {"settings", "--sample"}, {"settings", "--markdown"},
                   {"settings", "--file"}, {"settings", "--options"}};
    int at = 0, count = (int)(sizeof(options) / sizeof(options[0]));

    while (at < count &&
           (strcmp(options[at].option, word) != 0 || strcmp(options[at].command, a->command) != 0))
        at++;
    switch (at) {
    case 0:
    case 1:
        a->dump.all = at == 0;
        break;
    case 2:
        a->dump.json = true;
        break;
    case 3:
        a->top.once = true;
        break;
    case 4:
        a->form = SETTINGS_AS_SAMPLE;
        break;
    case 5:
        a->form = SETTINGS_AS_MARKDOWN;
        break;
    case 6:
        a->form = SETTINGS_AS_FILE;
        break;
    case 7:
        a->form = SETTINGS_AS_HELP;
        break;
    default:
        return -1;
    }
    return 0;
}

static bool parse(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){.command = argv[1], .top.interval_ms = 1000, .form = SETTINGS_AS_FILE};
    a->settings[a->setting_count++] = argv[0];
    for (int i = 2; i < argc; i++) {
        bool top = strcmp(a->command, "top") == 0;

        if (take_option(a, argv[i]) == 0)
            continue;
        if (top && strncmp(argv[i], "--interval=", 11) == 0) {
            if (!parse_interval(argv[i] + 11, &a->top.interval_ms))
                return false;
        } else if (top && strcmp(argv[i], "--interval") == 0) {
            if (!parse_interval(i + 1 < argc ? argv[++i] : NULL, &a->top.interval_ms))
                return false;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            if (a->setting_count + 2 > SETTING_ARGUMENTS_MAX)
                return refuse("too many arguments, from ", argv[i]);
            a->settings[a->setting_count++] = argv[i];
            if (!strchr(argv[i], '=') && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0)
                a->settings[a->setting_count++] = argv[++i];
        } else if (strcmp(a->command, "dump") == 0 && !a->dump.table) {
            a->dump.table = argv[i];
        } else {
            return refuse("there is nothing to do with ", argv[i]);
        }
    }
    return true;
}

static int run_on_data_plane(const struct arguments *a, const struct settings *settings)
{
    struct observer observer;
    int status;

    if (!observer_attach(&observer, settings->data_directory))
        return 1;
    if (strcmp(a->command, "dump") == 0)
        status = command_dump(&observer, &a->dump);
    else if (strcmp(a->command, "top") == 0)
        status = command_top(&observer, &a->top);
    else
        status = command_check(&observer);
    observer_detach(&observer);
    return status;
}

static bool is_command(const char *word)
{
    return strcmp(word, "dump") == 0 || strcmp(word, "top") == 0 || strcmp(word, "check") == 0 ||
           strcmp(word, "settings") == 0;
}

int main(int argc, char **argv)
{
    enum settings_request request;
    char error[SETTING_ERROR_BYTES];
    struct settings settings;
    struct arguments a;
    int status = 0;

    log_open("ringcastctl", LOG_WARN, false);
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        fputs(usage, stdout);
    } else if (argc >= 2 &&
               (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)) {
        printf("ringcast %s\n", ringcast_version);
    } else if (argc < 2 || !is_command(argv[1])) {
        if (argc >= 2)
            fprintf(stderr, "ringcastctl: there is no command %.60s\n\n", argv[1]);
        fputs(usage, stderr);
        return USAGE_STATUS;
    } else if (!parse(&a, argc, argv)) {
        return USAGE_STATUS;
    } else if (!settings_load(&settings, a.setting_count, a.settings, environ, &request, error)) {
        fprintf(stderr, "ringcastctl: %s\n", error);
        return USAGE_STATUS;
    } else if (strcmp(a.command, "dump") == 0 && !dump_is_possible(&a.dump)) {
        return USAGE_STATUS;
    } else if (request == SETTINGS_HELP) {
        fputs(usage, stdout);
    } else if (strcmp(a.command, "settings") == 0) {
        settings_print(&settings, a.form, STDOUT_FILENO);
    } else {
        status = run_on_data_plane(&a, &settings);
    }
    if (fflush(stdout) != 0)
        return 1;
    return status;
}
