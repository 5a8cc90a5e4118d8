/* The seqlock of a row: every order of its race points, writers that die, real threads and
 * processes. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "schedule.h"
#include "src/tables.c"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/clock.h"
#include "src/sanitizer.h"

/* Threat H4: no reader spins longer than 1 ms of CPU time. A build with a sanitizer is slower. */
#define COPY_NS_MAX (1000000 * (BUILT_WITH_SANITIZER ? 10 : 1))

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A small row and a large row, whose fields allow any value. A test fills all words with the
 * same stamp. */
#define SMALL TABLE_consumer_resume
#define LARGE TABLE_worker_counters

static void fill_stamp(enum table_id table, void *row, uint32_t generation, uint64_t stamp)
{
    memset(row, 0, tables[table].row_bytes);
    ((struct row_header *)row)->generation = generation;
    ((struct row_header *)row)->used = 1;
    for (size_t at = sizeof(struct row_header); at < tables[table].row_bytes; at += sizeof(stamp))
        memcpy((uint8_t *)row + at, &stamp, sizeof(stamp));
}

/* The stamp of a row; fails when its words differ. */
static uint64_t stamp_of(enum table_id table, const void *row)
{
    uint64_t first, word;

    memcpy(&first, (const uint8_t *)row + sizeof(struct row_header), sizeof(first));
    for (size_t at = sizeof(struct row_header); at < tables[table].row_bytes; at += sizeof(word)) {
        memcpy(&word, (const uint8_t *)row + at, sizeof(word));
        assert_int_equal(word, first);
    }
    return first;
}

static uint64_t cpu_ns(void)
{
    return clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* row_copy, with a check of its time limit. */
static enum row_result copy_within_bound(enum table_id table, void *to,
                                         const struct row_header *from, uint32_t generation)
{
    uint64_t start_ns = cpu_ns();
    enum row_result result = row_copy(table, to, from, generation);

    assert_true(cpu_ns() - start_ns < COPY_NS_MAX);
    return result;
}

/* ---- one reader and one writer in every order ---- */

struct duel {
    enum table_id table;
    union any_row shared, next, copy;
    uint32_t asked;
    enum row_result result;
};

static void duel_write(void *context)
{
    struct duel *d = context;

    row_write(d->table, (struct row_header *)&d->shared, (struct row_header *)&d->next);
}

static void duel_read(void *context)
{
    struct duel *d = context;

    d->result = copy_within_bound(d->table, &d->copy, (struct row_header *)&d->shared, d->asked);
}

static void duel_start(struct duel *d, enum table_id table, uint32_t next_generation,
                       uint32_t asked)
{
    union any_row first;

    memset(d, 0, sizeof(*d));
    d->table = table;
    d->asked = asked;
    fill_stamp(table, &first, 1, 111);
    row_write(table, (struct row_header *)&d->shared, (struct row_header *)&first);
    fill_stamp(table, &d->next, next_generation, 222);
}

/* The number of race points in one row_write, and in one attempt of row_copy. */
static unsigned write_points(enum table_id table)
{
    return tables[table].row_bytes / 8 - 1 + 4;
}

static unsigned read_points(enum table_id table)
{
    return tables[table].row_bytes / 8 - 1 + 2;
}

/* In every order the reader gets the old row, the new row, or none; never a mixture. */
static void duel_check(const struct duel *d)
{
    if (d->result == ROW_TORN)
        assert_int_equal(d->copy.consumer_resume.header.generation, 0); /* unchanged */
    else if (d->result == ROW_OK || d->result == ROW_FREE)
        assert_int_equal(stamp_of(d->table, &d->copy),
                         d->copy.consumer_resume.header.generation == 1 ? 111 : 222);
    else
        fail_msg("result %d", (int)d->result);
    if (d->result == ROW_OK && d->asked != 0)
        assert_int_equal(d->copy.consumer_resume.header.generation, d->asked);
}

/* The reader runs r1 points, the writer w1, the reader r2, the writer w2, then both to their
 * ends. */
static void walk_schedules(enum table_id table, unsigned step, uint32_t asked)
{
    unsigned reads = read_points(table), writes = write_points(table), seen[4] = {0};
    struct duel d;

    for (unsigned r1 = 1; r1 <= reads; r1 += step)
        for (unsigned r2 = 1; r1 + r2 <= reads + 1; r2 += step)
            for (unsigned w1 = 1; w1 <= writes; w1 += step)
                for (unsigned w2 = 1; w2 <= writes; w2 += step) {
                    const unsigned segments[] = {r1, w1, r2, w2};

                    duel_start(&d, table, 2, asked);
                    schedule_run(segments, 4, duel_read, duel_write, &d);
                    duel_check(&d);
                    seen[d.result]++;
                }
    assert_true(seen[ROW_TORN] > 0 && seen[ROW_OK] + seen[ROW_FREE] > 0);
    if (asked == 1)
        assert_true(seen[ROW_FREE] > 0);
}

static void reader_and_writer_in_every_order(void **state)
{
    walk_schedules(SMALL, 1, 0);
}

static void generation_reuse_in_every_order(void **state)
{
    walk_schedules(SMALL, 2, 1);
}

static void large_row_in_many_orders(void **state)
{
    walk_schedules(LARGE, 21, 0);
}

/* The writer stops at each of its points while the reader runs to its end. */
static void writer_in_the_middle(void **state)
{
    for (unsigned point = 1; point <= write_points(LARGE); point++) {
        const unsigned segments[] = {point}; /* then the reader runs */
        struct duel d;

        duel_start(&d, LARGE, 2, 0);
        schedule_run(segments, 1, duel_write, duel_read, &d);
        duel_check(&d);
        assert_int_equal(d.result, point == 1 || point == write_points(LARGE) ? ROW_OK : ROW_TORN);
    }
}

/* ---- a writer dies at each point, and its successor repairs the row ---- */

static jmp_buf death;
static unsigned points_left_to_live;

static void die_at_point(const char *name)
{
    if (strncmp(name, "row_write.", 10) == 0 && points_left_to_live > 0 &&
        --points_left_to_live == 0)
        longjmp(death, 1);
}

static __attribute__((noinline)) void write_and_die(struct duel *d, unsigned point)
{
    points_left_to_live = point;
    race_hook = die_at_point;
    if (setjmp(death) == 0)
        duel_write(d);
    race_hook = NULL;
}

static void writer_dies_in_the_middle(void **state)
{
    for (unsigned point = 1; point <= write_points(LARGE); point++) {
        struct duel d;

        duel_start(&d, LARGE, 1, 0);
        write_and_die(&d, point);
        duel_read(&d);
        assert_int_equal(d.result, point == 1 || point == write_points(LARGE) ? ROW_OK : ROW_TORN);
        fill_stamp(LARGE, &d.next, 1, 333);
        duel_write(&d);
        duel_read(&d);
        assert_int_equal(d.result, ROW_OK);
        assert_int_equal(stamp_of(LARGE, &d.copy), 333);
    }
}

static struct duel *storm;

static void write_now(const char *name)
{
    if (strcmp(name, "row_copy.before_check") != 0)
        return;
    race_hook = NULL;
    duel_write(storm);
    race_hook = write_now;
}

/* A writer that completes an update during every attempt: the reader still gives up. */
static void writer_that_never_stops(void **state)
{
    struct duel d;

    duel_start(&d, LARGE, 2, 0);
    storm = &d;
    race_hook = write_now;
    d.result = row_copy(LARGE, &d.copy, (struct row_header *)&d.shared, 0);
    race_hook = NULL;
    assert_int_equal(d.result, ROW_TORN);
    duel_read(&d);
    assert_int_equal(d.result, ROW_OK);
}

/* Prints the CPU time of a reader that gives up. */
static void time_to_give_up(void **state)
{
    uint64_t start_ns, most_ns = 0;
    struct duel d;

    duel_start(&d, LARGE, 2, 0);
    atomic_fetch_add(&d.shared.worker_counters.header.sequence, 1);
    for (unsigned i = 0; i < 1000; i++) {
        start_ns = cpu_ns();
        duel_read(&d);
        assert_int_equal(d.result, ROW_TORN);
        if (cpu_ns() - start_ns > most_ns)
            most_ns = cpu_ns() - start_ns;
    }
    print_message("# a reader gave up after at most %u us\n", (unsigned)(most_ns / 1000));
}

/* ---- real threads and processes ---- */

struct arena {
    struct worker_counters_row row;
    _Atomic bool stop;
    _Atomic uint64_t written;
};

static void *write_until_stopped(void *context)
{
    struct arena *arena = context;
    struct worker_counters_row mine;

    for (uint64_t stamp = 1; !atomic_load(&arena->stop); stamp++) {
        fill_stamp(LARGE, &mine, 1, stamp);
        row_write(LARGE, &arena->row.header, &mine.header);
        atomic_store(&arena->written, stamp);
    }
    return NULL;
}

/* Copies for a while. Stamps must never go back, and at least one copy must succeed. */
static void read_against_writer(struct arena *arena, uint64_t for_ns)
{
    uint64_t end_ns = clock_monotonic_ns() + for_ns, last = 0, fine = 0;
    struct worker_counters_row copy;

    while (clock_monotonic_ns() < end_ns || fine == 0) {
        enum row_result result = row_copy(LARGE, &copy, &arena->row.header, 0);

        if (result != ROW_OK) {
            assert_true(result == ROW_TORN || (result == ROW_FREE && last == 0));
            continue;
        }
        assert_true(stamp_of(LARGE, &copy) >= last);
        last = stamp_of(LARGE, &copy);
        fine++;
    }
}

static struct arena *arena_new(void)
{
    struct arena *arena =
        mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(arena, MAP_FAILED);
    return arena;
}

static void two_threads_on_one_row(void **state)
{
    struct arena *arena = arena_new();
    pthread_t writer;

    assert_int_equal(pthread_create(&writer, NULL, write_until_stopped, arena), 0);
    read_against_writer(arena, 300 * NS_PER_MS);
    atomic_store(&arena->stop, true);
    pthread_join(writer, NULL);
    munmap(arena, sizeof(*arena));
}

static pid_t start_writer(struct arena *arena)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        write_until_stopped(arena);
        _exit(0);
    }
    return pid;
}

/* Threat H4: kills a writer 64 times. The reader keeps its time limit; the successor repairs the
 * row. */
static void two_processes_and_64_kills(void **state)
{
    struct arena *arena = arena_new();
    struct worker_counters_row copy, mine;
    unsigned torn = 0;

    for (unsigned kills = 0; kills < 64; kills++) {
        pid_t pid = start_writer(arena);
        struct timespec nap = {.tv_nsec = (long)(random_next() % 3000000)};
        enum row_result result;

        atomic_store(&arena->written, 0);
        while (atomic_load(&arena->written) == 0)
            sched_yield();
        if (kills == 0)
            read_against_writer(arena, 300 * NS_PER_MS);
        nanosleep(&nap, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        result = copy_within_bound(LARGE, &copy, &arena->row.header, 0);
        assert_true(result == ROW_OK || result == ROW_TORN);
        torn += result == ROW_TORN;
        fill_stamp(LARGE, &mine, 1, kills);
        row_write(LARGE, &arena->row.header, &mine.header);
        assert_int_equal(row_copy(LARGE, &copy, &arena->row.header, 0), ROW_OK);
        assert_int_equal(stamp_of(LARGE, &copy), kills);
    }
    print_message("# torn by a kill: %u of 64\n", torn);
    munmap(arena, sizeof(*arena));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_and_writer_in_every_order),
        cmocka_unit_test(generation_reuse_in_every_order),
        cmocka_unit_test(large_row_in_many_orders),
        cmocka_unit_test(writer_in_the_middle),
        cmocka_unit_test(writer_dies_in_the_middle),
        cmocka_unit_test(writer_that_never_stops),
        cmocka_unit_test(time_to_give_up),
        cmocka_unit_test(two_threads_on_one_row),
        cmocka_unit_test(two_processes_and_64_kills),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
