/* Prints settings as a file, a help text, a sample and a Markdown table. */
#define _GNU_SOURCE
#include "settings_rows.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VALUE_ROOM (2 * SETTING_TEXT_ROOM + 3) /* every character escaped, quotes, NUL */

/* A text as the file would say it: bare where that reads back as the same. */
static const char *quoted_if_needed(const char *text, char value[VALUE_ROOM])
{
    bool plain = *text != '\0' && *text != '"' && !strchr(text, '#') && *text != ' ' &&
                 text[strlen(text) - 1] != ' ';
    char *to = value;

    if (plain) {
        snprintf(value, VALUE_ROOM, "%s", text);
        return value;
    }
    *to++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to++ = '"';
    *to = '\0';
    return value;
}

/* The current value as the file would say it. */
static const char *value_text(const struct settings *settings, const struct setting *s,
                              char value[VALUE_ROOM])
{
    const void *at = (const uint8_t *)settings + s->offset;

    switch (s->type) {
    case SETTING_u32:
        snprintf(value, VALUE_ROOM, "%u", *(const uint32_t *)at);
        return value;
    case SETTING_flag:
        return *(const bool *)at ? "on" : "off";
    case SETTING_secret:
        return *(const char *)at ? "(set)" : "\"\"";
    default:
        return quoted_if_needed(at, value);
    }
}

static const char *default_text(const struct setting *s, char value[VALUE_ROOM])
{
    if (s->type == SETTING_u32)
        snprintf(value, VALUE_ROOM, "%u", s->default_number);
    else if (s->type == SETTING_flag)
        snprintf(value, VALUE_ROOM, "%s", s->default_number ? "on" : "off");
    else
        return quoted_if_needed(s->default_text, value);
    return value;
}

/* "1024 to 65535 ms", "at most 400 bytes"; empty for flags. */
static const char *range_text(const struct setting *s, char range[80])
{
    range[0] = '\0';
    if (s->type == SETTING_u32)
        snprintf(range, 80, "%u to %u%s%s", (unsigned)s->min, (unsigned)s->max, *s->unit ? " " : "",
                 s->unit);
    else if (s->type != SETTING_flag && s->min == 0)
        snprintf(range, 80, "at most %u bytes", (unsigned)s->max);
    else if (s->type != SETTING_flag)
        snprintf(range, 80, "%u to %u bytes", (unsigned)s->min, (unsigned)s->max);
    return range;
}

static const char *who_text(const struct setting *s)
{
    if (strcmp(s->who, "CP") == 0)
        return "control plane";
    return strcmp(s->who, "DP") == 0 ? "data plane" : "both planes";
}

static void print_file(const struct settings *settings, FILE *to)
{
    char value[VALUE_ROOM];

    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];
        bool shown = s->type == SETTING_secret;

        if (s->offset == offsetof(struct settings, media_log_level))
            shown = !settings->media_log_level_given;
        /* A comment, so that the output can be loaded again without changing what it means. */
        fprintf(to, "%s%s = %s\n", shown ? "# " : "", s->name, value_text(settings, s, value));
    }
}

static void print_help(FILE *to)
{
    char value[VALUE_ROOM], range[80], option[64];

    fputs("Options (each also as --name=value, in a file as name = value, or by its environment\n"
          "variable; strongest first: command line, file, environment, default):\n\n"
          "  --config FILE    read settings from this file\n"
          "  --check          check the settings and exit\n"
          "  --print-config   print the settings in force and exit\n"
          "  --version        print the version and exit\n"
          "  --help           print this\n\n",
          to);
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];

        snprintf(option, sizeof(option), "%s", s->name);
        for (char *at = option; *at; at++)
            if (*at == '_')
                *at = '-';
        range_text(s, range);
        fprintf(to, "  --%s %s\n      %s\n      %s%sdefault %s; %s\n", option,
                s->type == SETTING_u32    ? "NUMBER"
                : s->type == SETTING_flag ? "on|off"
                                          : "TEXT",
                s->prose, range, *range ? "; " : "", default_text(s, value), s->environment);
    }
}

static void print_sample(FILE *to)
{
    char value[VALUE_ROOM], range[80];

    fputs(
        "# Ringcast. Every setting with its default; take the # away to change one.\n"
        "# Stronger than this file: the command line (--http-port 8080). Weaker: the environment\n"
        "# variable named with each. Values that contain # or begin with a blank stand in \"\".\n"
        "# Made by `ringcastctl settings --sample`.\n",
        to);
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];

        range_text(s, range);
        fprintf(to, "\n# %s\n# %s%s%s; %s%s\n# %s = %s\n", s->prose, s->environment,
                *range ? "; " : "", range, who_text(s), s->live ? "; changed by a reload" : "",
                s->name, default_text(s, value));
    }
}

/* A cell of a table must not contain the bar that ends it. */
static void print_cell(FILE *to, const char *text)
{
    for (; *text; text++)
        fprintf(to, *text == '|' ? "\\%c" : "%c", *text);
}

static void print_markdown(FILE *to)
{
    char value[VALUE_ROOM], range[80];

    fputs("| Setting | Environment | Default | Range | For | Reload | What it is for |\n"
          "|---|---|---|---|---|---|---|\n",
          to);
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];

        fprintf(to, "| `%s` | `%s` | `%s` | %s | %s | %s | ", s->name, s->environment,
                default_text(s, value), s->type == SETTING_flag ? "on, off" : range_text(s, range),
                who_text(s), s->live ? "yes" : "");
        print_cell(to, s->prose);
        fputs(" |\n", to);
    }
}

void settings_print(const struct settings *settings, enum settings_form form, int fd)
{
    int copy = dup(fd);
    FILE *to = copy < 0 ? NULL : fdopen(copy, "w");

    if (!to) {
        if (copy >= 0)
            close(copy);
        return;
    }
    switch (form) {
    case SETTINGS_AS_FILE:
        print_file(settings, to);
        break;
    case SETTINGS_AS_HELP:
        print_help(to);
        break;
    case SETTINGS_AS_SAMPLE:
        print_sample(to);
        break;
    case SETTINGS_AS_MARKDOWN:
        print_markdown(to);
        break;
    }
    fclose(to);
}
