/* Counts allocations that failed. */
#include "memory.h"

#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#include <stdlib.h>

static _Thread_local unsigned failures;

unsigned memory_failures(void)
{
    return failures;
}

void memory_failed(void)
{
    failures++;
}

void *memory_malloc(size_t bytes)
{
    void *memory = malloc(bytes);

    failures += memory == NULL;
    return memory;
}

void *memory_realloc(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes);

    failures += memory == NULL && bytes > 0;
    return memory;
}

static void *openssl_malloc(size_t bytes, const char *file, int line)
{
    return memory_malloc(bytes);
}

static void *openssl_realloc(void *old, size_t bytes, const char *file, int line)
{
    return memory_realloc(old, bytes);
}

static void openssl_free(void *memory, const char *file, int line)
{
    free(memory);
}

void memory_open(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){memory_malloc, free});
    CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);
}
