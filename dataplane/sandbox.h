/* Sandbox of the data plane's children: what stays possible once set-up is done.
 *
 * sandbox_enter drops to settings->run_as (when root), clears all capabilities, sets no_new_privs,
 * makes the process undumpable, denies the file system by Landlock, and installs a seccomp
 * allow-list: memory, futex, clocks, reading and writing descriptors it already has, exit. Not
 * possible afterwards: open, execve, socket, connect, ptrace, kill of others, clone of processes.
 * io_uring rings are restricted by themselves (io_uring.c), since seccomp does not see ring
 * operations. Call it after every thread, ring and socket exists.
 *
 * Threads: called once, before or after threads were made: the filter is synchronised to all
 * (SECCOMP_FILTER_FLAG_TSYNC). Errors: false with a sentence; the caller then ends. */
#ifndef RINGCAST_SANDBOX_H
#define RINGCAST_SANDBOX_H

#include "src/settings.h"

enum sandbox_role { SANDBOX_FORWARDER, SANDBOX_HANDSHAKER };
bool sandbox_enter(enum sandbox_role role, const struct settings *settings, char *why /* 192 */);

#endif
