/* What the process may do: it may start as root or as the user of the service, and always runs as
 * that user. */
#ifndef RINGCAST_CONTROLPLANE_PRIVILEGES_H
#define RINGCAST_CONTROLPLANE_PRIVILEGES_H

#include <stdbool.h>

#include "src/settings.h"

/* Root becomes the user of the setting run_as, who gets the data directory. why (WHY_BYTES): what
 * is wrong and what to change. */
bool privileges_drop(const struct settings *settings, char *why);

#endif
