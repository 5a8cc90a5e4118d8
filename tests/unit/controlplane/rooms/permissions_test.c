/* Threat C17, who may do what: every event with every role and every
 * owner of the object that it names. The expectations are written from
 * controlplane/README.md, Client contract, and not from the code. */
#include "rooms_steps.h"

enum who { STRANGER, OUTSIDER, PARTICIPANT, CO_HOST, HOST, GONE_MEMBER, WHO_COUNT };
static const char *const who_names[] = {
    "stranger", "member of another room", "participant", "co-host", "host", "one who left"};

/* Whose transport, producer or consumer the payload names. ELSEWHERE: in another room. */
enum whose { OWN, OTHERS, ELSEWHERE, NOBODYS, WHOSE_COUNT };
static const char *const whose_names[] = {"own", "another member's", "another room's", "nobody's"};

static struct person people[WHO_COUNT], bystander, host2;
static const char *room1, *room2, *consumers[WHO_COUNT], *bystander_consumer, *host2_consumer;

static int build(void **state)
{
    struct socket *s;

    setup(state);
    s = connect_user(user(HOST));
    room1 = make_room(s);
    socket_lose(s);
    s = connect_user(user(50));
    room2 = make_room(s);
    socket_lose(s);
    host2 = enter(50, room2);
    publish(&host2, room2);
    people[HOST] = enter(HOST, room1);
    people[CO_HOST] = enter(CO_HOST, room1);
    people[PARTICIPANT] = enter(PARTICIPANT, room1);
    people[GONE_MEMBER] = enter(GONE_MEMBER, room1);
    bystander = enter(60, room1);
    people[OUTSIDER] = enter(OUTSIDER, room2);
    people[STRANGER] = (struct person){.s = connect_user(user(STRANGER)), .id = user(STRANGER)};
    assert_ok(request(people[HOST].s, "room:changeRole",
                      "{'roomId':'%s','targetUserId':'%s','newRole':'co_host'}", room1,
                      people[CO_HOST].id));
    publish(&bystander, room1);
    for (int who = OUTSIDER; who < GONE_MEMBER; who++) {
        bool outside = who == OUTSIDER;

        publish(&people[who], outside ? room2 : room1);
        consumers[who] =
            keep(text_of(consume(people[who].s, outside ? room2 : room1, people[who].recv,
                                 outside ? host2.audio : bystander.audio),
                         "id"));
    }
    bystander_consumer =
        keep(text_of(consume(bystander.s, room1, bystander.recv, people[HOST].audio), "id"));
    host2_consumer =
        keep(text_of(consume(host2.s, room2, host2.recv, people[OUTSIDER].audio), "id"));
    assert_ok(request(people[GONE_MEMBER].s, "room:leave", "{'roomId':'%s'}", room1));
    return 0;
}

static int scrap(void **state)
{
    settings.reconnect_grace_s = 0;
    for (int who = 0; who < WHO_COUNT; who++)
        socket_lose(people[who].s);
    socket_lose(bystander.s);
    socket_lose(host2.s);
    return teardown(state);
}

/* A hash of everything that a refused request must not change. */
static uint64_t state_hash(void)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    const uint8_t *bytes = (const uint8_t *)fake_dataplane.rows;
    struct participant *p;
    struct room *room;

    for (int table = 0; table < 4; table++)
        for (size_t i = 0; i < 64 * sizeof(union fake_row); i++)
            hash = (hash ^ bytes[(size_t)table * sizeof(fake_dataplane.rows[0]) + i]) *
                   0x100000001b3ull;
    TAILQ_FOREACH(room, &rooms->all, link)
    {
        TAILQ_FOREACH(p, &room->participants, link)
        hash = (hash ^ p->role ^ p->is_muted << 3 ^ p->is_video_off << 4 ^ p->producer_count << 5 ^
                p->transport_count << 10) *
               0x100000001b3ull;
        hash = (hash ^ room->participant_count ^ room->closed << 9) * 0x100000001b3ull;
    }
    return hash;
}

static int checks;

/* expected: the error code; NULL: it must succeed. */
static void expect(int who, const char *event, const char *detail, const cJSON *ack,
                   const char *expected, uint64_t before)
{
    const char *code = text_of(ack, "code");
    bool failed = strcmp(text_of(ack, "status"), "error") == 0;

    checks++;
    if (expected == NULL ? failed : !failed || strcmp(code, expected) != 0)
        fail_msg("%s by %s on %s: expected %s, got %s (%s)", event, who_names[who], detail,
                 expected ? expected : "success", failed ? code : "success",
                 text_of(ack, "message"));
    if (expected != NULL && before != state_hash())
        fail_msg("%s by %s on %s was refused, but changed something", event, who_names[who],
                 detail);
}

/* ---- room events: role decides ---- */

static const struct {
    const char *event, *payload; /* %s room, %s user id of the bystander */
    enum who least;              /* the lowest role that may send it */
} room_events[] = {
    {"media:getRouterCapabilities", "{'roomId':'%s'}", PARTICIPANT},
    {"media:createTransport", "{'roomId':'%s','direction':'send'}", PARTICIPANT},
    {"room:muteAll", "{'roomId':'%s'}", CO_HOST},
    {"room:kick", "{'roomId':'%s','targetUserId':'%s'}", CO_HOST},
    {"room:changeRole", "{'roomId':'%s','targetUserId':'%s','newRole':'co_host'}", HOST},
    {"room:close", "{'roomId':'%s'}", HOST},
    {"room:leave", "{'roomId':'%s'}", PARTICIPANT},
};

static void room_events_need_a_role(void **state)
{
    for (size_t e = 0; e < sizeof(room_events) / sizeof(room_events[0]); e++) {
        for (int who = 0; who < WHO_COUNT; who++) {
            bool member = who >= PARTICIPANT && who <= HOST;
            const char *expected = !member                           ? "not_in_room"
                                   : who < (int)room_events[e].least ? "not_host"
                                                                     : NULL;
            uint64_t before;
            const cJSON *ack;
            char payload[256];

            build(state);
            before = state_hash();
            snprintf(payload, sizeof(payload), room_events[e].payload, room1, bystander.id);
            ack = request(people[who].s, room_events[e].event, payload);
            expect(who, room_events[e].event, "the room", ack, expected, before);
            if (expected == NULL && who < HOST && strncmp(room_events[e].event, "room:k", 6) == 0) {
                before = state_hash(); /* nobody may kick the host */
                ack = request(people[who].s, "room:kick", "{'roomId':'%s','targetUserId':'%s'}",
                              room1, people[HOST].id);
                expect(who, "room:kick", "the host", ack, "cannot_kick_host", before);
            }
            before = state_hash();
            snprintf(payload, sizeof(payload), room_events[e].payload, "nowhere", bystander.id);
            ack = request(people[who].s, room_events[e].event, payload);
            expect(who, room_events[e].event, "no room", ack, "room_not_found", before);
            scrap(state);
        }
    }
}

/* ---- media events: ownership decides, never the role ---- */

enum object { TRANSPORT, PRODUCER, CONSUMER };
static const struct {
    const char *event;
    enum object object;
    const char *key, *rest; /* further members of the payload */
    const char *if_own;     /* the error for the owner; NULL: it succeeds */
} media_events[] = {
    {"media:connectTransport", TRANSPORT, "transportId",
     ",'dtlsParameters':{'fingerprints':[{'algorithm':'sha-256','value':'" FINGERPRINT "'}]}",
     NULL},
    {"media:closeTransport", TRANSPORT, "transportId", "", NULL},
    {"media:restartIce", TRANSPORT, "transportId", "", NULL},
    {"media:produceData", TRANSPORT, "transportId", "", "unavailable"},
    {"media:consumeData", TRANSPORT, "transportId", "", "unavailable"},
    {"media:getStats", TRANSPORT, "transportId", "", NULL},
    {"media:pauseProducer", PRODUCER, "producerId", "", NULL},
    {"media:resumeProducer", PRODUCER, "producerId", "", NULL},
    {"media:closeProducer", PRODUCER, "producerId", "", NULL},
    {"media:getStats", PRODUCER, "producerId", "", NULL},
    {"media:resumeConsumer", CONSUMER, "consumerId", "", NULL},
    {"media:pauseConsumer", CONSUMER, "consumerId", "", NULL},
    {"media:setPreferredLayers", CONSUMER, "consumerId", ",'spatialLayer':0", NULL},
    {"media:setPriority", CONSUMER, "consumerId", ",'priority':1", NULL},
    {"media:getStats", CONSUMER, "consumerId", "", NULL},
};

static const char *object_id(enum object object, int who, enum whose whose)
{
    static const char *const nobodys = "00000000-0000-4000-8000-000000000000";
    const struct person *p = whose == OWN ? &people[who] : whose == OTHERS ? &bystander : &host2;
    const char *consumer = whose == OWN      ? consumers[who]
                           : whose == OTHERS ? bystander_consumer
                                             : host2_consumer;

    if (whose == NOBODYS)
        return nobodys;
    if (object == TRANSPORT)
        return p->send ? p->send : nobodys;
    if (object == PRODUCER)
        return p->audio ? p->audio : nobodys;
    return consumer ? consumer : nobodys;
}

static void media_events_need_ownership(void **state)
{
    static const char *const missing[] = {"transport_not_found", "producer_not_found",
                                          "consumer_not_found"};

    for (size_t e = 0; e < sizeof(media_events) / sizeof(media_events[0]); e++) {
        for (int who = 0; who < WHO_COUNT; who++) {
            /* GONE_MEMBER lost its objects when it left. */
            bool owns = who >= OUTSIDER && who <= HOST;

            build(state);
            for (int whose = WHOSE_COUNT - 1; whose >= 0; whose--) {
                const char *id = object_id(media_events[e].object, who, (enum whose)whose);
                const char *expected =
                    whose == OWN && owns ? media_events[e].if_own : missing[media_events[e].object];
                uint64_t before = state_hash();
                const cJSON *ack = request(people[who].s, media_events[e].event, "{'%s':'%s'%s}",
                                           media_events[e].key, id, media_events[e].rest);

                expect(who, media_events[e].event, whose_names[whose], ack, expected, before);
            }
            scrap(state);
        }
    }
}

/* ---- produce and consume: room, transport and producer all have owners ---- */

static void produce_needs_room_and_transport(void **state)
{
    for (int who = 0; who < WHO_COUNT; who++) {
        const char *own_room;

        build(state);
        own_room = who == OUTSIDER ? room2 : room1;
        for (int whose = WHOSE_COUNT - 1; whose >= 0; whose--) {
            for (int right_room = 0; right_room < 2; right_room++) {
                bool member = who >= OUTSIDER && who <= HOST;
                const char *room = right_room ? own_room : own_room == room1 ? room2 : room1;
                const char *expected = !right_room || !member ? "not_in_room"
                                       : whose != OWN         ? "transport_not_found"
                                                              : NULL;
                const char *id = object_id(TRANSPORT, who, (enum whose)whose);
                uint64_t before;
                const cJSON *ack;

                if (expected == NULL) /* the first producer has the same mid and SSRC */
                    assert_ok(request(people[who].s, "media:closeProducer",
                                      "{'roomId':'%s','producerId':'%s'}", room,
                                      people[who].audio));
                before = state_hash();
                ack = produce(people[who].s, room, id, "audio");
                expect(who, "media:produce", whose_names[whose], ack, expected, before);
            }
        }
        scrap(state);
    }
}

static void consume_needs_room_transport_and_producer(void **state)
{
    for (int who = 0; who < WHO_COUNT; who++) {
        build(state);
        for (int transport = 0; transport < WHOSE_COUNT; transport++) {
            for (int producer = 0; producer < WHOSE_COUNT; producer++) {
                bool outside = who == OUTSIDER, member = who >= OUTSIDER && who <= HOST;
                const char *room = outside ? room2 : room1;
                const struct person *p = transport == OWN      ? &people[who]
                                         : transport == OTHERS ? &bystander
                                                               : &host2;
                const char *transport_id =
                    transport == NOBODYS || p->recv == NULL ? "none" : p->recv;
                const char *producer_id = object_id(PRODUCER, who, (enum whose)producer);
                /* any owner: a producer in the same room may be consumed */
                bool reachable = producer == OWN || producer == (outside ? ELSEWHERE : OTHERS);
                const char *expected = !member            ? "not_in_room"
                                       : transport != OWN ? "transport_not_found"
                                       : !reachable       ? "producer_not_found"
                                                          : NULL;
                uint64_t before = state_hash();
                const cJSON *ack = consume(people[who].s, room, transport_id, producer_id);

                expect(who, "media:consume", whose_names[producer], ack, expected, before);
            }
        }
        scrap(state);
    }
}

/* ---- events that need no role: everybody may create and join a room ---- */

static void everybody_may_create_and_join(void **state)
{
    for (int who = 0; who < WHO_COUNT; who++) {
        const cJSON *ack;

        build(state);
        ack = request(people[who].s, "room:create", "{'title':'mine'}");
        expect(who, "room:create", "a new room", ack, NULL, 0);
        ack = request(people[who].s, "room:join", "{'roomId':'%s'}", keep(text_of(ack, "roomId")));
        expect(who, "room:join", "their own room", ack, NULL, 0);
        assert_string_equal(text_of(ack, "role"), "host");
        ack = request(people[who].s, "room:join", "{'roomId':'%s'}", room1);
        expect(who, "room:join", "the room", ack, NULL, 0);
        assert_string_equal(text_of(ack, "role"), who == HOST      ? "host"
                                                  : who == CO_HOST ? "co_host"
                                                                   : "participant");
        scrap(state);
    }
}

/* Everybody may refresh the own token, and nobody with the token of another. */
static void only_own_tokens_are_refreshed(void **state)
{
    for (int who = 0; who < WHO_COUNT; who++)
        for (int whose = 0; whose < WHO_COUNT; whose++) {
            char mine[UUID_TEXT_BYTES], theirs[UUID_TEXT_BYTES];
            uint64_t before;

            build(state);
            strcpy(mine, ((struct session *)people[who].s->data)->user_id);
            strcpy(theirs, ((struct session *)people[whose].s->data)->user_id);
            before = state_hash();
            expect(who, "auth:refresh", "a token",
                   request(people[who].s, "auth:refresh", "{'token':'%s'}", theirs),
                   strcmp(mine, theirs) ? "invalid_token" : NULL, before);
            scrap(state);
        }
}

/* ---- no event is missing ---- */

/* Whether the tables above test this event, with this permission. */
static bool is_tested(const char *name, enum permission may)
{
    static const enum permission objects[] = {MAY_OWN_TRANSPORT, MAY_OWN_PRODUCER,
                                              MAY_OWN_CONSUMER};
    static const enum permission rooms_[] = {
        [PARTICIPANT] = MAY_MEMBER, [CO_HOST] = MAY_MODERATOR, [HOST] = MAY_HOST};

    for (size_t e = 0; e < sizeof(room_events) / sizeof(room_events[0]); e++)
        if (strcmp(room_events[e].event, name) == 0)
            return rooms_[room_events[e].least] == may;
    for (size_t e = 0; e < sizeof(media_events) / sizeof(media_events[0]); e++)
        if (strcmp(media_events[e].event, name) == 0)
            return objects[media_events[e].object] == may || may == MAY_ANYONE;
    if (strcmp(name, "media:produce") == 0 || strcmp(name, "media:consume") == 0)
        return may == MAY_OWN_TRANSPORT;
    return (strcmp(name, "room:create") == 0 || strcmp(name, "room:join") == 0 ||
            strcmp(name, "auth:refresh") == 0) &&
           may == MAY_ANYONE;
}

/* A new event needs a row in this test too. */
static void every_event_is_tested(void **state)
{
    const struct event *event;
    size_t count = 0;

    for (; (event = event_at(count)) != NULL; count++)
        if (!is_tested(event->name, event->may))
            fail_msg("%s is in events.h, but has no row here, or a row that expects another "
                     "permission",
                     event->name);
    assert_true(count >= 24);
    for (size_t e = 0; e < sizeof(room_events) / sizeof(room_events[0]); e++)
        assert_non_null(event_find(room_events[e].event));
    for (size_t e = 0; e < sizeof(media_events) / sizeof(media_events[0]); e++)
        assert_non_null(event_find(media_events[e].event));
}

static void enough_combinations_were_checked(void **state)
{
    print_message("%d combinations checked\n", checks);
    assert_true(checks > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_events_need_a_role),
        cmocka_unit_test(media_events_need_ownership),
        cmocka_unit_test(produce_needs_room_and_transport),
        cmocka_unit_test(consume_needs_room_transport_and_producer),
        cmocka_unit_test(everybody_may_create_and_join),
        cmocka_unit_test(only_own_tokens_are_refreshed),
        cmocka_unit_test(every_event_is_tested),
        cmocka_unit_test(enough_combinations_were_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
