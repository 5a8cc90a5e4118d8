/* Regions: layout, hash, seals, descriptors of readers, mappings that are refused. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "src/region.c"

#include <grp.h>
#include <sys/wait.h>

static char why[128];

static int made(enum region_id id)
{
    int fd = region_create(id, 0x1234);

    assert_true(fd >= 0);
    return fd;
}

static void layout_has_no_overlap(void **state)
{
    for (unsigned id = 0; id < REGION_COUNT; id++) {
        struct layout layout = layout_of(id);
        size_t at = REGION_HEADER_BYTES;

        for (unsigned w = 0; w < WORKERS_MAX; w++) {
            assert_true(layout.rings[w] >= at && layout.rings[w] % 64 == 0);
            at = layout.rings[w] + (size_t)ring_shapes[id].entries * ring_shapes[id].entry_bytes;
        }
        for (unsigned t = 0; t < TABLE_COUNT; t++) {
            if (tables[t].region != id) {
                assert_int_equal(layout.tables[t], 0);
                continue;
            }
            assert_true(layout.tables[t] >= at && layout.tables[t] % PAGE_BYTES == 0);
            at = layout.tables[t] + (size_t)tables[t].rows * tables[t].row_bytes;
        }
        assert_true(layout.bytes >= at && layout.bytes == region_bytes(id));
    }
}

/* Each detail of a table's description changes the hash. */
static void hash_depends_on_every_detail(void **state)
{
    struct field fields[2] = {{.name = "a", .type = "u8", .offset = 16, .size = 1, .count = 1},
                              {.name = "b", .type = "u8", .offset = 17, .size = 1, .count = 1}};
    struct table table = {
        .name = "t", .rows = 9, .row_bytes = 64, .fields = fields, .field_count = 2};
    uint64_t base = hash_table(1, &table);

#define DIFFERS(lvalue, value)                             \
    do {                                                   \
        typeof(lvalue) was_ = lvalue;                      \
        lvalue = value;                                    \
        assert_int_not_equal(hash_table(1, &table), base); \
        lvalue = was_;                                     \
        assert_int_equal(hash_table(1, &table), base);     \
    } while (0)
    DIFFERS(table.name, "u");
    DIFFERS(table.rows, 10);
    DIFFERS(table.region, 1);
    DIFFERS(table.row_bytes, 128);
    DIFFERS(table.field_count, 1);
    DIFFERS(fields[0].name, "c");
    DIFFERS(fields[0].type, "chr");
    DIFFERS(fields[1].offset, 18);
    DIFFERS(fields[1].size, 2);
    DIFFERS(fields[1].count, 2);
    DIFFERS(fields[1].show, SHOW_hex);
    DIFFERS(fields[1].min, 1);
    DIFFERS(fields[1].max, 3);
    assert_int_equal(region_layout_hash(), region_layout_hash());
    assert_int_not_equal(region_layout_hash(), 0);
}

static void a_new_region_maps_for_both_sides(void **state)
{
    for (unsigned id = 0; id < REGION_COUNT; id++) {
        int fd = made(id), readonly = region_reopen_readonly(fd);
        struct region writer, reader;

        assert_true(readonly >= 0);
        assert_true(region_map(&writer, id, fd, true, why));
        assert_true(region_map(&reader, id, readonly, false, why));
        close(fd);
        close(readonly);
        assert_int_equal(reader.header->instance_id, 0x1234);
        region_beat(&writer, 0, 77);
        writer.base[writer.bytes - 1] = 5;
        assert_int_equal(region_heartbeat(reader.header), 77);
        assert_int_equal(reader.base[reader.bytes - 1], 5);
        for (unsigned t = 0; t < TABLE_COUNT; t++)
            assert_int_equal(reader.tables[t] != NULL, tables[t].region == id);
        region_unmap(&writer);
        region_unmap(&reader);
        assert_null(reader.base);
    }
}

/* The heartbeat is the oldest beat. A writer clears the beats of a predecessor that had more
 * threads. */
static void the_heartbeat_is_the_oldest_beat(void **state)
{
    int fd = made(REGION_actual);
    struct region region;

    assert_true(region_map(&region, REGION_actual, fd, true, why));
    close(fd);
    assert_int_equal(region_heartbeat(region.header), 0);
    region_beat(&region, 0, 500);
    region_beat(&region, 1, 300);
    region_beat(&region, WORKERS_MAX - 1, 400);
    assert_int_equal(region_heartbeat(region.header), 300);
    region_beat(&region, 1, 600);
    assert_int_equal(region_heartbeat(region.header), 400);
    region_beats_clear(&region, 2);
    assert_int_equal(region_heartbeat(region.header), 500);
    region_unmap(&region);
}

static void last_row_of_each_table_is_inside(void **state)
{
    for (unsigned t = 0; t < TABLE_COUNT; t++) {
        int fd = made(tables[t].region);
        struct region region;
        struct row_header *row;

        assert_true(region_map(&region, tables[t].region, fd, true, why));
        row = region_row(&region, t, tables[t].rows - 1);
        assert_true((uint8_t *)row + tables[t].row_bytes <= region.base + region.bytes);
        assert_int_equal((uintptr_t)row % 64, 0);
        region_unmap(&region);
        close(fd);
    }
}

/* No process can change the size of a region (threat H2). */
static void sealed_against_resizing(void **state)
{
    int fd = made(REGION_keys), readonly = region_reopen_readonly(fd);
    off_t bytes = (off_t)region_bytes(REGION_keys);
    const int both[] = {fd, readonly};

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(ftruncate(both[i], bytes - PAGE_BYTES), -1);
        assert_int_equal(ftruncate(both[i], 0), -1);
        assert_int_equal(ftruncate(both[i], bytes + PAGE_BYTES), -1);
        assert_int_equal(fcntl(both[i], F_ADD_SEALS, F_SEAL_WRITE), -1);
    }
    assert_int_equal(pwrite(fd, "x", 1, bytes), -1); /* would grow it */
    assert_int_equal(fallocate(fd, 0, 0, bytes + 1), -1);
    close(fd);
    close(readonly);
}

static void a_readonly_descriptor_stays_readonly(void **state)
{
    int fd = made(REGION_desired), readonly = region_reopen_readonly(fd);
    struct region region;

    assert_false(region_map(&region, REGION_desired, readonly, true, why));
    assert_non_null(strstr(why, "region desired: cannot map it for writing"));
    assert_true(region_map(&region, REGION_desired, readonly, false, why));
    assert_int_equal(mprotect(region.base, PAGE_BYTES, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(pwrite(readonly, "x", 1, 0), -1);
    region_unmap(&region);
    close(fd);
    close(readonly);
}

/* Runs in a child as another user, which tries to get write access through its read-only
 * descriptor. */
static int try_to_reopen(int readonly)
{
    char path[64];

    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 9;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", readonly);
    if (open(path, O_RDWR) >= 0 || open(path, O_WRONLY) >= 0)
        return 1;
    if (fchmod(readonly, 0666) == 0)
        return 2;
    return 0;
}

static void another_user_cannot_reopen_it_for_writing(void **state)
{
    int fd = made(REGION_desired), readonly = region_reopen_readonly(fd), status;
    pid_t pid;

    if (getuid() != 0) { /* only root can become another user */
        print_message("# skipped: needs root\n");
        close(fd);
        close(readonly);
        return;
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(try_to_reopen(readonly));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(fd);
    close(readonly);
}

/* ---- mappings that are refused ---- */

static int bare_file(size_t bytes, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    if (seals)
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static int with_header(const struct region_header *header, size_t bytes)
{
    int fd = bare_file(bytes, 0);

    assert_int_equal(pwrite(fd, header, sizeof(*header), 0), sizeof(*header));
    assert_int_equal(fcntl(fd, F_ADD_SEALS, REGION_SEALS), 0);
    return fd;
}

static void refused(int fd, const char *sentence)
{
    struct region region;

    memset(why, 0, sizeof(why));
    assert_false(region_map(&region, REGION_resume, fd, false, why));
    if (!strstr(why, sentence))
        fail_msg("\"%s\" does not say \"%s\"", why, sentence);
    assert_null(region.base);
    close(fd);
}

static void mappings_that_are_refused(void **state)
{
    const size_t bytes = region_bytes(REGION_resume);
    const struct region_header good = {
        .magic = REGION_MAGIC, .layout_hash = region_layout_hash(), .bytes = bytes};
    struct region_header bad;
    struct region region;
    int pipes[2], fd;

    fd = with_header(&good, bytes);
    assert_true(region_map(&region, REGION_resume, fd, false, why));
    region_unmap(&region);
    close(fd);

    bad = good, bad.magic++;
    refused(with_header(&bad, bytes), "has no valid header");
    bad = good, bad.bytes++;
    refused(with_header(&bad, bytes), "has no valid header");
    bad = good, bad.layout_hash ^= 1;
    refused(with_header(&bad, bytes), "has layout");
    refused(with_header(&good, bytes - PAGE_BYTES), "bytes, this build needs");
    refused(with_header(&good, PAGE_BYTES), "bytes, this build needs");
    refused(with_header(&good, bytes + PAGE_BYTES), "bytes, this build needs");
    refused(bare_file(bytes, 0), "not a sealed memory file");
    refused(bare_file(bytes, F_SEAL_SHRINK | F_SEAL_GROW), "not a sealed memory file");
    refused(bare_file(bytes, REGION_SEALS), "has no valid header");
    refused(made(REGION_desired), "bytes, this build needs");
    assert_int_equal(pipe(pipes), 0);
    close(pipes[1]);
    refused(pipes[0], "not a sealed memory file");
    refused(open("/dev/null", O_RDONLY), "not a sealed memory file");
    refused(-1, "the descriptor does not work");
}

static void rings_connect_two_regions(void **state)
{
    static const struct {
        enum region_id producer, consumer;
        uint32_t entries, entry_bytes;
    } rows[] = {
        {REGION_desired, REGION_actual, CHANGE_RING_ENTRIES, sizeof(struct ring_note)},
        {REGION_actual, REGION_desired, EVENT_RING_ENTRIES, sizeof(struct ring_note)},
        {REGION_resume, REGION_keys, DTLS_RING_ENTRIES, sizeof(struct ring_datagram)},
        {REGION_keys, REGION_resume, DTLS_RING_ENTRIES, sizeof(struct ring_datagram)},
    };
    struct region regions[REGION_COUNT];

    for (unsigned id = 0; id < REGION_COUNT; id++) {
        int fd = made(id);

        assert_true(region_map(&regions[id], id, fd, true, why));
        close(fd);
    }
    for (size_t i = 0; i < 4; i++) {
        const struct region *producer = &regions[rows[i].producer];
        const struct region *consumer = &regions[rows[i].consumer];

        for (uint32_t w = 0; w < WORKERS_MAX; w++) {
            struct ring ring = region_ring(producer, consumer, w);
            uint32_t filled = 0;

            assert_int_equal(ring.entry_bytes, rows[i].entry_bytes);
            while (ring_reserve(&ring)) {
                memset(ring_reserve(&ring), (int)w, ring.entry_bytes);
                ring_publish(&ring);
                filled++;
            }
            assert_int_equal(filled, rows[i].entries);
            assert_ptr_equal(&producer->header->heads[w], ring.head);
            assert_ptr_equal(&consumer->header->tails[w], ring.tail);
        }
        for (uint32_t w = 0; w < WORKERS_MAX; w++) /* no ring has overwritten another */
            assert_int_equal(producer->rings[w][rows[i].entries * rows[i].entry_bytes - 1], w);
    }
    for (unsigned id = 0; id < REGION_COUNT; id++)
        region_unmap(&regions[id]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_has_no_overlap),
        cmocka_unit_test(hash_depends_on_every_detail),
        cmocka_unit_test(a_new_region_maps_for_both_sides),
        cmocka_unit_test(the_heartbeat_is_the_oldest_beat),
        cmocka_unit_test(last_row_of_each_table_is_inside),
        cmocka_unit_test(sealed_against_resizing),
        cmocka_unit_test(a_readonly_descriptor_stays_readonly),
        cmocka_unit_test(another_user_cannot_reopen_it_for_writing),
        cmocka_unit_test(mappings_that_are_refused),
        cmocka_unit_test(rings_connect_two_regions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
