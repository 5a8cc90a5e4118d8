/* What a worker counts: what became of each datagram that it received, and what else it did.
 *
 * Both lists are printed by `ringcastctl`, exported by /metrics, and stand in the row
 * worker_counters. To add one, add a line here and use VERDICT_name or COUNTER_name; the row has
 * room for VERDICT_ROOM and COUNTER_ROOM of them. All names are part of the layout hash (region.c,
 * hash_names): with a new name, old and new builds refuse each other's regions.
 *
 * The worker adds to its counters in its own code, except receive_overflow, sends, sends_zero_copy,
 * sends_zero_copy_copied and send_failed: worker.c copies those from struct io_counters, and adds
 * the send_full of struct io_counters to that of the worker.
 *
 * stun_answered counts requests. stun_sent counts the responses that the transmit memory had room
 * for, so it may be smaller. */
#ifndef RINGCAST_VERDICTS_H
#define RINGCAST_VERDICTS_H

/* Every datagram that a worker receives ends with exactly one of these: no drop without a name.
 * V(name, text). G1 to G8 are the gates of the packet path, see dataplane/README.md. */
/* clang-format off */
#define VERDICTS(V)                                                                               \
    V(forwarded, "RTP, encrypted and queued for at least one consumer")                           \
    V(unwanted, "RTP, authentic, but it has no consumer at present")                              \
    V(stun_answered, "STUN request, answered")                                                    \
    V(dtls_passed, "DTLS, handed to the handshaker")                                              \
    V(rtcp_consumed, "RTCP, authenticated and acted upon")                                        \
    V(drop_empty, "datagram of zero bytes")                                                       \
    V(drop_oversize, "datagram longer than 1500 bytes")                                           \
    V(drop_first_byte, "first byte belongs to none of STUN, DTLS, RTP and RTCP (RFC 7983)")       \
    V(drop_stun_malformed, "STUN that does not parse, or is no binding request")                  \
    V(drop_stun_stranger, "STUN for a user fragment that no transport has (G1)")                  \
    V(drop_stun_unauthentic, "STUN whose MESSAGE-INTEGRITY or FINGERPRINT is missing or wrong (G1)") \
    V(drop_stun_limit, "STUN over the rate limit")                                                \
    V(drop_stun_unproven, "STUN, valid, not answered: its address must prove first that it receives (D4)") \
    V(drop_dtls_stranger, "DTLS from an address that ICE has not validated (G2)")                 \
    V(drop_dtls_malformed, "DTLS record header out of bounds")                                    \
    V(drop_dtls_no_hello, "DTLS that is no well-formed ClientHello, before a handshake (D5)")     \
    V(drop_dtls_unconnected, "DTLS before the client called media:connectTransport")              \
    V(drop_dtls_limit, "DTLS over the rate limit")                                                \
    V(drop_dtls_full, "DTLS while the ring to the handshaker is full")                            \
    V(drop_media_stranger, "RTP or RTCP from an address that ICE has not validated (G3, G6)")     \
    V(drop_media_unkeyed, "RTP or RTCP before the transport has keys (G3)")                       \
    V(drop_media_limit, "RTP or RTCP of a client that sends more than it may (D22)")              \
    V(drop_rtp_malformed, "RTP header, extension or padding out of bounds")                       \
    V(drop_rtp_unauthentic, "SRTP authentication failed (G5)")                                    \
    V(drop_rtp_replay, "SRTP index already received, or too old")                                 \
    V(drop_rtp_unrouted, "RTP that belongs to no producer of this transport")                     \
    V(drop_rtp_ssrc_limit, "RTP of a new SSRC while the transport has its maximum of SSRCs")      \
    V(drop_rtp_payload_type, "RTP of a payload type that the producer did not declare")           \
    V(drop_rtp_replaced, "RTP of an SSRC whose place another SSRC has taken")                     \
    V(drop_rtp_paused, "RTP of a paused producer")                                                \
    V(drop_rtp_empty, "RTP without media: only padding")                                           \
    V(drop_rtx_unused, "RTX that repairs nothing: padding, or the packet had arrived or is not needed") \
    V(drop_rtcp_malformed, "RTCP compound out of bounds")                                         \
    V(drop_rtcp_unauthentic, "SRTCP authentication failed (G5)")                                  \
    V(drop_rtcp_replay, "SRTCP index already received, or too old")                               \
    V(drop_rtcp_limit, "RTCP over the rate limit")                                                \
    V(drop_index_used, "RTP that nobody got: its SRTP index was used before (D13)")               \
    V(drop_path_unproven, "RTP that nobody got: the client must prove first that it receives (D4)") \
    V(drop_send_full, "RTP that nobody got: no room in the transmit memory")                      \
    V(drop_overload, "RTP of a producer whose earlier packets have waited too long to be sent")   \
    V(drop_no_memory, "RTP while all packet buffers are in use")
/* clang-format on */

enum verdict {
#define V(name, text) VERDICT_##name,
    VERDICTS(V)
#undef V
        VERDICT_COUNT
};

/* C(name, text). "of those" means: of what the line before counts. */
/* clang-format off */
#define WORKER_COUNTERS(C)                                                        \
    C(received, "datagrams received")                                             \
    C(received_bytes, "bytes of those")                                           \
    C(receive_overflow, "dropped by the kernel: receive buffer of a socket full") \
    C(rtp_sent, "RTP packets handed to the backend")                              \
    C(rtp_sent_bytes, "bytes of those, SRTP included")                            \
    C(rtcp_sent, "RTCP datagrams handed to the backend")                          \
    C(stun_sent, "STUN responses handed to the backend")                          \
    C(dtls_sent, "DTLS datagrams handed to the backend")                          \
    C(sends, "send calls of the kernel; a segmented run counts as one")           \
    C(sends_zero_copy, "of those, requested as zero-copy (io_uring)")              \
    C(sends_zero_copy_copied, "of those, copied anyway: the device cannot do it") \
    C(send_full, "packets dropped because the transmit queue was full")           \
    C(send_failed, "packets that the kernel refused")                             \
    C(handed, "RTP packets handed to other workers, counted once for each worker") \
    C(handoff_full, "RTP packets that another worker had no room for")            \
    C(batch_fills, "turns that a busy worker delayed to fill a batch")             \
    C(backlog_full, "RTP packets not sent here: earlier ones have waited too long") \
    C(index_refused, "RTP packets not sent to a consumer: SRTP index used before (D13)") \
    C(consent_expired, "transports that lost consent (RFC 7675)")                 \
    C(path_moves, "transports whose media went to another address")               \
    C(path_challenges, "sender reports that ask a new address for a proof (D4)")  \
    C(path_proofs, "new addresses that proved that they receive (D4)")            \
    C(path_withheld, "datagrams not sent: the address has no proof yet (D4)")     \
    C(ice_restarts, "ICE restarts completed by a check with the new credentials") \
    C(key_frames_asked, "key-frame requests (PLI, FIR) sent to publishers")       \
    C(key_frames_held, "key-frame requests held back by the throttle")            \
    C(nack_sent, "lost packets that publishers were asked for (NACK)")            \
    C(repaired_in, "of those, packets that came")                                 \
    C(publisher_round_trips, "measurements of the round trip to a publisher (RTCP XR)") \
    C(replays, "times that a subscriber got the last key frame out of the history") \
    C(nack_received, "lost packets that subscribers asked for (NACK)")            \
    C(rtx_sent, "packets that were sent to a subscriber again (RTX)")             \
    C(rtx_refused, "packets not sent again: over the limits of repair")           \
    C(rtx_missing, "packets that a subscriber asked for and that are not there")  \
    C(layer_switches, "times that a subscriber began to get other layers")        \
    C(changes_applied, "table rows applied")                                      \
    C(rescans, "full table scans")                                                \
    C(rows_refused, "table rows refused (out of range or inconsistent)")          \
    C(events_lost, "events lost because the ring was full (a rescan follows)")
/* clang-format on */

enum worker_counter {
#define C(name, text) COUNTER_##name,
    WORKER_COUNTERS(C)
#undef C
        COUNTER_COUNT
};

#endif
