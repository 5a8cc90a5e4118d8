/* What all three processes of the data plane do alike. */
#include "processes.h"

#include <string.h>

#include "src/log.h"

#define LOG_NOTHING ((enum log_level) - 1)

void process_log(const char *process, const struct settings *settings)
{
    static const struct {
        const char *name;
        enum log_level level;
    } names[] = {{"error", LOG_ERROR},
                 {"warn", LOG_WARN},
                 {"info", LOG_INFO},
                 {"debug", LOG_DEBUG},
                 {"none", LOG_NOTHING}};
    const char *wanted =
        settings->media_log_level_given ? settings->media_log_level : settings->log_level;
    enum log_level level = LOG_INFO;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].name, wanted) == 0)
            level = names[i].level;
    log_open(process, level, strcmp(settings->log_format, "json") == 0);
}
