/* Rings: scripts, every order of two short runs, a peer that writes wrong words, real processes. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "schedule.h"
#include "src/ring.h"
#include "src/region.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/clock.h"

#define ENTRIES 4

struct bench {
    struct ring_head head;
    struct ring_tail tail;
    struct ring_note entries[ENTRIES];
};

static struct ring bench_ring(struct bench *bench)
{
    return (struct ring){.head = &bench->head,
                         .tail = &bench->tail,
                         .entries = (uint8_t *)bench->entries,
                         .entry_bytes = sizeof(struct ring_note),
                         .entry_count = ENTRIES};
}

static uint64_t take(struct ring *ring)
{
    const struct ring_note *note = ring_peek(ring);
    uint64_t handle;

    if (!note)
        return 0;
    handle = note->handle;
    ring_consume(ring);
    return handle;
}

/* Steps: '+' puts the next number, 'X' tries to put one and is refused, '-' takes one, which must
 *        be the
 * next, 's' skips all. Checks: 'e' the ring is empty, 'f' it is full, 'o' it has overflowed, 'n'
 * it has not. */
static void scripts_of_steps(void **state)
{
    static const char *const rows[] = {
        "e",
        "+-e",
        "++--e",
        "++++f",
        "++++f----en",
        "+-+-+-+-+-+-+-+-+-en",
        "++++X----eo",
        "++++X-on",
        "++++XX-+----eon",
        "++se+-en",
        "++++Xsne",
        "++++-+f-+----en",
        "++++X-+f----eo",
    };

    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        struct bench bench = {0};
        struct ring ring = bench_ring(&bench);
        uint64_t put = 0, taken = 0;

        for (const char *step = rows[r]; *step; step++) {
            switch (*step) {
            case '+':
                assert_true(ring_put_note(&ring, (struct ring_note){.handle = ++put}));
                break;
            case 'X':
                assert_false(ring_put_note(&ring, (struct ring_note){.handle = 99}));
                break;
            case '-':
                assert_int_equal(take(&ring), ++taken);
                break;
            case 'e':
                assert_null(ring_peek(&ring));
                break;
            case 'f':
                assert_null(ring_reserve(&ring));
                break;
            case 's':
                ring_skip_all(&ring);
                taken = put;
                break;
            default:
                assert_int_equal(ring_overflowed(&ring), *step == 'o');
            }
        }
    }
}

/* ---- every order of a short run ---- */

#define PUTS 6

struct run {
    struct bench bench;
    struct ring producer, consumer;
    uint64_t accepted[PUTS], got[PUTS];
    unsigned accepted_count, got_count, overflows;
};

static void produce(void *context)
{
    struct run *run = context;

    for (uint64_t i = 1; i <= PUTS; i++)
        if (ring_put_note(&run->producer, (struct ring_note){.op = (uint32_t)i, .handle = i}))
            run->accepted[run->accepted_count++] = i;
}

static void poll_once(struct run *run)
{
    const struct ring_note *note = ring_peek(&run->consumer);

    if (note) {
        assert_true(run->got_count < PUTS);
        assert_int_equal(note->op, note->handle); /* never half an entry */
        run->got[run->got_count++] = note->handle;
        ring_consume(&run->consumer);
    }
    run->overflows += ring_overflowed(&run->consumer);
}

static void consume(void *context)
{
    for (unsigned i = 0; i < 3; i++)
        poll_once(context);
}

/* Every accepted note arrives once and in order; a refused note shows as an overflow. */
static void check_run(struct run *run)
{
    for (unsigned i = 0; i < 2 * PUTS; i++)
        poll_once(run);
    assert_int_equal(run->got_count, run->accepted_count);
    assert_memory_equal(run->got, run->accepted, sizeof(run->got));
    assert_int_equal(run->overflows > 0, run->accepted_count < PUTS);
}

static void every_order_of_a_short_run(void **state)
{
    unsigned overflowed = 0, complete = 0;

    for (unsigned p1 = 1; p1 <= 18; p1++)
        for (unsigned c1 = 1; c1 <= 6; c1++)
            for (unsigned p2 = 1; p1 + p2 <= 18; p2++)
                for (unsigned c2 = 1; c1 + c2 <= 6; c2++) {
                    const unsigned segments[] = {p1, c1, p2, c2};
                    struct run run = {0};

                    run.producer = run.consumer = bench_ring(&run.bench);
                    schedule_run(segments, 4, produce, consume, &run);
                    check_run(&run);
                    overflowed += run.overflows > 0;
                    complete += run.overflows == 0;
                }
    assert_true(overflowed > 100 && complete > 10);
}

/* ---- a peer that writes wrong words ---- */

static uint64_t random_next(void)
{
    static uint64_t x = 88172645463325252ull;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static bool is_entry(const struct bench *bench, const void *entry)
{
    size_t at = (size_t)((const uint8_t *)entry - (const uint8_t *)bench->entries);

    return at < sizeof(bench->entries) && at % sizeof(struct ring_note) == 0;
}

static void random_heads_and_tails(void **state)
{
    for (unsigned i = 0; i < 1000000; i++) {
        struct bench bench = {0};
        struct ring ring = bench_ring(&bench);
        const void *entry;
        uint64_t head = random_next(), tail = random_next();

        if (i % 2) /* half of the pairs are near each other */
            tail = head + random_next() % 16 - 8;
        atomic_init(&bench.head.published, head);
        atomic_init(&bench.tail.consumed, tail);
        entry = ring_peek(&ring);
        assert_true(!entry || is_entry(&bench, entry));
        assert_int_equal(entry != NULL, head - tail >= 1 && head - tail <= ENTRIES);
        entry = ring_reserve(&ring);
        assert_true(!entry || is_entry(&bench, entry));
        assert_int_equal(entry != NULL, head - tail < ENTRIES);
    }
}

/* A head too far from the tail: nothing is read, one overflow is reported, and the ring works
 * again. */
static void an_impossible_head_is_repaired(void **state)
{
    static const uint64_t heads[] = {ENTRIES + 1, 1000, UINT64_MAX, 1ull << 63};

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct bench bench = {0};
        struct ring ring = bench_ring(&bench);

        atomic_store(&bench.head.published, heads[i]);
        assert_null(ring_peek(&ring));
        assert_true(ring_overflowed(&ring));
        assert_false(ring_overflowed(&ring));
        assert_true(ring_put_note(&ring, (struct ring_note){.handle = 5}));
        assert_int_equal(take(&ring), 5);
    }
}

/* A consumer that writes a wrong tail only makes the ring look full. */
static void an_impossible_tail_only_fills_the_ring(void **state)
{
    static const uint64_t tails[] = {1, 1000, UINT64_MAX - ENTRIES, 1ull << 63};

    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        struct bench bench = {0};
        struct ring ring = bench_ring(&bench);

        atomic_store(&bench.tail.consumed, tails[i]);
        assert_false(ring_put_note(&ring, (struct ring_note){.handle = 5}));
        assert_int_equal(atomic_load(&bench.head.overflows), 1);
    }
}

/* ---- two processes, two threads ---- */

#define NOTES 1000000

struct pair {
    struct region producer, consumer;
};

static void produce_many(struct ring ring)
{
    for (uint64_t i = 1; i <= NOTES; i++) {
        struct ring_note *entry;

        while (!(entry = ring_reserve(&ring)))
            sched_yield();
        *entry = (struct ring_note){.table = (uint32_t)i, .op = ~(uint32_t)i, .handle = i};
        ring_publish(&ring);
    }
}

static void consume_many(struct ring ring)
{
    for (uint64_t i = 1; i <= NOTES; i++) {
        const struct ring_note *entry;

        while (!(entry = ring_peek(&ring)))
            sched_yield();
        assert_int_equal(entry->handle, i);
        assert_int_equal(entry->op, ~(uint32_t)i);
        ring_consume(&ring);
    }
    assert_null(ring_peek(&ring));
}

static struct pair map_pair(int desired, int actual)
{
    struct pair pair;
    char why[128];

    assert_true(region_map(&pair.producer, REGION_desired, desired, true, why));
    assert_true(region_map(&pair.consumer, REGION_actual, actual, true, why));
    return pair;
}

static void two_processes_on_one_ring(void **state)
{
    int desired = region_create(REGION_desired, 1), actual = region_create(REGION_actual, 1);
    struct pair pair = map_pair(desired, actual);
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) { /* as in the product, it can write only its own region */
        int readonly = region_reopen_readonly(actual);
        struct region other;
        char why[128];

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!region_map(&other, REGION_actual, readonly, false, why))
            _exit(1);
        produce_many(region_ring(&pair.producer, &other, 3));
        _exit(0);
    }
    consume_many(region_ring(&pair.producer, &pair.consumer, 3));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    region_unmap(&pair.producer);
    region_unmap(&pair.consumer);
    close(desired);
    close(actual);
}

static void *producer_thread(void *context)
{
    struct pair *pair = context;

    produce_many(region_ring(&pair->producer, &pair->consumer, 15));
    return NULL;
}

static void two_threads_on_one_ring(void **state)
{
    int desired = region_create(REGION_desired, 1), actual = region_create(REGION_actual, 1);
    struct pair pair = map_pair(desired, actual);
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, producer_thread, &pair), 0);
    consume_many(region_ring(&pair.producer, &pair.consumer, 15));
    pthread_join(thread, NULL);
    region_unmap(&pair.producer);
    region_unmap(&pair.consumer);
    close(desired);
    close(actual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts_of_steps),
        cmocka_unit_test(every_order_of_a_short_run),
        cmocka_unit_test(random_heads_and_tails),
        cmocka_unit_test(an_impossible_head_is_repaired),
        cmocka_unit_test(an_impossible_tail_only_fills_the_ring),
        cmocka_unit_test(two_processes_on_one_ring),
        cmocka_unit_test(two_threads_on_one_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
