/* Random numbers and words from the system's CSPRNG. */
#ifndef RINGCAST_RANDOM_H
#define RINGCAST_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t bytes);
/* Uniform in [min, max). */
uint32_t random_between(uint32_t min, uint32_t max);
/* `length` characters out of a–z and 0–9, then NUL. */
void random_word(char *out, size_t length);

#endif
