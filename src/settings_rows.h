/* The rows of settings.h as an array, and one value of one setting; for the settings_*.c files. */
#ifndef RINGCAST_SETTINGS_ROWS_H
#define RINGCAST_SETTINGS_ROWS_H

#include "settings.h"

enum setting_type {
    SETTING_u32,
    SETTING_flag,
    SETTING_word,
    SETTING_text,
    SETTING_path,
    SETTING_address,
    SETTING_addresses,
    SETTING_list,
    SETTING_secret,
};

struct setting {
    const char *heading; /* of the group that begins with this row; else NULL */
    const char *name, *environment;
    enum setting_type type;
    size_t offset;            /* in struct settings */
    uint32_t default_number;  /* u32, flag */
    const char *default_text; /* all others; else NULL */
    uint64_t min, max;        /* u32: the value; texts of all kinds: bytes */
    const char *unit;         /* u32; may be empty */
    const char *words;        /* word: "first, second, third" */
    bool live;
    const char *who;
    const char *prose;
};

extern const struct setting settings_rows[];
extern const size_t settings_row_count;

/* ---- one value (settings_value.c) ---- */

/* Writes a sentence into error (SETTING_ERROR_BYTES); returns false. */
bool settings_refuse(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define SETTING_ALLOWED_BYTES 128
/* What the setting may be, for a person: "1 to 65535", "sqlite or postgres". */
const char *setting_allowed(const struct setting *s, char text[SETTING_ALLOWED_BYTES]);

/* Sets it, or returns false with a sentence in error. `origin` says where the value comes from. */
bool setting_set(struct settings *settings, const struct setting *s, const char *value,
                 const char *origin, char *error);

#define SETTING_VALUE_BYTES (2 * SETTING_TEXT_ROOM + 3) /* every character escaped, quotes, NUL */
/* Values as the file writes them. A secret that is set is "(set)". */
const char *setting_value(const struct settings *settings, const struct setting *s,
                          char value[SETTING_VALUE_BYTES]);
const char *setting_default(const struct setting *s, char value[SETTING_VALUE_BYTES]);

/* ---- settings that must fit each other (settings_together.c) ---- */

/* False with a sentence in error (SETTING_ERROR_BYTES). */
bool settings_check_together(const struct settings *settings, char *error);

#endif
