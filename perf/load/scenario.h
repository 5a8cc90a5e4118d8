/* A run: what the signaling thread does from the first client to the last.
 *
 *   ramp      all clients connect
 *   settle    wait until every stream arrives, video from its first key frame on
 *   measure   the measurement runs for --seconds; with --churn clients leave and join again
 *   drain     wait for packets that are still on their way */
#ifndef RINGCAST_LOAD_SCENARIO_H
#define RINGCAST_LOAD_SCENARIO_H

#include "result.h"

struct media;
struct options;

/* Returns when the run is over or *interrupted is set. On an error result->failure has a sentence;
 * result->measured says whether there are results nevertheless. */
void scenario_run(const struct options *options, struct media *media, const char *fingerprint,
                  const volatile int *interrupted, struct result *result);

#endif
