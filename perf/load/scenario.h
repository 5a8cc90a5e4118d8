/* A run, as the signaling thread leads it: ramp → settle → window → drain → report. */
#ifndef RINGCAST_LOAD_SCENARIO_H
#define RINGCAST_LOAD_SCENARIO_H

#include "result.h"

/* Runs until done or *interrupted. What went wrong stands in result->failure; result->measured says
 * whether there are figures all the same. */
void scenario_run(const struct options *options, struct media *media, const char *fingerprint,
                  const volatile int *interrupted, struct result *result);

#endif
