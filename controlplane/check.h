/* ringcast-controlplane --check: finds wrong settings without starting. */
#ifndef RINGCAST_CONTROLPLANE_CHECK_H
#define RINGCAST_CONTROLPLANE_CHECK_H

#include "src/settings.h"

/* Prints one sentence for each problem and warning. Returns the exit status. */
int check_settings(const struct settings *settings);

#endif
