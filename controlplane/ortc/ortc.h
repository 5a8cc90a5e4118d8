/* Negotiation ("ORTC"): which codecs, header extensions and parameters a client sends and receives.
 * JSON goes in, JSON and table rows come out; no I/O, no state.
 *
 *   router capabilities   what this server supports             once per process
 *   produce               what a client sends  ─► a producer    its codecs mapped to the router's
 *   consume               a producer           ─► what another client receives
 *
 * The results are those of mediasoup, so that mediasoup-client works unchanged: tests compare them
 * with the npm package mediasoup. controlplane/README.md, Negotiation, explains the rules.
 *
 * Memory: inputs are borrowed; a returned cJSON belongs to the caller.
 * Errors: NULL or false, with a sentence in `why` (ORTC_WHY_BYTES), when the input is refused.
 *         Inputs come from clients, and nothing in them is trusted. */
#ifndef RINGCAST_ORTC_H
#define RINGCAST_ORTC_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "src/tables.h"

#define ORTC_WHY_BYTES 192
#define ORTC_MIME_BYTES_MAX 64
#define ORTC_KEPT_BYTES_MAX 8192 /* of one producer, as JSON text; a browser's has about 1500 */
#define ORTC_AUDIO_LEVEL_ID 6 /* the router's id of urn:ietf:params:rtp-hdrext:ssrc-audio-level */

/* The rtpCapabilities of the router, from the configured list of codecs ("opus,VP8,VP9:2"). */
cJSON *ortc_router_capabilities(const char *codec_list, char *why);

/* What produce negotiated. */
struct ortc_producer {
    cJSON *rtp_parameters; /* what the client sends, with defaults filled in; until ortc_keep */
    cJSON *consumable_parameters;       /* the same with the payload types and ids of the router */
    char mime[ORTC_MIME_BYTES_MAX + 1]; /* of its first codec */
    struct producer_row row; /* kind, type, codecs, encodings, extensions and mid are filled in */
};
/* cname: that of the transport; "" at its first producer, which sets it. All producers of a
 * transport get the same one. */
bool ortc_produce(struct ortc_producer *out, const char *kind, const cJSON *rtp_parameters,
                  const cJSON *router_capabilities, char cname[CNAME_ROOM], char *why);
/* Forgets what no consumer needs: rtp_parameters, and members of encodings that the contract does not
 * know. False: what is left is too long to be kept. */
bool ortc_keep(struct ortc_producer *producer, char *why);
void ortc_producer_free(struct ortc_producer *producer);

/* Whether a client with these rtpCapabilities can receive the producer. */
bool ortc_can_consume(const struct ortc_producer *producer, const cJSON *remote_capabilities);
/* The rtpParameters for this client. mid: "0", "1", …, and ssrc are chosen by the caller; repair
 * packets get ssrc + 1. It fills these fields of the row: kind, ssrc, rtx_ssrc, payload types,
 * extension mask and mid. */
cJSON *ortc_consume(const struct ortc_producer *producer, const cJSON *remote_capabilities,
                    const char *mid, uint32_t ssrc, struct consumer_row *row, char *why);
/* Random, in the range that mediasoup uses, and far from its end. */
uint32_t ortc_first_ssrc(void);

/* Checks {role, fingerprints} of a client, and fills our DTLS role and the client's fingerprint
 * into the row. sha-1 and sha-224 are refused. */
bool ortc_dtls_parameters(const cJSON *dtls_parameters, struct transport_row *row, char *why);

#endif
