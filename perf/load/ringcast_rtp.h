/* The JSON about RTP in Ringcast's signaling: what a client can receive, what it sends, what it
 * will receive. It contains what Chromium sends, cut to Opus, one video codec and its RTX. */
#ifndef RINGCAST_LOAD_RINGCAST_RTP_H
#define RINGCAST_LOAD_RINGCAST_RTP_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "target.h"

#define RTP_PARAMETERS_BYTES_MAX 4000

/* The client's rtpCapabilities, made from those of the server. The caller frees the text. */
char *rtp_capabilities(const struct target_options *options, const cJSON *router);
/* The rtpParameters of a stream that the client sends. */
void rtp_parameters(const struct target_stream *stream, const char *cname,
                    char out[RTP_PARAMETERS_BYTES_MAX]);
/* Fills in `stream` from the ack of media:consume. */
void rtp_parameters_read(const cJSON *ack, struct target_stream *stream);

#endif
