/* DTLS: one association with one peer, from the handshake to the SRTP keys. It has no sockets: the
 * caller passes in datagrams and the time, and the engine passes out datagrams through the function
 * `send`.
 *
 *   dtls_new ─► connecting ─► connected ─► closed
 *                   └───────► failed
 *
 * The engine accepts DTLS 1.2 with ECDHE and AEAD cipher suites, one of our three SRTP profiles,
 * and a certificate (it may be self-signed) that has the fingerprint from signaling. Without the
 * right fingerprint the state never becomes connected (gate G4). It refuses older versions,
 * renegotiation, resumption, tickets and compression. There are no cookies, because the caller
 * passes only datagrams from paths that ICE has validated (gate G2). As server, the engine sends
 * nothing before it has accepted a ClientHello; as client, it reads nothing before a ServerHello. An
 * alert in plaintext ends no handshake; it only shortens the time that is left.
 *
 * Shape:   a struct dtls_context for all associations, a struct dtls for each.
 * Units:   nanoseconds of the caller's clock, which is the monotonic one. OpenSSL 3.0 decides by
 *          gettimeofday whether it is time to send again. dtls_clock.c defines that function for the whole
 *          program, by the monotonic clock, so that nobody delays a handshake who sets the wall clock.
 * Threads: one at a time per context.
 * Memory:  an association owns its OpenSSL objects until dtls_free. The function `send` is called
 *          from dtls_start, dtls_receive, dtls_tick and dtls_close; it must not call this engine.
 * Errors:  all are the peer's fault; the state becomes DTLS_STATE_failed, with a dtls_failure.
 * Limits:  a peer can make us store DTLS_EARLY_MAX datagrams that we cannot decrypt yet, and
 *          handshake messages of DTLS_MESSAGE_BYTES_MAX. Before we know that the peer is the right
 *          one, it can make us send DTLS_SENT_BYTES_MAX. We read DTLS_RATE datagrams per second.
 *          What exceeds these limits is dropped unread.
 * Source:  RFC 6347, RFC 5764 (use_srtp, 4.2 exporter), RFC 7714 14.2 (AEAD profiles), RFC 8827
 *          6.5. */
#ifndef RINGCAST_DTLS_H
#define RINGCAST_DTLS_H

#include "dtls_records.h"
#include "identity.h"

#define DTLS_MTU_BYTES 1200       /* of a datagram that we send */
#define DTLS_EARLY_MAX 32         /* datagrams with records that we cannot decrypt yet */
#define DTLS_SENT_BYTES_MAX 32768 /* in one handshake, with all that is sent again */
#define DTLS_RATE 200             /* datagrams of one association per second */
#define DTLS_RATE_BURST 100       /* datagrams of one association at once */
#define DTLS_FIRST_TIMEOUT_MS 200 /* RFC 6347 4.2.4.1 asks for 1 s, RFC 9147 5.8.2 allows less */

struct dtls_context;
struct dtls;

/* Makes what all associations share. NULL with a sentence in `why` (128 bytes). The caller may
 * close the identity afterwards. */
struct dtls_context *dtls_context_new(const struct identity *identity, char *why);
void dtls_context_free(struct dtls_context *context);

/* Does a whole handshake in memory, in both roles. This shows that OpenSSL works on this machine.
 * It also makes OpenSSL load everything that it loads late, before the sandbox forbids that. False
 * with a sentence in `why` (128 bytes). */
bool dtls_self_test(struct dtls_context *context, const struct identity *identity, char *why);

struct dtls_options {
    enum dtls_role role; /* our role */
    enum fingerprint_algorithm fingerprint_algorithm;
    size_t fingerprint_bytes;
    const uint8_t *fingerprint; /* of the peer's certificate; it is copied */
    uint64_t timeout_ns;        /* how long a handshake may take */
    void (*send)(void *context, const uint8_t *datagram, size_t bytes);
    void *send_context;
};

/* NULL when the fingerprint does not have the length of its algorithm, or there is no memory. */
struct dtls *dtls_new(struct dtls_context *context, const struct dtls_options *options,
                      uint64_t now_ns);
void dtls_free(struct dtls *dtls);

/* In the client role, sends the first messages. In the server role, does nothing. */
void dtls_start(struct dtls *dtls, uint64_t now_ns);
void dtls_receive(struct dtls *dtls, uint64_t now_ns, const uint8_t *datagram, size_t bytes);
/* To be called at dtls_next_ns or later: sends again what may be lost, and ends a handshake that
 * takes too long. */
void dtls_tick(struct dtls *dtls, uint64_t now_ns);
/* UINT64_MAX: dtls_tick has nothing to do. */
uint64_t dtls_next_ns(const struct dtls *dtls);
/* The state becomes closed, or stays failed. Sends close_notify when the peer was connected. */
void dtls_close(struct dtls *dtls);

enum dtls_state dtls_state(const struct dtls *dtls);
enum dtls_failure dtls_failure(const struct dtls *dtls);
/* OpenSSL's reason for a failure, or "". The text is never freed. */
const char *dtls_reason(const struct dtls *dtls);

/* SRTP master keys and salts: those that we send with, and those that the peer sends with. The
 * caller wipes them after use. */
struct dtls_keys {
    enum srtp_profile profile;
    uint8_t ours_key[32], theirs_key[32];
    uint8_t ours_salt[16], theirs_salt[16];
};
/* False unless the state is connected. */
bool dtls_export(const struct dtls *dtls, struct dtls_keys *keys);

#endif
