/* Everything that arrives: read from the sockets, sorted by kind, decrypted, checked and counted.
 * Every SRTP tag is verified and every payload is compared with what was sent.
 *
 * Threads: the media thread. */
#ifndef RINGCAST_LOAD_ARRIVALS_H
#define RINGCAST_LOAD_ARRIVALS_H

struct arrivals;
struct media;

struct arrivals *arrivals_new(void); /* NULL: no memory. Free with free(). */
/* Reads until all sockets are empty. Between two batches it lets senders send that are due. */
void arrivals_run(struct media *media);

#endif
