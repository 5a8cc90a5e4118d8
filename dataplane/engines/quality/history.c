/* The packets that one worker forwarded last. */
#include "history.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* The log begins behind the first unit, because place 0 means "no packet". */
#define FIRST_UNIT 1

bool history_open(struct history *h, size_t bytes)
{
    const int protection = PROT_READ | PROT_WRITE;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

    *h = (struct history){.claimed = FIRST_UNIT, .units = bytes / HISTORY_UNIT_BYTES};
    h->log = mmap(NULL, bytes, protection, flags, -1, 0);
    h->places = mmap(NULL, sizeof(*h->places) * HISTORY_STREAMS, protection, flags, -1, 0);
    h->streams = mmap(NULL, sizeof(*h->streams) * HISTORY_STREAMS, protection, flags, -1, 0);
    if ((void *)h->streams == MAP_FAILED)
        h->streams = NULL;
    if (h->log == MAP_FAILED)
        h->log = NULL;
    if ((void *)h->places == MAP_FAILED)
        h->places = NULL;
    if (!h->log || !h->places || !h->streams) {
        history_close(h);
        return false;
    }
    madvise(h->log, bytes, MADV_DONTDUMP);
    return true;
}

void history_close(struct history *h)
{
    if (h->log)
        munmap(h->log, h->units * HISTORY_UNIT_BYTES);
    if (h->places)
        munmap(h->places, sizeof(*h->places) * HISTORY_STREAMS);
    if (h->streams)
        munmap(h->streams, sizeof(*h->streams) * HISTORY_STREAMS);
    *h = (struct history){0};
}

static uint64_t units_of(size_t packet_bytes)
{
    return (sizeof(struct history_head) + packet_bytes + HISTORY_UNIT_BYTES - 1) /
           HISTORY_UNIT_BYTES;
}

static uint64_t *words_at(const struct history *h, uint64_t position)
{
    return h->log + position % h->units * (HISTORY_UNIT_BYTES / sizeof(uint64_t));
}

/* Writer and reader may meet in a packet. What the reader then has is thrown away, see history_read,
 * so it does not matter how they copy. ThreadSanitizer cannot know that, and does not understand
 * fences: for it both copy word by word, with release and acquire. */
#ifdef __SANITIZE_THREAD__
static void after_claim(void)
{
}

static void before_check(void)
{
}

static void bytes_write(uint64_t *to, const void *from, size_t bytes)
{
    const uint8_t *at = from;
    uint64_t word;

    for (size_t n; bytes > 0; bytes -= n, at += n) {
        n = bytes < sizeof(word) ? bytes : sizeof(word);
        word = 0;
        memcpy(&word, at, n);
        __atomic_store_n(to++, word, __ATOMIC_RELEASE);
    }
}

static void bytes_read(void *to, const uint64_t *from, size_t bytes)
{
    uint64_t *out = to;

    for (size_t i = 0; i < (bytes + 7) / 8; i++)
        out[i] = __atomic_load_n(from + i, __ATOMIC_ACQUIRE);
}
#else
static void after_claim(void)
{
    atomic_thread_fence(memory_order_release);
}

static void before_check(void)
{
    atomic_thread_fence(memory_order_acquire);
}

static void bytes_write(uint64_t *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

static void bytes_read(void *to, const uint64_t *from, size_t bytes)
{
    memcpy(to, from, bytes);
}
#endif

/* A packet lies in one piece: when the end of the log is too near, it begins at the start. */
static uint64_t claim(struct history *h, uint64_t units)
{
    uint64_t position = h->claimed, to_end = h->units - position % h->units;

    if (units > to_end)
        position += to_end;
    if ((uint32_t)position == 0) /* it would read as "no packet" */
        position += h->units;
    /* A reader that sees one of the words written later also sees the new value of `claimed`. */
    __atomic_store_n(&h->claimed, position + units, __ATOMIC_RELAXED);
    after_claim();
    return position;
}

static void note(struct history *h, const struct history_head *head)
{
    struct history_stream *s = &h->streams[head->stream];
    uint64_t number = head->index + 1;

    if (s->owner != head->owner || s->source != head->source) {
        s->owner = head->owner;
        s->source = head->source;
        __atomic_store_n(&s->key_frame, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&s->newest, 0, __ATOMIC_RELAXED);
    }
    if (number > s->newest)
        __atomic_store_n(&s->newest, number, __ATOMIC_RELAXED);
    if (head->is_key_frame && number > s->key_frame)
        __atomic_store_n(&s->key_frame, number, __ATOMIC_RELAXED);
}

bool history_last_key_frame(const struct history *h, uint32_t stream, uint64_t *key_frame,
                            uint64_t *newest)
{
    const struct history_stream *s = &h->streams[stream];

    *key_frame = __atomic_load_n(&s->key_frame, __ATOMIC_RELAXED) - 1;
    *newest = __atomic_load_n(&s->newest, __ATOMIC_RELAXED) - 1;
    return *key_frame != UINT64_MAX && *newest != UINT64_MAX && *newest >= *key_frame;
}

void history_add(struct history *h, const struct history_head *head, const uint8_t *data)
{
    uint64_t position = claim(h, units_of(head->bytes));
    uint64_t *words = words_at(h, position);

    bytes_write(words, head, sizeof(*head));
    bytes_write(words + sizeof(*head) / sizeof(*words), data, head->bytes);
    __atomic_store_n(&h->places[head->stream][head->index % HISTORY_PLACES], (uint32_t)position,
                     __ATOMIC_RELEASE);
    note(h, head);
}

bool history_read(const struct history *h, uint32_t stream, uint32_t owner, uint64_t index,
                  struct history_packet *packet)
{
    uint32_t place;
    uint64_t claimed, position;
    const uint64_t *words;

    if (stream >= HISTORY_STREAMS)
        return false;
    place = __atomic_load_n(&h->places[stream][index % HISTORY_PLACES], __ATOMIC_ACQUIRE);
    if (place == 0)
        return false;
    claimed = __atomic_load_n(&h->claimed, __ATOMIC_RELAXED);
    position = claimed - (uint32_t)((uint32_t)claimed - place);
    if (claimed - position > h->units)
        return false;
    words = words_at(h, position);
    bytes_read(&packet->head, words, sizeof(packet->head));
    /* A head that is being overwritten may say anything. */
    if (packet->head.index != index || packet->head.stream != stream ||
        packet->head.owner != owner || packet->head.bytes > sizeof(packet->data) ||
        packet->head.payload_at > packet->head.bytes ||
        position % h->units + units_of(packet->head.bytes) > h->units)
        return false;
    bytes_read(packet->data, words + sizeof(packet->head) / sizeof(*words), packet->head.bytes);
    before_check();
    return __atomic_load_n(&h->claimed, __ATOMIC_RELAXED) - position <= h->units;
}
