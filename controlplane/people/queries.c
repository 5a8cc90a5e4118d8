/* The functions that ask for something (persistence.h): each makes one query and sends it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "query.h"

void user_insert(struct persistence *store, const struct user_row *user, done_callback done,
                 void *context)
{
    struct query *query =
        query_make(store, QUERY_USER_INSERT, (union query_callback){.done = done}, context);

    if (!query)
        return;
    query->row.user = *user;
    query_send(store, query);
}

static void user_find(struct persistence *store, enum query_kind kind, const char *key,
                      user_callback done, void *context)
{
    struct query *query = query_make(store, kind, (union query_callback){.user = done}, context);

    if (!query)
        return;
    snprintf(query->key, sizeof(query->key), "%s", key);
    query_send(store, query);
}

void user_by_email(struct persistence *store, const char *email, user_callback done, void *context)
{
    user_find(store, QUERY_USER_BY_EMAIL, email, done, context);
}

void user_by_id(struct persistence *store, const char *id, user_callback done, void *context)
{
    user_find(store, QUERY_USER_BY_ID, id, done, context);
}

static void update_send(struct persistence *store, enum query_kind kind, const char *key,
                        const char *text, int64_t number, done_callback done, void *context)
{
    struct query *query = query_make(store, kind, (union query_callback){.done = done}, context);

    if (!query)
        return;
    snprintf(query->key, sizeof(query->key), "%s", key);
    snprintf(query->text, sizeof(query->text), "%s", text);
    query->number = number;
    query_send(store, query);
}

void user_set_password_hash(struct persistence *store, const char *id, const char *hash,
                            done_callback done, void *context)
{
    update_send(store, QUERY_USER_SET_HASH, id, hash, 0, done, context);
}

void meeting_insert(struct persistence *store, const struct meeting_row *meeting,
                    done_callback done, void *context)
{
    struct query *query =
        query_make(store, QUERY_MEETING_INSERT, (union query_callback){.done = done}, context);

    if (!query)
        return;
    query->row.meeting = *meeting;
    query_send(store, query);
}

/* What is no id and no code has the key "", which no meeting has. */
void meeting_find(struct persistence *store, const char *id_or_code, meeting_callback done,
                  void *context)
{
    struct query *query =
        query_make(store, QUERY_MEETING_FIND, (union query_callback){.meeting = done}, context);
    char name[UUID_TEXT_BYTES];

    if (!query)
        return;
    room_name_normalize(id_or_code, name);
    snprintf(query->key, sizeof(query->key), "%s", name);
    query_send(store, query);
}

void meeting_set_active(struct persistence *store, const char *id, int64_t started_ms,
                        done_callback done, void *context)
{
    update_send(store, QUERY_MEETING_SET_ACTIVE, id, "", started_ms, done, context);
}

void meeting_set_closed(struct persistence *store, const char *id, int64_t ended_ms,
                        done_callback done, void *context)
{
    update_send(store, QUERY_MEETING_SET_CLOSED, id, "", ended_ms, done, context);
}

void meeting_raise_peak(struct persistence *store, const char *id, uint32_t participants,
                        done_callback done, void *context)
{
    update_send(store, QUERY_MEETING_RAISE_PEAK, id, "", participants, done, context);
}

void meeting_next_active(struct persistence *store, const char *after_id, meeting_callback done,
                         void *context)
{
    struct query *query = query_make(store, QUERY_MEETING_NEXT_ACTIVE,
                                     (union query_callback){.meeting = done}, context);

    if (!query)
        return;
    snprintf(query->key, sizeof(query->key), "%s", after_id);
    query_send(store, query);
}

/* Copies the rows into one block, their metadata texts behind them. NULL: no memory. */
static struct audit_row *rows_copy(const struct audit_row *rows, size_t count)
{
    size_t texts_bytes = 0;
    struct audit_row *copy;
    char *text;

    for (size_t i = 0; i < count; i++)
        texts_bytes += rows[i].metadata ? strlen(rows[i].metadata) + 1 : 0;
    copy = malloc(count * sizeof(*rows) + texts_bytes + 1);
    if (!copy || !count)
        return copy;
    memcpy(copy, rows, count * sizeof(*rows));
    text = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        size_t bytes;

        if (!rows[i].metadata)
            continue;
        bytes = strlen(rows[i].metadata) + 1;
        memcpy(text, rows[i].metadata, bytes);
        copy[i].metadata = text;
        text += bytes;
    }
    return copy;
}

void audit_insert_batch(struct persistence *store, const struct audit_row *rows, size_t count,
                        done_callback done, void *context)
{
    struct query *query =
        query_make(store, QUERY_AUDIT_INSERT, (union query_callback){.done = done}, context);

    if (!query)
        return;
    query->row.audit.rows = rows_copy(rows, count);
    query->row.audit.count = count;
    if (query->row.audit.rows)
        query_send(store, query);
    else
        query_fail(store, query, "no memory");
}
