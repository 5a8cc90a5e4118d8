/* A Redis in memory, with the commands that the mirror uses: it takes bytes of commands and gives
 * replies. A test can end a connection after a number of commands, and make it refuse writes as a
 * full Redis does. */
#ifndef RINGCAST_FAKE_REDIS_H
#define RINGCAST_FAKE_REDIS_H

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FAKE_KEYS 512
#define FAKE_FIELDS 512

struct fake_key {
    char name[96];
    char type; /* 0: unused, h, s (set), t (text) */
    int ttl;   /* -1: none */
    int count;
    char *fields[FAKE_FIELDS],
        *values[FAKE_FIELDS]; /* a text is in values[0]; a set has no values */
};

static struct fake_redis {
    struct fake_key keys[FAKE_KEYS];
    char out[1 << 22]; /* replies */
    size_t out_bytes;
    redisReply *queued[256];
    int queued_count;
    bool in_multi, multi_failed, is_full;
    long commands; /* how many it has run */
} fake;

static struct fake_key *fake_find(const char *name)
{
    for (int i = 0; i < FAKE_KEYS; i++)
        if (fake.keys[i].type && !strcmp(fake.keys[i].name, name))
            return &fake.keys[i];
    return NULL;
}

static struct fake_key *fake_get(const char *name, char type)
{
    struct fake_key *key = fake_find(name);

    for (int i = 0; !key && i < FAKE_KEYS; i++) {
        if (fake.keys[i].type)
            continue;
        key = &fake.keys[i];
        memset(key, 0, sizeof(*key));
        snprintf(key->name, sizeof(key->name), "%s", name);
        key->type = type;
        key->ttl = -1;
    }
    assert_non_null(key);
    assert_int_equal(key->type, type);
    return key;
}

static int fake_at(const struct fake_key *key, const char *field)
{
    for (int i = 0; key && i < key->count; i++)
        if (!strcmp(key->fields[i], field))
            return i;
    return -1;
}

static void fake_drop_at(struct fake_key *key, int at)
{
    free(key->fields[at]);
    free(key->values[at]);
    key->count--;
    key->fields[at] = key->fields[key->count];
    key->values[at] = key->values[key->count];
    if (key->count == 0)
        key->type = 0;
}

static int fake_delete(const char *name)
{
    struct fake_key *key = fake_find(name);

    while (key && key->type)
        fake_drop_at(key, key->count - 1);
    return key != NULL;
}

static void fake_flush(void)
{
    for (int i = 0; i < FAKE_KEYS; i++)
        if (fake.keys[i].type)
            fake_delete(fake.keys[i].name);
}

static int fake_put(struct fake_key *key, const char *field, const char *value)
{
    int at = fake_at(key, field);

    if (at >= 0) {
        free(key->values[at]);
        key->values[at] = value ? strdup(value) : NULL;
        return 0;
    }
    assert_true(key->count < FAKE_FIELDS);
    key->fields[key->count] = strdup(field);
    key->values[key->count++] = value ? strdup(value) : NULL;
    return 1;
}

static const char *fake_value(const char *name, const char *field)
{
    struct fake_key *key = fake_find(name);
    int at = fake_at(key, field);

    return at >= 0 ? key->values[at] : NULL;
}

static void fake_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void fake_say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fake.out_bytes += (size_t)vsnprintf(fake.out + fake.out_bytes,
                                        sizeof(fake.out) - fake.out_bytes, format, arguments);
    va_end(arguments);
    assert_true(fake.out_bytes < sizeof(fake.out));
}

static void fake_bulk(const char *text)
{
    fake_say("$%zu\r\n%s\r\n", strlen(text), text);
}

static void fake_set(const char *name, const char *value, int ttl)
{
    struct fake_key *key = fake_get(name, 't');

    fake_put(key, "", value);
    key->ttl = ttl;
}

/* Does what the two scripts of writing.c do. */
static void fake_eval(char **words, int count)
{
    const char *owner, *value;
    struct fake_key *set;

    if (!strcmp(words[2], "1")) {
        value = fake_value(words[3], "");
        if (value && !strcmp(value, words[4]))
            fake_delete(words[3]);
        fake_say(":1\r\n");
        return;
    }
    assert_string_equal(words[2], "4");
    assert_int_equal(count, 9);
    owner = fake_value(words[3], "instance");
    if (!owner || !strcmp(owner, words[7])) {
        fake_delete(words[3]);
        fake_delete(words[4]);
        set = fake_find(words[5]);
        if (fake_at(set, words[8]) >= 0)
            fake_drop_at(set, fake_at(set, words[8]));
    }
    set = fake_find(words[6]);
    if (fake_at(set, words[8]) >= 0)
        fake_drop_at(set, fake_at(set, words[8]));
    fake_say(":1\r\n");
}

static void fake_list(const struct fake_key *key)
{
    int each = key && key->type == 'h' ? 2 : 1;

    fake_say("*%d\r\n", key ? key->count * each : 0);
    for (int i = 0; key && i < key->count; i++) {
        fake_bulk(key->fields[i]);
        if (each == 2)
            fake_bulk(key->values[i]);
    }
}

static bool fake_is_one_of(const char *word, const char *list)
{
    char padded[32];

    snprintf(padded, sizeof(padded), " %s ", word);
    return strstr(list, padded) != NULL;
}

static void fake_run(char **words, int count)
{
    struct fake_key *key;
    int n = 0;

    fake.commands++;
    if (!strcmp(words[0], "SADD") || !strcmp(words[0], "HSET")) {
        bool is_hash = words[0][0] == 'H';

        key = fake_get(words[1], is_hash ? 'h' : 's');
        for (int i = 2; i < count; i += is_hash ? 2 : 1)
            n += fake_put(key, words[i], is_hash ? words[i + 1] : NULL);
        fake_say(":%d\r\n", n);
    } else if (!strcmp(words[0], "HDEL")) {
        key = fake_find(words[1]);
        for (int i = 2; i < count; i++) {
            if (fake_at(key, words[i]) < 0)
                continue;
            fake_drop_at(key, fake_at(key, words[i]));
            n++;
        }
        fake_say(":%d\r\n", n);
    } else if (!strcmp(words[0], "DEL")) {
        for (int i = 1; i < count; i++)
            n += fake_delete(words[i]);
        fake_say(":%d\r\n", n);
    } else if (!strcmp(words[0], "EXPIRE")) {
        key = fake_find(words[1]);
        if (key)
            key->ttl = atoi(words[2]);
        fake_say(":%d\r\n", key != NULL);
    } else if (!strcmp(words[0], "HLEN")) {
        key = fake_find(words[1]);
        fake_say(":%d\r\n", key ? key->count : 0);
    } else if (!strcmp(words[0], "SET")) {
        assert_string_equal(words[3], "EX");
        fake_set(words[1], words[2], atoi(words[4]));
        fake_say("+OK\r\n");
    } else if (!strcmp(words[0], "EVAL")) {
        fake_eval(words, count);
    } else if (!strcmp(words[0], "SMEMBERS") || !strcmp(words[0], "HGETALL")) {
        fake_list(fake_find(words[1]));
    } else {
        fail_msg("unknown command %s", words[0]);
    }
}

static void fake_words(const redisReply *command, char **words)
{
    assert_int_equal(command->type, REDIS_REPLY_ARRAY);
    for (size_t i = 0; i < command->elements; i++)
        words[i] = command->element[i]->str;
}

static void fake_exec(void)
{
    char *words[512];

    fake.in_multi = false;
    if (fake.multi_failed)
        fake_say("-EXECABORT Transaction discarded because of previous errors.\r\n");
    else
        fake_say("*%d\r\n", fake.queued_count);
    for (int i = 0; i < fake.queued_count; i++) {
        fake_words(fake.queued[i], words);
        if (!fake.multi_failed)
            fake_run(words, (int)fake.queued[i]->elements);
        freeReplyObject(fake.queued[i]);
    }
    fake.queued_count = 0;
}

/* Runs or queues the command, and frees it in the end. */
static void fake_command(redisReply *command)
{
    char *words[512];

    fake_words(command, words);
    if (fake.is_full && fake_is_one_of(words[0], " SADD HSET SET ")) {
        fake_say("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
        fake.multi_failed = true;
    } else if (!strcmp(words[0], "MULTI")) {
        fake.in_multi = true;
        fake.multi_failed = false;
        fake_say("+OK\r\n");
    } else if (!strcmp(words[0], "EXEC")) {
        fake_exec();
    } else if (fake.in_multi) {
        fake.queued[fake.queued_count++] = command;
        fake_say("+QUEUED\r\n");
        return;
    } else {
        fake_run(words, (int)command->elements);
    }
    freeReplyObject(command);
}

/* Runs the first `most` of the commands in these bytes, as if the connection ended after them. The
 * replies are in fake.out. */
static void fake_take(const char *bytes, size_t count, int most)
{
    redisReader *reader = redisReaderCreate();
    void *command = NULL;

    redisReaderFeed(reader, bytes, count);
    while (redisReaderGetReply(reader, &command) == REDIS_OK && command) {
        if (most-- > 0)
            fake_command(command);
        else
            freeReplyObject(command);
    }
    redisReaderFree(reader);
}

static void fake_hang_up(void)
{
    while (fake.queued_count > 0)
        freeReplyObject(fake.queued[--fake.queued_count]);
    fake.in_multi = false;
    fake.out_bytes = 0;
}

#endif
