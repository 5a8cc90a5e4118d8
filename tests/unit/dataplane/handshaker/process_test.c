/* The handshaker as a process in its sandbox: it is killed and replaced; every kind of peer
 * works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/processes.h"
#include "dataplane/sandbox.h"
#include "world.h"
#include "src/log.h"

#define PATIENCE_NS (60 * NS_PER_S) /* an event that takes longer will not happen */

static pid_t process_start(void)
{
    struct settings settings = {.dtls_timeout_ms = 30000, .sandbox = true};
    struct descriptors set = {0};
    char why[192];
    pid_t child = fork();

    if (child)
        return child;
    log_open("handshaker", LOG_ERROR, false);
    if (geteuid() == 0)
        strcpy(settings.run_as, "nobody");
    descriptors_add(&set, region_reopen_readonly(world.fds[REGION_desired]), "desired");
    descriptors_add(&set, region_reopen_readonly(world.fds[REGION_resume]), "resume");
    descriptors_add(&set, dup(world.fds[REGION_keys]), "keys");
    for (uint32_t w = 0; w < WORKERS; w++)
        descriptors_add(&set, dup(world.bells[w]), "bell.worker.%u", w);
    descriptors_add(&set, dup(world.bell_handshaker), "bell.handshaker");
    if (!sandbox_prepare(SANDBOX_HANDSHAKER, &settings, why)) {
        fprintf(stderr, "%s\n", why);
        _exit(9);
    }
    _exit(handshaker_main(&settings, &set));
}

/* Forwards datagrams in real time until `done`; sleeps until the doorbell rings, as a worker
 * does. */
static bool real_run(struct client *client, bool (*done)(const struct client *))
{
    uint64_t until_ns = clock_monotonic_ns() + PATIENCE_NS, count;

    while (!done(client) && clock_monotonic_ns() < until_ns) {
        struct pollfd bell = {.fd = world.bells[client->worker], .events = POLLIN};
        ssize_t n;

        poll(&bell, 1, 20);
        n = read(bell.fd, &count, sizeof(count));
        (void)n;
        forward(client);
    }
    return done(client);
}

static bool is_connected(const struct client *client)
{
    struct key_row row;

    return client->peer.connected && key_row(client, &row) == ROW_OK &&
           row.state == DTLS_STATE_connected;
}

static bool is_failed(const struct client *client)
{
    struct key_row row;

    return client->noted_closed && key_row(client, &row) == ROW_OK &&
           row.state == DTLS_STATE_failed;
}

static bool is_connecting(const struct client *client)
{
    struct key_row row;

    return key_row(client, &row) == ROW_OK && row.state == DTLS_STATE_connecting;
}

static uint64_t beat_ns;

static bool has_new_heartbeat(const struct client *client)
{
    return region_heartbeat(world.keys_seen.header) > beat_ns;
}

static int process_end(pid_t child, int signal_number)
{
    int status = 0;

    kill(child, signal_number);
    for (uint64_t end_ns = clock_monotonic_ns() + PATIENCE_NS; clock_monotonic_ns() < end_ns;) {
        if (waitpid(child, &status, WNOHANG) == child)
            return status;
        usleep(10000);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return -1;
}

static void survives_kill_9(void **state)
{
    struct client client, unfinished, next;
    struct key_row before, after;
    uint8_t shown[2][32];
    unsigned bytes;
    int status;
    pid_t child = process_start();

    client_open(&client, 500, 1, 0, false);
    client_signal(&client, DTLS_ROLE_server);
    peer_continue(&client.peer);
    assert_true(real_run(&client, is_connected));
    keys_agree(&client, true);
    X509_digest(SSL_get0_peer_certificate(client.peer.ssl), EVP_sha256(), shown[0], &bytes);
    client_open(&unfinished, 501, 1, 1, false);
    client_signal(&unfinished, DTLS_ROLE_server);
    peer_continue(&unfinished.peer);
    unfinished.peer.failed = true; /* it ignores all datagrams from now on */
    assert_true(real_run(&unfinished, is_connecting));
    key_row(&client, &before);
    status = process_end(child, SIGKILL);
    assert_true(WIFSIGNALED(status));

    child = process_start();
    client_open(&next, 502, 1, 2, false);
    client_signal(&next, DTLS_ROLE_server);
    peer_continue(&next.peer);
    assert_true(real_run(&next, is_connected));
    keys_agree(&next, true);
    X509_digest(SSL_get0_peer_certificate(next.peer.ssl), EVP_sha256(), shown[1], &bytes);
    assert_memory_equal(shown[0], shown[1], 32);
    assert_int_equal(key_row(&client, &after), ROW_OK);
    assert_memory_equal(&before, &after, sizeof(before));
    unfinished.noted_closed = true; /* we may have read the note at the bell of another worker */
    assert_true(real_run(&unfinished, is_failed));
    assert_int_equal(world.keys_seen.header->writer_starts, 2);
    beat_ns = region_heartbeat(world.keys_seen.header);
    assert_true(real_run(&next, has_new_heartbeat));
    status = process_end(child, SIGTERM);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("SIGTERM: status %#x", status);
    peer_close(&client.peer);
    peer_close(&unfinished.peer);
    peer_close(&next.peer);
}

/* OpenSSL loads some things only when a peer needs them; they must be loaded before the sandbox is
 * shut. */
static void every_kind_of_peer_works_in_the_sandbox(void **state)
{
    static const struct {
        struct peer_settings peer;
        bool wrong_fingerprint;
        enum dtls_failure failure;
        bool begins_nothing; /* its ClientHello is refused */
    } rows[] = {
#define V12 .version_min = DTLS1_2_VERSION, .version_max = DTLS1_2_VERSION
        {{V12, .ciphers = "ECDHE-ECDSA-AES128-SHA"}, .begins_nothing = true},
        {{V12, .certificate = PEER_RSA}},
        {{V12, .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"}},
        {{V12, .ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"}},
        {{V12, .profiles = "SRTP_AES128_CM_SHA1_80"}},
        {{V12, .server = true}},
        {{V12, .server = true, .certificate = PEER_RSA}},
        {{V12}, true, DTLS_FAILURE_fingerprint_mismatch},
        {{V12, .certificate = PEER_NO_CERTIFICATE}, false, DTLS_FAILURE_no_certificate},
        {{V12, .profiles = ""}, false, DTLS_FAILURE_no_srtp_profile},
    };
    pid_t child = process_start();
    int status;

    for (uint32_t i = 0; i < COUNT(rows); i++) {
        uint8_t fingerprint[64] = {0};
        struct client client;
        struct key_row row;
        bool server = rows[i].peer.server;

        client_open_as(&client, i, 1, i % WORKERS, &rows[i].peer);
        peer_fingerprint(&client.peer, EVP_sha256(), fingerprint);
        fingerprint[0] ^= rows[i].wrong_fingerprint;
        transport_put(&client, server ? DTLS_ROLE_client : DTLS_ROLE_server, FINGERPRINT_sha_256,
                      fingerprint, 32);
        if (server)
            note_put(client.worker, client.handle, DTLS_NOTE_validated, NULL, 0);
        else
            peer_continue(&client.peer);
        if (rows[i].begins_nothing) {
            peer_close(&client.peer);
            continue;
        }
        assert_true(real_run(&client, rows[i].failure ? is_failed : is_connected));
        assert_int_equal(key_row(&client, &row), ROW_OK);
        assert_int_equal(row.failure, rows[i].failure);
        if (!rows[i].failure)
            keys_agree(&client, !server);
        peer_close(&client.peer);
    }
    for (uint32_t i = 0; i < COUNT(rows); i++) {
        const struct client refused = {.handle = handle_make(i, 1)};
        struct key_row row;

        if (rows[i].begins_nothing)
            assert_int_equal(key_row(&refused, &row), ROW_FREE);
    }
    status = process_end(child, SIGTERM);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(survives_kill_9, world_open, world_close),
        cmocka_unit_test_setup_teardown(every_kind_of_peer_works_in_the_sandbox, world_open,
                                        world_close),
    };

    log_open("handshaker_test", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
