/* SIGHUP: reads the settings again and puts in force what may change while people talk. */
#include "reload.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/directory.h"
#include "controlplane/people/secret.h"
#include "controlplane/rooms/rooms.h"
#include "src/log.h"
#include "src/notify.h"

extern char **environ;

/* ---- what is made from settings ---- */

static void *policy_make(const struct reload *reload, const struct settings *next, char *why)
{
    return policy_open(next, why);
}

static void policy_place(const struct reload *reload, void *made)
{
    http_take_policy(reload->http, made);
}

static void policy_drop(void *made)
{
    policy_free(made);
}

static void *secrets_make(const struct reload *reload, const struct settings *next, char *why)
{
    struct secrets *secrets = calloc(1, sizeof(*secrets));

    snprintf(why, WHY_BYTES, "no memory for the JWT secrets");
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
    auth_take_secrets(reload->auth, made);
    secrets_drop(made);
}

/* Read where they are used, but only when they go together. */
static void *rooms_make(const struct reload *reload, const struct settings *next, char *why)
{
    static char fine;

    return rooms_check(next, why) ? &fine : NULL;
}

static void nothing_place(const struct reload *reload, void *made)
{
}

static void nothing_drop(void *made)
{
}

/* Everything that has to be made anew. A row: make (NULL: refused, why), then place, which cannot
 * fail, or drop. */
static const struct part {
    void *(*make)(const struct reload *reload, const struct settings *next, char *why);
    void (*place)(const struct reload *reload, void *made);
    void (*drop)(void *made);
} parts[] = {
    {policy_make, policy_place, policy_drop},    /* CORS_ORIGINS, TRUSTED_PROXIES */
    {secrets_make, secrets_place, secrets_drop}, /* JWT_SECRET and its file */
    {rooms_make, nothing_place, nothing_drop},   /* TURN_URLS, TURN_SECRET */
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* ---- the reload ---- */

static bool parts_make(const struct reload *reload, const struct settings *next, void *made[PARTS],
                       char *why)
{
    for (size_t i = 0; i < PARTS; i++) {
        made[i] = parts[i].make(reload, next, why);
        if (made[i])
            continue;
        while (i-- > 0)
            parts[i].drop(made[i]);
        return false;
    }
    return true;
}

/* Names only: values may be secret. */
static void tell(const struct reload *reload, const struct settings_changes *changes)
{
    if (changes->restart[0])
        LOG(WARN, "reload", "these settings were changed, but need a restart",
            F("settings", "%s", changes->restart));
    LOG(INFO, "reload", "settings read again",
        F("changed", "%s", changes->live[0] ? changes->live : "nothing"));
    if (changes->live[0])
        audit_write(reload->audit, AUDIT_config_changed, NULL, NULL, NULL, "{\"settings\":\"%s\"}",
                    changes->live);
}

static void reload_run(struct reload *reload)
{
    static struct settings fresh, next; /* too big for a stack */
    static struct settings_changes changes;
    enum settings_request request;
    char error[SETTING_ERROR_BYTES];
    void *made[PARTS];

    _Static_assert(SETTING_ERROR_BYTES >= WHY_BYTES, "error takes the parts' sentences as well");
    if (!settings_load(&fresh, reload->argc, reload->argv, environ, &request, error)) {
        LOG(ERROR, "reload", "the new settings are refused; the old ones stay in force",
            F("why", "%s", error));
        return;
    }
    settings_compare(reload->settings, &fresh, "CP", &changes);
    next = *reload->settings;
    settings_take_live(&next, &fresh);
    if (!parts_make(reload, &next, made, error)) {
        LOG(ERROR, "reload", "the new settings are refused; the old ones stay in force",
            F("why", "%s", error));
        return;
    }
    *reload->settings = next;
    for (size_t i = 0; i < PARTS; i++)
        parts[i].place(reload, made[i]);
    reload_log(reload->settings);
    tell(reload, &changes);
    explicit_bzero(&fresh, sizeof(fresh));
    explicit_bzero(&next, sizeof(next));
}

static void asked(uv_signal_t *signal, int number)
{
    notify_reloading();
    reload_run(signal->data);
    notify_ready();
}

void reload_open(struct reload *reload, uv_loop_t *loop)
{
    reload->signal.data = reload;
    uv_signal_init(loop, &reload->signal);
    uv_signal_start(&reload->signal, asked, SIGHUP);
    uv_unref((uv_handle_t *)&reload->signal);
}

void reload_close(struct reload *reload)
{
    uv_close((uv_handle_t *)&reload->signal, NULL);
}

void reload_log(const struct settings *settings)
{
    const char *name = settings->log_level;
    enum log_level level = strcmp(name, "error") == 0   ? LOG_ERROR
                           : strcmp(name, "warn") == 0  ? LOG_WARN
                           : strcmp(name, "debug") == 0 ? LOG_DEBUG
                                                        : LOG_INFO;

    log_open("controlplane", level, strcmp(settings->log_format, "json") == 0);
}
