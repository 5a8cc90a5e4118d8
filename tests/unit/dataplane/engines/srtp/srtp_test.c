/* SRTP: vectors of RFC 3711 and RFC 7714, packets of Chromium, attacks, bursts, limits. */
#include "support.h"

#include "tests/data/chromium_srtp.h"

static struct srtp_engine *engine;

static int set_up(void **state)
{
    engine = srtp_engine_new();
    return engine ? 0 : -1;
}

static int tear_down(void **state)
{
    srtp_engine_delete(engine);
    return 0;
}

/* RFC 3711 B.2: 65 282 blocks of keystream of one session key. */
static void keystream_of_rfc3711_b2(void **state)
{
    static uint8_t stream[0xff02 * 16];
    uint8_t key[16], salt[16] = {0}, iv[16];
    struct srtp_cm cm;
    IMB_JOB job = {0};

    unhex("2B7E151628AED2A6ABF7158809CF4F3C", key, 16);
    unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD", salt, 14);
    srtp_cm_set(engine, &cm, key, (const uint8_t[20]){0});
    srtp_cm_iv(iv, salt, 0, 0);
    memset(stream, 0, sizeof(stream));
    srtp_job_cipher(&job, &cm, stream, stream, sizeof(stream), iv);
    srtp_run_cipher(engine, &job, 1);
    assert_hex(stream, 48,
               "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB"
               "41E95B3BB0A2E8DD477901E4FCA894C0");
    assert_hex(stream + 0xfeff * 16, 48,
               "EC8CDF7398607CB0F2D21675EA9EA1E4362B7C3C6773516318A077D7FC5073AE"
               "6A2CC3787889374FBEB4C81B17BA6C44");
}

/* RFC 3711 B.3. For the labels that it does not have, another implementation gave the values. */
static void key_derivation_of_rfc3711_b3(void **state)
{
    uint8_t master[16], salt[14], out[32];

    unhex("E1F97A0D3E018BE0D64FA32C06DE4139", master, 16);
    unhex("0EC675AD498AFEEBB6960B3AABE6", salt, 14);
    srtp_derive(engine, master, 16, salt, 0, out, 16);
    assert_hex(out, 16, "C61E7A93744F39EE10734AFE3FF7A087");
    srtp_derive(engine, master, 16, salt, 2, out, 14);
    assert_hex(out, 14, "30CBBC08863D8C85D49DB34A9AE1");
    srtp_derive(engine, master, 16, salt, 1, out, 32);
    assert_hex(out, 32, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE");
}

#define MARS "8040f17b8041f8d35501a0b2"
#define GALLIA "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
#define QUID_PRO_QUO "517569642070726f2071756f"
#define KEY_128 "000102030405060708090a0b0c0d0e0f"
#define KEY_256 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void rfc7714_key(struct srtp_key *key, enum srtp_profile profile)
{
    uint8_t session[32] = {0}, salt[12];

    unhex(profile == SRTP_PROFILE_aead_aes_256_gcm ? KEY_256 : KEY_128, session, 32);
    unhex(QUID_PRO_QUO, salt, 12);
    memset(key, 0, sizeof(*key));
    srtp_key_set_aead(engine, key, profile, session, salt, session, salt);
}

/* RFC 7714 16.1.1, 16.1.2, 16.2.1 and 16.2.2, which give session keys. */
static void vectors_of_rfc7714_16(void **state)
{
    static const struct {
        enum srtp_profile profile;
        const char *wire;
    } rows[] = {
        {SRTP_PROFILE_aead_aes_128_gcm,
         MARS "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
              "899d7f27beb16a9152cf765ee4390cce"},
        {SRTP_PROFILE_aead_aes_256_gcm,
         MARS "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b"
              "7aa3db36dfffd6b0f9bb7878d7a76c13"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct srtp_unprotect_job job;
        struct srtp_stream stream = {0};
        uint8_t clear[64], out[80];
        struct srtp_key key;
        size_t bytes;

        rfc7714_key(&key, rows[i].profile);
        bytes = unhex(MARS GALLIA, clear, sizeof(clear));
        bytes = protect_one(engine, &key, 0xf17b, clear, 12, bytes, out);
        assert_hex(out, bytes, rows[i].wire);
        job = unprotect_job(&key, &stream, out, 12, bytes);
        srtp_unprotect_burst(engine, &job, 1);
        assert_int_equal(job.result, SRTP_OK);
        assert_int_equal(job.index, 0xf17b);
        assert_hex(out, job.bytes, MARS GALLIA);
    }
}

/* Packets of Chromium and its server: we decrypt them to the right bytes, and protecting these
 * gives the same packets again. */
static void packets_of_chromium(void **state)
{
    for (size_t f = 0; f < sizeof(chromium_flows) / sizeof(*chromium_flows); f++) {
        const struct chromium_flow *flow = &chromium_flows[f];
        struct srtp_stream streams[8] = {0};
        struct srtcp_window window = {0};
        uint32_t ssrcs[8] = {0};
        uint8_t master[44], clear[2048], wire[2048], out[2048];
        struct srtp_key key;

        assert_int_equal(unhex(flow->master, master, sizeof(master)), 44);
        assert_true(
            srtp_key_init(engine, &key, SRTP_PROFILE_aead_aes_256_gcm, master, master + 32));
        for (int i = flow->from; i < flow->from + flow->count; i++) {
            size_t clear_bytes = unhex(chromium_packets[i].clear, clear, sizeof(clear));
            size_t bytes = unhex(chromium_packets[i].wire, wire, sizeof(wire)), header, s = 0;
            struct srtp_unprotect_job job;

            memcpy(out, wire, bytes);
            if (chromium_packets[i].rtcp) {
                uint32_t index = srtp_load32(wire + bytes - 4) & SRTCP_INDEX_MAX;

                assert_int_equal(srtcp_unprotect(engine, &key, &window, out, &bytes), SRTP_OK);
                assert_int_equal(bytes, clear_bytes);
                assert_memory_equal(out, clear, bytes);
                assert_int_equal(srtcp_protect(engine, &key, index, out, &bytes), SRTP_OK);
                assert_hex(out, bytes, chromium_packets[i].wire);
                continue;
            }
            header = 12 + 4u * (wire[0] & 15);
            if (wire[0] & 16)
                header += 4 + 4u * (size_t)(wire[header + 2] << 8 | wire[header + 3]);
            while (ssrcs[s] != 0 && ssrcs[s] != srtp_load32(wire + 8))
                s++;
            ssrcs[s] = srtp_load32(wire + 8);
            job = unprotect_job(&key, &streams[s], out, header, bytes);
            srtp_unprotect_burst(engine, &job, 1);
            assert_int_equal(job.result, SRTP_OK);
            assert_int_equal(job.bytes, clear_bytes);
            assert_memory_equal(out, clear, clear_bytes);
            bytes = protect_one(engine, &key, job.index, clear, header, clear_bytes, out);
            assert_hex(out, bytes, chromium_packets[i].wire);
        }
    }
}

/* A packet in which one bit is inverted is not accepted, and the stream does not change. */
static void inverted_bit_is_never_accepted(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        uint8_t clear[100], wire[128], out[128];
        struct srtp_stream stream = {0}, before;
        struct srtp_unprotect_job job;
        struct test_key k;
        size_t bytes;

        test_key_make(engine, &k, profiles[p]);
        random_fill(clear, sizeof(clear));
        clear[0] = 0x80;
        bytes = protect_one(engine, &k.key, 7, clear, 12, sizeof(clear), wire);
        wire[2] = 0;
        wire[3] = 6;
        bytes = protect_one(engine, &k.key, 6, wire, 12, sizeof(clear), out);
        job = unprotect_job(&k.key, &stream, out, 12, bytes);
        srtp_unprotect_burst(engine, &job, 1);
        assert_int_equal(job.result, SRTP_OK);
        clear[2] = 0;
        clear[3] = 7;
        bytes = protect_one(engine, &k.key, 7, clear, 12, sizeof(clear), wire);
        before = stream;
        for (size_t at = 0; at < bytes; at++) {
            memcpy(out, wire, bytes);
            out[at] ^= (uint8_t)(1u << at % 8);
            job = unprotect_job(&k.key, &stream, out, 12, bytes);
            srtp_unprotect_burst(engine, &job, 1);
            assert_int_equal(job.result, SRTP_UNAUTHENTIC);
            assert_int_equal(job.bytes, bytes);
            assert_memory_equal(&stream, &before, sizeof(stream));
        }
        job = unprotect_job(&k.key, &stream, wire, 12, bytes);
        job.index = 99;
        srtp_unprotect_burst(engine, &job, 1);
        assert_int_equal(job.result, SRTP_OK);
        assert_int_equal(job.index, 7);
        assert_memory_equal(wire, clear, sizeof(clear));
    }
}

static uint8_t receive(const struct srtp_key *key, struct srtp_stream *stream, uint64_t index)
{
    uint8_t clear[40] = {0x80, 96, (uint8_t)(index >> 8), (uint8_t)index}, wire[64];
    size_t bytes = protect_one(engine, key, index, clear, 12, sizeof(clear), wire);
    struct srtp_unprotect_job job = unprotect_job(key, stream, wire, 12, bytes);

    srtp_unprotect_burst(engine, &job, 1);
    return job.result;
}

/* What becomes of a packet that is `back` packets older than the newest one, when it comes first
 * and when it comes again. A sequence number that is 40 000 back is taken for one of the next
 * roll-over counter, with which the packet is not authentic. */
static void replayed_and_old_packets_are_refused(void **state)
{
    static const struct {
        uint64_t back;
        uint8_t unseen, seen;
    } rows[] = {
        {0, SRTP_REPLAYED, SRTP_REPLAYED},     {1, SRTP_OK, SRTP_REPLAYED},
        {63, SRTP_OK, SRTP_REPLAYED},          {64, SRTP_OK, SRTP_REPLAYED},
        {1000, SRTP_OK, SRTP_REPLAYED},        {1023, SRTP_OK, SRTP_REPLAYED},
        {1024, SRTP_REPLAYED, SRTP_REPLAYED},  {1025, SRTP_REPLAYED, SRTP_REPLAYED},
        {32767, SRTP_REPLAYED, SRTP_REPLAYED}, {40000, SRTP_UNAUTHENTIC, SRTP_UNAUTHENTIC},
        {65536, SRTP_REPLAYED, SRTP_REPLAYED},
    };

    for (size_t p = 0; p < PROFILES; p++) {
        struct test_key k;

        test_key_make(engine, &k, profiles[p]);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
            uint64_t newest = 0x50000 + 41234, old = newest - rows[i].back;
            struct srtp_stream stream = {.started = true, .highest_index = newest - 2000};

            if (rows[i].back == 65536) /* it has the sequence number of the newest packet */
                assert_int_equal((uint16_t)old, (uint16_t)newest);
            assert_int_equal(receive(&k.key, &stream, newest), SRTP_OK);
            assert_int_equal(stream.highest_index, newest);
            assert_int_equal(receive(&k.key, &stream, old), rows[i].unseen);
            assert_int_equal(receive(&k.key, &stream, old), rows[i].seen);
            assert_int_equal(stream.highest_index, newest);
        }
    }
}

/* However far the window moves, it knows which packets were received. */
static void window_knows_received_packets_after_every_jump(void **state)
{
    for (unsigned jump = 1; jump < 2100; jump += 1 + jump / 40) {
        struct srtp_stream stream = {0};
        uint64_t base = 100000;

        for (uint64_t i = base; i < base + 2000; i += 3)
            srtp_window_move(&stream, i);
        srtp_window_move(&stream, base + 1998 + jump);
        for (uint64_t i = base; i < base + 1998 + jump; i++) {
            bool seen = (i - base) % 3 == 0 && i <= base + 1998;
            bool old = base + 1998 + jump - i >= SRTP_REPLAY_WINDOW;

            assert_int_equal(srtp_replayed(&stream, i), seen || old);
        }
        assert_true(srtp_replayed(&stream, base + 1998 + jump));
        assert_false(srtp_replayed(&stream, base + 1998 + jump + 1));
    }
}

/* RFC 3711 3.3.1: the index that is guessed from a sequence number. */
static void index_is_guessed_from_the_sequence_number(void **state)
{
    static const struct {
        bool started;
        uint64_t highest, sent;
        uint8_t result;
    } rows[] = {
        {false, 0, 0, SRTP_OK},
        {false, 0, 65535, SRTP_OK},
        {false, 0, 0x10005,
         SRTP_UNAUTHENTIC}, /* the beginning of the stream was lost, and the number has wrapped */
        {true, 65535, 0x10000, SRTP_OK},
        {true, 65000, 0x10100, SRTP_OK},
        {true, 0x10005, 0xfff0, SRTP_OK}, /* a late packet from before the wrap */
        {true, 0x10005, 0x1fff0, SRTP_UNAUTHENTIC},
        {true, 5, 40000, SRTP_OK}, /* there is no roll-over counter before 0 */
        {true, 0x17fff, 0x1ffff, SRTP_OK},
        {true, 0x18000, 0x1ffff, SRTP_OK},
        {true, 0x18000, 0x20000, SRTP_REPLAYED}, /* 32768 ahead counts as an old packet */
        {true, 0x18001, 0x20000, SRTP_OK},
        {true, SRTP_INDEX_MAX - 1, SRTP_INDEX_MAX, SRTP_OK},
        {true, SRTP_INDEX_MAX, 3, SRTP_KEY_LIMIT},
        {true, 0xffffffff0000, 0xffffffff0001, SRTP_OK},
    };

    for (size_t p = 0; p < PROFILES; p++) {
        struct test_key k;

        test_key_make(engine, &k, profiles[p]);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
            struct srtp_stream stream = {.started = rows[i].started,
                                         .highest_index = rows[i].highest};
            uint64_t highest = rows[i].result == SRTP_OK && rows[i].sent > rows[i].highest
                                   ? rows[i].sent
                                   : rows[i].highest;

            if (receive(&k.key, &stream, rows[i].sent) != rows[i].result)
                fail_msg("profile %zu row %zu", p, i);
            assert_int_equal(stream.highest_index, highest);
        }
    }
}

/* Many packets of one stream in one burst: repeated packets are refused, the sequence number may
 * wrap, forged packets change nothing, and the stream may begin in this burst. */
static void many_packets_of_one_stream_in_one_burst(void **state)
{
    for (size_t round = 0; round < 2 * PROFILES; round++) {
        uint64_t base = round < PROFILES ? 65536 - 101 : 65536 - 5; /* wraps later or soon */
        size_t p = round % PROFILES;
        static uint8_t wire[SRTP_BURST][128], apart[SRTP_BURST][128];
        struct srtp_unprotect_job jobs[SRTP_BURST];
        struct srtp_stream stream = {0};
        struct test_key k;

        test_key_make(engine, &k, profiles[p]);
        for (size_t i = 0; i < SRTP_BURST; i++) {
            uint64_t index = base + i / 2; /* each packet twice */
            uint8_t clear[60] = {0x80, 96, (uint8_t)(index >> 8), (uint8_t)index};
            size_t bytes = protect_one(engine, &k.key, index, clear, 12, 20 + i % 40, wire[i]);

            if (i % 16 == 4)
                wire[i][bytes - 1] ^= 1;
            jobs[i] = unprotect_job(&k.key, &stream, wire[i], 12, bytes);
            memset(apart[i], 0xee, sizeof(apart[i]));
            if (i % 4 >= 2) /* in place, and to other memory */
                jobs[i].out = apart[i];
        }
        srtp_unprotect_burst(engine, jobs, SRTP_BURST);
        for (size_t i = 0; i < SRTP_BURST; i++) {
            uint8_t want = i % 2 == 0 || i % 16 == 5 ? SRTP_OK : SRTP_REPLAYED;

            if (i % 16 == 4)
                want = SRTP_UNAUTHENTIC;
            if (jobs[i].result != want)
                fail_msg("profile %zu packet %zu: %d", p, i, jobs[i].result);
            if (want == SRTP_OK) {
                assert_int_equal(jobs[i].index, base + i / 2);
                assert_int_equal(jobs[i].bytes, 20 + i % 40);
                const uint8_t *clear = jobs[i].out ? jobs[i].out : wire[i];

                assert_int_equal(clear[1], 96);
                assert_int_equal(clear[3], (uint8_t)(base + i / 2));
                for (size_t at = 12; at < jobs[i].bytes; at++)
                    assert_int_equal(clear[at], 0);
                if (jobs[i].out) /* nothing is written behind the decrypted packet */
                    assert_int_equal(apart[i][jobs[i].bytes], 0xee);
            }
        }
        assert_int_equal(stream.highest_index, base + SRTP_BURST / 2 - 1);
    }
}

/* A burst gives the same bytes as its packets one by one, and nothing is written or read outside of
 * a packet. The packets lie one behind the other; the last one and the payload end at an
 * inaccessible page. */
static void burst_gives_the_same_as_single_packets(void **state)
{
    static const size_t sizes[] = {1, 2, 7, 8, 11, 12, 13, 16, 17, 31, 50, 63, 64, 65, 200, 256};
    static struct test_key keys[PROFILES][SRTP_BURST];
    static uint8_t one[2048];

    for (size_t p = 0; p < PROFILES; p++)
        for (size_t i = 0; i < SRTP_BURST; i++)
            test_key_make(engine, &keys[p][i], profiles[p]);
    for (size_t p = 0; p < PROFILES + 1; p++) { /* the last round mixes the profiles */
        for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
            struct srtp_protect_job jobs[SRTP_BURST];
            uint8_t headers[SRTP_BURST][160];
            size_t total = 0, mapped, payload_mapped, payload_room = random_below(1300);
            uint8_t *payload = guarded_new(payload_room, &payload_mapped), *slots;

            random_fill(payload, payload_room);
            for (size_t i = 0; i < sizes[s]; i++) {
                const struct test_key *k = &keys[p < PROFILES ? p : random_below(3)][i];
                size_t bytes = random_below(4) == 0 ? random_below(payload_room + 1) : payload_room;
                uint32_t ssrc = (uint32_t)random64();
                uint64_t index = random64() & SRTP_INDEX_MAX;

                jobs[i] = (struct srtp_protect_job){
                    .key = &k->key,
                    .payload = payload + payload_room - bytes,
                    .index = index,
                    .ssrc = ssrc,
                    .header_bytes = (uint16_t)random_header(headers[i], ssrc, (uint16_t)index),
                    .payload_bytes = (uint16_t)bytes,
                };
                total += jobs[i].header_bytes + bytes + srtp_tag_bytes(k->profile);
            }
            slots = guarded_new(total, &mapped);
            for (size_t i = 0, at = 0; i < sizes[s]; i++) {
                jobs[i].out = slots + at;
                memcpy(slots + at, headers[i], jobs[i].header_bytes);
                at += jobs[i].header_bytes + (size_t)jobs[i].payload_bytes +
                      srtp_tag_bytes(srtp_inside(jobs[i].key)->profile);
            }
            srtp_protect_burst(engine, jobs, sizes[s]);
            for (size_t i = 0; i < sizes[s]; i++) {
                struct srtp_protect_job single = jobs[i];

                single.out = one;
                memcpy(one, headers[i], jobs[i].header_bytes);
                srtp_protect_burst(engine, &single, 1);
                assert_memory_equal(one, jobs[i].out,
                                    jobs[i].header_bytes + (size_t)jobs[i].payload_bytes +
                                        srtp_tag_bytes(srtp_inside(jobs[i].key)->profile));
            }
            guarded_delete(slots, mapped);
            guarded_delete(payload, payload_mapped);
        }
    }
}

/* Packets of all sizes up to a few blocks: nothing outside them is written. */
static void nothing_outside_the_packet_is_written(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        struct test_key k;

        test_key_make(engine, &k, profiles[p]);
        for (size_t bytes = 0; bytes < 300; bytes++) {
            uint8_t clear[12 + 300] = {0x80}, area[512], guard[512];
            size_t tag = srtp_tag_bytes(profiles[p]);
            struct srtp_stream stream = {0};
            struct srtp_unprotect_job job;

            random_fill(clear + 12, bytes);
            memset(area, 0xa5, sizeof(area));
            memset(guard, 0xa5, sizeof(guard));
            protect_one(engine, &k.key, 0, clear, 12, 12 + bytes, area + 64);
            assert_memory_equal(area, guard, 64);
            assert_memory_equal(area + 64 + 12 + bytes + tag, guard,
                                sizeof(area) - 64 - 12 - bytes - tag);
            job = unprotect_job(&k.key, &stream, area + 64, 12, 12 + bytes + tag);
            srtp_unprotect_burst(engine, &job, 1);
            assert_int_equal(job.result, SRTP_OK);
            assert_memory_equal(area, guard, 64);
            assert_memory_equal(area + 64, clear, 12 + bytes);
            assert_memory_equal(area + 64 + 12 + bytes + tag, guard,
                                sizeof(area) - 64 - 12 - bytes - tag);
        }
    }
}

/* Other machines use other managers of intel-ipsec-mb and share the hashing between them in other
 * ways. All that this CPU can run must make the same packets. */
static void all_managers_make_the_same_packets(void **state)
{
    static const struct {
        uint64_t features;
        init_mb_mgr_t wide;
        size_t lanes, hash_min;
    } rows[] = {
        {IMB_CPUFLAGS_SSE, init_mb_mgr_sse, 1, 0},
        {IMB_CPUFLAGS_AVX, init_mb_mgr_avx, 1, 0},
        {IMB_CPUFLAGS_AVX2, init_mb_mgr_avx2, 1, 0},
        {IMB_CPUFLAGS_AVX2, init_mb_mgr_avx2, SIZE_MAX, SIZE_MAX},
        {IMB_CPUFLAGS_AVX2, init_mb_mgr_avx2, 8, 6},
        {IMB_CPUFLAGS_AVX512, init_mb_mgr_avx512, 1, 0},
        {IMB_CPUFLAGS_AVX512, init_mb_mgr_avx512, SIZE_MAX, SIZE_MAX},
        {IMB_CPUFLAGS_AVX512, init_mb_mgr_avx512, 16, 12},
    };
    static uint8_t ours[40][1400], theirs[40][1400], payload[1200];

    random_fill(payload, sizeof(payload));
    for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
        struct srtp_engine *other;

        if ((imb_get_feature_flags() & rows[r].features) != rows[r].features)
            continue;
        other = srtp_engine_new();
        assert_non_null(other);
        rows[r].wide(other->wide);
        other->wide_lanes = rows[r].lanes;
        other->wide_hash_min = rows[r].hash_min;
        for (size_t i = 0; i < 40 * PROFILES; i++) {
            size_t burst = 1 + i / PROFILES;
            struct srtp_protect_job jobs[40];
            struct test_key k;
            struct srtp_key key;

            test_key_make(engine, &k, profiles[i % PROFILES]);
            assert_true(srtp_key_init(other, &key, k.profile, k.master, k.master + k.key_bytes));
            for (size_t j = 0; j < burst; j++) {
                memset(ours[j], 0x80, 12);
                memset(theirs[j], 0x80, 12);
                jobs[j] = (struct srtp_protect_job){
                    .key = &k.key,
                    .out = ours[j],
                    .payload = payload,
                    .index = i + j,
                    .ssrc = 0x80808080,
                    .header_bytes = 12,
                    .payload_bytes = (uint16_t)random_below(sizeof(payload) + 1),
                };
            }
            srtp_protect_burst(engine, jobs, burst);
            for (size_t j = 0; j < burst; j++) {
                jobs[j].key = &key;
                jobs[j].out = theirs[j];
            }
            srtp_protect_burst(other, jobs, burst);
            for (size_t j = 0; j < burst; j++)
                assert_memory_equal(ours[j], theirs[j],
                                    12u + jobs[j].payload_bytes + srtp_tag_bytes(k.profile));
        }
        srtp_engine_delete(other);
    }
}

/* Impossible lengths. */
static void impossible_lengths_are_refused(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        size_t tag = srtp_tag_bytes(profiles[p]);
        struct srtp_stream stream = {0};
        uint8_t packet[64] = {0x80};
        struct test_key k;
        const struct {
            size_t header_bytes, bytes;
            uint8_t result;
        } rows[] = {
            {12, 12 + tag - 1, SRTP_MALFORMED},
            {12, 12 + tag, SRTP_UNAUTHENTIC},
            {12, 0, SRTP_MALFORMED},
            {11, 60, SRTP_MALFORMED},
            {0, 60, SRTP_MALFORMED},
            {60, 60, SRTP_MALFORMED},
            {65535, 60, SRTP_MALFORMED},
            {16, 16 + tag - 1, SRTP_MALFORMED},
        };

        test_key_make(engine, &k, profiles[p]);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
            struct srtp_unprotect_job job =
                unprotect_job(&k.key, &stream, packet, rows[i].header_bytes, rows[i].bytes);

            srtp_unprotect_burst(engine, &job, 1);
            assert_int_equal(job.result, rows[i].result);
            assert_int_equal(job.bytes, rows[i].bytes);
            assert_false(stream.started);
        }
    }
}

static void keys_have_the_sizes_of_their_profile(void **state)
{
    static const uint8_t zeros[sizeof(struct srtp_key)];
    static const struct {
        enum srtp_profile profile;
        size_t key_bytes, salt_bytes, tag_bytes;
    } rows[] = {
        {SRTP_PROFILE_aes128_cm_sha1_80, 16, 14, 10},
        {SRTP_PROFILE_aead_aes_128_gcm, 16, 12, 16},
        {SRTP_PROFILE_aead_aes_256_gcm, 32, 12, 16},
    };
    uint8_t master[46] = {0};
    struct srtp_key key;
    size_t k, s;

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        srtp_profile_sizes(rows[i].profile, &k, &s);
        assert_int_equal(k, rows[i].key_bytes);
        assert_int_equal(s, rows[i].salt_bytes);
        assert_int_equal(srtp_tag_bytes(rows[i].profile), rows[i].tag_bytes);
        assert_true(srtp_key_init(engine, &key, rows[i].profile, master, master + k));
        assert_memory_not_equal(&key, zeros, sizeof(key));
        srtp_key_wipe(&key);
        assert_memory_equal(&key, zeros, sizeof(key));
    }
    assert_false(srtp_key_init(engine, &key, SRTP_PROFILE_none, master, master));
    assert_false(srtp_key_init(engine, &key, (enum srtp_profile)2, master, master));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keystream_of_rfc3711_b2),
        cmocka_unit_test(key_derivation_of_rfc3711_b3),
        cmocka_unit_test(vectors_of_rfc7714_16),
        cmocka_unit_test(packets_of_chromium),
        cmocka_unit_test(inverted_bit_is_never_accepted),
        cmocka_unit_test(replayed_and_old_packets_are_refused),
        cmocka_unit_test(window_knows_received_packets_after_every_jump),
        cmocka_unit_test(index_is_guessed_from_the_sequence_number),
        cmocka_unit_test(many_packets_of_one_stream_in_one_burst),
        cmocka_unit_test(burst_gives_the_same_as_single_packets),
        cmocka_unit_test(nothing_outside_the_packet_is_written),
        cmocka_unit_test(all_managers_make_the_same_packets),
        cmocka_unit_test(impossible_lengths_are_refused),
        cmocka_unit_test(keys_have_the_sizes_of_their_profile),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
