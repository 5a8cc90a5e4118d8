/* The way out: room in the transmit memory, and when it is flushed. A backend made for this test
 * says yes or no. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "dataplane/forwarder/transmit.h"

static struct {
    unsigned room;                /* slots until it is full; a flush empties it */
    unsigned capacity, transmits; /* capacity: slots after a flush */
    uint8_t memory[2048];
} fake;

static uint8_t *fake_slot(struct io *io, const struct path *path, uint32_t bytes)
{
    return fake.room > 0 ? fake.room--, fake.memory : NULL;
}

static void fake_transmit(struct io *io)
{
    fake.transmits++;
    fake.room = fake.capacity;
}

static const struct io_backend fake_backend = {
    .name = "fake", .slot = fake_slot, .transmit = fake_transmit};
static const struct path path;
static struct turn turn;
static struct transmit transmit;

static int reset(void **state)
{
    memset(&fake, 0, sizeof(fake));
    memset(&turn, 0, sizeof(turn));
    transmit =
        (struct transmit){.turn = &turn, .backend = &fake_backend, .srtp = srtp_engine_new()};
    return transmit.srtp ? 0 : -1;
}

static int clear(void **state)
{
    srtp_engine_delete(transmit.srtp);
    return 0;
}

static void a_datagram_is_copied_and_counted(void **state)
{
    fake.room = 1;
    assert_true(transmit_datagram(&transmit, &path, "hello", 5, COUNTER_rtcp_sent));
    assert_memory_equal(fake.memory, "hello", 5);
    assert_int_equal(turn.counters[COUNTER_rtcp_sent], 1);
    assert_int_equal(fake.transmits, 0);
}

static void full_memory_is_flushed_and_asked_again(void **state)
{
    fake.room = 1;
    fake.capacity = 10;
    assert_non_null(transmit_slot(&transmit, &path, 100));
    assert_int_equal(fake.transmits, 0);
    assert_non_null(transmit_slot(&transmit, &path, 100));
    assert_int_equal(fake.transmits, 1);
    assert_int_equal(turn.counters[COUNTER_send_full], 0);
}

static void a_backend_that_cannot_send_is_counted(void **state)
{
    assert_null(transmit_slot(&transmit, &path, 100));
    assert_false(transmit_datagram(&transmit, &path, "hello", 5, COUNTER_rtcp_sent));
    assert_int_equal(turn.counters[COUNTER_send_full], 2);
    assert_int_equal(turn.counters[COUNTER_rtcp_sent], 0);
}

/* A burst that would not fit as a whole starts after a flush, so that it is not cut in the middle.
 */
static void jobs_that_do_not_fit_flush_first(void **state)
{
    static const uint8_t payload[100], master[32], salt[16];
    static uint8_t out[1][200];
    struct srtp_key key;

    assert_true(srtp_key_init(transmit.srtp, &key, SRTP_PROFILE_aead_aes_128_gcm, master, salt));
    for (uint64_t i = 0; i < SRTP_BURST - 1; i++)
        *transmit_add_job(&transmit) = (struct srtp_protect_job){.key = &key,
                                                                 .out = out[0],
                                                                 .payload = payload,
                                                                 .index = i,
                                                                 .ssrc = 1,
                                                                 .header_bytes = 12,
                                                                 .payload_bytes = 100};
    transmit_make_room(&transmit, 1);
    assert_int_equal(transmit.job_count, SRTP_BURST - 1);
    transmit_make_room(&transmit, 2);
    assert_int_equal(transmit.job_count, 0);
    assert_int_equal(fake.transmits, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_datagram_is_copied_and_counted, reset, clear),
        cmocka_unit_test_setup_teardown(full_memory_is_flushed_and_asked_again, reset, clear),
        cmocka_unit_test_setup_teardown(a_backend_that_cannot_send_is_counted, reset, clear),
        cmocka_unit_test_setup_teardown(jobs_that_do_not_fit_flush_first, reset, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
