/* Which web pages may use the server (allowed origins), and which client sends a request (trusted
 * proxies say that in X-Forwarded-For).
 *
 * Threads: the loop's. Source: the settings CORS_ORIGINS and TRUSTED_PROXIES; the Fetch
 * standard. */
#ifndef RINGCAST_WEB_POLICY_H
#define RINGCAST_WEB_POLICY_H

#include "address.h"
#include "http_parse.h"
#include "src/settings.h"

struct policy;

/* why (192): which entry of which setting is wrong. */
struct policy *policy_open(const struct settings *settings, char *why);
void policy_free(struct policy *policy);

/* The value for Access-Control-Allow-Origin: "" when the request has no Origin or comes from our
 * own page, NULL when the origin is not allowed. The answer may point to `copy`. */
const char *policy_origin(const struct policy *policy, const struct http_head *head,
                          const struct address *peer, char *copy, size_t room);
bool policy_is_proxy(const struct policy *policy, const struct address *address);
/* Writes the client's address: the peer's, or when the peer is a trusted proxy the right-most
 * address of X-Forwarded-For that is not a trusted proxy's. */
void policy_client_ip(const struct policy *policy, const struct address *peer,
                      const struct http_head *head, char ip[ADDRESS_TEXT_ROOM]);

#endif
