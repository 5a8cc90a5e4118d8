/* STUN for an ICE-lite server: parses, authenticates and answers binding requests (RFC 8489). */

/* HMAC() of OpenSSL 3 spends 1200 ns on finding its algorithm. The low-level functions of SHA-1 do
 * all of the work in a tenth of that time. OpenSSL deprecates them, but still has them. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "src/limits.h"
#include "stun.h"

#define HEADER_BYTES 20
#define MAGIC_COOKIE 0x2112a442u
#define BINDING_REQUEST 0x0001
#define BINDING_SUCCESS 0x0101
#define BINDING_ERROR 0x0111
#define FINGERPRINT_XOR 0x5354554eu /* "STUN", RFC 8489 14.7 */
#define INTEGRITY_BYTES SHA_DIGEST_LENGTH
#define SHA1_BLOCK_BYTES 64

enum attribute_type {
    ATTRIBUTE_MAPPED_ADDRESS = 0x0001,
    ATTRIBUTE_USERNAME = 0x0006,
    ATTRIBUTE_MESSAGE_INTEGRITY = 0x0008,
    ATTRIBUTE_ERROR_CODE = 0x0009,
    ATTRIBUTE_UNKNOWN_ATTRIBUTES = 0x000a,
    ATTRIBUTE_REALM = 0x0014,
    ATTRIBUTE_NONCE = 0x0015,
    ATTRIBUTE_MESSAGE_INTEGRITY_SHA256 = 0x001c,
    ATTRIBUTE_XOR_MAPPED_ADDRESS = 0x0020,
    ATTRIBUTE_PRIORITY = 0x0024,
    ATTRIBUTE_USE_CANDIDATE = 0x0025,
    ATTRIBUTE_COMPREHENSION_OPTIONAL = 0x8000, /* types from here on may be ignored */
    ATTRIBUTE_FINGERPRINT = 0x8028,
    ATTRIBUTE_ICE_CONTROLLED = 0x8029,
    ATTRIBUTE_ICE_CONTROLLING = 0x802a,
};

struct attribute {
    uint16_t type, bytes;
    const uint8_t *value;
    size_t at; /* offset of its header in the datagram */
};

static uint16_t read16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)read16(p) << 16 | read16(p + 2);
}

static uint64_t read64(const uint8_t *p)
{
    return (uint64_t)read32(p) << 32 | read32(p + 4);
}

static void write16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void write32(uint8_t *p, uint32_t value)
{
    write16(p, value >> 16);
    write16(p + 2, value);
}

static size_t padded(size_t bytes)
{
    return (bytes + 3) & ~(size_t)3;
}

/* CRC-32 of ITU V.42 (RFC 8489 14.7) with reflected bits, four bytes at a time. remainders[k][n] is
 * the remainder of the half-byte n with k half-bytes behind it; the eight half-bytes of a word are
 * looked up independently of each other. The tables have 512 bytes. The usual tables of this speed
 * have 8192 bytes, which would no longer be in the cache when the next check arrives. */
static uint32_t crc32_of(const uint8_t *data, size_t bytes)
{
    /* clang-format off */
    static const uint32_t remainders[8][16] = {
        {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
         0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
         0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c},
        {0x00000000, 0x77073096, 0xee0e612c, 0x990951ba, 0x076dc419, 0x706af48f,
         0xe963a535, 0x9e6495a3, 0x0edb8832, 0x79dcb8a4, 0xe0d5e91e, 0x97d2d988,
         0x09b64c2b, 0x7eb17cbd, 0xe7b82d07, 0x90bf1d91},
        {0x00000000, 0x4ac21251, 0x958424a2, 0xdf4636f3, 0xf0794f05, 0xbabb5d54,
         0x65fd6ba7, 0x2f3f79f6, 0x3b83984b, 0x71418a1a, 0xae07bce9, 0xe4c5aeb8,
         0xcbfad74e, 0x8138c51f, 0x5e7ef3ec, 0x14bce1bd},
        {0x00000000, 0x191b3141, 0x32366282, 0x2b2d53c3, 0x646cc504, 0x7d77f445,
         0x565aa786, 0x4f4196c7, 0xc8d98a08, 0xd1c2bb49, 0xfaefe88a, 0xe3f4d9cb,
         0xacb54f0c, 0xb5ae7e4d, 0x9e832d8e, 0x87981ccf},
        {0x00000000, 0x1c26a370, 0x384d46e0, 0x246be590, 0x709a8dc0, 0x6cbc2eb0,
         0x48d7cb20, 0x54f16850, 0xe1351b80, 0xfd13b8f0, 0xd9785d60, 0xc55efe10,
         0x91af9640, 0x8d893530, 0xa9e2d0a0, 0xb5c473d0},
        {0x00000000, 0x01c26a37, 0x0384d46e, 0x0246be59, 0x0709a8dc, 0x06cbc2eb,
         0x048d7cb2, 0x054f1685, 0x0e1351b8, 0x0fd13b8f, 0x0d9785d6, 0x0c55efe1,
         0x091af964, 0x08d89353, 0x0a9e2d0a, 0x0b5c473d},
        {0x00000000, 0x5019579f, 0xa032af3e, 0xf02bf8a1, 0x9b14583d, 0xcb0d0fa2,
         0x3b26f703, 0x6b3fa09c, 0xed59b63b, 0xbd40e1a4, 0x4d6b1905, 0x1d724e9a,
         0x764dee06, 0x2654b999, 0xd67f4138, 0x866616a7},
        {0x00000000, 0xb8bc6765, 0xaa09c88b, 0x12b5afee, 0x8f629757, 0x37def032,
         0x256b5fdc, 0x9dd738b9, 0xc5b428ef, 0x7d084f8a, 0x6fbde064, 0xd7018701,
         0x4ad6bfb8, 0xf26ad8dd, 0xe0df7733, 0x58631056},
    };
    /* clang-format on */
    uint32_t crc = 0xffffffff;
    size_t at = 0;

    for (; bytes - at >= 4; at += 4) {
        uint32_t word = crc ^ (data[at] | (uint32_t)data[at + 1] << 8 |
                               (uint32_t)data[at + 2] << 16 | (uint32_t)data[at + 3] << 24);

        crc = 0;
        for (unsigned i = 0; i < 8; i++)
            crc ^= remainders[7 - i][word >> 4 * i & 15];
    }
    for (; at < bytes; at++) {
        crc ^= data[at];
        crc = crc >> 4 ^ remainders[0][crc & 15];
        crc = crc >> 4 ^ remainders[0][crc & 15];
    }
    return ~crc;
}

/* HMAC-SHA1 (RFC 2104) of the message up to the MESSAGE-INTEGRITY attribute at integrity_at. The
 * length in the header is replaced by what it would be if that attribute were the last one (RFC
 * 8489 14.5). */
static void integrity_of(const uint8_t *data, size_t integrity_at, const char *password,
                         uint8_t tag[INTEGRITY_BYTES])
{
    SHA_CTX context;
    uint8_t key[SHA1_BLOCK_BYTES] = {0}, pad[SHA1_BLOCK_BYTES], header[HEADER_BYTES];
    size_t key_bytes = strlen(password);

    if (key_bytes > sizeof(key))
        SHA1((const uint8_t *)password, key_bytes, key);
    else
        memcpy(key, password, key_bytes);
    memcpy(header, data, sizeof(header));
    write16(header + 2, (uint32_t)(integrity_at + 4 + INTEGRITY_BYTES - HEADER_BYTES));
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] = key[i] ^ 0x36;
    SHA1_Init(&context);
    SHA1_Update(&context, pad, sizeof(pad));
    SHA1_Update(&context, header, sizeof(header));
    SHA1_Update(&context, data + HEADER_BYTES, integrity_at - HEADER_BYTES);
    SHA1_Final(tag, &context);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] = key[i] ^ 0x5c;
    SHA1_Init(&context);
    SHA1_Update(&context, pad, sizeof(pad));
    SHA1_Update(&context, tag, INTEGRITY_BYTES);
    SHA1_Final(tag, &context);
    OPENSSL_cleanse(key, sizeof(key));
    OPENSSL_cleanse(pad, sizeof(pad));
    OPENSSL_cleanse(&context, sizeof(context));
}

/* ---- requests ---- */

static bool attribute_read(const uint8_t *data, size_t bytes, size_t at, struct attribute *a)
{
    if (bytes - at < 4)
        return false;
    a->at = at;
    a->type = read16(data + at);
    a->bytes = read16(data + at + 2);
    a->value = data + at + 4;
    return padded(a->bytes) <= bytes - at - 4;
}

/* RFC 8489 14.5: only MESSAGE-INTEGRITY-SHA256 and FINGERPRINT may follow MESSAGE-INTEGRITY. The
 * RFC asks us to ignore other attributes there. We refuse such a datagram instead, because these
 * attributes are not authenticated (gate G1). A client that does not know yet which of the two
 * algorithms we support sends both; it learns that from our response. We do not support
 * MESSAGE-INTEGRITY-SHA256 alone. */
static bool order_allows(const struct stun_request *request, const struct attribute *a)
{
    if (request->fingerprint_at)
        return false;
    if (a->type == ATTRIBUTE_FINGERPRINT)
        return request->integrity_at != 0;
    if (a->type == ATTRIBUTE_MESSAGE_INTEGRITY_SHA256)
        return request->integrity_at &&
               a->at == (size_t)request->integrity_at + 4 + INTEGRITY_BYTES;
    return request->integrity_at == 0;
}

/* ice-char of RFC 8839 5.4. */
static bool is_ice_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* RFC 8445 7.2.2: the USERNAME of a check that a client sends us is our username fragment, a colon
 * and the username fragment of the client. */
static bool username_take(struct stun_request *request, const struct attribute *a)
{
    const char *text = (const char *)a->value;
    size_t colon = 0;

    while (colon < a->bytes && is_ice_char(a->value[colon]))
        colon++;
    if (colon == 0 || colon > UINT8_MAX || colon + 1 >= a->bytes || text[colon] != ':' ||
        a->bytes - colon - 1 > UINT8_MAX)
        return false;
    for (size_t i = colon + 1; i < a->bytes; i++)
        if (!is_ice_char(a->value[i]))
            return false;
    if (request->local_ufrag)
        return true; /* RFC 8489 14: when an attribute occurs twice, the first one counts */
    request->local_ufrag = text;
    request->local_ufrag_bytes = (uint8_t)colon;
    request->remote_ufrag = text + colon + 1;
    request->remote_ufrag_bytes = (uint8_t)(a->bytes - colon - 1);
    return true;
}

static bool role_take(struct stun_request *request, const struct attribute *a, bool *role)
{
    if (a->bytes != 8)
        return false;
    if (!*role)
        request->tie_breaker = read64(a->value);
    *role = true;
    return true;
}

static void unknown_take(struct stun_request *request, uint16_t type)
{
    request->has_unknown_required = true;
    for (unsigned i = 0; i < request->unknown_count; i++)
        if (request->unknown[i] == type)
            return;
    if (request->unknown_count < sizeof(request->unknown) / sizeof(request->unknown[0]))
        request->unknown[request->unknown_count++] = type;
}

static bool attribute_take(struct stun_request *request, const struct attribute *a)
{
    switch (a->type) {
    case ATTRIBUTE_USERNAME:
        return username_take(request, a);
    case ATTRIBUTE_MESSAGE_INTEGRITY:
        request->integrity_at = (uint16_t)a->at;
        return a->bytes == INTEGRITY_BYTES;
    case ATTRIBUTE_MESSAGE_INTEGRITY_SHA256: /* RFC 8489 14.6: may be truncated to 16 bytes */
        return a->bytes >= 16 && a->bytes <= 32 && a->bytes % 4 == 0;
    case ATTRIBUTE_FINGERPRINT:
        request->fingerprint_at = (uint16_t)a->at;
        return a->bytes == 4;
    case ATTRIBUTE_PRIORITY:
        if (a->bytes == 4 && !request->has_priority)
            request->priority = read32(a->value);
        request->has_priority = true;
        return a->bytes == 4;
    case ATTRIBUTE_USE_CANDIDATE:
        request->use_candidate = true;
        return a->bytes == 0;
    case ATTRIBUTE_ICE_CONTROLLING:
        return role_take(request, a, &request->controlling);
    case ATTRIBUTE_ICE_CONTROLLED:
        return role_take(request, a, &request->controlled);
    case ATTRIBUTE_MAPPED_ADDRESS: /* these make no sense in a request: ignored, RFC 8489 6.3 */
    case ATTRIBUTE_ERROR_CODE:
    case ATTRIBUTE_UNKNOWN_ATTRIBUTES:
    case ATTRIBUTE_REALM:
    case ATTRIBUTE_NONCE:
    case ATTRIBUTE_XOR_MAPPED_ADDRESS:
        return true;
    default:
        if (a->type < ATTRIBUTE_COMPREHENSION_OPTIONAL)
            unknown_take(request, a->type);
        return true;
    }
}

enum stun_result stun_parse(const uint8_t *data, size_t bytes, struct stun_request *request)
{
    struct attribute a;

    memset(request, 0, sizeof(*request));
    if (bytes < HEADER_BYTES || bytes > DATAGRAM_BYTES_MAX || data[0] & 0xc0 ||
        read16(data + 2) != bytes - HEADER_BYTES || bytes % 4 || read32(data + 4) != MAGIC_COOKIE)
        return STUN_MALFORMED;
    if (read16(data) != BINDING_REQUEST)
        return STUN_NOT_REQUEST;
    memcpy(request->transaction, data + 8, sizeof(request->transaction));
    for (size_t at = HEADER_BYTES; at < bytes; at += 4 + padded(a.bytes))
        if (!attribute_read(data, bytes, at, &a) || !order_allows(request, &a) ||
            !attribute_take(request, &a))
            return STUN_MALFORMED;
    if (!request->fingerprint_at || !request->local_ufrag ||
        (request->controlling && request->controlled))
        return STUN_MALFORMED;
    return STUN_OK;
}

enum stun_result stun_authenticate(const uint8_t *data, size_t bytes,
                                   const struct stun_request *request, const char *password)
{
    uint8_t tag[INTEGRITY_BYTES];
    size_t fingerprint_at = request->fingerprint_at, integrity_at = request->integrity_at;

    if (fingerprint_at < HEADER_BYTES || fingerprint_at + 8 > bytes ||
        integrity_at < HEADER_BYTES || integrity_at + 4 + INTEGRITY_BYTES > fingerprint_at)
        return STUN_MALFORMED; /* stun_parse has not read this request from this datagram */
    if ((crc32_of(data, fingerprint_at) ^ FINGERPRINT_XOR) != read32(data + fingerprint_at + 4))
        return STUN_UNAUTHENTIC;
    if (!password[0]) /* a transport without credentials accepts nobody */
        return STUN_UNAUTHENTIC;
    integrity_of(data, integrity_at, password, tag);
    if (CRYPTO_memcmp(tag, data + integrity_at + 4, sizeof(tag)) != 0)
        return STUN_UNAUTHENTIC;
    return STUN_OK;
}

/* ---- responses ----
 * The source address of a request may be that of a victim, so a response must not be longer than
 * its request (threat D2). */

static void header_write(uint8_t *out, uint32_t type, const struct stun_request *request)
{
    write16(out, type);
    write32(out + 4, MAGIC_COOKIE);
    memcpy(out + 8, request->transaction, sizeof(request->transaction));
}

static size_t attribute_write(uint8_t *out, size_t at, uint32_t type, uint32_t bytes)
{
    write16(out + at, type);
    write16(out + at + 2, bytes);
    return at + 4;
}

/* Appends MESSAGE-INTEGRITY and FINGERPRINT to a message of `at` bytes. Each is computed over all
 * bytes before it, with a length in the header that includes it. */
static size_t finish(uint8_t *out, size_t at, const char *password)
{
    size_t value = attribute_write(out, at, ATTRIBUTE_MESSAGE_INTEGRITY, INTEGRITY_BYTES);

    integrity_of(out, at, password, out + value);
    at = value + INTEGRITY_BYTES;
    value = attribute_write(out, at, ATTRIBUTE_FINGERPRINT, 4);
    write16(out + 2, (uint32_t)(value + 4 - HEADER_BYTES));
    write32(out + value, crc32_of(out, at) ^ FINGERPRINT_XOR);
    return value + 4;
}

size_t stun_build_success(uint8_t out[STUN_RESPONSE_BYTES_MAX], const struct stun_request *request,
                          const struct path *path, const char *password)
{
    bool is_ipv4 = path_is_ipv4(path);
    size_t ip_bytes = is_ipv4 ? 4 : 16;
    size_t value;

    header_write(out, BINDING_SUCCESS, request);
    value =
        attribute_write(out, HEADER_BYTES, ATTRIBUTE_XOR_MAPPED_ADDRESS, (uint32_t)(4 + ip_bytes));
    out[value] = 0;
    out[value + 1] = is_ipv4 ? 1 : 2;
    write16(out + value + 2, path->remote_port ^ MAGIC_COOKIE >> 16);
    /* RFC 8489 14.2: the address XOR magic cookie and transaction id. In the header they follow
     * each other, from its fifth byte on. */
    for (size_t i = 0; i < ip_bytes; i++)
        out[value + 4 + i] = path->remote_ip[16 - ip_bytes + i] ^ out[4 + i];
    return finish(out, value + 4 + ip_bytes, password);
}

size_t stun_build_error(uint8_t out[STUN_RESPONSE_BYTES_MAX], const struct stun_request *request,
                        unsigned code, const char *password)
{
    size_t value, at, list_bytes = 2 * (size_t)request->unknown_count;

    header_write(out, BINDING_ERROR, request);
    value = attribute_write(out, HEADER_BYTES, ATTRIBUTE_ERROR_CODE, 4);
    write32(out + value, (code / 100) << 8 | code % 100);
    at = value + 4;
    if (code == 420) {
        value = attribute_write(out, at, ATTRIBUTE_UNKNOWN_ATTRIBUTES, (uint32_t)list_bytes);
        memset(out + value, 0, padded(list_bytes));
        for (unsigned i = 0; i < request->unknown_count; i++)
            write16(out + value + 2 * i, request->unknown[i]);
        at = value + padded(list_bytes);
    }
    return finish(out, at, password);
}
