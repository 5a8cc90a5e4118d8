/* The rows of settings.h as an array, for the files that walk them. */
#ifndef RINGCAST_SETTINGS_INTERNAL_H
#define RINGCAST_SETTINGS_INTERNAL_H

#include "settings.h"

enum setting_type { SETTING_u32, SETTING_flag, SETTING_text, SETTING_secret };

struct setting {
    const char *name, *environment;
    enum setting_type type;
    size_t offset;            /* in struct settings */
    uint32_t default_number;  /* u32, flag */
    const char *default_text; /* text, secret; else NULL */
    uint64_t min, max;
    const char *unit;
    bool live;
    const char *who;
    const char *prose;
};

/* False with a sentence in error. */
bool settings_check_servers(const struct settings *settings, char *error /* SETTING_ERROR_BYTES */);

extern const struct setting settings_rows[];
extern const size_t settings_row_count;

#endif
