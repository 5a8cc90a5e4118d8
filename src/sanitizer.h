/* Whether this build has AddressSanitizer or ThreadSanitizer in it: for the few places that cannot
 * work under one, and for tests whose bounds are those of a plain build. 1 or 0, also for #if. */
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

/* How much longer a working process may be silent before it counts as hung. ThreadSanitizer looks at
 * every byte that a system call may write: a worker's first recvmmsg into 256 buffers of 66 kB took it
 * 200 ms, and the supervisor killed it. */
#define SANITIZER_PATIENCE (BUILT_WITH_SANITIZER ? 4 : 1)

#endif
