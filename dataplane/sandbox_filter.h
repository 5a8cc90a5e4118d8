/* The two kernel filters of the sandbox: files by Landlock, system calls by seccomp. */
#ifndef RINGCAST_SANDBOX_FILTER_H
#define RINGCAST_SANDBOX_FILTER_H

#include "sandbox.h"

/* Takes all file access from the calling thread and from threads that it starts later. With
 * `reading_system` it may still read in the system folders. Every call adds a layer; no layer can
 * be removed. When the kernel has no Landlock, this returns true and sets *missing. */
bool sandbox_files(bool reading_system, bool *missing, char *why);

/* Installs the list of allowed system calls in all threads. */
bool sandbox_system_calls(enum sandbox_role role, char *why);

#endif
