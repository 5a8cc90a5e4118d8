/* Choosing an I/O backend by its name or by measuring, and opening it. */
#include "io.h"

#include <stdio.h>
#include <string.h>

#include "choose.h"
#include "src/log.h"

const struct io_backend *io_backend_named(const struct io_backends *backends, const char *name)
{
    for (size_t i = 0; i < backends->count; i++)
        if (strcmp(name, backends->list[i]->name) == 0)
            return backends->list[i];
    return NULL;
}

void io_backend_unknown(const struct io_backends *backends, const char *name,
                        char why[IO_CHOICE_BYTES])
{
    size_t at = (size_t)snprintf(why, IO_CHOICE_BYTES,
                                 "no I/O backend is called \"%.40s\"; there are: auto", name);

    for (size_t i = 0; i < backends->count && at < IO_CHOICE_BYTES; i++)
        at += (size_t)snprintf(why + at, IO_CHOICE_BYTES - at, ", %s", backends->list[i]->name);
}

/* ---- choosing ---- */

static void choose_by_measuring(struct io_choice *choice)
{
    struct measured measured[IO_BACKENDS_MAX];
    size_t count = backends_measure(choice->backends, measured);
    size_t picked = measured_pick(measured, count);

    if (picked < count) {
        choice->backend = measured[picked].backend;
        choice->is_measured = true;
        measured_explain(measured, count, picked, choice->reason);
        return;
    }
    for (size_t i = 0; i < count; i++)
        LOG(WARN, "start", "cannot measure this I/O backend; the first one that opens is used",
            F("backend", "%s", measured[i].backend->name), F("why", "%s", measured[i].refusal));
}

bool io_choose(struct io_choice *choice, const struct io_backends *backends, const char *name,
               const char *measured_before, char why[IO_CHOICE_BYTES])
{
    *choice = (struct io_choice){.backends = backends, .is_auto = strcmp(name, "auto") == 0};
    if (!choice->is_auto) {
        choice->backend = io_backend_named(backends, name);
        if (!choice->backend)
            io_backend_unknown(backends, name, why);
        else
            snprintf(choice->reason, sizeof(choice->reason), "%s, as configured", name);
        return choice->backend != NULL;
    }
    choice->backend = io_backend_named(backends, measured_before);
    if (!choice->backend) {
        choose_by_measuring(choice);
        return true;
    }
    choice->is_measured = true;
    snprintf(choice->reason, sizeof(choice->reason),
             "%s, which an earlier process measured to be the cheapest", choice->backend->name);
    return true;
}

/* ---- opening ---- */

/* Takes the first backend that opens; `why` says what kept the first one before it from opening. */
static struct io *open_first(const struct io_backends *backends,
                             const struct descriptors *descriptors, uint32_t worker,
                             const struct io_backend **backend, char why[IO_CHOICE_BYTES])
{
    char first_refusal[IO_WHY_BYTES] = "";
    const struct io_backend *refused = NULL;

    snprintf(why, IO_CHOICE_BYTES, "there is no I/O backend that auto may choose");
    for (size_t i = 0; i < backends->count; i++) {
        const struct io_backend *candidate = backends->list[i];
        char refusal[IO_WHY_BYTES] = "";
        struct io *io;

        if (!candidate->auto_may_choose)
            continue;
        io = candidate->open(descriptors, worker, refusal);
        if (io) {
            *backend = candidate;
            snprintf(why, IO_CHOICE_BYTES, "%s, the first that opens%s%s%s%.100s", candidate->name,
                     refused ? "; " : "", refused ? refused->name : "", refused ? ": " : "",
                     first_refusal);
            return io;
        }
        if (!refused) {
            refused = candidate;
            memcpy(first_refusal, refusal, sizeof(first_refusal));
        }
        snprintf(why, IO_CHOICE_BYTES, "%s: %s", candidate->name, refusal);
    }
    return NULL;
}

struct io *io_open(const struct io_choice *choice, const struct descriptors *descriptors,
                   uint32_t worker, const struct io_backend **backend, char why[IO_CHOICE_BYTES])
{
    char remark[IO_WHY_BYTES] = "";
    struct io *io = choice->backend ? choice->backend->open(descriptors, worker, remark) : NULL;

    if (io) {
        *backend = choice->backend;
        snprintf(why, IO_CHOICE_BYTES, "%.95s%s%.90s", choice->reason, remark[0] ? "; " : "",
                 remark);
        return io;
    }
    if (choice->is_auto)
        return open_first(choice->backends, descriptors, worker, backend, why);
    snprintf(why, IO_CHOICE_BYTES, "%s: %s", choice->backend->name, remark);
    return NULL;
}
