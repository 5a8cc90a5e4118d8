/* The data directory of the control plane: makes it when it is missing, opens it and locks it. */
#ifndef RINGCAST_DATA_DIRECTORY_OPEN_H
#define RINGCAST_DATA_DIRECTORY_OPEN_H

#include "src/settings.h"

#define WHY_BYTES 192

/* A descriptor of the directory; the caller closes it. -1: it is not usable, with a sentence in
 * why. */
int data_directory_open(const struct settings *settings, char *why /* WHY_BYTES */);
/* Locks the directory against a second control plane, until the returned descriptor is closed (also
 * by the death of this process). -1: another one has it, with a sentence in why. */
int data_directory_claim(const struct settings *settings, char *why /* WHY_BYTES */);

#endif
