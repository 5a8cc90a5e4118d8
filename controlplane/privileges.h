/* What the process may do: it may start as root or as the user of the service, and always runs as
 * that user. */
#ifndef RINGCAST_CONTROLPLANE_PRIVILEGES_H
#define RINGCAST_CONTROLPLANE_PRIVILEGES_H

#include <stdbool.h>

#include "src/settings.h"

/* If this process is root, it gives the data directory to the user of the setting run_as and
 * becomes that user. False: `why` (WHY_BYTES) says what is wrong and what to change. */
bool privileges_drop(const struct settings *settings, char *why);

#endif
