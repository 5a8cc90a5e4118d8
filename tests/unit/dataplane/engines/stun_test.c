/* STUN: vectors of RFC 5769, requests of a browser, truth tables, comparison with libnice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/engines/stun.c"
#include "src/clock.h"
#include "stun_build.h"
#include "stun_nice.h"
#include "stun_vectors.h"

#define PASSWORD "eqlr2bq7myh14dxblglkmpqgrdojbyt0"

static size_t from_hex(uint8_t *out, const char *hex)
{
    size_t bytes = strlen(hex) / 2;

    for (size_t i = 0; i < bytes; i++) {
        unsigned byte;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return bytes;
}

static struct path path_ipv4(uint32_t ip, uint16_t port)
{
    struct path path = {.remote_port = port, .local_port = 40000};

    memset(path.remote_ip + 10, 0xff, 2);
    write32(path.remote_ip + 12, ip);
    memset(path.local_ip + 10, 0xff, 2);
    write32(path.local_ip + 12, 0x7f000001);
    return path;
}

/* Parses and authenticates a copy in memory that ends where the datagram ends, so that a sanitizer
 * notices when something behind it is read. */
static enum stun_result parse_and_authenticate(const uint8_t *data, size_t bytes,
                                               const char *password, struct stun_request *request)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    enum stun_result result;

    memcpy(exact, data, bytes);
    result = stun_parse(exact, bytes, request);
    if (result == STUN_OK && password)
        result = stun_authenticate(exact, bytes, request, password);
    free(exact);
    return result;
}

/* ---- vectors ---- */

static void rfc5769_request_is_accepted(void **state)
{
    static const uint8_t transaction[] = {0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34,
                                          0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae};
    struct stun_request r;
    uint8_t data[256];
    size_t bytes = from_hex(data, rfc5769_request);

    assert_int_equal(stun_parse(data, bytes, &r), STUN_OK);
    assert_int_equal(stun_authenticate(data, bytes, &r, RFC5769_PASSWORD), STUN_OK);
    assert_memory_equal(r.transaction, transaction, 12);
    assert_int_equal(r.local_ufrag_bytes, 4);
    assert_memory_equal(r.local_ufrag, "evtj", 4);
    assert_int_equal(r.remote_ufrag_bytes, 4);
    assert_memory_equal(r.remote_ufrag, "h6vY", 4);
    assert_true(r.controlled && !r.controlling && !r.use_candidate && r.has_priority);
    assert_int_equal(r.priority, 0x6e0001ff);
    assert_true(r.tie_breaker == 0x932ff9b151263b36ull);
    assert_false(r.has_unknown_required);
    assert_int_equal(stun_authenticate(data, bytes, &r, "VOkJxbRl1RmTxUk/WvJxBT"),
                     STUN_UNAUTHENTIC);
    assert_int_equal(stun_authenticate(data, bytes, &r, ""), STUN_UNAUTHENTIC);
}

/* Compares with the definition of CRC-32, bit by bit, for messages of all lengths. */
static void crc_follows_its_definition(void **state)
{
    uint8_t data[150];

    assert_int_equal(crc32_of((const uint8_t *)"123456789", 9), 0xcbf43926);
    for (size_t bytes = 0; bytes < sizeof(data); bytes++) {
        uint32_t crc = 0xffffffff;

        for (size_t i = 0; i < bytes; i++) {
            data[i] = (uint8_t)(i * bytes * 167 + 13);
            crc ^= data[i];
            for (unsigned bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
        assert_int_equal(crc32_of(data, bytes), (uint32_t)~crc);
    }
}

/* The vectors contain SOFTWARE and our responses do not, so the test compares MESSAGE-INTEGRITY,
 * FINGERPRINT and the mapped address one by one. */
static void rfc5769_responses_are_computed_alike(void **state)
{
    static const uint8_t ipv6[16] = {0x20, 0x01, 0x0d, 0xb8, 0x12, 0x34, 0x56, 0x78,
                                     0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77};
    static const char *const vectors[] = {rfc5769_response_ipv4, rfc5769_response_ipv6};

    for (unsigned i = 0; i < 2; i++) {
        uint8_t data[256], out[STUN_RESPONSE_BYTES_MAX], tag[20];
        size_t bytes = from_hex(data, vectors[i]), address_bytes = i ? 24 : 12;
        struct path path = path_ipv4(0xc0000201, 32853);
        struct stun_request request = {0};

        integrity_of(data, bytes - 32, RFC5769_PASSWORD, tag);
        assert_memory_equal(tag, data + bytes - 28, 20);
        assert_int_equal(crc32_of(data, bytes - 8) ^ FINGERPRINT_XOR, read32(data + bytes - 4));
        memcpy(request.transaction, data + 8, 12);
        if (i)
            memcpy(path.remote_ip, ipv6, 16);
        assert_int_equal(stun_build_success(out, &request, &path, RFC5769_PASSWORD),
                         20 + address_bytes + 24 + 8);
        assert_memory_equal(out + 20, data + 36, address_bytes);
    }
}

static void requests_of_chromium_are_answered_like_mediasoup(void **state)
{
    for (size_t i = 0; i < sizeof(chromium) / sizeof(chromium[0]); i++) {
        uint8_t data[256], theirs[256], ours[STUN_RESPONSE_BYTES_MAX];
        size_t bytes = from_hex(data, chromium[i].request);
        size_t theirs_bytes = from_hex(theirs, chromium[i].response);
        struct path path = path_ipv4(0x7f000001, chromium[i].port);
        struct stun_request r;

        assert_int_equal(parse_and_authenticate(data, bytes, NULL, &r), STUN_OK);
        assert_int_equal(stun_parse(data, bytes, &r), STUN_OK);
        assert_int_equal(r.local_ufrag_bytes, 32);
        assert_int_equal(r.remote_ufrag_bytes, 4);
        assert_true(r.controlling && !r.controlled && r.has_priority);
        assert_int_equal(r.use_candidate, i % 2); /* only in the second check */
        assert_int_equal(r.priority, 0x6e7f1eff);
        assert_false(r.has_unknown_required); /* network-cost 0xC057 may be ignored */
        /* The FINGERPRINT is right; the password is not the one that Chromium used. */
        assert_int_equal(crc32_of(data, bytes - 8) ^ FINGERPRINT_XOR, read32(data + bytes - 4));
        assert_int_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), STUN_UNAUTHENTIC);
        sign(data, bytes, PASSWORD);
        assert_int_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), STUN_OK);
        /* With the same password, our response has the same bytes as that of mediasoup. */
        sign(theirs, theirs_bytes, PASSWORD);
        assert_int_equal(stun_build_success(ours, &r, &path, PASSWORD), theirs_bytes);
        assert_memory_equal(ours, theirs, theirs_bytes);
    }
}

/* ---- structure ---- */

static const struct {
    const char *letters;
    enum stun_result result;
    const char *unknown; /* two bytes each */
} structures[] = {
    {"UPCMF", STUN_OK},
    {"PCUMF", STUN_OK},
    {"UPCNMF", STUN_OK},
    {"UPDMF", STUN_OK},
    {"UMF", STUN_OK},
    {"jPCMF", STUN_OK},
    {"UoPCMF", STUN_OK},
    {"wUPCeMF", STUN_OK},
    {"UPCMSF", STUN_OK},
    {"UPCMsF", STUN_OK},
    {"UVPCMF", STUN_OK},
    {"UPpCMF", STUN_OK},
    {"UPCCMF", STUN_OK},
    {"UPCNNMF", STUN_OK},
    /* Attributes that make no sense in a request are ignored. Unknown ones that must be understood
     * are listed, at most four. */
    {"rnmEkXUPCMF", STUN_OK},
    {"UPCxMF", STUN_OK, "\x7f\xff"},
    {"xxUPCMF", STUN_OK, "\x7f\xff"},
    {"xyUPCMF", STUN_OK, "\x7f\xff\0\3"},
    {"xyzABUPCMF", STUN_OK, "\x7f\xff\0\3\0\0\0\x1d"},
    /* Something is missing. */
    {"", STUN_MALFORMED},
    {"PCMF", STUN_MALFORMED},
    {"UPCF", STUN_MALFORMED},
    {"UPCM", STUN_MALFORMED},
    {"UPC", STUN_MALFORMED},
    {"MF", STUN_MALFORMED},
    {"UPCSF", STUN_MALFORMED},
    /* Wrong order: gate G1, RFC 8489 14.5 to 14.7. */
    {"UPCFM", STUN_MALFORMED},
    {"UPCMFo", STUN_MALFORMED},
    {"UPCMoF", STUN_MALFORMED},
    {"UPCMPF", STUN_MALFORMED},
    {"PCMUF", STUN_MALFORMED},
    {"UPCMNF", STUN_MALFORMED},
    {"UPCMxF", STUN_MALFORMED},
    {"UPCMMF", STUN_MALFORMED},
    {"UPCMFF", STUN_MALFORMED},
    {"UPCMFM", STUN_MALFORMED},
    {"FUPCMF", STUN_MALFORMED},
    {"UPCSMF", STUN_MALFORMED},
    {"UPCMSSF", STUN_MALFORMED},
    {"UPCMSMF", STUN_MALFORMED},
    {"UPCMSNF", STUN_MALFORMED},
    {"UPCMFS", STUN_MALFORMED},
    {"UPCMwF", STUN_MALFORMED},
    {"UPCMSoF", STUN_MALFORMED},
    {"UPCDMF", STUN_MALFORMED}, /* both roles */
    /* Wrong lengths. */
    {"U1CMF", STUN_MALFORMED},
    {"U2CMF", STUN_MALFORMED},
    {"UP3MF", STUN_MALFORMED},
    {"UP4MF", STUN_MALFORMED},
    {"UPC5MF", STUN_MALFORMED},
    {"UPC6F", STUN_MALFORMED},
    {"UPC7F", STUN_MALFORMED},
    {"UPCM8", STUN_MALFORMED},
    {"UPCM9F", STUN_MALFORMED},
    {"UPCM0F", STUN_MALFORMED},
    {"UPCMq", STUN_MALFORMED},
    {"UPCMtF", STUN_MALFORMED},
    /* USERNAME is not two username fragments with a colon between them. */
    {"aPCMF", STUN_MALFORMED},
    {"bPCMF", STUN_MALFORMED},
    {"cPCMF", STUN_MALFORMED},
    {"dPCMF", STUN_MALFORMED},
    {"fPCMF", STUN_MALFORMED},
    {"gPCMF", STUN_MALFORMED},
    {"hPCMF", STUN_MALFORMED},
    {"iPCMF", STUN_MALFORMED},
    {"lPCMF", STUN_MALFORMED},
};
#define STRUCTURES (sizeof(structures) / sizeof(structures[0]))

static void structure_of_requests_is_checked(void **state)
{
    for (size_t i = 0; i < STRUCTURES; i++) {
        uint8_t data[1500];
        size_t bytes = message_build(data, structures[i].letters, PASSWORD);
        struct stun_request r;
        enum stun_result result = parse_and_authenticate(data, bytes, PASSWORD, &r);

        if (result != structures[i].result)
            fail_msg("%s: result %d, not %d", structures[i].letters, result, structures[i].result);
        if (result != STUN_OK)
            continue;
        assert_int_equal(r.has_unknown_required, structures[i].unknown != NULL);
        assert_int_equal(r.has_unknown_required, r.unknown_count > 0);
        for (unsigned u = 0; u < r.unknown_count; u++)
            assert_int_equal(r.unknown[u], read16((const uint8_t *)structures[i].unknown + 2 * u));
        stun_parse(data, bytes, &r);
        assert_memory_equal(r.local_ufrag, structures[i].letters[0] == 'j' ? "a" : "ours",
                            r.local_ufrag_bytes);
        assert_int_equal(r.has_priority, strchr(structures[i].letters, 'P') != NULL);
        if (r.has_priority)
            assert_int_equal(r.priority, 0x6e7f1eff); /* of the first of two attributes */
        assert_int_equal(r.use_candidate, strchr(structures[i].letters, 'N') != NULL);
        assert_int_equal(r.controlling, strchr(structures[i].letters, 'C') != NULL);
        assert_int_equal(r.controlled, strchr(structures[i].letters, 'D') != NULL);
    }
}

static void header_of_requests_is_checked(void **state)
{
    static const struct {
        uint8_t at, value;
        enum stun_result result;
    } table[] = {
        {0, 0x80, STUN_MALFORMED},   {0, 0x40, STUN_MALFORMED},   {0, 0xc0, STUN_MALFORMED},
        {0, 0x01, STUN_NOT_REQUEST}, {1, 0x11, STUN_NOT_REQUEST}, {1, 0x03, STUN_NOT_REQUEST},
        {1, 0x00, STUN_NOT_REQUEST}, {0, 0x3e, STUN_NOT_REQUEST}, {2, 0x01, STUN_MALFORMED},
        {3, 0x00, STUN_MALFORMED},   {3, 0x41, STUN_MALFORMED},   {4, 0x22, STUN_MALFORMED},
        {5, 0x13, STUN_MALFORMED},   {6, 0xa5, STUN_MALFORMED},   {7, 0x43, STUN_MALFORMED},
    };
    uint8_t data[1600];
    struct stun_request r;
    size_t bytes = message_build(data, "UPCMF", PASSWORD);

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint8_t saved = data[table[i].at];

        data[table[i].at] = table[i].value;
        assert_int_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), table[i].result);
        data[table[i].at] = saved;
    }
    for (size_t part = 0; part < bytes; part++)
        assert_int_equal(parse_and_authenticate(data, part, PASSWORD, &r), STUN_MALFORMED);
    memset(data + bytes, 0, 4);
    for (size_t more = bytes + 1; more <= bytes + 4; more++)
        assert_int_equal(parse_and_authenticate(data, more, PASSWORD, &r), STUN_MALFORMED);
    /* The last attribute says that it ends behind the end of the datagram. */
    for (unsigned length = 5; length <= 0xffff; length += length < 64 ? 1 : 997) {
        bytes = message_build(data, "UPCMF", PASSWORD);
        write16(data + bytes - 6, length);
        assert_int_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), STUN_MALFORMED);
    }
    /* A USERNAME is valid up to the end of the datagram, but says that it is longer. */
    bytes = message_build(data, "U", PASSWORD);
    memset(data + 24, 'u', bytes - 24);
    write16(data + 22, 400);
    assert_int_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), STUN_MALFORMED);
    /* The datagram is longer than any that we accept. */
    memset(data, 0, sizeof(data));
    bytes = message_build(data, "U", PASSWORD);
    write16(data + bytes, 0xc000);
    write16(data + bytes + 2, (uint32_t)(1504 - bytes - 4));
    write16(data + 2, 1504 - 20);
    assert_int_equal(parse_and_authenticate(data, 1504, PASSWORD, &r), STUN_MALFORMED);
}

static void username_may_have_any_length_up_to_the_limit(void **state)
{
    for (unsigned ours = 0; ours <= 260; ours += ours < 250 ? 25 : 1) {
        for (unsigned theirs = 0; theirs <= 260; theirs += theirs < 250 ? 25 : 1) {
            uint8_t data[1500];
            size_t username_bytes = ours + 1 + theirs, at = 20 + 4 + padded(username_bytes);
            struct stun_request r;
            bool fits = ours >= 1 && ours <= 255 && theirs >= 1 && theirs <= 255;

            message_build(data, "", PASSWORD);
            write16(data + 20, 0x0006);
            write16(data + 22, (uint32_t)username_bytes);
            memset(data + 24, 'u', padded(username_bytes));
            data[24 + ours] = ':';
            at = letter_write(data, at, 'M');
            at = letter_write(data, at, 'F');
            write16(data + 2, (uint32_t)at - 20);
            sign(data, at, PASSWORD);
            assert_int_equal(parse_and_authenticate(data, at, PASSWORD, &r),
                             fits ? STUN_OK : STUN_MALFORMED);
            if (fits) {
                assert_int_equal(r.local_ufrag_bytes, ours);
                assert_int_equal(r.remote_ufrag_bytes, theirs);
            }
        }
    }
}

/* A request in which any one bit is inverted is not accepted. */
static void inverted_bit_is_never_accepted(void **state)
{
    uint8_t data[1500];
    struct stun_request r;
    size_t bytes = message_build(data, "wUPCNMF", PASSWORD);

    assert_int_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), STUN_OK);
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), STUN_OK);
        /* Nor with the right FINGERPRINT, which needs no password. */
        write32(data + bytes - 4, crc32_of(data, bytes - 8) ^ FINGERPRINT_XOR);
        if (bit / 8 < bytes - 8)
            assert_int_not_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), STUN_OK);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write32(data + bytes - 4, crc32_of(data, bytes - 8) ^ FINGERPRINT_XOR);
    }
    assert_int_equal(parse_and_authenticate(data, bytes, PASSWORD, &r), STUN_OK);
}

/* A struct that was parsed from another datagram, or never parsed, does not make it read out of
 * bounds. */
static void offsets_outside_the_datagram_are_refused(void **state)
{
    static const struct {
        uint16_t integrity_at, fingerprint_at;
    } table[] = {{0, 0},         {0, 60},  {20, 43}, {20, 65535},
                 {65535, 65535}, {60, 60}, {19, 60}, {20, 97}};
    uint8_t data[1500];
    size_t bytes = message_build(data, "UPCMF", PASSWORD);

    assert_int_equal(bytes, 20 + 16 + 8 + 12 + 24 + 8);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct stun_request r = {.integrity_at = table[i].integrity_at,
                                 .fingerprint_at = table[i].fingerprint_at};

        assert_int_equal(stun_authenticate(data, bytes, &r, PASSWORD), STUN_MALFORMED);
    }
}

/* RFC 2104 hashes passwords first that are longer than a block of SHA-1. */
static void password_may_have_any_length(void **state)
{
    char password[140];

    for (size_t length = 1; length < sizeof(password); length++) {
        uint8_t data[1500];
        struct stun_request r;
        size_t bytes;

        memset(password, 'p', length);
        password[length] = 0;
        bytes = message_build(data, "UPCNMF", password);
        assert_int_equal(parse_and_authenticate(data, bytes, password, &r), STUN_OK);
        assert_true(nice_accepts(data, bytes, password));
        password[length - 1] ^= 1;
        assert_int_equal(parse_and_authenticate(data, bytes, password, &r), STUN_UNAUTHENTIC);
    }
}

/* ---- responses ---- */

/* Threat D2: a response is never longer than its request. */
static void responses_are_not_longer_than_requests(void **state)
{
    struct path paths[2] = {path_ipv4(0xc0000201, 1), {.remote_ip = {0x20, 1}, .remote_port = 2}};

    for (size_t i = 0; i < STRUCTURES; i++) {
        uint8_t data[1500], out[STUN_RESPONSE_BYTES_MAX + 1];
        size_t bytes = message_build(data, structures[i].letters, PASSWORD);
        struct stun_request r;

        if (stun_parse(data, bytes, &r) != STUN_OK || !r.has_priority)
            continue;
        out[STUN_RESPONSE_BYTES_MAX] = 0x5a;
        if (r.has_unknown_required)
            assert_in_range(stun_build_error(out, &r, 420, PASSWORD), 60, bytes);
        assert_in_range(stun_build_error(out, &r, 487, PASSWORD), 60, bytes);
        assert_in_range(stun_build_error(out, &r, 400, PASSWORD), 60, bytes);
        for (unsigned p = 0; p < 2; p++)
            assert_in_range(stun_build_success(out, &r, &paths[p], PASSWORD), 60, bytes);
        assert_int_equal(out[STUN_RESPONSE_BYTES_MAX], 0x5a);
    }
}

static void libnice_accepts_our_responses(void **state)
{
    for (unsigned i = 0; i < 200; i++) {
        struct path path = path_ipv4(0xc0000200 + i, (uint16_t)(1 + i * 327));
        uint8_t data[512], out[STUN_RESPONSE_BYTES_MAX];
        struct nice_check check;
        struct stun_request r;
        size_t bytes, answer;

        if (i % 2)
            for (unsigned b = 0; b < 16; b++)
                path.remote_ip[b] = (uint8_t)(0x20 + b * i);
        bytes = nice_check_make(&check, data, sizeof(data), "ours", "them", PASSWORD, i % 3 == 0,
                                i % 5 != 0, 1000 + i, 0x1122334455667788ull + i);
        assert_int_equal(stun_parse(data, bytes, &r), STUN_OK);
        assert_int_equal(stun_authenticate(data, bytes, &r, PASSWORD), STUN_OK);
        assert_memory_equal(r.local_ufrag, "ours", 4);
        assert_memory_equal(r.remote_ufrag, "them", 4);
        assert_int_equal(r.use_candidate, i % 3 == 0);
        assert_int_equal(r.controlling, i % 5 != 0);
        assert_int_equal(r.controlled, i % 5 == 0);
        assert_int_equal(r.priority, 1000 + i);
        assert_true(r.tie_breaker == 0x1122334455667788ull + i);
        switch (i % 7) {
        case 0:
            answer = stun_build_error(out, &r, 487, PASSWORD);
            assert_int_equal(nice_check_result(&check, out, answer, &path), 487);
            break;
        case 1:
            answer = stun_build_error(out, &r, 400, PASSWORD);
            assert_int_equal(nice_check_result(&check, out, answer, &path), 400);
            break;
        case 2:
            r.unknown_count = (uint8_t)(1 + i % 4);
            answer = stun_build_error(out, &r, 420, PASSWORD);
            assert_int_equal(nice_check_result(&check, out, answer, &path), 420);
            break;
        case 3: /* one bit is inverted: libnice does not accept it */
            answer = stun_build_success(out, &r, &path, PASSWORD);
            out[26 + i % 4] ^= 1;
            assert_int_equal(nice_check_result(&check, out, answer, &path), -1);
            break;
        default:
            answer = stun_build_success(out, &r, &path, PASSWORD);
            assert_int_equal(nice_check_result(&check, out, answer, &path), 0);
        }
    }
}

/* Random sequences of attributes, with the right MESSAGE-INTEGRITY: libnice accepts all that we
 * accept. (It accepts more.) */
static void libnice_accepts_requests_that_we_accept(void **state)
{
    static const char letters[] = "UVPpCDNMFSsoweyxrnmEkX123456789abcdgjMFMFUPCUPCUPCMFMF";
    uint64_t random = 0x9e3779b97f4a7c15ull;
    unsigned taken = 0;

    for (unsigned i = 0; i < 60000; i++) {
        char text[12];
        uint8_t data[1500];
        size_t bytes, n = 0;
        struct stun_request r;

        random = random * 6364136223846793005ull + 1442695040888963407ull;
        if (i % 2) {
            memcpy(text, "UPC", 3);
            n = 3;
        }
        for (uint64_t bits = random >> 8; n < 3 + (random >> 4) % 6; bits /= sizeof(letters) - 1)
            text[n++] = letters[bits % (sizeof(letters) - 1)];
        if (i % 4) {
            memcpy(text + n, "MF", 2);
            n += 2;
        }
        text[n] = 0;
        bytes = message_build(data, text, PASSWORD);
        if (parse_and_authenticate(data, bytes, PASSWORD, &r) != STUN_OK)
            continue;
        taken++;
        if (nice_accepts(data, bytes, PASSWORD) == r.has_unknown_required)
            fail_msg("%s: libnice does not agree", text);
    }
    print_message("  %u of 60000 accepted\n", taken);
    assert_true(taken > 1000);
}

static void prints_cpu_time_of_each_step(void **state)
{
    uint8_t data[1500], out[STUN_RESPONSE_BYTES_MAX];
    size_t bytes = from_hex(data, chromium[1].request);
    struct path path = path_ipv4(0x7f000001, 1);
    uint64_t start_ns[4];
    struct stun_request r;
    unsigned good = 0, rounds = 100000;

    sign(data, bytes, PASSWORD);
    start_ns[0] = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < rounds; i++)
        good += stun_parse(data, bytes, &r) == STUN_OK;
    start_ns[1] = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < rounds; i++)
        good += stun_authenticate(data, bytes, &r, PASSWORD) == STUN_OK;
    start_ns[2] = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < rounds; i++)
        good += stun_build_success(out, &r, &path, PASSWORD) == 64;
    start_ns[3] = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    assert_int_equal(good, 3 * rounds);
    print_message("  parse %lu ns, authenticate %lu ns, build %lu ns\n",
                  (unsigned long)(start_ns[1] - start_ns[0]) / rounds,
                  (unsigned long)(start_ns[2] - start_ns[1]) / rounds,
                  (unsigned long)(start_ns[3] - start_ns[2]) / rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_follows_its_definition),
        cmocka_unit_test(rfc5769_request_is_accepted),
        cmocka_unit_test(rfc5769_responses_are_computed_alike),
        cmocka_unit_test(requests_of_chromium_are_answered_like_mediasoup),
        cmocka_unit_test(structure_of_requests_is_checked),
        cmocka_unit_test(header_of_requests_is_checked),
        cmocka_unit_test(username_may_have_any_length_up_to_the_limit),
        cmocka_unit_test(inverted_bit_is_never_accepted),
        cmocka_unit_test(offsets_outside_the_datagram_are_refused),
        cmocka_unit_test(password_may_have_any_length),
        cmocka_unit_test(responses_are_not_longer_than_requests),
        cmocka_unit_test(libnice_accepts_our_responses),
        cmocka_unit_test(libnice_accepts_requests_that_we_accept),
        cmocka_unit_test(prints_cpu_time_of_each_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
