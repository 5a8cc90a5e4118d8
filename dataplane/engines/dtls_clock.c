/* The clock of OpenSSL's DTLS, which is gettimeofday in OpenSSL 3.0. The linker gives libssl the
 * function of this file in place of libc's. */
#include "dtls_clock.h"

#include <sys/time.h>

#include "src/clock.h"

/* Weak: a test has a clock of its own. */
__attribute__((weak)) int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    uint64_t now_us = clock_monotonic_ns() / NS_PER_US;

    (void)zone;
    now->tv_sec = (time_t)(now_us / 1000000);
    now->tv_usec = (suseconds_t)(now_us % 1000000);
    return 0;
}

uint64_t dtls_clock_left_ns(SSL *ssl)
{
    struct timeval left;

    if (!DTLSv1_get_timeout(ssl, &left))
        return UINT64_MAX;
    return (uint64_t)left.tv_sec * NS_PER_S + (uint64_t)left.tv_usec * NS_PER_US;
}
