/* Random bytes, numbers and words from the kernel, good enough for keys and credentials.
 *
 * Threads: any. Errors: none; the process aborts when the kernel gives no random bytes. */
#ifndef RINGCAST_RANDOM_H
#define RINGCAST_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t bytes);
/* From min to max - 1, every value equally likely. max must be above min. */
uint32_t random_between(uint32_t min, uint32_t max);
/* Writes `length` characters of a–z and 0–9, then a NUL. */
void random_word(char *out, size_t length);

#endif
