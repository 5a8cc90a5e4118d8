/* HTTP requests with JSON bodies to one server.
 *
 * Threads: one, the signaling thread; requests block for at most 30 s. Memory: the caller frees
 *          returned JSON.
 * Errors:  false or NULL, with a sentence in `why` (TARGET_WHY_BYTES). */
#ifndef RINGCAST_LOAD_HTTP_H
#define RINGCAST_LOAD_HTTP_H

#include <cjson/cJSON.h>
#include <stdbool.h>

struct server_url {
    char text[300]; /* http://host:port */
    char host[200], port[16];
};
bool server_url_parse(struct server_url *url, const char *text, char *why);

struct http_client;
struct http_client *http_client_open(const struct server_url *url, char *why);
void http_client_close(struct http_client *client); /* NULL: does nothing */

/* POST of a JSON text, or GET if body is NULL. Returns the parsed answer, whatever *status is. */
cJSON *http_client_request(struct http_client *client, const char *path, const char *body,
                           long *status, char *why);

#endif
