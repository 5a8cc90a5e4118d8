/* Builds and checks STUN messages. */

/* OpenSSL's low-level SHA-1 costs a tenth of its HMAC(); dataplane/engines/stun.c uses it, too. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "stun_client.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#define HEADER_BYTES 20
#define COOKIE 0x2112a442u
#define FINGERPRINT_XOR 0x5354554eu
#define BLOCK_BYTES 64
#define NETWORK_COST 0xc057 /* Chromium sends it with every check */

enum {
    REQUEST = 0x0001,
    SUCCESS = 0x0101,
    ERROR = 0x0111,
    A_USERNAME = 0x0006,
    A_INTEGRITY = 0x0008,
    A_XOR_MAPPED_ADDRESS = 0x0020,
    A_PRIORITY = 0x0024,
    A_USE_CANDIDATE = 0x0025,
    A_FINGERPRINT = 0x8028,
    A_CONTROLLED = 0x8029,
    A_CONTROLLING = 0x802a,
};

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) << 16 | get16(p + 2);
}

static uint32_t crc32_of(const uint8_t *data, size_t bytes)
{
    static uint32_t table[256];
    uint32_t crc = UINT32_MAX;

    if (table[1] == 0)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;

            for (int k = 0; k < 8; k++)
                c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
            table[i] = c;
        }
    for (size_t i = 0; i < bytes; i++)
        crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
    return ~crc;
}

/* HMAC-SHA1 of the message up to `end`, computed with the length that the message has including
 * MESSAGE-INTEGRITY (RFC 8489 14.5). */
static void integrity(const uint8_t *data, size_t end, const char *password, uint8_t out[20])
{
    uint8_t block[BLOCK_BYTES] = {0}, header[HEADER_BYTES];
    size_t n = strlen(password);
    SHA_CTX sha;

    memcpy(block, password, n < BLOCK_BYTES ? n : BLOCK_BYTES);
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        block[i] ^= 0x36;
    memcpy(header, data, HEADER_BYTES);
    put16(header + 2, (uint32_t)(end + 24 - HEADER_BYTES));
    SHA1_Init(&sha);
    SHA1_Update(&sha, block, BLOCK_BYTES);
    SHA1_Update(&sha, header, HEADER_BYTES);
    SHA1_Update(&sha, data + HEADER_BYTES, end - HEADER_BYTES);
    SHA1_Final(out, &sha);
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        block[i] ^= 0x36 ^ 0x5c;
    SHA1_Init(&sha);
    SHA1_Update(&sha, block, BLOCK_BYTES);
    SHA1_Update(&sha, out, 20);
    SHA1_Final(out, &sha);
}

static size_t write_header(uint8_t *out, uint32_t type, const uint8_t *transaction)
{
    put16(out, type);
    put16(out + 2, 0);
    put32(out + 4, COOKIE);
    memcpy(out + 8, transaction, STUN_TRANSACTION_BYTES);
    return HEADER_BYTES;
}

static size_t write_attribute(uint8_t *out, size_t at, uint32_t type, const void *value,
                              size_t bytes)
{
    put16(out + at, type);
    put16(out + at + 2, (uint32_t)bytes);
    memset(out + at + 4, 0, (bytes + 3) & ~(size_t)3);
    memcpy(out + at + 4, value, bytes);
    return at + 4 + ((bytes + 3) & ~(size_t)3);
}

/* Adds MESSAGE-INTEGRITY and FINGERPRINT. Returns the bytes of the message. */
static size_t finish(uint8_t *out, size_t at, const char *password)
{
    uint8_t mac[20], crc[4];

    integrity(out, at, password, mac);
    at = write_attribute(out, at, A_INTEGRITY, mac, sizeof(mac));
    put16(out + 2, (uint32_t)(at + 8 - HEADER_BYTES));
    put32(crc, crc32_of(out, at) ^ FINGERPRINT_XOR);
    return write_attribute(out, at, A_FINGERPRINT, crc, sizeof(crc));
}

size_t stun_check_build(uint8_t out[STUN_CLIENT_BYTES_MAX], const struct stun_check *check)
{
    size_t at = write_header(out, REQUEST, check->transaction);
    size_t remote = strnlen(check->remote_ufrag, 120), local = strnlen(check->local_ufrag, 32);
    uint8_t username[160], number[8];

    memcpy(username, check->remote_ufrag, remote);
    username[remote] = ':';
    memcpy(username + remote + 1, check->local_ufrag, local);
    at = write_attribute(out, at, A_USERNAME, username, remote + 1 + local);
    put32(number, 10 | 1u << 16);
    at = write_attribute(out, at, NETWORK_COST, number, 4);
    put32(number, (uint32_t)(check->tie_breaker >> 32));
    put32(number + 4, (uint32_t)check->tie_breaker);
    at = write_attribute(out, at, check->controlled ? A_CONTROLLED : A_CONTROLLING, number, 8);
    if (!check->controlled)
        at = write_attribute(out, at, A_USE_CANDIDATE, "", 0);
    put32(number, 0x6e7f1eff); /* the priority that Chromium sends for a peer-reflexive candidate */
    at = write_attribute(out, at, A_PRIORITY, number, 4);
    return finish(out, at, check->remote_password);
}

bool stun_parse_header(const uint8_t *data, size_t bytes, enum stun_kind *kind,
                       const uint8_t **transaction)
{
    uint32_t type;

    if (bytes < HEADER_BYTES || bytes % 4 != 0 || get16(data + 2) + HEADER_BYTES != bytes ||
        get32(data + 4) != COOKIE)
        return false;
    for (size_t at = HEADER_BYTES; at < bytes;) {
        size_t value = (get16(data + at + 2) + 3) & ~3u;

        if (value > bytes - at - 4)
            return false;
        at += 4 + value;
    }
    type = get16(data);
    *kind = type == REQUEST   ? STUN_IS_REQUEST
            : type == SUCCESS ? STUN_IS_SUCCESS
            : type == ERROR   ? STUN_IS_ERROR
                              : STUN_IS_OTHER;
    *transaction = data + 8;
    return true;
}

bool stun_is_authentic(const uint8_t *data, size_t bytes, const char *password)
{
    uint8_t mac[20];
    size_t mac_at;

    /* All supported servers end a message with MESSAGE-INTEGRITY (24 bytes) and FINGERPRINT (8). */
    if (bytes < HEADER_BYTES + 32)
        return false;
    mac_at = bytes - 32;
    if (get32(data + bytes - 8) != ((uint32_t)A_FINGERPRINT << 16 | 4) ||
        get32(data + mac_at) != ((uint32_t)A_INTEGRITY << 16 | 20) ||
        get32(data + bytes - 4) != (crc32_of(data, bytes - 8) ^ FINGERPRINT_XOR))
        return false;
    integrity(data, mac_at, password, mac);
    return CRYPTO_memcmp(mac, data + mac_at + 4, sizeof(mac)) == 0;
}

size_t stun_answer_build(uint8_t out[STUN_CLIENT_BYTES_MAX], const uint8_t *transaction,
                         const struct sockaddr_in *from, const char *password)
{
    size_t at = write_header(out, SUCCESS, transaction);
    uint8_t address[8] = {0, 1};

    put16(address + 2, ntohs(from->sin_port) ^ COOKIE >> 16);
    put32(address + 4, ntohl(from->sin_addr.s_addr) ^ COOKIE);
    at = write_attribute(out, at, A_XOR_MAPPED_ADDRESS, address, sizeof(address));
    return finish(out, at, password);
}
