/* The version, from the Makefile. */
#include "version.h"

#ifndef RINGCAST_VERSION
#define RINGCAST_VERSION "0"
#endif

const char ringcast_version[] = RINGCAST_VERSION;
