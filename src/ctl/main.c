/* ringcastctl: parses the command line and runs the command. */
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
    "ringcastctl shows the state of a running Ringcast data plane. It changes nothing.\n"
    "\n"
    "  ringcastctl top [--once] [--interval SECONDS]\n"
    "      a live view of workers, verdicts and transports; --once: show it once and exit\n"
    "  ringcastctl dump [TABLE] [--all|--used] [--json]\n"
    "      the rows in use of one table, or of all tables\n"
    "      --all: also rows that were in use before; --json: one JSON object per line\n"
    "  ringcastctl check\n"
    "      version, rings and heartbeats of the shared memory; exit status 0: all processes live\n"
    "  ringcastctl settings [--sample|--markdown|--options]\n"
    "      the settings in force, or: a sample file, a list in Markdown, every option with its "
    "help\n"
    "  ringcastctl version\n"
    "\n"
    "It finds the data plane by its data directory: --data-directory DIR, RINGCAST_DATA, or the\n"
    "setting data_directory in a --config FILE. The default is ./ringcast-data.\n";

struct arguments {
    const char *command;
    struct dump_options dump;
    struct top_options top;
    enum settings_form form;
    /* All other options, for settings_load. */
    int setting_count;
    char *settings[SETTING_ARGUMENTS_MAX + 1];
};

static bool refuse(const char *text, const char *what)
{
    fprintf(stderr, "ringcastctl: %s \"%.60s\"; ringcastctl --help shows what each command takes\n",
            text, what);
    return false;
}

static bool parse_interval(const char *text, unsigned *interval_ms)
{
    char *end;
    double seconds = text ? strtod(text, &end) : 0;

    if (!text || *end != '\0' || !(seconds >= 0.1 && seconds <= 3600))
        return refuse("--interval needs a number of seconds from 0.1 to 3600, not",
                      text ? text : "");
    *interval_ms = (unsigned)(seconds * 1000);
    return true;
}

enum option_result { OPTION_TAKEN, OPTION_UNKNOWN, OPTION_REFUSED };

/* Takes an option that belongs to a command; an option of another command is refused. */
static enum option_result take_option(struct arguments *a, const char *word)
{
    static const struct {
        const char *command, *option;
    } options[] = {{"dump", "--all"},      {"dump", "--used"},       {"dump", "--json"},
                   {"top", "--once"},      {"settings", "--sample"}, {"settings", "--markdown"},
                   {"settings", "--file"}, {"settings", "--options"}};
    int at = 0, count = (int)(sizeof(options) / sizeof(options[0]));

    while (at < count && strcmp(options[at].option, word) != 0)
        at++;
    if (at == count)
        return OPTION_UNKNOWN;
    if (strcmp(options[at].command, a->command) != 0) {
        fprintf(stderr, "ringcastctl: %s is an option of the command %s, not of %s\n", word,
                options[at].command, a->command);
        return OPTION_REFUSED;
    }
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
    default:
        a->form = SETTINGS_AS_HELP;
    }
    return OPTION_TAKEN;
}

static bool parse(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){.command = argv[1], .top.interval_ms = 1000, .form = SETTINGS_AS_FILE};
    a->settings[a->setting_count++] = argv[0];
    for (int i = 2; i < argc; i++) {
        bool top = strcmp(a->command, "top") == 0;
        enum option_result taken = take_option(a, argv[i]);

        if (taken == OPTION_REFUSED)
            return false;
        if (taken == OPTION_TAKEN)
            continue;
        if (top && strncmp(argv[i], "--interval=", 11) == 0) {
            if (!parse_interval(argv[i] + 11, &a->top.interval_ms))
                return false;
        } else if (top && strcmp(argv[i], "--interval") == 0) {
            if (!parse_interval(i + 1 < argc ? argv[++i] : NULL, &a->top.interval_ms))
                return false;
        } else if (strncmp(argv[i], "--", 2) == 0) {
            if (a->setting_count + 2 > SETTING_ARGUMENTS_MAX)
                return refuse("too many arguments, starting with", argv[i]);
            a->settings[a->setting_count++] = argv[i];
            if (!strchr(argv[i], '=') && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0)
                a->settings[a->setting_count++] = argv[++i];
        } else if (strcmp(a->command, "dump") == 0 && !a->dump.table) {
            a->dump.table = argv[i];
        } else {
            return refuse("there is one argument too many:", argv[i]);
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

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

int main(int argc, char **argv)
{
    enum settings_request request;
    char error[SETTING_ERROR_BYTES];
    struct settings settings;
    struct arguments a;
    int status = 0;

    log_open("ringcastctl", LOG_WARN, false);
    if (argc >= 2 && is_help(argv[1])) {
        fputs(usage, stdout);
    } else if (argc >= 2 &&
               (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)) {
        printf("ringcast %s\n", ringcast_version);
    } else if (argc < 2 || !is_command(argv[1])) {
        if (argc >= 2)
            fprintf(stderr,
                    "ringcastctl: there is no command %.60s; the commands are: top, dump, check, "
                    "settings, version; ringcastctl --help explains them\n",
                    argv[1]);
        else
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
