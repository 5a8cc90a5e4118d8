/* Loads settings: defaults, then environment, then the file, then the command line. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>

#include "settings_rows.h"

#define LINE_ROOM 1200
#define NAME_ROOM 64
#define ORIGIN_ROOM 300 /* where a value comes from, for the sentence that refuses it */

/* ---- the rows ---- */

/* The default of a u32 or flag is a number, that of all others a text. */
#define DEFAULT_NUMBER(def) .default_number = (def)
#define DEFAULT_TEXT(def) .default_text = (def)
#define DEFAULT_u32 DEFAULT_NUMBER
#define DEFAULT_flag DEFAULT_NUMBER
#define DEFAULT_word DEFAULT_TEXT
#define DEFAULT_text DEFAULT_TEXT
#define DEFAULT_path DEFAULT_TEXT
#define DEFAULT_address DEFAULT_TEXT
#define DEFAULT_addresses DEFAULT_TEXT
#define DEFAULT_list DEFAULT_TEXT
#define DEFAULT_secret DEFAULT_TEXT

/* The values of the column `allowed`. */
#define RANGE(min_, max_, ...) .min = (min_), .max = (max_), .unit = "" __VA_ARGS__
#define BYTES(min_, max_) .min = (min_), .max = (max_)
#define WORDS(words_) .words = words_
#define ON_OFF .max = 1

/* A heading must land in the element of the row that follows it. So the array starts with an open
 * element, GROUP writes into it, and X completes it and opens the next one. The last one stays
 * empty. */
/* clang-format off */
const struct setting settings_rows[] = {{
#define GROUP(heading_) .heading = heading_,
#define X(type_, name_, env_, def_, allowed_, live_, who_, prose_)                              \
    .name = #name_, .environment = #env_, .type = SETTING_##type_,                              \
    .offset = offsetof(struct settings, name_), DEFAULT_##type_(def_), allowed_,                \
    .live = (live_), .who = #who_, .prose = prose_}, {
    SETTINGS(GROUP, X)
#undef X
#undef GROUP
}};
/* clang-format on */
const size_t settings_row_count = sizeof(settings_rows) / sizeof(settings_rows[0]) - 1;

/* ---- names ---- */

/* Dashes and underscores are the same; upper and lower case are not. */
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

/* The setting that a person probably meant: with a similar name, or with this environment
 * variable. */
static const char *similar_name(const char *given)
{
    const char *nearest = NULL;
    unsigned least = 4; /* with more than three typing errors it is another word */

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

static bool refuse_name(char *error, const char *origin, const char *given)
{
    const char *meant = similar_name(given);

    if (meant)
        return settings_refuse(error, "%s: there is no setting %.60s; did you mean %s?", origin,
                               given, meant);
    return settings_refuse(error, "%s: there is no setting %.60s; --help lists all settings",
                           origin, given);
}

/* ---- the four sources ---- */

static void set_given(struct settings *settings, const struct setting *s)
{
    if (s->offset == offsetof(struct settings, media_log_level))
        settings->media_log_level_given = true;
}

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

/* Compose files and service managers write "not set" as an empty variable. So an empty variable is
 * a value only for a setting that may be empty. */
static bool set_from_environment(struct settings *settings, char **environment, char *error)
{
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];
        const char *value = environment_value(environment, s->environment);
        bool may_be_empty = s->default_text && s->type != SETTING_word && s->min == 0;
        char origin[ORIGIN_ROOM];

        if (!value || (*value == '\0' && !may_be_empty))
            continue;
        snprintf(origin, sizeof(origin), "environment variable %s", s->environment);
        if (!setting_set(settings, s, value, origin, error))
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

/* The text between quotes. A backslash takes away the special meaning of the next character. NULL:
 * the closing quote is missing, or something other than a comment follows it. */
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

/* The value after the '=': a text in quotes, or everything up to a comment (a blank, then '#').
 * NULL: the quotes do not match. */
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

static bool set_from_line(struct settings *settings, char *line, const char *origin, char *error)
{
    const struct setting *s;
    char *name = trim(line), *equals, *value;

    if (*name == '\0' || *name == '#')
        return true;
    equals = strchr(name, '=');
    if (!equals)
        return settings_refuse(error, "%s: \"%.60s\" has no '=': write the line as name = value",
                               origin, name);
    *equals = '\0';
    name = trim(name);
    value = file_value(equals + 1);
    s = find_setting(name);
    if (!s)
        return refuse_name(error, origin, name);
    if (!value)
        return settings_refuse(error,
                               "%s: the quotes around the value of %s do not match: put one \" "
                               "before the value and one after it",
                               origin, s->name);
    if (!setting_set(settings, s, value, origin, error))
        return false;
    set_given(settings, s);
    return true;
}

static bool set_from_file(struct settings *settings, const char *path, char *error)
{
    char line[LINE_ROOM], origin[ORIGIN_ROOM];
    bool fine = true;
    FILE *file = fopen(path, "re");

    if (!file)
        return settings_refuse(
            error,
            "the configuration file %.200s cannot be read: %s; check the path and who may read it",
            path, strerror(errno));
    for (unsigned number = 1; fine && fgets(line, sizeof(line), file); number++) {
        snprintf(origin, sizeof(origin), "%.200s line %u", path, number);
        if (strlen(line) == sizeof(line) - 1 && line[sizeof(line) - 2] != '\n')
            fine = settings_refuse(error, "%s is longer than %d bytes: shorten it", origin,
                                   LINE_ROOM - 2);
        else
            fine = set_from_line(settings, line, origin, error);
    }
    if (fine && ferror(file))
        fine = settings_refuse(
            error,
            "the configuration file %.200s cannot be read: %s; check the path and who may read it",
            path, strerror(errno));
    fclose(file);
    return fine;
}

/* ---- command line ---- */

/* One option of the command line: --name=value or --name value. */
struct option {
    char name[NAME_ROOM];
    const char *value; /* NULL: none was given */
};

static bool option_read(struct option *option, int argc, char **argv, int *next, char *error)
{
    const char *word = argv[(*next)++], *equals;
    size_t bytes;

    if (strncmp(word, "--", 2) != 0 || word[2] == '\0')
        return settings_refuse(
            error, "command line: \"%.60s\" is not an option; --help lists all options", word);
    word += 2;
    equals = strchr(word, '=');
    bytes = equals ? (size_t)(equals - word) : strlen(word);
    if (bytes >= sizeof(option->name))
        return settings_refuse(
            error, "command line: there is no option --%.60s; --help lists all options", word);
    memcpy(option->name, word, bytes);
    option->name[bytes] = '\0';
    option->value = equals ? equals + 1 : NULL;
    if (!equals && *next < argc && strncmp(argv[*next], "--", 2) != 0)
        option->value = argv[*next]; /* the caller skips it if the option takes a value */
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

/* Walks the command line. With `settings` NULL it only looks for --config and the request, which
 * must be known before the weaker sources are read. */
static bool walk_arguments(struct settings *settings, int argc, char **argv, const char **file,
                           enum settings_request *request, char *error)
{
    static const char origin[] = "command line";

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
            return refuse_name(error, origin, option.name);
        if (!option.value)
            return settings_refuse(error, "command line: --%s needs a value: write --%s=VALUE",
                                   option.name, option.name);
        if (!strchr(word, '='))
            next++;
        if (!s)
            *file = option.value;
        else if (settings && !setting_set(settings, s, option.value, origin, error))
            return false;
        else if (settings)
            set_given(settings, s);
    }
    return true;
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
    /* --help and --version work even when settings are wrong. */
    if (wanted != SETTINGS_HELP && wanted != SETTINGS_VERSION)
        if (!set_from_environment(&next, environment, error) ||
            (file && !set_from_file(&next, file, error)) ||
            !walk_arguments(&next, argc, argv, &file, &wanted, error) ||
            !settings_check_together(&next, error))
            return false;
    *settings = next;
    *request = wanted;
    return true;
}

/* ---- variables of the NestJS backend ---- */

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
