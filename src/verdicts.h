/* What became of a packet: every datagram that a worker receives leaves with exactly one of these.
 * The list is the counter table of `ringcastctl top`. V(name, text): no drop without a name. */
#ifndef RINGCAST_VERDICTS_H
#define RINGCAST_VERDICTS_H

/* clang-format off */
#define VERDICTS(V)                                                                               \
    V(forwarded, "RTP, protected and queued to at least one consumer")                            \
    V(unwanted, "RTP, authentic, but nobody consumes it just now")                                \
    V(stun_answered, "STUN request, answered")                                                    \
    V(dtls_passed, "DTLS, handed to the handshaker")                                              \
    V(rtcp_consumed, "RTCP, authenticated and acted upon")                                        \
    V(drop_empty, "datagram without a byte")                                                      \
    V(drop_oversize, "datagram longer than 1500 bytes")                                           \
    V(drop_first_byte, "first byte stands for no protocol of ours (RFC 7983)")                    \
    V(drop_stun_malformed, "STUN that does not parse, or not a binding request")                  \
    V(drop_stun_stranger, "STUN for a user fragment that no transport has (G1)")                  \
    V(drop_stun_unauthentic, "STUN whose MESSAGE-INTEGRITY or FINGERPRINT is missing or wrong (G1)") \
    V(drop_stun_limit, "STUN over the rate or tuple limit")                                       \
    V(drop_dtls_stranger, "DTLS from an address that ICE has not validated (G2)")                 \
    V(drop_dtls_malformed, "DTLS record header out of bounds")                                    \
    V(drop_dtls_unconnected, "DTLS before media:connectTransport told the fingerprint")           \
    V(drop_dtls_full, "DTLS while the ring to the handshaker is full")                            \
    V(drop_media_stranger, "RTP or RTCP from an address that ICE has not validated (G3, G6)")     \
    V(drop_media_unkeyed, "RTP or RTCP before keys exist (G3)")                                   \
    V(drop_rtp_malformed, "RTP header, extension or padding out of bounds")                       \
    V(drop_rtp_unauthentic, "SRTP authentication failed (G5)")                                    \
    V(drop_rtp_replay, "SRTP index already seen, or too old")                                     \
    V(drop_rtp_unrouted, "RTP that no producer of this transport owns")                           \
    V(drop_rtp_ssrc_limit, "RTP of one SSRC too many for this transport")                         \
    V(drop_rtp_payload_type, "RTP of a payload type that the producer did not declare")           \
    V(drop_rtp_paused, "RTP of a paused producer")                                                \
    V(drop_rtx_unused, "repair packet (RTX): nobody here uses it yet")                            \
    V(drop_rtcp_malformed, "RTCP compound out of bounds")                                         \
    V(drop_rtcp_unauthentic, "SRTCP authentication failed (G5)")                                  \
    V(drop_rtcp_replay, "SRTCP index already seen, or too old")                                   \
    V(drop_rtcp_limit, "RTCP over the rate or block limit")                                       \
    V(drop_overload, "RTP of a producer whose packets already wait too long for their subscribers") \
    V(drop_no_memory, "no packet buffer free")
/* clang-format on */

enum verdict {
#define V(name, text) VERDICT_##name,
    VERDICTS(V)
#undef V
        VERDICT_COUNT
};

/* What became of what we send: one of these per packet towards a consumer or peer.
 * C(name, text). */
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
    C(sends, "system-level sends those took (a segmented run is one)")            \
    C(sends_zero_copy, "of those, asked to go without copying (io_uring)")        \
    C(sends_zero_copy_copied, "of those, copied all the same: the device cannot") \
    C(send_full, "packets dropped because the transmit queue was full")           \
    C(send_failed, "packets that the kernel refused")                             \
    C(handed, "RTP packets handed to other workers by reference, one a worker")   \
    C(handoff_full, "packets for another worker's subscribers that it had no room for") \
    C(batch_fills, "turns put off under load so that a batch could fill")         \
    C(backlog_full, "packets that subscribers here did not get: too many wait already") \
    C(consent_expired, "transports that lost consent (RFC 7675)")                 \
    C(ice_restarts, "ICE restarts that a check with the new credentials completed") \
    C(key_frames_asked, "PLI or FIR sent to publishers")                          \
    C(key_frames_held, "key-frame requests held back by the throttle")            \
    C(changes_applied, "table rows applied")                                      \
    C(rescans, "full table scans")                                                \
    C(rows_refused, "table rows refused (out of range or inconsistent)")          \
    C(events_lost, "events not told because the ring was full (rescan follows)")
/* clang-format on */

enum worker_counter {
#define C(name, text) COUNTER_##name,
    WORKER_COUNTERS(C)
#undef C
        COUNTER_COUNT
};

#endif
