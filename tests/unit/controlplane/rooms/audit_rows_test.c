/* Threat C22: the audit rows that every event writes, from controlplane/README.md, Client contract.
 * No event writes more rows than it asked for; when the log takes no rows, an event that writes
 * some is refused and changes nothing. */
#include "rooms_steps.h"

enum { MAX_ACTIONS = 4 };

/* The sender is the host; a guest with two producers is in the room too. In payloads %r is the
 * room, %t, %p and %c are the host's transport, producer and consumer, %o is the guest's id. */
static const struct {
    const char *event, *payload;
    struct {
        enum audit_action action;
        int count;
    } rows[MAX_ACTIONS]; /* up to the first with count 0 */
} table[] = {
    {"room:create", "{'title':'x'}", {{AUDIT_room_created, 1}}},
    {"room:join", "{'roomId':'%r'}", {{0}}}, /* the second time: nothing is written */
    {"room:leave", "{'roomId':'%r'}", {{AUDIT_user_left, 1}, {AUDIT_producer_closed, 1}}},
    {"room:close",
     "{'roomId':'%r'}",
     {{AUDIT_room_closed, 1}, {AUDIT_user_left, 2}, {AUDIT_producer_closed, 3}}},
    {"room:kick",
     "{'roomId':'%r','targetUserId':'%o'}",
     {{AUDIT_user_kicked, 1}, {AUDIT_producer_closed, 2}}},
    {"room:muteAll", "{'roomId':'%r'}", {{AUDIT_all_muted, 1}, {AUDIT_user_muted, 1}}},
    {"room:changeRole",
     "{'roomId':'%r','targetUserId':'%o','newRole':'co_host'}",
     {{AUDIT_role_changed, 1}}},
    {"media:getRouterCapabilities", "{'roomId':'%r'}", {{0}}},
    {"media:createTransport", "{'roomId':'%r','direction':'send'}", {{0}}},
    {"media:connectTransport",
     "{'transportId':'%t','dtlsParameters':{'role':'client','fingerprints':[{'algorithm':"
     "'sha-256','value':'" FINGERPRINT "'}]}}",
     {{0}}}, /* its row is written when the data plane has connected it */
    {"media:restartIce", "{'transportId':'%t'}", {{0}}},
    {"media:closeTransport", "{'transportId':'%t'}", {{AUDIT_producer_closed, 1}}},
    {"media:produce", "video", {{AUDIT_producer_created, 1}}},
    {"media:consume", "", {{AUDIT_consumer_created, 1}}},
    {"media:resumeConsumer", "{'consumerId':'%c'}", {{0}}},
    {"media:pauseConsumer", "{'consumerId':'%c'}", {{0}}},
    {"media:closeProducer", "{'producerId':'%p'}", {{AUDIT_producer_closed, 1}}},
    {"media:pauseProducer", "{'producerId':'%p'}", {{0}}},
    {"media:resumeProducer", "{'producerId':'%p'}", {{0}}},
    {"media:getStats", "{'transportId':'%t'}", {{0}}},
};
#define EVENTS_HERE (sizeof(table) / sizeof(table[0]))

static const char *room, *consumer;
static struct person host, guest;

static void build(void **state)
{
    struct socket *s;
    const cJSON *ack;

    setup(state);
    s = connect_user(user(1));
    room = make_room(s);
    socket_lose(s);
    host = enter(1, room);
    guest = enter(2, room);
    ack = produce(host.s, room, host.send, "audio");
    assert_ok(ack);
    host.audio = keep(text_of(ack, "id"));
    publish(&guest, room);
    ack = consume(host.s, room, host.recv, guest.audio);
    assert_ok(ack);
    consumer = keep(text_of(ack, "id"));
    memset(audits, 0, sizeof(audits));
    audit_rows_asked = audit_rows_written = 0;
}

static void scrap(void **state)
{
    settings.reconnect_grace_s = 0;
    socket_lose(host.s);
    socket_lose(guest.s);
    teardown(state);
}

static const cJSON *run(size_t row)
{
    const char *from = table[row].payload, *with;
    char payload[1024];
    size_t bytes = 0;

    if (strcmp(table[row].event, "media:produce") == 0)
        return produce(host.s, room, host.send, from);
    if (strcmp(table[row].event, "media:consume") == 0)
        return consume(host.s, room, host.recv, guest.video);
    for (; *from; from++) {
        if (*from != '%') {
            payload[bytes++] = *from;
            continue;
        }
        from++;
        with = *from == 'r'   ? room
               : *from == 't' ? host.send
               : *from == 'p' ? host.audio
               : *from == 'c' ? consumer
                              : guest.id;
        bytes += (size_t)sprintf(payload + bytes, "%s", with);
    }
    payload[bytes] = '\0';
    return request(host.s, table[row].event, "%s", payload);
}

static int expected(size_t row, enum audit_action action)
{
    for (int i = 0; i < MAX_ACTIONS; i++)
        if (table[row].rows[i].count && table[row].rows[i].action == action)
            return table[row].rows[i].count;
    return 0;
}

static void every_event_writes_its_rows(void **state)
{
    static const char *const names[] = {
#define A(name) #name,
        AUDIT_ACTIONS(A)
#undef A
    };

    for (size_t row = 0; row < EVENTS_HERE; row++) {
        build(state);
        assert_ok(run(row));
        for (int action = 0; action < AUDIT_COUNT; action++)
            if (audits[action] != expected(row, action))
                fail_msg("%s: %d rows of %s, expected %d", table[row].event, audits[action],
                         names[action], expected(row, action));
        if (audit_rows_written > audit_rows_asked)
            fail_msg("%s writes %d rows, but asked for %d", table[row].event,
                     (int)audit_rows_written, (int)audit_rows_asked);
        if (audit_rows_written) { /* user, room and address */
            assert_string_not_equal(audit_last.user_id, "");
            assert_string_not_equal(audit_last.room_id, "");
            assert_string_equal(audit_last.ip, "192.0.2.7");
        }
        scrap(state);
    }
}

/* A number that changes when participants or their media change. */
static long state_of_room(void)
{
    struct room *r = room_find(rooms, room);
    struct participant *p;
    struct transport *t;
    struct producer *producer;
    struct consumer *c;
    long sum = meeting_count;

    if (r == NULL || r->closed)
        return -1;
    TAILQ_FOREACH(p, &r->participants, link)
    {
        sum = sum * 31 + 7 + (long)p->role * 3 + p->is_muted;
        TAILQ_FOREACH(t, &p->transports, link)
        {
            sum = sum * 31 + 11 + t->row.dtls_role;
            TAILQ_FOREACH(producer, &t->producers, link)
            sum = sum * 31 + 13 + producer->ortc.row.paused;
            TAILQ_FOREACH(c, &t->consumers, of_transport)
            sum = sum * 31 + 17;
        }
    }
    return sum;
}

static void an_event_is_refused_without_a_log(void **state)
{
    unsigned refused = 0;

    for (size_t row = 0; row < EVENTS_HERE; row++) {
        const cJSON *ack;
        long before;
        bool asks;

        build(state);
        before = state_of_room();
        audit_down = true;
        ack = run(row);
        asks = audit_rows_asked > 0;
        if (table[row].rows[0].count && !asks)
            fail_msg("%s writes rows, but does not ask for them", table[row].event);
        if (asks) {
            assert_code(ack, "unavailable");
            if (before != state_of_room())
                fail_msg("%s was refused, but changed something", table[row].event);
            assert_int_equal(audit_rows_written, 0);
            skip_received(guest.s);
            refused++;
        } else {
            assert_ok(ack);
        }
        audit_down = false;
        scrap(state);
    }
    assert_int_equal(refused, 12);
}

/* A lost socket is not a request: it cannot be refused. */
static void lost_sockets_are_removed_without_a_log(void **state)
{
    build(state);
    audit_down = true;
    settings.reconnect_grace_s = 0;
    socket_lose(guest.s);
    assert_int_equal(audits[AUDIT_user_left], 1);
    assert_int_equal(audits[AUDIT_producer_closed], 2);
    socket_lose(host.s);
    assert_int_equal(audits[AUDIT_user_left], 2);
    assert_int_equal(audits[AUDIT_room_closed], 1);
    teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_writes_its_rows),
        cmocka_unit_test(an_event_is_refused_without_a_log),
        cmocka_unit_test(lost_sockets_are_removed_without_a_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
