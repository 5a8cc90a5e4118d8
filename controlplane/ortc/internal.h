/* What the steps of negotiation share; private to *.c. */
#ifndef RINGCAST_ORTC_INTERNAL_H
#define RINGCAST_ORTC_INTERNAL_H

#include <stdint.h>

#include "ortc.h"

#define ORTC_CODECS_MAX 64 /* in one list of a client; Chromium's native one has 35 */
#define ORTC_EXTENSIONS_MAX 64
#define ORTC_FEEDBACK_MAX 32
#define ORTC_PARAMETERS_MAX 32
#define ORTC_TEXT_BYTES_MAX 255
#define SETTING_LIST_BYTES 512 /* SETTING_TEXT_ROOM */

/* A codec of a normalised list, read once. */
struct ortc_codec {
    cJSON *json;
    const char *mime; /* "video/VP8" as the sender spelt it */
    enum codec codec;
    bool is_rtx;
    double payload_type;              /* -1: a capability without preferredPayloadType */
    double clock_rate, channels, apt; /* apt -1: none; channels 0: video */
};

struct ortc_codecs {
    uint32_t count;
    struct ortc_codec list[ORTC_CODECS_MAX];
};

/* ---- json.c ---- */

/* Says why something is refused; always false. Refusals that mediasoup does not know, the bounds of
 * this implementation, contain the words "this server" (the differential test tells them by that). */
bool ortc_refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The member, with JSON null taken as absent. */
cJSON *ortc_get(const cJSON *object, const char *key);
/* The same, with false, 0 and "" taken as absent too. */
cJSON *ortc_given(const cJSON *object, const char *key);
const char *ortc_text(const cJSON *object, const char *key);
/* Building. An allocation that fails is remembered: the step that began it asks ortc_complete before
 * it relies on what was built, and is refused. Each takes its item, also when it fails. */
void ortc_begin(void);
bool ortc_complete(char *why);
void ortc_add(cJSON *object, const char *key, cJSON *item);
void ortc_push(cJSON *array, cJSON *item);
void ortc_add_text(cJSON *object, const char *key, const char *text);
void ortc_add_number(cJSON *object, const char *key, double number);
void ortc_add_flag(cJSON *object, const char *key, bool flag);
cJSON *ortc_add_array(cJSON *object, const char *key);
cJSON *ortc_add_object(cJSON *object, const char *key);
/* Puts value in place of the member, whatever it was. */
void ortc_set(cJSON *object, const char *key, cJSON *value);
/* The member as an array: absent ones are made, empty. NULL when it is something else. */
cJSON *ortc_array(cJSON *object, const char *key);
/* Printable, at most bytes_max long: fit to be written into other people's SDP. */
bool ortc_clean(const char *text, size_t bytes_max);
/* Whole number in [min, max]. */
bool ortc_whole(const cJSON *item, double min, double max);

/* Reads an already normalised list. payload_key: "payloadType" or "preferredPayloadType". */
void ortc_read_codecs(cJSON *array, const char *payload_key, struct ortc_codecs *out);

/* ---- parameters.c, capabilities.c: S2 and its twin for capabilities, in place ---- */

bool ortc_normalize_codec(cJSON *codec, bool is_capability, char *why);
bool ortc_normalize_parameters(cJSON *rtp_parameters, char *why);
bool ortc_normalize_capabilities(cJSON *capabilities, char *why);

/* Of one encoding: `L3T3_KEY` is 3, 3; what does not parse is 1, 1. */
void ortc_scalability(const char *mode, uint32_t *spatial, uint32_t *temporal);

/* ---- match.c ---- */

/* Strict match (ortc.md S4). answer, unless NULL, is written into a's profile-level-id. */
bool ortc_match(const struct ortc_codec *a, const struct ortc_codec *b, bool modify);

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
#define H264_LEVEL_1B 0 /* sorts below 1.1 and above 1.0: see h264_level_less */

struct h264_profile_level {
    enum h264_profile profile;
    uint8_t level; /* level_idc, or H264_LEVEL_1B */
};

/* text NULL: Constrained Baseline 3.1, RFC 6184 8.1 has it so. profile H264_NONE: not valid. */
struct h264_profile_level h264_parse(const char *text);
/* false: there is no such profile-level-id (level 1b of a profile that has none). */
bool h264_print(struct h264_profile_level value, char out[7]);
bool h264_level_less(uint8_t a, uint8_t b);

#endif
