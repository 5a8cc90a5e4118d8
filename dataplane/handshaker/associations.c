/* Associations and their handshakes: how notes, timers and removed transports change them. */
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

static struct association *association_of(struct handshake *handshake)
{
    return &handshake->handshaker->associations[handshake->index];
}

static struct row_header *key_row_of(struct handshaker *h, uint32_t index)
{
    return region_row(h->config.keys, TABLE_key, index);
}

/* ---- what is sent to the workers, and the key rows ---- */

/* A new entry in the ring of worker w, filled except for its data; NULL: the ring is full. */
static struct ring_datagram *note_begin(struct handshaker *h, uint32_t w, handle_word handle,
                                        enum dtls_note note, uint32_t bytes)
{
    struct ring_datagram *entry = ring_reserve(&h->to_worker[w]);

    if (!entry)
        return NULL;
    entry->handle = handle;
    entry->note = note;
    entry->bytes = bytes;
    return entry;
}

static void note_end(struct handshaker *h, uint32_t w)
{
    ring_publish(&h->to_worker[w]);
    h->bells_due |= 1u << w;
}

/* The worker must get this note: when the ring is full, associations_tick sends it later. */
static void notify_worker(struct handshaker *h, uint32_t index, enum dtls_note note)
{
    struct association *association = &h->associations[index];

    h->unsent_notes -= association->unsent_note != 0;
    association->unsent_note = 0;
    if (note_begin(h, association->worker, handle_make(index, association->generation), note, 0)) {
        note_end(h, association->worker);
    } else {
        association->unsent_note = (uint8_t)note;
        h->unsent_notes++;
    }
}

/* Publishes the key row of an association in its present state; keys NULL: without keys. */
static void row_publish(struct handshaker *h, uint32_t index, enum dtls_failure failure,
                        const struct dtls_keys *keys)
{
    const struct association *association = &h->associations[index];
    struct key_row row = {.header = {.generation = association->generation, .used = 1}};

    row.transport = handle_make(index, association->generation);
    row.state = association->state;
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

static void unfinished_add(struct handshaker *h, struct handshake *handshake)
{
    handshake->older = h->newest;
    handshake->newer = NULL;
    *(h->newest ? &h->newest->newer : &h->oldest) = handshake;
    h->newest = handshake;
    h->unfinished++;
}

static void unfinished_remove(struct handshaker *h, struct handshake *handshake)
{
    *(handshake->older ? &handshake->older->newer : &h->oldest) = handshake->newer;
    *(handshake->newer ? &handshake->newer->older : &h->newest) = handshake->older;
    handshake->older = handshake->newer = NULL;
    h->unfinished--;
}

static void handshake_free(struct handshaker *h, struct association *association)
{
    struct handshake *handshake = association->handshake;

    if (!handshake)
        return;
    if (association->state == DTLS_STATE_connecting)
        unfinished_remove(h, handshake);
    dtls_free(handshake->dtls);
    free(handshake);
    association->handshake = NULL;
    h->kept--;
}

/* The transport no longer exists: removes all its state, above all its keys. */
static void association_clear(struct handshaker *h, uint32_t index)
{
    struct association *association = &h->associations[index];

    handshake_free(h, association);
    if (association->state != DTLS_STATE_new)
        row_wipe(h, index);
    h->unsent_notes -= association->unsent_note != 0;
    *association = (struct association){0};
}

static void handshake_fail(struct handshaker *h, struct handshake *handshake,
                           enum dtls_failure failure, const char *reason)
{
    struct association *association = association_of(handshake);
    uint32_t index = handshake->index;
    char id[40];

    if (failure == DTLS_FAILURE_fingerprint_mismatch)
        LOG(WARN, "dtls", "a client has another certificate than it signaled; it gets no keys",
            F("transport", "%s", id_text(handshake->id, id)), F("reason", "%s", reason));
    else
        LOG(INFO, "dtls", "handshake failed", F("transport", "%s", id_text(handshake->id, id)),
            F("failure", "%s", field_enum_text(SHOW_dtls_failure, failure)),
            F("reason", "%s", reason));
    handshake_free(h, association); /* while the state says that it is in the list */
    association->state = DTLS_STATE_failed;
    row_publish(h, index, failure, NULL);
    notify_worker(h, index, DTLS_NOTE_closed);
}

/* With HANDSHAKES_MAX unfinished handshakes, the oldest one fails if it is older than
 * HANDSHAKE_YIELD_MS; a normal handshake is done long before. So hostile clients that start many
 * and finish none can keep others out only for that time. */
static bool has_room(const struct handshaker *h)
{
    return h->unfinished < HANDSHAKES_MAX ||
           h->now_ns - h->oldest->started_ns >= HANDSHAKE_YIELD_MS * NS_PER_MS;
}

/* A handshake is about to send for the first time: now the transport is connecting. False: there are
 * too many. */
static bool handshake_announce(struct handshake *handshake)
{
    struct handshaker *h = handshake->handshaker;

    if (!has_room(h))
        return false;
    if (h->unfinished == HANDSHAKES_MAX)
        handshake_fail(h, h->oldest, DTLS_FAILURE_timeout,
                       "too many handshakes; it was the oldest");
    association_of(handshake)->state = DTLS_STATE_connecting;
    unfinished_add(h, handshake);
    row_publish(h, handshake->index, DTLS_FAILURE_none, NULL);
    notify_worker(h, handshake->index, DTLS_NOTE_keys);
    return true;
}

/* dtls.h calls this to send a datagram. The worker sends the datagram on the selected path. When
 * the ring is full the datagram is lost, and DTLS retransmits it. */
static void send_datagram(void *context, const uint8_t *datagram, size_t bytes)
{
    struct handshake *handshake = context;
    struct association *association = association_of(handshake);
    struct ring_datagram *entry;

    if (bytes > DTLS_DATAGRAM_BYTES_MAX ||
        (association->state == DTLS_STATE_new && !handshake_announce(handshake)))
        return;
    entry = note_begin(handshake->handshaker, association->worker,
                       handle_make(handshake->index, association->generation), DTLS_NOTE_datagram,
                       (uint32_t)bytes);
    if (!entry)
        return;
    memcpy(entry->data, datagram, bytes);
    note_end(handshake->handshaker, association->worker);
}

static void handshake_connected(struct handshaker *h, struct handshake *handshake)
{
    struct association *association = association_of(handshake);
    struct dtls_keys keys;
    char id[40];

    if (!dtls_export(handshake->dtls, &keys)) {
        handshake_fail(h, handshake, DTLS_FAILURE_protocol, "OpenSSL gave no keys");
        return;
    }
    unfinished_remove(h, handshake);
    association->state = DTLS_STATE_connected;
    row_publish(h, handshake->index, DTLS_FAILURE_none, &keys);
    notify_worker(h, handshake->index, DTLS_NOTE_keys);
    LOG(INFO, "dtls", "keys ready", F("transport", "%s", id_text(handshake->id, id)),
        F("profile", "%s", field_enum_text(SHOW_srtp_profile, keys.profile)),
        F("ms", "%u", (unsigned)((h->now_ns - handshake->started_ns) / NS_PER_MS)));
    explicit_bzero(&keys, sizeof(keys));
}

/* Call this after every call of dtls.h: if the state has changed, updates association and key row,
 * and notifies the worker. */
static void handshake_state_update(struct handshaker *h, struct handshake *handshake)
{
    struct association *association = association_of(handshake);
    uint32_t index = handshake->index;
    enum dtls_state state = dtls_state(handshake->dtls);

    if (state == association->state)
        return;
    if (state == DTLS_STATE_connected) {
        handshake_connected(h, handshake);
    } else if (state == DTLS_STATE_failed) {
        handshake_fail(h, handshake, dtls_failure(handshake->dtls), dtls_reason(handshake->dtls));
    } else if (state == DTLS_STATE_closed) {
        handshake_free(h, association);
        association->state = DTLS_STATE_closed;
        row_publish(h, index, DTLS_FAILURE_none, NULL);
        notify_worker(h, index, DTLS_NOTE_closed);
    }
}

/* The client signaled a fingerprint that we do not accept (SHA-1, SHA-224, a wrong length). */
static void refuse_fingerprint(struct handshaker *h, uint32_t index,
                               const struct transport_row *row)
{
    char id[40];

    LOG(WARN, "dtls", "a client signaled a fingerprint that is not accepted; use sha-256 or better",
        F("transport", "%s", id_text(row->id, id)),
        F("algorithm", "%u", row->fingerprint_algorithm), F("bytes", "%u", row->fingerprint_bytes));
    h->associations[index].state = DTLS_STATE_failed;
    row_publish(h, index, DTLS_FAILURE_fingerprint_mismatch, NULL);
    notify_worker(h, index, DTLS_NOTE_closed);
}

/* The handshake of an association; NULL: there is no memory. */
static struct handshake *handshake_new(struct handshaker *h, uint32_t index,
                                       const struct transport_row *row)
{
    struct handshake *handshake = calloc(1, sizeof(*handshake));
    struct dtls_options options = {
        .role = row->dtls_role,
        .fingerprint_algorithm = row->fingerprint_algorithm,
        .fingerprint_bytes = row->fingerprint_bytes,
        .fingerprint = row->fingerprint,
        .timeout_ns = h->config.timeout_ns,
        .send = send_datagram,
        .send_context = handshake,
    };

    if (!handshake)
        return NULL;
    *handshake = (struct handshake){.handshaker = h, .index = index, .started_ns = h->now_ns};
    memcpy(handshake->id, row->id, sizeof(handshake->id));
    handshake->dtls = dtls_new(h->dtls, &options, h->now_ns);
    if (!handshake->dtls) {
        free(handshake);
        return NULL;
    }
    h->associations[index].handshake = handshake;
    h->kept++;
    return handshake;
}

/* Starts the handshake if signaling has completed the transport row: as server with a ClientHello,
 * as client (hello NULL) when ICE has a path. Otherwise it does nothing, because the peer
 * retransmits. If OpenSSL does not accept the ClientHello, nothing was sent and nothing remains. */
static void handshake_begin(struct handshaker *h, uint32_t index, const uint8_t *hello,
                            size_t hello_bytes)
{
    struct association *association = &h->associations[index];
    struct handshake *handshake;
    struct transport_row row;
    char id[40];

    if (row_copy(TABLE_transport, &row, region_row(h->config.desired, TABLE_transport, index),
                 association->generation) != ROW_OK ||
        row.dtls_role == DTLS_ROLE_unset ||
        !(row.dtls_role == DTLS_ROLE_client ? association->validated && !hello : hello != NULL))
        return;
    if (row.fingerprint_bytes == 0 ||
        fingerprint_bytes(row.fingerprint_algorithm) != row.fingerprint_bytes) {
        refuse_fingerprint(h, index, &row);
        return;
    }
    if (!has_room(h) || (hello && !hello_may_start(association, h->now_ns)))
        return;
    handshake = handshake_new(h, index, &row);
    if (!handshake)
        return;
    if (hello)
        dtls_receive(handshake->dtls, h->now_ns, hello, hello_bytes);
    else
        dtls_start(handshake->dtls, h->now_ns);
    if (association->state != DTLS_STATE_new) {
        handshake_state_update(h, handshake);
        return;
    }
    LOG(INFO, "dtls", "a ClientHello could not begin a handshake; the transport waits for another",
        F("transport", "%s", id_text(handshake->id, id)),
        F("reason", "%s", dtls_reason(handshake->dtls)));
    handshake_free(h, association);
}

static void association_use(struct handshaker *h, uint32_t index, uint32_t generation)
{
    h->associations[index].generation = generation;
    if (h->associations_end <= index)
        h->associations_end = index + 1;
}

/* ---- notes ---- */

/* Finds the association of a handle that worker w sent. A new generation replaces the old one.
 * NULL: worker w has no such transport. */
static struct association *association_find(struct handshaker *h, uint32_t w, handle_word handle)
{
    uint32_t index = handle_index(handle), generation = handle_generation(handle);
    struct transport_row row;
    struct association *association;

    if (index >= TRANSPORTS_MAX || generation == 0)
        return NULL;
    association = &h->associations[index];
    if (association->generation == generation)
        return association->worker == w ? association : NULL;
    if (row_copy(TABLE_transport, &row, region_row(h->config.desired, TABLE_transport, index),
                 generation) != ROW_OK ||
        row.worker != w)
        return NULL;
    association_clear(h, index);
    association_use(h, index, generation);
    association->worker = (uint8_t)w;
    return association;
}

/* The handshake has not begun: only a ClientHello begins it. */
static void first_datagram(struct handshaker *h, const struct association *association,
                           const struct ring_datagram *note)
{
    size_t bytes = note->bytes;
    const uint8_t *hello = hello_receive(h, note->handle, note->data, &bytes);

    if (hello)
        handshake_begin(h, (uint32_t)(association - h->associations), hello, bytes);
}

void note_handle(struct handshaker *h, uint32_t w, const struct ring_datagram *note)
{
    struct association *association = association_find(h, w, note->handle);
    uint32_t index = handle_index(note->handle);

    if (!association)
        return;
    switch (note->note) {
    case DTLS_NOTE_datagram:
        if (association->state == DTLS_STATE_new) {
            first_datagram(h, association, note);
        } else if (association->handshake) {
            dtls_receive(association->handshake->dtls, h->now_ns, note->data, note->bytes);
            handshake_state_update(h, association->handshake);
        }
        break;
    case DTLS_NOTE_validated:
        association->validated = true;
        if (association->state == DTLS_STATE_new)
            handshake_begin(h, index, NULL, 0);
        break;
    case DTLS_NOTE_closed:
        association_clear(h, index);
        break;
    default:
        break;
    }
}

/* ---- timers ---- */

void associations_tick(struct handshaker *h)
{
    struct handshake *handshake = h->oldest;

    while (handshake) {
        struct handshake *newer = handshake->newer;

        if (dtls_next_ns(handshake->dtls) <= h->now_ns) {
            dtls_tick(handshake->dtls, h->now_ns);
            handshake_state_update(h, handshake);
        }
        handshake = newer;
    }
    for (uint32_t i = 0; h->unsent_notes && i < TRANSPORTS_MAX; i++)
        if (h->associations[i].unsent_note)
            notify_worker(h, i, h->associations[i].unsent_note);
}

/* May the memory of this handshake be freed? See HANDSHAKES_KEPT_MAX. */
static bool handshake_is_spare(const struct handshaker *h, const struct association *association)
{
    uint32_t kept_max =
        h->config.handshakes_kept_max ? h->config.handshakes_kept_max : HANDSHAKES_KEPT_MAX;

    return h->kept > kept_max && association->handshake &&
           association->state == DTLS_STATE_connected &&
           h->now_ns - association->handshake->started_ns > HANDSHAKE_KEEP_NS;
}

/* Finds transports that were removed while the note `closed` was lost, and starts handshakes whose
 * DTLS role arrived after the note `validated`. A row that is being written now is checked in the
 * next sweep. */
void associations_sweep(struct handshaker *h)
{
    uint32_t share = (h->associations_end + SWEEP_BEATS - 1) / SWEEP_BEATS;

    for (uint32_t n = 0; n < share; n++) {
        uint32_t index = h->sweep_at++ % h->associations_end;
        struct association *association = &h->associations[index];
        struct transport_row row;
        enum row_result result;

        if (!association->generation)
            continue;
        result =
            row_copy(TABLE_transport, &row, region_row(h->config.desired, TABLE_transport, index),
                     association->generation);
        if (result == ROW_TORN)
            continue;
        if (result != ROW_OK)
            association_clear(h, index);
        else if (row.worker < h->config.worker_count)
            association->worker = (uint8_t)row.worker;
        if (handshake_is_spare(h, association))
            handshake_free(h, association);
        if (association->validated && association->state == DTLS_STATE_new)
            handshake_begin(h, index, NULL, 0);
    }
}

/* ---- rows of an earlier process ---- */

/* Takes over one key row. It is wiped when its transport does not exist any more. A handshake that
 * was not finished, or whose row was not completely written, cannot be continued: it fails. */
static void adopt(struct handshaker *h, uint32_t index)
{
    const struct row_header *shared = key_row_of(h, index);
    struct association *association = &h->associations[index];
    struct key_row key = {0};
    struct transport_row row;
    enum row_result result = row_copy(TABLE_key, &key, shared, 0), desired;

    association->state = key.state;
    explicit_bzero(&key, sizeof(key));
    if (result == ROW_FREE) {
        *association = (struct association){0};
        return;
    }
    association_use(h, index, shared->generation);
    desired =
        association->generation
            ? row_copy(TABLE_transport, &row, region_row(h->config.desired, TABLE_transport, index),
                       association->generation)
            : ROW_FREE;
    if (desired == ROW_FREE || desired == ROW_RANGE ||
        (desired == ROW_OK && row.worker >= h->config.worker_count)) {
        association->state = DTLS_STATE_closed; /* so that association_clear wipes the row */
        association_clear(h, index);
        return;
    }
    association->worker = desired == ROW_OK ? (uint8_t)row.worker : 0;
    if (result == ROW_OK && association->state != DTLS_STATE_connecting)
        return;
    association->state = DTLS_STATE_failed;
    row_publish(h, index, DTLS_FAILURE_restarted, NULL);
    notify_worker(h, index, DTLS_NOTE_closed);
}

/* Reads all rows, for which the kernel allocates 8 MB. This happens only after a crash. */
void associations_adopt(struct handshaker *h)
{
    for (uint32_t i = 0; i < TRANSPORTS_MAX; i++)
        adopt(h, i);
}

void handshakes_free(struct handshaker *h)
{
    for (uint32_t i = 0; i < TRANSPORTS_MAX; i++)
        handshake_free(h, &h->associations[i]);
}
