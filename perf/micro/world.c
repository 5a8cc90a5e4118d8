/* Workers on a bench, and rooms of clients. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "packets.h"
#include "src/clock.h"

#define PORT_FIRST 1024
#define GENERATION 1
#define DTLS_BYTES 64
#define CONNECT_TOGETHER 64 /* clients; with more a ring could overflow */

static _Atomic uint64_t now_ns = 1000 * NS_PER_S;

uint64_t world_now_ns(void)
{
    return atomic_load_explicit(&now_ns, memory_order_relaxed);
}

static uint64_t wall_ns(void)
{
    return 1700000000ull * NS_PER_S + world_now_ns();
}

void world_advance(uint64_t ns)
{
    atomic_fetch_add_explicit(&now_ns, ns, memory_order_relaxed);
}

static void region_start(struct region *region, enum region_id id)
{
    char why[128];
    int fd = region_create(id, 7);

    if (fd < 0)
        bench_die("cannot make region %s", region_names[id]);
    if (!region_map(region, id, fd, true, why))
        bench_die("region %s: %s", region_names[id], why);
    close(fd);
}

static void worker_start(struct bench_world *world, uint32_t index)
{
    struct bench_worker *w = &world->workers[index];
    struct worker_config config = {
        .index = index,
        .desired = &world->desired,
        .actual = &world->actual,
        .keys = &world->keys,
        .resume = &world->resume,
        .backend = &io_replay_backend,
        .bell_control = -1,
        .bell_handshaker = -1,
        .consent_ns = UINT64_MAX / 2, /* clients need not check again while they are measured */
        .udp_port = (uint16_t)(40000 + index),
        .has_ipv4 = true,
        .handoff = world->handoff,
        .monotonic_ns = world->on_threads ? NULL : world_now_ns,
        .wall_ns = world->on_threads ? NULL : wall_ns,
    };
    char why[192];

    w->io = config.io = io_replay_open();
    if (!w->io)
        bench_die("the replay backend does not open");
    w->worker = bench_pages(sizeof(struct worker));
    if (!worker_open(w->worker, &config, why))
        bench_die("worker %u: %s", index, why);
    /* Keys of the hashes of user fragments and paths: every run has the same collisions. */
    w->worker->checks.secret = w->worker->transports.ufrags.secret = 0x5eed;
    w->changes = region_ring(&world->desired, &world->actual, index);
    w->events = region_ring(&world->actual, &world->desired, index);
    w->to_handshaker = region_ring(&world->resume, &world->keys, index);
    w->from_handshaker = region_ring(&world->keys, &world->resume, index);
}

static void open_all(struct bench_world *world, uint32_t worker_count, bool on_threads)
{
    if (worker_count == 0 || worker_count > WORKERS_MAX)
        bench_die("the number of workers must be 1 to %d", WORKERS_MAX);
    *world = (struct bench_world){.worker_count = worker_count, .on_threads = on_threads};
    if (on_threads && !(world->handoff = handoff_new(worker_count)))
        bench_die("no address space for the lanes between %u workers", worker_count);
    region_start(&world->desired, REGION_desired);
    region_start(&world->actual, REGION_actual);
    region_start(&world->keys, REGION_keys);
    region_start(&world->resume, REGION_resume);
    world->crypto = srtp_engine_new();
    if (!world->crypto)
        bench_die("intel-ipsec-mb does not start on this processor");
    for (uint32_t i = 0; i < worker_count; i++)
        worker_start(world, i);
}

void world_open(struct bench_world *world, uint32_t worker_count)
{
    open_all(world, worker_count, false);
}

void world_open_on_threads(struct bench_world *world, uint32_t worker_count)
{
    open_all(world, worker_count, true);
}

void world_close(struct bench_world *world)
{
    for (uint32_t i = 0; i < world->worker_count; i++) {
        struct bench_worker *w = &world->workers[i];

        worker_close(w->worker);
        io_replay_backend.close(w->io);
        bench_pages_free(w->worker, sizeof(struct worker));
    }
    handoff_delete(world->handoff);
    srtp_engine_delete(world->crypto);
    region_unmap(&world->desired);
    region_unmap(&world->actual);
    region_unmap(&world->keys);
    region_unmap(&world->resume);
}

void world_drain(struct bench_world *world)
{
    for (uint32_t i = 0; i < world->worker_count; i++) {
        ring_skip_all(&world->workers[i].events);
        ring_skip_all(&world->workers[i].to_handshaker);
    }
}

void world_settle(struct bench_world *world)
{
    /* What one worker sends in its last turn another sees a turn later. */
    unsigned idle = 0, wanted = world->handoff ? 3 : 1;

    while (idle < wanted) {
        bool busy = false;

        for (uint32_t i = 0; i < world->worker_count; i++) {
            struct bench_worker *w = &world->workers[i];

            if (worker_turn(w->worker) || ring_peek(&w->changes) ||
                ring_peek(&w->from_handshaker) || w->worker->reconciler.rescan.active)
                busy = true;
        }
        world_drain(world);
        idle = busy ? 0 : idle + 1;
    }
}

uint64_t world_sent_rtp(struct bench_world *world)
{
    uint64_t sent = 0;

    for (uint32_t i = 0; i < world->worker_count; i++) {
        const struct bench_worker *w = &world->workers[i];

        sent += io_replay_backend.counters(w->io)->sent;
        sent -= w->worker->turn.counters[COUNTER_rtcp_sent] +
                w->worker->turn.counters[COUNTER_stun_sent] +
                w->worker->turn.counters[COUNTER_dtls_sent];
    }
    return sent;
}

/* ---- who is where ---- */

struct bench_worker *world_worker(struct bench_world *world, uint32_t transport)
{
    uint32_t room_size = world->shape.publishers + world->shape.subscribers;
    uint32_t room = room_size ? transport / room_size : transport;
    uint32_t person = room_size ? transport % room_size : 0;

    if (!world->on_threads)
        return &world->workers[room % world->worker_count];
    if (person < world->shape.publishers)
        return &world->workers[0];
    return &world->workers[(person - world->shape.publishers) % world->worker_count];
}

struct path world_path(uint32_t transport)
{
    struct path path = {.remote_port = (uint16_t)(PORT_FIRST + transport), .local_port = 40000};
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    _Static_assert(PORT_FIRST + TRANSPORTS_MAX <= UINT16_MAX,
                   "there are not enough ports for all clients");
    memcpy(path.remote_ip, mapped, 12);
    memcpy(path.local_ip, mapped, 12);
    memcpy(path.remote_ip + 12, (uint8_t[]){10, 0, 0, 2}, 4);
    memcpy(path.local_ip + 12, (uint8_t[]){10, 0, 0, 1}, 4);
    return path;
}

void world_credentials(uint32_t transport, char *ufrag, char *password)
{
    snprintf(ufrag, BENCH_UFRAG_BYTES + 1, "ufrag%027u", transport);
    snprintf(password, BENCH_UFRAG_BYTES + 1, "password%024u", transport);
}

/* splitmix64: the keys must differ, but they need not be secret. */
void world_master_key(uint32_t transport, bool ours, uint8_t key[32], uint8_t salt[16])
{
    uint64_t state = (uint64_t)transport << 1 | ours, words[6];

    for (size_t i = 0; i < 6; i++) {
        uint64_t z = state += 0x9e3779b97f4a7c15ull;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        words[i] = z ^ z >> 31;
        state ^= words[i];
    }
    memcpy(key, words, 32);
    memcpy(salt, words + 4, 16);
}

void world_client_key(struct bench_world *world, uint32_t transport, bool ours,
                      struct srtp_key *key)
{
    uint8_t master[32], salt[16];

    world_master_key(transport, ours, master, salt);
    if (!srtp_key_init(world->crypto, key, world->shape.profile, master, salt))
        bench_die("profile %d is unknown to the engine", world->shape.profile);
}

/* ---- rows ---- */

static void write_row(struct bench_world *world, enum table_id table, uint32_t index,
                      struct row_header *row, bool used, uint32_t generation,
                      struct bench_worker *worker)
{
    row->generation = generation;
    row->used = used;
    row_write(table, region_row(&world->desired, table, index), row);
    ring_put_note(&worker->changes,
                  (struct ring_note){.table = table, .handle = handle_make(index, generation)});
}

void world_transport(struct bench_world *world, uint32_t index, uint32_t worker, bool used,
                     uint32_t generation)
{
    struct transport_row row = {
        .direction = DIRECTION_send, .dtls_role = DTLS_ROLE_server, .worker = worker};

    world_credentials(index, row.ice_ufrag, row.ice_pwd);
    write_row(world, TABLE_transport, index, &row.header, used, generation,
              &world->workers[worker]);
}

void world_producer(struct bench_world *world, uint32_t index, uint32_t transport)
{
    bool video = world->shape.kind == MEDIA_KIND_video;
    struct producer_row row = {
        .transport = handle_make(transport, GENERATION),
        .kind = (uint8_t)world->shape.kind,
        .type = PRODUCER_TYPE_simple,
        .codec_count = 1,
        .encoding_count = 1,
        .codec = {video ? CODEC_vp8 : CODEC_opus},
        .codec_payload_type = {PACKET_PAYLOAD_TYPE},
        .codec_mapped_payload_type = {PACKET_PAYLOAD_TYPE_OUT},
        .codec_clock_rate = {video ? 90000 : 48000},
        .encoding_ssrc = {world_producer_ssrc(index)},
        .mid_bytes = 1,
        .mid = "0",
        .cname = "publisher",
    };

    row.extension_sent_id[EXTENSION_mid] = PACKET_ID_MID;
    row.extension_sent_id[EXTENSION_abs_send_time] = PACKET_ID_ABS_SEND_TIME;
    if (!video)
        row.extension_sent_id[EXTENSION_audio_level] = PACKET_ID_AUDIO_LEVEL;
    write_row(world, TABLE_producer, index, &row.header, true, GENERATION,
              world_worker(world, transport));
}

void world_consumer(struct bench_world *world, uint32_t index, uint32_t transport,
                    uint32_t producer, bool used, uint32_t generation)
{
    struct consumer_row row = {
        .transport = handle_make(transport, GENERATION),
        .producer = handle_make(producer, GENERATION),
        .ssrc = world_consumer_ssrc(index),
        .extension_mask = 1 << EXTENSION_mid | 1 << EXTENSION_abs_send_time,
        .payload_type = PACKET_PAYLOAD_TYPE_OUT,
        .kind = (uint8_t)world->shape.kind,
        .priority = 1,
        .preferred_spatial_layer = 255,
        .preferred_temporal_layer = 255,
        .mid_bytes = 1,
        .mid = "0",
    };

    write_row(world, TABLE_consumer, index, &row.header, used, generation,
              world_worker(world, transport));
}

static struct ring_datagram *reserve(const struct ring *ring)
{
    struct ring_datagram *entry = ring_reserve(ring);

    if (!entry)
        bench_die("the ring from the handshaker is full");
    return entry;
}

void world_keys(struct bench_world *world, uint32_t transport)
{
    const struct ring *ring = &world_worker(world, transport)->from_handshaker;
    struct key_row row = {.header = {.generation = GENERATION, .used = 1},
                          .transport = handle_make(transport, GENERATION),
                          .state = DTLS_STATE_connected,
                          .profile = (uint8_t)world->shape.profile};

    /* A handshake proves the path only when something of it was sent there. */
    *reserve(ring) = (struct ring_datagram){
        .handle = row.transport, .note = DTLS_NOTE_datagram, .bytes = DTLS_BYTES};
    ring_publish(ring);
    world_master_key(transport, true, row.ours_key, row.ours_salt);
    world_master_key(transport, false, row.theirs_key, row.theirs_salt);
    row_write(TABLE_key, region_row(&world->keys, TABLE_key, transport), &row.header);
    *reserve(ring) = (struct ring_datagram){.handle = row.transport, .note = DTLS_NOTE_keys};
    ring_publish(ring);
}

/* ---- rooms ---- */

static void connect_clients(struct bench_world *world, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++)
        world_transport(world, i, (uint32_t)(world_worker(world, i) - world->workers), true,
                        GENERATION);
    world_settle(world);
    for (uint32_t i = first; i < first + count; i++) {
        char ufrag[BENCH_UFRAG_BYTES + 1], password[BENCH_UFRAG_BYTES + 1];
        uint8_t check[256];
        struct path path = world_path(i);
        uint32_t bytes;

        world_credentials(i, ufrag, password);
        bytes = packet_stun_write(check, ufrag, password, i, true);
        if (!io_replay_feed(world_worker(world, i)->io, &path, check, bytes))
            bench_die("the queue of the replay backend is full");
    }
    world_settle(world);
    for (uint32_t i = first; i < first + count; i++)
        world_keys(world, i);
    world_settle(world);
}

static void none_refused(struct bench_world *world)
{
    for (uint32_t i = 0; i < world->worker_count; i++)
        if (world->workers[i].worker->turn.counters[COUNTER_rows_refused] > 0)
            bench_die("worker %u refused rows", i);
}

void world_connect(struct bench_world *world, const struct world_shape *shape)
{
    uint32_t transports = shape->room_count * (shape->publishers + shape->subscribers);
    uint32_t producers = shape->room_count * shape->publishers;

    if (transports > TRANSPORTS_MAX || producers > PRODUCERS_MAX ||
        (uint64_t)producers * shape->subscribers > CONSUMERS_MAX)
        bench_die("%u rooms of %u + %u clients are more than the tables hold", shape->room_count,
                  shape->publishers, shape->subscribers);
    world->shape = *shape;
    for (uint32_t i = 0; i < transports; i += CONNECT_TOGETHER) {
        connect_clients(world, i,
                        transports - i < CONNECT_TOGETHER ? transports - i : CONNECT_TOGETHER);
        /* So that their timers are not all due at the same time. */
        world_advance(IDLE_INTERVAL_NS * CONNECT_TOGETHER / (transports + CONNECT_TOGETHER));
    }
    for (uint32_t i = 0; i < producers; i++) {
        world_producer(world, i,
                       world_publisher(world, i / shape->publishers, i % shape->publishers));
        world_settle(world);
    }
    none_refused(world);
}

void world_consume(struct bench_world *world)
{
    const struct world_shape *shape = &world->shape;

    for (uint32_t room = 0; room < shape->room_count; room++)
        for (uint32_t s = 0; s < shape->subscribers; s++) {
            for (uint32_t p = 0; p < shape->publishers; p++)
                world_consumer(world, world_consumer_index(world, room, p, s),
                               world_subscriber(world, room, s), room * shape->publishers + p, true,
                               GENERATION);
            world_settle(world);
        }
    none_refused(world);
}
