/* Builds good and bad STUN requests from a word in which each letter is one attribute. Include
 * stun.c first. */
#ifndef STUN_BUILD_H
#define STUN_BUILD_H

/* Computes MESSAGE-INTEGRITY and FINGERPRINT of a message anew; they are its last attributes. */
static void sign(uint8_t *data, size_t bytes, const char *password)
{
    integrity_of(data, bytes - 8 - 24, password, data + bytes - 8 - 20);
    write32(data + bytes - 4, crc32_of(data, bytes - 8) ^ FINGERPRINT_XOR);
}

/* Appends the attribute of a letter. */
static size_t letter_write(uint8_t *out, size_t at, char letter)
{
    static const struct {
        char letter;
        uint16_t type;
        uint16_t bytes;
        const char *value;
    } table[] = {
        {'U', 0x0006, 9, "ours:them"},
        {'V', 0x0006, 11, "other:them2"},
        {'P', 0x0024, 4, "\x6e\x7f\x1e\xff"},
        {'p', 0x0024, 4, "\1\2\3\4"},
        {'C', 0x802a, 8, "controlX"},
        {'D', 0x8029, 8, "controlY"},
        {'N', 0x0025, 0, ""},
        {'M', 0x0008, 20, "00000000000000000000"},
        {'F', 0x8028, 4, "0000"},
        {'S', 0x001c, 32, "00000000000000000000000000000000"},
        {'s', 0x001c, 16, "0000000000000000"},
        {'o', 0xc057, 4, "\0\1\0\2"},
        {'w', 0x8022, 5, "hello"}, /* SOFTWARE, with padding */
        {'e', 0xffff, 0, ""},
        {'x', 0x7fff, 4, "unkn"},
        {'y', 0x0003, 4, "chng"},
        {'z', 0x0000, 0, ""},
        {'A', 0x001d, 4, "0000"},
        {'B', 0x001e, 4, "0000"},
        {'r', 0x0014, 5, "realm"},
        {'n', 0x0015, 5, "nonce"},
        {'m', 0x0001, 8, "00000000"},
        {'E', 0x0009, 4, "0000"},
        {'k', 0x000a, 2, "00"},
        {'X', 0x0020, 8, "00000000"},
        /* These have a wrong length or content. */
        {'1', 0x0024, 3, "123"},
        {'2', 0x0024, 8, "12345678"},
        {'3', 0x802a, 4, "1234"},
        {'4', 0x8029, 9, "123456789"},
        {'5', 0x0025, 4, "1234"},
        {'6', 0x0008, 16, "0000000000000000"},
        {'7', 0x0008, 24, "000000000000000000000000"},
        {'8', 0x8028, 8, "00000000"},
        {'9', 0x001c, 12, "000000000000"},
        {'0', 0x001c, 18, "000000000000000000"},
        {'a', 0x0006, 4, "ours"},
        {'b', 0x0006, 5, ":them"},
        {'c', 0x0006, 5, "ours:"},
        {'d', 0x0006, 11, "ours:th:em1"},
        {'f', 0x0006, 9, "ou\0s:them"},
        {'g', 0x0006, 0, ""},
        {'h', 0x0006, 9, "ours:th m"},
        {'i', 0x0006, 1, ":"},
        {'j', 0x0006, 3, "a:b"},
        {'l', 0x0006, 9,
         "ours:th\xff"
         "m"},
        {'q', 0x8028, 0, ""},
        {'t', 0x001c, 36, "000000000000000000000000000000000000"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].letter != letter)
            continue;
        write16(out + at, table[i].type);
        write16(out + at + 2, table[i].bytes);
        memset(out + at + 4, ' ', padded(table[i].bytes));
        memcpy(out + at + 4, table[i].value, table[i].bytes);
        return at + 4 + padded(table[i].bytes);
    }
    fail_msg("no attribute is called %c", letter);
    return 0;
}

/* Builds a request. The first M and the first F get the right values for where they are. */
static size_t message_build(uint8_t *out, const char *letters, const char *password)
{
    size_t at = 20, integrity_at = 0, fingerprint_at = 0;

    write16(out, 0x0001);
    write32(out + 4, MAGIC_COOKIE);
    memcpy(out + 8, "transaction!", 12);
    for (const char *letter = letters; *letter; letter++) {
        if (*letter == 'M' && !integrity_at)
            integrity_at = at;
        if (*letter == 'F' && !fingerprint_at)
            fingerprint_at = at;
        at = letter_write(out, at, *letter);
    }
    write16(out + 2, (uint32_t)at - 20);
    if (integrity_at)
        integrity_of(out, integrity_at, password, out + integrity_at + 4);
    if (fingerprint_at)
        write32(out + fingerprint_at + 4, crc32_of(out, fingerprint_at) ^ FINGERPRINT_XOR);
    return at;
}

#endif
