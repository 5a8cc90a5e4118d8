/* Scores: how well the streams of publishers arrive here, and our streams at subscribers.
 *
 *   publishers    an interval ends with each receiver report that we send
 *   subscribers   an interval ends with a report block of the client, at most twice a second
 *
 * A stream from which nothing comes for a while has the score 0 until packets come again; a publisher
 * switches an encoding off when its network is too slow for it. Each change of a score is published at
 * once, with an event.
 *
 * Threads: the worker's. Source: dataplane/engines/quality/score.h has the rule. */
#ifndef RINGCAST_SCORES_H
#define RINGCAST_SCORES_H

struct consumer_details;
struct consumers;
struct producers;
struct transport;

/* Looks which streams of this publisher have become silent, or have come back. */
void scores_watch(struct producers *ps, struct transport *t);
/* Ends an interval of all streams of this publisher. */
void scores_add_interval(struct producers *ps, struct transport *t);
/* The client has reported what it lost of a stream. */
void scores_add_report(struct consumers *cs, struct consumer_details *d);

#endif
