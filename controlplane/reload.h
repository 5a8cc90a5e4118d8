/* SIGHUP: settings are read as at the start, and those that are live are put in force, all or none.
 *
 * What was made from settings (lists of origins, keys, certificates) is a row of `parts` in reload.c:
 * all are made anew first; when one cannot be made, the sentence is logged and everything stays.
 * What is read from the settings where it is used needs no row. Threads: the loop's. */
#ifndef RINGCAST_CONTROLPLANE_RELOAD_H
#define RINGCAST_CONTROLPLANE_RELOAD_H

#include "controlplane/people/auth.h"
#include "controlplane/web/http.h"

struct reload {
    struct settings *settings; /* in force */
    int argc;
    char **argv;
    struct http_server *http;
    struct auth *auth;
    struct audit *audit;
    uv_signal_t signal;
};

void reload_open(struct reload *reload, uv_loop_t *loop);
void reload_close(struct reload *reload);

/* The log as the settings say. */
void reload_log(const struct settings *settings);

#endif
