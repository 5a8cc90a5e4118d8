/* The probe's signaling: HTTP accounts and a Socket.IO session over long polling, with libcurl.
 *
 * Threads: one session = one polling thread of its own; requests block the caller until the ack or
 *          the deadline. Events are handed to `event` on the polling thread.
 * Memory: every returned cJSON is the caller's. Errors: NULL/false and a sentence in `why`. */
#ifndef RINGCAST_PROBE_SIGNALING_H
#define RINGCAST_PROBE_SIGNALING_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#define PROBE_WHY_BYTES 400

struct signaling;

struct signaling_options {
    const char *url; /* http(s)://host[:port], no path */
    bool insecure;   /* accept any certificate */
};

/* Registers (display_name set) or logs in; the access token, the caller's. */
char *signaling_account(const struct signaling_options *options, const char *email,
                        const char *password, const char *display_name, char *why);

struct signaling *signaling_open(const struct signaling_options *options, const char *token,
                                 void (*event)(void *context, const char *name,
                                               const cJSON *payload),
                                 void *context, char *why);
/* False when the session ended by itself. */
bool signaling_is_well(struct signaling *signaling, char *why);
void signaling_close(struct signaling *signaling);
/* Emits with an ack and waits for it, at most 10 s. payload becomes ours. An error ack is NULL with
 * its code and message in why. */
cJSON *signaling_request(struct signaling *signaling, const char *event, cJSON *payload, char *why);

#endif
