/* The data directory as people/ uses it: made when it is missing, writable, ours alone. */
#ifndef RINGCAST_DATA_DIRECTORY_OPEN_H
#define RINGCAST_DATA_DIRECTORY_OPEN_H

#include "src/settings.h"

#define WHY_BYTES 192

/* A descriptor of the directory (the caller closes it), or -1 with a sentence in why. */
int data_directory_open(const struct settings *settings, char *why /* WHY_BYTES */);
/* Keeps a second control plane out of it until the descriptor is closed, by our death as well. */
int data_directory_claim(const struct settings *settings, char *why /* WHY_BYTES */);

#endif
