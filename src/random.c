/* Random bytes, numbers and words from the kernel. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "random.h"

void random_bytes(void *out, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t got = getrandom((char *)out + done, bytes - done, 0);

        if (got < 0 && errno != EINTR)
            abort(); /* guessable credentials would be worse than no server */
        if (got > 0)
            done += (size_t)got;
    }
}

uint32_t random_between(uint32_t min, uint32_t max)
{
    uint32_t range = max - min, limit = UINT32_MAX - UINT32_MAX % range, value;

    do
        random_bytes(&value, sizeof(value));
    while (value >= limit);
    return min + value % range;
}

void random_word(char *out, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t pool[64];
    size_t used = sizeof(pool), i = 0;

    while (i < length) {
        if (used == sizeof(pool)) {
            random_bytes(pool, sizeof(pool));
            used = 0;
        }
        if (pool[used] < 252) /* 7 × 36: every letter is equally likely */
            out[i++] = letters[pool[used] % 36];
        used++;
    }
    out[length] = '\0';
}
