/* Sandbox of the data plane's children, shut in two steps.
 *
 *   exec ─► sandbox_prepare ─► set-up: threads, rings, certificates … ─► sandbox_enter ─► work
 *
 * sandbox_prepare, first thing in a child, while it has one thread: no_new_privs, undumpable,
 * capabilities down to what set-up needs, and a first Landlock layer: nothing may be written,
 * executed or made, no TCP port bound or connected; only system folders may be read. What belongs to
 * a thread (capabilities, Landlock) is inherited by all threads that set-up makes.
 *
 * sandbox_enter drops to settings->run_as (when root), which ends the last capabilities in every
 * thread; takes all file access from the calling thread; and installs a seccomp allow-list in all
 * threads (SECCOMP_FILTER_FLAG_TSYNC): memory without execution, futex, clocks, reading and writing
 * descriptors it already has, exit. Not possible afterwards: open, execve, socket, connect, ptrace,
 * kill of others, clone. What is not possible fails with EPERM: a library that tries something new
 * must not end a call.
 * io_uring rings are restricted by themselves (io/uring/ring.c), since seccomp does not see ring
 * operations. Call it after every thread, ring and socket exists.
 *
 * Without settings->sandbox, and in builds with a sanitizer (which opens files and starts threads of
 * its own), both only drop user and capabilities, and say so in the log.
 * Errors: false with a sentence; the caller then ends. */
#ifndef RINGCAST_SANDBOX_H
#define RINGCAST_SANDBOX_H

#include "src/settings.h"

enum sandbox_role { SANDBOX_FORWARDER, SANDBOX_HANDSHAKER };
bool sandbox_prepare(enum sandbox_role role, const struct settings *settings, char *why /* 192 */);
bool sandbox_enter(enum sandbox_role role, const struct settings *settings, char *why /* 192 */);

#endif
