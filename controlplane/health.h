/* GET /health, and the metrics of the process and of the audit log. */
#ifndef RINGCAST_CONTROLPLANE_HEALTH_H
#define RINGCAST_CONTROLPLANE_HEALTH_H

#include "control.h"

void health_open(struct control *control);

#endif
