/* Allocations that failed, in our code and in libraries, so that an answer that is not complete is not sent,
 * and a refusal does not blame the client (threat H10).
 *
 * How to use it: remember memory_failures() before the work and compare it afterwards.
 * Threads: each counts its own failures. */
#ifndef RINGCAST_WEB_MEMORY_H
#define RINGCAST_WEB_MEMORY_H

#include <stddef.h>

/* From now on cJSON and OpenSSL allocate through this file. Before anything else uses them. */
void memory_open(void);
unsigned memory_failures(void);
void memory_failed(void); /* counts a failure that only the caller sees */

/* For other libraries: like malloc and realloc, but a failure is counted. */
void *memory_malloc(size_t bytes);
void *memory_realloc(void *old, size_t bytes);

#endif
