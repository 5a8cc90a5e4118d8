/* Transports and their handshakes: what a note, a timer or a vanished row does to them. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handshaker.h"
#include "src/clock.h"
#include "src/log.h"

static const char *id_text(const uint8_t id[16], char text[40])
{
    char *at = text;

    for (unsigned i = 0; i < 16; i++)
        at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", id[i]);
    return text;
}

static struct seat *seat_of(struct association *a)
{
    return &a->handshaker->seats[a->index];
}

static struct row_header *key_row_of(struct handshaker *h, uint32_t index)
{
    return region_row(h->config.keys, TABLE_key, index);
}

/* ---- what we say ---- */

/* A slot of worker w's ring, filled but for the data; NULL when the ring is full. */
static struct ring_datagram *note_begin(struct handshaker *h, uint32_t w, handle_word handle,
                                        enum dtls_note note, uint32_t bytes)
{
    struct ring_datagram *slot = ring_reserve(&h->to_worker[w]);

    if (!slot)
        return NULL;
    slot->handle = handle;
    slot->note = note;
    slot->bytes = bytes;
    return slot;
}

static void note_end(struct handshaker *h, uint32_t w)
{
    ring_publish(&h->to_worker[w]);
    h->bells_due |= 1u << w;
}

/* The forwarder must learn of it: what does not fit now is said again by the tick. */
static void tell(struct handshaker *h, uint32_t index, enum dtls_note note)
{
    struct seat *seat = &h->seats[index];

    h->untold -= seat->untold != 0;
    seat->untold = 0;
    if (note_begin(h, seat->worker, handle_make(index, seat->generation), note, 0)) {
        note_end(h, seat->worker);
    } else {
        seat->untold = (uint8_t)note;
        h->untold++;
    }
}

/* dtls.h sink: towards the selected path. A full ring loses the datagram; it is sent again. */
static void send_datagram(void *context, const uint8_t *datagram, size_t bytes)
{
    struct association *a = context;
    struct seat *seat = seat_of(a);
    struct ring_datagram *slot;

    if (bytes > DTLS_DATAGRAM_BYTES_MAX)
        return;
    slot = note_begin(a->handshaker, seat->worker, handle_make(a->index, seat->generation),
                      DTLS_NOTE_datagram, (uint32_t)bytes);
    if (!slot)
        return;
    memcpy(slot->data, datagram, bytes);
    note_end(a->handshaker, seat->worker);
}

/* Publishes the key row of a seat in its present state; keys NULL: none. */
static void row_publish(struct handshaker *h, uint32_t index, enum dtls_failure failure,
                        const struct dtls_keys *keys)
{
    const struct seat *seat = &h->seats[index];
    struct key_row row = {.header = {.generation = seat->generation, .used = 1}};

    row.transport = handle_make(index, seat->generation);
    row.state = seat->state;
    row.failure = (uint8_t)failure;
    if (keys) {
        row.connected_wall_ms = clock_wall_ns() / NS_PER_MS;
        row.profile = (uint8_t)keys->profile;
        memcpy(row.ours_key, keys->ours_key, sizeof(row.ours_key));
        memcpy(row.theirs_key, keys->theirs_key, sizeof(row.theirs_key));
        memcpy(row.ours_salt, keys->ours_salt, sizeof(row.ours_salt));
        memcpy(row.theirs_salt, keys->theirs_salt, sizeof(row.theirs_salt));
    }
    row_write(TABLE_key, key_row_of(h, index), &row.header);
    explicit_bzero(&row, sizeof(row));
}

static void row_wipe(struct handshaker *h, uint32_t index)
{
    struct row_header *shared = key_row_of(h, index);
    struct key_row row = {.header = {.generation = shared->generation}};

    row_write(TABLE_key, shared, &row.header);
}

/* ---- beginning and ending ---- */

static void unfinished_add(struct handshaker *h, struct association *a)
{
    a->older = h->newest;
    a->newer = NULL;
    *(h->newest ? &h->newest->newer : &h->oldest) = a;
    h->newest = a;
    h->unfinished++;
}

static void unfinished_remove(struct handshaker *h, struct association *a)
{
    *(a->older ? &a->older->newer : &h->oldest) = a->newer;
    *(a->newer ? &a->newer->older : &h->newest) = a->older;
    a->older = a->newer = NULL;
    h->unfinished--;
}

static void association_free(struct handshaker *h, struct seat *seat)
{
    struct association *a = seat->association;

    if (!a)
        return;
    if (seat->state == DTLS_STATE_connecting)
        unfinished_remove(h, a);
    dtls_free(a->dtls);
    free(a);
    seat->association = NULL;
    h->kept--;
}

/* The transport is gone: nothing of it stays, keys least of all. */
static void seat_clear(struct handshaker *h, uint32_t index)
{
    struct seat *seat = &h->seats[index];

    association_free(h, seat);
    if (seat->state != DTLS_STATE_new)
        row_wipe(h, index);
    h->untold -= seat->untold != 0;
    *seat = (struct seat){0};
}

static void association_fail(struct handshaker *h, struct association *a, enum dtls_failure failure,
                             const char *reason)
{
    struct seat *seat = seat_of(a);
    uint32_t index = a->index;
    char id[40];

    if (failure == DTLS_FAILURE_fingerprint_mismatch)
        LOG(WARN, "dtls", "certificate of a client is not the signalled one; it gets no keys",
            F("transport", "%s", id_text(a->id, id)), F("reason", "%s", reason));
    else
        LOG(INFO, "dtls", "handshake failed", F("transport", "%s", id_text(a->id, id)),
            F("failure", "%s", field_enum_text(SHOW_dtls_failure, failure)),
            F("reason", "%s", reason));
    association_free(h, seat); /* takes it off the list while its state still says so */
    seat->state = DTLS_STATE_failed;
    row_publish(h, index, failure, NULL);
    tell(h, index, DTLS_NOTE_closed);
}

static void association_connected(struct handshaker *h, struct association *a)
{
    struct seat *seat = seat_of(a);
    struct dtls_keys keys;
    char id[40];

    if (!dtls_export(a->dtls, &keys)) {
        association_fail(h, a, DTLS_FAILURE_protocol, "no keying material");
        return;
    }
    unfinished_remove(h, a);
    seat->state = DTLS_STATE_connected;
    row_publish(h, a->index, DTLS_FAILURE_none, &keys);
    tell(h, a->index, DTLS_NOTE_keys);
    LOG(INFO, "dtls", "keys ready", F("transport", "%s", id_text(a->id, id)),
        F("profile", "%s", field_enum_text(SHOW_srtp_profile, keys.profile)),
        F("ms", "%u", (unsigned)((h->now_ns - a->started_ns) / NS_PER_MS)));
    explicit_bzero(&keys, sizeof(keys));
}

/* After every call into the engine: makes seat, row and forwarder follow its state. */
static void association_settle(struct handshaker *h, struct association *a)
{
    struct seat *seat = seat_of(a);
    uint32_t index = a->index;
    enum dtls_state state = dtls_state(a->dtls);

    if (state == seat->state)
        return;
    if (state == DTLS_STATE_connected) {
        association_connected(h, a);
    } else if (state == DTLS_STATE_failed) {
        association_fail(h, a, dtls_failure(a->dtls), dtls_reason(a->dtls));
    } else if (state == DTLS_STATE_closed) {
        association_free(h, seat);
        seat->state = DTLS_STATE_closed;
        row_publish(h, index, DTLS_FAILURE_none, NULL);
        tell(h, index, DTLS_NOTE_closed);
    }
}

/* All places taken: the oldest handshake gives way once a normal one would long be done. A hostile
 * client that starts many and finishes none keeps others out for that long at most. */
static bool make_room(struct handshaker *h)
{
    if (h->unfinished < HANDSHAKES_MAX)
        return true;
    if (h->now_ns - h->oldest->started_ns < HANDSHAKE_YIELD_MS * NS_PER_MS)
        return false;
    association_fail(h, h->oldest, DTLS_FAILURE_timeout, "made room for others");
    return true;
}

/* The client told a fingerprint that we do not take (SHA-1, SHA-224, a wrong length). */
static void refuse_fingerprint(struct handshaker *h, uint32_t index,
                               const struct transport_row *row)
{
    char id[40];

    LOG(WARN, "dtls", "client signalled a fingerprint that is not accepted; use sha-256 or better",
        F("transport", "%s", id_text(row->id, id)),
        F("algorithm", "%u", row->fingerprint_algorithm), F("bytes", "%u", row->fingerprint_bytes));
    h->seats[index].state = DTLS_STATE_failed;
    row_publish(h, index, DTLS_FAILURE_fingerprint_mismatch, NULL);
    tell(h, index, DTLS_NOTE_closed);
}

/* Starts the handshake when signaling has said all it needs: as server on the peer's first datagram,
 * as client when ICE has a path. Otherwise nothing happens: the peer's datagrams come again. */
static void association_begin(struct handshaker *h, uint32_t index, bool has_datagram)
{
    struct seat *seat = &h->seats[index];
    struct transport_row row;
    struct association *a;
    struct dtls_options options;

    if (row_copy(TABLE_transport, &row, region_row(h->config.desired, TABLE_transport, index),
                 seat->generation) != ROW_OK ||
        row.dtls_role == DTLS_ROLE_unset ||
        !(row.dtls_role == DTLS_ROLE_client ? seat->validated : has_datagram))
        return;
    if (row.fingerprint_bytes == 0 ||
        fingerprint_bytes(row.fingerprint_algorithm) != row.fingerprint_bytes) {
        refuse_fingerprint(h, index, &row);
        return;
    }
    if (!make_room(h))
        return;
    a = calloc(1, sizeof(*a));
    if (!a)
        return;
    *a = (struct association){.handshaker = h, .index = index, .started_ns = h->now_ns};
    memcpy(a->id, row.id, sizeof(a->id));
    options = (struct dtls_options){
        .role = row.dtls_role,
        .fingerprint_algorithm = row.fingerprint_algorithm,
        .fingerprint_bytes = row.fingerprint_bytes,
        .fingerprint = row.fingerprint,
        .timeout_ns = h->config.timeout_ns,
        .send = send_datagram,
        .send_context = a,
    };
    a->dtls = dtls_new(h->dtls, &options, h->now_ns);
    if (!a->dtls) {
        free(a);
        return;
    }
    seat->association = a;
    h->kept++;
    seat->state = DTLS_STATE_connecting;
    unfinished_add(h, a);
    row_publish(h, index, DTLS_FAILURE_none, NULL);
    tell(h, index, DTLS_NOTE_keys);
    dtls_start(a->dtls, h->now_ns);
    association_settle(h, a);
}

static void seat_use(struct handshaker *h, uint32_t index, uint32_t generation)
{
    h->seats[index].generation = generation;
    if (h->seats_end <= index)
        h->seats_end = index + 1;
}

/* ---- notes ---- */

/* The seat that a handle of worker w means; a new generation takes the seat over. NULL: the handle
 * names nothing that this worker has. */
static struct seat *seat_find(struct handshaker *h, uint32_t w, handle_word handle)
{
    uint32_t index = handle_index(handle), generation = handle_generation(handle);
    struct transport_row row;
    struct seat *seat;

    if (index >= TRANSPORTS_MAX || generation == 0)
        return NULL;
    seat = &h->seats[index];
    if (seat->generation == generation)
        return seat->worker == w ? seat : NULL;
    if (row_copy(TABLE_transport, &row, region_row(h->config.desired, TABLE_transport, index),
                 generation) != ROW_OK ||
        row.worker != w)
        return NULL;
    seat_clear(h, index);
    seat_use(h, index, generation);
    seat->worker = (uint8_t)w;
    return seat;
}

void association_note(struct handshaker *h, uint32_t w, const struct ring_datagram *note)
{
    struct seat *seat = seat_find(h, w, note->handle);
    uint32_t index = handle_index(note->handle);

    if (!seat)
        return;
    switch (note->note) {
    case DTLS_NOTE_datagram:
        if (seat->state == DTLS_STATE_new)
            association_begin(h, index, true);
        if (seat->association) {
            dtls_receive(seat->association->dtls, h->now_ns, note->data, note->bytes);
            association_settle(h, seat->association);
        }
        break;
    case DTLS_NOTE_validated:
        seat->validated = true;
        if (seat->state == DTLS_STATE_new)
            association_begin(h, index, false);
        break;
    case DTLS_NOTE_closed:
        seat_clear(h, index);
        break;
    default:
        break;
    }
}

/* ---- time ---- */

void associations_tick(struct handshaker *h)
{
    struct association *a = h->oldest;

    while (a) {
        struct association *newer = a->newer;

        if (dtls_next_ns(a->dtls) <= h->now_ns) {
            dtls_tick(a->dtls, h->now_ns);
            association_settle(h, a);
        }
        a = newer;
    }
    for (uint32_t i = 0; h->untold && i < TRANSPORTS_MAX; i++)
        if (h->seats[i].untold)
            tell(h, i, h->seats[i].untold);
}

static bool is_settled(const struct handshaker *h, const struct seat *seat)
{
    uint32_t kept_max =
        h->config.associations_kept ? h->config.associations_kept : ASSOCIATIONS_KEPT;

    return h->kept > kept_max && seat->association && seat->state == DTLS_STATE_connected &&
           h->now_ns - seat->association->started_ns > ASSOCIATION_SETTLED_NS;
}

/* Finds transports whose `closed` was lost, and client-role ones whose role came after `validated`.
 * A row whose writer is inside just now is looked at again next time. */
void associations_sweep(struct handshaker *h)
{
    uint32_t share = (h->seats_end + SWEEP_BEATS - 1) / SWEEP_BEATS;

    for (uint32_t n = 0; n < share; n++) {
        uint32_t index = h->sweep_at++ % h->seats_end;
        struct seat *seat = &h->seats[index];
        struct transport_row row;
        enum row_verdict verdict;

        if (!seat->generation)
            continue;
        verdict = row_copy(TABLE_transport, &row,
                           region_row(h->config.desired, TABLE_transport, index), seat->generation);
        if (verdict == ROW_TORN)
            continue;
        if (verdict != ROW_OK)
            seat_clear(h, index);
        else if (row.worker < h->config.worker_count)
            seat->worker = (uint8_t)row.worker;
        if (is_settled(h, seat))
            association_free(h, seat);
        if (seat->validated && seat->state == DTLS_STATE_new)
            association_begin(h, index, false);
    }
}

/* ---- after a predecessor ---- */

/* One key row that was there before us. Its transport decides whether it stays; what was not
 * finished, or not even written to its end, cannot be gone on with. */
static void adopt(struct handshaker *h, uint32_t index)
{
    const struct row_header *shared = key_row_of(h, index);
    struct seat *seat = &h->seats[index];
    struct key_row key = {0};
    struct transport_row row;
    enum row_verdict verdict = row_copy(TABLE_key, &key, shared, 0), desired;

    seat->state = key.state;
    explicit_bzero(&key, sizeof(key));
    if (verdict == ROW_FREE) {
        *seat = (struct seat){0};
        return;
    }
    seat_use(h, index, shared->generation);
    desired = seat->generation ? row_copy(TABLE_transport, &row,
                                          region_row(h->config.desired, TABLE_transport, index),
                                          seat->generation)
                               : ROW_FREE;
    if (desired == ROW_FREE || desired == ROW_RANGE ||
        (desired == ROW_OK && row.worker >= h->config.worker_count)) {
        seat->state = DTLS_STATE_closed; /* so that clearing wipes the row */
        seat_clear(h, index);
        return;
    }
    seat->worker = desired == ROW_OK ? (uint8_t)row.worker : 0;
    if (verdict == ROW_OK && seat->state != DTLS_STATE_connecting)
        return;
    seat->state = DTLS_STATE_failed;
    row_publish(h, index, DTLS_FAILURE_restarted, NULL);
    tell(h, index, DTLS_NOTE_closed);
}

/* Walks all rows, which makes the kernel find 8 MB of them; that happens after a crash only. */
void associations_adopt(struct handshaker *h)
{
    for (uint32_t i = 0; i < TRANSPORTS_MAX; i++)
        adopt(h, i);
}

void associations_free(struct handshaker *h)
{
    for (uint32_t i = 0; i < TRANSPORTS_MAX; i++)
        association_free(h, &h->seats[i]);
}
