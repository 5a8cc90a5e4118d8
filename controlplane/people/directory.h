/* The data directory: made when it is missing, private to its owner, checked to be writable. */
#ifndef RINGCAST_DIRECTORY_H
#define RINGCAST_DIRECTORY_H

#include "src/settings.h"

#define WHY_BYTES 192

/* A descriptor of the directory (the caller closes it), or -1 with a sentence in why. */
int data_directory_open(const struct settings *settings, char *why /* WHY_BYTES */);

#endif
