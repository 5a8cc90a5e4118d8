/* The server side of TLS with an OpenSSL client in the same process, and new certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/web/certificate.h"
#include "controlplane/web/tls_server.h"
#include "src/log.h"

static char directory[] = "/tmp/ringcast-tls-XXXXXX";
static char certificate_file[64], key_file[64];

static FILE *create(const char *path)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    return file;
}

static void write_certificate(const char *path, EVP_PKEY *key, const char *name, long days)
{
    X509 *x509 = X509_new();
    X509_NAME *subject = X509_get_subject_name(x509);
    FILE *file = create(path);

    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -86400 * 10);
    X509_gmtime_adj(X509_getm_notAfter(x509), 86400 * days);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x509, subject);
    X509_set_pubkey(x509, key);
    X509_sign(x509, key, EVP_sha256());
    PEM_write_X509(file, x509);
    fclose(file);
    X509_free(x509);
}

static void write_key(const char *path, EVP_PKEY *key)
{
    FILE *file = create(path);

    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
}

/* Writes a new certificate with this name and its key. The caller frees the key. */
static EVP_PKEY *write_pair(const char *name, long days)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    write_certificate(certificate_file, key, name, days);
    write_key(key_file, key);
    return key;
}

/* ---- a client ---- */

struct client {
    SSL_CTX *context;
    SSL *ssl;
    struct tls_server *server;
};

static void client_open(struct client *client, SSL_CTX *context, struct tls_server *server)
{
    client->context = context;
    client->ssl = SSL_new(context);
    client->server = server;
    SSL_set_bio(client->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client->ssl);
}

/* Moves bytes between client and server, `step` bytes at a time. Returns the last verdict of the
 * server. */
static enum tls_server_verdict carry(struct client *client, size_t step)
{
    enum tls_server_verdict verdict = TLS_MORE;
    char bytes[20000], plain[4096];
    size_t count;

    for (int round = 0; round < 10; round++) {
        int read;
        char *out;

        if (!SSL_is_init_finished(client->ssl))
            SSL_do_handshake(client->ssl);
        while ((read = BIO_read(SSL_get_wbio(client->ssl), bytes, (int)step)) > 0) {
            tls_server_feed(client->server, bytes, (size_t)read);
            if (!tls_server_is_open(client->server))
                verdict = tls_server_handshake(client->server);
            while (tls_server_is_open(client->server) &&
                   (verdict = tls_server_read(client->server, plain, sizeof(plain), &count)) ==
                       TLS_DONE)
                assert_true(tls_server_write(client->server, plain, count)); /* an echo */
        }
        out = tls_server_take_output(client->server, &count);
        if (out != NULL)
            BIO_write(SSL_get_rbio(client->ssl), out, (int)count);
        free(out);
    }
    return verdict;
}

static SSL_CTX *client_context(int min, int max, const char *ciphers)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_min_proto_version(context, min);
    SSL_CTX_set_max_proto_version(context, max);
    SSL_CTX_set_security_level(context, 0);
    if (ciphers != NULL)
        SSL_CTX_set_cipher_list(context, ciphers);
    return context;
}

static bool can_talk(SSL_CTX *server, SSL_CTX *context, size_t step, const unsigned char *alpn,
                     unsigned alpn_bytes)
{
    struct client client;
    char text[6000], back[6000];
    bool ok;

    client_open(&client, context, tls_server_new(server));
    if (alpn != NULL)
        SSL_set_alpn_protos(client.ssl, alpn, alpn_bytes);
    carry(&client, step);
    ok = SSL_is_init_finished(client.ssl) && tls_server_is_open(client.server);
    if (ok) {
        memset(text, 'x', sizeof(text));
        assert_int_equal(SSL_write(client.ssl, text, sizeof(text)), sizeof(text));
        carry(&client, step);
        for (size_t at = 0; at < sizeof(back);) {
            int count = SSL_read(client.ssl, back + at, (int)(sizeof(back) - at));

            assert_true(count > 0);
            at += (size_t)count;
        }
        assert_memory_equal(text, back, sizeof(text));
        SSL_shutdown(client.ssl);
        assert_int_equal(carry(&client, step), TLS_CLOSED);
        tls_server_say_goodbye(client.server);
    }
    tls_server_free(client.server);
    SSL_free(client.ssl);
    return ok;
}

/* ---- the tests ---- */

static uv_loop_t loop;

static struct certificate *open_pair(char *why)
{
    return certificate_open(&loop, certificate_file, key_file, why);
}

static void close_pair(struct certificate *certificate)
{
    certificate_close(certificate);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void protocols_ciphers_alpn(void **state)
{
    static const struct {
        int min, max;
        const char *ciphers, *alpn;
        bool ok;
    } rows[] = {
        {TLS1_3_VERSION, TLS1_3_VERSION, NULL, NULL, true},
        {TLS1_2_VERSION, TLS1_2_VERSION, NULL, NULL, true},
        {TLS1_VERSION, TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL, false},
        {TLS1_2_VERSION, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL, true},
        {TLS1_2_VERSION, TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", NULL, true},
        {TLS1_2_VERSION, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", NULL, false}, /* CBC */
        {TLS1_2_VERSION, TLS1_2_VERSION, "AES128-GCM-SHA256", NULL, false}, /* no forward secrecy */
        {TLS1_2_VERSION, TLS1_2_VERSION, "ALL:eNULL:@SECLEVEL=0", NULL,
         true}, /* the server chooses a good cipher */
        {TLS1_2_VERSION, TLS1_3_VERSION, NULL, "\x8http/1.1", true},
        {TLS1_2_VERSION, TLS1_3_VERSION, NULL, "\x2h2\x8http/1.1", true},
        {TLS1_2_VERSION, TLS1_3_VERSION, NULL, "\x2h2", false},
    };
    static const size_t steps[] = {1, 7, 1400, 20000};
    char why[192];
    EVP_PKEY *key = write_pair("a.example", 90);
    struct certificate *certificate = open_pair(why);

    assert_non_null(certificate);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
            SSL_CTX *context = client_context(rows[i].min, rows[i].max, rows[i].ciphers);
            bool ok = can_talk(certificate_current(certificate), context, steps[s],
                               (const unsigned char *)rows[i].alpn,
                               rows[i].alpn == NULL ? 0 : (unsigned)strlen(rows[i].alpn));

            if (ok != rows[i].ok)
                fail_msg("row %zu, %zu bytes at a time: %s", i, steps[s],
                         ok ? "accepted" : "refused");
            SSL_CTX_free(context);
        }
    }
    EVP_PKEY_free(key);
    close_pair(certificate);
}

static void random_bytes_are_no_handshake(void **state)
{
    char why[192], random_bytes[512];
    EVP_PKEY *key = write_pair("a.example", 90);
    struct certificate *certificate = open_pair(why);
    size_t count;

    srand(1);
    for (int i = 0; i < 2000; i++) {
        struct tls_server *tls = tls_server_new(certificate_current(certificate));

        for (size_t n = 0; n < sizeof(random_bytes); n++)
            random_bytes[n] = (char)rand();
        random_bytes[0] = 22, random_bytes[1] = 3, random_bytes[2] = 1,
        random_bytes[3] = 0; /* the header of a record */
        if (i % 2)
            random_bytes[4] = 60, random_bytes[5] = 1, random_bytes[6] = 0,
            random_bytes[7] = 0; /* and of a ClientHello */
        tls_server_feed(tls, random_bytes, sizeof(random_bytes));
        assert_int_not_equal(tls_server_handshake(tls), TLS_DONE);
        assert_int_not_equal(tls_server_read(tls, random_bytes, sizeof(random_bytes), &count),
                             TLS_DONE);
        tls_server_free(tls);
    }
    EVP_PKEY_free(key);
    close_pair(certificate);
}

static SSL_SESSION *kept;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

static bool is_resumed(SSL_CTX *server, SSL_CTX *context)
{
    struct client client;
    bool resumed;

    client_open(&client, context, tls_server_new(server));
    if (kept != NULL)
        SSL_set_session(client.ssl, kept);
    carry(&client, 20000);
    SSL_write(client.ssl, "x", 1);
    carry(&client, 20000);
    SSL_read(client.ssl, (char[4]){0}, 4);
    resumed = tls_server_is_resumed(client.server);
    assert_int_equal(resumed, SSL_session_reused(client.ssl));
    SSL_shutdown(client.ssl);
    tls_server_free(client.server);
    SSL_free(client.ssl);
    return resumed;
}

static void tickets_survive_a_reload(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    char why[192];

    for (int i = 0; i < 2; i++) {
        EVP_PKEY *key = write_pair("a.example", 90);
        struct certificate *certificate = open_pair(why), *other;
        SSL_CTX *context = client_context(versions[i], versions[i], NULL);

        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(context, keep_session);
        assert_false(is_resumed(certificate_current(certificate), context));
        assert_non_null(kept);
        assert_true(is_resumed(certificate_current(certificate), context));
        EVP_PKEY_free(key);
        key = write_pair("b.example", 90);
        assert_true(certificate_reload(certificate, why));
        assert_true(is_resumed(certificate_current(certificate), context));
        /* Another server has other ticket keys: a full handshake follows. */
        other = open_pair(why);
        assert_false(is_resumed(certificate_current(other), context));
        SSL_SESSION_free(kept);
        kept = NULL;
        SSL_CTX_free(context);
        EVP_PKEY_free(key);
        certificate_close(other);
        close_pair(certificate);
    }
}

static void broken_pairs_are_refused(void **state)
{
    char why[192] = "";
    EVP_PKEY *key = write_pair("a.example", 90), *foreign = EVP_EC_gen("P-256");
    struct certificate *certificate = open_pair(why);
    SSL_CTX *before = certificate_current(certificate);
    FILE *file;

    write_key(key_file, foreign);
    assert_false(certificate_reload(certificate, why));
    assert_non_null(strstr(why, "RINGCAST_TLS_KEY"));
    assert_non_null(strstr(why, "does not belong to the certificate"));
    write_key(key_file, key);

    write_certificate(certificate_file, key, "old.example", -1);
    assert_false(certificate_reload(certificate, why));
    assert_non_null(strstr(why, "has expired"));

    file = create(certificate_file);
    fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", file);
    fclose(file);
    assert_false(certificate_reload(certificate, why));
    assert_non_null(strstr(why, certificate_file));

    fclose(create(certificate_file)); /* empty, as while it is being written */
    assert_false(certificate_reload(certificate, why));
    unlink(certificate_file);
    assert_false(certificate_reload(certificate, why));
    assert_non_null(strstr(why, "No such file"));
    assert_null(certificate_open(&loop, certificate_file, key_file, why));
    assert_non_null(strstr(why, "No such file"));

    assert_ptr_equal(certificate_current(certificate), before);
    assert_int_equal(certificate_refusals(certificate), 5);
    write_certificate(certificate_file, key, "new.example", 30);
    assert_true(certificate_reload(certificate, why));
    assert_int_equal(certificate_reloads(certificate), 1);
    EVP_PKEY_free(key);
    EVP_PKEY_free(foreign);
    close_pair(certificate);
}

static int set_up(void **state)
{
    log_open("test", LOG_ERROR, false);
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(certificate_file, sizeof(certificate_file), "%s/certificate.pem", directory);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", directory);
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    unlink(certificate_file);
    unlink(key_file);
    rmdir(directory);
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocols_ciphers_alpn),
        cmocka_unit_test(random_bytes_are_no_handshake),
        cmocka_unit_test(tickets_survive_a_reload),
        cmocka_unit_test(broken_pairs_are_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
