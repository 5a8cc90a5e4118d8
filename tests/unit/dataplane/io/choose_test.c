/* How `auto` chooses: the rule as a table, then real measurements, each in a process of its own. */
#define _GNU_SOURCE
#include "net.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "dataplane/io/choose.h"

static void picks_the_cheapest(void **state)
{
    static const struct {
        double ns[3]; /* 0: not measured */
        size_t picked;
        const char *why;
    } table[] = {
        {{412, 447, 0}, 0, "io_uring: 412 ns a datagram, socket: 447 ns, replay: no reason"},
        {{500, 400, 0}, 1, "socket: 400 ns a datagram, io_uring: 500 ns, replay: no reason"},
        {{420, 400, 0},
         0,
         "io_uring: 420 ns a datagram (a tie), socket: 400 ns, replay: no reason"},
        {{421, 400, 0}, 1, "socket: 400 ns a datagram, io_uring: 421 ns, replay: no reason"},
        {{0, 400, 0}, 1, "socket: 400 ns a datagram, io_uring: no reason, replay: no reason"},
        {{400, 0, 0}, 0, "io_uring: 400 ns a datagram, socket: no reason, replay: no reason"},
        {{500, 430, 420}, 1, "socket: 430 ns a datagram (a tie), io_uring: 500 ns, replay: 420 ns"},
        {{500, 480, 300}, 2, "replay: 300 ns a datagram, io_uring: 500 ns, socket: 480 ns"},
        {{0, 0, 0}, 3, NULL},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct measured measured[3] = {{&io_uring_backend, table[i].ns[0], "no reason"},
                                       {&io_socket_backend, table[i].ns[1], "no reason"},
                                       {&io_replay_backend, table[i].ns[2], "no reason"}};
        char why[IO_CHOICE_BYTES];

        assert_int_equal(measured_pick(measured, 3), table[i].picked);
        if (table[i].why) {
            measured_explain(measured, 3, table[i].picked, why);
            assert_string_equal(why, table[i].why);
        }
    }
}

/* Refusals that are too long are cut. */
static void explanation_fits_its_room(void **state)
{
    struct measured measured[2] = {{&io_uring_backend, 0, ""}, {&io_socket_backend, 1e9, ""}};
    char why[IO_CHOICE_BYTES + 1];

    memset(measured[0].refusal, 'x', IO_WHY_BYTES - 1);
    why[IO_CHOICE_BYTES] = '!';
    measured_explain(measured, 2, 1, why);
    assert_true(strlen(why) < IO_CHOICE_BYTES);
    assert_int_equal(why[IO_CHOICE_BYTES], '!');
}

/* Runs `body` in a child. Its exit status is 0, or the line of the condition that failed. */
#define CHECK(condition)                                \
    do {                                                \
        if (!(condition))                               \
            _exit(__LINE__ & 127 ? __LINE__ & 127 : 1); \
    } while (0)

static void in_a_process(void (*body)(void))
{
    int status = -1;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

struct opening {
    struct server server;
    const struct io_choice *choice;
    const struct io_backend *backend;
    struct io *io;
    char why[IO_CHOICE_BYTES];
};

static void *open_in_thread(void *argument)
{
    struct opening *opening = argument;

    opening->io = io_open(opening->choice, &opening->server.descriptors, WORKER, &opening->backend,
                          opening->why);
    return NULL;
}

/* Workers open at the same time, and all take the backend that was measured before. */
static void measure_once(void)
{
    static struct opening openings[4];
    struct io_choice choice;
    pthread_t threads[4];
    uint64_t start_ns = clock_monotonic_ns();

    choose_auto(&choice);
    CHECK(choice.is_measured);
    fprintf(stderr, "  %s (%.0f ms)\n", choice.reason,
            (double)(clock_monotonic_ns() - start_ns) / 1e6);
    for (unsigned i = 0; i < 4; i++) {
        server_open(&openings[i].server);
        openings[i].choice = &choice;
        CHECK(pthread_create(&threads[i], NULL, open_in_thread, &openings[i]) == 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK(openings[i].io);
        CHECK(openings[i].backend == choice.backend);
        CHECK(strcmp(openings[i].why, openings[0].why) == 0);
    }
    CHECK(strstr(openings[0].why, " ns a datagram") != NULL);
    CHECK(strncmp(openings[0].why, openings[0].backend->name, strlen(openings[0].backend->name)) ==
          0);
}

static void measures_once_for_all_workers(void **state)
{
    in_a_process(measure_once);
}

/* Without free descriptors no socket to measure on and no ring can be made. */
static void without_descriptors(void)
{
    struct rlimit limit = {0, 0};
    struct io_choice choice;
    struct opening opening = {.choice = &choice};

    server_open(&opening.server);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(io_choose(&choice, &backends, "auto", "", opening.why));
    CHECK(!choice.is_measured);
    open_in_thread(&opening);
    CHECK(opening.io);
    fprintf(stderr, "  %s\n", opening.why);
    CHECK(opening.backend == &io_socket_backend);
    CHECK(strstr(opening.why, "socket, the first that opens; io_uring: ") != NULL);
}

static void unmeasured_takes_the_first_that_opens(void **state)
{
    in_a_process(without_descriptors);
}

/* A later process takes what an earlier one measured, without measuring; and another one when that
 * does not open. */
static void with_an_earlier_measurement(void)
{
    static const struct descriptors none;
    struct io_choice choice;
    struct opening opening = {.choice = &choice};

    CHECK(io_choose(&choice, &backends, "auto", "socket", opening.why));
    CHECK(choice.is_measured && choice.backend == &io_socket_backend);
    CHECK(strstr(choice.reason, " ns ") == NULL);
    server_open(&opening.server);
    open_in_thread(&opening);
    CHECK(opening.io && opening.backend == &io_socket_backend);
    CHECK(strstr(opening.why, "an earlier process measured") != NULL);
    CHECK(!io_open(&choice, &none, WORKER, &opening.backend, opening.why));
    CHECK(strstr(opening.why, "no UDP socket") != NULL);
    CHECK(
        io_choose(&choice, &backends, "auto", "dpdk", opening.why)); /* no backend has that name */
    CHECK(strstr(choice.reason, "an earlier process") == NULL);
}

static void takes_what_was_measured_before(void **state)
{
    in_a_process(with_an_earlier_measurement);
}

/* ---- backends that say what `auto` may do with them ---- */

static unsigned fake_opened;

static struct io *fake_open(const struct descriptors *descriptors, uint32_t worker,
                            char why[IO_WHY_BYTES])
{
    fake_opened++;
    return (struct io *)&fake_opened;
}

static const struct io_backend unmeasurable = {
    .name = "unmeasurable", .auto_may_choose = true, .open = fake_open};
static const struct io_backend named_only = {.name = "named-only", .open = fake_open};

/* auto neither measures nor opens a backend with auto_may_choose false; one with
 * loopback_can_measure false is opened only when nothing could be measured. */
static void auto_asks_the_backends(void **state)
{
    static const struct io_backend *const list[] = {&named_only, &unmeasurable};
    static const struct io_backends both = {2, list}, first = {1, list};
    static const struct descriptors none;
    const struct io_backend *backend = NULL;
    struct io_choice choice;
    char why[IO_CHOICE_BYTES];

    assert_true(io_choose(&choice, &both, "auto", "", why));
    assert_false(choice.is_measured);
    assert_int_equal(fake_opened, 0);
    assert_non_null(io_open(&choice, &none, 0, &backend, why));
    assert_ptr_equal(backend, &unmeasurable);
    assert_string_equal(why, "unmeasurable, the first that opens");
    assert_int_equal(fake_opened, 1);

    assert_true(io_choose(&choice, &first, "auto", "", why));
    assert_null(io_open(&choice, &none, 0, &backend, why));
    assert_string_equal(why, "there is no I/O backend that auto may choose");
    assert_true(io_choose(&choice, &first, "named-only", "", why));
    assert_non_null(io_open(&choice, &none, 0, &backend, why));
    assert_ptr_equal(backend, &named_only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_the_cheapest),
        cmocka_unit_test(explanation_fits_its_room),
        cmocka_unit_test(measures_once_for_all_workers),
        cmocka_unit_test(unmeasured_takes_the_first_that_opens),
        cmocka_unit_test(takes_what_was_measured_before),
        cmocka_unit_test(auto_asks_the_backends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
