/* What the probe found: does the installation work, and the measured values as text or JSON.
 *
 * Threads: any, after all other threads have ended. */
#ifndef RINGCAST_PROBE_RESULT_H
#define RINGCAST_PROBE_RESULT_H

#include <stdbool.h>

struct probe;

/* True: every stream arrived and lost little enough. False: `why` has the reason
 *       (PROBE_WHY_BYTES). */
bool result_judge(const struct probe *probe, char *why);
/* Prints to standard output. `why` is used only if the installation does not work. */
void result_print(struct probe *probe, bool works, const char *why);

#endif
