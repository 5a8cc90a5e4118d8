/* What the handshaker's tests need: the regions, a control plane that writes transport rows, a
 * forwarder at the other end of the rings, browsers, and a clock that the test moves. */
#ifndef RINGCAST_TEST_HANDSHAKER_WORLD_H
#define RINGCAST_TEST_HANDSHAKER_WORLD_H

#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/handshaker/handshaker.h"
#include "tests/unit/dataplane/engines/dtls_peer.h"
#include "src/clock.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WORKERS 3

/* ---- the other processes ---- */

static struct world {
    int fds[REGION_COUNT];
    struct region desired, resume;       /* as their writers have them */
    struct region keys;                  /* as the handshaker has it */
    struct region keys_seen;             /* as the forwarder sees it */
    struct region desired_ro, resume_ro; /* as the handshaker has them */
    struct ring to_handshaker[WORKERS], from_handshaker[WORKERS];
    int bell_handshaker, bells[WORKERS];
    struct handshaker *handshaker;
    uint64_t now_ns;
    unsigned keys_notes, closed_notes, datagrams;
} world;

static inline uint64_t virtual_clock(void)
{
    return world.now_ns;
}

static inline void map(struct region *region, enum region_id id, bool writable)
{
    char why[128] = "";
    int fd = writable ? dup(world.fds[id]) : region_reopen_readonly(world.fds[id]);

    if (!region_map(region, id, fd, writable, why))
        fail_msg("%s", why);
    close(fd);
}

static inline int world_open(void **state)
{
    world = (struct world){.now_ns = 1000 * NS_PER_S};
    for (int id = 0; id < REGION_COUNT; id++)
        world.fds[id] = region_create((enum region_id)id, 7);
    map(&world.desired, REGION_desired, true);
    map(&world.resume, REGION_resume, true);
    map(&world.keys, REGION_keys, true);
    map(&world.keys_seen, REGION_keys, false);
    map(&world.desired_ro, REGION_desired, false);
    map(&world.resume_ro, REGION_resume, false);
    world.bell_handshaker = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (uint32_t w = 0; w < WORKERS; w++) {
        world.to_handshaker[w] = region_ring(&world.resume, &world.keys_seen, w);
        world.from_handshaker[w] = region_ring(&world.keys_seen, &world.resume, w);
        world.bells[w] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    return 0;
}

static inline int world_close(void **state)
{
    struct region *regions[] = {&world.desired,   &world.resume,     &world.keys,
                                &world.keys_seen, &world.desired_ro, &world.resume_ro};

    if (world.handshaker) {
        handshaker_close(world.handshaker);
        free(world.handshaker);
    }
    for (size_t i = 0; i < COUNT(regions); i++)
        region_unmap(regions[i]);
    for (int id = 0; id < REGION_COUNT; id++)
        close(world.fds[id]);
    for (uint32_t w = 0; w < WORKERS; w++)
        close(world.bells[w]);
    close(world.bell_handshaker);
    return 0;
}

/* Starts a handshaker in this process. An earlier one ends as after kill -9, except that its memory
 * is freed. */
static inline void handshaker_start(void)
{
    struct handshaker_config config = {
        .desired = &world.desired_ro,
        .resume = &world.resume_ro,
        .keys = &world.keys,
        .worker_count = WORKERS,
        .bells = {world.bells[0], world.bells[1], world.bells[2]},
        .timeout_ns = 30 * NS_PER_S,
        .monotonic_ns = virtual_clock,
    };
    char why[192] = "";

    if (world.handshaker) {
        handshaker_close(world.handshaker);
        free(world.handshaker);
    }
    world.handshaker = calloc(1, sizeof(*world.handshaker));
    if (!handshaker_open(world.handshaker, &config, why))
        fail_msg("%s", why);
}

static inline void turns(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        world.now_ns += NS_PER_MS;
        handshaker_turn(world.handshaker);
    }
}

/* ---- the control plane ---- */

struct client {
    struct peer peer;
    handle_word handle;
    uint32_t worker;
    bool noted_keys, noted_closed;
};

static inline void transport_put(const struct client *client, enum dtls_role role,
                                 enum fingerprint_algorithm algorithm, const uint8_t *fingerprint,
                                 size_t bytes)
{
    uint32_t index = handle_index(client->handle);
    struct transport_row row = {
        .header = {.generation = handle_generation(client->handle), .used = 1},
        .worker = client->worker,
        .direction = DIRECTION_send,
        .dtls_role = (uint8_t)role,
        .fingerprint_algorithm = (uint8_t)algorithm,
        .fingerprint_bytes = (uint8_t)bytes,
    };

    memcpy(row.id, &client->handle, sizeof(client->handle));
    memcpy(row.fingerprint, fingerprint, bytes);
    row_write(TABLE_transport, region_row(&world.desired, TABLE_transport, index), &row.header);
}

static inline void transport_remove(const struct client *client)
{
    struct transport_row row = {.header = {.generation = handle_generation(client->handle)}};

    row_write(TABLE_transport,
              region_row(&world.desired, TABLE_transport, handle_index(client->handle)),
              &row.header);
}

/* ---- the forwarder ---- */

static inline bool note_put(uint32_t worker, handle_word handle, uint32_t note, const uint8_t *data,
                            size_t bytes)
{
    struct ring_datagram *entry = ring_reserve(&world.to_handshaker[worker]);
    const uint64_t one = 1;
    ssize_t n;

    if (!entry)
        return false;
    entry->handle = handle;
    entry->note = note;
    entry->bytes = (uint32_t)bytes;
    if (bytes && bytes <= DTLS_DATAGRAM_BYTES_MAX) /* a longer one only claims its length */
        memcpy(entry->data, data, bytes);
    ring_publish(&world.to_handshaker[worker]);
    n = write(world.bell_handshaker, &one, sizeof(one));
    (void)n;
    return true;
}

static inline void from_peer(void *context, const uint8_t *datagram, size_t bytes)
{
    struct client *client = context;

    note_put(client->worker, client->handle, DTLS_NOTE_datagram, datagram, bytes);
}

/* Gives the handshaker's datagrams to the client. Notes for other transports are only counted. */
static inline void forward(struct client *client)
{
    for (uint32_t w = 0; w < WORKERS; w++) {
        const struct ring_datagram *shared;

        while ((shared = ring_peek(&world.from_handshaker[w]))) {
            struct ring_datagram note = *shared;

            ring_consume(&world.from_handshaker[w]);
            world.keys_notes += note.note == DTLS_NOTE_keys;
            world.closed_notes += note.note == DTLS_NOTE_closed;
            world.datagrams += note.note == DTLS_NOTE_datagram;
            if (!client || note.handle != client->handle)
                continue;
            assert_int_equal(w, client->worker);
            client->noted_keys |= note.note == DTLS_NOTE_keys;
            client->noted_closed |= note.note == DTLS_NOTE_closed;
            if (note.note == DTLS_NOTE_datagram)
                peer_receive(&client->peer, note.data, note.bytes);
        }
    }
}

static inline enum row_result key_row(const struct client *client, struct key_row *row)
{
    return row_copy(TABLE_key, row,
                    region_row(&world.keys_seen, TABLE_key, handle_index(client->handle)),
                    handle_generation(client->handle));
}

static inline void expect_row(const struct client *client, enum dtls_state state,
                              enum dtls_failure failure)
{
    struct key_row row;
    static const uint8_t zero[96];

    assert_int_equal(key_row(client, &row), ROW_OK);
    assert_int_equal(row.state, state);
    assert_int_equal(row.failure, failure);
    assert_true(row.transport == client->handle);
    if (state == DTLS_STATE_connected) {
        assert_int_not_equal(row.profile, SRTP_PROFILE_none);
        assert_memory_not_equal(row.ours_key, zero, 16);
    } else {
        assert_int_equal(row.profile, SRTP_PROFILE_none);
        assert_memory_equal(row.ours_key, zero, sizeof(zero));
    }
}

/* The row is not in use, and no byte of a key is left in it. */
static inline void expect_wiped(const struct client *client)
{
    const struct key_row *shared = (const struct key_row *)region_row(&world.keys_seen, TABLE_key,
                                                                      handle_index(client->handle));
    static const uint8_t zero[sizeof(struct key_row)];

    assert_int_equal(shared->header.used, 0);
    assert_memory_equal(&shared->transport, zero,
                        sizeof(*shared) - offsetof(struct key_row, transport));
}

/* ---- a browser ---- */

static inline void client_open_as(struct client *client, uint32_t index, uint32_t generation,
                                  uint32_t worker, const struct peer_settings *settings)
{
    *client = (struct client){.handle = handle_make(index, generation), .worker = worker};
    peer_open(&client->peer, settings);
    client->peer.send = from_peer;
    client->peer.send_context = client;
}

static inline void client_open(struct client *client, uint32_t index, uint32_t generation,
                               uint32_t worker, bool peer_is_server)
{
    struct peer_settings settings = {
        .server = peer_is_server, .version_min = DTLS1_2_VERSION, .version_max = DTLS1_2_VERSION};

    client_open_as(client, index, generation, worker, &settings);
}

/* The client signals its fingerprint. */
static inline void client_signal(struct client *client, enum dtls_role our_role)
{
    uint8_t fingerprint[64];
    size_t bytes = peer_fingerprint(&client->peer, EVP_sha256(), fingerprint);

    transport_put(client, our_role, FINGERPRINT_sha_256, fingerprint, bytes);
}

static inline void client_run(struct client *client)
{
    for (unsigned i = 0; i < 20; i++) {
        turns(1);
        forward(client);
    }
}

/* Connects a client; we are the DTLS server. */
static inline void client_connect(struct client *client, uint32_t index, uint32_t generation,
                                  uint32_t worker)
{
    client_open(client, index, generation, worker, false);
    client_signal(client, DTLS_ROLE_server);
    peer_continue(&client->peer);
    client_run(client);
    expect_row(client, DTLS_STATE_connected, DTLS_FAILURE_none);
}

static inline void keys_agree(const struct client *client, bool we_are_server)
{
    struct key_row row;
    uint8_t all[96];
    size_t key, salt, ours = we_are_server;

    assert_int_equal(key_row(client, &row), ROW_OK);
    assert_int_equal(row.profile, SSL_get_selected_srtp_profile(client->peer.ssl)->id);
    key = row.profile == SRTP_PROFILE_aead_aes_256_gcm ? 32 : 16;
    salt = row.profile == SRTP_PROFILE_aes128_cm_sha1_80 ? 14 : 12;
    assert_true(peer_export(&client->peer, all, 2 * (key + salt)));
    assert_memory_equal(row.ours_key, all + ours * key, key);
    assert_memory_equal(row.theirs_key, all + (1 - ours) * key, key);
    assert_memory_equal(row.ours_salt, all + 2 * key + ours * salt, salt);
    assert_memory_equal(row.theirs_salt, all + 2 * key + (1 - ours) * salt, salt);
    assert_in_range(row.connected_wall_ms, clock_wall_ns() / NS_PER_MS - 60000,
                    clock_wall_ns() / NS_PER_MS);
}

#endif
