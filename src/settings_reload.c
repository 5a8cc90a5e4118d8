/* A reload: finds the settings that differ, and applies those that may change while a process runs.
 * Also removes secrets from the environment of children. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings_rows.h"

static size_t value_bytes(const struct setting *s)
{
    switch (s->type) {
    case SETTING_u32:
        return sizeof(setting_u32);
    case SETTING_flag:
        return sizeof(setting_flag);
    default:
        return SETTING_TEXT_ROOM; /* the bytes after a text are zeros */
    }
}

/* media_log_level set to its default value differs from media_log_level not set. */
static bool is_media_log_level(const struct setting *s)
{
    return s->offset == offsetof(struct settings, media_log_level);
}

static bool differs(const struct setting *s, const struct settings *a, const struct settings *b)
{
    return memcmp((const uint8_t *)a + s->offset, (const uint8_t *)b + s->offset, value_bytes(s)) !=
               0 ||
           (is_media_log_level(s) && a->media_log_level_given != b->media_log_level_given);
}

static void name_add(char names[SETTING_NAMES_BYTES], const char *name)
{
    size_t used = strlen(names);

    snprintf(names + used, SETTING_NAMES_BYTES - used, "%s%s", used ? "," : "", name);
}

void settings_compare(const struct settings *now, const struct settings *fresh, const char *who,
                      struct settings_changes *changes)
{
    memset(changes, 0, sizeof(*changes));
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];

        if ((strcmp(s->who, who) == 0 || strcmp(s->who, "BOTH") == 0) && differs(s, now, fresh))
            name_add(s->live ? changes->live : changes->restart, s->name);
    }
}

void settings_apply_live(struct settings *now, const struct settings *fresh)
{
    for (size_t i = 0; i < settings_row_count; i++) {
        const struct setting *s = &settings_rows[i];

        if (!s->live)
            continue;
        memcpy((uint8_t *)now + s->offset, (const uint8_t *)fresh + s->offset, value_bytes(s));
        if (is_media_log_level(s))
            now->media_log_level_given = fresh->media_log_level_given;
    }
}

void settings_unset_secrets(void)
{
    for (size_t i = 0; i < settings_row_count; i++)
        if (settings_rows[i].type == SETTING_secret)
            unsetenv(settings_rows[i].environment);
}
