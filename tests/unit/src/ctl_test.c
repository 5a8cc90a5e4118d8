/* ringcastctl against a thread that plays the supervisor: dump, top, check, settings, wrong
 * arguments. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#define main ringcastctl_main
#include "src/ctl/main.c"
#undef main
#include "src/ctl/observe.c"
#include "src/ctl/value.c"
#include "src/ctl/dump.c"
#include "src/ctl/top.c"
#include "src/ctl/top_print.c"
#include "src/ctl/check.c"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char directory[] = "/tmp/ringcast-ctl-XXXXXX";
static int listening = -1;
static pthread_t server;
static struct region desired, actual;
static int files[REGION_COUNT];
static bool without_actual;

/* ---- the supervisor ---- */

static void *serve(void *unused)
{
    for (;;) {
        struct descriptors set = {0};
        char role[16] = "";
        int peer = accept(listening, NULL, NULL);

        if (peer < 0)
            return NULL;
        if (recv(peer, role, sizeof(role) - 1, 0) > 0 && strcmp(role, "inspect") == 0) {
            descriptors_add(&set, region_reopen_readonly(files[REGION_desired]), "desired");
            if (!without_actual)
                descriptors_add(&set, region_reopen_readonly(files[REGION_actual]), "actual");
            descriptors_send(peer, &set);
            descriptors_close(&set);
        }
        close(peer);
    }
}

static int start_supervisor(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char why[128];

    if (!mkdtemp(directory))
        return -1;
    for (int id = 0; id < REGION_COUNT; id++)
        files[id] = region_create((enum region_id)id, 0xabcdef);
    if (!region_map(&desired, REGION_desired, files[REGION_desired], true, why) ||
        !region_map(&actual, REGION_actual, files[REGION_actual], true, why))
        return -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/dataplane.sock", directory);
    listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (bind(listening, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listening, 4) != 0)
        return -1;
    return pthread_create(&server, NULL, serve, NULL);
}

static int stop_supervisor(void **state)
{
    char path[80];

    shutdown(listening, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listening);
    snprintf(path, sizeof(path), "%s/dataplane.sock", directory);
    unlink(path);
    return rmdir(directory);
}

/* ---- running ringcastctl ---- */

static char out[200000], err[4000];

static void read_back(int fd, int saved, int onto, char *text, size_t room)
{
    ssize_t bytes;

    dup2(saved, onto);
    close(saved);
    bytes = pread(fd, text, room - 1, 0);
    text[bytes > 0 ? bytes : 0] = '\0';
    close(fd);
}

/* Runs ringcastctl with these words and --data-directory. Its output is in `out` and `err`. */
static int run(const char *words)
{
    char room[200], *argv[20] = {"ringcastctl"};
    int argc = 1, status, out_file = memfd_create("out", 0), err_file = memfd_create("err", 0);
    int out_saved, err_saved;

    strcpy(room, words);
    for (char *word = strtok(room, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    if (argc > 1 && !strstr(words, "--data-directory") && is_command(argv[1])) {
        argv[argc++] = "--data-directory";
        argv[argc++] = directory;
    }
    fflush(stdout);
    out_saved = dup(STDOUT_FILENO);
    err_saved = dup(STDERR_FILENO);
    dup2(out_file, STDOUT_FILENO);
    dup2(err_file, STDERR_FILENO);
    status = ringcastctl_main(argc, argv);
    fflush(stdout);
    read_back(out_file, out_saved, STDOUT_FILENO, out, sizeof(out));
    read_back(err_file, err_saved, STDERR_FILENO, err, sizeof(err));
    return status;
}

static void says(const char *text, const char *sentence)
{
    if (!strstr(text, sentence))
        fail_msg("\"%.3000s\" does not say \"%s\"", text, sentence);
}

static void says_not(const char *text, const char *sentence)
{
    if (strstr(text, sentence))
        fail_msg("\"%.3000s\" says \"%s\"", text, sentence);
}

/* ---- rows to show ---- */

#define HEADER(generation_, used_)                   \
    {                                                \
        .generation = (generation_), .used = (used_) \
    }

static void fill_tables(void)
{
    struct transport_row transport = {
        .header = HEADER(7, 1),
        .id = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8},
        .room = handle_make(3, 2),
        .direction = DIRECTION_send,
        .ice_ufrag = "us\"er",
        .ice_pwd = "PASSWORD-PASSWORD"};
    struct transport_row freed = {.header = HEADER(4, 0)};
    struct producer_row wrong = {.header = HEADER(1, 1), .kind = 9};
    struct transport_state_row connected = {.header = HEADER(7, 1),
                                            .bytes_received = 5,
                                            .ice_state = ICE_STATE_completed,
                                            .dtls_state = DTLS_STATE_connected,
                                            .remote_port = 40123,
                                            .connected_ns = 1500000000,
                                            .remote_ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}};
    struct worker_state_row worker = {
        .header = HEADER(1, 1), .udp_port = 40000, .backend = "socket"};
    struct worker_counters_row counters = {.header = HEADER(1, 1)};

    struct consumer_row consumer = {.header = HEADER(1, 1), .kind = MEDIA_KIND_video};
    struct consumer_state_row gets = {.header = HEADER(1, 1),
                                      .spatial_layer = 2,
                                      .temporal_layer = 1,
                                      .score = 6,
                                      .target_spatial_layer = 2,
                                      .target_temporal_layer = 2};

    for (uint32_t i = 0; i < 5; i++) { /* the last two are audio, and of another generation */
        consumer.kind = i == 3 ? MEDIA_KIND_audio : MEDIA_KIND_video;
        gets.header.generation = i == 4 ? 2 : 1;
        row_write(TABLE_consumer, region_row(&desired, TABLE_consumer, i), &consumer.header);
        row_write(TABLE_consumer_state, region_row(&actual, TABLE_consumer_state, i), &gets.header);
        gets.spatial_layer = gets.target_spatial_layer = i == 0 ? 0 : LAYER_NONE;
        gets.temporal_layer = gets.target_temporal_layer = i == 0 ? 0 : LAYER_NONE;
        gets.score = 10;
    }
    counters.verdicts[VERDICT_drop_empty] = 3;
    counters.counters[COUNTER_received] = 1000;
    row_write(TABLE_transport, region_row(&desired, TABLE_transport, 0), &transport.header);
    row_write(TABLE_transport, region_row(&desired, TABLE_transport, 1), &freed.header);
    row_write(TABLE_producer, region_row(&desired, TABLE_producer, 0), &wrong.header);
    row_write(TABLE_transport_state, region_row(&actual, TABLE_transport_state, 0),
              &connected.header);
    row_write(TABLE_worker_state, region_row(&actual, TABLE_worker_state, 2), &worker.header);
    row_write(TABLE_worker_counters, region_row(&actual, TABLE_worker_counters, 2),
              &counters.header);
}

/* ---- tests ---- */

static void empty_tables(void **state)
{
    assert_int_equal(run("dump"), 0);
    says(out, "room: no rows\n");
    says(out, "consumer_state: no rows\n");
    assert_int_equal(run("dump --json"), 0);
    assert_string_equal(out, "");
    assert_int_equal(run("dump transport"), 0);
    assert_string_equal(out, "transport: no rows\n");
    assert_int_equal(run("top --once --interval 0.1"), 0);
    says(out, "the forwarder has not started yet");
    says(out, "no worker has reported yet");
    assert_int_equal(run("check"), 1);
    says(out, "never: its writer has not started");
}

static void rows_as_text(void **state)
{
    fill_tables();
    assert_int_equal(run("dump transport"), 0);
    says(out, "transport 0:7\n");
    says(out, "  id                           12345678-9abc-def0-0102-030405060708\n");
    says(out, "  room                         3:2\n");
    says(out, "  direction                    send\n");
    says(out, "  ice_ufrag                    us\\\"er\n");
    says(out, "  ice_pwd                      (secret)\n");
    says_not(out, "PASSWORD");
    says_not(out, "transport 1");
    says_not(out, "reserved");
    assert_int_equal(run("dump transport_state"), 0);
    says(out, "  remote_ip                    192.0.2.1\n");
    says(out, "  local_ip                     -\n");
    says(out, "  dtls_state                   connected\n");
    says(out, "  connected_ns                 1.500000 s\n");
    assert_int_equal(run("dump worker_counters --used"), 0);
    says(out, "worker_counters 2:1\n");
    says(out, "drop_empty                   3\n");
    says_not(out, "drop_oversize");
    assert_int_equal(run("dump consumer_state"), 0);
    says(out, "  spatial_layer                2\n");
    says(out, "  temporal_layer               1\n");
    says(out, "  spatial_layer                -\n"); /* nothing is forwarded */
    says(out, "  score                        6\n");
    assert_int_equal(run("dump --all transport"), 0);
    says(out, "transport 1:4  — free\n");
    says_not(out, "transport 2");
    assert_int_equal(run("dump producer"), 0);
    says(out, "producer 0:1  — out of range: kind\n");
}

static void rows_as_json(void **state)
{
    fill_tables();
    assert_int_equal(run("dump transport --json"), 0);
    says(out, "{\"table\":\"transport\",\"index\":0,\"generation\":7,\"row\":\"used\","
              "\"id\":\"12345678-9abc-def0-0102-030405060708\",\"room\":\"3:2\",\"worker\":0,"
              "\"direction\":\"send\"");
    says(out, "\"ice_ufrag\":\"us\\\"er\",\"ice_pwd\":\"(secret)\"}\n");
    assert_int_equal(run("dump worker_counters --json"), 0);
    says(out, "\"verdicts\":{\"forwarded\":0,");
    says(out, "\"drop_empty\":3,");
    says(out, "\"counters\":{\"received\":1000,");
    assert_int_equal(run("dump producer --json"), 0);
    says(out, "\"row\":\"out of range\",\"bad_field\":\"kind\",");
    says(out, "\"encoding_ssrc\":[0,0,0,0],");
}

static void a_row_being_written(void **state)
{
    struct row_header *row = region_row(&desired, TABLE_transport, 0);

    fill_tables();
    atomic_fetch_add(&row->sequence, 1);
    assert_int_equal(run("dump transport"), 0);
    says(out, "being written");
    atomic_fetch_add(&row->sequence, 1);
}

/* Reads only rows that were ever in use: reading the others would allocate memory for them. */
static void reading_allocates_no_memory(void **state)
{
    struct stat before, after;

    fill_tables();
    assert_int_equal(fstat(files[REGION_desired], &before), 0);
    assert_int_equal(run("dump --all"), 0);
    assert_int_equal(run("top --once --interval 0.1"), 0);
    assert_int_equal(fstat(files[REGION_desired], &after), 0);
    assert_true(after.st_blocks - before.st_blocks < 2048); /* 1 MiB; the region has 170 MiB */
}

/* What the worker wrote within the second between the two samples. */
static void work_for_a_second(void)
{
    struct worker_state_row worker = {
        .header = HEADER(1, 1), .udp_port = 40000, .backend = "socket", .busy_ns = 250000000};
    struct worker_counters_row counters = {.header = HEADER(1, 1)};
    struct transport_state_row connected = {.header = HEADER(7, 1),
                                            .bytes_received = 1000005,
                                            .rtp_packets_received = 500,
                                            .ice_state = ICE_STATE_completed,
                                            .dtls_state = DTLS_STATE_connected,
                                            .remote_port = 40123,
                                            .remote_ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}};

    counters.verdicts[VERDICT_drop_empty] = 103;
    counters.counters[COUNTER_received] = 2000;
    counters.counters[COUNTER_layer_switches] = 3;
    counters.counters[COUNTER_nack_sent] = 10;
    counters.counters[COUNTER_repaired_in] = 9;
    counters.counters[COUNTER_key_frames_asked] = 2;
    counters.counters[COUNTER_nack_received] = 40;
    counters.counters[COUNTER_rtx_sent] = 33;
    counters.counters[COUNTER_rtx_refused] = 4;
    counters.counters[COUNTER_rtx_missing] = 1;
    region_beat(&actual, 0, clock_monotonic_ns());
    row_write(TABLE_worker_state, region_row(&actual, TABLE_worker_state, 2), &worker.header);
    row_write(TABLE_worker_counters, region_row(&actual, TABLE_worker_counters, 2),
              &counters.header);
    row_write(TABLE_transport_state, region_row(&actual, TABLE_transport_state, 0),
              &connected.header);
}

static void rates_between_two_samples(void **state)
{
    static struct top_sample before, now;
    struct observer observer;
    FILE *to = fmemopen(out, sizeof(out), "w");

    assert_true(observer_attach(&observer, directory));
    fill_tables();
    sample_take(&observer, &before, &before);
    work_for_a_second();
    sample_take(&observer, &before, &now);
    now.heartbeat_ns = now.now_ns = before.now_ns + NS_PER_S; /* however long the test took */
    top_print(to, &before, &now, 0);
    fclose(to);
    observer_detach(&observer);
    says(out, "ringcast: 1 transports, forwarder alive");
    says(out, "\n2        25.0%       1000          0 ");
    says(out, "40000, socket");
    says(out, "\ndrop_empty                            103        100.0\n");
    /* one gets layer 0, one layer 2 and shall get more of it, one nothing */
    says(out,
         "\nsubscribers          1         0         1         0         1          1         1  "
         "       3.0\n");
    says(out, "\npublishers        10.0       9.0         -         -          2.0\n");
    says(out, "\nsubscribers       40.0      33.0       4.0       1.0            -\n");
    says(out, "12345678 send  completed    connected  192.0.2.1:40123");
    says(out, "8.00 Mbit/s");
}

static void check_of_live_writers(void **state)
{
    uint64_t now_ns = clock_monotonic_ns();

    region_beat(&desired, 0, now_ns);
    region_beat(&actual, 0, now_ns);
    atomic_store(&actual.header->writer_pid, 4242);
    atomic_store(&desired.header->heads[1].published, 9);
    atomic_store(&actual.header->tails[1].consumed, 4);
    assert_int_equal(run("check"), 0);
    says(out, "instance        0000000000abcdef");
    says(out, "writer          pid 4242");
    says(out, "published 9, overflows 0, unread 5");
    region_beat(&desired, 0, now_ns - 5 * NS_PER_S);
    assert_int_equal(run("check"), 1);
    says(out, "its writer is dead or hangs");
}

static void refusals(void **state)
{
    static const struct {
        const char *words, *sentence;
        int status;
    } rows[] = {
        {"dump key", "table key cannot be dumped: it belongs to encryption keys", 2},
        {"dump identity", "only the data plane may read it", 2},
        {"dump nothing", "there is no table nothing; the tables are: room transport", 2},
        {"dump room transport", "there is one argument too many: \"transport\"", 2},
        {"dump --once", "--once is an option of the command top, not of dump", 2},
        {"top --interval 0", "--interval needs a number of seconds from 0.1 to 3600, not \"0\"", 2},
        {"top --interval nan", "--interval needs a number", 2},
        {"top --interval=5x", "--interval needs a number", 2},
        {"top --json", "--json is an option of the command dump, not of top", 2},
        {"top --bogus", "there is no setting bogus", 2},
        {"frob", "there is no command frob; the commands are: top", 2},
        {"", "ringcastctl shows the state", 2},
        {"dump --data-directory /nonexistent",
         "no data plane answers at /nonexistent/dataplane.sock: start ringcast-dataplane", 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(run(rows[i].words), rows[i].status);
        says(err, rows[i].sentence);
        assert_string_equal(out, "");
    }
    without_actual = true;
    assert_int_equal(run("dump"), 1);
    says(err, "did not hand out region actual");
    without_actual = false;
}

static void settings_and_version(void **state)
{
    assert_int_equal(run("settings --http-port 81"), 0);
    says(out, "http_port = 81\n");
    assert_int_equal(run("settings --markdown"), 0);
    says(out, "| `http_port` | `PORT` | `3000` | 1 to 65535 | control plane |");
    assert_int_equal(run("settings --sample"), 0);
    says(out, "# http_port = 3000\n");
    assert_int_equal(run("settings --options"), 0);
    says(out, "  --http-port NUMBER\n");
    assert_int_equal(run("version"), 0);
    says(out, "ringcast ");
    assert_int_equal(run("--help"), 0);
    says(out, "ringcastctl dump");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_tables),
        cmocka_unit_test(rows_as_text),
        cmocka_unit_test(rows_as_json),
        cmocka_unit_test(a_row_being_written),
        cmocka_unit_test(reading_allocates_no_memory),
        cmocka_unit_test(rates_between_two_samples),
        cmocka_unit_test(check_of_live_writers),
        cmocka_unit_test(refusals),
        cmocka_unit_test(settings_and_version),
    };

    return cmocka_run_group_tests(tests, start_supervisor, stop_supervisor);
}
