/* uses: dataplane */
/* Sends arbitrary datagrams to a DTLS association. No datagram may give it keys, or change the keys
 * of a finished handshake.
 *
 * Input: a byte of mode (bit 0: the engine is the client; bit 1: do a handshake first), then
 * datagrams, each after its length in two bytes. 20 ms of virtual time pass after each datagram. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/dtls.h"
#include "src/clock.h"

#define DATAGRAMS_MAX 64

static struct dtls_context *context;
static uint8_t fingerprint[FINGERPRINT_BYTES_MAX];

struct mailbox {
    uint8_t data[16][1500];
    size_t bytes[16];
    unsigned count;
    size_t all_bytes;
};

static void put(void *box_pointer, const uint8_t *datagram, size_t bytes)
{
    struct mailbox *box = box_pointer;

    if (bytes > DTLS_MTU_BYTES)
        abort();
    box->all_bytes += bytes;
    if (box->count == 16)
        return;
    memcpy(box->data[box->count], datagram, bytes);
    box->bytes[box->count++] = bytes;
}

static void deliver(struct mailbox *box, struct dtls *to, uint64_t now_ns)
{
    for (unsigned i = 0; i < box->count; i++)
        dtls_receive(to, now_ns, box->data[i], box->bytes[i]);
    box->count = 0;
}

static struct dtls *open_end(enum dtls_role role, struct mailbox *box)
{
    struct dtls_options options = {
        .role = role,
        .fingerprint_algorithm = FINGERPRINT_sha_256,
        .fingerprint_bytes = 32,
        .fingerprint = fingerprint,
        .timeout_ns = 30 * NS_PER_S,
        .send = put,
        .send_context = box,
    };
    struct dtls *dtls = dtls_new(context, &options, 0);

    if (!dtls)
        abort();
    dtls_start(dtls, 0);
    return dtls;
}

static void open_context(void)
{
    struct identity_row row = {0};
    struct identity identity;
    char why[128];

    if (!identity_make(&row, why) || !identity_open(&identity, &row, why))
        abort();
    memcpy(fingerprint, row.fingerprint_sha_256, 32);
    context = dtls_context_new(&identity, why);
    identity_close(&identity);
    if (!context)
        abort();
}

/* Delivers the datagrams. Fails if there are keys afterwards that were not there before. */
static void feed(struct dtls *dtls, const uint8_t *data, size_t bytes)
{
    struct dtls_keys before = {0}, after;
    bool connected = dtls_export(dtls, &before);
    uint64_t now_ns = 0;

    for (unsigned i = 0; i < DATAGRAMS_MAX && bytes >= 2; i++) {
        size_t length = (size_t)data[0] << 8 | data[1];
        uint8_t *exact; /* ends where the datagram ends, so that a sanitizer notices overruns */

        data += 2, bytes -= 2;
        length = length < bytes ? length : bytes;
        exact = malloc(length ? length : 1);
        if (!exact)
            abort();
        memcpy(exact, data, length);
        dtls_receive(dtls, now_ns, exact, length);
        free(exact);
        data += length, bytes -= length;
        now_ns += 20 * NS_PER_MS;
        dtls_tick(dtls, now_ns);
    }
    if (dtls_export(dtls, &after) && (!connected || memcmp(&before, &after, sizeof(before)) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct mailbox from_us, from_peer;
    struct dtls *us, *peer;

    if (bytes == 0)
        return 0;
    if (!context)
        open_context();
    from_us = from_peer = (struct mailbox){0};
    us = open_end(data[0] & 1 ? DTLS_ROLE_client : DTLS_ROLE_server, &from_us);
    if (data[0] & 2) {
        peer = open_end(data[0] & 1 ? DTLS_ROLE_server : DTLS_ROLE_client, &from_peer);
        for (unsigned i = 0; i < 4; i++) {
            deliver(&from_peer, us, 0);
            deliver(&from_us, peer, 0);
        }
        if (dtls_state(us) != DTLS_STATE_connected)
            abort();
        dtls_free(peer);
    }
    from_us.all_bytes = 0;
    feed(us, data + 1, bytes - 1);
    if (from_us.all_bytes > DTLS_SENT_BYTES_MAX)
        abort();
    dtls_free(us);
    return 0;
}
