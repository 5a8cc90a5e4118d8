/* HTTP through libcurl, Engine.IO 4 polling, Socket.IO 5. */
#include "signaling.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"

#define ACK_TIMEOUT_S 10
#define RECORD_SEPARATOR '\x1e'
#define REPLY_BYTES_MAX (4u << 20)

struct reply {
    char *text;
    size_t bytes;
    long status;
};

struct signaling {
    char url[512]; /* of the session, including its sid */
    bool insecure;
    char *token;
    void (*event)(void *context, const char *name, const cJSON *payload);
    void *context;
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stop, connected;
    char failure[PROBE_WHY_BYTES]; /* why the session ended */
    int next_ack, awaited_ack;
    cJSON *ack;
};

static size_t collect(char *data, size_t size, size_t n, void *context)
{
    struct reply *reply = context;
    char *grown;

    if (reply->bytes + size * n > REPLY_BYTES_MAX)
        return 0;
    grown = realloc(reply->text, reply->bytes + size * n + 1);
    if (!grown)
        return 0;
    reply->text = grown;
    memcpy(reply->text + reply->bytes, data, size * n);
    reply->bytes += size * n;
    reply->text[reply->bytes] = '\0';
    return size * n;
}

/* curl calls this regularly. A value other than 0 ends the poll: the session is being closed. */
static int should_stop(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct signaling *s = context;

    return s && __atomic_load_n(&s->stop, __ATOMIC_RELAXED);
}

/* POST, or GET if body is NULL. The caller frees the text of the reply. */
static bool http(const char *url, const char *body, const char *content_type, const char *token,
                 bool insecure, long timeout_s, const struct signaling *session,
                 struct reply *reply, char *why)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = NULL;
    char line[2048];
    CURLcode result;

    *reply = (struct reply){0};
    if (!curl) {
        snprintf(why, PROBE_WHY_BYTES, "libcurl does not start");
        return false;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, timeout_s);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 5L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, should_stop);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)session);
    if (insecure) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (body) {
        snprintf(line, sizeof(line), "Content-Type: %s", content_type);
        headers = curl_slist_append(headers, line);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    if (token) {
        snprintf(line, sizeof(line), "Authorization: Bearer %s", token);
        headers = curl_slist_append(headers, line);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    if (result != CURLE_OK) {
        snprintf(why, PROBE_WHY_BYTES, "%.200s: %.150s", url, curl_easy_strerror(result));
        free(reply->text);
        *reply = (struct reply){0};
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return result == CURLE_OK;
}

char *signaling_account(const struct signaling_options *options, const char *email,
                        const char *password, const char *display_name, char *why)
{
    cJSON *fields = cJSON_CreateObject(), *answer;
    const cJSON *field;
    char url[400], *body, *token = NULL;
    struct reply reply;

    cJSON_AddStringToObject(fields, "email", email);
    cJSON_AddStringToObject(fields, "password", password);
    if (display_name)
        cJSON_AddStringToObject(fields, "displayName", display_name);
    body = cJSON_PrintUnformatted(fields);
    cJSON_Delete(fields);
    snprintf(url, sizeof(url), "%s/auth/%s", options->url, display_name ? "register" : "login");
    if (!http(url, body, "application/json", NULL, options->insecure, 10, NULL, &reply, why)) {
        free(body);
        return NULL;
    }
    free(body);
    answer = cJSON_Parse(reply.text ? reply.text : "");
    field = cJSON_GetObjectItemCaseSensitive(answer, "accessToken");
    if (cJSON_IsString(field)) {
        token = strdup(field->valuestring);
    } else {
        field = cJSON_GetObjectItemCaseSensitive(answer, "message");
        snprintf(why, PROBE_WHY_BYTES, "%.180s answered %ld: %.180s", url, reply.status,
                 cJSON_IsString(field) ? field->valuestring : "no accessToken in the answer");
    }
    cJSON_Delete(answer);
    free(reply.text);
    return token;
}

static void fail(struct signaling *s, const char *why)
{
    pthread_mutex_lock(&s->mutex);
    if (!s->failure[0])
        snprintf(s->failure, sizeof(s->failure), "%s", why);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

/* A Socket.IO packet arrived; `text` is without the "4" of Engine.IO in front. */
static void take_packet(struct signaling *s, const char *text)
{
    if (text[0] == '0') { /* CONNECT */
        pthread_mutex_lock(&s->mutex);
        s->connected = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->mutex);
    } else if (text[0] == '2') { /* EVENT */
        cJSON *event = cJSON_Parse(strchr(text, '[') ? strchr(text, '[') : "");
        const cJSON *name = cJSON_GetArrayItem(event, 0);

        if (cJSON_IsString(name))
            s->event(s->context, name->valuestring, cJSON_GetArrayItem(event, 1));
        cJSON_Delete(event);
    } else if (text[0] == '3') { /* ACK */
        int id = atoi(text + 1);

        pthread_mutex_lock(&s->mutex);
        if (id == s->awaited_ack && !s->ack) {
            s->ack = cJSON_Parse(strchr(text, '[') ? strchr(text, '[') : "");
            pthread_cond_broadcast(&s->changed);
        }
        pthread_mutex_unlock(&s->mutex);
    } else if (text[0] == '4') { /* CONNECT_ERROR */
        fail(s, text + 1);
    } else if (text[0] == '1') {
        fail(s, "the server ended the session");
    }
}

static bool post(struct signaling *s, const char *text, char *why)
{
    struct reply reply;
    bool ok = http(s->url, text, "text/plain;charset=UTF-8", s->token, s->insecure, 10, NULL,
                   &reply, why);

    if (ok && reply.status != 200) {
        snprintf(why, PROBE_WHY_BYTES, "%.300s answered %ld to an event", s->url, reply.status);
        ok = false;
    }
    free(reply.text);
    return ok;
}

static void *poll_thread(void *argument)
{
    struct signaling *s = argument;
    char why[PROBE_WHY_BYTES];

    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        struct reply reply;
        char *rest, *text;

        if (!http(s->url, NULL, NULL, s->token, s->insecure, 60, s, &reply, why)) {
            fail(s, why);
            break;
        }
        if (reply.status != 200) {
            snprintf(why, sizeof(why), "the session has ended: the server answered %ld to a poll",
                     reply.status);
            fail(s, why);
            free(reply.text);
            break;
        }
        for (rest = reply.text; rest && *rest;) {
            char *end = strchr(rest, RECORD_SEPARATOR);

            text = rest;
            rest = end ? end + 1 : NULL;
            if (end)
                *end = '\0';
            if (text[0] == '4')
                take_packet(s, text + 1);
            else if (text[0] == '2')
                post(s, "3", why);
            else if (text[0] == '1')
                fail(s, "the server closed the session");
        }
        free(reply.text);
        if (s->failure[0])
            break;
    }
    return NULL;
}

static void deadline_in(struct timespec *t, int seconds)
{
    clock_gettime(CLOCK_REALTIME, t);
    t->tv_sec += seconds;
}

static bool handshake(struct signaling *s, const struct signaling_options *options, char *why)
{
    char url[400];
    struct reply reply;
    cJSON *open;
    const cJSON *sid;
    bool ok = false;

    snprintf(url, sizeof(url), "%s/socket.io/?EIO=4&transport=polling", options->url);
    if (!http(url, NULL, NULL, s->token, s->insecure, 10, NULL, &reply, why))
        return false;
    open = reply.text && reply.text[0] == '0' ? cJSON_Parse(reply.text + 1) : NULL;
    sid = cJSON_GetObjectItemCaseSensitive(open, "sid");
    if (cJSON_IsString(sid)) {
        snprintf(s->url, sizeof(s->url), "%s&sid=%s", url, sid->valuestring);
        ok = true;
    } else {
        snprintf(why, PROBE_WHY_BYTES,
                 "%.300s answered %ld instead of opening an Engine.IO session", url, reply.status);
    }
    cJSON_Delete(open);
    free(reply.text);
    return ok;
}

struct signaling *signaling_open(const struct signaling_options *options, const char *token,
                                 void (*event)(void *context, const char *name,
                                               const cJSON *payload),
                                 void *context, char *why)
{
    struct signaling *s = calloc(1, sizeof(*s));
    struct timespec deadline;
    char connect[2048];
    bool connected;

    if (!s)
        return NULL;
    s->insecure = options->insecure;
    s->token = strdup(token);
    s->event = event;
    s->context = context;
    s->awaited_ack = -1;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    snprintf(connect, sizeof(connect), "40{\"token\":\"%s\"}", token);
    if (!handshake(s, options, why) || !post(s, connect, why)) {
        signaling_close(s);
        return NULL;
    }
    s->thread_runs = pthread_create(&s->thread, NULL, poll_thread, s) == 0;
    deadline_in(&deadline, ACK_TIMEOUT_S);
    pthread_mutex_lock(&s->mutex);
    while (!s->connected && !s->failure[0] &&
           pthread_cond_timedwait(&s->changed, &s->mutex, &deadline) == 0)
        continue;
    connected = s->connected;
    if (!connected)
        snprintf(why, PROBE_WHY_BYTES, "Socket.IO did not connect: %.300s",
                 s->failure[0] ? s->failure : "no answer within 10 s");
    pthread_mutex_unlock(&s->mutex);
    if (connected)
        return s;
    signaling_close(s);
    return NULL;
}

bool signaling_is_alive(struct signaling *s, char *why)
{
    bool ok;

    pthread_mutex_lock(&s->mutex);
    ok = !s->failure[0];
    if (!ok)
        snprintf(why, PROBE_WHY_BYTES, "%s", s->failure);
    pthread_mutex_unlock(&s->mutex);
    return ok;
}

void signaling_close(struct signaling *s)
{
    char why[PROBE_WHY_BYTES];
    bool open;

    pthread_mutex_lock(&s->mutex);
    open = s->connected && !s->failure[0];
    pthread_mutex_unlock(&s->mutex);
    if (open)
        post(s,
             "41\x1e"
             "1",
             why); /* DISCONNECT, then Engine.IO close */
    __atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
    if (s->thread_runs)
        pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->changed);
    cJSON_Delete(s->ack);
    free(s->token);
    free(s);
}

cJSON *signaling_request(struct signaling *s, const char *event, cJSON *payload, char *why)
{
    cJSON *message = cJSON_CreateArray(), *answer = NULL;
    const cJSON *status;
    struct timespec deadline;
    char *text, *framed;
    int id = s->next_ack++;

    cJSON_AddItemToArray(message, cJSON_CreateString(event));
    cJSON_AddItemToArray(message, payload);
    text = cJSON_PrintUnformatted(message);
    cJSON_Delete(message);
    framed = malloc(strlen(text) + 32);
    sprintf(framed, "42%d%s", id, text);
    free(text);
    pthread_mutex_lock(&s->mutex);
    s->awaited_ack = id;
    pthread_mutex_unlock(&s->mutex);
    if (!post(s, framed, why)) {
        free(framed);
        return NULL;
    }
    free(framed);
    deadline_in(&deadline, ACK_TIMEOUT_S);
    pthread_mutex_lock(&s->mutex);
    while (!s->ack && !s->failure[0] &&
           pthread_cond_timedwait(&s->changed, &s->mutex, &deadline) == 0)
        continue;
    if (s->ack)
        answer = cJSON_DetachItemFromArray(s->ack, 0);
    else
        snprintf(why, PROBE_WHY_BYTES, "%.60s: %.300s", event,
                 s->failure[0] ? s->failure : "no ack within 10 s");
    cJSON_Delete(s->ack);
    s->ack = NULL;
    s->awaited_ack = -1;
    pthread_mutex_unlock(&s->mutex);
    status = cJSON_GetObjectItemCaseSensitive(answer, "status");
    if (cJSON_IsString(status) && strcmp(status->valuestring, "error") == 0) {
        const cJSON *code = cJSON_GetObjectItemCaseSensitive(answer, "code");
        const cJSON *text_of = cJSON_GetObjectItemCaseSensitive(answer, "message");

        snprintf(why, PROBE_WHY_BYTES, "%.60s was refused: %.200s (%.60s)", event,
                 cJSON_IsString(text_of) ? text_of->valuestring : "",
                 cJSON_IsString(code) ? code->valuestring : "?");
        cJSON_Delete(answer);
        return NULL;
    }
    return answer;
}
