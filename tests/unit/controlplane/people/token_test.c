/* Access tokens: the example of RFC 7515 A.1, tokens that must be accepted, tokens that must not
 *                (threat C5). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/people/token.h"

#define SECRET "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
#define NOW 1800000000
#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define PERSON                                                                        \
    "\"sub\":\"f47ac10b-58cc-4372-a567-0e02b2c3d479\",\"email\":\"ada@example.org\"," \
    "\"displayName\":\"Ada\""
#define CLAIMS "{" PERSON ",\"iat\":1799999000,\"exp\":1800003600}"

static void encode(const void *bytes, size_t count, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *from = bytes;
    uint32_t bits = 0;
    unsigned bit_count = 0;

    for (size_t i = 0; i < count; i++) {
        bits = bits << 8 | from[i];
        for (bit_count += 8; bit_count >= 6; bit_count -= 6)
            *out++ = digits[bits >> (bit_count - 6) & 63];
    }
    if (bit_count)
        *out++ = digits[bits << (6 - bit_count) & 63];
    *out = 0;
}

/* Makes a token of the given texts, with an HMAC signature, whatever the header says. */
static void forge(const char *secret, const EVP_MD *digest, const char *header, const char *claims,
                  char *out)
{
    uint8_t signature[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    size_t length;

    encode(header, strlen(header), out);
    strcat(out, ".");
    encode(claims, strlen(claims), out + strlen(out));
    length = strlen(out);
    HMAC(digest, secret, (int)strlen(secret), (uint8_t *)out, length, signature, &bytes);
    out[length] = '.';
    encode(signature, bytes, out + length + 1);
}

static bool accepts(const char *token)
{
    struct token_claims claims;

    return token_verify(SECRET, token, NOW, &claims);
}

static void rfc7515_a1_signature_matches(void **state)
{
    static const char key_text[] =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    static const char input[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                                "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcG"
                                "xlLmNvbS9pc19yb290Ijp0cnVlfQ";
    static const char signature[] = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    char other[sizeof(signature)];
    uint8_t key[64];

    assert_int_equal(base64url_decode(key_text, strlen(key_text), key, sizeof(key)), 64);
    assert_true(token_signature_matches(key, 64, input, strlen(input), signature, 43));
    for (unsigned i = 0; i < 43; i++) {
        memcpy(other, signature, sizeof(other));
        other[i] = other[i] == 'A' ? 'B' : 'A';
        assert_false(token_signature_matches(key, 64, input, strlen(input), other, 43));
    }
    assert_false(token_signature_matches(key, 63, input, strlen(input), signature, 43));
    assert_false(token_signature_matches(key, 64, input, strlen(input) - 1, signature, 43));
}

static void only_canonical_base64url_is_decoded(void **state)
{
    static const struct {
        const char *text;
        int bytes;
    } rows[] = {
        {"", 0},       {"TQ", 1},
        {"TR", -1},    {"TUE", 2},
        {"TUF", -1},   {"TUFO", 3},
        {"T", -1},     {"TQ==", -1},
        {"TU+/", -1},  {"TU-_", 3},
        {"TUFOT", -1}, {"T Q", -1},
        {"TQ\n", -1},  {"TUFOTUFO", -1 /* no room */},
    };
    uint8_t out[4];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(base64url_decode(rows[i].text, strlen(rows[i].text), out, sizeof(out)),
                         rows[i].bytes);
}

static void our_tokens_are_accepted_with_all_claims(void **state)
{
    struct token_claims in = {.issued_s = NOW, .expires_s = NOW + 3600}, out;
    char token[TOKEN_BYTES_MAX];

    strcpy(in.subject, "f47ac10b-58cc-4372-a567-0e02b2c3d479");
    strcpy(in.email, "ada@example.org");
    strcpy(in.display_name, "Ada \"Countess\" \\ Łovelace 🎩");
    assert_true(token_make(SECRET, &in, token));
    assert_true(token_verify(SECRET, token, NOW, &out));
    assert_string_equal(out.subject, in.subject);
    assert_string_equal(out.email, in.email);
    assert_string_equal(out.display_name, in.display_name);
    assert_int_equal(out.issued_s, in.issued_s);
    assert_int_equal(out.expires_s, in.expires_s);
    /* Valid until the second before it expires; also on a node whose clock is up to 60 s behind. */
    assert_true(token_verify(SECRET, token, NOW + 3599, &out));
    assert_false(token_verify(SECRET, token, NOW + 3600, &out));
    assert_true(token_verify(SECRET, token, NOW - 60, &out));
    assert_false(token_verify(SECRET, token, NOW - 61, &out));
}

static void the_longest_claims_fit(void **state)
{
    struct token_claims in = {.issued_s = NOW, .expires_s = NOW + 31536000}, out;
    char token[TOKEN_BYTES_MAX];

    strcpy(in.subject, "f47ac10b-58cc-4372-a567-0e02b2c3d479");
    memset(in.email, 'a', 255);
    for (unsigned i = 0; i < 100; i++)
        memcpy(in.display_name + 4 * i, "\xf0\x9f\x8e\xa9", 4);
    assert_true(token_make(SECRET, &in, token));
    assert_true(token_verify(SECRET, token, NOW, &out));
    assert_string_equal(out.display_name, in.display_name);
}

static void tokens_of_other_libraries_are_accepted(void **state)
{
    char token[TOKEN_BYTES_MAX];

    /* as jsonwebtoken writes it in the NestJS backend; members in another order; without typ */
    forge(SECRET, EVP_sha256(), HEADER, CLAIMS, token);
    assert_true(accepts(token));
    forge(SECRET, EVP_sha256(), "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", CLAIMS, token);
    assert_true(accepts(token));
    forge(SECRET, EVP_sha256(), "{\"alg\":\"HS256\"}", CLAIMS, token);
    assert_true(accepts(token));
    forge(SECRET, EVP_sha256(), HEADER,
          "{" PERSON ",\"iat\":1799999000,\"nbf\":1799999000,\"exp\":1800003600}", token);
    assert_true(accepts(token));
}

/* Signed with our secret: only the header or the claims are wrong. */
static void signed_tokens_with_wrong_content_are_refused(void **state)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"None\"}",
        "{\"alg\":\"NONE\",\"typ\":\"JWT\"}",
        "{\"alg\":\"nOnE\"}",
        "{\"alg\":\"\"}",
        "{\"alg\":null}",
        "{\"alg\":true}",
        "{\"alg\":256}",
        "{\"alg\":[\"HS256\"]}",
        "{\"alg\":{\"alg\":\"HS256\"}}",
        "{\"alg\":\"hs256\"}",
        "{\"alg\":\"HS256 \"}",
        "{\"alg\":\"HS384\"}",
        "{\"alg\":\"HS512\"}",
        "{\"alg\":\"RS256\"}",
        "{\"alg\":\"ES256\"}",
        "{\"alg\":\"PS256\"}",
        "{\"alg\":\"EdDSA\"}",
        "{\"ALG\":\"HS256\"}",
        "{\"typ\":\"JWT\"}",
        "{}",
        "[]",
        "\"HS256\"",
        "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"none\",\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"alg\":\"HS256\"}",
        "{\"alg\\u0000\":\"none\",\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\\u0000\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWE\"}",
        "{\"alg\":\"HS256\",\"typ\":[\"JWT\"]}",
        "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"HS256\",\"b64\":false}",
        "{\"alg\":\"HS256\",\"zip\":\"DEF\"}",
        "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}",
        "{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1/\"}",
        "{\"alg\":\"HS256\"} x",
        "\xef\xbb\xbf{\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\"",
        "{\"alg\":\"HS256\",}",
    };
    static const char *const claims[] = {
        "{}",
        "[]",
        "null",
        "{" PERSON ",\"iat\":1799999000}",
        "{" PERSON ",\"exp\":1800003600}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1800000000}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1799999999}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":\"1800003600\"}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":null}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":true}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":[1800003600]}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1800003600.5}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1.8e9}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1e300}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1e999}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":-1}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":99999999999999999999}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":9223372036854775807}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":NaN}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1800003600,\"exp\":1900003600}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1999999999}", /* valid for more than a year */
        "{" PERSON ",\"iat\":-5,\"exp\":1800003600}",
        "{" PERSON ",\"iat\":\"1799999000\",\"exp\":1800003600}",
        "{" PERSON ",\"iat\":1800000061,\"exp\":1800003600}",
        "{" PERSON ",\"iat\":1799999000,\"nbf\":1800000001,\"exp\":1800003600}",
        "{" PERSON ",\"iat\":1799999000,\"nbf\":\"0\",\"exp\":1800003600}",
        "{" PERSON ",\"iat\":1799999000,\"nbf\":null,\"exp\":1800003600}",
        "{" PERSON ",\"sub\":\"00000000-0000-4000-8000-000000000000\",\"iat\":1799999000,"
        "\"exp\":1800003600}",
        "{\"sub\":\"1\",\"email\":\"a@b.cd\",\"displayName\":\"A\",\"iat\":1799999000,"
        "\"exp\":1800003600}",
        "{\"sub\":{},\"email\":\"a@b.cd\",\"displayName\":\"A\",\"iat\":1799999000,"
        "\"exp\":1800003600}",
        "{\"sub\":\"f47ac10b-58cc-4372-a567-0e02b2c3d479\\u0000\",\"email\":\"a@b.cd\","
        "\"displayName\":\"A\",\"iat\":1799999000,\"exp\":1800003600}",
        "{\"email\":\"a@b.cd\",\"displayName\":\"A\",\"iat\":1799999000,\"exp\":1800003600}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1800003600}}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1800003600,\"x\":\"\xff\"}",
    };
    char token[TOKEN_BYTES_MAX];

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        forge(SECRET, EVP_sha256(), headers[i], CLAIMS, token);
        if (accepts(token))
            fail_msg("accepted with header %s", headers[i]);
    }
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        forge(SECRET, EVP_sha256(), HEADER, claims[i], token);
        if (accepts(token))
            fail_msg("accepted with claims %s", claims[i]);
    }
}

static void wrong_signatures_are_refused(void **state)
{
    char token[TOKEN_BYTES_MAX], other[TOKEN_BYTES_MAX];
    const char *secrets[] = {"", "secret", SECRET "0", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"};

    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        forge(secrets[i], EVP_sha256(), HEADER, CLAIMS, token);
        assert_false(accepts(token));
    }
    forge(SECRET, EVP_sha384(), "{\"alg\":\"HS384\"}", CLAIMS, token);
    assert_false(accepts(token));
    forge(SECRET, EVP_sha512(), "{\"alg\":\"HS512\"}", CLAIMS, token);
    assert_false(accepts(token));
    forge(SECRET, EVP_sha1(), HEADER, CLAIMS, token);
    assert_false(accepts(token));

    /* the signature of another valid token */
    forge(SECRET, EVP_sha256(), HEADER, "{" PERSON ",\"iat\":1799999001,\"exp\":1800003600}",
          other);
    forge(SECRET, EVP_sha256(), HEADER, CLAIMS, token);
    strcpy(strrchr(token, '.'), strrchr(other, '.'));
    assert_false(accepts(token));
}

static void damaged_tokens_are_refused(void **state)
{
    char good[TOKEN_BYTES_MAX], token[2 * TOKEN_BYTES_MAX];
    static char huge[200000];
    size_t length;

    forge(SECRET, EVP_sha256(), HEADER, CLAIMS, good);
    assert_true(accepts(good));
    length = strlen(good);
    for (size_t cut = 0; cut < length; cut++) { /* cut off anywhere, also before the signature */
        memcpy(token, good, cut);
        token[cut] = 0;
        assert_false(accepts(token));
    }
    for (size_t i = 0; i < length; i++) /* every bit of every character */
        for (unsigned bit = 0; bit < 8; bit++) {
            strcpy(token, good);
            token[i] = (char)(token[i] ^ (1 << bit));
            assert_false(accepts(token));
        }
    for (size_t i = 0; i <= length; i++) { /* a character inserted anywhere */
        static const char extra[] = ".=A \n-\x01";

        for (const char *c = extra; *c; c++) {
            snprintf(token, sizeof(token), "%.*s%c%s", (int)i, good, *c, good + i);
            assert_false(accepts(token));
        }
    }
    snprintf(token, sizeof(token), "%s=", good);
    assert_false(accepts(token));
    snprintf(token, sizeof(token), "%s.%s", good, strrchr(good, '.') + 1);
    assert_false(accepts(token));
    snprintf(token, sizeof(token), "Bearer %s", good);
    assert_false(accepts(token));
    memset(huge, 'A', sizeof(huge) - 1);
    assert_false(accepts(huge));
    memcpy(huge, good, length);
    assert_false(accepts(huge));
    memset(huge, '.', sizeof(huge) - 1);
    assert_false(accepts(huge));
    assert_false(accepts(""));
    assert_false(accepts("."));
    assert_false(accepts(".."));
    assert_false(accepts("..."));
    /* alg none with an empty signature, as in CVE-2015-9235 */
    encode("{\"alg\":\"none\"}", 14, token);
    strcat(token, ".");
    encode(CLAIMS, strlen(CLAIMS), token + strlen(token));
    assert_false(accepts(token));
    strcat(token, ".");
    assert_false(accepts(token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc7515_a1_signature_matches),
        cmocka_unit_test(only_canonical_base64url_is_decoded),
        cmocka_unit_test(our_tokens_are_accepted_with_all_claims),
        cmocka_unit_test(the_longest_claims_fit),
        cmocka_unit_test(tokens_of_other_libraries_are_accepted),
        cmocka_unit_test(signed_tokens_with_wrong_content_are_refused),
        cmocka_unit_test(wrong_signatures_are_refused),
        cmocka_unit_test(damaged_tokens_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
