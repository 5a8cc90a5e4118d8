/* SIGHUP: reads the settings again and applies those that may change while the process runs. */
#include "reload.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/data_directory_open.h"
#include "controlplane/people/secret.h"
#include "controlplane/rooms/rooms.h"
#include "src/log.h"
#include "src/notify.h"

extern char **environ;

/* ---- what is made from settings ---- */

static void *secrets_make(const struct reload *reload, const struct settings *next, char *why)
{
    struct secrets *secrets = calloc(1, sizeof(*secrets));

    snprintf(why, WHY_BYTES, "out of memory for the JWT secrets");
    if (secrets && secrets_obtain(next, secrets, why))
        return secrets;
    free(secrets);
    return NULL;
}

static void secrets_drop(void *made)
{
    explicit_bzero(made, sizeof(struct secrets));
    free(made);
}

static void secrets_place(const struct reload *reload, void *made)
{
    auth_use_secrets(reload->auth, made);
    secrets_drop(made);
}

/* The rooms read these settings where they use them. Here we only check that they fit together. */
static void *rooms_make(const struct reload *reload, const struct settings *next, char *why)
{
    static char checked;

    return rooms_check(next, why) ? &checked : NULL;
}

static void nothing_place(const struct reload *reload, void *made)
{
}

static void nothing_drop(void *made)
{
}

/* Everything that is made from settings. First all rows `make` theirs (NULL: refused, why says the
 * reason). Then all `place` them, which cannot fail, or all `drop` them. http_reload does both at
 * once for HTTP, so it comes last. */
static const struct part {
    void *(*make)(const struct reload *reload, const struct settings *next, char *why);
    void (*place)(const struct reload *reload, void *made);
    void (*drop)(void *made);
} parts[] = {
    {secrets_make, secrets_place, secrets_drop}, /* JWT_SECRET and its file */
    {rooms_make, nothing_place, nothing_drop},   /* TURN_URLS, TURN_SECRET */
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* ---- the reload ---- */

static void parts_drop(void *const made[PARTS], size_t count)
{
    for (size_t i = 0; i < count; i++)
        parts[i].drop(made[i]);
}

static bool parts_make(const struct reload *reload, const struct settings *next, void *made[PARTS],
                       char *why)
{
    for (size_t i = 0; i < PARTS; i++) {
        made[i] = parts[i].make(reload, next, why);
        if (made[i])
            continue;
        parts_drop(made, i);
        return false;
    }
    return true;
}

static void refuse(const char *why)
{
    LOG(ERROR, "reload", "the new settings are refused; the old ones stay in force",
        F("why", "%s", why));
}

/* Logs only the names of the settings: values may be secret. */
static void report(const struct reload *reload, const struct settings_changes *changes)
{
    if (changes->restart[0])
        LOG(WARN, "reload", "these settings have changed but need a restart",
            F("settings", "%s", changes->restart));
    LOG(INFO, "reload", "settings read again",
        F("changed", "%s", changes->live[0] ? changes->live : "nothing"));
    if (changes->live[0])
        audit_write(reload->audit, AUDIT_config_changed, NULL, NULL, NULL, "{\"settings\":\"%s\"}",
                    changes->live);
}

static void reload_run(struct reload *reload)
{
    static struct settings fresh, next, before; /* too large for the stack */
    static struct settings_changes changes;
    enum settings_request request;
    char error[SETTING_ERROR_BYTES];
    void *made[PARTS];

    _Static_assert(SETTING_ERROR_BYTES >= WHY_BYTES, "error has room for why");
    if (!settings_load(&fresh, reload->argc, reload->argv, environ, &request, error)) {
        refuse(error);
        return;
    }
    settings_compare(reload->settings, &fresh, "CP", &changes);
    next = *reload->settings;
    settings_apply_live(&next, &fresh);
    if (!parts_make(reload, &next, made, error)) {
        refuse(error);
        return;
    }
    before = *reload->settings;
    *reload->settings = next; /* nobody reads it before the end of this function */
    if (!http_reload(reload->http, reload->settings, error)) {
        *reload->settings = before;
        parts_drop(made, PARTS);
        refuse(error);
        return;
    }
    for (size_t i = 0; i < PARTS; i++)
        parts[i].place(reload, made[i]);
    reload_log(reload->settings);
    report(reload, &changes);
    explicit_bzero(&fresh, sizeof(fresh));
    explicit_bzero(&next, sizeof(next));
    explicit_bzero(&before, sizeof(before));
}

static void signal_arrived(uv_signal_t *signal, int number)
{
    notify_reloading();
    reload_run(signal->data);
    notify_ready();
}

void reload_open(struct reload *reload, uv_loop_t *loop)
{
    reload->signal.data = reload;
    uv_signal_init(loop, &reload->signal);
    uv_signal_start(&reload->signal, signal_arrived, SIGHUP);
    uv_unref((uv_handle_t *)&reload->signal);
}

void reload_close(struct reload *reload)
{
    uv_close((uv_handle_t *)&reload->signal, NULL);
}

void reload_log(const struct settings *settings)
{
    enum log_level level = LOG_INFO;

    log_level_find(settings->log_level, &level);
    log_open("controlplane", level, strcmp(settings->log_format, "json") == 0);
}
