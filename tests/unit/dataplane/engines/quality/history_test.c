/* The packets that were forwarded last: what is found, what is not, and a reader that is overtaken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "dataplane/engines/quality/history.h"

enum { OWNER = 7, STREAM = 5, LOG_BYTES = 64 * 1024 };

/* A packet whose bytes can be told from its index. */
static void add(struct history *h, uint32_t stream, uint64_t index, uint16_t bytes)
{
    const struct history_head head = {
        .index = index, .stream = stream, .owner = OWNER, .bytes = bytes, .payload_at = 12};
    uint8_t data[DATAGRAM_BYTES_MAX];

    for (unsigned i = 0; i < bytes; i++)
        data[i] = (uint8_t)(index * 31 + i);
    history_add(h, &head, data);
}

static bool is_right(const struct history_packet *packet)
{
    for (unsigned i = 0; i < packet->head.bytes; i++)
        if (packet->data[i] != (uint8_t)(packet->head.index * 31 + i))
            return false;
    return true;
}

static void packets_are_found_by_stream_owner_and_index(void **state)
{
    struct history_packet packet;
    struct history h;

    assert_true(history_open(&h, LOG_BYTES));
    assert_false(history_read(&h, STREAM, OWNER, 0, &packet));
    for (uint16_t i = 0; i < 20; i++) {
        add(&h, STREAM, 1000 + i, (uint16_t)(13 + 73 * i)); /* up to 1400 bytes, mostly odd */
        add(&h, STREAM + 1, 1000 + i, 100);
    }
    for (uint16_t i = 0; i < 20; i++) {
        assert_true(history_read(&h, STREAM, OWNER, 1000 + i, &packet));
        assert_int_equal(packet.head.bytes, 13 + 73 * i);
        assert_true(is_right(&packet));
    }
    assert_false(history_read(&h, STREAM, OWNER, 999, &packet));
    assert_false(history_read(&h, STREAM, OWNER, 1000 + HISTORY_PLACES, &packet));
    assert_false(history_read(&h, STREAM, OWNER + 1, 1000, &packet));
    assert_false(history_read(&h, STREAM + 2, OWNER, 1000, &packet));
    assert_false(history_read(&h, HISTORY_STREAMS, OWNER, 1000, &packet));
    history_close(&h);
}

/* Whatever the sizes are: the newest packets that fit are there, and no older one is. */
static void the_oldest_packets_make_room(void **state)
{
    struct history_packet packet;
    unsigned found = 0;
    struct history h;

    assert_true(history_open(&h, LOG_BYTES));
    for (uint64_t i = 0; i < 10000; i++)
        add(&h, STREAM, i, (uint16_t)(200 + i * 7 % 1300));
    for (uint64_t i = 0; i < 10000; i++)
        if (history_read(&h, STREAM, OWNER, i, &packet)) {
            assert_true(is_right(&packet));
            assert_true(i > 9900);
            found++;
        }
    assert_in_range(found, 50, 80); /* about 64 KiB of 900 bytes each */
    history_close(&h);
}

/* Places keep half of a position. It comes round after 256 GiB, and old places must not be taken for
 * new ones. */
static void positions_wrap(void **state)
{
    struct history_packet packet;
    struct history h;

    assert_true(history_open(&h, LOG_BYTES));
    add(&h, STREAM, 1, 100);
    h.claimed = (1ull << 32) - 30;
    for (uint64_t i = 2; i < 60; i++) {
        add(&h, STREAM, i, 100);
        assert_true(history_read(&h, STREAM, OWNER, i, &packet));
        assert_true(is_right(&packet));
    }
    assert_false(history_read(&h, STREAM, OWNER, 1, &packet));
    history_close(&h);
}

struct race {
    struct history history;
    _Atomic uint64_t newest;
    _Atomic bool stop;
    _Atomic unsigned read, wrong;
};

static void *reader(void *context)
{
    struct race *race = context;
    struct history_packet packet;

    while (!race->stop)
        for (uint64_t newest = race->newest, back = 0; back < 60 && back < newest; back++)
            if (history_read(&race->history, STREAM, OWNER, newest - back, &packet)) {
                race->read++;
                race->wrong += !is_right(&packet);
            }
    return NULL;
}

/* The log is small, so the writer overtakes the reader all the time. */
static void a_reader_that_is_overtaken_notices_it(void **state)
{
    static struct race race;
    pthread_t thread;

    memset(&race, 0, sizeof(race));
    assert_true(history_open(&race.history, LOG_BYTES));
    assert_int_equal(pthread_create(&thread, NULL, reader, &race), 0);
    for (uint64_t i = 1; i < 400000 && (i < 100000 || race.read < 1000); i++) {
        add(&race.history, STREAM, i, (uint16_t)(100 + i % 1300));
        race.newest = i;
    }
    race.stop = true;
    pthread_join(thread, NULL);
    print_message("# %u packets read beside the writer, %u wrong\n", race.read, race.wrong);
    assert_true(race.read > 0);
    assert_int_equal(race.wrong, 0);
    history_close(&race.history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_are_found_by_stream_owner_and_index),
        cmocka_unit_test(the_oldest_packets_make_room),
        cmocka_unit_test(positions_wrap),
        cmocka_unit_test(a_reader_that_is_overtaken_notices_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
