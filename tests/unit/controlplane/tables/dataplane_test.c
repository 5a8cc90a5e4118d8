/* tables/dataplane.h against real regions and a supervisor that the test plays: rows, notes,
 * doorbells, events, missing heartbeats, restarts of either side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "controlplane/tables/internal.h"
#include "src/clock.h"
#include "src/descriptors.h"
#include "src/log.h"

/* ---- the data plane's side ---- */

static struct {
    char directory[64];
    struct sockaddr_un address;
    int listener, desired_fd, actual_fd, worker_doorbell[2], control_doorbell;
    struct region desired, actual; /* mapped as the forwarder maps them */
    struct ring changes[2], events[2];
    uv_thread_t thread;
    uv_timer_t beat;
    bool beating;
    bool forwarder_dead; /* the supervisor says so */
    int clients;
} far;

static uv_loop_t loop;
static struct settings settings;
static struct dataplane *open_dataplane; /* teardown closes it if a test failed */
static int ups, downs;
static struct {
    enum table_id table;
    handle_word handle;
} changes[128]; /* for which the handler was called */
static int change_count;

static void supervise(void *unused)
{
    for (;;) {
        int client = accept(far.listener, NULL, NULL);
        struct descriptors set = {0};
        char role[32] = "";

        if (client < 0)
            return;
        if (recv(client, role, sizeof(role) - 1, 0) > 0 && strcmp(role, "control") == 0) {
            descriptors_add(&set, far.desired_fd, "desired");
            descriptors_add(&set, region_reopen_readonly(far.actual_fd), "actual");
            descriptors_add(&set, far.worker_doorbell[0], "bell.worker.%u", 0);
            descriptors_add(&set, far.worker_doorbell[1], "bell.worker.%u", 1);
            descriptors_add(&set, far.control_doorbell, "bell.control");
            if (__atomic_load_n(&far.forwarder_dead, __ATOMIC_SEQ_CST))
                descriptors_add(&set, far.control_doorbell, DESCRIPTOR_FORWARDER_DEAD);
            descriptors_send(client, &set);
            close(descriptors_get(&set, "actual"));
            __atomic_add_fetch(&far.clients, 1, __ATOMIC_SEQ_CST);
        }
        close(client);
    }
}

static void far_listen(void)
{
    far.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    unlink(far.address.sun_path);
    assert_int_equal(bind(far.listener, (struct sockaddr *)&far.address, sizeof(far.address)), 0);
    assert_int_equal(listen(far.listener, 4), 0);
    uv_thread_create(&far.thread, supervise, NULL);
}

static void far_unlisten(void)
{
    shutdown(far.listener, SHUT_RDWR);
    uv_thread_join(&far.thread);
    close(far.listener);
}

static void far_make_regions(uint64_t instance)
{
    struct node_row node = {
        .header = {.generation = 1, .used = 1}, .worker_count = 2, .has_fingerprints = 1};
    struct worker_state_row worker = {.header = {.generation = 1, .used = 1}, .has_ipv4 = 1};
    int readonly;
    char why[128];

    far.desired_fd = region_create(REGION_desired, instance);
    far.actual_fd = region_create(REGION_actual, instance);
    assert_true(far.desired_fd >= 0 && far.actual_fd >= 0);
    readonly = region_reopen_readonly(far.desired_fd);
    assert_true(region_map(&far.desired, REGION_desired, readonly, false, why));
    close(readonly);
    assert_true(region_map(&far.actual, REGION_actual, far.actual_fd, true, why));
    for (uint32_t w = 0; w < 2; w++) {
        far.worker_doorbell[w] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        far.changes[w] = region_ring(&far.desired, &far.actual, w);
        far.events[w] = region_ring(&far.actual, &far.desired, w);
        worker.udp_port = (uint16_t)(40000 + w);
        row_write(TABLE_worker_state, region_row(&far.actual, TABLE_worker_state, w),
                  &worker.header);
    }
    far.control_doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    row_write(TABLE_node, region_row(&far.actual, TABLE_node, 0), &node.header);
    region_beat(&far.actual, 0, clock_monotonic_ns());
}

static void far_drop_regions(void)
{
    region_unmap(&far.desired);
    region_unmap(&far.actual);
    close(far.desired_fd);
    close(far.actual_fd);
    close(far.worker_doorbell[0]);
    close(far.worker_doorbell[1]);
    close(far.control_doorbell);
}

static void far_beat(uv_timer_t *timer)
{
    if (far.beating)
        region_beat(&far.actual, 0, clock_monotonic_ns());
}

static void changed(void *context, enum table_id table, handle_word handle)
{
    assert_true(change_count < 128);
    changes[change_count].table = table;
    changes[change_count++].handle = handle;
}

static void up(void *context, bool is_up)
{
    *(is_up ? &ups : &downs) += 1;
}

static const struct dataplane_handlers handlers = {.changed = changed, .up = up};

static void run_ms(uint64_t ms)
{
    uint64_t end = uv_hrtime() / 1000000 + ms;

    while (uv_hrtime() / 1000000 < end)
        uv_run(&loop, UV_RUN_ONCE);
}

/* A minute is for slow machines: it normally takes milliseconds. */
static void run_until(const int *count, int wanted)
{
    for (int i = 0; i < 6000 && *count < wanted; i++)
        run_ms(10);
    assert_int_equal(*count, wanted);
}

static int setup(void **state)
{
    memset(&far, 0, sizeof(far));
    ups = downs = change_count = 0;
    log_open("test", LOG_ERROR, false);
    snprintf(far.directory, sizeof(far.directory), "/tmp/dataplane-test-XXXXXX");
    assert_non_null(mkdtemp(far.directory));
    snprintf(settings.data_directory, sizeof(settings.data_directory), "%s", far.directory);
    far.address.sun_family = AF_UNIX;
    snprintf(far.address.sun_path, sizeof(far.address.sun_path), "%s/dataplane.sock",
             far.directory);
    far_make_regions(1);
    far_listen();
    uv_loop_init(&loop);
    uv_timer_init(&loop, &far.beat);
    uv_timer_start(&far.beat, far_beat, 0, 20);
    far.beating = true;
    return 0;
}

static void shut(struct dataplane *dataplane)
{
    dataplane_close(dataplane);
    open_dataplane = NULL;
}

static int teardown(void **state)
{
    if (open_dataplane != NULL)
        shut(open_dataplane);
    uv_close((uv_handle_t *)&far.beat, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    far_unlisten();
    far_drop_regions();
    unlink(far.address.sun_path);
    rmdir(far.directory);
    return 0;
}

static struct dataplane *open_up(void)
{
    int wanted = ups + 1;
    struct dataplane *dataplane = open_dataplane =
        dataplane_open(&loop, &settings, &handlers, NULL);

    assert_non_null(dataplane);
    run_until(&ups, wanted);
    assert_true(dataplane_is_up(dataplane));
    return dataplane;
}

static struct transport_row transport_row(uint32_t worker)
{
    struct transport_row row = {.worker = worker, .direction = DIRECTION_send};

    strcpy(row.ice_ufrag, "abcdefghabcdefghabcdefghabcdefgh");
    strcpy(row.ice_pwd, "secretsecretsecretsecretsecret12");
    return row;
}

/* The next change that the forwarder would read. */
static bool next_change(uint32_t worker, struct ring_note *note)
{
    const struct ring_note *shared = ring_peek(&far.changes[worker]);

    if (!shared)
        return false;
    *note = *shared;
    ring_consume(&far.changes[worker]);
    return true;
}

/* ---- tests ---- */

static void rows_are_written_and_workers_are_notified(void **state)
{
    struct dataplane *dataplane = open_up();
    struct transport_row row = transport_row(1), seen;
    struct ring_note note;
    handle_word handle, again;
    uint64_t rings;

    assert_int_equal(dataplane_worker_port(dataplane, 1), 40001);
    assert_int_equal(dataplane_worker_port(dataplane, 5), 0);
    assert_int_equal(dataplane_worker_port(dataplane, 99), 0);
    handle = dataplane_row_add(dataplane, TABLE_transport, &row, 1);
    assert_true(handle != 0);
    assert_int_equal(handle_index(handle), 0); /* rows are taken in order */
    assert_int_equal(handle_generation(handle), 1);
    assert_int_equal(
        row_copy(TABLE_transport, &seen, region_row(&far.desired, TABLE_transport, 0), 1), ROW_OK);
    assert_string_equal(seen.ice_ufrag, row.ice_ufrag);
    assert_false(next_change(0, &note));
    assert_true(next_change(1, &note));
    assert_int_equal(note.table, TABLE_transport);
    assert_int_equal(note.handle, handle);
    assert_int_equal(read(far.worker_doorbell[1], &rings, 8),
                     -1); /* not yet: it is rung at the end of the turn */
    row.dtls_role = DTLS_ROLE_server;
    assert_true(dataplane_row_update(dataplane, TABLE_transport, handle, &row, 1));
    run_ms(30);
    assert_int_equal(read(far.worker_doorbell[1], &rings, 8), 8);
    assert_int_equal(rings, 1); /* once for two changes */
    assert_true(next_change(1, &note));
    assert_true(dataplane_row_read(dataplane, TABLE_transport, handle, &seen));
    assert_int_equal(seen.dtls_role, DTLS_ROLE_server);
    assert_true(region_heartbeat(far.desired.header) + 300 * NS_PER_MS > clock_monotonic_ns());
    assert_int_equal(atomic_load(&far.desired.header->writer_starts), 1);

    dataplane_row_remove(dataplane, TABLE_transport, handle, 1);
    assert_true(next_change(1, &note));
    assert_false(dataplane_row_read(dataplane, TABLE_transport, handle, &seen));
    assert_false(dataplane_row_update(dataplane, TABLE_transport, handle, &row, 1));
    dataplane_row_remove(dataplane, TABLE_transport, handle, 1); /* the second time does nothing */
    assert_false(next_change(1, &note));
    assert_int_equal(
        ((struct transport_row *)region_row(&far.desired, TABLE_transport, 0))->ice_pwd[0],
        0); /* wiped */
    again = dataplane_row_add(dataplane, TABLE_transport, &row, 1);
    assert_int_equal(handle_index(again), 1); /* the freed row is in quarantine */
    run_ms(QUARANTINE_MS + 50);
    again = dataplane_row_add(dataplane, TABLE_transport, &row, 1);
    assert_int_equal(handle_index(again), 0);
    assert_int_equal(handle_generation(again), 2);
    assert_false(dataplane_row_read(dataplane, TABLE_transport, handle,
                                    &seen)); /* the old handle is stale */

    row.direction = 9; /* out of range: refused before it is written */
    log_open("test", LOG_ERROR, false);
    assert_int_equal(dataplane_row_add(dataplane, TABLE_transport, &row, 1), 0);
    assert_int_equal(dataplane_row_add(dataplane, TABLE_node, &row, 1), 0);
    assert_int_equal(dataplane_row_add(dataplane, TABLE_transport, &row, WORKERS_MAX), 0);
    shut(dataplane);
}

static void the_least_loaded_worker_is_picked(void **state)
{
    struct dataplane *dataplane = open_up();
    struct room_row room = {.worker = 0};
    struct transport_row row = transport_row(0);

    assert_int_equal(dataplane_pick_worker(dataplane, -1, 0), 0);
    assert_true(dataplane_row_add(dataplane, TABLE_room, &room, 0) != 0);
    assert_int_equal(dataplane_pick_worker(dataplane, -1, 0),
                     1); /* as many transports, fewer rooms */
    room.worker = 1;
    assert_true(dataplane_row_add(dataplane, TABLE_room, &room, 1) != 0);
    assert_true(dataplane_row_add(dataplane, TABLE_transport, &row, 0) != 0);
    assert_int_equal(dataplane_pick_worker(dataplane, -1, 0), 1);
    shut(dataplane);
}

/* A small room stays on its first worker, a large one spreads
 * evenly; consumers count as load too. */
static void a_large_room_spreads(void **state)
{
    struct dataplane *dataplane = open_up();
    struct transport_row row = transport_row(0);
    struct consumer_row consumer = {.ssrc = 5, .kind = MEDIA_KIND_video, .priority = 1};
    uint32_t on[2] = {0};
    handle_word first;

    first = dataplane_row_add(dataplane, TABLE_consumer, &consumer, 0);
    assert_true(first != 0);
    assert_int_equal(dataplane_pick_worker(dataplane, -1, 0), 1);
    dataplane_row_remove(dataplane, TABLE_consumer, first, 0);
    assert_int_equal(dataplane_pick_worker(dataplane, -1, 0), 0);
    for (int i = 0; i < 1000; i++) {
        int worker = dataplane_pick_worker(dataplane, 0, 16);

        assert_in_range(worker, 0, 1);
        assert_true(i > 16 || worker == 0);
        assert_true(dataplane_row_add(dataplane, TABLE_transport, &row, (uint32_t)worker) != 0);
        on[worker]++;
    }
    assert_in_range(on[0], on[1], on[1] + 17);
    assert_int_equal(dataplane_pick_worker(dataplane, 7, 16),
                     1); /* there is no worker 7: the least loaded one */
    shut(dataplane);
}

static void a_full_table_refuses_rows(void **state)
{
    struct dataplane *dataplane = open_up();
    struct room_row row = {.worker = 0};
    handle_word handle = 0, last = 0;
    struct ring_note note;
    uint32_t i, notes = 0;

    for (i = 0; i < ROOMS_MAX; i++) {
        last = dataplane_row_add(dataplane, TABLE_room, &row, 0);
        assert_true(last != 0);
    }
    log_open("test", LOG_ERROR, false);
    assert_int_equal(dataplane_row_add(dataplane, TABLE_room, &row, 0), 0);
    dataplane_row_remove(dataplane, TABLE_room, last, 0);
    assert_int_equal(dataplane_row_add(dataplane, TABLE_room, &row, 0),
                     0); /* still in quarantine */
    run_ms(QUARANTINE_MS + 50);
    handle = dataplane_row_add(dataplane, TABLE_room, &row, 0);
    assert_int_equal(handle_index(handle), handle_index(last));
    assert_int_equal(handle_generation(handle), 2);

    /* more changes than the ring can hold: the overflow mark asks the worker to rescan */
    assert_true(ring_overflowed(&far.changes[0]));
    while (next_change(0, &note))
        notes++;
    assert_int_equal(notes, CHANGE_RING_ENTRIES);
    shut(dataplane);
}

static void events_reach_the_handler(void **state)
{
    struct dataplane *dataplane = open_up();
    struct transport_row row = transport_row(0);
    struct transport_state_row written = {.header = {.generation = 1, .used = 1},
                                          .ice_state = ICE_STATE_connected},
                               seen;
    handle_word handle = dataplane_row_add(dataplane, TABLE_transport, &row, 0);
    struct ring_note note = {.table = TABLE_transport_state, .handle = handle};
    const uint64_t one = 1;
    uint32_t i;

    row_write(TABLE_transport_state,
              region_row(&far.actual, TABLE_transport_state, handle_index(handle)),
              &written.header);
    ring_put_note(&far.events[1], note);
    note.table = TABLE_node; /* not a table whose changes are reported */
    ring_put_note(&far.events[1], note);
    note.table = TABLE_transport_state;
    note.handle = 0xffffffffu; /* no such row */
    ring_put_note(&far.events[1], note);
    note.table = 4711;
    ring_put_note(&far.events[1], note);
    assert_int_equal(write(far.control_doorbell, &one, 8), 8);
    run_until(&change_count, 1);
    run_ms(30);
    assert_int_equal(change_count, 1);
    assert_int_equal(changes[0].table, TABLE_transport_state);
    assert_int_equal(changes[0].handle, handle);
    assert_true(dataplane_row_read(dataplane, TABLE_transport_state, handle, &seen));
    assert_int_equal(seen.ice_state, ICE_STATE_connected);
    assert_false(
        dataplane_row_read(dataplane, TABLE_transport_state, handle + (1ull << 32), &seen));

    /* after an overflow every used row is reported */
    change_count = 0;
    note.table = TABLE_node;
    note.handle = 0;
    for (i = 0; i < EVENT_RING_ENTRIES + 1; i++)
        ring_put_note(&far.events[0], note);
    assert_int_equal(write(far.control_doorbell, &one, 8), 8);
    run_until(&change_count, 1);
    assert_int_equal(changes[0].handle, handle);
    assert_null(ring_peek(&far.events[0]));

    /* The other side is not trusted: an impossible head must
     * neither hang us nor stop the events. */
    atomic_fetch_add(&far.events[0].head->published, 1ull << 40);
    assert_int_equal(write(far.control_doorbell, &one, 8), 8);
    run_until(&change_count, 2);
    assert_int_equal(atomic_load(&far.events[0].head->published),
                     atomic_load(&far.events[0].tail->consumed));
    note.table = TABLE_transport_state;
    note.handle = handle;
    ring_put_note(&far.events[0], note);
    assert_int_equal(write(far.control_doorbell, &one, 8), 8);
    run_until(&change_count, 3);
    shut(dataplane);
}

static void a_silent_or_restarted_data_plane(void **state)
{
    struct dataplane *dataplane = open_up();
    struct transport_row row = transport_row(0), seen;
    handle_word handle = dataplane_row_add(dataplane, TABLE_transport, &row, 0);
    uint64_t began_ns;
    int clients;

    /* The forwarder crashes again and again. The upper limit is generous: this machine may be
     * busy. */
    __atomic_store_n(&far.forwarder_dead, true, __ATOMIC_SEQ_CST);
    far.beating = false;
    began_ns = clock_monotonic_ns();
    run_until(&downs, 1);
    assert_true(clock_monotonic_ns() - began_ns > 400 * NS_PER_MS * SANITIZER_PATIENCE);
    assert_true(clock_monotonic_ns() - began_ns < 5000 * NS_PER_MS * SANITIZER_PATIENCE);
    assert_false(dataplane_is_up(dataplane));
    assert_int_equal(dataplane_row_add(dataplane, TABLE_transport, &row, 0), 0);
    assert_int_equal(dataplane_pick_worker(dataplane, -1, 0), -1);
    row.dtls_role = DTLS_ROLE_server; /* rows can still be updated */
    assert_true(dataplane_row_update(dataplane, TABLE_transport, handle, &row, 0));
    clients = __atomic_load_n(&far.clients, __ATOMIC_SEQ_CST);
    /* It asks the supervisor again, which has the same regions. */
    for (int i = 0; i < 600 && __atomic_load_n(&far.clients, __ATOMIC_SEQ_CST) == clients; i++)
        run_ms(100);
    assert_true(__atomic_load_n(&far.clients, __ATOMIC_SEQ_CST) > clients);
    __atomic_store_n(&far.forwarder_dead, false, __ATOMIC_SEQ_CST);
    far.beating = true; /* a new forwarder with the same regions: rows are still there */
    run_until(&ups, 2);
    assert_true(dataplane_row_read(dataplane, TABLE_transport, handle, &seen));
    assert_int_equal(seen.dtls_role, DTLS_ROLE_server);

    far.beating = false; /* the supervisor stops too, and a new one makes new regions */
    far_unlisten();
    far_drop_regions();
    run_until(&downs, 2);
    far_make_regions(2);
    far_listen();
    far.beating = true;
    run_until(&ups, 3);
    assert_false(dataplane_row_read(dataplane, TABLE_transport, handle, &seen));
    dataplane_row_remove(dataplane, TABLE_transport, handle, 0); /* too late, and harmless */
    assert_int_equal(handle_generation(dataplane_row_add(dataplane, TABLE_transport, &row, 0)), 1);
    shut(dataplane);
}

/* A late heartbeat alone refuses nothing: the machine may be busy. The supervisor is asked, and its
 * answer shows that the data plane lives. */
static void a_late_heartbeat_refuses_nothing(void **state)
{
    struct dataplane *dataplane = open_up();
    struct transport_row row = transport_row(0);
    int asked = __atomic_load_n(&far.clients, __ATOMIC_SEQ_CST), added = 0;
    uint64_t late_ms = 3 * 500 * SANITIZER_PATIENCE;

    far.beating = false;
    for (uint64_t ms = 0; ms < late_ms; ms += 10, added++) {
        run_ms(10);
        if (dataplane_pick_worker(dataplane, -1, 0) < 0 ||
            dataplane_row_add(dataplane, TABLE_transport, &row, 0) == 0)
            fail_msg("refused after %llu ms", (unsigned long long)ms);
    }
    assert_true(dataplane_is_up(dataplane));
    assert_int_equal(downs, 0);
    assert_true(__atomic_load_n(&far.clients, __ATOMIC_SEQ_CST) > asked);
    print_message("%d rows added in %llu ms without a heartbeat, none refused\n", added,
                  (unsigned long long)late_ms);
    far.beating = true;
    run_until(&ups, 2); /* the rooms look at all transports again */
    assert_int_equal(downs, 0);
    shut(dataplane);
}

static void leftover_rows_are_freed(void **state)
{
    struct dataplane *dataplane = open_up();
    struct transport_row row = transport_row(1), seen;
    struct producer_row producer = {.kind = MEDIA_KIND_audio,
                                    .type = PRODUCER_TYPE_simple,
                                    .codec_count = 1,
                                    .encoding_count = 1};
    struct consumer_row consumer = {.kind = MEDIA_KIND_audio};
    struct room_row room = {.worker = 1};
    handle_word handles[4];
    struct ring_note note;
    struct row_header *torn;
    static const enum table_id order[] = {TABLE_consumer, TABLE_producer, TABLE_transport,
                                          TABLE_room};
    int i;

    handles[0] = dataplane_row_add(dataplane, TABLE_room, &room, 1);
    row.room = handles[0];
    handles[1] = dataplane_row_add(dataplane, TABLE_transport, &row, 1);
    producer.transport = consumer.transport = handles[1];
    handles[2] = dataplane_row_add(dataplane, TABLE_producer, &producer, 1);
    consumer.producer = handles[2];
    handles[3] = dataplane_row_add(dataplane, TABLE_consumer, &consumer, 1);
    run_ms(30);
    while (next_change(1, &note))
        ;
    shut(dataplane); /* like kill -9: rows stay as they are */
    run_ms(30);
    torn = region_row(&far.desired, TABLE_consumer, 0);
    assert_int_equal(torn->used, 1);

    dataplane = open_up();
    for (i = 0; i < 4;
         i++) { /* a row goes before the rows that it refers to, and the worker is notified */
        assert_true(next_change(1, &note));
        assert_int_equal(note.table, order[i]);
        assert_int_equal(handle_index(note.handle), 0);
        assert_int_equal(region_row(&far.desired, order[i], 0)->used, 0);
    }
    assert_false(next_change(1, &note));
    assert_int_equal(atomic_load(&far.desired.header->writer_starts), 2);
    run_ms(QUARANTINE_MS + 50);
    handles[1] = dataplane_row_add(dataplane, TABLE_transport, &row, 1);
    assert_int_equal(handle_index(handles[1]), 0);
    assert_int_equal(handle_generation(handles[1]), 2); /* continues the generation in the region */
    assert_true(dataplane_row_read(dataplane, TABLE_transport, handles[1], &seen));
    shut(dataplane);
}

static void without_a_data_plane(void **state)
{
    struct dataplane *dataplane;
    struct room_row room = {0};

    far_unlisten();
    unlink(far.address.sun_path);
    dataplane = open_dataplane = dataplane_open(&loop, &settings, &handlers, NULL);
    run_ms(700);
    assert_false(dataplane_is_up(dataplane));
    assert_int_equal(dataplane_row_add(dataplane, TABLE_room, &room, 0), 0);
    assert_int_equal(dataplane_pick_worker(dataplane, -1, 0), -1);
    assert_int_equal(dataplane_worker_port(dataplane, 0), 0);
    far_listen(); /* the data plane starts later */
    run_until(&ups, 1);
    assert_true(dataplane_row_add(dataplane, TABLE_room, &room, 0) != 0);
    shut(dataplane);

    dataplane = open_dataplane =
        dataplane_open(&loop, &settings, &handlers, NULL); /* closed while it connects */
    uv_run(&loop, UV_RUN_NOWAIT);
    shut(dataplane);
    run_ms(100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(rows_are_written_and_workers_are_notified),
        T(the_least_loaded_worker_is_picked),
        T(a_large_room_spreads),
        T(a_full_table_refuses_rows),
        T(events_reach_the_handler),
        T(leftover_rows_are_freed),
        T(a_silent_or_restarted_data_plane),
        T(a_late_heartbeat_refuses_nothing),
        T(without_a_data_plane),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
