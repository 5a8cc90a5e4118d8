/* Choosing an I/O backend by name. */
#include <stdio.h>
#include <string.h>

#include "io.h"

#define WHY_BYTES 192

struct io *io_open(const char *name, const struct io_descriptors *descriptors,
                   const struct io_backend **backend, char *why)
{
    static const struct io_backend *const backends[] = {&io_uring_backend, &io_socket_backend,
                                                        &io_replay_backend};
    char refusal[128] = "", uring_refusal[128] = "";
    bool is_auto = strcmp(name, "auto") == 0;

    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        const struct io_backend *candidate = backends[i];
        struct io *io;

        if (is_auto ? candidate == &io_replay_backend : strcmp(name, candidate->name) != 0)
            continue;
        io = candidate->open(descriptors, refusal);
        if (io) {
            *backend = candidate;
            if (!is_auto)
                snprintf(why, WHY_BYTES, "%s, as configured", candidate->name);
            else if (!uring_refusal[0])
                snprintf(why, WHY_BYTES, "%s, the first choice, works here", candidate->name);
            else
                snprintf(why, WHY_BYTES, "%s, because of io_uring: %s", candidate->name,
                         uring_refusal);
            return io;
        }
        if (candidate == &io_uring_backend)
            memcpy(uring_refusal, refusal, sizeof(refusal));
        snprintf(why, WHY_BYTES, "%s: %s", candidate->name, refusal);
        if (!is_auto)
            return NULL;
    }
    if (!is_auto)
        snprintf(why, WHY_BYTES,
                 "no I/O backend is called \"%.40s\": auto, io_uring, socket, replay", name);
    return NULL;
}
