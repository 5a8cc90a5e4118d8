/* One log macro for all processes: structured, to standard error, muted per call site.
 *
 *   LOG(INFO, "dtls", "handshake finished", F("transport", "%s", id), F("ms", "%u", ms));
 *   → time=2026-11-23T23:28:56.123Z level=info process=handshaker area=dtls transport=… ms=12
 *     msg="handshake finished"
 *
 * Levels by effect: ERROR an operator must act, WARN the service degraded itself, INFO life cycle,
 * DEBUG for developers. A call site that logged LOG_BURST lines within a second mutes itself for ten
 * and says afterwards how many it suppressed. Packet-rate facts are counters, never lines; workers do
 * not log in their turn. Secrets have no formatter.
 *
 * Threads: any. Memory: none allocated. Format: logfmt or JSON (log_open). */
#ifndef RINGCAST_LOG_H
#define RINGCAST_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define LOG_BURST 10
#define LOG_FIELD_BYTES 256 /* longer values are cut, control characters and quotes are escaped */

struct log_site {
    uint64_t window_ns;
    uint32_t lines, suppressed;
};

/* Who writes: "supervisor", "forwarder", "handshaker", "controlplane", … and how. */
void log_open(const char *process, enum log_level level, bool json);
void log_set_level(enum log_level level); /* may be called by a signal's handler */
bool log_enabled(enum log_level level);
/* The level with that name ("error", "warn", "info", "debug"). False when there is none. */
bool log_level_find(const char *name, enum log_level *level);

/* Pieces of a line; use LOG. fields: count of (key, value) pairs already formatted. */
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
