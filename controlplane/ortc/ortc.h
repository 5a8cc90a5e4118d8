/* Negotiation ("ORTC"): JSON in, JSON and table rows out; no I/O, no state. Rules: shared ortc.md §3,
 * §9 (S1–S8); oracle in tests: the npm package mediasoup (mediasoup/ortc).
 *
 * Memory: inputs are borrowed; every returned cJSON is the caller's. NULL with a sentence in `why`
 * (ORTC_WHY_BYTES) when the input is refused. Nothing here trusts a client's JSON. */
#ifndef RINGCAST_ORTC_H
#define RINGCAST_ORTC_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "src/tables.h"

#define ORTC_WHY_BYTES 192
#define ORTC_AUDIO_LEVEL_ID 6 /* the router's, of urn:ietf:params:rtp-hdrext:ssrc-audio-level */

/* S1: the router's rtpCapabilities from the configured list ("opus,VP8,VP9:2,…"). */
cJSON *ortc_router_capabilities(const char *codec_list, char *why);

/* A producer's three views, made once at produce (S2–S5). */
struct ortc_producer {
    cJSON *rtp_parameters;        /* normalised, as sent */
    cJSON *consumable_parameters; /* towards consumers */
    struct producer_row row;      /* kind, type, codecs, encodings, extension map, mid filled in */
};
/* cname: the transport's CNAME so far ("" when none); overrides the client's and is set when new. */
bool ortc_produce(struct ortc_producer *out, const char *kind, const cJSON *rtp_parameters,
                  const cJSON *router_capabilities, char cname[CNAME_ROOM], char *why);
void ortc_producer_free(struct ortc_producer *producer);

/* S6, S7: may these capabilities consume it, and with which parameters. mid is ours ("0", "1", …);
 * row gets kind, ssrc, rtx_ssrc, payload types, extension mask, mid. */
bool ortc_can_consume(const struct ortc_producer *producer, const cJSON *remote_capabilities);
cJSON *ortc_consume(const struct ortc_producer *producer, const cJSON *remote_capabilities,
                    const char *mid, struct consumer_row *row, char *why);

/* {role, fingerprints} of a client: checks and fills our role and the fingerprint of a transport
 * row. (ortc.md §4; sha-1 and sha-224 are refused.) */
bool ortc_dtls_parameters(const cJSON *dtls_parameters, struct transport_row *row, char *why);

#endif
