/* Commands for a Redis server, collected in one buffer. */
#include "commands.h"

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 32
#define KEPT_BYTES_MAX (256u << 10) /* commands_clear frees a larger buffer */

static bool reserve(struct commands *commands, size_t bytes)
{
    size_t room = commands->room ? commands->room : 4096;
    char *larger;

    while (room - commands->count < bytes)
        room *= 2;
    if (room == commands->room)
        return true;
    larger = realloc(commands->bytes, room);
    if (larger == NULL)
        return false;
    commands->bytes = larger;
    commands->room = room;
    return true;
}

void commands_add_words(struct commands *commands, int count, const char **words)
{
    char *formatted = NULL;
    int bytes = redisFormatCommandArgv(&formatted, count, words, NULL);

    if (bytes <= 0 || !reserve(commands, (size_t)bytes)) {
        commands->failed = true;
    } else {
        memcpy(commands->bytes + commands->count, formatted, (size_t)bytes);
        commands->count += (size_t)bytes;
        commands->replies++;
    }
    if (formatted != NULL)
        redisFreeCommand(formatted);
}

void commands_add(struct commands *commands, ...)
{
    const char *words[WORDS_MAX];
    va_list arguments;
    int count = 0;

    va_start(arguments, commands);
    while (count < WORDS_MAX && (words[count] = va_arg(arguments, const char *)) != NULL)
        count++;
    va_end(arguments);
    commands_add_words(commands, count, words);
}

void commands_clear(struct commands *commands)
{
    if (commands->room > KEPT_BYTES_MAX) {
        free(commands->bytes);
        commands->bytes = NULL;
        commands->room = 0;
    }
    commands->count = 0;
    commands->replies = 0;
    commands->failed = false;
}

void commands_free(struct commands *commands)
{
    free(commands->bytes);
    memset(commands, 0, sizeof(*commands));
}
