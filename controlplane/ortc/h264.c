/* H.264 profile-level-id: three bytes in hexadecimal.
 * Source: RFC 6184, section 8.1; ITU-T H.264, annex A. */
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* A profile is profile_idc together with some constraint bits. The first match wins. */
static const struct {
    uint8_t idc, mask, value;
    enum h264_profile profile;
} patterns[] = {
    {0x42, 0x4f, 0x40, H264_CONSTRAINED_BASELINE}, /* x1xx0000 */
    {0x4d, 0x8f, 0x80, H264_CONSTRAINED_BASELINE}, /* 1xxx0000 */
    {0x58, 0xcf, 0xc0, H264_CONSTRAINED_BASELINE}, /* 11xx0000 */
    {0x42, 0x4f, 0x00, H264_BASELINE},             /* x0xx0000 */
    {0x58, 0xcf, 0x80, H264_BASELINE},             /* 10xx0000 */
    {0x4d, 0xaf, 0x00, H264_MAIN},                 /* 0x0x0000 */
    {0x64, 0xff, 0x00, H264_HIGH},                 /* 00000000 */
    {0x64, 0xff, 0x0c, H264_CONSTRAINED_HIGH},     /* 00001100 */
    {0xf4, 0xff, 0x00, H264_PREDICTIVE_HIGH_444},  /* 00000000 */
};

static const uint8_t levels[] = {10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_bytes(const char *text, uint8_t out[3])
{
    int i;

    if (strlen(text) != 6)
        return false;
    for (i = 0; i < 3; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

struct h264_profile_level h264_parse(const char *text)
{
    struct h264_profile_level none = {H264_NONE, 0}, result = none;
    uint8_t bytes[3];
    size_t i;

    if (text == NULL)
        return (struct h264_profile_level){H264_CONSTRAINED_BASELINE, 31};
    if (!hex_bytes(text, bytes))
        return none;
    /* constraint_set3_flag makes level 1b out of level 1.1 (annex A.3.1). */
    if (bytes[2] == 11 && (bytes[1] & 0x10) != 0)
        result.level = H264_LEVEL_1B;
    else if (memchr(levels, bytes[2], sizeof(levels)) != NULL)
        result.level = bytes[2];
    else
        return none;
    for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        if (bytes[0] == patterns[i].idc && (bytes[1] & patterns[i].mask) == patterns[i].value) {
            result.profile = patterns[i].profile;
            return result;
        }
    }
    return none;
}

bool h264_print(struct h264_profile_level value, char out[7])
{
    static const char *const prefixes[] = {
        [H264_CONSTRAINED_BASELINE] = "42e0",
        [H264_BASELINE] = "4200",
        [H264_MAIN] = "4d00",
        [H264_CONSTRAINED_HIGH] = "640c",
        [H264_HIGH] = "6400",
        [H264_PREDICTIVE_HIGH_444] = "f400",
    };

    if (value.profile == H264_NONE)
        return false;
    if (value.level != H264_LEVEL_1B) {
        snprintf(out, 7, "%s%02x", prefixes[value.profile], value.level);
        return true;
    }
    switch (value.profile) {
    case H264_CONSTRAINED_BASELINE:
        memcpy(out, "42f00b", 7);
        return true;
    case H264_BASELINE:
        memcpy(out, "42100b", 7);
        return true;
    case H264_MAIN:
        memcpy(out, "4d100b", 7);
        return true;
    default:
        return false;
    }
}

bool h264_level_less(uint8_t a, uint8_t b)
{
    if (a == H264_LEVEL_1B)
        return b != 10 && b != H264_LEVEL_1B;
    if (b == H264_LEVEL_1B)
        return a == 10;
    return a < b;
}
