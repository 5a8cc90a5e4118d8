/* Conferences from the first socket to the last, and what can go wrong in them. */
#include "rooms_steps.h"

static void sockets_are_authenticated(void **state)
{
    struct socket *s = fake_socket(rooms);

    rooms_socket_handlers.connecting(s, NULL, NULL); /* no token at all */
    pump();
    assert_true(s->refused && !s->accepted);
    assert_string_equal(s->refusal, "Authentication failed");
    socket_unref(s);

    s = connect_user("no such token");
    assert_true(s->refused && !s->accepted);
    assert_string_equal(s->refusal, "Authentication failed");
    socket_unref(s);

    s = fake_socket(rooms);
    rooms_socket_handlers.connecting(s, NULL, user(1)); /* Authorization: Bearer */
    pump();
    assert_true(s->accepted);
    assert_string_equal(text_of(received(s, "authenticated"), "userId"), user(1));
    socket_lose(s);

    s = fake_socket(rooms); /* closes during the verification */
    s->closes_early = true;
    rooms_socket_handlers.connecting(s, NULL, user(1));
    pump();
    assert_true(TAILQ_EMPTY(&rooms->sessions));
    socket_unref(s);
}

static void rooms_are_created_and_joined(void **state)
{
    struct socket *a = connect_user(user(1)), *b = connect_user(user(2));
    const char *room = make_room(a), *code;
    const cJSON *ack, *value;

    assert_int_equal(audits[AUDIT_room_created], 1);
    assert_string_equal(meeting_of(room)->status, "waiting");
    ack = request(a, "room:join", "{'roomId':'%s'}", room);
    assert_ok(ack);
    assert_string_equal(text_of(ack, "role"), "host");
    assert_string_equal(text_of(ack, "roomId"), room);
    code = keep(text_of(ack, "roomCode"));
    assert_int_equal(strlen(code), 14);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(ack, "participants")), 1);
    assert_true(cJSON_IsArray(cJSON_GetObjectItem(ack, "existingProducers")));
    assert_true(cJSON_IsArray(cJSON_GetObjectItem(ack, "iceServers")));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(
                         cJSON_GetObjectItem(ack, "rtpCapabilities"), "codecs")),
                     13);
    assert_string_equal(meeting_of(room)->status, "active");
    assert_true(meeting_of(room)->started_ms > 0);
    assert_int_equal(fake_used(TABLE_room), 1);
    skip_received(a);

    ack = request(b, "room:join", "{'roomId':'%s'}", code); /* by code */
    assert_ok(ack);
    assert_string_equal(text_of(ack, "role"), "participant");
    value = received(a, "room:userJoined");
    assert_string_equal(text_of(value, "userId"), user(2));
    assert_string_equal(text_of(value, "role"), "participant");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(value, "participants")), 2);
    value = cJSON_GetArrayItem(cJSON_GetObjectItem(value, "participants"), 1);
    assert_string_equal(text_of(value, "socketId"), b->id);
    assert_true(cJSON_GetObjectItem(value, "joinedAt")->valuedouble > 1.6e12);
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(value, "isMuted")));
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(value, "isVideoOff")));
    assert_true(cJSON_IsArray(cJSON_GetObjectItem(value, "producerIds")));
    received(a, "userJoined");
    received_nothing(a);
    assert_int_equal(meeting_of(room)->participants_peak, 2);

    ack = request(b, "room:join", "{'roomId':'%s'}", room); /* the same socket again */
    assert_ok(ack);
    received_nothing(a);
    assert_int_equal(rooms_participant_count(rooms, room), 2);

    assert_code(request(b, "room:join", "{'roomId':'nowhere'}"), "room_not_found");
    assert_code(request(b, "room:create", "{'title':'  '}"), "invalid_payload");
    assert_code(request(b, "room:create", "{'title':'x','maxParticipants':1}"), "invalid_payload");
    assert_code(request(b, "room:create", "{'title':'x','maxParticipants':101}"),
                "invalid_payload");

    settings.short_events = false;
    assert_ok(request(b, "room:leave", "{'roomId':'%s'}", room));
    value = received(a, "room:userLeft");
    assert_null(cJSON_GetObjectItem(value, "kicked"));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(value, "participants")), 1);
    received_nothing(a);
    assert_ok(request(a, "room:leave", "{'roomId':'%s'}", room));
    assert_string_equal(meeting_of(room)->status, "closed"); /* the last participant left */
    assert_code(request(a, "room:join", "{'roomId':'%s'}", room), "room_closed");
    assert_int_equal(audits[AUDIT_user_left], 2);
    assert_int_equal(audits[AUDIT_room_closed], 1);
    socket_lose(a);
    socket_lose(b);
}

static void media_is_produced_and_consumed(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host), *consumer;
    struct person a = enter(1, room), b;
    const cJSON *ack, *value, *list;
    struct consumer *c;

    socket_lose(host);
    b = enter(2, room);
    ack = request(a.s, "media:createTransport", "{'roomId':'%s','dir':'recv'}", room);
    assert_ok(ack);
    value = cJSON_GetObjectItem(ack, "iceParameters");
    assert_int_equal(strlen(text_of(value, "usernameFragment")), 32);
    assert_int_equal(strlen(text_of(value, "password")), 32);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(value, "iceLite")));
    list = cJSON_GetObjectItem(ack, "iceCandidates");
    assert_int_equal(cJSON_GetArraySize(list), 1);
    value = cJSON_GetArrayItem(list, 0);
    assert_string_equal(text_of(value, "address"), "127.0.0.1");
    assert_string_equal(text_of(value, "ip"), "127.0.0.1");
    assert_string_equal(text_of(value, "protocol"), "udp");
    assert_string_equal(text_of(value, "type"), "host");
    assert_string_equal(text_of(value, "foundation"), "udpcandidate");
    assert_int_equal(cJSON_GetObjectItem(value, "priority")->valueint, 1076302079);
    assert_int_equal(cJSON_GetObjectItem(value, "port")->valueint, 40000);
    value = cJSON_GetObjectItem(ack, "dtlsParameters");
    assert_string_equal(text_of(value, "role"), "auto");
    list = cJSON_GetObjectItem(value, "fingerprints");
    assert_int_equal(cJSON_GetArraySize(list), 3);
    assert_string_equal(text_of(cJSON_GetArrayItem(list, 2), "algorithm"), "sha-256");
    assert_int_equal(strlen(text_of(cJSON_GetArrayItem(list, 2), "value")), 95);
    assert_true(cJSON_IsArray(cJSON_GetObjectItem(ack, "iceServers")));
    assert_null(cJSON_GetObjectItem(ack, "sctpParameters"));
    assert_ok(
        request(a.s, "media:closeTransport", "{'transportId':'%s'}", keep(text_of(ack, "id"))));

    ack = request(
        a.s, "media:connectTransport",
        "{'transportId':'%s','dtlsParameters':{'role':'client','fingerprints':[{'algorithm':"
        "'sha-256','value':'" FINGERPRINT "'}]}}",
        a.send);
    assert_ok(ack);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ack, "connected")));
    assert_int_equal(transport_find(rooms, a.send)->row.dtls_role, DTLS_ROLE_server);
    assert_int_equal(
        fake_row(TABLE_transport, transport_find(rooms, a.send)->handle)->transport.fingerprint[1],
        0x11);
    ack = request(
        a.s, "media:connectTransport",
        "{'transportId':'%s','dtlsParameters':{'role':'server','fingerprints':[{'algorithm':"
        "'sha-256','value':'" FINGERPRINT "'}]}}",
        a.send);
    assert_code(ack, "already_connected");
    assert_int_equal(transport_find(rooms, a.send)->row.dtls_role, DTLS_ROLE_server);

    skip_received(b.s);
    publish(&a, room);
    assert_int_equal(audits[AUDIT_producer_created], 2);
    value = received(b.s, "media:newProducer");
    assert_string_equal(text_of(value, "producerId"), a.audio);
    assert_string_equal(text_of(value, "userId"), a.id);
    assert_string_equal(text_of(value, "kind"), "audio");
    assert_string_equal(text_of(cJSON_GetObjectItem(value, "appData"), "source"), "camera");
    received(b.s, "newProducer");
    received(b.s, "media:newProducer");
    received(b.s, "newProducer");
    received_nothing(b.s);
    assert_code(produce(a.s, room, a.send, "video"), "cannot_produce"); /* the same mid and ssrc */
    assert_code(produce(a.s, room, a.recv, "video"), "wrong_direction");

    ack = consume(b.s, room, b.recv, a.audio);
    assert_ok(ack);
    consumer = keep(text_of(ack, "consumerId"));
    assert_string_equal(text_of(ack, "id"), consumer);
    assert_string_equal(text_of(ack, "producerId"), a.audio);
    assert_string_equal(text_of(ack, "kind"), "audio");
    assert_string_equal(text_of(ack, "type"), "simple");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(ack, "producerPaused")));
    assert_string_equal(text_of(cJSON_GetObjectItem(ack, "rtpParameters"), "mid"), "0");
    c = consumer_find(rooms, consumer);
    assert_int_equal(fake_row(TABLE_consumer, c->handle)->consumer.paused, 1);
    ack = consume(b.s, room, b.recv, a.video);
    assert_string_equal(text_of(cJSON_GetObjectItem(ack, "rtpParameters"), "mid"), "1");
    assert_code(consume(b.s, room, b.send, a.video), "wrong_direction");
    assert_code(consume(b.s, room, b.recv, "nothing"), "producer_not_found");

    ack = request(b.s, "media:resumeConsumer", "{'consumerId':'%s'}", consumer);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ack, "resumed")));
    assert_int_equal(fake_row(TABLE_consumer, c->handle)->consumer.paused, 0);
    ack = request(b.s, "media:pauseConsumer", "{'consumerId':'%s'}", consumer);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ack, "paused")));
    assert_int_equal(fake_row(TABLE_consumer, c->handle)->consumer.paused, 1);

    ack = request(a.s, "media:pauseProducer", "{'producerId':'%s'}", a.audio);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ack, "paused")));
    assert_string_equal(text_of(received(b.s, "media:producerPaused"), "kind"), "audio");
    assert_string_equal(text_of(received(b.s, "media:consumerPaused"), "consumerId"), consumer);
    assert_true(participant_find(room_find(rooms, room), a.id)->is_muted);
    assert_int_equal(
        fake_row(TABLE_producer, producer_find(rooms, a.audio)->handle)->producer.paused, 1);
    ack = request(a.s, "media:resumeProducer", "{'producerId':'%s'}", a.audio);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ack, "resumed")));
    received(b.s, "media:producerResumed");
    received(b.s, "media:consumerResumed");
    assert_false(participant_find(room_find(rooms, room), a.id)->is_muted);

    ack = request(a.s, "media:getStats", "{'producerId':'%s'}", a.audio);
    assert_true(cJSON_IsArray(ack));
    ack = request(b.s, "media:getStats", "{'consumerId':'%s'}", consumer);
    assert_string_equal(text_of(cJSON_GetArrayItem(ack, 0), "type"), "outbound-rtp");
    ack = request(b.s, "media:getStats", "{'transportId':'%s'}", b.recv);
    assert_string_equal(text_of(cJSON_GetArrayItem(ack, 0), "iceRole"), "controlled");

    ack = request(a.s, "media:closeProducer", "{'roomId':'%s','producerId':'%s'}", room, a.audio);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ack, "closed")));
    assert_string_equal(text_of(received(b.s, "media:producerClosed"), "producerId"), a.audio);
    received(b.s, "producerClosed");
    assert_string_equal(text_of(received(b.s, "media:consumerClosed"), "consumerId"), consumer);
    received_nothing(b.s);
    assert_code(request(b.s, "media:resumeConsumer", "{'consumerId':'%s'}", consumer),
                "consumer_not_found");

    /* Leaving: producerClosed, consumerClosed, then userLeft.
     * A row goes before the rows it refers to. */
    fake_dataplane.removed_count = 0;
    assert_ok(request(a.s, "room:leave", "{'roomId':'%s'}", room));
    received(b.s, "media:producerClosed");
    received(b.s, "producerClosed");
    received(b.s, "media:consumerClosed");
    received(b.s, "room:userLeft");
    received(b.s, "userLeft");
    received_nothing(b.s);
    assert_memory_equal(fake_dataplane.removed, "cptt", 4);
    assert_ok(request(b.s, "room:leave", "{'roomId':'%s'}", room));
    assert_memory_equal(fake_dataplane.removed, "cpttttr", 7);
    socket_lose(a.s);
    socket_lose(b.s);
}

/* Every restart makes new credentials, in the acknowledgement
 * and in the row, and changes nothing else. */
static void ice_restarts(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);
    struct person a = enter(1, room);
    struct transport *t = transport_find(rooms, a.send);
    struct transport_row before = fake_row(TABLE_transport, t->handle)->transport, now;
    const cJSON *ice;

    for (int i = 0; i < 2; i++) {
        ice = cJSON_GetObjectItem(request(a.s, "media:restartIce", "{'transportId':'%s'}", a.send),
                                  "iceParameters");
        now = fake_row(TABLE_transport, t->handle)->transport;
        assert_string_equal(text_of(ice, "usernameFragment"), now.ice_ufrag);
        assert_string_equal(text_of(ice, "password"), now.ice_pwd);
        assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ice, "iceLite")));
        assert_int_equal(strlen(now.ice_ufrag), 32);
        assert_int_equal(strlen(now.ice_pwd), 32);
        assert_string_not_equal(now.ice_ufrag, before.ice_ufrag);
        assert_string_not_equal(now.ice_pwd, before.ice_pwd);
        memcpy(before.ice_ufrag, now.ice_ufrag, sizeof(now.ice_ufrag));
        memcpy(before.ice_pwd, now.ice_pwd, sizeof(now.ice_pwd));
        assert_memory_equal(&before, &now, sizeof(now));
    }
    fake_dataplane.updates_fail = true;
    assert_code(request(a.s, "media:restartIce", "{'transportId':'%s'}", a.send), "unavailable");
    assert_string_equal(t->row.ice_ufrag, now.ice_ufrag);
    socket_lose(a.s);
    socket_lose(host);
}

static void the_host_mutes_kicks_and_closes(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);
    struct person a = enter(1, room), b = enter(2, room), c = enter(3, room);
    const cJSON *ack, *value;

    publish(&a, room);
    publish(&b, room);
    publish(&c, room);
    assert_ok(request(a.s, "room:changeRole",
                      "{'roomId':'%s','targetUserId':'%s','newRole':'co_host'}", room, b.id));
    assert_code(request(a.s, "room:changeRole",
                        "{'roomId':'%s','targetUserId':'%s','newRole':'host'}", room, b.id),
                "invalid_payload");
    assert_code(request(a.s, "room:changeRole",
                        "{'roomId':'%s','targetUserId':'%s','newRole':'participant'}", room, a.id),
                "cannot_change_host");
    skip_received(a.s);
    skip_received(b.s);
    skip_received(c.s);

    ack = request(b.s, "room:muteAll", "{'roomId':'%s'}", room); /* this mutes the co-host too */
    assert_ok(ack);
    assert_int_equal(cJSON_GetObjectItem(ack, "mutedCount")->valueint, 2);
    assert_false(producer_find(rooms, a.audio)->ortc.row.paused);
    assert_true(producer_find(rooms, b.audio)->ortc.row.paused);
    assert_true(producer_find(rooms, c.audio)->ortc.row.paused);
    assert_false(producer_find(rooms, c.video)->ortc.row.paused);
    assert_int_equal(
        fake_row(TABLE_producer, producer_find(rooms, c.audio)->handle)->producer.paused, 1);
    received(a.s, "media:producerPaused");
    received(a.s, "media:producerPaused");
    received_nothing(a.s);
    value = received(b.s, "room:allMuted");
    assert_string_equal(text_of(value, "mutedBy"), b.id);
    received(b.s, "allMuted");
    received(b.s, "media:producerPaused"); /* the one of c */
    received_nothing(b.s);

    skip_received(c.s);
    assert_code(request(b.s, "room:kick", "{'roomId':'%s','targetUserId':'%s'}", room, a.id),
                "cannot_kick_host");
    assert_code(request(b.s, "room:kick", "{'roomId':'%s','targetUserId':'%s'}", room, user(9)),
                "user_not_found");
    assert_ok(request(b.s, "room:kick", "{'roomId':'%s','targetUserId':'%s'}", room, c.id));
    value = received(c.s, "room:userKicked");
    assert_string_equal(text_of(value, "reason"), "kicked");
    received(c.s, "userKicked");
    received_nothing(c.s);
    assert_true(c.s->open);
    received(a.s, "media:producerClosed");
    received(a.s, "producerClosed");
    received(a.s, "media:producerClosed");
    received(a.s, "producerClosed");
    value = received(a.s, "room:userLeft");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(value, "kicked")));
    received(a.s, "userLeft");
    assert_int_equal(audits[AUDIT_user_kicked], 1);
    assert_int_equal(audits[AUDIT_all_muted], 1);
    assert_int_equal(audits[AUDIT_role_changed], 1);

    skip_received(b.s);
    assert_ok(request(a.s, "room:close", "{'roomId':'%s'}", room));
    assert_string_equal(text_of(received(b.s, "room:closed"), "roomId"), room);
    received(b.s, "roomClosed");
    received_nothing(b.s);
    received(a.s, "room:closed");
    assert_int_equal(fake_used(TABLE_transport), 0);
    assert_string_equal(meeting_of(room)->status, "closed");
    socket_lose(a.s);
    socket_lose(b.s);
    socket_lose(c.s);
    socket_lose(host);
}

/* The grace time of everybody who is absent is over. */
static void end_grace(void)
{
    struct participant *p;

    TAILQ_FOREACH(p, &rooms->absent, absent_link)
    p->grace_until_ms = uv_now(&loop);
    participants_remove_overdue(rooms);
    pump();
}

static void an_absent_participant_comes_back_or_not(void **state)
{
    struct socket *host = connect_user(user(1)), *again;
    const char *room = make_room(host), *consumer;
    struct person a = enter(1, room), b = enter(2, room);
    const cJSON *ack;

    settings.reconnect_grace_s = 3600;
    publish(&b, room);
    publish(&a, room);
    consumer = keep(text_of(consume(b.s, room, b.recv, a.video), "id"));
    skip_received(a.s);
    socket_lose(b.s); /* absent: it keeps its place, and nobody is told */
    participants_remove_overdue(rooms);
    received_nothing(a.s);
    assert_int_equal(rooms_participant_count(rooms, room), 2);
    assert_int_equal(fake_used(TABLE_producer), 4);

    again = connect_user(user(2));
    ack = request(again, "room:join", "{'roomId':'%s','resume':true}", room);
    assert_ok(ack);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ack, "resumed")));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(ack, "transports")), 2);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(ack, "producers")), 2);
    assert_string_equal(text_of(cJSON_GetArrayItem(cJSON_GetObjectItem(ack, "consumers"), 0), "id"),
                        consumer);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(ack, "existingProducers")), 2);
    received_nothing(a.s);
    assert_true(TAILQ_EMPTY(&rooms->absent));
    assert_int_equal(rooms_participant_count(rooms, room), 2);
    assert_ok(request(again, "media:resumeConsumer", "{'consumerId':'%s'}", consumer));

    /* The old socket is still open: the new one gets everything, and the old one is closed. */
    b.s = connect_user(user(2));
    ack = request(b.s, "room:join", "{'roomId':'%s','resume':true}", room);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(ack, "resumed")));
    skip_received(again);
    assert_string_equal(text_of(again->received[again->received_count - 2].value, "reason"),
                        "replaced");
    assert_false(again->open);
    socket_unref(again);

    /* Without resume: the new socket starts without media, and keeps the role. */
    assert_ok(request(a.s, "room:changeRole",
                      "{'roomId':'%s','targetUserId':'%s','newRole':'co_host'}", room, b.id));
    skip_received(a.s);
    skip_received(b.s);
    again = connect_user(user(2));
    ack = request(again, "room:join", "{'roomId':'%s'}", room);
    assert_string_equal(text_of(ack, "role"), "co_host");
    assert_string_equal(text_of(received(b.s, "room:userKicked"), "reason"), "replaced");
    received(b.s, "userKicked");
    received_nothing(b.s);
    for (int i = 0; i < 2;
         i++) { /* audio and video; the others do not hear that it left and came */
        received(a.s, "media:producerClosed");
        received(a.s, "producerClosed");
    }
    received_nothing(a.s);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(ack, "participants")), 2);
    assert_int_equal(fake_used(TABLE_transport), 2);
    assert_code(request(b.s, "room:leave", "{'roomId':'%s'}", room), "not_in_room");
    socket_lose(b.s);

    /* After the grace time the participant is removed. */
    socket_lose(again);
    end_grace();
    received(a.s, "room:userLeft");
    received(a.s, "userLeft");
    received_nothing(a.s);
    socket_lose(a.s); /* this time the timer finds it */
    TAILQ_FIRST(&rooms->absent)->grace_until_ms = uv_now(&loop) + 1;
    WAIT_UNTIL(strcmp(meeting_of(room)->status, "closed") == 0);
    assert_int_equal(fake_used(TABLE_transport) + fake_used(TABLE_room), 0);
    socket_lose(host);
}

/* Threat C18: 200 users join a room for 100, and all of them wait for the store at once. */
static void a_full_room_refuses_many_at_once(void **state)
{
    struct socket *host = connect_user(user(255)), *sockets[200];
    const char *room = make_room(host);
    int in = 0, full = 0;

    for (int i = 0; i < 200; i++)
        sockets[i] = connect_user(user(i));
    for (int i = 0; i < 200; i++) {
        cJSON *args = cJSON_CreateArray(), *payload = cJSON_CreateObject();

        cJSON_AddStringToObject(payload, "roomId", room);
        cJSON_AddItemToArray(args, payload);
        rooms_socket_handlers.event(sockets[i], "room:join", args, 1);
        cJSON_Delete(args);
    }
    pump();
    for (int i = 0; i < 200; i++) {
        if (strcmp(text_of(sockets[i]->ack, "code"), "room_full") == 0)
            full++;
        else if (strcmp(text_of(sockets[i]->ack, "role"), "participant") == 0)
            in++;
        fake_socket_forget(sockets[i]);
    }
    assert_int_equal(in, 100);
    assert_int_equal(full, 100);
    assert_int_equal(rooms_participant_count(rooms, room), 100);
    assert_int_equal(meeting_of(room)->participants_peak, 100);
    settings.reconnect_grace_s = 0;
    for (int i = 0; i < 200; i++) {
        fake_socket_forget(sockets[i]);
        socket_lose(sockets[i]);
        for (int k = i + 1; k < 200; k++)
            fake_socket_forget(sockets[k]);
    }
    socket_lose(host);
    assert_int_equal(rooms_participant_count(rooms, room), 0);
}

static void join_later(struct socket *s, const char *room)
{
    cJSON *args = cJSON_CreateArray();

    cJSON_AddItemToArray(args, json_texts("roomId", room, NULL));
    rooms_socket_handlers.event(s, "room:join", args, 1);
    cJSON_Delete(args);
}

/* The store is too busy to answer some of many joins: these
 * succeed if another has opened the room. */
static void joins_while_the_store_is_busy(void **state)
{
    struct socket *host = connect_user(user(1)), *a = connect_user(user(2)),
                  *b = connect_user(user(3));
    const char *room = make_room(host);
    char longer[UUID_TEXT_BYTES + 8];

    snprintf(longer, sizeof(longer), "%sx", room);
    join_later(a, room);
    store_down = true; /* for those who come after a */
    join_later(b, room);
    join_later(host, longer);
    store_down = false;
    pump();
    assert_string_equal(text_of(a->ack, "role"), "participant");
    assert_string_equal(text_of(b->ack, "role"), "participant");
    assert_code(host->ack, "unavailable"); /* there is no such open room */
    assert_int_equal(rooms_participant_count(rooms, room), 2);
    socket_lose(a);
    socket_lose(b);
    socket_lose(host);
}

static void events_are_rate_limited(void **state)
{
    struct socket *s = connect_user(user(1));

    settings.rate_limit_events = 60;
    for (int i = 0; i < 60; i++)
        assert_code(request(s, "room:leave", "{'roomId':'x'}"), "room_not_found");
    assert_code(request(s, "room:leave", "{'roomId':'x'}"), "rate_limited");
    assert_code(request(s, "no:such", "{}"), "rate_limited");
    assert_code(request(s, "media:getStats", "{'producerId':'x'}"), "producer_not_found");
    assert_code(request(s, "media:getRouterCapabilities", "{'roomId':'x'}"), "room_not_found");
    assert_int_equal(audits[AUDIT_rate_limited], 1); /* once per window */
    assert_int_equal(rooms->errors[ERROR_rate_limited], 2);
    socket_lose(s);
}

static void wrong_requests_get_an_error(void **state)
{
    struct socket *s = connect_user(user(1));
    const char *room = make_room(s);
    cJSON *args = cJSON_CreateArray();
    const cJSON *value;

    skip_received(s);
    assert_code(request(s, "room:fly", "{}"), "unknown_event");
    assert_code(request(s, "room:join", "{}"), "invalid_payload");
    assert_code(request(s, "room:join", "{'roomId':5}"), "invalid_payload");
    assert_code(request(s, "room:join", "{'roomId':''}"), "invalid_payload");
    assert_code(request(s, "room:join", "[]"), "invalid_payload");
    assert_code(request(s, "room:join", "'text'"), "invalid_payload");
    assert_code(request(s, "room:join", "null"), "invalid_payload");
    assert_code(request(s, "media:restartIce", "{'transportId':'x'}"), "transport_not_found");
    rooms_socket_handlers.event(s, "room:join", args,
                                -1); /* no acknowledgement wanted, no payload */
    cJSON_Delete(args);
    value = received(s, "error");
    assert_string_equal(text_of(value, "code"), "invalid_payload");
    assert_string_equal(text_of(value, "event"), "room:join");
    assert_null(cJSON_GetObjectItem(value, "status"));

    store_down = true;
    assert_code(request(s, "room:create", "{'title':'x'}"), "unavailable");
    assert_code(request(s, "room:join", "{'roomId':'%s'}", room), "unavailable");
    store_down = false;
    assert_ok(request(s, "room:join", "{'roomId':'%s'}", room));
    store_down = true; /* the room closes now, and is saved once the store is back */
    assert_ok(request(s, "room:close", "{'roomId':'%s'}", room));
    assert_string_equal(meeting_of(room)->status, "active");
    assert_code(request(s, "room:join", "{'roomId':'%s'}", room), "room_closed");
    store_down = false;
    WAIT_UNTIL(TAILQ_EMPTY(&rooms->all));
    assert_string_equal(meeting_of(room)->status, "closed");
    socket_lose(s);
}

static void the_data_plane_fails_and_restarts(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host), *extra;
    struct person a, b;
    struct transport *t;
    const cJSON *value;

    fake_dataplane.up = false;
    assert_ok(
        request(host, "room:join", "{'roomId':'%s'}", room)); /* people can meet without media */
    assert_code(request(host, "media:createTransport", "{'roomId':'%s','direction':'send'}", room),
                "unavailable");
    fake_dataplane.up = true;
    a = enter(2, room);
    b = enter(3, room);
    publish(&a, room);
    assert_ok(consume(b.s, room, b.recv, a.video));
    fake_dataplane.full = true;
    assert_code(request(a.s, "media:createTransport", "{'roomId':'%s','direction':'send'}", room),
                "unavailable");
    assert_code(consume(b.s, room, b.recv, a.audio), "unavailable");
    fake_dataplane.full = false;

    /* The owner is told each state once. */
    skip_received(a.s);
    skip_received(b.s);
    t = transport_find(rooms, a.send);
    fake_dataplane.states[handle_index(t->handle)].state.ice_state = ICE_STATE_connected;
    fake_dataplane.states[handle_index(t->handle)].state.dtls_state = DTLS_STATE_connected;
    rooms_dataplane_handlers.changed(&rooms, TABLE_transport_state, t->handle);
    rooms_dataplane_handlers.changed(&rooms, TABLE_transport_state, t->handle);
    rooms_dataplane_handlers.changed(&rooms, TABLE_transport_state, t->handle ^ (1ull << 32));
    value = received(a.s, "media:transportState");
    assert_string_equal(text_of(value, "iceState"), "connected");
    assert_string_equal(text_of(value, "dtlsState"), "connected");
    received_nothing(a.s);
    assert_int_equal(audits[AUDIT_transport_connected], 1);

    /* ICE checks stop and begin again: the owner is told, and the interruption is audited. */
    fake_dataplane.states[handle_index(t->handle)].state.ice_state = ICE_STATE_disconnected;
    rooms_dataplane_handlers.changed(&rooms, TABLE_transport_state, t->handle);
    assert_string_equal(text_of(received(a.s, "media:transportState"), "iceState"), "disconnected");
    assert_int_equal(audits[AUDIT_transport_failed], 1);
    fake_dataplane.states[handle_index(t->handle)].state.ice_state = ICE_STATE_completed;
    rooms_dataplane_handlers.changed(&rooms, TABLE_transport_state, t->handle);
    assert_string_equal(text_of(received(a.s, "media:transportState"), "iceState"), "completed");
    assert_non_null(transport_find(rooms, a.send));
    assert_int_equal(audits[AUDIT_transport_connected], 1);

    extra = make_transport(b.s, room, "send"); /* wrong certificate: the transport is closed */
    t = transport_find(rooms, extra);
    fake_dataplane.states[handle_index(t->handle)].state.dtls_state = DTLS_STATE_failed;
    fake_dataplane.states[handle_index(t->handle)].state.dtls_failure =
        DTLS_FAILURE_fingerprint_mismatch;
    rooms_dataplane_handlers.changed(&rooms, TABLE_transport_state, t->handle);
    assert_string_equal(text_of(received(b.s, "media:transportState"), "dtlsState"), "failed");
    assert_null(transport_find(rooms, extra));
    assert_int_equal(audits[AUDIT_transport_failed], 2);

    /* The data plane restarts with new regions: all rows are gone. */
    rooms_dataplane_handlers.up(&rooms, false);
    memset(fake_dataplane.rows, 0, sizeof(fake_dataplane.rows));
    memset(fake_dataplane.states, 0, sizeof(fake_dataplane.states));
    memset(fake_dataplane.next, 0, sizeof(fake_dataplane.next));
    skip_received(b.s);
    rooms_dataplane_handlers.up(&rooms, true);
    received(b.s, "media:producerClosed"); /* the audio, which nobody consumed */
    received(b.s, "producerClosed");
    received(b.s, "media:producerClosed");
    received(b.s, "producerClosed");
    received(b.s, "media:consumerClosed");
    skip_received(b.s);
    assert_string_equal(b.s->received[b.s->received_count - 1].name, "media:transportState");
    assert_null(transport_find(rooms, a.send));
    assert_int_equal(rooms_participant_count(rooms, room), 3);
    make_transport(a.s, room, "send");
    socket_lose(a.s);
    socket_lose(b.s);
    socket_lose(host);
}

/* One socket in two rooms: an object of one room cannot be reached through the other. */
static void one_socket_in_two_rooms(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room1 = make_room(host), *room2 = make_room(host), *send2;
    struct person a = enter(2, room1);
    const cJSON *ack;

    assert_ok(request(a.s, "room:join", "{'roomId':'%s'}", room2));
    send2 = make_transport(a.s, room2, "send");
    assert_code(produce(a.s, room1, send2, "audio"), "not_in_room");
    publish(&a, room1);
    assert_code(
        request(a.s, "media:closeProducer", "{'roomId':'%s','producerId':'%s'}", room2, a.audio),
        "not_in_room");
    assert_code(consume(a.s, room2, make_transport(a.s, room2, "recv"), a.audio),
                "producer_not_found");
    ack = produce(a.s, room2, send2, "audio"); /* the same mid and SSRC on another transport */
    assert_ok(ack);
    assert_ok(request(a.s, "room:leave", "{'roomId':'%s'}", room2));
    assert_non_null(producer_find(rooms, a.audio));
    for (int i = 1; i < ROOMS_PER_SOCKET_MAX; i++)
        assert_ok(request(a.s, "room:join", "{'roomId':'%s'}", make_room(host)));
    room2 = make_room(host);
    assert_code(request(a.s, "room:join", "{'roomId':'%s'}", room2), "limit_reached");
    assert_string_equal(meeting_of(room2)->status,
                        "waiting"); /* the refused join does not close it */
    assert_ok(request(host, "room:join", "{'roomId':'%s'}", room2));
    socket_lose(a.s);
    socket_lose(host);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sockets_are_authenticated),         T(rooms_are_created_and_joined),
        T(media_is_produced_and_consumed),    T(ice_restarts),
        T(the_host_mutes_kicks_and_closes),   T(an_absent_participant_comes_back_or_not),
        T(a_full_room_refuses_many_at_once),  T(joins_while_the_store_is_busy),
        T(events_are_rate_limited),           T(wrong_requests_get_an_error),
        T(the_data_plane_fails_and_restarts), T(one_socket_in_two_rooms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
