/* All parts of the control plane's process, in the order in which main.c opens them. */
#ifndef RINGCAST_CONTROLPLANE_CONTROL_H
#define RINGCAST_CONTROLPLANE_CONTROL_H

#include <uv.h>

#include "reload.h"
#include "src/settings.h"

struct control {
    struct settings settings;
    uv_loop_t loop;
    struct http_server *http;
    struct live *live;
    struct persistence *store;
    struct audit *audit;
    struct auth *auth;
    struct dataplane *dataplane;
    struct rooms *rooms;
    struct socketio *io;
    struct reload reload;
    uint64_t started_ns;
    /* stop.c */
    uv_signal_t terminate, interrupt;
    uv_timer_t stop_timeout, drain;
    uint64_t drain_until_ms; /* time of the loop; 0: not draining */
    bool is_stopping;
    uv_timer_t watchdog; /* tells the service manager that the loop runs */
};

#endif
