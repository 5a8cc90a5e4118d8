/* An allocator that fails when a test says so. It is linked into a ringcast-controlplane for tests, so
 * it stands in for the allocator of our code and of every library.
 *
 * Shape:   the file RINGCAST_ALLOCATIONS is mapped; the test writes `first` and `every` into it and
 *          reads the rest. Allocation number `first` fails, and then every `every`-th one (0: no
 *          other). first 0: none fails.
 * Memory:  what does not fail comes from AddressSanitizer's allocator. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__interceptor_malloc(size_t bytes);
void *__interceptor_calloc(size_t count, size_t bytes);
void *__interceptor_realloc(void *old, size_t bytes);
int __interceptor_posix_memalign(void **to, size_t alignment, size_t bytes);
void *__interceptor_aligned_alloc(size_t alignment, size_t bytes);

struct orders {
    _Atomic uint64_t first, every;  /* from the test */
    _Atomic uint64_t count, failed; /* since the test last wrote 0 here */
    _Atomic uint64_t who;           /* where the last failing allocation was asked for */
};

static struct orders nothing, *orders = &nothing;

__attribute__((constructor)) static void map_orders(void)
{
    const char *name = getenv("RINGCAST_ALLOCATIONS");
    int file = name == NULL ? -1 : open(name, O_RDWR | O_CLOEXEC);
    void *map;

    if (file < 0)
        return;
    map = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED)
        orders = map;
}

static bool fails(const void *who)
{
    uint64_t first = atomic_load(&orders->first), every, n;

    if (first == 0)
        return false;
    n = atomic_fetch_add(&orders->count, 1) + 1;
    every = atomic_load(&orders->every);
    if (n < first || (every == 0 ? n != first : (n - first) % every != 0))
        return false;
    atomic_fetch_add(&orders->failed, 1);
    atomic_store(&orders->who, (uint64_t)(uintptr_t)who);
    errno = ENOMEM;
    return true;
}

#define FAILS fails(__builtin_return_address(0))

void *malloc(size_t bytes)
{
    return FAILS ? NULL : __interceptor_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    return FAILS ? NULL : __interceptor_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    return FAILS ? NULL : __interceptor_realloc(old, bytes);
}

int posix_memalign(void **to, size_t alignment, size_t bytes)
{
    return FAILS ? ENOMEM : __interceptor_posix_memalign(to, alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return FAILS ? NULL : __interceptor_aligned_alloc(alignment, bytes);
}

/* AddressSanitizer has its own strdup and strndup, which do not call malloc. */
char *strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = FAILS ? NULL : __interceptor_malloc(bytes);

    return copy == NULL ? NULL : memcpy(copy, text, bytes);
}

char *strndup(const char *text, size_t most)
{
    size_t bytes = strnlen(text, most);
    char *copy = FAILS ? NULL : __interceptor_malloc(bytes + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}
