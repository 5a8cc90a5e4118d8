/* Fills the settings from defaults, environment, file and command line, and refuses nonsense. */
#define _GNU_SOURCE
#include "settings_rows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_ROOM 1200
#define NAME_ROOM 64

/* A u32 or flag default is a number, a text default a string: each picks its own half. */
#define DEFAULT_NUMBER_u32(def) (def)
#define DEFAULT_NUMBER_flag(def) (def)
#define DEFAULT_NUMBER_text(def) 0
#define DEFAULT_NUMBER_secret(def) 0
#define DEFAULT_TEXT_u32(def) NULL
#define DEFAULT_TEXT_flag(def) NULL
#define DEFAULT_TEXT_text(def) def
#define DEFAULT_TEXT_secret(def) def

/* clang-format off */
const struct setting settings_rows[] = {
#define X(type_, name_, env_, def_, min_, max_, unit_, live_, who_, prose_)                     \
    {.name = #name_, .environment = #env_, .type = SETTING_##type_,                             \
     .offset = offsetof(struct settings, name_), .default_number = DEFAULT_NUMBER_##type_(def_), \
     .default_text = DEFAULT_TEXT_##type_(def_), .min = (min_), .max = (max_), .unit = unit_,   \
     .live = (live_), .who = #who_, .prose = prose_},
    SETTINGS(X)
#undef X
};
/* clang-format on */
const size_t settings_row_count = sizeof(settings_rows) / sizeof(settings_rows[0]);

/* Texts out of a closed list, and texts that are lists of addresses. */
static const struct {
    const char *name, *words;
} enumerated[] = {
    {"log_level", "error warn info debug"},
    {"media_log_level", "debug warn error none"},
    {"log_format", "logfmt json"},
    {"persistence", "sqlite postgres"},
    {"postgres_sslmode", "disable allow prefer require verify-ca verify-full"},
    {"state", "memory redis"},
    {"io_backend", "auto io_uring socket"},
};
static const char *const addresses[] = {"http_listen_ip", "metrics_listen_ip", "media_listen_ip",
                                        "media_announced_ip"};

/* Where a value came from, for the sentence that refuses it. */
struct origin {
    char text[300];
};

static bool refuse(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(char *error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error, SETTING_ERROR_BYTES, format, arguments);
    va_end(arguments);
    for (char *at = error; *at; at++) /* a value must not command somebody's terminal */
        if ((unsigned char)*at < ' ' || *at == 127)
            *at = '?';
    return false;
}

/* ---- names ---- */

/* Dashes and underscores are one; case counts. */
static bool same_name(const char *name, const char *given)
{
    for (; *name && *given; name++, given++)
        if (*name != (*given == '-' ? '_' : *given))
            return false;
    return *name == *given;
}

static const struct setting *find_setting(const char *given)
{
    for (size_t i = 0; i < settings_row_count; i++)
        if (same_name(settings_rows[i].name, given))
            return &settings_rows[i];
    return NULL;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein distance; both names are shorter than NAME_ROOM. */
static unsigned name_distance(const char *a, const char *b)
{
    unsigned row[NAME_ROOM + 1];
    size_t width = strlen(b);

    for (size_t j = 0; j <= width; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= width; j++) {
            unsigned differs = a[i - 1] != (b[j - 1] == '-' ? '_' : b[j - 1]);
            unsigned next = min3(row[j] + 1, row[j - 1] + 1, diagonal + differs);

            diagonal = row[j];
            row[j] = next;
        }
    }
    return row[width];
}

/* The setting that was probably meant: near in spelling, or named by its environment variable. */
static const char *near_miss(const char *given)
{
    const char *nearest = NULL;
    unsigned least = 4; /* more typing errors than three are another word */

    if (strlen(given) >= NAME_ROOM)
        return NULL;
    for (size_t i = 0; i < settings_row_count; i++) {
        unsigned distance = name_distance(settings_rows[i].name, given);

        if (strcmp(settings_rows[i].environment, given) == 0)
            return settings_rows[i].name;
        if (distance < least && distance * 2 < strlen(given)) {
            least = distance;
            nearest = settings_rows[i].name;
        }
    }
    return nearest;
}

static bool refuse_name(char *error, const struct origin *origin, const char *given)
{
    const char *meant = near_miss(given);

    if (meant)
        return refuse(error, "%s: there is no setting %.60s; did you mean %s?", origin->text, given,
                      meant);
    return refuse(error, "%s: there is no setting %.60s; --help lists them all", origin->text,
                  given);
}

/* ---- values ---- */

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;

    if (*text < '0' || *text > '9') /* strtoull would take signs and blanks */
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool parse_flag(const char *text, bool *flag)
{
    static const char *const words[2][5] = {{"off", "false", "no", "0", "disabled"},
                                            {"on", "true", "yes", "1", "enabled"}};

    for (unsigned value = 0; value < 2; value++) {
        for (unsigned i = 0; i < 5; i++) {
            if (strcasecmp(text, words[value][i]) == 0) {
                *flag = value == 1;
                return true;
            }
        }
    }
    return false;
}

/* Is `word` one of the words in a list separated by single blanks? */
static bool is_word_of(const char *word, const char *list)
{
    size_t bytes = strlen(word);

    while (*list) {
        size_t span = strcspn(list, " ");

        if (span == bytes && memcmp(list, word, bytes) == 0)
            return true;
        list += span + (list[span] == ' ');
    }
    return false;
}

static bool is_address_list(const char *text)
{
    while (*text) {
        char item[INET6_ADDRSTRLEN];
        struct in6_addr parsed;
        size_t span = strcspn(text, ","), from = strspn(text, " "), to = span;

        while (to > from && text[to - 1] == ' ')
            to--;
        if (to <= from || to - from >= sizeof(item))
            return false;
        memcpy(item, text + from, to - from);
        item[to - from] = '\0';
        if (inet_pton(AF_INET, item, &parsed) != 1 && inet_pton(AF_INET6, item, &parsed) != 1)
            return false;
        text += span;
        if (*text == ',' && *++text == '\0')
            return false;
    }
    return true;
}

/* What a text may be, beyond its length. */
static bool check_text(const struct setting *s, const char *value, const struct origin *origin,
                       char *error)
{
    for (const char *at = value; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            return refuse(error, "%s: %s must not contain control characters", origin->text,
                          s->name);
    for (size_t i = 0; i < sizeof(enumerated) / sizeof(enumerated[0]); i++)
        if (strcmp(enumerated[i].name, s->name) == 0 && !is_word_of(value, enumerated[i].words))
            return refuse(error, "%s: %s must be one of: %s; it is \"%.60s\"", origin->text,
                          s->name, enumerated[i].words, value);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        if (strcmp(addresses[i], s->name) == 0 && !is_address_list(value))
            return refuse(error,
                          "%s: %s must be IPv4 or IPv6 addresses, comma separated; it is "
                          "\"%.60s\"",
                          origin->text, s->name, value);
    return true;
}

static bool set_text(struct settings *settings, const struct setting *s, const char *value,
                     const struct origin *origin, char *error)
{
    char *to = (char *)settings + s->offset;
    size_t bytes = strlen(value);

    if (bytes < s->min || bytes > s->max) {
        if (s->type == SETTING_secret)
            return refuse(error, "%s: %s must be %u to %u bytes long; it has %zu", origin->text,
                          s->name, (unsigned)s->min, (unsigned)s->max, bytes);
        return refuse(error, "%s: %s must be %u to %u bytes long; \"%.40s%s\" has %zu",
                      origin->text, s->name, (unsigned)s->min, (unsigned)s->max, value,
                      bytes > 40 ? "…" : "", bytes);
    }
    if (!check_text(s, value, origin, error))
        return false;
    memset(to, 0, SETTING_TEXT_ROOM);
    memcpy(to, value, bytes);
    return true;
}

static bool set_value(struct settings *settings, const struct setting *s, const char *value,
                      const struct origin *origin, char *error)
{
    void *to = (uint8_t *)settings + s->offset;
    uint64_t number;

    switch (s->type) {
    case SETTING_u32:
        if (!parse_number(value, &number) || number < s->min || number > s->max)
            return refuse(error, "%s: %s must be a whole number from %u to %u%s%s; it is \"%.60s\"",
                          origin->text, s->name, (unsigned)s->min, (unsigned)s->max,
                          *s->unit ? " " : "", s->unit, value);
        *(uint32_t *)to = (uint32_t)number;
        break;
    case SETTING_flag:
        if (!parse_flag(value, to))
            return refuse(error, "%s: %s must be on or off; it is \"%.60s\"", origin->text, s->name,
                          value);
        break;
    default:
        if (!set_text(settings, s, value, origin, error))
            return false;
    }
    return true;
}

static void set_given(struct settings *settings, const struct setting *s)
{
    if (s->offset == offsetof(struct settings, media_log_level))
        settings->media_log_level_given = true;
}

/* ---- the four sources ---- */

static void set_defaults(struct settings *settings)
{
    memset(settings, 0, sizeof(*settings));
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];
        void *to = (uint8_t *)settings + s->offset;

        if (s->type == SETTING_u32)
            *(uint32_t *)to = s->default_number;
        else if (s->type == SETTING_flag)
            *(bool *)to = s->default_number != 0;
        else
            snprintf(to, SETTING_TEXT_ROOM, "%s", s->default_text);
    }
}

static const char *environment_value(char **environment, const char *name)
{
    size_t bytes = strlen(name);

    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, bytes) == 0 && (*environment)[bytes] == '=')
            return *environment + bytes + 1;
    return NULL;
}

/* An empty variable is how compose files and service managers say "not set": it counts only for
 * texts that may be empty. */
static bool set_from_environment(struct settings *settings, char **environment, char *error)
{
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];
        const char *value = environment_value(environment, s->environment);
        bool may_be_empty = (s->type == SETTING_text || s->type == SETTING_secret) && s->min == 0;
        struct origin origin;

        if (!value || (*value == '\0' && !may_be_empty))
            continue;
        snprintf(origin.text, sizeof(origin.text), "environment variable %s", s->environment);
        if (!set_value(settings, s, value, &origin, error))
            return false;
        set_given(settings, s);
    }
    return true;
}

static char *trim(char *text)
{
    char *end;

    text += strspn(text, " \t");
    end = text + strlen(text);
    while (end > text && strchr(" \t\r\n", end[-1]))
        end--;
    *end = '\0';
    return text;
}

/* What stands between quotes, where a backslash makes the next character count for itself. NULL: the
 * closing quote is missing, or something other than a comment follows it. */
static char *quoted_value(char *text)
{
    char *to = text, *from = text + 1;

    for (; *from != '"'; from++) {
        if (*from == '\\')
            from++;
        if (*from == '\0')
            return NULL;
        *to++ = *from;
    }
    *to = '\0';
    from++;
    from += strspn(from, " \t");
    return *from == '\0' || *from == '#' ? text : NULL;
}

/* The value behind the '=': quoted, or up to a blank that a '#' follows. NULL: quotes do not match. */
static char *file_value(char *text)
{
    text = trim(text);
    if (*text == '"')
        return quoted_value(text);
    for (char *at = text; *at; at++) {
        if (*at == '#' && (at == text || at[-1] == ' ' || at[-1] == '\t')) {
            *at = '\0';
            break;
        }
    }
    return trim(text);
}

static bool set_from_line(struct settings *settings, char *line, const struct origin *origin,
                          char *error)
{
    const struct setting *s;
    char *name = trim(line), *equals, *value;

    if (*name == '\0' || *name == '#')
        return true;
    equals = strchr(name, '=');
    if (!equals)
        return refuse(error, "%s: \"%.60s\" is not of the form: name = value", origin->text, name);
    *equals = '\0';
    name = trim(name);
    value = file_value(equals + 1);
    s = find_setting(name);
    if (!s)
        return refuse_name(error, origin, name);
    if (!value)
        return refuse(error, "%s: the quotes around the value of %s do not match", origin->text,
                      s->name);
    if (!set_value(settings, s, value, origin, error))
        return false;
    set_given(settings, s);
    return true;
}

static bool set_from_file(struct settings *settings, const char *path, char *error)
{
    char line[LINE_ROOM];
    struct origin origin;
    bool fine = true;
    FILE *file = fopen(path, "re");

    if (!file)
        return refuse(error, "the configuration file %.200s cannot be read: %s", path,
                      strerror(errno));
    for (unsigned number = 1; fine && fgets(line, sizeof(line), file); number++) {
        snprintf(origin.text, sizeof(origin.text), "%.200s line %u", path, number);
        if (strlen(line) == sizeof(line) - 1 && line[sizeof(line) - 2] != '\n')
            fine = refuse(error, "%s is longer than %d bytes", origin.text, LINE_ROOM - 2);
        else
            fine = set_from_line(settings, line, &origin, error);
    }
    if (fine && ferror(file))
        fine = refuse(error, "the configuration file %.200s cannot be read: %s", path,
                      strerror(errno));
    fclose(file);
    return fine;
}

/* ---- command line ---- */

/* One option: --name=value, or --name value with *next moved on. */
struct option {
    char name[NAME_ROOM];
    const char *value; /* NULL: none was given */
};

static bool option_read(struct option *option, int argc, char **argv, int *next, char *error)
{
    const char *word = argv[(*next)++], *equals;
    size_t bytes;

    if (strncmp(word, "--", 2) != 0 || word[2] == '\0')
        return refuse(error, "command line: \"%.60s\" is no option; --help lists them all", word);
    word += 2;
    equals = strchr(word, '=');
    bytes = equals ? (size_t)(equals - word) : strlen(word);
    if (bytes >= sizeof(option->name))
        return refuse(error, "command line: there is no option --%.60s; --help lists them all",
                      word);
    memcpy(option->name, word, bytes);
    option->name[bytes] = '\0';
    option->value = equals ? equals + 1 : NULL;
    if (!equals && *next < argc && strncmp(argv[*next], "--", 2) != 0)
        option->value = argv[*next]; /* taken only by options that want a value */
    return true;
}

static bool is_request(const char *name, enum settings_request *request)
{
    static const struct {
        const char *name;
        enum settings_request request;
    } requests[] = {{"help", SETTINGS_HELP},
                    {"check", SETTINGS_CHECK},
                    {"print-config", SETTINGS_PRINT},
                    {"version", SETTINGS_VERSION}};

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (strcmp(requests[i].name, name) == 0) {
            *request = requests[i].request;
            return true;
        }
    }
    return false;
}

/* Walks the command line. With settings NULL only what comes before them is looked for: the file and
 * the request. */
static bool walk_arguments(struct settings *settings, int argc, char **argv, const char **file,
                           enum settings_request *request, char *error)
{
    const struct origin origin = {"command line"};

    for (int next = 1; next < argc;) {
        const char *word = argv[next];
        const struct setting *s;
        struct option option;

        if (!option_read(&option, argc, argv, &next, error))
            return false;
        if (is_request(option.name, request))
            continue;
        s = find_setting(option.name);
        if (!s && strcmp(option.name, "config") != 0)
            return refuse_name(error, &origin, option.name);
        if (!option.value)
            return refuse(error, "command line: --%s needs a value", option.name);
        if (!strchr(word, '='))
            next++;
        if (!s)
            *file = option.value;
        else if (settings && !set_value(settings, s, option.value, &origin, error))
            return false;
        else if (settings)
            set_given(settings, s);
    }
    return true;
}

static bool check_together(const struct settings *settings, char *error)
{
    uint32_t ports = settings->media_port_max - settings->media_port_min + 1;

    if (settings->media_port_max < settings->media_port_min)
        return refuse(error,
                      "media_port_max is %u, below media_port_min %u: raise it to at least "
                      "that",
                      settings->media_port_max, settings->media_port_min);
    if (settings->workers > ports)
        return refuse(error,
                      "workers is %u, but media_port_min %u to media_port_max %u are only "
                      "%u ports: each worker needs one",
                      settings->workers, settings->media_port_min, settings->media_port_max, ports);
    return settings_check_servers(settings, error);
}

bool settings_load(struct settings *settings, int argc, char **argv, char **environment,
                   enum settings_request *request, char error[SETTING_ERROR_BYTES])
{
    enum settings_request wanted = SETTINGS_RUN;
    const char *file = NULL;
    struct settings next;

    set_defaults(&next);
    if (!walk_arguments(NULL, argc, argv, &file, &wanted, error))
        return false;
    /* Who asks for help or the version gets it, however broken the rest is. */
    if (wanted != SETTINGS_HELP && wanted != SETTINGS_VERSION)
        if (!set_from_environment(&next, environment, error) ||
            (file && !set_from_file(&next, file, error)) ||
            !walk_arguments(&next, argc, argv, &file, &wanted, error) ||
            !check_together(&next, error))
            return false;
    *settings = next;
    *request = wanted;
    return true;
}

/* ---- other products' variables ---- */

bool settings_find_postgres_variables(char **environment, char *names, size_t room)
{
    static const char *const others[] = {"POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER",
                                         "POSTGRES_PASSWORD", "POSTGRES_DB"};
    size_t bytes = 0;

    names[0] = '\0';
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        const char *value = environment_value(environment, others[i]);

        if (!value || *value == '\0' || bytes >= room)
            continue;
        bytes +=
            (size_t)snprintf(names + bytes, room - bytes, "%s%s", bytes ? ", " : "", others[i]);
    }
    return bytes > 0;
}
