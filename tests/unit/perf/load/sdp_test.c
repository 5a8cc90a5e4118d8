/* Reading and writing SDP. The offer is a real one of Janus 1.1.2. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "perf/load/sdp.h"

static const char offer_of_janus[] =
    "v=0\r\no=- 1700000000000000 1 IN IP4 127.0.0.1\r\ns=VideoRoom 1\r\nt=0 0\r\n"
    "a=group:BUNDLE 0 1 2\r\na=ice-options:trickle\r\n"
    "a=fingerprint:sha-256 5C:B8:C1:12\r\na=msid-semantic: WMS *\r\na=ice-lite\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 127.0.0.1\r\na=sendonly\r\na=mid:0\r\n"
    "a=rtcp-mux\r\na=ice-ufrag:FSq3\r\na=ice-pwd:LU2kviUKjagw0UI/e7dJ1d\r\na=setup:actpass\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n"
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
    "a=msid:janus janus0\r\na=ssrc:1187952985 cname:janus\r\n"
    "a=candidate:1 1 udp 2015363327 127.1.0.1 29916 typ host\r\na=end-of-candidates\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 127.0.0.1\r\na=sendonly\r\na=mid:1\r\n"
    "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 goog-remb\r\n"
    "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    "a=ssrc-group:FID 100 101\r\na=ssrc:100 cname:janus\r\na=ssrc:101 cname:janus\r\n"
    "m=video 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 127.0.0.1\r\na=inactive\r\na=mid:2\r\n";

static const struct target_local local = {
    .ufrag = "abcd", .password = "p", .fingerprint = "AB:CD", .cname = "c"};

static void reads_what_janus_offers(void **state)
{
    char why[TARGET_WHY_BYTES];
    struct sdp sdp;

    assert_true(sdp_read(offer_of_janus, true, &sdp, why));
    assert_string_equal(sdp.remote.ufrag, "FSq3");
    assert_string_equal(sdp.remote.password, "LU2kviUKjagw0UI/e7dJ1d");
    assert_string_equal(sdp.remote.algorithm, "sha-256");
    assert_string_equal(sdp.remote.fingerprint, "5C:B8:C1:12");
    assert_int_equal(ntohs(sdp.remote.address.sin_port), 29916);
    assert_false(sdp.remote.controls);
    assert_int_equal(sdp.media_count, 3);
    assert_true(sdp.media[0].active && sdp.media[1].active);
    assert_false(sdp.media[2].active);
    assert_int_equal(sdp.media[0].kind, STREAM_AUDIO);
    assert_int_equal(sdp.media[0].ssrc, 1187952985);
    assert_int_equal(sdp.media[0].transport_cc_id, 3);
    assert_int_equal(sdp.media[1].payload_type, 96);
    assert_int_equal(sdp.media[1].rtx_payload_type, 97);
    assert_int_equal(sdp.media[1].ssrc, 100);
    assert_int_equal(sdp.media[1].rtx_ssrc, 101);
    free(sdp.media);
}

/* Each row removes something that is needed; then reading fails with a reason. */
static void refuses_incomplete_offers(void **state)
{
    static const struct {
        const char *removed, *replacement;
    } rows[] = {
        {"a=ice-ufrag:FSq3", "a=x"},
        {"a=ice-pwd:", "a=x:"},
        {"a=fingerprint:", "a=x:"},
        {"127.1.0.1 29916", "fe80::1 29916"},
        {"1 udp 2015363327", "1 tcp 2015363327"},
        {"typ host", "typ relay"},
        {"a=setup:actpass", "a=setup:active"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[sizeof(offer_of_janus) + 64], why[TARGET_WHY_BYTES] = "";
        const char *at = strstr(offer_of_janus, rows[i].removed);
        struct sdp sdp;

        assert_non_null(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - offer_of_janus), offer_of_janus,
                 rows[i].replacement, at + strlen(rows[i].removed));
        assert_false(sdp_read(text, true, &sdp, why));
        assert_true(why[0]);
    }
}

static void answer_leaves_out_unsent_feedback(void **state)
{
    for (int feedback = 0; feedback < 2; feedback++) {
        char *answer = sdp_answer(offer_of_janus, &local, feedback), why[TARGET_WHY_BYTES];
        struct sdp sdp;

        assert_int_equal(strstr(answer, "transport-cc") != NULL, feedback);
        assert_int_equal(strstr(answer, "transport-wide-cc") != NULL, feedback);
        assert_int_equal(strstr(answer, "goog-remb") != NULL, feedback);
        assert_non_null(strstr(answer, "a=group:BUNDLE 0 1 2\r\n"));
        assert_non_null(strstr(answer, "a=rtcp-fb:96 nack\r\n"));
        assert_non_null(strstr(answer, "a=recvonly\r\n"));
        assert_non_null(strstr(answer, "a=inactive\r\n"));
        assert_null(strstr(answer, "a=sendonly"));
        assert_null(strstr(answer, "a=ssrc"));
        assert_null(strstr(answer, "FSq3"));
        assert_non_null(strstr(answer, "a=ice-ufrag:abcd\r\n"));
        assert_false(sdp_read(answer, false, &sdp, why)); /* its a=setup:active is refused */
        free(answer);
    }
}

static void offers_what_it_sends(void **state)
{
    const struct target_stream streams[] = {
        {.mid = "0", .ssrc = 7, .payload_type = SENT_OPUS, .kind = STREAM_AUDIO},
        {.mid = "1",
         .ssrc = 8,
         .rtx_ssrc = 9,
         .payload_type = SENT_VP8,
         .rtx_payload_type = SENT_VP8_RTX,
         .kind = STREAM_VIDEO}};
    char *offer = sdp_offer(&local, streams, 2);

    assert_non_null(strstr(offer, "a=group:BUNDLE 0 1\r\n"));
    assert_non_null(strstr(offer, "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"));
    assert_non_null(strstr(offer, "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n"));
    assert_non_null(strstr(offer, "a=ssrc:7 cname:c\r\n"));
    assert_non_null(strstr(offer, "a=ssrc-group:FID 8 9\r\n"));
    assert_non_null(strstr(offer, "a=setup:active\r\n"));
    free(offer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_janus_offers),
        cmocka_unit_test(refuses_incomplete_offers),
        cmocka_unit_test(answer_leaves_out_unsent_feedback),
        cmocka_unit_test(offers_what_it_sends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
