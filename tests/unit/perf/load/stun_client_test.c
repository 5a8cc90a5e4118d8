/* The client's STUN and the server's engine, which share no code, read each other's messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "perf/load/stun_client.c"

#include "dataplane/engines/stun.h"

static const struct stun_check check = {.remote_ufrag = "serverufrag",
                                        .local_ufrag = "Ab+/",
                                        .remote_password = "a password of the server",
                                        .transaction = "transaction",
                                        .tie_breaker = 0x0102030405060708ull};

static void server_reads_checks(void **state)
{
    uint8_t data[STUN_CLIENT_BYTES_MAX];
    size_t bytes = stun_check_build(data, &check);
    struct stun_request request;

    assert_int_equal(stun_parse(data, bytes, &request), STUN_OK);
    assert_int_equal(stun_authenticate(data, bytes, &request, check.remote_password), STUN_OK);
    assert_int_equal(stun_authenticate(data, bytes, &request, "another"), STUN_UNAUTHENTIC);
    assert_memory_equal(request.transaction, check.transaction, 12);
    assert_int_equal(request.local_ufrag_bytes, 11);
    assert_memory_equal(request.local_ufrag, "serverufrag", 11);
    assert_int_equal(request.remote_ufrag_bytes, 4);
    assert_true(request.use_candidate && request.controlling && request.has_priority);
    assert_false(request.controlled || request.has_unknown_required);
    assert_int_equal(request.tie_breaker, check.tie_breaker);
}

static void controlled_does_not_nominate(void **state)
{
    struct stun_check controlled = check;
    uint8_t data[STUN_CLIENT_BYTES_MAX];
    struct stun_request request;
    size_t bytes;

    controlled.controlled = true;
    bytes = stun_check_build(data, &controlled);
    assert_int_equal(stun_parse(data, bytes, &request), STUN_OK);
    assert_true(request.controlled);
    assert_false(request.controlling || request.use_candidate);
}

static size_t server_answer(uint8_t *out)
{
    uint8_t data[STUN_CLIENT_BYTES_MAX];
    size_t bytes = stun_check_build(data, &check);
    struct stun_request request;
    struct path path = {0};

    assert_int_equal(stun_parse(data, bytes, &request), STUN_OK);
    return stun_build_success(out, &request, &path, check.remote_password);
}

static void client_reads_answers(void **state)
{
    uint8_t data[STUN_RESPONSE_BYTES_MAX];
    size_t bytes = server_answer(data);
    const uint8_t *transaction;
    enum stun_kind kind;

    assert_true(stun_parse_header(data, bytes, &kind, &transaction));
    assert_int_equal(kind, STUN_IS_SUCCESS);
    assert_memory_equal(transaction, check.transaction, 12);
    assert_true(stun_is_authentic(data, bytes, check.remote_password));
    assert_false(stun_is_authentic(data, bytes, "another"));
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (stun_parse_header(data, bytes, &kind, &transaction) &&
            stun_is_authentic(data, bytes, check.remote_password))
            fail_msg("bit %zu", bit);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* A full ICE agent sends a request and reads the answer. */
static void client_answers_requests(void **state)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(40000)};
    uint8_t data[STUN_CLIENT_BYTES_MAX], answer[STUN_CLIENT_BYTES_MAX];
    size_t bytes = stun_check_build(data, &check);
    const uint8_t *transaction;
    enum stun_kind kind;

    from.sin_addr.s_addr = htonl(0x7f000001);
    assert_true(stun_parse_header(data, bytes, &kind, &transaction));
    assert_int_equal(kind, STUN_IS_REQUEST);
    assert_true(stun_is_authentic(data, bytes, check.remote_password));
    bytes = stun_answer_build(answer, transaction, &from, check.remote_password);
    assert_true(stun_parse_header(answer, bytes, &kind, &transaction));
    assert_int_equal(kind, STUN_IS_SUCCESS);
    assert_true(stun_is_authentic(answer, bytes, check.remote_password));
    /* XOR-MAPPED-ADDRESS of 127.0.0.1:40000 */
    assert_memory_equal(answer + 20, "\x00\x20\x00\x08\x00\x01\xbd\x52\x5e\x12\xa4\x43", 12);
}

static void refuses_random_bytes(void **state)
{
    uint8_t data[64];
    const uint8_t *transaction;
    enum stun_kind kind;

    srand(3);
    for (unsigned i = 0; i < 200000; i++) {
        size_t bytes = (size_t)rand() % sizeof(data);

        for (size_t k = 0; k < bytes; k++)
            data[k] = (uint8_t)rand();
        if (bytes >= 20 && i % 2) { /* so that the first checks pass */
            put32(data + 4, COOKIE);
            put16(data + 2, (uint32_t)bytes - 20);
        }
        if (stun_parse_header(data, bytes, &kind, &transaction))
            assert_false(stun_is_authentic(data, bytes, check.remote_password));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_reads_checks),  cmocka_unit_test(controlled_does_not_nominate),
        cmocka_unit_test(client_reads_answers), cmocka_unit_test(client_answers_requests),
        cmocka_unit_test(refuses_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
