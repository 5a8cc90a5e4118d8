/* The data directory: made when it is not there, and locked so that nobody works in it twice.
 *
 * Errors: false or -1, with a sentence in `why` (DATA_DIRECTORY_WHY_BYTES). */
#ifndef RINGCAST_DATA_DIRECTORY_H
#define RINGCAST_DATA_DIRECTORY_H

#include <stdbool.h>

#define DATA_DIRECTORY_WHY_BYTES 320

/* mkdir -p. A last part that is made now has mode 0700, and when made by root it is given to the
 * user `run_as` ("": stays root's). What is there already is left as it is. */
bool data_directory_make(const char *path, const char *run_as, char *why);

/* Locks the file <path>/<name> until the returned descriptor is closed (by death as well); waits up
 * to wait_ms for a holder that is just ending. `what` names what the holder is, for the sentence. */
int data_directory_lock(const char *path, const char *name, const char *what, unsigned wait_ms,
                        char *why);

#endif
