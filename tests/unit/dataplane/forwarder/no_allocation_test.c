/* A worker under traffic allocates no memory and takes no lock. This program replaces the allocator
 * and the pthread locks, for shared libraries too; they count calls while `armed`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>

#include "call.h"

#include "src/sanitizer.h"

static __thread bool armed;
static unsigned calls;
static const char *last_call;

static inline void count_call(const char *what)
{
    if (armed) {
        calls++;
        last_call = what;
    }
}

#if !BUILT_WITH_SANITIZER /* sanitizers bring their own allocator */
#define INTERPOSE_ALLOCATOR 1
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

void *malloc(size_t bytes)
{
    count_call("malloc");
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    count_call("calloc");
    return __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes)
{
    count_call("realloc");
    return __libc_realloc(old, bytes);
}

void free(void *memory)
{
    count_call("free");
    __libc_free(memory);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    static int (*real)(pthread_mutex_t *);

    count_call("pthread_mutex_lock");
    if (!real)
        real = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
    return real(mutex);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    static int (*real)(pthread_rwlock_t *);

    count_call("pthread_rwlock_rdlock");
    if (!real)
        real = (int (*)(pthread_rwlock_t *))dlsym(RTLD_NEXT, "pthread_rwlock_rdlock");
    return real(lock);
}
#endif

/* Turns until everything that the clients queued is received, forwarded and answered. */
static void turn_armed(struct rig *rig)
{
    rig->sent_count = 0;
    armed = true;
    do
        rig_now_ns += 1000;
    while (worker_turn(rig->worker) > 0);
    armed = false;
}

static void traffic_allocates_nothing_and_locks_nothing(void **state)
{
    static const enum srtp_profile profiles[] = {SRTP_PROFILE_aead_aes_128_gcm,
                                                 SRTP_PROFILE_aes128_cm_sha1_80,
                                                 SRTP_PROFILE_aead_aes_256_gcm};
    struct client clients[13] = {0};
    struct rig *rig = rig_open();
    uint8_t packet[1600];
    size_t forwarded = 0;

    for (uint32_t i = 0; i < 13; i++)
        rig_connect(rig, &clients[i], i, profiles[i % 3]);
    rig_video_producer(rig, 0, 0, false);
    for (uint32_t i = 1; i < 13; i++)
        rig_consumer(rig, i, i, 0, 1000 * i, false, 1);
    turn_armed(rig); /* table changes allocate nothing, either */
    for (uint16_t i = 0; i < 400; i++) {
        uint8_t rtcp[64], stun[256];
        struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
        struct client *c = &clients[1 + i % 12];

        client_send_rtp(rig, &clients[0], packet,
                        client_rtp(packet, 96, i, i * 3000u, VIDEO_SSRC, i % 30 == 0, 1000));
        rtcp_add_pli(&b, 99, 1000 * (1 + i % 12u));
        client_send_rtcp(rig, c, rtcp, b.bytes);
        io_replay_feed(rig->io, &c->path, stun, (uint32_t)client_stun(c, stun, true, c->password));
        io_replay_feed(rig->io, &c->path, packet, 100); /* not encrypted: refused */
        rig_now_ns += 10 * NS_PER_MS;
        rig_wall_ns += 10 * NS_PER_MS;
        turn_armed(rig);
        for (size_t s = 0; s < rig->sent_count; s++)
            forwarded += datagram_classify(rig->sent[s].data, rig->sent[s].bytes) == DATAGRAM_rtp;
        if (i == 200) {
            rig_free_row(rig, TABLE_consumer, 12, 1);
            rig_free_row(rig, TABLE_transport, 11, 1);
        }
    }
    assert_true(forwarded > 4000);
    if (calls)
        print_error("%u calls, the last one was %s\n", calls, last_call);
    assert_int_equal(calls, 0);
    for (uint32_t i = 0; i < 13; i++)
        client_close(&clients[i]);
    rig_close(rig);
}

static void calls_are_counted(void **state)
{
#ifdef INTERPOSE_ALLOCATOR
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    void *volatile memory;

    calls = 0;
    armed = true;
    memory = malloc(10);
    free(memory);
    pthread_mutex_lock(&mutex);
    armed = false;
    pthread_mutex_unlock(&mutex);
    assert_int_equal(calls, 3);
    calls = 0;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_counted),
        cmocka_unit_test(traffic_allocates_nothing_and_locks_nothing),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
