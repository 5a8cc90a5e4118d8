/* BUILT_WITH_SANITIZER is 1 if this build contains AddressSanitizer or ThreadSanitizer, else 0. It
 * works in #if. For the few places that cannot work under a sanitizer, and for time limits of
 * tests. */
#ifndef RINGCAST_SANITIZER_H
#define RINGCAST_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* gcc */
#define BUILT_WITH_SANITIZER 1
#elif defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BUILT_WITH_SANITIZER 1
#endif
#endif
#ifndef BUILT_WITH_SANITIZER
#define BUILT_WITH_SANITIZER 0
#endif

/* Factor for time limits: how much longer a process of this build may take before it counts as
 * hung. ThreadSanitizer checks every byte that a system call may write. A worker's first recvmmsg
 * into 256 buffers of 66 kB took 200 ms, and the supervisor killed the worker. */
#define SANITIZER_PATIENCE (BUILT_WITH_SANITIZER ? 4 : 1)

#endif
