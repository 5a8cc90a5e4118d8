/* Commands for a Redis server, gathered into one piece of bytes so that they leave together.
 *
 * Memory: `bytes` grows as needed and is reused after commands_clear. Errors: without memory `failed`
 * stays set until commands_clear, and nothing of the batch must be sent. Source: the Redis protocol
 * (RESP 2), formatted by hiredis. */
#ifndef RINGCAST_LIVE_COMMANDS_H
#define RINGCAST_LIVE_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct commands {
    char *bytes;
    size_t count, room;
    uint32_t replies; /* how many answers these commands bring */
    bool failed;
};

/* The words of one command; the list ends with NULL: commands_add(c, "SADD", key, member, NULL). */
void commands_add(struct commands *commands, ...) __attribute__((sentinel));
void commands_add_words(struct commands *commands, int count, const char **words);
void commands_clear(struct commands *commands);
void commands_free(struct commands *commands);

#endif
