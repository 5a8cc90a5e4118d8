/* One WebRTC transport of the probe: ICE by libnice, DTLS by OpenSSL, SRTP by libsrtp2. The server
 * uses other code for all three, so the probe finds errors that both sides would share otherwise.
 *
 * Threads: the GLib main loop runs on its own thread and calls `received` there. Any thread may
 *          call transport_send_*.
 * Errors:  false or NULL, with one sentence in `why` (PROBE_WHY_BYTES). */
#ifndef RINGCAST_PROBE_TRANSPORT_H
#define RINGCAST_PROBE_TRANSPORT_H

#include <cjson/cJSON.h>
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transport;

/* Starts libsrtp2 and creates the probe's certificate. Call it first. */
bool transport_prepare(void);

/* options: the ack of media:createTransport, used only during this call. `received` gets decrypted
 * RTP or RTCP. */
struct transport *transport_open(GMainContext *loop, const cJSON *options,
                                 void (*received)(void *context, const uint8_t *data, size_t bytes,
                                                  bool is_rtcp, uint64_t now_ns),
                                 void *context, char *why);
/* Starts ICE and DTLS, after the ack of media:connectTransport. */
void transport_start(struct transport *transport);
/* Waits until the transport has SRTP keys. */
bool transport_wait(struct transport *transport, int timeout_ms, char *why);
/* False: the transport has failed. */
bool transport_is_alive(struct transport *transport, char *why);
void transport_close(struct transport *transport);

/* Encrypts the packet in place and sends it. `capacity` is the size of its buffer. */
bool transport_send_rtp(struct transport *transport, uint8_t *packet, size_t bytes,
                        size_t capacity);
bool transport_send_rtcp(struct transport *transport, uint8_t *packet, size_t bytes,
                         size_t capacity);

struct transport_times {
    uint64_t started_ns, ice_ns, dtls_ns; /* 0: not reached */
    char profile[32];
};
struct transport_times transport_times(struct transport *transport);

#endif
