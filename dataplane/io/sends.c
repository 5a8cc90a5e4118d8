/* Sends runs by sendmmsg; see sends.h. */
#define _GNU_SOURCE
#include <errno.h>

#include "sends.h"

#define FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)

void sends_open(struct sends sends[SOCKETS_MAX], const struct udp_sockets *sockets)
{
    for (unsigned e = 0; e < sockets->count; e++) {
        sends[e].socket = &sockets->list[e];
        for (unsigned i = 0; i < SENDS_AT_ONCE; i++)
            send_prepare(&sends[e].messages[i].msg_hdr, &sends[e].rooms[i], sends[e].socket);
    }
}

static void describe(struct sends *sends, const struct slots *slots, const struct run *run)
{
    send_describe(&sends->messages[sends->count].msg_hdr, &sends->rooms[sends->count],
                  sends->socket, &run->path, slots->memory + run->at, run->bytes,
                  run->segments > 1 ? run->segment_bytes : 0);
}

void sends_retry(struct sends *sends, struct slots *slots, struct run *run)
{
    describe(sends, slots, run);
    run->error = sendmsg(sends->socket->fd, &sends->messages[0].msg_hdr, FLAGS) < 0 ? errno : 0;
}

void sends_send_singly(const struct udp_socket *socket, struct slots *slots, const struct run *run,
                       struct io_counters *counters)
{
    struct send_room room;
    struct msghdr header;

    slots_note_refusal(slots, &run->path);
    send_prepare(&header, &room, socket);
    for (uint32_t i = 0; i < run->segments; i++) {
        struct run single = {.bytes = run_segment_bytes(run, i), .segments = 1};

        send_describe(&header, &room, socket, &run->path,
                      slots->memory + run->at + (size_t)i * run->segment_bytes, single.bytes, 0);
        if (sendmsg(socket->fd, &header, FLAGS) < 0)
            single.error = errno;
        run_count(counters, &single);
    }
}

/* sendmmsg stops at the first send that fails, and the next call returns the error of that send.
 * When the socket is full, the later sends of this turn are not tried and count as send_full. */
static void sends_flush(struct sends *sends, struct slots *slots, struct io_counters *counters)
{
    unsigned at = 0;

    while (at < sends->count) {
        int sent = 0, error = EAGAIN;
        struct run *run;

        if (!sends->full) {
            sent = sendmmsg(sends->socket->fd, sends->messages + at, sends->count - at, FLAGS);
            error = sent < 0 ? errno : EIO;
        }
        for (int i = 0; i < sent; i++)
            run_count(counters, sends->runs[at++]);
        if (sent > 0)
            continue;
        run = sends->runs[at++];
        run->error = error;
        sends->full |= error == EAGAIN;
        if (run->segments > 1 && error_refuses_segments(error))
            sends_send_singly(sends->socket, slots, run, counters);
        else
            run_count(counters, run);
    }
    sends->count = 0;
}

void sends_transmit(struct sends sends[SOCKETS_MAX], const struct udp_sockets *sockets,
                    struct slots *slots, struct io_counters *counters)
{
    for (uint32_t r = 0; r < slots->run_count; r++) {
        struct run *run = &slots->runs[r];
        int e = udp_socket_of(sockets, &run->path);
        struct sends *to;

        if (e < 0) {
            run->error = EAFNOSUPPORT;
            run_count(counters, run);
            continue;
        }
        to = &sends[e];
        describe(to, slots, run);
        to->runs[to->count] = run;
        if (++to->count == SENDS_AT_ONCE)
            sends_flush(to, slots, counters);
    }
    for (unsigned e = 0; e < sockets->count; e++) {
        sends_flush(&sends[e], slots, counters);
        sends[e].full = false;
    }
    slots_clear(slots);
}
