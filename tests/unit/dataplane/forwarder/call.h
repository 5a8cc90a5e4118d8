/* A usual call on one worker: client 0 publishes video (transport 0, producer 0), clients 1 and up
 * subscribe. call_open connects them all; the test adds the consumers that it wants. */
#ifndef RINGCAST_TEST_CALL_H
#define RINGCAST_TEST_CALL_H

#include "client.h"

/* ---- rows ---- */

enum { VIDEO_SSRC = 0x11111111, VIDEO_RTX_SSRC = 0x22222222, AUDIO_SSRC = 0x33333333 };

static inline void rig_video_producer(struct rig *rig, uint32_t index, uint32_t transport,
                                      bool paused)
{
    struct producer_row row = {
        .transport = handle_make(transport, 1),
        .kind = MEDIA_KIND_video,
        .type = PRODUCER_TYPE_simple,
        .paused = paused,
        .codec_count = 1,
        .encoding_count = 1,
        .codec = {CODEC_vp8},
        .codec_payload_type = {96},
        .codec_mapped_payload_type = {101},
        .codec_rtx_payload_type = {97},
        .codec_mapped_rtx_payload_type = {102},
        .codec_clock_rate = {90000},
        .encoding_ssrc = {VIDEO_SSRC},
        .encoding_rtx_ssrc = {VIDEO_RTX_SSRC},
        .cname = "publisher",
    };

    row.extension_sent_id[EXTENSION_mid] = 4;
    row.extension_sent_id[EXTENSION_abs_send_time] = 2;
    rig_row(rig, TABLE_producer, index, &row.header, 1);
}

static inline struct producer_row rig_audio_row(uint32_t transport, uint32_t ssrc)
{
    return (struct producer_row){
        .transport = handle_make(transport, 1),
        .kind = MEDIA_KIND_audio,
        .type = PRODUCER_TYPE_simple,
        .codec_count = 1,
        .encoding_count = 1,
        .codec = {CODEC_opus},
        .codec_payload_type = {111},
        .codec_mapped_payload_type = {100},
        .codec_clock_rate = {48000},
        .encoding_ssrc = {ssrc},
        .cname = "speaker",
    };
}

static inline void rig_consumer(struct rig *rig, uint32_t index, uint32_t transport,
                                uint32_t producer, uint32_t ssrc, bool paused, uint32_t generation)
{
    struct consumer_row row = {
        .transport = handle_make(transport, 1),
        .producer = handle_make(producer, 1),
        .ssrc = ssrc,
        .rtx_ssrc = ssrc + 1,
        .extension_mask = 1 << EXTENSION_mid | 1 << EXTENSION_abs_send_time,
        .payload_type = 101,
        .rtx_payload_type = 102,
        .kind = MEDIA_KIND_video,
        .paused = paused,
        .priority = 1,
        .preferred_spatial_layer = 255,
        .preferred_temporal_layer = 255,
        .mid_bytes = 1,
        .mid = "0",
    };

    rig_row(rig, TABLE_consumer, index, &row.header, generation);
}

/* ---- the call ---- */

/* The client proves that it receives at its present path, which its last check nominated. How it
 * does this: proofs_test.c. */
static inline void client_prove(struct rig *rig, struct client *c)
{
    struct worker *w = rig->worker;
    struct transport *t = &w->transports.all[c->transport];
    int path = ice_find_path(&t->ice, &c->path);

    assert_true(path >= 0);
    t->ice.paths[path].proof.state = PROOF_COMPLETE;
    ice_path_proven(&t->ice, path, w->turn.now_ns);
    checks_path_changed(&w->checks, t);
}

/* All are connected; `profile` is that of every second client, the others use AES-GCM. */
static inline struct rig *call_open(struct client *clients, uint32_t subscribers,
                                    enum srtp_profile profile)
{
    struct rig *rig = rig_open();

    memset(clients, 0, (subscribers + 1) * sizeof(*clients));
    for (uint32_t i = 0; i <= subscribers; i++)
        rig_connect(rig, &clients[i], i, i % 2 ? profile : SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    return rig;
}

static inline void call_close(struct rig *rig, struct client *clients, uint32_t subscribers)
{
    for (uint32_t i = 0; i <= subscribers; i++)
        client_close(&clients[i]);
    rig_close(rig);
}

/* The publisher sends one video packet. The worker receives it in its next turn. */
static inline void call_publish(struct rig *rig, struct client *c, uint16_t sequence,
                                uint32_t timestamp, bool key_frame, size_t payload)
{
    uint8_t packet[1600];
    size_t bytes = client_rtp(packet, 96, sequence, timestamp, VIDEO_SSRC, key_frame, payload);

    client_send_rtp(rig, c, packet, bytes);
}

/* How many key-frame requests the publisher got in the last turn. */
static inline size_t call_key_frame_requests(struct rig *rig, struct client *publisher)
{
    return client_received_rtcp(rig, publisher, RTCP_PSFB, PSFB_PLI);
}

#endif
