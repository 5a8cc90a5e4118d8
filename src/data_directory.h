/* The data directory: creates it, and locks it so that two installations do not use the same one.
 *
 * Threads: at start only. Errors: false or -1, with a sentence in `why`
 *          (DATA_DIRECTORY_WHY_BYTES). */
#ifndef RINGCAST_DATA_DIRECTORY_H
#define RINGCAST_DATA_DIRECTORY_H

#include <stdbool.h>

#define DATA_DIRECTORY_WHY_BYTES 320

/* Creates the directory and its parents if they are missing. A new directory has mode 0700; if root
 * creates it, it belongs to the user `run_as` ("": to root). An existing one is left unchanged. */
bool data_directory_make(const char *path, const char *run_as, char *why);

/* Locks the file <path>/<name> until the returned descriptor is closed or the process ends. Waits
 * up to wait_ms for another holder to end. `what` names the holder in the sentence, such as
 * "another ringcast-run". */
int data_directory_lock(const char *path, const char *name, const char *what, unsigned wait_ms,
                        char *why);

#endif
