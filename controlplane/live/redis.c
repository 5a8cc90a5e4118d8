/* Finds a Redis server and stays connected to it. */
#include "redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/uuid.h"
#include "src/endpoints.h"
#include "src/log.h"
#include "redis_connection.h"

#define BACKOFF_MS_MIN 100
#define BACKOFF_MS_MAX 5000
#define HEARTBEAT_MS 2000
#define STEADY_MS 5000 /* after this time without a loss the back-off starts from its minimum */

enum redis_phase { WAITING, ASKING, SETUP, UP, CLOSED };
/* The commands that set up a connection; their replies come in the same order. */
enum setup_command { SETUP_AUTH, SETUP_SELECT, SETUP_NAME, SETUP_LIST, SETUP_ROLE, SETUP_KILL };
#define KILLS_MAX 8
#define SETUP_COMMANDS_MAX (5 + KILLS_MAX)

struct redis {
    uv_loop_t *loop;
    const struct settings *settings;
    const struct redis_handlers *handlers;
    void *context;
    SSL_CTX *tls;
    struct redis_connection *connection;
    uv_timer_t timer; /* back-off, or the heartbeat */
    enum redis_phase phase;
    enum setup_command setup[SETUP_COMMANDS_MAX];
    uint32_t setup_count, setup_next;
    char name[64]; /* of all our connections */
    char kills[KILLS_MAX][24];
    uint32_t kill_count;
    uint32_t attempts; /* since the server was up for STEADY_MS */
    uint64_t up_since_ms;
    const char *sentinels; /* those in the list that were not asked yet */
    bool asked_auth, heartbeat_out, role_forbidden, fence_forbidden;
    char host[ENDPOINT_HOST_ROOM];
    uint16_t port;
    char address[ENDPOINT_HOST_ROOM + 10];
    char problem[REDIS_PROBLEM_ROOM], logged_problem[REDIS_PROBLEM_ROOM];
    struct commands commands;
};

/* ---- losing the server, and finding it again ---- */

static void find_server(struct redis *redis);

static void find_server_due(uv_timer_t *timer)
{
    find_server(timer->data);
}

/* Half of the delay is random, so that many control planes that lost the same server do not all
 * come back at the same moment. */
static void retry_later(struct redis *redis)
{
    uint32_t doublings = redis->attempts < 6 ? redis->attempts : 6, chance;
    uint64_t delay = BACKOFF_MS_MIN << doublings;

    if (delay > BACKOFF_MS_MAX)
        delay = BACKOFF_MS_MAX;
    random_fill(&chance, sizeof(chance));
    delay = delay / 2 + chance % (delay / 2 + 1);
    redis->attempts++;
    redis->phase = WAITING;
    uv_timer_start(&redis->timer, find_server_due, delay, 0);
}

static void server_failed(struct redis *redis, const char *why)
{
    bool was_up = redis->phase == UP;

    redis_connection_close(redis->connection);
    redis->connection = NULL;
    redis->heartbeat_out = false;
    if (was_up && uv_now(redis->loop) - redis->up_since_ms >= STEADY_MS)
        redis->attempts = 0;
    snprintf(redis->problem, sizeof(redis->problem), "Redis at %.100s: %.190s", redis->address,
             why);
    if (was_up || strcmp(redis->problem, redis->logged_problem) != 0) {
        LOG(WARN, "live",
            was_up ? "connection to Redis lost; rooms keep running; will reconnect"
                   : "Redis is not usable; rooms keep running; will retry",
            F("why", "%s", redis->problem));
        snprintf(redis->logged_problem, sizeof(redis->logged_problem), "%s", redis->problem);
    }
    retry_later(redis);
}

void redis_leave(struct redis *redis, const char *why)
{
    if (redis->phase == UP)
        server_failed(redis, why);
}

static void connection_lost(void *context, const char *why)
{
    struct redis *redis = context;
    bool was_up = redis->phase == UP;

    redis->connection = NULL;
    server_failed(redis, why);
    if (was_up)
        redis->handlers->down(redis->context);
}

static void master_failed(struct redis *redis, const char *why)
{
    server_failed(redis, why);
    redis->handlers->down(redis->context);
}

/* ---- the server itself ---- */

static void send_now(struct redis *redis)
{
    if (redis->commands.failed)
        redis->commands.count = 0; /* no memory: the time limit ends the connection */
    redis_connection_send(redis->connection, redis->commands.bytes, redis->commands.count,
                          redis->commands.replies);
    commands_clear(&redis->commands);
}

static void add_auth(struct redis *redis, const char *username, const char *password)
{
    if (username[0] != '\0')
        commands_add(&redis->commands, "AUTH", username, password, NULL);
    else
        commands_add(&redis->commands, "AUTH", password, NULL);
}

static void setup_begin(void *context)
{
    struct redis *redis = context;
    const struct settings *settings = redis->settings;
    char number[12];

    redis->phase = SETUP;
    redis->setup_count = redis->setup_next = redis->kill_count = 0;
    redis->fence_forbidden = false;
    if (settings->redis_password[0] != '\0' || settings->redis_username[0] != '\0') {
        add_auth(redis, settings->redis_username, settings->redis_password);
        redis->setup[redis->setup_count++] = SETUP_AUTH;
    }
    if (settings->redis_db != 0) {
        snprintf(number, sizeof(number), "%u", settings->redis_db);
        commands_add(&redis->commands, "SELECT", number, NULL);
        redis->setup[redis->setup_count++] = SETUP_SELECT;
    }
    commands_add(&redis->commands, "CLIENT", "SETNAME", redis->name, NULL);
    redis->setup[redis->setup_count++] = SETUP_NAME;
    commands_add(&redis->commands, "CLIENT", "LIST", "TYPE", "normal", NULL);
    redis->setup[redis->setup_count++] = SETUP_LIST;
    commands_add(&redis->commands, "ROLE", NULL);
    redis->setup[redis->setup_count++] = SETUP_ROLE;
    send_now(redis);
}

static bool is_master(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
           reply->element[0]->type == REDIS_REPLY_STRING &&
           strcmp(reply->element[0]->str, "master") == 0;
}

/* An ACL may forbid ROLE, and a proxy may not know it. A replica is then recognised because it
 * refuses writes. */
static bool is_forbidden(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR &&
           (strncmp(reply->str, "NOPERM", 6) == 0 ||
            strncmp(reply->str, "ERR unknown command", 19) == 0);
}

static void heartbeat_due(uv_timer_t *timer)
{
    struct redis *redis = timer->data;

    if (redis->heartbeat_out || redis_connection_pending(redis->connection) > 0)
        return; /* commands are on their way, and have the same time limit as a heartbeat */
    commands_add(&redis->commands, redis->role_forbidden ? "PING" : "ROLE", NULL);
    redis->heartbeat_out = true;
    send_now(redis);
}

static void server_is_up(struct redis *redis)
{
    redis->phase = UP;
    redis->problem[0] = redis->logged_problem[0] = '\0';
    redis->up_since_ms = uv_now(redis->loop);
    LOG(INFO, "live", "connected to Redis", F("server", "%s", redis->address),
        F("attempts", "%u", redis->attempts + 1));
    uv_timer_start(&redis->timer, heartbeat_due, HEARTBEAT_MS, HEARTBEAT_MS);
    redis->handlers->up(redis->context);
}

/* A connection that we gave up, or one of an earlier run, may still hold commands that the server
 * has not run yet, because it was busy, stopped or cut off. If it ran them later, they would undo
 * what we write now. So the connections with our name are ended before the first write (CLIENT KILL
 * spares its own). */
static void old_connections_find(struct redis *redis, const redisReply *reply)
{
    char mark[sizeof(redis->name) + 8];
    const char *line;

    redis->fence_forbidden = reply->type != REDIS_REPLY_STRING;
    if (redis->fence_forbidden)
        return;
    snprintf(mark, sizeof(mark), " name=%s ", redis->name);
    for (line = reply->str; line != NULL && redis->kill_count < KILLS_MAX;) {
        const char *end = strchr(line, '\n'), *found = strstr(line, mark);
        size_t digits = strncmp(line, "id=", 3) == 0 ? strspn(line + 3, "0123456789") : 0;

        if (found != NULL && (end == NULL || found < end) && digits > 0 && digits < 20)
            snprintf(redis->kills[redis->kill_count++], sizeof(redis->kills[0]), "%.*s",
                     (int)digits, line + 3);
        line = end != NULL ? end + 1 : NULL;
    }
}

static void old_connections_kill(struct redis *redis)
{
    for (uint32_t i = 0; i < redis->kill_count; i++) {
        commands_add(&redis->commands, "CLIENT", "KILL", "ID", redis->kills[i], NULL);
        redis->setup[redis->setup_count++] = SETUP_KILL;
    }
    send_now(redis);
}

static void role_take(struct redis *redis, const redisReply *reply)
{
    redis->role_forbidden = is_forbidden(reply);
    if (!redis->role_forbidden && !is_master(reply))
        server_failed(redis, "it is a replica, not a master");
    else if (redis->kill_count > 0)
        old_connections_kill(redis);
    else
        server_is_up(redis);
}

static void setup_reply_take(struct redis *redis, const redisReply *reply)
{
    static const char *const steps[] = {"AUTH",        "SELECT", "CLIENT SETNAME",
                                        "CLIENT LIST", "ROLE",   "CLIENT KILL"};
    enum setup_command step = redis->setup[redis->setup_next++];
    char why[200];

    /* Without CLIENT it works as well: old servers and proxies may not know it. */
    if (reply->type == REDIS_REPLY_ERROR &&
        (step < SETUP_NAME || (step == SETUP_ROLE && !is_forbidden(reply)))) {
        snprintf(why, sizeof(why), "Redis answered %s with: %.150s", steps[step], reply->str);
        server_failed(redis, why);
    } else if (step == SETUP_LIST) {
        old_connections_find(redis, reply);
    } else if (step == SETUP_ROLE) {
        role_take(redis, reply);
    } else if (step == SETUP_KILL) {
        redis->fence_forbidden |= reply->type == REDIS_REPLY_ERROR;
        if (redis->setup_next == redis->setup_count)
            server_is_up(redis);
    }
}

static void reply_take(void *context, const redisReply *reply)
{
    struct redis *redis = context;

    if (redis->phase == SETUP) {
        setup_reply_take(redis, reply);
    } else if (redis->heartbeat_out) {
        redis->heartbeat_out = false;
        if (!redis->role_forbidden && reply->type != REDIS_REPLY_ERROR && !is_master(reply))
            master_failed(redis, "it has become a replica");
    } else {
        redis->handlers->reply(redis->context, reply);
    }
}

static const struct redis_connection_handlers server_handlers = {
    .open = setup_begin, .reply = reply_take, .closed = connection_lost};

static void connect_to(struct redis *redis, const char *host, uint16_t port,
                       const struct redis_connection_handlers *handlers)
{
    snprintf(redis->address, sizeof(redis->address), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
             port);
    redis->connection = redis_connection_open(redis->loop, host, port, redis->tls,
                                              redis->settings->redis_timeout_ms, handlers, redis);
    if (redis->connection == NULL)
        server_failed(redis, "out of memory");
}

/* ---- Sentinels ---- */

static void ask_next_sentinel(struct redis *redis, const char *why);

static void sentinel_ask(void *context)
{
    struct redis *redis = context;
    const struct settings *settings = redis->settings;

    redis->asked_auth = settings->redis_sentinel_password[0] != '\0';
    if (redis->asked_auth)
        add_auth(redis, "", settings->redis_sentinel_password);
    commands_add(&redis->commands, "SENTINEL", "get-master-addr-by-name",
                 settings->redis_sentinel_master, NULL);
    send_now(redis);
}

static void sentinel_reply_take(void *context, const redisReply *reply)
{
    struct redis *redis = context;
    char why[220], host[ENDPOINT_HOST_ROOM];
    unsigned long port;

    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(why, sizeof(why), "this Sentinel answers: %.150s", reply->str);
    } else if (redis->asked_auth) {
        redis->asked_auth = false;
        return;
    } else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
               reply->element[0]->type != REDIS_REPLY_STRING ||
               reply->element[1]->type != REDIS_REPLY_STRING) {
        snprintf(why, sizeof(why), "this Sentinel knows no master named %.100s",
                 redis->settings->redis_sentinel_master);
    } else {
        port = strtoul(reply->element[1]->str, NULL, 10);
        snprintf(host, sizeof(host), "%s", reply->element[0]->str);
        redis_connection_close(redis->connection);
        redis->connection = NULL;
        connect_to(redis, host, port > 0 && port < 65536 ? (uint16_t)port : 6379, &server_handlers);
        return;
    }
    ask_next_sentinel(redis, why);
}

static void sentinel_lost(void *context, const char *why)
{
    struct redis *redis = context;

    redis->connection = NULL;
    ask_next_sentinel(redis, why);
}

static const struct redis_connection_handlers sentinel_handlers = {
    .open = sentinel_ask, .reply = sentinel_reply_take, .closed = sentinel_lost};

static void ask_next_sentinel(struct redis *redis, const char *why)
{
    char host[ENDPOINT_HOST_ROOM];
    uint16_t port = 26379;

    redis_connection_close(redis->connection);
    redis->connection = NULL;
    if (!endpoint_next(&redis->sentinels, host, &port)) {
        server_failed(redis, why);
        return;
    }
    redis->phase = ASKING;
    connect_to(redis, host, port, &sentinel_handlers);
}

static void find_server(struct redis *redis)
{
    const struct settings *settings = redis->settings;

    uv_timer_stop(&redis->timer);
    redis->sentinels = settings->redis_sentinels;
    if (redis->sentinels[0] != '\0') {
        ask_next_sentinel(redis, "no Sentinel is named");
        return;
    }
    redis->phase = SETUP;
    connect_to(redis, settings->redis_host, (uint16_t)settings->redis_port, &server_handlers);
}

/* ---- open, send, close ---- */

struct redis *redis_open(uv_loop_t *loop, const struct settings *settings,
                         const struct redis_handlers *handlers, void *context, char *why)
{
    struct redis *redis = calloc(1, sizeof(*redis));

    if (redis == NULL) {
        snprintf(why, TLS_WHY_BYTES, "out of memory");
        return NULL;
    }
    redis->loop = loop;
    redis->settings = settings;
    redis->handlers = handlers;
    redis->context = context;
    if (settings->redis_tls) {
        redis->tls = tls_context_open(settings->redis_tls_ca, settings->redis_tls_cert,
                                      settings->redis_tls_key, why);
        if (redis->tls == NULL) {
            free(redis);
            return NULL;
        }
    }
    snprintf(redis->problem, sizeof(redis->problem), "not connected to Redis yet");
    redis->timer.data = redis;
    uv_timer_init(loop, &redis->timer);
    return redis;
}

void redis_start(struct redis *redis, const char *instance)
{
    snprintf(redis->name, sizeof(redis->name), "ringcast:%s", instance);
    find_server(redis);
}

static void timer_closed(uv_handle_t *handle)
{
    struct redis *redis = handle->data;

    SSL_CTX_free(redis->tls);
    commands_free(&redis->commands);
    free(redis);
}

void redis_close(struct redis *redis)
{
    redis->phase = CLOSED;
    redis_connection_close(redis->connection);
    redis->connection = NULL;
    uv_close((uv_handle_t *)&redis->timer, timer_closed);
}

void redis_send(struct redis *redis, const struct commands *commands)
{
    if (redis->phase == UP)
        redis_connection_send(redis->connection, commands->bytes, commands->count,
                              commands->replies);
}

bool redis_is_up(const struct redis *redis)
{
    return redis->phase == UP;
}

bool redis_is_fenced(const struct redis *redis)
{
    return !redis->fence_forbidden;
}

const char *redis_problem(const struct redis *redis)
{
    return redis->problem;
}

const char *redis_address(const struct redis *redis)
{
    return redis->address;
}
