/* Row descriptions, range checks, and the seqlock under every interleaving of its race points. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants these first */
#include <cmocka.h>

#include "schedule.h"
#include "src/tables.c"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/clock.h"

/* threats.md H4: no reader spins longer than 1 ms (instrumented builds are slower) */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define COPY_NS_MAX 10000000
#else
#define COPY_NS_MAX 1000000
#endif

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* ---- descriptions ---- */

static void fields_cover_every_row_without_a_gap(void **state)
{
    for (unsigned t = 0; t < TABLE_COUNT; t++) {
        uint32_t at = sizeof(struct row_header);

        for (uint32_t f = 0; f < tables[t].field_count; f++) {
            const struct field *field = &tables[t].fields[f];

            assert_int_equal(field->offset, at);
            at += (uint32_t)field->size * field->count;
        }
        assert_int_equal(at, tables[t].row_bytes);
    }
}

static const struct field *field_of(enum table_id table, const char *name)
{
    for (uint32_t f = 0; f < tables[table].field_count; f++)
        if (strcmp(tables[table].fields[f].name, name) == 0)
            return &tables[table].fields[f];
    return NULL;
}

static void descriptions_say_what_rows_say(void **state)
{
    const struct field *loss = field_of(TABLE_consumer_state, "packets_lost");
    const struct field *mid = field_of(TABLE_producer, "mid");
    const struct field *codec = field_of(TABLE_producer, "codec");

    assert_string_equal(tables[TABLE_transport].name, "transport");
    assert_int_equal(tables[TABLE_transport].region, REGION_desired);
    assert_int_equal(tables[TABLE_key].region, REGION_keys);
    assert_int_equal(tables[TABLE_consumer].rows, CONSUMERS_MAX);
    assert_string_equal(loss->type, "i64");
    assert_true(loss->is_signed);
    assert_int_equal(loss->offset, offsetof(struct consumer_state_row, packets_lost));
    assert_int_equal(mid->count, MID_BYTES_MAX);
    assert_int_equal(mid->show, SHOW_text);
    assert_int_equal(codec->show, SHOW_codec);
    assert_int_equal(codec->max, 7);
}

static void enum_texts(void **state)
{
    static const struct {
        enum field_show show;
        uint64_t value;
        const char *text;
    } rows[] = {
        {SHOW_codec, CODEC_vp8, "vp8"},
        {SHOW_srtp_profile, 7, "aead_aes_128_gcm"},
        {SHOW_srtp_profile, 2, NULL},
        {SHOW_dtls_failure, 6, "restarted"},
        {SHOW_dtls_failure, 7, NULL},
        {SHOW_media_kind, UINT64_MAX, NULL},
        {SHOW_dec, 1, NULL},
        {SHOW_secret, 0, NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *text = field_enum_text(rows[i].show, rows[i].value);

        if (rows[i].text)
            assert_string_equal(text, rows[i].text);
        else
            assert_null(text);
    }
}

/* ---- range check ---- */

static void put_element(void *row, const struct field *field, unsigned index, int64_t value)
{
    memcpy((uint8_t *)row + field->offset + (size_t)index * field->size, &value, field->size);
}

/* Every field at the least value it may have. */
static void fill_least(enum table_id table, union any_row *row)
{
    memset(row, 0, sizeof(*row));
    for (uint32_t f = 0; f < tables[table].field_count; f++)
        for (unsigned i = 0; i < tables[table].fields[f].count; i++)
            put_element(row, &tables[table].fields[f], i, tables[table].fields[f].min);
    ((struct row_header *)row)->used = 1;
    ((struct row_header *)row)->generation = 1;
}

static void check_edges(enum table_id table, const struct field *field, unsigned index)
{
    int64_t top = field->size == 8 ? INT64_MAX : (1ll << (8 * field->size - field->is_signed)) - 1;
    const struct field *bad = NULL;
    union any_row row;

    fill_least(table, &row);
    assert_true(row_in_range(table, &row, &bad));
    put_element(&row, field, index, field->max);
    assert_true(row_in_range(table, &row, &bad));
    if (field->max < top) {
        put_element(&row, field, index, field->max + 1);
        assert_false(row_in_range(table, &row, &bad));
        assert_ptr_equal(bad, field);
        assert_false(row_in_range(table, &row, NULL));
    }
    if (field->min > 0) {
        put_element(&row, field, index, field->min - 1);
        assert_false(row_in_range(table, &row, NULL));
    }
}

static void every_limit_holds_at_its_edges(void **state)
{
    unsigned limits = 0;

    for (unsigned t = 0; t < TABLE_COUNT; t++) {
        for (uint32_t f = 0; f < tables[t].field_count; f++) {
            const struct field *field = &tables[t].fields[f];

            if (field->min == 0 && field->max == 0)
                continue;
            check_edges(t, field, 0);
            check_edges(t, field, field->count - 1u);
            limits++;
        }
    }
    assert_true(limits > 40);
}

static void signed_and_wide_elements(void **state)
{
    static const struct {
        uint16_t size;
        bool is_signed;
        int64_t min, max, value;
        bool fits;
    } rows[] = {
        {4, true, -5, 5, -5, true},     {4, true, -5, 5, -6, false},
        {4, true, -5, 5, 5, true},      {4, true, -5, 5, 6, false},
        {4, false, 0, 5, -1, false},    {8, true, -5, 5, -6, false},
        {8, true, -5, 5, -5, true},     {8, false, 1, 9, 0, false},
        {8, false, 1, 9, -1, false},    {8, false, 1, 9, 9, true},
        {2, false, 1, 65535, 0, false}, {2, false, 1, 65535, 65535, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct field field = {.size = rows[i].size,
                                    .count = 1,
                                    .is_signed = rows[i].is_signed,
                                    .min = rows[i].min,
                                    .max = rows[i].max};

        assert_int_equal(element_in_range(&field, (const uint8_t *)&rows[i].value), rows[i].fits);
    }
}

/* ---- one row ---- */

/* A small row and a large one, both without limits: each data word holds one stamp. */
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

/* The one stamp of a row; fails when there are two. */
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

/* row_copy, and its bound. */
static enum row_verdict copy_within_bound(enum table_id table, void *to,
                                          const struct row_header *from, uint32_t generation)
{
    uint64_t start_ns = cpu_ns();
    enum row_verdict verdict = row_copy(table, to, from, generation);

    assert_true(cpu_ns() - start_ns < COPY_NS_MAX);
    return verdict;
}

static void what_a_copy_says(void **state)
{
    static const struct {
        uint32_t used, generation, asked;
        uint8_t kind; /* of a consumer row: 1 and 2 are allowed */
        bool odd;
        enum row_verdict verdict;
    } rows[] = {
        {1, 7, 0, 1, false, ROW_OK},    {1, 7, 7, 2, false, ROW_OK},
        {1, 7, 6, 1, false, ROW_FREE},  {1, 7, 8, 1, false, ROW_FREE},
        {0, 7, 0, 1, false, ROW_FREE},  {0, 7, 7, 1, false, ROW_FREE},
        {0, 0, 0, 0, false, ROW_FREE},  {1, 7, 7, 3, false, ROW_RANGE},
        {1, 7, 7, 0, false, ROW_RANGE}, {2, 7, 7, 1, false, ROW_RANGE},
        {1, 7, 6, 3, false, ROW_FREE},  {1, 7, 7, 1, true, ROW_TORN},
        {0, 7, 0, 1, true, ROW_TORN},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct consumer_row shared, mine = {.kind = rows[i].kind}, copy = {.ssrc = 0xdead};

        memset(&shared, 0, sizeof(shared));
        mine.header.generation = rows[i].generation;
        mine.header.used = rows[i].used;
        row_write(TABLE_consumer, &shared.header, &mine.header);
        if (rows[i].odd)
            atomic_fetch_add(&shared.header.sequence, 1);
        assert_int_equal(copy_within_bound(TABLE_consumer, &copy, &shared.header, rows[i].asked),
                         rows[i].verdict);
        assert_int_equal(copy.ssrc, rows[i].odd ? 0xdead : 0); /* torn: `to` is what it was */
    }
}

/* ---- interleavings ---- */

struct duel {
    enum table_id table;
    union any_row shared, next, copy;
    uint32_t asked;
    enum row_verdict verdict;
};

static void duel_write(void *context)
{
    struct duel *d = context;

    row_write(d->table, (struct row_header *)&d->shared, (struct row_header *)&d->next);
}

static void duel_read(void *context)
{
    struct duel *d = context;

    d->verdict = copy_within_bound(d->table, &d->copy, (struct row_header *)&d->shared, d->asked);
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

/* Race points of one row_write and of one attempt of row_copy. */
static unsigned write_points(enum table_id table)
{
    return tables[table].row_bytes / 8 - 1 + 4;
}

static unsigned read_points(enum table_id table)
{
    return tables[table].row_bytes / 8 - 1 + 2;
}

/* Whatever the order: the old row, the new row, or a clear no; never a mixture. */
static void duel_judge(const struct duel *d)
{
    if (d->verdict == ROW_TORN)
        assert_int_equal(d->copy.consumer_resume.header.generation, 0); /* untouched */
    else if (d->verdict == ROW_OK || d->verdict == ROW_FREE)
        assert_int_equal(stamp_of(d->table, &d->copy),
                         d->copy.consumer_resume.header.generation == 1 ? 111 : 222);
    else
        fail_msg("verdict %d", (int)d->verdict);
    if (d->verdict == ROW_OK && d->asked != 0)
        assert_int_equal(d->copy.consumer_resume.header.generation, d->asked);
}

/* The reader stops at points r1 < r2, the writer at w1 < w2, in turns. */
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
                    duel_judge(&d);
                    seen[d.verdict]++;
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

/* The writer stands at each of its points while the reader tries. */
static void writer_in_the_middle(void **state)
{
    for (unsigned point = 1; point <= write_points(LARGE); point++) {
        const unsigned segments[] = {point}; /* then the reader runs to its end */
        struct duel d;

        duel_start(&d, LARGE, 2, 0);
        schedule_run(segments, 1, duel_write, duel_read, &d);
        duel_judge(&d);
        assert_int_equal(d.verdict, point == 1 || point == write_points(LARGE) ? ROW_OK : ROW_TORN);
    }
}

/* ---- a writer that dies at each point, and its successor ---- */

static jmp_buf death;
static unsigned points_to_live;

static void die_at_point(const char *name)
{
    if (strncmp(name, "row_write.", 10) == 0 && points_to_live > 0 && --points_to_live == 0)
        longjmp(death, 1);
}

static __attribute__((noinline)) void write_and_die(struct duel *d, unsigned point)
{
    points_to_live = point;
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
        assert_int_equal(d.verdict, point == 1 || point == write_points(LARGE) ? ROW_OK : ROW_TORN);
        fill_stamp(LARGE, &d.next, 1, 333);
        duel_write(&d);
        duel_read(&d);
        assert_int_equal(d.verdict, ROW_OK);
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

/* A writer that finishes an update within every attempt: the reader gives up all the same. */
static void writer_that_never_rests(void **state)
{
    struct duel d;

    duel_start(&d, LARGE, 2, 0);
    storm = &d;
    race_hook = write_now;
    d.verdict = row_copy(LARGE, &d.copy, (struct row_header *)&d.shared, 0);
    race_hook = NULL;
    assert_int_equal(d.verdict, ROW_TORN);
    duel_read(&d);
    assert_int_equal(d.verdict, ROW_OK);
}

/* What giving up costs, said aloud. */
static void giving_up_is_quick(void **state)
{
    uint64_t start_ns, most_ns = 0;
    struct duel d;

    duel_start(&d, LARGE, 2, 0);
    atomic_fetch_add(&d.shared.worker_counters.header.sequence, 1);
    for (unsigned i = 0; i < 1000; i++) {
        start_ns = cpu_ns();
        duel_read(&d);
        assert_int_equal(d.verdict, ROW_TORN);
        if (cpu_ns() - start_ns > most_ns)
            most_ns = cpu_ns() - start_ns;
    }
    print_message("# a reader gave up after at most %u us\n", (unsigned)(most_ns / 1000));
}

/* ---- hostile rows ---- */

#define MUTATIONS 1000000

static void mutated_rows_are_refused_or_in_range(void **state)
{
    unsigned seen[4] = {0};

    for (unsigned t = 0; t < TABLE_COUNT; t++) {
        union any_row shared, copy;

        for (unsigned i = 0; i < MUTATIONS / TABLE_COUNT + 1; i++) {
            enum row_verdict verdict;

            if (i % 64 == 0)
                fill_least(t, &shared);
            for (unsigned flips = 1 + random_next() % 4; flips > 0; flips--)
                ((uint8_t *)&shared)[random_next() % tables[t].row_bytes] =
                    (uint8_t)(random_next() >> 32);
            if (i % 16 != 0) { /* or nearly everything would be torn or free */
                ((struct row_header *)&shared)->sequence &= ~1u;
                ((struct row_header *)&shared)->used = 1;
            }
            verdict = row_copy(t, &copy, (struct row_header *)&shared, 0);
            assert_true(verdict <= ROW_RANGE);
            if (verdict == ROW_OK)
                assert_true(row_in_range(t, &copy, NULL));
            seen[verdict]++;
        }
    }
    for (unsigned v = 0; v < 4; v++)
        assert_true(seen[v] > 0);
}

/* ---- threads and processes for real ---- */

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

/* Copies for a while; stamps must never go back, and something must get through. */
static void read_against_writer(struct arena *arena, uint64_t for_ns)
{
    uint64_t end_ns = clock_monotonic_ns() + for_ns, last = 0, fine = 0;
    struct worker_counters_row copy;

    while (clock_monotonic_ns() < end_ns || fine == 0) {
        enum row_verdict verdict = row_copy(LARGE, &copy, &arena->row.header, 0);

        if (verdict != ROW_OK) {
            assert_true(verdict == ROW_TORN || (verdict == ROW_FREE && last == 0));
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
        alarm(60);
        write_until_stopped(arena);
        _exit(0);
    }
    return pid;
}

/* threats.md H4: kill at 64 points; the reader stays bounded, the successor repairs the row. */
static void two_processes_and_64_kills(void **state)
{
    struct arena *arena = arena_new();
    struct worker_counters_row copy, mine;
    unsigned torn = 0;

    for (unsigned kills = 0; kills < 64; kills++) {
        pid_t pid = start_writer(arena);
        struct timespec nap = {.tv_nsec = (long)(random_next() % 3000000)};
        enum row_verdict verdict;

        atomic_store(&arena->written, 0);
        while (atomic_load(&arena->written) == 0)
            sched_yield();
        if (kills == 0)
            read_against_writer(arena, 300 * NS_PER_MS);
        nanosleep(&nap, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        verdict = copy_within_bound(LARGE, &copy, &arena->row.header, 0);
        assert_true(verdict == ROW_OK || verdict == ROW_TORN);
        torn += verdict == ROW_TORN;
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
        cmocka_unit_test(fields_cover_every_row_without_a_gap),
        cmocka_unit_test(descriptions_say_what_rows_say),
        cmocka_unit_test(enum_texts),
        cmocka_unit_test(every_limit_holds_at_its_edges),
        cmocka_unit_test(signed_and_wide_elements),
        cmocka_unit_test(what_a_copy_says),
        cmocka_unit_test(reader_and_writer_in_every_order),
        cmocka_unit_test(generation_reuse_in_every_order),
        cmocka_unit_test(large_row_in_many_orders),
        cmocka_unit_test(writer_in_the_middle),
        cmocka_unit_test(writer_dies_in_the_middle),
        cmocka_unit_test(writer_that_never_rests),
        cmocka_unit_test(giving_up_is_quick),
        cmocka_unit_test(mutated_rows_are_refused_or_in_range),
        cmocka_unit_test(two_threads_on_one_row),
        cmocka_unit_test(two_processes_and_64_kills),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
