/* Preferred layers and priority; what owners are told about layers and scores, and how often. */
#include "rooms_steps.h"

static struct person sender, viewer;
static const char *room, *consumer_id;

/* A room in which `viewer` consumes the video of `sender`. file: what a browser sent. */
static int enter_call(const char *file)
{
    struct socket *host;
    const cJSON *ack;
    cJSON *json;

    setup(NULL);
    json = load(file);
    cJSON_Delete(video_parameters);
    video_parameters = cJSON_DetachItemFromObject(json, "produceRtpParameters");
    cJSON_Delete(json);
    cJSON_ReplaceItemInObject(video_parameters, "mid", cJSON_CreateString("7"));
    host = connect_user(user(1));
    room = make_room(host);
    socket_lose(host);
    sender = enter(1, room);
    viewer = enter(2, room);
    publish(&sender, room);
    ack = consume(viewer.s, room, viewer.recv, sender.video);
    assert_ok(ack);
    consumer_id = keep(text_of(ack, "id"));
    skip_received(sender.s);
    skip_received(viewer.s);
    return 0;
}

static int simulcast_call(void **state)
{
    return enter_call("produce-vp8-simulcast-video"); /* three encodings with L1T3 */
}
static int svc_call(void **state)
{
    return enter_call("produce-vp9-svc-video"); /* L3T3_KEY */
}
static int simple_call(void **state)
{
    return enter_call("produce-av-video");
}

static int leave_call(void **state)
{
    settings.reconnect_grace_s = 0;
    socket_lose(sender.s);
    socket_lose(viewer.s);
    return teardown(state);
}

static const struct consumer *the_consumer(void)
{
    return consumer_find(rooms, consumer_id);
}

/* The row in the table, and not what the control plane remembers. */
static const struct consumer_row *the_row(void)
{
    return &fake_row(TABLE_consumer, the_consumer()->handle)->consumer;
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItem(object, key);

    if (!cJSON_IsNumber(value))
        fail_msg("%s is no number", key);
    return value->valuedouble;
}

static void assert_json(const cJSON *value, const char *wanted)
{
    char *text = cJSON_PrintUnformatted(value);

    for (char *c = text; *c; c++)
        *c = *c == '"' ? '\'' : *c;
    assert_string_equal(text, wanted);
    free(text);
}

/* ---- preferred layers ---- */

/* As mediasoup's Consumer.setPreferredLayers: above the highest is the highest, and without a temporal
 * layer it is the highest. The row says 255, "the best", for the highest. */
static void layers_are_chosen(void **state)
{
    static const struct {
        const char *layers; /* members of the payload */
        int spatial, temporal, row_spatial, row_temporal;
    } rows[] = {
        {"'spatialLayer':0,'temporalLayer':0", 0, 0, 0, 0},
        {"'spatialLayer':1,'temporalLayer':2", 1, 2, 1, 255},
        {"'spatialLayer':1,'temporalLayer':1", 1, 1, 1, 1},
        {"'spatialLayer':2,'temporalLayer':0", 2, 0, 255, 0},
        {"'spatialLayer':0", 0, 2, 0, 255},
        {"'spatialLayer':0,'temporalLayer':null", 0, 2, 0, 255},
        {"'spatialLayer':3,'temporalLayer':3", 2, 2, 255, 255},
        {"'spatialLayer':256,'temporalLayer':257", 2, 2, 255, 255},
        {"'spatialLayer':65535,'temporalLayer':65535", 2, 2, 255, 255},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const cJSON *layers, *ack = request(viewer.s, "media:setPreferredLayers",
                                            "{'consumerId':'%s',%s}", consumer_id, rows[i].layers);

        assert_ok(ack);
        layers = cJSON_GetObjectItem(ack, "preferredLayers");
        if (number_of(layers, "spatialLayer") != rows[i].spatial ||
            number_of(layers, "temporalLayer") != rows[i].temporal ||
            the_row()->preferred_spatial_layer != rows[i].row_spatial ||
            the_row()->preferred_temporal_layer != rows[i].row_temporal)
            fail_msg("%s: %s, row %u %u", rows[i].layers, cJSON_PrintUnformatted(ack),
                     the_row()->preferred_spatial_layer, the_row()->preferred_temporal_layer);
    }
}

/* Without layers nothing can be chosen. mediasoup answers the same. */
static void a_simple_stream_has_no_layers(void **state)
{
    const cJSON *ack =
        request(viewer.s, "media:setPreferredLayers",
                "{'consumerId':'%s','spatialLayer':0,'temporalLayer':0}", consumer_id);

    assert_json(ack, "{'preferredLayers':null}");
    assert_int_equal(the_row()->preferred_spatial_layer, 255);
    assert_int_equal(the_row()->preferred_temporal_layer, 255);
}

static void wrong_payloads_change_nothing(void **state)
{
    static const struct {
        const char *event, *members;
    } rows[] = {
        {"media:setPreferredLayers", ""},
        {"media:setPreferredLayers", ",'temporalLayer':1"},
        {"media:setPreferredLayers", ",'spatialLayer':null"},
        {"media:setPreferredLayers", ",'spatialLayer':'1'"},
        {"media:setPreferredLayers", ",'spatialLayer':-1"},
        {"media:setPreferredLayers", ",'spatialLayer':1.5"},
        {"media:setPreferredLayers", ",'spatialLayer':true"},
        {"media:setPreferredLayers", ",'spatialLayer':[1]"},
        {"media:setPreferredLayers", ",'spatialLayer':65536"},
        {"media:setPreferredLayers", ",'spatialLayer':1e300"},
        {"media:setPreferredLayers", ",'spatialLayer':0,'temporalLayer':'0'"},
        {"media:setPreferredLayers", ",'spatialLayer':0,'temporalLayer':-1"},
        {"media:setPreferredLayers", ",'spatialLayer':0,'temporalLayer':0.1"},
        {"media:setPreferredLayers", ",'spatialLayer':0,'temporalLayer':{}"},
        {"media:setPriority", ""},
        {"media:setPriority", ",'priority':0"},
        {"media:setPriority", ",'priority':256"},
        {"media:setPriority", ",'priority':-1"},
        {"media:setPriority", ",'priority':1.5"},
        {"media:setPriority", ",'priority':'1'"},
        {"media:setPriority", ",'priority':null"},
    };
    struct consumer_row before;

    assert_ok(request(viewer.s, "media:setPreferredLayers",
                      "{'consumerId':'%s','spatialLayer':1,'temporalLayer':1}", consumer_id));
    assert_ok(
        request(viewer.s, "media:setPriority", "{'consumerId':'%s','priority':7}", consumer_id));
    before = *the_row();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const cJSON *ack =
            request(viewer.s, rows[i].event, "{'consumerId':'%s'%s}", consumer_id, rows[i].members);

        if (strcmp(text_of(ack, "code"), "invalid_payload") != 0)
            fail_msg("%s %s: %s", rows[i].event, rows[i].members, cJSON_PrintUnformatted(ack));
        assert_memory_equal(the_row(), &before, sizeof(before));
    }
}

static void the_priority_is_stored(void **state)
{
    static const int rows[] = {1, 2, 128, 255};

    assert_int_equal(the_row()->priority, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const cJSON *ack = request(viewer.s, "media:setPriority",
                                   "{'consumerId':'%s','priority':%d}", consumer_id, rows[i]);

        assert_true(number_of(ack, "priority") == rows[i]);
        assert_int_equal(the_row()->priority, rows[i]);
    }
    assert_int_equal(the_row()->preferred_spatial_layer, 255);
}

static void a_data_plane_that_refuses(void **state)
{
    const struct consumer_row before = the_consumer()->row;

    fake_dataplane.updates_fail = true;
    assert_code(request(viewer.s, "media:setPreferredLayers",
                        "{'consumerId':'%s','spatialLayer':0}", consumer_id),
                "unavailable");
    assert_code(
        request(viewer.s, "media:setPriority", "{'consumerId':'%s','priority':9}", consumer_id),
        "unavailable");
    assert_memory_equal(&the_consumer()->row, &before, sizeof(before));
    fake_dataplane.updates_fail = false;
}

/* Pause and resume keep the choice, and so does a new socket, which is told it. */
static void choices_survive(void **state)
{
    const cJSON *ack, *item;
    struct socket *again;

    assert_ok(request(viewer.s, "media:setPreferredLayers",
                      "{'consumerId':'%s','spatialLayer':1,'temporalLayer':0}", consumer_id));
    assert_ok(
        request(viewer.s, "media:setPriority", "{'consumerId':'%s','priority':9}", consumer_id));
    assert_ok(request(viewer.s, "media:resumeConsumer", "{'consumerId':'%s'}", consumer_id));
    assert_ok(request(viewer.s, "media:pauseConsumer", "{'consumerId':'%s'}", consumer_id));
    socket_lose(viewer.s);
    again = connect_user(viewer.id);
    ack = request(again, "room:join", "{'roomId':'%s','resume':true}", room);
    assert_ok(ack);
    item = cJSON_GetArrayItem(cJSON_GetObjectItem(ack, "consumers"), 0);
    assert_json(cJSON_GetObjectItem(item, "preferredLayers"),
                "{'spatialLayer':1,'temporalLayer':0}");
    assert_json(cJSON_GetObjectItem(item, "layers"), "null");
    assert_json(cJSON_GetObjectItem(item, "score"),
                "{'score':10,'producerScore':0,'producerScores':[0,0,0]}");
    assert_true(number_of(item, "priority") == 9);
    assert_int_equal(the_row()->preferred_spatial_layer, 1);
    assert_int_equal(the_row()->preferred_temporal_layer, 0);
    viewer.s = again;
}

/* ---- what owners are told ---- */

static struct consumer_state_row *consumer_state(void)
{
    const struct consumer *c = the_consumer();
    struct consumer_state_row *row =
        &fake_dataplane.consumer_states[handle_index(c->handle)].consumer_state;

    row->header.generation = handle_generation(c->handle);
    row->header.used = 1;
    return row;
}

static struct producer_state_row *producer_state(void)
{
    const struct producer *p = producer_find(rooms, sender.video);
    struct producer_state_row *row =
        &fake_dataplane.producer_states[handle_index(p->handle)].producer_state;

    row->header.generation = handle_generation(p->handle);
    row->header.used = 1;
    return row;
}

static void consumer_changed(void)
{
    rooms_dataplane_handlers.changed(&rooms, TABLE_consumer_state, the_consumer()->handle);
}

static void producer_changed(void)
{
    rooms_dataplane_handlers.changed(&rooms, TABLE_producer_state,
                                     producer_find(rooms, sender.video)->handle);
}

static void publish_layers(uint8_t spatial, uint8_t temporal)
{
    struct consumer_state_row *row = consumer_state();

    row->score = 10;
    row->spatial_layer = spatial;
    row->temporal_layer = temporal;
    consumer_changed();
}

/* As if the interval between two announcements had passed. */
static void time_passes(struct quality *q)
{
    q->layers_told_ms = q->scores_told_ms = 0;
}

static struct quality *viewers(void)
{
    return &consumer_find(rooms, consumer_id)->quality;
}

static void layer_changes_are_told(void **state)
{
    char wanted[160];

    publish_layers(LAYER_NONE, LAYER_NONE);
    received_nothing(viewer.s);
    publish_layers(1, 2);
    snprintf(wanted, sizeof(wanted),
             "{'consumerId':'%s','layers':{'spatialLayer':1,'temporalLayer':2}}", consumer_id);
    assert_json(received(viewer.s, "media:layersChanged"), wanted);
    time_passes(viewers());
    publish_layers(1, 2);
    received_nothing(viewer.s); /* nothing has changed */
    publish_layers(1, 0);
    assert_true(number_of(cJSON_GetObjectItem(received(viewer.s, "media:layersChanged"), "layers"),
                          "temporalLayer") == 0);
    time_passes(viewers());
    publish_layers(LAYER_NONE, LAYER_NONE);
    snprintf(wanted, sizeof(wanted), "{'consumerId':'%s','layers':null}", consumer_id);
    assert_json(received(viewer.s, "media:layersChanged"), wanted);
    received_nothing(viewer.s);
    received_nothing(sender.s); /* only the owner is told */
}

/* Layers that flap are told four times a second; the last state is always told. */
static void layers_that_flap_are_told_now_and_then(void **state)
{
    for (uint8_t i = 0; i < 100; i++)
        publish_layers(i % 3, 0);
    received(viewer.s, "media:layersChanged");
    received_nothing(viewer.s);
    publish_layers(2, 1);
    quality_tick(rooms);
    received_nothing(viewer.s); /* 250 ms have not passed */
    time_passes(viewers());
    quality_tick(rooms);
    assert_true(number_of(cJSON_GetObjectItem(received(viewer.s, "media:layersChanged"), "layers"),
                          "spatialLayer") == 2);
    received_nothing(viewer.s);
    assert_false(viewers()->is_due);
}

static void a_simple_stream_tells_no_layers(void **state)
{
    publish_layers(0, 0);
    time_passes(viewers());
    quality_tick(rooms);
    received_nothing(viewer.s);
}

static void publish_scores(uint8_t first, uint8_t second)
{
    struct producer_state_row *row = producer_state();

    row->encoding_packets[0] = row->encoding_packets[1] = 5;
    row->encoding_ssrc[0] = 11;
    row->encoding_ssrc[1] = 12;
    row->encoding_score[0] = first;
    row->encoding_score[1] = second;
    producer_changed();
}

/* The shapes are mediasoup's: Producer "score" and Consumer "score". */
static void scores_are_told(void **state)
{
    char wanted[240];

    publish_scores(10, 9);
    quality_tick(rooms);
    snprintf(wanted, sizeof(wanted),
             "{'producerId':'%s','score':[{'encodingIdx':0,'ssrc':11,'rid':'r0','score':10},"
             "{'encodingIdx':1,'ssrc':12,'rid':'r1','score':9}]}",
             sender.video);
    assert_json(received(sender.s, "media:score"), wanted);
    received_nothing(viewer.s); /* the data plane knows the consumer not yet */
    consumer_state()->encoding = 1;
    publish_layers(1, 2);
    received(viewer.s, "media:layersChanged");
    quality_tick(rooms);
    snprintf(wanted, sizeof(wanted),
             "{'consumerId':'%s','score':{'score':10,'producerScore':9,'producerScores':[10,9,0]}}",
             consumer_id);
    assert_json(received(viewer.s, "media:score"), wanted);
    consumer_state()->score = 4;
    consumer_changed();
    time_passes(viewers());
    quality_tick(rooms);
    snprintf(wanted, sizeof(wanted),
             "{'consumerId':'%s','score':{'score':4,'producerScore':9,'producerScores':[10,9,0]}}",
             consumer_id);
    assert_json(received(viewer.s, "media:score"), wanted);
    time_passes(viewers());
    consumer_changed();
    producer_changed();
    quality_tick(rooms);
    received_nothing(viewer.s); /* nothing has changed */
    received_nothing(sender.s);
}

/* Once a second about one object. A score that went back meanwhile is not told. */
static void scores_are_told_once_a_second(void **state)
{
    publish_layers(LAYER_NONE, LAYER_NONE);
    for (uint8_t i = 0; i < 40; i++) {
        publish_scores(i % 10, 1);
        quality_tick(rooms);
    }
    received(sender.s, "media:score");
    received_nothing(sender.s);
    received(viewer.s, "media:score");
    received_nothing(viewer.s);
    time_passes(viewers());
    quality_tick(rooms);
    assert_json(cJSON_GetObjectItem(received(viewer.s, "media:score"), "score"),
                "{'score':10,'producerScore':0,'producerScores':[9,1,0]}");
    publish_scores(3, 1);
    publish_scores(9, 1);
    time_passes(viewers());
    quality_tick(rooms);
    received_nothing(viewer.s);
    assert_false(viewers()->is_due);
}

/* One tick tells at most QUALITY_PER_TICK scores, and the rest in the next one. */
static void a_tick_is_bounded(void **state)
{
    enum { CONSUMERS = QUALITY_PER_TICK + 100 };
    int told = 0;

    for (int i = 0; i < CONSUMERS; i++)
        assert_ok(consume(viewer.s, room, viewer.recv, sender.video));
    for (uint32_t i = 0; i < FAKE_ROWS; i++) {
        const union fake_row *row = &fake_dataplane.rows[TABLE_consumer][i];
        union fake_row *said = &fake_dataplane.consumer_states[i];

        if (!row->header.used)
            continue;
        said->header = row->header;
        said->consumer_state.spatial_layer = LAYER_NONE;
        said->consumer_state.score = 5;
        rooms_dataplane_handlers.changed(&rooms, TABLE_consumer_state,
                                         handle_make(i, row->header.generation));
    }
    fake_socket_forget(viewer.s);
    for (int ticks = 0; ticks < 2; ticks++) {
        quality_tick(rooms);
        told += viewer.s->received_count;
        assert_int_equal(told, ticks == 0 ? QUALITY_PER_TICK : CONSUMERS + 1);
        fake_socket_forget(viewer.s);
    }
}

/* Rows of objects that are gone, or of others at the same index, are not acted on. */
static void what_is_gone_is_not_told(void **state)
{
    handle_word consumer = the_consumer()->handle;
    handle_word producer = producer_find(rooms, sender.video)->handle;

    publish_layers(1, 1);
    received(viewer.s, "media:layersChanged");
    publish_scores(7, 7); /* both wait for the tick */
    assert_true(viewers()->is_due);
    rooms_dataplane_handlers.changed(&rooms, TABLE_consumer_state, consumer ^ 1ull << 32);
    rooms_dataplane_handlers.changed(&rooms, TABLE_consumer_state, UINT32_MAX);
    rooms_dataplane_handlers.changed(&rooms, TABLE_producer_state, UINT32_MAX);
    assert_ok(request(sender.s, "media:closeProducer", "{'producerId':'%s'}", sender.video));
    skip_received(sender.s);
    skip_received(viewer.s);
    rooms_dataplane_handlers.changed(&rooms, TABLE_consumer_state, consumer);
    rooms_dataplane_handlers.changed(&rooms, TABLE_producer_state, producer);
    quality_tick(rooms);
    received_nothing(viewer.s);
    received_nothing(sender.s);
}

/* A forwarder that is new, or an event that was lost: everything is looked at. */
static void a_new_forwarder_is_asked(void **state)
{
    consumer_state()->score = 10;
    consumer_state()->spatial_layer = 2;
    consumer_state()->temporal_layer = 1;
    rooms_dataplane_handlers.up(&rooms, true);
    assert_true(number_of(cJSON_GetObjectItem(received(viewer.s, "media:layersChanged"), "layers"),
                          "spatialLayer") == 2);
}

/* Who is away is told nothing, and reads it in the answer when coming back. */
static void who_comes_back_reads_the_layers(void **state)
{
    const cJSON *ack, *item;
    struct socket *again;

    socket_lose(viewer.s);
    consumer_state()->encoding = 1;
    publish_scores(8, 7);
    publish_layers(1, 0);
    time_passes(viewers());
    quality_tick(rooms);
    again = connect_user(viewer.id);
    ack = request(again, "room:join", "{'roomId':'%s','resume':true}", room);
    item = cJSON_GetArrayItem(cJSON_GetObjectItem(ack, "consumers"), 0);
    assert_json(cJSON_GetObjectItem(item, "layers"), "{'spatialLayer':1,'temporalLayer':0}");
    assert_json(cJSON_GetObjectItem(item, "score"),
                "{'score':10,'producerScore':7,'producerScores':[8,7,0]}");
    viewer.s = again;
}

int main(void)
{
#define T(name, call)                                      \
    {                                                      \
#name " (" #call ")", name, call, leave_call, NULL \
    }
    const struct CMUnitTest tests[] = {
        T(layers_are_chosen, simulcast_call),
        T(layers_are_chosen, svc_call),
        T(a_simple_stream_has_no_layers, simple_call),
        T(wrong_payloads_change_nothing, simulcast_call),
        T(the_priority_is_stored, simple_call),
        T(a_data_plane_that_refuses, simulcast_call),
        T(choices_survive, simulcast_call),
        T(layer_changes_are_told, simulcast_call),
        T(layer_changes_are_told, svc_call),
        T(layers_that_flap_are_told_now_and_then, simulcast_call),
        T(a_simple_stream_tells_no_layers, simple_call),
        T(scores_are_told, simulcast_call),
        T(scores_are_told_once_a_second, simulcast_call),
        T(a_tick_is_bounded, simple_call),
        T(what_is_gone_is_not_told, simulcast_call),
        T(a_new_forwarder_is_asked, svc_call),
        T(who_comes_back_reads_the_layers, simulcast_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
