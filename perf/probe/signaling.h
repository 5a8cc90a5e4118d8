/* The probe's signaling: accounts over HTTP, and a Socket.IO session over long polling.
 *
 * Threads: each session has a polling thread, which calls `event`. Requests block the caller until
 *          the ack or the deadline.
 * Memory:  the caller frees returned texts and JSON.
 * Errors:  false or NULL, with one sentence in `why` (PROBE_WHY_BYTES). */
#ifndef RINGCAST_PROBE_SIGNALING_H
#define RINGCAST_PROBE_SIGNALING_H

#include <cjson/cJSON.h>
#include <stdbool.h>

struct signaling;

struct signaling_options {
    const char *url; /* http(s)://host[:port], no path */
    bool insecure;   /* accept any TLS certificate */
};

/* Registers an account, or logs in if display_name is NULL. Returns the access token. */
char *signaling_account(const struct signaling_options *options, const char *email,
                        const char *password, const char *display_name, char *why);

struct signaling *signaling_open(const struct signaling_options *options, const char *token,
                                 void (*event)(void *context, const char *name,
                                               const cJSON *payload),
                                 void *context, char *why);
/* False: the session has ended. */
bool signaling_is_alive(struct signaling *signaling, char *why);
void signaling_close(struct signaling *signaling);
/* Sends an event and waits for its ack, at most 10 s. It frees the payload. An ack with status
 * "error" returns NULL, and `why` has its code and message. */
cJSON *signaling_request(struct signaling *signaling, const char *event, cJSON *payload, char *why);

#endif
