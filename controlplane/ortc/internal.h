/* What the steps of negotiation share; private to controlplane/ortc. */
#ifndef RINGCAST_ORTC_INTERNAL_H
#define RINGCAST_ORTC_INTERNAL_H

#include <stdint.h>

#include "ortc.h"

/* Limits of one list that a client sends. Chromium sends 35 codecs at most. */
#define ORTC_CODECS_MAX 64
#define ORTC_EXTENSIONS_MAX 64
#define ORTC_FEEDBACK_MAX 32
#define ORTC_PARAMETERS_MAX 32
#define ORTC_TEXT_BYTES_MAX 255
#define CODEC_LIST_BYTES 512 /* SETTING_TEXT_ROOM */

/* One codec of a normalized list. */
#define ORTC_DEPENDENCY_DESCRIPTOR \
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

struct ortc_codec {
    cJSON *json;
    const char *mime; /* "video/VP8", with the sender's upper and lower case */
    enum codec codec;
    bool is_rtx;
    double payload_type; /* -1: a capability without preferredPayloadType */
    double clock_rate;
    double channels; /* 0: video */
    double apt;      /* the payload type that this RTX codec belongs to; -1: none */
};

struct ortc_codecs {
    uint32_t count;
    struct ortc_codec list[ORTC_CODECS_MAX];
};

/* ---- json.c ---- */

/* Writes why something is refused; always returns false. A refusal that mediasoup would not make,
 * because of a limit of this implementation, contains the words "this server": the differential
 * test knows it by them. */
bool ortc_refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The member; NULL when it is absent or null. */
cJSON *ortc_get(const cJSON *object, const char *key);
/* Like ortc_get, but NULL also for false, 0 and "": mediasoup treats an optional member with such a
 * value as absent. */
cJSON *ortc_get_truthy(const cJSON *object, const char *key);
const char *ortc_text(const cJSON *object, const char *key);

/* Building JSON. The functions remember when an allocation failed. A step calls ortc_build_begin
 * first and ortc_build_check last. ortc_build_check returns false, with a sentence, if an
 * allocation failed. Each function owns its item, even when it fails. */
void ortc_build_begin(void);
bool ortc_build_check(char *why);
void ortc_add(cJSON *object, const char *key, cJSON *item);
void ortc_push(cJSON *array, cJSON *item);
void ortc_add_text(cJSON *object, const char *key, const char *text);
void ortc_add_number(cJSON *object, const char *key, double number);
void ortc_add_flag(cJSON *object, const char *key, bool flag);
cJSON *ortc_add_array(cJSON *object, const char *key);
cJSON *ortc_add_object(cJSON *object, const char *key);
/* Replaces the member, or adds it. */
void ortc_set(cJSON *object, const char *key, cJSON *value);
/* The member as an array; an absent one is added, empty. NULL: it is something else. */
cJSON *ortc_get_or_add_array(cJSON *object, const char *key);

/* At most bytes_max bytes and without control characters, so
 * that it can stand in other people's SDP. */
bool ortc_is_printable(const char *text, size_t bytes_max);
/* A whole number from min to max. */
bool ortc_is_integer(const cJSON *item, double min, double max);

/* Reads a normalized list. payload_key: "payloadType" or "preferredPayloadType". */
void ortc_codecs_read(cJSON *array, const char *payload_key, struct ortc_codecs *out);

/* ---- parameters.c, capabilities.c: check JSON of a client and fill in defaults, in place ---- */

bool ortc_codec_normalize(cJSON *codec, bool is_capability, char *why);
bool ortc_parameters_normalize(cJSON *rtp_parameters, char *why);
bool ortc_capabilities_normalize(cJSON *capabilities, char *why);

/* Layers of one encoding. */
struct ortc_layers {
    uint32_t spatial, temporal;
    enum layer_dependency dependency;
};

/* "L3T3_KEY" is 3, 3 and key_frames; a text that is not valid is 1, 1 and full.
 * Source: the names of W3C webrtc-svc, section 6. */
struct ortc_layers ortc_scalability_parse(const char *mode);

/* ---- match.c ---- */

/* Whether both are the same codec with the same profile. modify: the negotiated profile-level-id is
 * written into a. */
bool ortc_codec_match(const struct ortc_codec *a, const struct ortc_codec *b, bool modify);
/* Whether the codec has plain NACK (RFC 4585 6.2.1) in its rtcpFeedback. */
bool ortc_has_nack(const struct ortc_codec *codec);

/* ---- h264.c ---- */

enum h264_profile {
    H264_NONE,
    H264_CONSTRAINED_BASELINE,
    H264_BASELINE,
    H264_MAIN,
    H264_CONSTRAINED_HIGH,
    H264_HIGH,
    H264_PREDICTIVE_HIGH_444,
};
#define H264_LEVEL_1B 0 /* between level 1.0 and level 1.1: compare with h264_level_less */

struct h264_profile_level {
    enum h264_profile profile;
    uint8_t level; /* level_idc, or H264_LEVEL_1B */
};

/* NULL counts as Constrained Baseline 3.1 (RFC 6184, section 8.1). Profile H264_NONE: not valid. */
struct h264_profile_level h264_parse(const char *text);
/* False: there is no such profile-level-id, because the profile has no level 1b. */
bool h264_print(struct h264_profile_level value, char out[7]);
bool h264_level_less(uint8_t a, uint8_t b);

#endif
