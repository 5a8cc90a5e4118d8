/* One log macro for all processes: structured, to standard error, muted per call site.
 *
 *   LOG(INFO, "dtls", "handshake finished", F("transport", "%s", id), F("ms", "%u", ms));
 *   → time=2026-11-23T23:28:56.123Z level=info process=handshaker area=dtls transport=… ms=12
 *     msg="handshake finished"
 *
 * Levels:  ERROR an operator must act; WARN the service works, but worse; INFO start, stop and
 *          other rare events; DEBUG for developers.
 * Limits:  a call site that logged LOG_BURST lines within a second is muted for ten seconds. Its
 *          next line says how many were suppressed. Events at packet rate are counters, not lines;
 *          a worker never logs in its turn.
 * Threads: any. Memory: none allocated. Errors: none; a line that cannot be written is lost.
 * Never log a secret. */
#ifndef RINGCAST_LOG_H
#define RINGCAST_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define LOG_BURST 10
#define LOG_FIELD_BYTES 256 /* a longer value is cut */

/* One place in the code that logs. */
struct log_site {
    uint64_t window_ns;
    uint32_t lines, suppressed;
};

/* Sets the name of this process ("forwarder", "controlplane", …), the level and the format.
 * `json` chooses the format: true JSON, false logfmt. */
void log_open(const char *process, enum log_level level, bool json);
void log_set_level(enum log_level level); /* a signal handler may call it */
bool log_enabled(enum log_level level);
/* The level with that name ("error", "warn", "info", "debug"). False when there is none. */
bool log_level_find(const char *name, enum log_level *level);

/* For the macros below; do not call these directly. */
struct log_field {
    const char *key;
    char value[LOG_FIELD_BYTES];
};
struct log_field log_field(const char *key, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_line(struct log_site *site, enum log_level level, const char *area, const char *message,
              const struct log_field *fields, unsigned count);

#define F(key, ...) log_field(key, __VA_ARGS__)
#define LOG(level, area, message, ...)                                        \
    do {                                                                      \
        static struct log_site log_site_;                                     \
        if (log_enabled(LOG_##level)) {                                       \
            const struct log_field log_fields_[] = {{0}, ##__VA_ARGS__};      \
            log_line(&log_site_, LOG_##level, area, message, log_fields_ + 1, \
                     sizeof(log_fields_) / sizeof(log_fields_[0]) - 1);       \
        }                                                                     \
    } while (0)

#endif
