/* Formats a log line and writes it with one write call. */
#define _GNU_SOURCE
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define LINE_BYTES 4096 /* PIPE_BUF: lines of several processes in one pipe do not mix */
#define LINE_TAIL 8     /* reserved for the closing quote, brace and line feed */
#define LINE_MESSAGE \
    600 /* reserved for the message: fields that do not fit before it are left out */
#define WINDOW_NS NS_PER_S
/* A muted site stays mute this long. With LOG_BURST lines each time, a site writes at most 60 lines
 * a minute. */
#define MUTE_NS (10 * NS_PER_S)

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static char process_name[32] = "ringcast";
static _Atomic int level_max = LOG_INFO;
static _Atomic bool as_json;

void log_open(const char *process, enum log_level level, bool json)
{
    if (strcmp(process, process_name) != 0) /* a reload changes only the level, while threads log */
        snprintf(process_name, sizeof(process_name), "%s", process);
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
    atomic_store_explicit(&as_json, json, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_max, memory_order_relaxed);
}

bool log_level_find(const char *name, enum log_level *level)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(level_names[i], name) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

struct log_field log_field(const char *key, const char *format, ...)
{
    struct log_field field = {.key = key};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(field.value, sizeof(field.value), format, arguments);
    va_end(arguments);
    return field;
}

/* ---- the line ---- */

struct line {
    char text[LINE_BYTES];
    size_t bytes;
    size_t limit; /* pairs end before this; a closing quote may stand after it */
    bool json;
};

static void line_put(struct line *line, const char *text, size_t bytes)
{
    if (line->bytes + bytes > line->limit)
        return;
    memcpy(line->text + line->bytes, text, bytes);
    line->bytes += bytes;
}

static void line_text(struct line *line, const char *text)
{
    line_put(line, text, strlen(text));
}

/* The length of the UTF-8 character at `at` (RFC 3629 4). 0: it is invalid, or unsafe for a
 * terminal: a C1 control, an over-long form, a surrogate. It never reads past a NUL. */
static size_t character_bytes(const unsigned char *at)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t more;

    if (at[0] >= 0xc2 && at[0] <= 0xdf) {
        more = 1;
        if (at[0] == 0xc2)
            low = 0xa0; /* U+0080 to U+009F are controls */
    } else if (at[0] >= 0xe0 && at[0] <= 0xef) {
        more = 2;
        if (at[0] == 0xe0)
            low = 0xa0;
        if (at[0] == 0xed)
            high = 0x9f;
    } else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        more = 3;
        if (at[0] == 0xf0)
            low = 0x90;
        if (at[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i <= more; i++)
        if (at[i] < 0x80 || at[i] > 0xbf)
            return 0;
    return more + 1;
}

/* Writes a value between quotes. */
static void line_escaped(struct line *line, const char *value)
{
    const unsigned char *at = (const unsigned char *)value;

    while (*at) {
        char code[8];
        size_t bytes = character_bytes(at);

        if (bytes > 0) {
            line_put(line, (const char *)at, bytes);
            at += bytes;
            continue;
        }
        if (*at == '"' || *at == '\\')
            snprintf(code, sizeof(code), "\\%c", *at);
        else if (*at == '\n')
            snprintf(code, sizeof(code), "\\n");
        else if (*at < ' ' || *at >= 127)
            snprintf(code, sizeof(code), line->json ? "\\u%04x" : "\\x%02x", *at);
        else
            snprintf(code, sizeof(code), "%c", *at);
        line_text(line, code);
        at++;
    }
}

static bool is_plain(const char *value)
{
    for (const char *at = value; *at; at++)
        if (*at <= ' ' || *at >= 127 || *at == '"' || *at == '=' || *at == '\\')
            return false;
    return *value != '\0';
}

static void line_pair(struct line *line, const char *key, const char *value)
{
    bool quoted = line->json || !is_plain(value);

    if (line->bytes + strlen(key) + sizeof("\"\",\":\"") > line->limit)
        return;
    if (line->bytes > (line->json ? 1 : 0))
        line_text(line, line->json ? "," : " ");
    line_text(line, line->json ? "\"" : "");
    line_text(line, key);
    line_text(line, line->json ? "\":\"" : quoted ? "=\"" : "=");
    if (quoted)
        line_escaped(line, value);
    else
        line_text(line, value);
    if (quoted) /* even when the value was cut */
        line->text[line->bytes++] = '"';
}

static void line_time(struct line *line)
{
    struct timespec now;
    struct tm parts;
    char text[40], day[24];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text, sizeof(text), "%s.%03ldZ", day, now.tv_nsec / (long)NS_PER_MS);
    line_pair(line, "time", text);
}

/* ---- muting ---- */

/* True when this site may write now; *suppressed is then the number of lines that it suppressed
 * before. When threads race, a line more or less may pass. */
static bool site_may_write(struct log_site *site, uint32_t *suppressed)
{
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t window_ns = __atomic_load_n(&site->window_ns, __ATOMIC_RELAXED);
    uint32_t lines;

    *suppressed = 0;
    if (window_ns == 0 || (int64_t)(now_ns - window_ns) >= (int64_t)WINDOW_NS) {
        if (__atomic_compare_exchange_n(&site->window_ns, &window_ns, now_ns, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            __atomic_store_n(&site->lines, 1, __ATOMIC_RELAXED);
            *suppressed = __atomic_exchange_n(&site->suppressed, 0, __ATOMIC_RELAXED);
            return true;
        }
    }
    lines = __atomic_add_fetch(&site->lines, 1, __ATOMIC_RELAXED);
    if (lines <= LOG_BURST)
        return true;
    if (lines == LOG_BURST + 1) /* the window ends together with the mute */
        __atomic_store_n(&site->window_ns, now_ns + MUTE_NS - WINDOW_NS, __ATOMIC_RELAXED);
    __atomic_add_fetch(&site->suppressed, 1, __ATOMIC_RELAXED);
    return false;
}

void log_line(struct log_site *site, enum log_level level, const char *area, const char *message,
              const struct log_field *fields, unsigned count)
{
    struct line line;
    uint32_t suppressed;
    ssize_t written;

    if (!site_may_write(site, &suppressed))
        return;
    line.bytes = 0;
    line.limit = sizeof(line.text) - LINE_MESSAGE;
    line.json = atomic_load_explicit(&as_json, memory_order_relaxed);
    if (line.json)
        line_text(&line, "{");
    line_time(&line);
    line_pair(&line, "level", level_names[level]);
    line_pair(&line, "process", process_name);
    line_pair(&line, "area", area);
    for (unsigned i = 0; i < count; i++)
        line_pair(&line, fields[i].key, fields[i].value);
    line.limit = sizeof(line.text) - LINE_TAIL;
    if (suppressed > 0) {
        char text[12];

        snprintf(text, sizeof(text), "%u", suppressed);
        line_pair(&line, "suppressed", text);
    }
    line_pair(&line, "msg", message);
    if (line.json)
        line.text[line.bytes++] = '}';
    line.text[line.bytes++] = '\n';
    written = write(STDERR_FILENO, line.text, line.bytes);
    (void)written; /* if standard error fails, there is nowhere to report it */
}
