/* How the probe reports errors: a function returns false or NULL and writes one sentence into
 * `why`. */
#ifndef RINGCAST_PROBE_ERROR_H
#define RINGCAST_PROBE_ERROR_H

#define PROBE_WHY_BYTES 400

#endif
