/* Choosing an I/O backend by name, or by measuring. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "choose.h"
#include "src/log.h"

static const struct io_backend *const backends[] = {&io_uring_backend, &io_socket_backend,
                                                    &io_replay_backend};
#define BACKEND_COUNT (sizeof(backends) / sizeof(backends[0]))

/* What `auto` means in this process. */
static struct {
    pthread_once_t once;
    bool measured;                      /* here, or by a process before this one */
    const struct io_backend *preferred; /* NULL: the first that works */
    char why[CHOICE_WHY_BYTES];
} choice = {.once = PTHREAD_ONCE_INIT};

static const struct io_backend *backend_named(const char *name)
{
    for (size_t i = 0; i < BACKEND_COUNT; i++)
        if (strcmp(name, backends[i]->name) == 0)
            return backends[i];
    return NULL;
}

void io_prefer(const char *name)
{
    choice.preferred = backend_named(name);
    choice.measured = choice.preferred != NULL;
    if (choice.preferred)
        snprintf(choice.why, sizeof(choice.why), "%s, which was measured to be the cheapest before",
                 choice.preferred->name);
}

bool io_was_measured(void)
{
    return choice.measured;
}

static void choose(void)
{
    struct measured measured[CANDIDATES_MAX];
    size_t count, picked;

    if (choice.preferred)
        return;
    count = backends_measure(measured);
    picked = measured_pick(measured, count);
    if (picked < count) {
        choice.preferred = measured[picked].backend;
        choice.measured = true;
        measured_explain(measured, count, picked, choice.why);
        return;
    }
    snprintf(choice.why, sizeof(choice.why), "unmeasured (%s)", measured[0].refusal);
    LOG(WARN, "start", "cannot measure the I/O backends: the first that works is taken",
        F("first", "%s", measured[0].refusal), F("last", "%s", measured[count - 1].refusal));
}

/* The preferred one, else the first that opens. */
static struct io *open_auto(const struct io_descriptors *descriptors,
                            const struct io_backend **backend, char *why)
{
    char refusal[REFUSAL_BYTES] = "", first_refusal[REFUSAL_BYTES] = "";
    const struct io_backend *preferred, *refused = NULL;
    struct io *io;

    pthread_once(&choice.once, choose);
    preferred = choice.preferred;
    io = preferred ? preferred->open(descriptors, refusal) : NULL;
    if (io) {
        *backend = preferred;
        snprintf(why, CHOICE_WHY_BYTES, "%.95s%s%.90s", choice.why, refusal[0] ? "; " : "",
                 refusal);
        return io;
    }
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        if (backends[i] == &io_replay_backend)
            continue;
        io = backends[i]->open(descriptors, refusal);
        if (io) {
            *backend = backends[i];
            snprintf(why, CHOICE_WHY_BYTES, "%s, the first that works%s%s%s%.100s",
                     backends[i]->name, refused ? ": " : "", refused ? refused->name : "",
                     refused ? ": " : "", first_refusal);
            return io;
        }
        if (!refused) {
            refused = backends[i];
            memcpy(first_refusal, refusal, sizeof(first_refusal));
        }
        snprintf(why, CHOICE_WHY_BYTES, "%s: %s", backends[i]->name, refusal);
    }
    return NULL;
}

struct io *io_open(const char *name, const struct io_descriptors *descriptors,
                   const struct io_backend **backend, char *why)
{
    const struct io_backend *named = backend_named(name);
    char refusal[REFUSAL_BYTES] = "";
    struct io *io;

    if (strcmp(name, "auto") == 0)
        return open_auto(descriptors, backend, why);
    if (!named) {
        snprintf(why, CHOICE_WHY_BYTES,
                 "no I/O backend is called \"%.40s\": auto, io_uring, socket, replay", name);
        return NULL;
    }
    io = named->open(descriptors, refusal);
    if (!io) {
        snprintf(why, CHOICE_WHY_BYTES, "%s: %s", named->name, refusal);
        return NULL;
    }
    *backend = named;
    snprintf(why, CHOICE_WHY_BYTES, "%s, as configured%s%.90s", named->name, refusal[0] ? "; " : "",
             refusal);
    return io;
}
