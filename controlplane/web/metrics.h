/* The text of GET /metrics: Prometheus text exposition format 0.0.4. A writer without I/O.
 *
 * Names are written with "ringcast_" in front. Types are "counter" or "gauge".
 * Memory: zero a struct metrics before use, free its text after use. */
#ifndef RINGCAST_WEB_METRICS_H
#define RINGCAST_WEB_METRICS_H

#include <stdbool.h>
#include <stddef.h>

struct metrics {
    char *text;
    size_t bytes, room;
    bool failed; /* no memory, or a line that is too long: the text is not complete */
};

/* One metric without labels. */
void metrics_value(struct metrics *metrics, const char *name, const char *type, const char *prose,
                   double value);
/* A metric with labels: its head once, then one line for each label value. */
void metrics_head(struct metrics *metrics, const char *name, const char *type, const char *prose);
void metrics_labelled(struct metrics *metrics, const char *name, const char *label,
                      const char *label_value, double value);

#endif
