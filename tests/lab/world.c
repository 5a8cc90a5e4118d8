/* The virtual clock, the events, the workers and the links to their clients. */
#include "world.h"

#include <inttypes.h>
#include <sys/random.h>

#include "tests/unit/dataplane/forwarder/client.h"

#define WORKERS 2
#define CLIENTS_MAX 256
#define DEPARTED 8192 /* packets of a client that are remembered; a power of two */
#define CHECK_INTERVAL_NS (2500 * NS_PER_MS) /* between two ICE checks of a client */
#define PORT_FIRST 5000                      /* of client.h */

struct event {
    uint64_t due_ns,
        order; /* order: those of one moment happen in the order in which they were planned */
    void (*run)(void *context, uint64_t number);
    void *context;
    uint64_t number;
    uint8_t *datagram; /* NULL: none */
    uint32_t bytes;
    bool is_up;
};

struct world {
    uint64_t seed, random, now_ns, trace, next_order;
    struct event *heap;
    size_t count, room;
    struct handoff *handoff;
    unsigned worker_count;
    struct rig *workers[WORKERS];
    uint64_t wake_ns[WORKERS];
    bool has_work[WORKERS];
    struct world_client *clients[CLIENTS_MAX];
    srtp_t sent[CLIENTS_MAX];        /* decrypts what leaves for a client, before the network */
    uint64_t *departed[CLIENTS_MAX]; /* [DEPARTED]: hash and number of each packet that left */
    uint32_t client_count, datagrams_refused;
};

/* ---- chance ---- */

static uint64_t kernel_random; /* the program's own getrandom takes its bytes from here */

/* The workers take random words from the kernel. Here they come from the seed. */
ssize_t getrandom(void *buffer, size_t bytes, unsigned flags)
{
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)buffer)[i] = (uint8_t)random_next(&kernel_random);
    return (ssize_t)bytes;
}

uint64_t *world_random(struct world *world)
{
    return &world->random;
}

uint64_t world_seed(const struct world *world)
{
    return world->seed;
}

struct seeds world_seeds(unsigned usual)
{
    const char *text = getenv("LAB_SEED");
    struct seeds seeds = {1, usual};

    if (text)
        seeds.first = seeds.last = strtoull(text, NULL, 10);
    return seeds;
}

void world_fail(const struct world *world, const char *text, ...)
{
    char sentence[512];
    va_list arguments;

    va_start(arguments, text);
    vsnprintf(sentence, sizeof(sentence), text, arguments);
    va_end(arguments);
    fail_msg("%s. After %.3f s of seed %" PRIu64 " (LAB_SEED=%" PRIu64 " repeats it)", sentence,
             (double)(world->now_ns - WORLD_BEGIN_NS) / NS_PER_S, world->seed, world->seed);
}

/* ---- events: a heap, the next one first ---- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void swap(struct event *a, struct event *b)
{
    struct event c = *a;

    *a = *b;
    *b = c;
}

static void add_event(struct world *world, struct event event)
{
    size_t i = world->count++;

    if (i == world->room) {
        world->room = world->room ? 2 * world->room : 1024;
        world->heap = realloc(world->heap, world->room * sizeof(*world->heap));
    }
    event.order = world->next_order++;
    world->heap[i] = event;
    for (; i > 0 && is_before(&world->heap[i], &world->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&world->heap[i], &world->heap[(i - 1) / 2]);
}

static struct event take_event(struct world *world)
{
    struct event first = world->heap[0];
    size_t i = 0, child;

    world->heap[0] = world->heap[--world->count];
    while ((child = 2 * i + 1) < world->count) {
        if (child + 1 < world->count && is_before(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (is_before(&world->heap[i], &world->heap[child]))
            break;
        swap(&world->heap[i], &world->heap[child]);
        i = child;
    }
    return first;
}

void world_at(struct world *world, uint64_t due_ns, void (*run)(void *context, uint64_t number),
              void *context, uint64_t number)
{
    add_event(world,
              (struct event){.due_ns = due_ns, .run = run, .context = context, .number = number});
}

/* ---- the network ---- */

static void into_link(struct world_client *c, bool is_up, const uint8_t *data, uint32_t bytes)
{
    struct world *world = c->world;
    uint64_t due_ns[LINK_COPIES_MAX];
    unsigned copies = link_send(is_up ? &c->up : &c->down, world->now_ns, bytes, due_ns);

    for (unsigned i = 0; i < copies; i++) {
        struct event event = {.due_ns = due_ns[i], .context = c, .bytes = bytes, .is_up = is_up};

        event.datagram = malloc(bytes + 1);
        memcpy(event.datagram, data, bytes);
        add_event(world, event);
    }
}

static struct link_options options_of(const char *text)
{
    struct link_options options;
    char why[160];

    if (!link_options_read(text, &options, why))
        fail_msg("%s: %s", text, why);
    return options;
}

void world_network(struct world_client *client, const char *up, const char *down)
{
    if (up)
        client->up.options = options_of(up);
    if (down)
        client->down.options = options_of(down);
}

static bool is_rtp(const uint8_t *data, uint32_t bytes)
{
    return bytes > 12 && data[0] >> 6 == 2;
}

static bool is_rtcp(const uint8_t *data, uint32_t bytes)
{
    return is_rtp(data, bytes) && data[1] >= 192 && data[1] <= 223;
}

/* Has this packet left before? Two packets with the same SRTP index would give the keystream away. */
static bool has_departed(struct world *world, uint32_t index, const uint8_t *data, uint32_t bytes)
{
    uint64_t *hash = &world->departed[index][hash_more(1, data + 2, 10) % DEPARTED];
    uint64_t new = hash_more(2, data, bytes);
    bool same = *hash == new;

    *hash = new;
    return same;
}

/* A datagram leaves a worker. */
static void sink(void *context, const struct path *path, const uint8_t *data, uint32_t bytes)
{
    struct world *world = context;
    uint32_t index = path->remote_port - (uint32_t)PORT_FIRST;
    struct world_client *c = index < world->client_count ? world->clients[index] : NULL;
    uint64_t head[2] = {rig_now_ns, index};
    uint8_t clear[2048];
    int n = (int)bytes;

    if (!c)
        return;
    world->trace = hash_more(hash_more(world->trace, head, sizeof(head)), data, bytes);
    if (is_rtp(data, bytes) && !is_rtcp(data, bytes) && world->sent[index]) {
        memcpy(clear, data, bytes);
        srtp_err_status_t status = srtp_unprotect(world->sent[index], clear, &n);

        if (status == srtp_err_status_replay_fail && has_departed(world, index, data, bytes)) {
            into_link(c, false, data,
                      bytes); /* lost audio leaves again, the same to the last byte */
            return;
        }
        if (status != srtp_err_status_ok)
            world_fail(world, "client %u cannot decrypt a packet of SSRC %u, number %u", index,
                       read32(data + 8), read16(data + 2));
        for (unsigned i = 0; i < c->endpoint_count; i++)
            if (c->endpoints[i].sent)
                c->endpoints[i].sent(c->endpoints[i].context, clear, (size_t)n);
        has_departed(world, index, data, bytes);
    }
    into_link(c, false, data, bytes);
}

static void client_receive(struct world_client *c, uint8_t *data, uint32_t bytes)
{
    struct client *keys = c->keys;
    bool control = is_rtcp(data, bytes);
    srtp_err_status_t status;
    int n = (int)bytes;

    if (!is_rtp(data, bytes))
        return; /* responses to ICE checks, DTLS */
    status = control ? srtp_unprotect_rtcp(keys->receive, data, &n)
                     : srtp_unprotect(keys->receive, data, &n);
    if (status == srtp_err_status_replay_fail || status == srtp_err_status_replay_old)
        return; /* the network doubled it */
    if (status != srtp_err_status_ok) {
        c->refused++;
        return;
    }
    for (unsigned i = 0; i < c->endpoint_count; i++) {
        const struct endpoint *e = &c->endpoints[i];

        if (control && e->rtcp)
            e->rtcp(e->context, data, (size_t)n);
        else if (!control && e->rtp)
            e->rtp(e->context, data, (size_t)n);
    }
}

void world_endpoint(struct world_client *client, const struct endpoint *endpoint)
{
    if (client->endpoint_count == WORLD_ENDPOINTS_MAX)
        fail_msg("a client of the lab has at most %d endpoints", WORLD_ENDPOINTS_MAX);
    client->endpoints[client->endpoint_count++] = *endpoint;
}

void world_send_rtp(struct world_client *client, const uint8_t *packet, size_t bytes)
{
    struct client *keys = client->keys;
    uint8_t copy[2048];
    int n = (int)bytes;

    memcpy(copy, packet, bytes);
    if (srtp_protect(keys->send, copy, &n) != srtp_err_status_ok)
        world_fail(client->world, "client %u cannot encrypt", client->index);
    into_link(client, true, copy, (uint32_t)n);
}

void world_send_rtcp(struct world_client *client, const uint8_t *packet, size_t bytes)
{
    struct client *keys = client->keys;
    uint8_t copy[2048];
    int n = (int)bytes;

    memcpy(copy, packet, bytes);
    if (srtp_protect_rtcp(keys->send, copy, &n) != srtp_err_status_ok)
        world_fail(client->world, "client %u cannot encrypt RTCP", client->index);
    into_link(client, true, copy, (uint32_t)n);
}

/* ---- time ---- */

static void set_clocks(struct world *world)
{
    if (rig_now_ns < world->now_ns)
        rig_now_ns = world->now_ns;
    rig_wall_ns = 1700000000ull * NS_PER_S + rig_now_ns;
}

/* Turns the workers until none has anything left to do. What one sends in its last turn the other
 * sees in its next. */
static void turn_workers(struct world *world)
{
    bool busy;

    set_clocks(world);
    for (unsigned idle = 0; idle < world->worker_count + 1; idle++)
        do {
            busy = false;
            for (unsigned i = 0; i < world->worker_count; i++) {
                rig_now_ns += 1000;
                rig_wall_ns += 1000;
                busy |= worker_turn(world->workers[i]->worker);
            }
        } while (busy);
    for (unsigned i = 0; i < world->worker_count; i++) {
        world->wake_ns[i] =
            wheel_next_ns(&world->workers[i]->worker->fine_wheel, rig_now_ns + REGION_HEARTBEAT_NS);
        world->has_work[i] = false;
    }
}

static void happen(struct world *world, struct event *event)
{
    struct world_client *c = event->context;

    if (!event->datagram) {
        event->run(event->context, event->number);
        return;
    }
    if (event->is_up) {
        const struct client *keys = c->keys;

        if (!io_replay_feed(world->workers[c->worker]->io, &keys->path, event->datagram,
                            event->bytes))
            world->datagrams_refused++;
        world->has_work[c->worker] = true;
    } else {
        client_receive(c, event->datagram, event->bytes);
    }
    free(event->datagram);
}

static bool is_turn_due(const struct world *world)
{
    for (unsigned i = 0; i < world->worker_count; i++)
        if (world->has_work[i] || world->wake_ns[i] <= world->now_ns)
            return true;
    return false;
}

void world_run(struct world *world, uint64_t ns)
{
    uint64_t end_ns = world->now_ns + ns;

    for (;;) {
        uint64_t next_ns = world->count ? world->heap[0].due_ns : UINT64_MAX;

        for (unsigned i = 0; i < world->worker_count; i++)
            if (world->wake_ns[i] < next_ns)
                next_ns = world->wake_ns[i];
        if (next_ns > end_ns)
            break;
        if (next_ns > world->now_ns)
            world->now_ns = next_ns;
        while (world->count && world->heap[0].due_ns <= world->now_ns) {
            struct event event = take_event(world);

            happen(world, &event);
        }
        if (is_turn_due(world))
            turn_workers(world);
    }
    world->now_ns = end_ns;
    set_clocks(world);
}

uint64_t world_now(const struct world *world)
{
    return world->now_ns;
}

/* ---- clients ---- */

/* RFC 7675: a client that sends no checks is not sent anything. */
static void check_again(void *context, uint64_t number)
{
    struct world_client *c = context;
    struct client *keys = c->keys;
    uint8_t request[256];

    into_link(c, true, request, (uint32_t)client_stun(keys, request, true, keys->password));
    world_at(c->world, c->world->now_ns + CHECK_INTERVAL_NS, check_again, c, 0);
}

struct world_client *world_join(struct world *world, uint32_t worker)
{
    struct world_client *c = calloc(1, sizeof(*c));
    struct client *keys = calloc(1, sizeof(*keys));
    const struct link_options perfect = {.queue_ns = 200 * NS_PER_MS};

    if (world->client_count == CLIENTS_MAX)
        fail_msg("the lab has at most %d clients", CLIENTS_MAX);
    *c = (struct world_client){
        .world = world, .index = world->client_count, .worker = worker, .keys = keys};
    link_open(&c->up, &perfect, random_next(&world->random));
    link_open(&c->down, &perfect, random_next(&world->random));
    world->clients[world->client_count++] = c;
    set_clocks(world);
    rig_connect(world->workers[worker], keys, c->index,
                c->index % 2 ? SRTP_PROFILE_aes128_cm_sha1_80 : SRTP_PROFILE_aead_aes_128_gcm);
    world->departed[c->index] = calloc(DEPARTED, sizeof(uint64_t));
    world->sent[c->index] = client_session(keys->profile, keys->ours_key, false);
    world->has_work[worker] = true;
    world_at(world, world->now_ns + random_below(&world->random, 1000) * NS_PER_MS, check_again, c,
             0);
    return c;
}

/* ---- rows and counters ---- */

void world_row(struct world_client *client, enum table_id table, uint32_t index,
               struct row_header *row)
{
    rig_row(client->world->workers[client->worker], table, index, row, 1);
    client->world->has_work[client->worker] = true;
}

void world_free_row(struct world_client *client, enum table_id table, uint32_t index)
{
    rig_free_row(client->world->workers[client->worker], table, index, 1);
    client->world->has_work[client->worker] = true;
}

const void *world_actual_row(struct world *world, enum table_id table, uint32_t index)
{
    return region_row(&world->workers[0]->actual, table, index);
}

uint64_t world_counter(const struct world *world, enum worker_counter counter)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < world->worker_count; i++)
        sum += rig_counter(world->workers[i], counter);
    return sum;
}

uint64_t world_verdict(const struct world *world, enum verdict verdict)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < world->worker_count; i++)
        sum += rig_verdict(world->workers[i], verdict);
    return sum;
}

uint64_t world_trace(const struct world *world)
{
    return world->trace;
}

/* ---- life ---- */

struct world *world_open(uint64_t seed, unsigned workers)
{
    struct world *world = calloc(1, sizeof(*world));

    *world = (struct world){.seed = seed,
                            .random = seed,
                            .now_ns = WORLD_BEGIN_NS,
                            .trace = 0xcbf29ce484222325ull,
                            .worker_count = workers};
    kernel_random = ~seed;
    srand((unsigned)seed);
    rig_now_ns = WORLD_BEGIN_NS;
    set_clocks(world);
    world->handoff = workers > 1 ? handoff_new(workers) : NULL;
    for (unsigned i = 0; i < workers; i++) {
        world->workers[i] =
            i ? rig_open_next(world->workers[0], i) : rig_open_first(world->handoff);
        io_replay_sink(world->workers[i]->io, sink, world);
    }
    turn_workers(world);
    return world;
}

void world_close(struct world *world)
{
    for (uint32_t i = 0; i < world->client_count; i++) {
        client_close(world->clients[i]->keys);
        srtp_dealloc(world->sent[i]);
        free(world->departed[i]);
        free(world->clients[i]->keys);
        free(world->clients[i]);
    }
    for (size_t i = 0; i < world->count; i++)
        free(world->heap[i].datagram);
    for (unsigned i = world->worker_count; i-- > 0;)
        rig_close(world->workers[i]);
    if (world->handoff)
        handoff_delete(world->handoff);
    free(world->heap);
    free(world);
}
