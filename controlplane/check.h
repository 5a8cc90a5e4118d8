/* ringcast-controlplane --check: everything that can be found out without starting. */
#ifndef RINGCAST_CONTROLPLANE_CHECK_H
#define RINGCAST_CONTROLPLANE_CHECK_H

#include "src/settings.h"

/* Prints what it finds, a sentence a line; the exit status. */
int check_settings(const struct settings *settings);

#endif
