/* The price of one plain sendto call on this machine, right now. The tools report CPU times in
 * units of this price, so that results of different machines and days can be compared. */
#ifndef RINGCAST_SENDTO_COST_H
#define RINGCAST_SENDTO_COST_H

/* CPU time in nanoseconds of one sendto of `bytes` bytes to a loopback socket that nobody reads. It
 * is the median of short runs during at most 0.6 s, on processor `cpu` (-1: any). 0: it cannot be
 * measured.
 *
 * Measure while the load runs: a processor is slower while its neighbour is busy, for the server's
 * send calls and for these.
 * Threads: any; it measures on a thread of its own and blocks the caller until then. */
double sendto_cost_ns(int cpu, unsigned bytes);

#endif
