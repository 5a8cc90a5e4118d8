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

static void our_tokens_are_accepted(void **state)
{
    struct token_claims in = {.issued_s = NOW, .expires_s = NOW + 3600}, out;
    char token[TOKEN_BYTES_MAX];

    strcpy(in.subject, "f47ac10b-58cc-4372-a567-0e02b2c3d479");
    strcpy(in.email, "ada@example.org");
    strcpy(in.display_name, "Ada \"Countess\" \\ Łovelace 🎩");
    assert_true(token_make(SECRET, &in, token));
    assert_true(token_verify(SECRET, token, NOW, &out));
    assert_string_equal(out.subject, in.subject);
    assert_int_equal(out.expires_s, in.expires_s);
    /* Valid until the second before it expires; also on a node whose clock is behind. */
    assert_true(token_verify(SECRET, token, NOW + 3599, &out));
    assert_false(token_verify(SECRET, token, NOW + 3600, &out));
    assert_true(token_verify(SECRET, token, NOW - 7200, &out));
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
}

/* A name may hold what looks like an escape: a backslash and u0000. */
static void every_name_makes_a_token_that_is_accepted(void **state)
{
    static const char *const names[] = {
        "Ada",   "\\u0000", "\\", "\\\\u0000", "a\\u0000b",        "\\ud800",
        "u0000", "\"",      "/",  "\\\"",      "\xf0\x9f\x8e\xa9", "\xe2\x80\xa8",
    };
    unsigned accepted = 0, count = sizeof(names) / sizeof(names[0]);

    for (unsigned i = 0; i < count; i++) {
        struct token_claims in = {.issued_s = NOW, .expires_s = NOW + 3600}, out;
        char token[TOKEN_BYTES_MAX];

        strcpy(in.subject, "f47ac10b-58cc-4372-a567-0e02b2c3d479");
        strcpy(in.email, "ada@example.org");
        strcpy(in.display_name, names[i]);
        assert_true(token_make(SECRET, &in, token));
        if (token_verify(SECRET, token, NOW, &out))
            accepted++;
        else
            print_message("refused with the name %s\n", names[i]);
    }
    print_message("%u of %u tokens with such names are accepted\n", accepted, count);
    assert_int_equal(accepted, count);
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

/* With the same secret others may issue tokens. What is not signature, algorithm, exp, nbf and sub
 * may be anything. */
static void tokens_of_other_issuers_are_accepted(void **state)
{
#define EXP ",\"exp\":1800003600"
    static const char *const headers[] = {
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"2026-11\"}",
        "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}",
        "{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1/\",\"x5c\":[\"AA\"]}",
        "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}",
        "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"HS256\",\"typ\":\"jwt\",\"cty\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"typ\":null}",
        " {\n\t\"alg\" : \"HS256\" }\r\n",
        "{\"alg\":\"\\u0048S256\"}",
    };
    static const char *const claims[] = {
        "{" PERSON EXP "}", /* no iat */
        "{" PERSON ",\"iat\":1799999000.25,\"exp\":1800003600.75}",
        "{" PERSON ",\"iat\":1.799999e9,\"exp\":1.8000036e9}",
        "{" PERSON ",\"exp\":1800000000.001}",
        "{" PERSON ",\"exp\":1999999999}", /* valid for years */
        "{" PERSON ",\"iat\":1800000061" EXP "}",
        "{" PERSON ",\"iat\":\"today\"" EXP "}",
        "{" PERSON ",\"iat\":-5" EXP "}",
        "{" PERSON ",\"iat\":null" EXP ",\"jti\":null}",
        "{" PERSON ",\"nbf\":1799999999.5" EXP "}",
        "{" PERSON ",\"nbf\":-1" EXP "}",
        "{" PERSON ",\"aud\":[\"meet\",\"chat\"],\"iss\":\"https://login.example.org/\"" EXP "}",
        "{" PERSON ",\"roles\":[{\"in\":\"a\"},{\"in\":\"b\"}],\"ext\":{\"a\":{\"b\":[1,{}]}}" EXP
        "}",
        "{" PERSON ",\"realm_access\":{\"sub\":\"x\",\"exp\":1}" EXP "}",
        "{" PERSON ",\"a\":1,\"a\":2" EXP "}", /* twice, but not one that is read */
        "{" PERSON ",\"note\":\"half \\ud83c an emoji, a NUL \\u0000, all \\ud83c\\udfa9\"" EXP "}",
        "{" PERSON
        ",\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":10,"
        "\"k\":11,\"l\":12,\"m\":13,\"n\":14,\"o\":15,\"p\":16,\"q\":17" EXP "}",
        "{\"sub\":\"f47ac10b-58cc-4372-a567-0e02b2c3d479\"" EXP "}", /* no e-mail, no name */
        "{\"sub\":\"F47AC10B-58CC-4372-A567-0E02B2C3D479\"" EXP "}",
        "{\"email\":[],\"displayName\":{},\"sub\":\"f47ac10b-58cc-4372-a567-0e02b2c3d479\"" EXP "}",
        "{\"displayName\":\"\\\\u0000\",\"sub\":\"f47ac10b-58cc-4372-a567-0e02b2c3d479\"" EXP "}",
    };
#undef EXP
    const unsigned header_count = sizeof(headers) / sizeof(headers[0]),
                   count = header_count + sizeof(claims) / sizeof(claims[0]);
    unsigned accepted = 0;
    char token[TOKEN_BYTES_MAX];

    for (unsigned i = 0; i < count; i++) {
        const char *header = i < header_count ? headers[i] : HEADER,
                   *body = i < header_count ? CLAIMS : claims[i - header_count];
        struct token_claims read;

        forge(SECRET, EVP_sha256(), header, body, token);
        if (token_verify(SECRET, token, NOW, &read) &&
            !strcmp(read.subject, "f47ac10b-58cc-4372-a567-0e02b2c3d479"))
            accepted++;
        else
            print_message("refused: %s %s\n", header, body);
    }
    print_message("%u of %u tokens of other issuers are accepted\n", accepted, count);
    assert_int_equal(accepted, count);
}

static void fractions_of_seconds_count(void **state)
{
    struct token_claims read;
    char token[TOKEN_BYTES_MAX];

    forge(SECRET, EVP_sha256(), HEADER, "{" PERSON ",\"nbf\":1799999999.5,\"exp\":1800000000.5}",
          token);
    assert_false(token_verify(SECRET, token, NOW - 1, &read));
    assert_true(token_verify(SECRET, token, NOW, &read));
    assert_int_equal(read.expires_s, NOW + 1);
    assert_false(token_verify(SECRET, token, NOW + 1, &read));
}

static void a_long_token_is_accepted_up_to_the_limit(void **state)
{
    static char body[TOKEN_READ_BYTES_MAX], token[2 * TOKEN_READ_BYTES_MAX];
    size_t longest = 0;

    for (size_t filler = 1000; filler < sizeof(body) - 200; filler += 100) {
        snprintf(body, sizeof(body), "{" PERSON ",\"exp\":1800003600,\"groups\":\"%0*d\"}",
                 (int)filler, 0);
        forge(SECRET, EVP_sha256(), HEADER, body, token);
        assert_int_equal(accepts(token), strlen(token) < TOKEN_READ_BYTES_MAX);
        if (accepts(token))
            longest = strlen(token);
    }
    print_message("longest token that is accepted: %zu bytes\n", longest);
    assert_true(longest > TOKEN_READ_BYTES_MAX - 200);
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
        "{\"alg\":\"HS256\\u0000\"}",
        "{\"alg\\u0000\":\"HS256\"}",
        "{\"alg\":\"HS256\\ud800\"}",
        "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}",
        "{\"alg\":\"HS256\",\"crit\":null}",
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
        "{" PERSON ",\"iat\":1799999000,\"exp\":1800000000}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1799999999}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":\"1800003600\"}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":null}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":true}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":[1800003600]}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1.8e9}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1e300}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1e999}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":-1}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":99999999999999999999}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":9223372036854775807}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":NaN}",
        "{" PERSON ",\"iat\":1799999000,\"exp\":1800003600,\"exp\":1900003600}",
        "{" PERSON ",\"iat\":1799999000,\"nbf\":1800000001,\"exp\":1800003600}",
        "{" PERSON ",\"iat\":1799999000,\"nbf\":\"0\",\"exp\":1800003600}",
        "{" PERSON ",\"iat\":1799999000,\"nbf\":null,\"exp\":1800003600}",
        "{" PERSON ",\"nbf\":1800000000.5,\"exp\":1800003600}",
        "{" PERSON ",\"nbf\":0,\"nbf\":1900000000,\"exp\":1800003600}",
        "{" PERSON ",\"exp\":1799999999.5}",
        "{" PERSON ",\"exp\\u0000\":1800003600}",
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
        cmocka_unit_test(our_tokens_are_accepted),
        cmocka_unit_test(the_longest_claims_fit),
        cmocka_unit_test(every_name_makes_a_token_that_is_accepted),
        cmocka_unit_test(tokens_of_other_libraries_are_accepted),
        cmocka_unit_test(tokens_of_other_issuers_are_accepted),
        cmocka_unit_test(fractions_of_seconds_count),
        cmocka_unit_test(a_long_token_is_accepted_up_to_the_limit),
        cmocka_unit_test(signed_tokens_with_wrong_content_are_refused),
        cmocka_unit_test(wrong_signatures_are_refused),
        cmocka_unit_test(damaged_tokens_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
