/* The sandbox of the data plane's children. A child enters it in two steps.
 *
 *   exec ─► sandbox_prepare ─► set-up: threads, rings, certificates … ─► sandbox_enter ─► work
 *
 * sandbox_prepare runs first in a child, while the child has one thread. It sets no_new_privs,
 * makes the process undumpable, drops all capabilities that set-up does not need, and adds a first
 * Landlock layer: the process may not write, execute or create a file, may not bind or connect a
 * TCP port, and may read only system folders. Capabilities and Landlock belong to a thread; threads
 * that set-up starts inherit them.
 *
 * sandbox_enter makes a root process the user settings->run_as, which drops the last capabilities
 * of every thread. It takes all file access from the calling thread. Then it installs a list of
 * allowed system calls in all threads (SECCOMP_FILTER_FLAG_TSYNC): memory that cannot be executed,
 * futex, clocks, reading and writing descriptors that are open, exit. After that these are not
 * possible: open, execve, socket, connect, ptrace, clone, killing other processes. They fail with
 * EPERM and do not end the process: a library that tries something new must not end a call.
 * seccomp does not see what an io_uring ring does, so rings are restricted by themselves
 * (io/uring/ring.c). Call sandbox_enter when every thread, ring and socket exists.
 *
 * Without settings->sandbox, both only change the user and drop capabilities, and log that. The
 * same holds in builds with a sanitizer, which opens files and starts threads itself.
 * Errors: false with a sentence; the caller then ends the process. */
#ifndef RINGCAST_SANDBOX_H
#define RINGCAST_SANDBOX_H

#include "src/settings.h"

#define SANDBOX_WHY_BYTES 192

enum sandbox_role { SANDBOX_FORWARDER, SANDBOX_HANDSHAKER };
bool sandbox_prepare(enum sandbox_role role, const struct settings *settings,
                     char why[SANDBOX_WHY_BYTES]);
bool sandbox_enter(enum sandbox_role role, const struct settings *settings,
                   char why[SANDBOX_WHY_BYTES]);

#endif
