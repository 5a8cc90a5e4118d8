/* A handshake of the engine with itself, in memory. */
#include <openssl/crypto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dtls.h"
#include "src/clock.h"

struct mailbox {
    uint8_t data[16][1500];
    size_t bytes[16];
    unsigned count;
};

static void mailbox_put(void *context, const uint8_t *datagram, size_t bytes)
{
    struct mailbox *box = context;

    if (box->count == 16 || bytes > sizeof(box->data[0]))
        return;
    memcpy(box->data[box->count], datagram, bytes);
    box->bytes[box->count++] = bytes;
}

static void mailbox_deliver(struct mailbox *box, struct dtls *to, uint64_t now_ns)
{
    for (unsigned i = 0; i < box->count; i++)
        dtls_receive(to, now_ns, box->data[i], box->bytes[i]);
    box->count = 0;
}

/* Both ends present the same certificate, so both expect the same fingerprint. */
static bool self_handshake(struct dtls_context *context, const struct identity *identity,
                           struct mailbox *to_client, struct mailbox *to_server)
{
    uint8_t fingerprint[FINGERPRINT_BYTES_MAX];
    struct dtls_options options = {
        .fingerprint_algorithm = FINGERPRINT_sha_256,
        .fingerprint_bytes =
            fingerprint_make(FINGERPRINT_sha_256, identity->certificate, fingerprint),
        .fingerprint = fingerprint,
        .timeout_ns = NS_PER_S,
        .send = mailbox_put,
    };
    struct dtls_keys a, b;
    struct dtls *client, *server;
    bool ok = false;

    options.role = DTLS_ROLE_client;
    options.send_context = to_server;
    client = dtls_new(context, &options, 0);
    options.role = DTLS_ROLE_server;
    options.send_context = to_client;
    server = dtls_new(context, &options, 0);
    if (client && server) {
        dtls_start(client, 0);
        for (unsigned i = 0; i < 8; i++) {
            mailbox_deliver(to_server, server, 0);
            mailbox_deliver(to_client, client, 0);
        }
        ok = dtls_export(client, &a) && dtls_export(server, &b) &&
             memcmp(a.ours_key, b.theirs_key, sizeof(a.ours_key)) == 0 &&
             memcmp(a.theirs_salt, b.ours_salt, sizeof(a.ours_salt)) == 0;
        OPENSSL_cleanse(&a, sizeof(a));
        OPENSSL_cleanse(&b, sizeof(b));
    }
    dtls_free(client);
    dtls_free(server);
    return ok;
}

bool dtls_self_test(struct dtls_context *context, const struct identity *identity, char *why)
{
    struct mailbox *boxes = calloc(2, sizeof(*boxes));
    bool ok = boxes && self_handshake(context, identity, &boxes[0], &boxes[1]);

    free(boxes);
    if (!ok)
        snprintf(why, 128,
                 "the DTLS self test failed: OpenSSL cannot complete a handshake with itself");
    return ok;
}
