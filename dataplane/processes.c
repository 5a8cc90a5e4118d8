/* What all three processes of the data plane do in the same way: logging. */
#include "processes.h"

#include <signal.h>
#include <string.h>

#include "src/log.h"

#define LOG_NOTHING ((enum log_level) - 1)

int process_log_level(const struct settings *settings)
{
    const char *wanted =
        settings->media_log_level_given ? settings->media_log_level : settings->log_level;
    enum log_level level;

    return log_level_find(wanted, &level) ? (int)level : (int)LOG_NOTHING; /* "none" */
}

void process_log(const char *process, const struct settings *settings)
{
    log_open(process, (enum log_level)process_log_level(settings),
             strcmp(settings->log_format, "json") == 0);
}

static void on_log_level(int signal_number, siginfo_t *info, void *context)
{
    if (info->si_code == SI_QUEUE && info->si_value.sival_int <= LOG_DEBUG)
        log_set_level((enum log_level)info->si_value.sival_int);
}

void process_follow_log_level(void)
{
    struct sigaction action = {.sa_sigaction = on_log_level, .sa_flags = SA_SIGINFO | SA_RESTART};

    sigaction(SIGHUP, &action, NULL);
}
