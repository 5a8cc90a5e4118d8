/* The two kernel filters that sandbox.c puts on: files by Landlock, system calls by seccomp. */
#ifndef RINGCAST_SANDBOX_FILTER_H
#define RINGCAST_SANDBOX_FILTER_H

#include "sandbox.h"

#define SANDBOX_WHY_BYTES 192

/* Takes file access from the calling thread and those it makes from now on: everything, except
 * reading in the system folders when `reading_system` is true. Layers add up; none is ever taken
 * off. True also where the kernel has no Landlock: then *missing is set. */
bool sandbox_files(bool reading_system, bool *missing, char *why);

/* The allow-list of system calls, in all threads. */
bool sandbox_system_calls(enum sandbox_role role, char *why);

#endif
