/* TLS without I/O: OpenSSL reads the fed bytes and writes to a buffer in memory. */
#include "tls_server.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

struct tls_server {
    SSL *ssl;
    const char *in;
    size_t in_bytes;
    char *out;
    size_t out_bytes, out_room;
    bool failed;
};

/* ---- the BIO under the SSL ---- */

/* OpenSSL reads the fed bytes directly and writes into our output. An idle connection has no
 * buffers here. */
static int give(BIO *bio, char *to, int room)
{
    struct tls_server *tls = BIO_get_data(bio);
    size_t count = tls->in_bytes < (size_t)room ? tls->in_bytes : (size_t)room;

    BIO_clear_retry_flags(bio);
    if (count == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, tls->in, count);
    tls->in += count;
    tls->in_bytes -= count;
    return (int)count;
}

static int take(BIO *bio, const char *bytes, int count)
{
    struct tls_server *tls = BIO_get_data(bio);
    size_t wanted = tls->out_bytes + (size_t)count;

    if (wanted > tls->out_room) {
        size_t room = wanted < 1024 ? 1024 : wanted + wanted / 2;
        char *out = realloc(tls->out, room);

        if (out == NULL)
            return -1;
        tls->out = out;
        tls->out_room = room;
    }
    memcpy(tls->out + tls->out_bytes, bytes, (size_t)count);
    tls->out_bytes = wanted;
    return count;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH;
}

/* Made once; lives as long as the process. */
static BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;

    if (method == NULL) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fed bytes");
        if (method != NULL) {
            BIO_meth_set_read(method, give);
            BIO_meth_set_write(method, take);
            BIO_meth_set_ctrl(method, control);
        }
    }
    return method;
}

/* ---- a connection ---- */

struct tls_server *tls_server_new(SSL_CTX *context)
{
    struct tls_server *tls = calloc(1, sizeof(*tls));
    BIO_METHOD *method = bio_method();
    BIO *bio = tls == NULL || method == NULL ? NULL : BIO_new(method);

    if (bio != NULL)
        tls->ssl = SSL_new(context);
    if (bio == NULL || tls->ssl == NULL) {
        BIO_free(bio);
        free(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void tls_server_free(struct tls_server *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    free(tls->out);
    free(tls);
}

void tls_server_feed(struct tls_server *tls, const char *bytes, size_t count)
{
    tls->in = bytes;
    tls->in_bytes = count;
}

static enum tls_server_verdict verdict(struct tls_server *tls, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        tls->failed = true; /* OpenSSL forbids any further call but SSL_free */
        return TLS_FAILED;
    }
}

enum tls_server_verdict tls_server_handshake(struct tls_server *tls)
{
    int result;

    ERR_clear_error();
    result = SSL_do_handshake(tls->ssl);
    return result == 1 ? TLS_DONE : verdict(tls, result);
}

enum tls_server_verdict tls_server_read(struct tls_server *tls, char *to, size_t room,
                                        size_t *count)
{
    int result;

    *count = 0;
    if (tls->failed)
        return TLS_FAILED;
    ERR_clear_error();
    result = SSL_read_ex(tls->ssl, to, room, count);
    return result == 1 ? TLS_DONE : verdict(tls, result);
}

bool tls_server_write(struct tls_server *tls, const char *bytes, size_t count)
{
    while (count > 0) {
        size_t written;

        if (tls->failed)
            return false;
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, bytes, count, &written) != 1) {
            tls->failed = true;
            return false;
        }
        bytes += written;
        count -= written;
    }
    return true;
}

void tls_server_say_goodbye(struct tls_server *tls)
{
    ERR_clear_error();
    if (!tls->failed && tls_server_is_open(tls))
        SSL_shutdown(tls->ssl);
}

char *tls_server_take_output(struct tls_server *tls, size_t *count)
{
    char *out = tls->out_bytes > 0 ? tls->out : NULL;

    *count = tls->out_bytes;
    if (out == NULL)
        return NULL;
    tls->out = NULL;
    tls->out_bytes = tls->out_room = 0;
    return out;
}

bool tls_server_is_open(const struct tls_server *tls)
{
    return SSL_is_init_finished(tls->ssl) == 1;
}

bool tls_server_is_resumed(const struct tls_server *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}
