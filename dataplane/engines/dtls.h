/* DTLS engine: one association with one peer, up to its SRTP keys. No I/O and no sockets: datagrams
 * and `now` in; datagrams (through a sink) and a state out.
 *
 *   dtls_new ─► connecting ─► connected ─► closed          dtls_receive  a datagram came
 *                   └───────► failed                       dtls_tick     dtls_next_ns has come
 *
 * What is allowed: DTLS 1.2; ECDHE with AEAD suites; a peer certificate (self-signed is fine) whose
 * fingerprint is the signalled one (gate G4: without it the state never becomes connected); one of
 * our three SRTP profiles. Refused: older versions, renegotiation, resumption, tickets, compression.
 * No cookies: our caller lets only ICE-validated paths through (gate G2).
 *
 * Limits: DTLS_EARLY_MAX datagrams ahead of the handshake and messages of DTLS_MESSAGE_BYTES_MAX are
 *         what a peer can make us keep; DTLS_SENT_BYTES_MAX is what an unverified peer can make us
 *         send; DTLS_RATE datagrams a second are looked at. Everything beyond is dropped unread.
 * Threads: one at a time per context. Memory: an association owns its OpenSSL objects; the sink is
 *         called from inside dtls_start, dtls_receive, dtls_tick and dtls_close and must not call
 *         back. Errors: all are the peer's; they end in DTLS_STATE_failed with a dtls_failure.
 * Clock: OpenSSL 3.0 times its retransmissions by gettimeofday; we ask it when (and only then) our
 *         own clock says so. A wall clock that is set back delays retransmissions of handshakes that
 *         are under way just then; the deadline is on our clock alone.
 * Source: RFC 6347, RFC 5764 (use_srtp, 4.2 exporter), RFC 7714 14.2 (AEAD profiles), RFC 8827 6.5. */
#ifndef RINGCAST_DTLS_H
#define RINGCAST_DTLS_H

#include "identity.h"

#define DTLS_MTU_BYTES 1200 /* of one datagram that we send */
#define DTLS_MESSAGE_BYTES_MAX \
    8192                  /* one handshake message of the peer; certificates have ≤ 4 KB */
#define DTLS_EARLY_MAX 32 /* datagrams with encrypted records before we can read them */
#define DTLS_SENT_BYTES_MAX 32768 /* in one handshake, all retransmissions together */
#define DTLS_RATE 200             /* datagrams a second and association … */
#define DTLS_RATE_BURST 100       /* … and how many at once */
#define DTLS_FIRST_TIMEOUT_MS 200 /* RFC 6347 4.2.4.1 asks for 1 s, RFC 9147 5.8.2 allows less */

struct dtls_context;
struct dtls;

/* What all associations share. NULL with a sentence in `why` (128 bytes). identity stays the
 * caller's and may be closed afterwards. */
struct dtls_context *dtls_context_new(const struct identity *identity, char *why);
void dtls_context_free(struct dtls_context *context);

/* A whole handshake in both roles in memory: shows that this machine can, and makes OpenSSL load
 * whatever it loads late, so that a sandbox may close behind it. */
bool dtls_self_test(struct dtls_context *context, const struct identity *identity, char *why);

struct dtls_options {
    enum dtls_role role; /* ours */
    enum fingerprint_algorithm fingerprint_algorithm;
    size_t fingerprint_bytes;
    const uint8_t *fingerprint; /* of the peer; copied */
    uint64_t timeout_ns;        /* from dtls_new to connected */
    void (*send)(void *context, const uint8_t *datagram, size_t bytes);
    void *send_context;
};

/* NULL when the fingerprint cannot be one (see fingerprint_bytes), or without memory. */
struct dtls *dtls_new(struct dtls_context *context, const struct dtls_options *options,
                      uint64_t now_ns);
void dtls_free(struct dtls *dtls);

/* Client role: sends the first flight. Server role: nothing to do. */
void dtls_start(struct dtls *dtls, uint64_t now_ns);
void dtls_receive(struct dtls *dtls, uint64_t now_ns, const uint8_t *datagram, size_t bytes);
void dtls_tick(struct dtls *dtls, uint64_t now_ns);
/* When dtls_tick has something to do; UINT64_MAX: never. */
uint64_t dtls_next_ns(const struct dtls *dtls);
/* Says close_notify when there is somebody to hear it; state becomes closed. */
void dtls_close(struct dtls *dtls);

enum dtls_state dtls_state(const struct dtls *dtls);
enum dtls_failure dtls_failure(const struct dtls *dtls);
/* Text for the log: OpenSSL's reason, or "". Static. */
const char *dtls_reason(const struct dtls *dtls);

/* SRTP master keys and salts, by who sends with them. Wipe after use. */
struct dtls_keys {
    enum srtp_profile profile;
    uint8_t ours_key[32], theirs_key[32];
    uint8_t ours_salt[16], theirs_salt[16];
};
/* False unless connected. */
bool dtls_export(const struct dtls *dtls, struct dtls_keys *keys);

#endif
