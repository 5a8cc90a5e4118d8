/* How `auto` chooses: the rule as a table, then real measuring, each in a process of its own because
 * a process measures once. */
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
        char why[CHOICE_WHY_BYTES];

        assert_int_equal(measured_pick(measured, 3), table[i].picked);
        if (table[i].why) {
            measured_explain(measured, 3, table[i].picked, why);
            assert_string_equal(why, table[i].why);
        }
    }
}

/* Refusals that do not fit are cut, not written past the end. */
static void explains_within_its_room(void **state)
{
    struct measured measured[2] = {{&io_uring_backend, 0, ""}, {&io_socket_backend, 1e9, ""}};
    char why[CHOICE_WHY_BYTES + 1];

    memset(measured[0].refusal, 'x', REFUSAL_BYTES - 1);
    why[CHOICE_WHY_BYTES] = '!';
    measured_explain(measured, 2, 1, why);
    assert_true(strlen(why) < CHOICE_WHY_BYTES);
    assert_int_equal(why[CHOICE_WHY_BYTES], '!');
}

/* Runs `body` in a child; it ends with the line of the first condition that failed, or 0. */
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
    const struct io_backend *backend;
    struct io *io;
    char why[CHOICE_WHY_BYTES];
};

static void *open_auto_in_thread(void *argument)
{
    struct opening *opening = argument;

    opening->io = io_open("auto", &opening->server.descriptors, &opening->backend, opening->why);
    return NULL;
}

/* Workers open at the same time: one measures, all take the same. */
static void measure_once(void)
{
    static struct opening openings[4];
    pthread_t threads[4];
    uint64_t start_ns = clock_monotonic_ns();

    CHECK(!io_was_measured());
    for (unsigned i = 0; i < 4; i++) {
        server_open(&openings[i].server);
        CHECK(pthread_create(&threads[i], NULL, open_auto_in_thread, &openings[i]) == 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK(openings[i].io);
        CHECK(openings[i].backend == openings[0].backend);
        CHECK(strcmp(openings[i].why, openings[0].why) == 0);
    }
    fprintf(stderr, "  %s (%.0f ms)\n", openings[0].why,
            (double)(clock_monotonic_ns() - start_ns) / 1e6);
    CHECK(strstr(openings[0].why, " ns a datagram") != NULL);
    CHECK(strncmp(openings[0].why, openings[0].backend->name, strlen(openings[0].backend->name)) ==
          0);
    CHECK(io_was_measured());
}

static void measures_once_for_all_workers(void **state)
{
    in_a_process(measure_once);
}

/* No descriptors are left: nothing can be measured, and no ring be made. */
static void without_descriptors(void)
{
    struct rlimit limit = {0, 0};
    struct opening opening;

    server_open(&opening.server);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    open_auto_in_thread(&opening);
    CHECK(opening.io);
    fprintf(stderr, "  %s\n", opening.why);
    CHECK(opening.backend == &io_socket_backend);
    CHECK(strstr(opening.why, "socket, the first that works: io_uring: ") != NULL);
    CHECK(!io_was_measured());
}

static void takes_the_first_that_works_unmeasured(void **state)
{
    in_a_process(without_descriptors);
}

/* A successor takes what was measured before, at once; and another when that fails. */
static void with_preference(void)
{
    struct opening opening;
    struct io_descriptors none = {-1, -1, -1};
    uint64_t start_ns = clock_monotonic_ns();

    io_prefer("dpdk");
    CHECK(!io_was_measured());
    io_prefer("socket");
    CHECK(io_was_measured());
    server_open(&opening.server);
    open_auto_in_thread(&opening);
    CHECK(clock_monotonic_ns() - start_ns < 20 * NS_PER_MS);
    CHECK(opening.io && opening.backend == &io_socket_backend);
    CHECK(strstr(opening.why, "before") != NULL);
    CHECK(!io_open("auto", &none, &opening.backend, opening.why));
    CHECK(strstr(opening.why, "no UDP socket") != NULL);
}

static void takes_what_was_measured_before(void **state)
{
    in_a_process(with_preference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_the_cheapest),
        cmocka_unit_test(explains_within_its_room),
        cmocka_unit_test(measures_once_for_all_workers),
        cmocka_unit_test(takes_the_first_that_works_unmeasured),
        cmocka_unit_test(takes_what_was_measured_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
