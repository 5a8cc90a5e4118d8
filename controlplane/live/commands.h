/* Commands for a Redis server, collected in one buffer so that they are sent together.
 *
 * Memory: `bytes` grows as needed and is reused after commands_clear.
 * Errors: without memory `failed` is set until commands_clear, and nothing in the buffer may be
 *         sent.
 * Source: the Redis protocol (RESP 2), formatted by hiredis. */
#ifndef RINGCAST_LIVE_COMMANDS_H
#define RINGCAST_LIVE_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct commands {
    char *bytes;
    size_t count, room;
    uint32_t replies; /* how many replies these commands cause */
    bool failed;
};

/* The words of one command; the list ends with NULL: commands_add(c, "SADD", key, member, NULL). */
void commands_add(struct commands *commands, ...) __attribute__((sentinel));
void commands_add_words(struct commands *commands, int count, const char **words);
void commands_clear(struct commands *commands);
void commands_free(struct commands *commands);

#endif
