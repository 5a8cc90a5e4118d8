/* What lives in memory while people meet; private to controlplane/rooms.
 *
 *   rooms ──► room ──► participant ──► transport ──► producer ◄──┐
 *     │                     ▲    └────► transport ──► consumer ──┘
 *     └─────► session ──────┘ (a connected socket; a participant without one is in its grace time)
 *
 * Each line is a list owned by its upper end; what is freed takes down what hangs below it.
 * Files: session.c (sockets, dispatch), events.c (the table), audit_rows.c (who is audited), request.c (acks,
 * errors), announce.c (events
 * to clients), membership.c (join … changeRole), room.c (life of a room), transport.c,
 * producer.c, consumer.c, request_stats.c, audio_levels.c (who speaks), live_state.c (live state); rooms.c opens,
 * closes and ticks. */
#ifndef RINGCAST_ROOMS_STATE_H
#define RINGCAST_ROOMS_STATE_H

#include <sys/queue.h>

#include "controlplane/live/live.h"
#include "errors.h"
#include "controlplane/ortc/ortc.h"
#include "rate_limit.h"
#include "rooms.h"
#include "speaker.h"
#include "src/index.h"

#define ROOMS_PER_SOCKET_MAX 8
#define PRODUCERS_PER_PARTICIPANT_MAX 32
#define CONSUMERS_PER_TRANSPORT_MAX 2048
#define APP_DATA_BYTES_MAX 4096
#define TICK_MS 250
/* Accounts are looked at again so often (C7: cut within 5 s of deactivation), up to 6000 sockets; with
 * more of them it takes longer, so that the store has time for calls. Those that came in one moment are
 * spread over half of that time more. */
#define REVERIFY_MS 3000
#define REVERIFY_PER_TICK_MAX 512

enum role { ROLE_PARTICIPANT, ROLE_CO_HOST, ROLE_HOST };

struct rooms {
    uv_loop_t *loop;
    const struct settings *settings;
    struct dataplane *dataplane;
    struct persistence *store;
    struct auth *auth;
    struct audit *audit;
    struct live *live;       /* NULL: nobody else gets to know */
    cJSON *capabilities;     /* the router's, the same for all rooms */
    char *capabilities_text; /* as every join sends them */

    struct index rooms_by_id, rooms_by_code, transports, producers, consumers;
    TAILQ_HEAD(, room) all;
    TAILQ_HEAD(, session) sessions; /* the one verified longest ago first */
    uint32_t session_count;
    TAILQ_HEAD(, participant) absent;
    TAILQ_HEAD(, room) heard;            /* with sound that tells its level */
    TAILQ_HEAD(, participant) touched;   /* what the live state says of them is old */
    struct transport **transport_of_row; /* by index of the desired row */

    uv_timer_t tick, audio_levels_tick;
    uint32_t references; /* the timers, and asynchronous steps under way: freed at 0 */
    bool closing, draining;
    bool stale, stale_asked; /* meetings of an earlier run are still to be closed */
    uint64_t requests, refused_tokens, errors[ROOM_ERROR_COUNT]; /* for /metrics */
};

struct session {
    struct rooms *rooms;
    struct socket *socket;
    char user_id[UUID_TEXT_BYTES];
    char display_name[401];
    char *token;
    int64_t expires_s; /* of the token, unix time */
    uint32_t keys;     /* with which it was verified */
    uint64_t verified_ms;
    bool verifying;
    struct rate_limit rate;
    uint64_t rate_audited_ms;
    LIST_HEAD(, participant) participants;
    uint32_t participant_count;
    TAILQ_ENTRY(session) link;
};

struct room {
    struct rooms *rooms;
    char id[UUID_TEXT_BYTES], code[ROOM_CODE_BYTES], host_id[UUID_TEXT_BYTES];
    struct index_node by_id, by_code;
    char *title;
    uint32_t participants_max;
    TAILQ_HEAD(, participant) participants; /* in the order they joined */
    uint32_t participant_count;
    int worker; /* -1: none yet */
    handle_word handle;
    int64_t created_ms;

    /* What the meeting's row should say, and says (saved one step after the other). */
    bool closed, active, closed_saved, active_saved, saving;
    uint32_t peak, peak_saved, peak_saving;
    int64_t active_ms, closed_ms;

    TAILQ_HEAD(, producer) heard; /* sound that is not paused and tells its level */
    struct producer *dominant;    /* whose owner speaks; NULL: nobody */
    uint64_t levels_ms;           /* loop time, when volumes were told */
    bool levels_told;             /* and whether anything was loud */
    bool is_heard;                /* in the list of such rooms */
    TAILQ_ENTRY(room) heard_link;
    TAILQ_ENTRY(room) link;
};

struct participant {
    struct room *room;
    struct session *session; /* NULL in the grace time */
    char user_id[UUID_TEXT_BYTES], socket_id[32], ip[46];
    char display_name[401];
    enum role role;
    int64_t joined_ms;
    bool is_muted, is_video_off, is_touched;
    bool wants_audio_levels; /* room:join {audioLevels:true} */
    uint64_t grace_until_ms; /* loop time */
    TAILQ_HEAD(, transport) transports;
    uint32_t transport_count, producer_count;
    TAILQ_ENTRY(participant) link, absent_link, touched_link;
    LIST_ENTRY(participant) session_link;
};

struct transport {
    char id[UUID_TEXT_BYTES];
    struct index_node by_id;
    struct participant *owner;
    struct transport_row row;
    handle_word handle;
    char cname[CNAME_ROOM];
    uint32_t next_mid, consumer_count;
    uint8_t ice_told, dtls_told;
    TAILQ_HEAD(, producer) producers;
    TAILQ_HEAD(, consumer) consumers;
    TAILQ_ENTRY(transport) link;
};

struct producer {
    char id[UUID_TEXT_BYTES];
    struct index_node by_id;
    struct transport *transport;
    struct ortc_producer ortc; /* ortc.row is what stands in the table */
    handle_word handle;
    cJSON *app_data;
    bool is_heard; /* the next four hold: it is in its room's list */
    struct speaker speaker;
    uint32_t next_slot; /* that the speaker is to hear */
    double power;       /* sum over frames since volumes were told */
    uint32_t frames;
    TAILQ_ENTRY(producer) heard_link;
    TAILQ_HEAD(, consumer) consumers;
    TAILQ_ENTRY(producer) link;
};

struct consumer {
    char id[UUID_TEXT_BYTES];
    struct index_node by_id;
    struct transport *transport;
    struct producer *producer;
    struct consumer_row row;
    handle_word handle;
    TAILQ_ENTRY(consumer) of_transport, of_producer;
};

/* ---- one call of a client ---- */

struct event;
struct request {
    struct rooms *rooms;
    struct socket *socket;
    struct session *session;
    const struct event *event;
    const char *name;     /* the event's, as it goes into errors */
    const cJSON *payload; /* an object; NULL in a deferred call */
    int64_t ack;
    /* filled in by the dispatcher as the event's row demands */
    struct room *room;
    struct participant *caller;
    struct transport *transport;
    struct producer *producer;
    struct consumer *consumer;
    void *data; /* a deferred call's own */
};

/* Each call ends with exactly one of these. */
void request_succeed(struct request *request, cJSON *value);
void request_fail(struct request *request, enum room_error error);
void request_fail_because(struct request *request, enum room_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A copy that outlives the handler; request_resume, first thing in the callback, says whether the socket
 * is still there; request_drop when it ended. */
struct request *request_defer(struct request *request);
bool request_resume(struct request *request);
void request_drop(struct request *request);

const char *payload_text(const cJSON *payload, const char *key); /* NULL: absent */
bool payload_flag(const cJSON *payload, const char *key);

extern const char *const room_error_codes[ROOM_ERROR_COUNT];

/* Audit rows that the call writes at most, once its row of the table of events is resolved (audit_rows.c). */
uint64_t request_audit_rows(const struct request *request);

/* ---- the events that clients may send (events.c) ---- */

enum rate_class { RATE_FREE, RATE_COUNTED };
/* Who may: each demands what the one before does not. MEMBER and up need roomId; OWNER_* the id. */
enum permission {
    MAY_ANYONE,
    MAY_MEMBER,
    MAY_MODERATE, /* host and co-host */
    MAY_HOST,
    MAY_OWN_TRANSPORT,
    MAY_OWN_PRODUCER,
    MAY_OWN_CONSUMER,
};

struct event {
    const char *name;
    enum permission may;
    enum rate_class rate;
    const char *shape; /* "roomId:text paused?:flag": see events.c */
    void (*handle)(struct request *request);
};

const struct event *event_find(const char *name);
const struct event *event_at(size_t i); /* NULL behind the last one */
bool shape_fits(const char *shape, const cJSON *payload, char *why);
#define SHAPE_WHY_BYTES 160

/* clang-format off */
#define HANDLERS(H)                                                                        \
    H(room_create) H(room_join) H(room_leave) H(room_close) H(room_kick) H(room_mute_all)  \
    H(room_change_role) H(media_get_router_capabilities) H(media_create_transport)         \
    H(media_connect_transport) H(media_close_transport) H(media_produce)                   \
    H(media_close_producer) H(media_pause_producer) H(media_resume_producer)               \
    H(media_consume) H(media_resume_consumer) H(media_pause_consumer) H(media_get_stats)   \
    H(media_restart_ice) H(unsupported)
/* clang-format on */
#define HANDLER(name) void handle_##name(struct request *request);
HANDLERS(HANDLER)
#undef HANDLER

/* ---- what clients are told (announce.c) ---- */

/* N(name, canonical, short name of the seed or NULL) */
/* clang-format off */
#define NOTICES(N)                                                            \
    N(user_joined, "room:userJoined", "userJoined")                           \
    N(user_left, "room:userLeft", "userLeft")                                 \
    N(room_closed, "room:closed", "roomClosed")                               \
    N(user_kicked, "room:userKicked", "userKicked")                           \
    N(all_muted, "room:allMuted", "allMuted")                                 \
    N(role_changed, "room:roleChanged", "roleChanged")                        \
    N(new_producer, "media:newProducer", "newProducer")                       \
    N(producer_closed, "media:producerClosed", "producerClosed")              \
    N(producer_paused, "media:producerPaused", NULL)                          \
    N(producer_resumed, "media:producerResumed", NULL)                        \
    N(consumer_closed, "media:consumerClosed", NULL)                          \
    N(consumer_paused, "media:consumerPaused", NULL)                          \
    N(consumer_resumed, "media:consumerResumed", NULL)                        \
    N(transport_state, "media:transportState", NULL)                          \
    N(active_speaker, "media:activeSpeaker", NULL)                            \
    N(audio_levels, "media:audioLevels", NULL)
/* clang-format on */
enum notice {
#define N(name, canonical, short_name) NOTICE_##name,
    NOTICES(N)
#undef N
        NOTICE_COUNT
};

/* Both take value. except may be NULL. Participants without a socket hear nothing. */
void announce(struct participant *to, enum notice notice, cJSON *value);
void announce_to_room(struct room *room, const struct participant *except, enum notice notice,
                      cJSON *value);
/* Those who asked for volumes only. */
void announce_to_listeners(struct room *room, enum notice notice, cJSON *value);
/* An object of texts: key, value, key, value, …, NULL. */
cJSON *json_texts(const char *key, ...) __attribute__((sentinel));
cJSON *participants_json(const struct room *room);
/* joinedAt, producerIds, isMuted, isVideoOff. */
void add_presence(cJSON *object, const struct participant *p);
const char *role_text(enum role role);

/* ---- rooms and who is in them (room.c, membership.c) ---- */

struct room *room_find(struct rooms *rooms, const char *id_or_code);
struct room *room_open(struct rooms *rooms, const struct meeting_row *meeting);
/* Takes everybody out and ends the meeting. announced: `room:closed` to all. */
void room_close(struct room *room, bool announced, const struct session *closed_by);
/* Of a room that nobody got into: the meeting stays as it is. */
void room_discard(struct room *room);
/* Gives the room a worker and a row when it has none; false while the data plane is down. */
bool room_assign_worker(struct room *room);
/* Brings the meeting's row to what it should say; frees a closed room when that is done. */
void room_save(struct room *room);

struct participant *participant_find(const struct room *room, const char *user_id);
enum departure { LEFT, KICKED, REPLACED, GONE, CUT };
/* Frees the participant and its media, tells the others, shuts the room after its last one. */
void participant_remove(struct participant *participant, enum departure how);
void participant_detach(struct participant *participant); /* from its socket; no grace by itself */

/* ---- what others see in the live state (live_state.c) ---- */

void live_state_put_room(const struct room *room);
void live_state_put_participant(struct participant *participant);
void live_state_remove_participant(struct participant *participant);

/* ---- media (transport.c, producer.c, consumer.c) ---- */

/* All media of somebody, users before what they use. announced: false when the room goes too. */
void media_close_all(struct participant *owner, bool announced);
void transport_close(struct transport *transport, bool announced);
void transport_changed(struct rooms *rooms, handle_word handle);
void transports_check_all(struct rooms *rooms); /* after the data plane came (back) */
struct transport *transport_find(struct rooms *rooms, const char *id);
struct producer *producer_find(struct rooms *rooms, const char *id);
struct consumer *consumer_find(struct rooms *rooms, const char *id);
void producer_close(struct producer *producer, bool announced);
bool producer_set_paused(struct producer *producer, bool paused);
void consumer_close(struct consumer *consumer, bool announced);
uint32_t worker_of(const struct transport *transport);
/* The row's 16 bytes of an id's text. */
void id_bytes(const char *text, uint8_t out[16]);

/* ---- who speaks, and how loud (audio_levels.c) ---- */

/* A producer came, was paused or goes on: listens to it, or no longer. */
void audio_levels_follow(struct producer *producer);
void audio_levels_forget(struct producer *producer);
void audio_levels_forget_room(struct room *room);
cJSON *active_speaker_json(const struct room *room);

/* ---- what a client is told about STUN and TURN (ice_servers.c) ---- */

cJSON *ice_servers(const struct rooms *rooms, const char *user_id);
/* False with a sentence when the settings do not go together. */
bool ice_servers_check(const struct settings *settings, char *why /* 192 */);

/* ---- sessions (session.c) ---- */

void session_disconnect(struct session *session);
void sessions_reverify(struct rooms *rooms);
void rooms_ref(struct rooms *rooms);
void rooms_unref(struct rooms *rooms);
int64_t wall_ms(void);

#endif
