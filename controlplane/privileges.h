/* What the process may do: it starts as root or as the user of the service, and runs as the
 * latter. */
#ifndef RINGCAST_CONTROLPLANE_PRIVILEGES_H
#define RINGCAST_CONTROLPLANE_PRIVILEGES_H

#include <stdbool.h>

#include "src/settings.h"

/* Root becomes the user of the setting run_as, who gets the data directory. why (WHY_BYTES): what
 * is wrong and what to change. */
bool privileges_drop(const struct settings *settings, char *why);

#endif
