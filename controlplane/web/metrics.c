/* Writes Prometheus text. */
#include "metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct metrics *metrics, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add(struct metrics *metrics, const char *format, ...)
{
    char line[512];
    va_list arguments;
    int count;

    va_start(arguments, format);
    count = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (metrics->failed || count < 0 || (size_t)count >= sizeof(line)) {
        metrics->failed = true;
        return;
    }
    if (metrics->bytes + (size_t)count > metrics->room) {
        size_t room = metrics->room * 2 + 8192;
        char *text = realloc(metrics->text, room);

        if (text == NULL) {
            metrics->failed = true;
            return;
        }
        metrics->text = text;
        metrics->room = room;
    }
    memcpy(metrics->text + metrics->bytes, line, (size_t)count);
    metrics->bytes += (size_t)count;
}

void metrics_head(struct metrics *metrics, const char *name, const char *type, const char *prose)
{
    add(metrics, "# HELP ringcast_%s %s\n# TYPE ringcast_%s %s\n", name, prose, name, type);
}

void metrics_value(struct metrics *metrics, const char *name, const char *type, const char *prose,
                   double value)
{
    metrics_head(metrics, name, type, prose);
    add(metrics, "ringcast_%s %.17g\n", name, value);
}

/* Label values are words from our code: none of them needs escaping. */
void metrics_labelled(struct metrics *metrics, const char *name, const char *label,
                      const char *label_value, double value)
{
    add(metrics, "ringcast_%s{%s=\"%s\"} %.17g\n", name, label, label_value, value);
}
