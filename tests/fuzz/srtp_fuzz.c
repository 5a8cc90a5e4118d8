/* uses: dataplane */
/* Unprotects arbitrary bytes as SRTP and SRTCP. The fuzzer does not know the keys, so nothing may
 * be accepted, and nothing but the bytes of the packet may change. Then the same bytes are
 * protected, and unprotecting must give them back.
 *
 * Input: a byte that chooses the profile and RTP or RTCP, then the packet. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/rtp.h"
#include "dataplane/engines/srtp/srtp.h"

static const enum srtp_profile profiles[3] = {
    SRTP_PROFILE_aes128_cm_sha1_80,
    SRTP_PROFILE_aead_aes_128_gcm,
    SRTP_PROFILE_aead_aes_256_gcm,
};
static struct srtp_engine *engine;
static struct srtp_key keys[3];

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void start(void)
{
    static const uint8_t master[46] = {0x52, 0x69, 0x6e, 0x67};

    engine = srtp_engine_new();
    require(engine);
    for (size_t i = 0; i < 3; i++)
        require(srtp_key_init(engine, &keys[i], profiles[i], master, master + 32));
}

static void rtcp(const struct srtp_key *key, const uint8_t *data, size_t bytes)
{
    static const struct srtcp_window nothing;
    uint8_t *packet = malloc(bytes + SRTP_TAIL_BYTES_MAX);
    struct srtcp_window window = {0};
    size_t n = bytes;

    memcpy(packet, data, bytes);
    require(srtcp_unprotect(engine, key, &window, packet, &n) != SRTP_OK);
    require(n == bytes && memcmp(&window, &nothing, sizeof(window)) == 0);
    memcpy(packet, data, bytes);
    if (srtcp_protect(engine, key, 7, packet, &n) == SRTP_OK) {
        require(srtcp_unprotect(engine, key, &window, packet, &n) == SRTP_OK);
        require(n == bytes && memcmp(packet, data, bytes) == 0);
    }
    free(packet);
}

static void rtp(size_t profile, const uint8_t *data, size_t bytes)
{
    static const struct srtp_stream nothing;
    struct srtp_stream stream = {0};
    size_t tag = srtp_tag_bytes(profiles[profile]);
    uint8_t *packet = malloc(bytes + tag);
    struct rtp_view view;

    if (rtp_parse(data, bytes, &view) && bytes + tag <= UINT16_MAX) {
        struct srtp_unprotect_job receive = {
            .key = &keys[profile],
            .stream = &stream,
            .packet = packet,
            .ssrc = view.ssrc,
            .sequence = view.sequence,
            .header_bytes = view.header_bytes,
            .bytes = view.bytes,
        };
        struct srtp_protect_job send = {
            .key = &keys[profile],
            .out = packet,
            .payload = data + view.header_bytes,
            .index = view.sequence,
            .ssrc = view.ssrc,
            .header_bytes = view.header_bytes,
            .payload_bytes = (uint16_t)(bytes - view.header_bytes),
        };

        memcpy(packet, data, bytes);
        srtp_unprotect_burst(engine, &receive, 1);
        require(receive.result != SRTP_OK && receive.bytes == bytes);
        require(memcmp(&stream, &nothing, sizeof(stream)) == 0);
        memcpy(packet, data, view.header_bytes);
        srtp_protect_burst(engine, &send, 1);
        receive.bytes = (uint16_t)(bytes + tag);
        srtp_unprotect_burst(engine, &receive, 1);
        require(receive.result == SRTP_OK && receive.bytes == bytes);
        require(memcmp(packet, data, bytes) == 0);
    }
    free(packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!engine)
        start();
    if (bytes < 1)
        return 0;
    if (data[0] & 0x80)
        rtcp(&keys[data[0] % 3], data + 1, bytes - 1);
    else
        rtp(data[0] % 3, data + 1, bytes - 1);
    return 0;
}
