/* SIGHUP: reads the settings as at the start and applies those that may change while the process
 * runs: all of them or none.
 *
 * Objects that are made from settings (origins, keys, certificates) have a row in reload.c. All of
 * them are made first; when one cannot be made, the reason is logged and nothing changes. Settings
 * that are read where they are used need no row. Threads: the loop's. */
#ifndef RINGCAST_CONTROLPLANE_RELOAD_H
#define RINGCAST_CONTROLPLANE_RELOAD_H

#include "controlplane/people/auth.h"
#include "controlplane/web/http.h"

struct reload {
    struct settings *settings; /* the ones in use */
    int argc;
    char **argv;
    struct http_server *http;
    struct auth *auth;
    struct audit *audit;
    uv_signal_t signal;
};

void reload_open(struct reload *reload, uv_loop_t *loop);
void reload_close(struct reload *reload);

/* Sets level and format of the log. */
void reload_log(const struct settings *settings);

#endif
