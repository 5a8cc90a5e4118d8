/* Every table that processes share, described once. The structs, the layout hash, the range checks
 * and `ringcastctl dump` are all made from these rows.
 *
 * A field is S(type, name, show, min, max) or, for an array, A(type, name, count, show, min, max):
 *   type   u8, u16, u32, u64, i32, i64, chr (a byte of text)
 *   show   how a person sees it: dec, hex, uuid, text, handle, ip, port, ns, bytes, layer (255: none),
 *          secret, or the name of an enum list below
 *   min/max  the range a reader accepts of a scalar (and of every element of an array); 0, 0 means
 *          any value
 * Rules: fixed-width integers only, no hidden padding (a compile error), a multiple of 64 bytes
 * with the 16-byte header in front (a compile error), big fields first. */
#ifndef RINGCAST_ROWS_H
#define RINGCAST_ROWS_H

#include <stdint.h>

#include "limits.h"
#include "verdicts.h"

typedef uint8_t row_u8;
typedef uint16_t row_u16;
typedef uint32_t row_u32;
typedef uint64_t row_u64;
typedef int32_t row_i32;
typedef int64_t row_i64;
typedef char row_chr;

/* clang-format off */
/* ---- enums that rows hold; E(name, value) ---- */

#define MEDIA_KINDS(E) E(none, 0) E(audio, 1) E(video, 2)
/* The words of mediasoup, which clients use. svc: one stream that carries all layers. */
#define PRODUCER_TYPES(E) E(none, 0) E(simple, 1) E(simulcast, 2) E(svc, 3)
/* Seen from the client, as in `media:createTransport {direction}`. */
#define DIRECTIONS(E) E(none, 0) E(send, 1) E(recv, 2)
/* Our own role; `unset` until the client called media:connectTransport. */
#define DTLS_ROLES(E) E(unset, 0) E(server, 1) E(client, 2)
/* RFC 8122 hash functions. */
#define FINGERPRINT_ALGORITHMS(E)                                                        \
    E(none, 0) E(sha_1, 1) E(sha_224, 2) E(sha_256, 3) E(sha_384, 4) E(sha_512, 5)
#define CODECS(E)                                                                        \
    E(none, 0) E(opus, 1) E(vp8, 2) E(vp9, 3) E(h264, 4) E(av1, 5) E(red, 6) E(other, 7)
/* What a higher spatial layer of one encoding needs of the one below it: `full`: its picture, always
 * (L3T3). `key_frames`: only that of a key frame (L3T3_KEY, also called K-SVC). `none`: nothing (S3T3).
 */
#define LAYER_DEPENDENCIES(E) E(full, 0) E(key_frames, 1) E(none, 2)
#define ICE_STATES(E) E(new, 0) E(connected, 1) E(completed, 2) E(disconnected, 3)
#define DTLS_STATES(E) E(new, 0) E(connecting, 1) E(connected, 2) E(failed, 3) E(closed, 4)
/* Values as registered for DTLS-SRTP (RFC 5764, RFC 7714). */
#define SRTP_PROFILES(E)                                                                 \
    E(none, 0) E(aes128_cm_sha1_80, 1) E(aead_aes_128_gcm, 7) E(aead_aes_256_gcm, 8)
/* Why a handshake ended in `failed`. */
#define DTLS_FAILURES(E)                                                                 \
    E(none, 0) E(protocol, 1) E(fingerprint_mismatch, 2) E(no_srtp_profile, 3) E(timeout, 4) \
    E(no_certificate, 5) E(restarted, 6)

#define ROW_ENUM_VALUE_media_kind(n, v) MEDIA_KIND_##n = v,
#define ROW_ENUM_VALUE_producer_type(n, v) PRODUCER_TYPE_##n = v,
#define ROW_ENUM_VALUE_direction(n, v) DIRECTION_##n = v,
#define ROW_ENUM_VALUE_dtls_role(n, v) DTLS_ROLE_##n = v,
#define ROW_ENUM_VALUE_fingerprint_algorithm(n, v) FINGERPRINT_##n = v,
#define ROW_ENUM_VALUE_codec(n, v) CODEC_##n = v,
#define ROW_ENUM_VALUE_layer_dependency(n, v) LAYER_DEPENDENCY_##n = v,
#define ROW_ENUM_VALUE_ice_state(n, v) ICE_STATE_##n = v,
#define ROW_ENUM_VALUE_dtls_state(n, v) DTLS_STATE_##n = v,
#define ROW_ENUM_VALUE_srtp_profile(n, v) SRTP_PROFILE_##n = v,
#define ROW_ENUM_VALUE_dtls_failure(n, v) DTLS_FAILURE_##n = v,

/* L(name, LIST): every list of enum values, with the name that `show` uses. */
#define ROW_ENUMS(L)                                                                     \
    L(media_kind, MEDIA_KINDS)                                                           \
    L(producer_type, PRODUCER_TYPES)                                                     \
    L(direction, DIRECTIONS)                                                             \
    L(dtls_role, DTLS_ROLES)                                                             \
    L(fingerprint_algorithm, FINGERPRINT_ALGORITHMS)                                     \
    L(codec, CODECS)                                                                     \
    L(layer_dependency, LAYER_DEPENDENCIES)                                              \
    L(ice_state, ICE_STATES)                                                             \
    L(dtls_state, DTLS_STATES)                                                           \
    L(srtp_profile, SRTP_PROFILES)                                                       \
    L(dtls_failure, DTLS_FAILURES)

#define ROW_ENUM_DECLARE(name, list) enum name { list(ROW_ENUM_VALUE_##name) };
ROW_ENUMS(ROW_ENUM_DECLARE)
#undef ROW_ENUM_DECLARE

/* ---- region `desired`: written by the control plane ---- */

#define ROOM_ROW(S, A)                                                                   \
    A(u8, id, 16, uuid, 0, 0)                                                            \
    S(u64, created_wall_ms, dec, 0, 0)                                                   \
    S(u32, worker, dec, 0, WORKERS_MAX - 1)                                              \
    A(u8, reserved, 20, hex, 0, 0)

/* The ICE credentials are ours, and the client's checks name them. We are ICE-lite and never check,
 * so the client's own are not needed. ice_ufrag and ice_pwd are text, padded with NUL. */
#define TRANSPORT_ROW(S, A)                                                              \
    A(u8, id, 16, uuid, 0, 0)                                                            \
    S(u64, room, handle, 0, 0)                                                           \
    S(u32, worker, dec, 0, WORKERS_MAX - 1)                                              \
    S(u8, direction, direction, 0, 2)                                                    \
    S(u8, dtls_role, dtls_role, 0, 2)                                                    \
    S(u8, fingerprint_algorithm, fingerprint_algorithm, 0, 5)                            \
    S(u8, fingerprint_bytes, dec, 0, FINGERPRINT_BYTES_MAX)                              \
    A(u8, fingerprint, FINGERPRINT_BYTES_MAX, hex, 0, 0)                                 \
    A(chr, ice_ufrag, ICE_CREDENTIAL_ROOM, text, 0, 0)                                   \
    A(chr, ice_pwd, ICE_CREDENTIAL_ROOM, secret, 0, 0)                                   \
    A(u8, reserved, 64, hex, 0, 0)

/* Payload types, header-extension ids and SSRCs as the client sends them, each beside the one that
 * consumers get ("mapped", "router"). Index e of the encoding_ arrays is one simulcast encoding,
 * the lowest first; ssrc 0: it is learnt from the RID. codec_rtx_* is 0 when the codec has no RTX.
 * extension_sent_id[i] is the number that this client gives to the extension with our id i (enum
 * extension_id in dataplane/engines/rtp.h); 0: it does not send it. uses_fir: the client takes FIR
 * instead of PLI (RFC 5104 4.3.1). */
#define PRODUCER_ROW(S, A)                                                               \
    A(u8, id, 16, uuid, 0, 0)                                                            \
    S(u64, transport, handle, 0, 0)                                                      \
    A(u32, encoding_ssrc, ENCODINGS_MAX, hex, 0, 0)                                      \
    A(u32, encoding_rtx_ssrc, ENCODINGS_MAX, hex, 0, 0)                                  \
    A(u32, codec_clock_rate, CODECS_MAX, dec, 0, 192000)                                 \
    A(u8, codec, CODECS_MAX, codec, 0, 7)                                                \
    A(u8, codec_payload_type, CODECS_MAX, dec, 0, 127)                                   \
    A(u8, codec_mapped_payload_type, CODECS_MAX, dec, 0, 127)                            \
    A(u8, codec_rtx_payload_type, CODECS_MAX, dec, 0, 127)                               \
    A(u8, codec_mapped_rtx_payload_type, CODECS_MAX, dec, 0, 127)                        \
    A(u8, encoding_spatial_layers, ENCODINGS_MAX, dec, 0, 8)                             \
    A(u8, encoding_temporal_layers, ENCODINGS_MAX, dec, 0, 8)                            \
    A(u8, encoding_dependency, ENCODINGS_MAX, layer_dependency, 0, 2)                    \
    A(u8, extension_sent_id, EXTENSIONS, dec, 0, EXTENSION_ID_MAX)                       \
    S(u8, kind, media_kind, 1, 2)                                                        \
    S(u8, type, producer_type, 1, 3)                                                     \
    S(u8, paused, dec, 0, 1)                                                             \
    S(u8, codec_count, dec, 1, CODECS_MAX)                                               \
    S(u8, encoding_count, dec, 1, ENCODINGS_MAX)                                         \
    S(u8, mid_bytes, dec, 0, MID_BYTES_MAX)                                              \
    S(u8, uses_fir, dec, 0, 1)                                                           \
    S(u8, has_audio_nack, dec, 0, 1)                                                     \
    A(u8, reserved, 8, hex, 0, 0)                                                        \
    A(chr, mid, MID_BYTES_MAX, text, 0, 0)                                               \
    A(chr, encoding_rid, ENCODINGS_MAX * RID_BYTES_MAX, text, 0, 0)                      \
    A(chr, cname, CNAME_ROOM, text, 0, 0)                                                \
    A(u8, reserved1, 72, hex, 0, 0)

/* What one subscriber gets of one producer. extension_mask: bit i set means that the extension with
 * our id i may be sent. Only packets whose mapped payload type is payload_type are forwarded.
 * preferred_*_layer 255: the best one. rtx_payload_type 0: no RTX. priority: 255 is the most important.
 * has_audio_nack: the client asks for lost audio again. */
#define CONSUMER_ROW(S, A)                                                               \
    A(u8, id, 16, uuid, 0, 0)                                                            \
    S(u64, transport, handle, 0, 0)                                                      \
    S(u64, producer, handle, 0, 0)                                                       \
    S(u32, ssrc, hex, 0, 0)                                                              \
    S(u32, rtx_ssrc, hex, 0, 0)                                                          \
    S(u16, extension_mask, hex, 0, 0)                                                    \
    S(u8, payload_type, dec, 0, 127)                                                     \
    S(u8, rtx_payload_type, dec, 0, 127)                                                 \
    S(u8, kind, media_kind, 1, 2)                                                        \
    S(u8, paused, dec, 0, 1)                                                             \
    S(u8, priority, dec, 0, 255)                                                         \
    S(u8, preferred_spatial_layer, dec, 0, 255)                                          \
    S(u8, preferred_temporal_layer, dec, 0, 255)                                         \
    S(u8, mid_bytes, dec, 0, CONSUMER_MID_BYTES_MAX)                                     \
    S(u8, has_audio_nack, dec, 0, 1)                                                     \
    A(u8, reserved, 5, hex, 0, 0)                                                        \
    A(chr, mid, CONSUMER_MID_BYTES_MAX, text, 0, 0)                                      \
    A(u8, reserved1, 48, hex, 0, 0)

/* ---- region `actual`: written by the forwarder; same index and generation as in `desired` ---- */

/* One row per worker: where clients reach it. Addresses are IPv6 or v4-mapped; an unused one is 0.
 */
#define WORKER_STATE_ROW(S, A)                                                           \
    S(u64, heartbeat_ns, ns, 0, 0)                                                       \
    S(u64, turns, dec, 0, 0)                                                             \
    S(u64, busy_ns, ns, 0, 0)                                                            \
    S(u32, transport_count, dec, 0, 0)                                                   \
    S(u32, producer_count, dec, 0, 0)                                                    \
    S(u32, consumer_count, dec, 0, 0)                                                    \
    S(u32, changes_seen, dec, 0, 0)                                                      \
    S(u16, udp_port, port, 0, 0)                                                         \
    S(u8, has_ipv4, dec, 0, 1)                                                           \
    S(u8, has_ipv6, dec, 0, 1)                                                           \
    A(chr, backend, 12, text, 0, 0)                                                      \
    S(u8, backend_measured, dec, 0, 1)                                                   \
    A(u8, reserved, 55, hex, 0, 0)

/* Per worker: verdicts and counters, index = enum verdict / enum worker_counter. */
#define WORKER_COUNTERS_ROW(S, A)                                                        \
    A(u64, verdicts, VERDICT_ROOM, dec, 0, 0)                                            \
    A(u64, counters, COUNTER_ROOM, dec, 0, 0)                                            \
    A(u8, reserved, 48, hex, 0, 0)

/* path_proof: 2: the client has proven that it receives at this address; 1: it sends from there, and
 * receives no media; 0: not proven yet, so little is sent there (threat D4). path_count: addresses
 * that its checks came from. path_withheld: datagrams that were not sent for want of a proof. rtx_:
 * retransmissions, which rtp_ contains too. */
#define TRANSPORT_STATE_ROW(S, A)                                                        \
    S(u64, bytes_received, bytes, 0, 0)                                                  \
    S(u64, bytes_sent, bytes, 0, 0)                                                      \
    S(u64, rtp_packets_received, dec, 0, 0)                                              \
    S(u64, rtp_bytes_received, bytes, 0, 0)                                              \
    S(u64, rtp_packets_sent, dec, 0, 0)                                                  \
    S(u64, rtp_bytes_sent, bytes, 0, 0)                                                  \
    S(u64, rtx_bytes_received, bytes, 0, 0)                                              \
    S(u64, rtx_bytes_sent, bytes, 0, 0)                                                  \
    S(u64, last_check_ns, ns, 0, 0)                                                      \
    S(u64, connected_ns, ns, 0, 0)                                                       \
    S(u64, published_ns, ns, 0, 0)                                                       \
    A(u8, remote_ip, 16, ip, 0, 0)                                                       \
    A(u8, local_ip, 16, ip, 0, 0)                                                        \
    S(u32, receive_bps, dec, 0, 0)                                                       \
    S(u32, send_bps, dec, 0, 0)                                                          \
    S(u32, rtp_receive_bps, dec, 0, 0)                                                   \
    S(u32, rtp_send_bps, dec, 0, 0)                                                      \
    S(u32, rtx_receive_bps, dec, 0, 0)                                                   \
    S(u32, rtx_send_bps, dec, 0, 0)                                                      \
    S(u32, path_moves, dec, 0, 0)                                                        \
    S(u32, path_withheld, dec, 0, 0)                                                     \
    S(u16, remote_port, port, 0, 0)                                                      \
    S(u16, local_port, port, 0, 0)                                                       \
    S(u8, ice_state, ice_state, 0, 3)                                                    \
    S(u8, dtls_state, dtls_state, 0, 4)                                                  \
    S(u8, dtls_failure, dtls_failure, 0, 6)                                              \
    S(u8, srtp_profile, srtp_profile, 0, 8)                                              \
    S(u8, path_proof, dec, 0, 2)                                                         \
    S(u8, path_count, dec, 0, 8)                                                         \
    A(u8, reserved, 14, hex, 0, 0)

/* Index e of the arrays is one encoding. Jitter is in RTP time-stamp units (RFC 3550 6.4.1). In
 * this and the rows beside it, bytes are those of RTP packets with header and padding, without what
 * SRTP adds, and _bps is the rate between the last two times that the row was published.
 *   packets, bytes            without retransmissions
 *   rtx_packets               retransmissions that came
 *   packets_repaired          of these, what we had asked for; bytes_repaired: as if it had come at first
 *   packets_discarded         packets that came and could not be used; rtx_discarded: retransmissions
 *   nacks_sent                messages to the publisher; packets_asked: that they asked for
 *   score                     how well it arrives, see dataplane/engines/quality/score.h
 * layer_bytes and layer_bps at ROW_LAYER(spatial, temporal) are one layer, without those that it needs.
 * orientation is the byte of the header extension 3gpp:video-orientation; ORIENTATION_NONE: none came.
 * round_trip_us 0: not known. */
#define PRODUCER_STATE_ROW(S, A)                                                         \
    A(u64, encoding_packets, ENCODINGS_MAX, dec, 0, 0)                                   \
    A(u64, encoding_bytes, ENCODINGS_MAX, bytes, 0, 0)                                   \
    A(u64, encoding_last_packet_ns, ENCODINGS_MAX, ns, 0, 0)                             \
    A(i64, encoding_packets_lost, ENCODINGS_MAX, dec, 0, 0)                              \
    A(u64, encoding_bytes_repaired, ENCODINGS_MAX, bytes, 0, 0)                          \
    S(u64, published_ns, ns, 0, 0)                                                       \
    A(u64, layer_bytes, ROW_LAYERS, bytes, 0, 0)                                         \
    A(u32, layer_bps, ROW_LAYERS, dec, 0, 0)                                             \
    A(u32, encoding_ssrc, ENCODINGS_MAX, hex, 0, 0)                                      \
    A(u32, encoding_rtx_ssrc, ENCODINGS_MAX, hex, 0, 0)                                  \
    A(u32, encoding_jitter, ENCODINGS_MAX, dec, 0, 0)                                    \
    A(u32, encoding_fraction_lost, ENCODINGS_MAX, dec, 0, 255)                           \
    A(u32, encoding_bps, ENCODINGS_MAX, dec, 0, 0)                                       \
    A(u32, encoding_rtx_packets, ENCODINGS_MAX, dec, 0, 0)                               \
    A(u32, encoding_packets_discarded, ENCODINGS_MAX, dec, 0, 0)                         \
    A(u32, encoding_rtx_discarded, ENCODINGS_MAX, dec, 0, 0)                             \
    A(u32, encoding_key_frames, ENCODINGS_MAX, dec, 0, 0)                                \
    A(u32, encoding_pli_sent, ENCODINGS_MAX, dec, 0, 0)                                  \
    A(u32, encoding_fir_sent, ENCODINGS_MAX, dec, 0, 0)                                  \
    A(u32, encoding_nacks_sent, ENCODINGS_MAX, dec, 0, 0)                                \
    A(u32, encoding_packets_asked, ENCODINGS_MAX, dec, 0, 0)                             \
    A(u32, encoding_packets_repaired, ENCODINGS_MAX, dec, 0, 0)                          \
    A(u8, encoding_score, ENCODINGS_MAX, dec, 0, SCORE_MAX)                              \
    S(u32, round_trip_us, dec, 0, 0)                                                     \
    S(u8, orientation, hex, 0, 0)                                                        \
    A(u8, reserved, 31, hex, 0, 0)

/* encoding: the index of the producer's encoding that is forwarded now. spatial_layer and
 * temporal_layer: the highest ones that are forwarded now, LAYER_NONE: nothing is; of simulcast, the
 * spatial layer is the encoding. target_*_layer: the ones that replace them as soon as they can.
 * packets_asked: that the client asked for again (NACK); packets_sent and bytes_sent do not contain
 * what was sent again; packets_repaired: what was sent again, each packet once. layer_switches: how
 * often the layers changed. */
#define CONSUMER_STATE_ROW(S, A)                                                         \
    S(u64, packets_sent, dec, 0, 0)                                                      \
    S(u64, bytes_sent, bytes, 0, 0)                                                      \
    S(u64, bytes_sent_again, bytes, 0, 0)                                                \
    S(u64, last_packet_ns, ns, 0, 0)                                                     \
    S(i64, packets_lost, dec, 0, 0)                                                      \
    S(u64, published_ns, ns, 0, 0)                                                       \
    S(u32, fraction_lost, dec, 0, 255)                                                   \
    S(u32, jitter, dec, 0, 0)                                                            \
    S(u32, round_trip_us, dec, 0, 0)                                                     \
    S(u32, pli_received, dec, 0, 0)                                                      \
    S(u32, fir_received, dec, 0, 0)                                                      \
    S(u32, nack_received, dec, 0, 0)                                                     \
    S(u32, packets_asked, dec, 0, 0)                                                     \
    S(u32, packets_sent_again, dec, 0, 0)                                                \
    S(u32, packets_repaired, dec, 0, 0)                                                  \
    S(u32, layer_switches, dec, 0, 0)                                                    \
    S(u32, send_bps, dec, 0, 0)                                                          \
    S(u8, encoding, dec, 0, ENCODINGS_MAX - 1)                                           \
    S(u8, spatial_layer, layer, 0, 255)                                                  \
    S(u8, temporal_layer, layer, 0, 255)                                                 \
    S(u8, target_spatial_layer, layer, 0, 255)                                           \
    S(u8, target_temporal_layer, layer, 0, 255)                                          \
    S(u8, score, dec, 0, SCORE_MAX)                                                      \
    A(u8, reserved, 14, hex, 0, 0)

/* How loud one audio producer was in the last AUDIO_LEVEL_INTERVALS intervals of AUDIO_INTERVAL_NS
 * of the monotonic clock; interval i lies at i modulo AUDIO_LEVEL_INTERVALS. A level is the byte of
 * RFC 6464: the top bit says "voice", the others -dBov; AUDIO_LEVEL_NONE: no packet came. The row
 * is published every AUDIO_PUBLISH_INTERVALS. */
#define AUDIO_LEVEL_ROW(S, A)                                                            \
    S(u32, newest_interval, dec, 0, 0)                                                       \
    A(u8, level, AUDIO_LEVEL_INTERVALS, hex, 0, 0)                                           \
    A(u8, reserved, 12, hex, 0, 0)

/* One row (index 0): what is the same for all transports. */
#define NODE_ROW(S, A)                                                                   \
    S(u32, worker_count, dec, 0, WORKERS_MAX)                                            \
    S(u32, forwarder_pid, dec, 0, 0)                                                     \
    A(u8, fingerprint_sha_256, 32, hex, 0, 0)                                            \
    A(u8, fingerprint_sha_384, 48, hex, 0, 0)                                            \
    A(u8, fingerprint_sha_512, 64, hex, 0, 0)                                            \
    S(u8, has_fingerprints, dec, 0, 1)                                                   \
    A(u8, reserved, 23, hex, 0, 0)

/* ---- region `keys`: written by the handshaker; never mapped by the control plane ---- */

/* Master keys and salts of one transport as DTLS exported them (RFC 5764 4.2). We send with `ours`.
 * failure says why state is `failed`. */
#define KEY_ROW(S, A)                                                                    \
    S(u64, transport, handle, 0, 0)                                                      \
    S(u64, connected_wall_ms, dec, 0, 0)                                                 \
    S(u8, state, dtls_state, 0, 4)                                                       \
    S(u8, failure, dtls_failure, 0, 6)                                                   \
    S(u8, profile, srtp_profile, 0, 8)                                                   \
    A(u8, reserved, 5, hex, 0, 0)                                                        \
    A(u8, ours_key, 32, secret, 0, 0)                                                    \
    A(u8, theirs_key, 32, secret, 0, 0)                                                  \
    A(u8, ours_salt, 16, secret, 0, 0)                                                   \
    A(u8, theirs_salt, 16, secret, 0, 0)                                                 \
    A(u8, reserved1, 56, hex, 0, 0)

/* One row (index 0): the certificate that every handshake shows, and its private key, both DER. So
 * a restarted handshaker keeps the fingerprint that clients already know. */
#define IDENTITY_ROW(S, A)                                                               \
    S(u32, certificate_bytes, dec, 0, IDENTITY_BYTES_MAX)                                \
    S(u32, private_key_bytes, dec, 0, IDENTITY_BYTES_MAX)                                \
    S(u32, handshaker_pid, dec, 0, 0)                                                    \
    A(u8, reserved, 4, hex, 0, 0)                                                        \
    A(u8, fingerprint_sha_256, 32, hex, 0, 0)                                            \
    A(u8, fingerprint_sha_384, 48, hex, 0, 0)                                            \
    A(u8, fingerprint_sha_512, 64, hex, 0, 0)                                            \
    A(u8, certificate, IDENTITY_BYTES_MAX, hex, 0, 0)                                    \
    A(u8, private_key, IDENTITY_BYTES_MAX, secret, 0, 0)                                 \
    A(u8, reserved1, 16, hex, 0, 0)

/* ---- region `resume`: written by the forwarder; never mapped by the control plane ---- */

/* When a forwarder dies, the next one starts above every index that is reserved here. So no (SSRC,
 * index) is ever encrypted twice with different content. These rows outlive their objects, because
 * an index stays reserved as long as its key may be in use. So they hold no address and no name. */
#define CONSUMER_RESUME_ROW(S, A)                                                        \
    S(u64, rtp_index_reserved, dec, 0, 0)                                                \
    S(u64, rtx_index_reserved, dec, 0, 0)                                                \
    S(u64, transport, handle, 0, 0)                                                      \
    S(u32, ssrc, dec, 0, 0)                                                              \
    S(u32, timestamp_offset, dec, 0, 0)                                                  \
    S(u32, sequence_offset, dec, 0, 0)                                                   \
    S(u32, rtx_ssrc, dec, 0, 0)                                                          \
    A(u8, reserved, 8, hex, 0, 0)

/* ssrcs, ssrcs_skipped: struct srtp_sent and struct srtp_skipped over the SSRCs that consumers of this
 * transport have had. */
#define TRANSPORT_RESUME_ROW(S, A)                                                       \
    S(u64, rtcp_index_reserved, dec, 0, 0)                                               \
    S(u64, ssrcs, dec, 0, 0)                                                             \
    A(u64, ssrcs_skipped, 16, hex, 0, 0)                                                 \
    A(u8, reserved, 32, hex, 0, 0)

/* T(name, ROW_LIST, region, rows): every table, in the order it lies in its region. */
#define TABLES(T)                                                                        \
    T(room, ROOM_ROW, desired, ROOMS_MAX)                                                \
    T(transport, TRANSPORT_ROW, desired, TRANSPORTS_MAX)                                 \
    T(producer, PRODUCER_ROW, desired, PRODUCERS_MAX)                                    \
    T(consumer, CONSUMER_ROW, desired, CONSUMERS_MAX)                                    \
    T(node, NODE_ROW, actual, 1)                                                         \
    T(worker_state, WORKER_STATE_ROW, actual, WORKERS_MAX)                               \
    T(worker_counters, WORKER_COUNTERS_ROW, actual, WORKERS_MAX)                         \
    T(transport_state, TRANSPORT_STATE_ROW, actual, TRANSPORTS_MAX)                      \
    T(producer_state, PRODUCER_STATE_ROW, actual, PRODUCERS_MAX)                         \
    T(consumer_state, CONSUMER_STATE_ROW, actual, CONSUMERS_MAX)                         \
    T(audio_level, AUDIO_LEVEL_ROW, actual, PRODUCERS_MAX)                               \
    T(identity, IDENTITY_ROW, keys, 1)                                                   \
    T(key, KEY_ROW, keys, TRANSPORTS_MAX)                                                \
    T(transport_resume, TRANSPORT_RESUME_ROW, resume, TRANSPORTS_MAX)                    \
    T(consumer_resume, CONSUMER_RESUME_ROW, resume, CONSUMERS_MAX)

/* clang-format on */
#endif
