/* Sends of many runs: order on each path, what a header says, paths that refuse segments. */
#define _GNU_SOURCE
#include "net.h"

#include "dataplane/io/sends.h"

/* Runs of one datagram to three clients over both sockets, more than one sendmmsg can carry. */
#define RUNS_EACH 150
static void keeps_order_in_many_runs(void **state)
{
    uint8_t data[2048], from_ip[16];
    uint16_t from_port;

    EACH_BACKEND(backend)
    {
        struct path paths[ADDRESS_COUNT];
        struct server server;
        int clients[ADDRESS_COUNT];
        struct io *io;

        server_open(&server);
        io = backend_open(backend, &server);
        for (unsigned a = 0; a < ADDRESS_COUNT; a++) {
            clients[a] = socket_bound(addresses[a]);
            paths[a] = path_between(&server, clients[a], addresses[a], addresses[a]);
        }
        for (unsigned i = 0; i < RUNS_EACH; i++)
            for (unsigned a = 0; a < ADDRESS_COUNT; a++) {
                uint8_t *slot = backend->slot(io, &paths[a], 200 + a);

                memset(slot, (int)i, 200);
            }
        backend->transmit(io);
        for (unsigned a = 0; a < ADDRESS_COUNT; a++)
            for (unsigned i = 0; i < RUNS_EACH; i++) {
                assert_int_equal(
                    client_receive(clients[a], data, sizeof(data), from_ip, &from_port), 200 + a);
                assert_int_equal(data[0], i);
                assert_memory_equal(from_ip, paths[a].local_ip, 16);
            }
        assert_int_equal(backend->counters(io)->sent, RUNS_EACH * ADDRESS_COUNT);
        assert_int_equal(backend->counters(io)->sends, RUNS_EACH * ADDRESS_COUNT);
        backend->close(io);
        server_close(&server);
        for (unsigned a = 0; a < ADDRESS_COUNT; a++)
            close(clients[a]);
    }
}

/* A header carries nothing of the earlier send that used the same memory. */
static void describes_each_send_completely(void **state)
{
    static const struct {
        const char *from;
        uint16_t segment;
        size_t control4, control6; /* bytes */
    } table[] = {
        {"127.0.0.1", 1200, 32 + 24, 40 + 24},
        {"127.0.0.1", 0, 32, 40},
        {"", 0, 0, 0}, /* our address is not known: the kernel chooses one */
        {"", 7, 24, 24},
        {"127.0.0.1", 300, 32 + 24, 40 + 24},
    };

    for (unsigned is_ipv6 = 0; is_ipv6 < 2; is_ipv6++)
        for (unsigned is_wildcard = 0; is_wildcard < 2; is_wildcard++) {
            struct udp_socket socket = {.family = is_ipv6 ? AF_INET6 : AF_INET,
                                        .is_wildcard = is_wildcard};
            struct send_room room;
            struct msghdr header;

            send_prepare(&header, &room, &socket);
            for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                struct path path = {.remote_port = 0x1234};
                size_t control = is_ipv6 ? table[i].control6 : table[i].control4;
                uint16_t segment = 0, port;
                bool says_from = false;

                if (!is_wildcard)
                    control = table[i].segment ? 24 : 0;
                if (table[i].from[0])
                    ip_parse(path.local_ip, table[i].from);
                send_describe(&header, &room, &socket, &path, (uint8_t *)&path, 10 + i,
                              table[i].segment);
                assert_int_equal(header.msg_controllen, control);
                for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c))
                    if (c->cmsg_level == SOL_UDP)
                        memcpy(&segment, CMSG_DATA(c), sizeof(segment));
                    else
                        says_from = true;
                assert_int_equal(segment, table[i].segment);
                assert_int_equal(says_from, is_wildcard && table[i].from[0]);
                assert_int_equal(header.msg_namelen, is_ipv6 ? 28 : 16);
                memcpy(&port, (uint8_t *)header.msg_name + 2, 2);
                assert_int_equal(ntohs(port), 0x1234);
                assert_int_equal(header.msg_iov[0].iov_len, 10 + i);
            }
        }
}

/* After a path has refused segments, only its datagrams leave singly. */
static void refusal_is_remembered_for_one_path(void **state)
{
    static struct slots slots;
    struct path refusing = {.remote_port = 1}, good = {.remote_port = 2};

    assert_true(slots_open(&slots, 1));
    slots_note_refusal(&slots, &refusing);
    for (unsigned i = 0; i < REFUSAL_DATAGRAMS + 5; i++) {
        slots_clear(&slots);
        for (unsigned n = 0; n < 3; n++)
            assert_non_null(slots_take(&slots, &good, 100));
        assert_int_equal(slots.run_count, 1);
        for (unsigned n = 0; n < 2; n++)
            assert_non_null(slots_take(&slots, &refusing, 100));
        assert_int_equal(slots.run_count, i < REFUSAL_DATAGRAMS ? 3 : 2);
    }
    slots_close(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_in_many_runs),
        cmocka_unit_test(describes_each_send_completely),
        cmocka_unit_test(refusal_is_remembered_for_one_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
