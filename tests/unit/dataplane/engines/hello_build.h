/* ClientHellos for tests: one that OpenSSL accepts, whole or in fragments, and bad ones. */
#ifndef RINGCAST_TEST_HELLO_BUILD_H
#define RINGCAST_TEST_HELLO_BUILD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define HELLO_BYTES_MAX 4096

static inline size_t hello_put(uint8_t *out, const char *bytes, size_t count)
{
    memcpy(out, bytes, count);
    return count;
}
#define HELLO_PUT(out, literal) hello_put(out, literal, sizeof(literal) - 1)

/* The body of a ClientHello with use_srtp. dtls_13: it also offers DTLS 1.3 and a key share as long
 * as that of a post-quantum exchange, so it does not fit into one datagram. */
static inline size_t hello_body(uint8_t *out, bool dtls_13)
{
    size_t at = HELLO_PUT(out, "\xfe\xfd"), extensions, length;

    for (unsigned i = 0; i < 32; i++)
        out[at++] = (uint8_t)(i * 7 + 1);
    at += HELLO_PUT(out + at, "\0\0"); /* no session id, no cookie */
    at += HELLO_PUT(out + at, "\0\x06\x13\x01\xc0\x2b\xc0\x2f\x01\0");
    extensions = at;
    at += 2;
    at += HELLO_PUT(out + at, "\0\x17\0\0");                         /* extended master secret */
    at += HELLO_PUT(out + at, "\xff\x01\0\x01\0");                   /* renegotiation info */
    at += HELLO_PUT(out + at, "\0\x0a\0\x06\0\x04\0\x1d\0\x17");     /* groups */
    at += HELLO_PUT(out + at, "\0\x0b\0\x02\x01\0");                 /* point formats */
    at += HELLO_PUT(out + at, "\0\x0d\0\x06\0\x04\x04\x03\x08\x04"); /* signatures */
    at += HELLO_PUT(out + at, "\0\x0e\0\x07\0\x04\0\x07\0\x01\0");   /* use_srtp */
    if (dtls_13) {
        at += HELLO_PUT(out + at, "\0\x2b\0\x05\x04\xfe\xfc\xfe\xfd"); /* supported versions */
        at += HELLO_PUT(out + at, "\0\x33\x04\xc6\x04\xc4\x11\xec\x04\xc0"); /* key share */
        for (unsigned i = 0; i < 0x4c0; i++)
            out[at++] = (uint8_t)(i * 13);
    }
    length = at - extensions - 2;
    out[extensions] = (uint8_t)(length >> 8);
    out[extensions + 1] = (uint8_t)length;
    return at;
}

/* A datagram with bytes [offset … offset + count) of a message of `type`. */
static inline size_t hello_fragment(uint8_t *out, uint8_t type, uint16_t sequence,
                                    const uint8_t *body, size_t body_bytes, size_t offset,
                                    size_t count)
{
    const uint8_t head[25] = {
        22,
        0xfe,
        0xfd,
        [9] = (uint8_t)(sequence >> 8),
        [10] = (uint8_t)sequence,
        [11] = (uint8_t)((count + 12) >> 8),
        [12] = (uint8_t)(count + 12),
        [13] = type,
        [15] = (uint8_t)(body_bytes >> 8),
        [16] = (uint8_t)body_bytes,
        [20] = (uint8_t)(offset >> 8),
        [21] = (uint8_t)offset,
        [23] = (uint8_t)(count >> 8),
        [24] = (uint8_t)count,
    };

    memcpy(out, head, sizeof(head));
    memcpy(out + sizeof(head), body + offset, count);
    return sizeof(head) + count;
}

/* A whole ClientHello of DTLS 1.2 in one datagram. */
static inline size_t hello_whole(uint8_t *out, uint16_t sequence)
{
    uint8_t body[HELLO_BYTES_MAX];
    size_t bytes = hello_body(body, false);

    return hello_fragment(out, 1, sequence, body, bytes, 0, bytes);
}

/* First datagrams that may begin nothing. bad_first(i) makes the i-th one; 0: there are no more. */
static inline size_t bad_first(unsigned i, uint8_t *out, const char **name)
{
    uint8_t body[HELLO_BYTES_MAX];
    size_t bytes = hello_body(body, false), n;

#define BAD(text, literal) (*name = text, HELLO_PUT(out, literal))
    switch (i) {
    case 0:
        return BAD("fatal alert", "\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\x02\x02\x28");
    case 1:
        return BAD("close_notify", "\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\x02\x01\0");
    case 2:
        return BAD("application data", "\x17\xfe\xfd\0\0\0\0\0\0\0\0\0\x04QUIT");
    case 3:
        return BAD("ChangeCipherSpec", "\x14\xfe\xfd\0\0\0\0\0\0\0\0\0\x01\x01");
    case 4:
        *name = "ServerHello";
        return hello_fragment(out, 2, 0, body, bytes, 0, bytes);
    case 5:
        *name = "empty ClientHello";
        return hello_fragment(out, 1, 0, body, 0, 0, 0);
    case 6:
        *name = "garbage ClientHello";
        memset(body, 0x5a, bytes);
        return hello_fragment(out, 1, 0, body, bytes, 0, bytes);
    case 7:
        *name = "encrypted record";
        n = hello_fragment(out, 1, 0, body, bytes, 0, bytes);
        out[4] = 1;
        return n;
    case 8:
        *name = "ClientHello of another message number";
        n = hello_fragment(out, 1, 0, body, bytes, 0, bytes);
        out[18] = 1;
        return n;
    case 9:
        *name = "ClientHello with an extension that is too long";
        body[bytes - 8] = 0xff;
        return hello_fragment(out, 1, 0, body, bytes, 0, bytes);
    case 10:
        *name = "ClientHello without a cipher suite in common";
        memset(body + 38, 0x77, 6);
        return hello_fragment(out, 1, 0, body, bytes, 0, bytes);
    case 11:
        *name = "ClientHello of DTLS 1.0";
        body[1] = 0xff;
        return hello_fragment(out, 1, 0, body, bytes, 0, bytes);
    case 12:
        *name = "half a ClientHello";
        memset(body + bytes / 2, 0x5a, bytes - bytes / 2);
        return hello_fragment(out, 1, 0, body, bytes, bytes / 2, bytes - bytes / 2);
    default:
        return 0;
    }
#undef BAD
}
#define BAD_FIRST_MALFORMED 10 /* those before it have not the form of a ClientHello */

#endif
