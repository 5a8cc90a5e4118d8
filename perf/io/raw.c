/* The bare system calls that the backends are compared with. */
#define _GNU_SOURCE
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "bench.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define BATCH 64
#define PAYLOAD_BYTES (256 << 10)
#define RECEIVE_BYTES 65536

static uint8_t payload[PAYLOAD_BYTES + 65536];

/* Writes the beginning of a datagram, where a header would be. Memory that was never written is one
 * page of zeros in the kernel; that page would always be in a cache. */
void payload_write(uint8_t *data, uint32_t bytes)
{
    memset(data, 1, bytes < 32 ? bytes : 32);
}

uint8_t *payload_next(uint32_t bytes)
{
    static uint32_t at;

    if (at + bytes > PAYLOAD_BYTES)
        at = 0;
    at += bytes;
    payload_write(payload + at - bytes, bytes);
    return payload + at - bytes;
}

void raw_sendto(const struct io_backend *backend, struct io *io, struct sender *sender,
                const struct work *work)
{
    for (uint32_t r = 0; r < work->runs; r++) {
        const struct sockaddr_in *to = sender_next(sender);

        for (uint32_t i = 0; i < work->segments; i++)
            sendto(sender->udp4, payload_next(work->bytes), work->bytes, MSG_DONTWAIT,
                   (const struct sockaddr *)to, sizeof(*to));
    }
}

struct batch {
    unsigned count;
    struct mmsghdr messages[BATCH];
    struct iovec iovecs[BATCH];
    uint8_t controls[BATCH][CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8)));
};

static void batch_flush(struct batch *batch, int fd)
{
    unsigned at = 0;

    while (at < batch->count) {
        int sent = sendmmsg(fd, batch->messages + at, batch->count - at, MSG_DONTWAIT);

        at += sent > 0 ? (unsigned)sent : 1;
    }
    batch->count = 0;
}

static void batch_add(struct batch *batch, int fd, const struct sockaddr_in *to, uint32_t bytes,
                      uint32_t segments)
{
    struct msghdr *header = &batch->messages[batch->count].msg_hdr;
    struct iovec *iovec = &batch->iovecs[batch->count];
    struct cmsghdr *control = (struct cmsghdr *)batch->controls[batch->count];

    iovec->iov_base = payload_next(bytes * segments);
    iovec->iov_len = (size_t)bytes * segments;
    *header = (struct msghdr){.msg_name = (void *)(uintptr_t)to,
                              .msg_namelen = sizeof(*to),
                              .msg_iov = iovec,
                              .msg_iovlen = 1};
    if (segments > 1) {
        uint16_t segment_bytes = (uint16_t)bytes;

        control->cmsg_level = SOL_UDP;
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof(segment_bytes));
        memcpy(CMSG_DATA(control), &segment_bytes, sizeof(segment_bytes));
        header->msg_control = control;
        header->msg_controllen = CMSG_SPACE(sizeof(segment_bytes));
    }
    if (++batch->count == BATCH)
        batch_flush(batch, fd);
}

void raw_sendmmsg(const struct io_backend *backend, struct io *io, struct sender *sender,
                  const struct work *work)
{
    static struct batch batch;

    for (uint32_t r = 0; r < work->runs; r++) {
        const struct sockaddr_in *to = sender_next(sender);

        for (uint32_t i = 0; i < work->segments; i++)
            batch_add(&batch, sender->udp4, to, work->bytes, 1);
    }
    batch_flush(&batch, sender->udp4);
}

void raw_sendmmsg_segmented(const struct io_backend *backend, struct io *io, struct sender *sender,
                            const struct work *work)
{
    static struct batch batch;

    for (uint32_t r = 0; r < work->runs; r++)
        batch_add(&batch, sender->udp4, sender_next(sender), work->bytes, work->segments);
    batch_flush(&batch, sender->udp4);
}

/* ---- receiving; a super-datagram counts as one ---- */

uint32_t raw_recvfrom(const struct io_backend *backend, struct io *io, struct sender *sender)
{
    static uint8_t data[RECEIVE_BYTES];
    struct sockaddr_in from;
    socklen_t from_bytes = sizeof(from);
    uint32_t count = 0;

    while (recvfrom(sender->udp4, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from,
                    &from_bytes) >= 0)
        count++;
    return count;
}

uint32_t raw_recvmmsg(const struct io_backend *backend, struct io *io, struct sender *sender)
{
    static uint8_t data[BATCH][2048], controls[BATCH][128];
    static struct sockaddr_in names[BATCH];
    static struct iovec iovecs[BATCH];
    static struct mmsghdr messages[BATCH];
    uint32_t count = 0;
    int received;

    do {
        for (unsigned i = 0; i < BATCH; i++) {
            iovecs[i] = (struct iovec){data[i], sizeof(data[i])};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &names[i],
                                                  .msg_namelen = sizeof(names[i]),
                                                  .msg_iov = &iovecs[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = controls[i],
                                                  .msg_controllen = sizeof(controls[i])};
        }
        received = recvmmsg(sender->udp4, messages, BATCH, MSG_DONTWAIT, NULL);
        count += received > 0 ? (uint32_t)received : 0;
    } while (received == BATCH);
    return count;
}
