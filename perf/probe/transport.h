/* One WebRTC transport of the probe: libnice for ICE, OpenSSL for DTLS, libsrtp2 for SRTP. Nothing
 * here is shared with the server's engines: the probe is an independent peer.
 *
 * Threads: the GLib main loop runs on a thread of its own; `received` is called there, with clear
 *          RTP or RTCP. transport_send_* may be called from any thread.
 * Memory: transport_open's options are read during the call only. */
#ifndef RINGCAST_PROBE_TRANSPORT_H
#define RINGCAST_PROBE_TRANSPORT_H

#include <cjson/cJSON.h>
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transport;

/* Certificate and key of this probe and their fingerprint; made once. */
bool transport_identity(char fingerprint[96]);

/* options: what media:createTransport acked. */
struct transport *transport_open(GMainContext *loop, const cJSON *options,
                                 void (*received)(void *context, const uint8_t *data, size_t bytes,
                                                  bool is_rtcp, uint64_t now_ns),
                                 void *context, char *why /* 400 */);
/* Starts checking and shaking hands; media:connectTransport must have been acked. */
void transport_start(struct transport *transport);
/* Waits until SRTP keys are there. False with the step that did not come. */
bool transport_wait(struct transport *transport, int timeout_ms, char *why /* 400 */);
/* False when it failed since. */
bool transport_is_well(struct transport *transport, char *why /* 400 */);
void transport_close(struct transport *transport);

bool transport_send_rtp(struct transport *transport, uint8_t *packet, size_t bytes, size_t room);
bool transport_send_rtcp(struct transport *transport, uint8_t *packet, size_t bytes, size_t room);

struct transport_times {
    uint64_t started_ns, ice_ns, dtls_ns; /* 0: not reached */
    char profile[32];
};
struct transport_times transport_times(struct transport *transport);

uint64_t probe_now_ns(void);

#endif
