/* Allowed origins, and the client behind trusted proxies. */
#define _GNU_SOURCE
#include "policy.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define ORIGINS_MAX 32
#define PROXIES_MAX 32
#define FORWARDED_HOPS_MAX 32

struct policy {
    bool any_origin;
    unsigned origin_count, proxy_count;
    char origins[ORIGINS_MAX][256];
    struct {
        struct address address;
        unsigned bits; /* how many bits of the IPv6 form must be equal */
    } proxies[PROXIES_MAX];
};

static bool add_proxy(struct policy *policy, struct slice entry)
{
    char text[64];
    struct slice host;
    uint64_t bits = 128;
    struct address *address;

    if (policy->proxy_count == PROXIES_MAX || entry.bytes >= sizeof(text))
        return false;
    slice_next(&entry, '/', &host);
    slice_copy(host, text, sizeof(text));
    address = &policy->proxies[policy->proxy_count].address;
    if (!address_parse(text, address))
        return false;
    if (entry.at != NULL) {
        bool is_v4 = strchr(text, ':') == NULL;

        if (!slice_number(entry, 3, &bits) || bits > (is_v4 ? 32 : 128))
            return false;
        bits += is_v4 ? 96 : 0;
    }
    policy->proxies[policy->proxy_count++].bits = (unsigned)bits;
    return true;
}

/* An origin, one with a star in the place of the first labels, or what pages without a host send:
 * "null", "file://". */
static bool is_origin(struct slice entry)
{
    const char *host = memmem(entry.at, entry.bytes, "://", 3);
    const char *star = memchr(entry.at, '*', entry.bytes);

    if (slice_is(entry, "null"))
        return true;
    if (host == NULL)
        return false;
    host += 3;
    /* One star, in the place of the first labels, with a domain behind it. */
    return star == NULL ||
           (star == host && entry.bytes - (size_t)(star - entry.at) > 4 && star[1] == '.' &&
            memchr(star + 2, '.', entry.bytes - (size_t)(star + 2 - entry.at)) != NULL &&
            memchr(star + 1, '*', entry.bytes - (size_t)(star + 1 - entry.at)) == NULL);
}

/* Does the origin fit an entry? A star stands for one label or more: letters, digits, - and dots. */
static bool origin_fits(struct slice origin, const char *entry)
{
    const char *star = strchr(entry, '*');
    size_t before, behind, labels;

    if (star == NULL)
        return slice_is_nocase(origin, entry);
    before = (size_t)(star - entry);
    behind = strlen(star + 1);
    if (origin.bytes <= before + behind || strncasecmp(origin.at, entry, before) != 0 ||
        strncasecmp(origin.at + origin.bytes - behind, star + 1, behind) != 0)
        return false;
    labels = origin.bytes - before - behind;
    for (size_t i = before; i < before + labels; i++)
        if (!isalnum((unsigned char)origin.at[i]) && origin.at[i] != '-' && origin.at[i] != '.')
            return false;
    return true;
}

static bool add_origin(struct policy *policy, struct slice entry)
{
    if (slice_is(entry, "*")) {
        policy->any_origin = true;
        return true;
    }
    if (entry.bytes > 0 && entry.at[entry.bytes - 1] == '/' && !slice_is(entry, "file://"))
        entry.bytes--;
    if (policy->origin_count == ORIGINS_MAX || entry.bytes >= sizeof(policy->origins[0]) ||
        !is_origin(entry))
        return false;
    slice_copy(entry, policy->origins[policy->origin_count++], sizeof(policy->origins[0]));
    return true;
}

struct policy *policy_open(const struct settings *settings, char *why)
{
    struct policy *policy = calloc(1, sizeof(*policy));
    struct slice list = slice_of(settings->cors_origins), entry;

    if (policy == NULL) {
        snprintf(why, 192, "out of memory");
        return NULL;
    }
    if (list.bytes == 0)
        policy->any_origin = !settings_in_production(settings);
    while (slice_next(&list, ',', &entry)) {
        entry = slice_trim(entry);
        if (entry.bytes > 0 && !add_origin(policy, entry)) {
            snprintf(why, 192, "CORS_ORIGINS: '%.*s' is not an origin like https://app.example.org",
                     (int)(entry.bytes < 80 ? entry.bytes : 80), entry.at);
            free(policy);
            return NULL;
        }
    }
    list = slice_of(settings->trusted_proxies);
    while (slice_next(&list, ',', &entry)) {
        entry = slice_trim(entry);
        if (entry.bytes > 0 && !add_proxy(policy, entry)) {
            snprintf(why, 192,
                     "TRUSTED_PROXIES: '%.*s' is not an address like 10.0.0.1 or 10.0.0.0/8",
                     (int)(entry.bytes < 60 ? entry.bytes : 60), entry.at);
            free(policy);
            return NULL;
        }
    }
    return policy;
}

void policy_free(struct policy *policy)
{
    free(policy);
}

bool policy_is_proxy(const struct policy *policy, const struct address *address)
{
    for (unsigned i = 0; i < policy->proxy_count; i++) {
        unsigned bytes = policy->proxies[i].bits / 8, bits = policy->proxies[i].bits % 8;
        const unsigned char *wanted = policy->proxies[i].address.bytes;

        if (memcmp(wanted, address->bytes, bytes) != 0)
            continue;
        if (bits == 0 || (wanted[bytes] ^ address->bytes[bytes]) >> (8 - bits) == 0)
            return true;
    }
    return false;
}

/* Our own page sends requests to the server that it came from: the host of its origin is the Host
 * of the request. */
static bool is_own_origin(const struct policy *policy, const struct http_head *head,
                          const struct address *peer, struct slice origin)
{
    const char *host = memmem(origin.at, origin.bytes, "://", 3);
    struct slice authority, asked = http_field(head, "host");

    if (host == NULL)
        return false;
    authority = (struct slice){host + 3, origin.bytes - (size_t)(host + 3 - origin.at)};
    if (policy_is_proxy(policy, peer) && http_field_count(head, "x-forwarded-host") == 1)
        asked = http_field(head, "x-forwarded-host");
    return asked.bytes > 0 && asked.bytes == authority.bytes &&
           strncasecmp(asked.at, authority.at, asked.bytes) == 0;
}

const char *policy_origin(const struct policy *policy, const struct http_head *head,
                          const struct address *peer, char *copy, size_t room)
{
    unsigned count = http_field_count(head, "origin");
    struct slice origin = http_field(head, "origin");

    if (count == 0)
        return "";
    if (count > 1)
        return NULL;
    if (policy->any_origin)
        return "*";
    for (unsigned i = 0; i < policy->origin_count; i++) {
        if (origin_fits(origin, policy->origins[i]) && origin.bytes < room) {
            slice_copy(origin, copy, room);
            return copy;
        }
    }
    return is_own_origin(policy, head, peer, origin) ? "" : NULL;
}

/* An entry is "203.0.113.7", "203.0.113.7:1234", "2001:db8::1" or "[2001:db8::1]:1234". */
static bool parse_forwarded(struct slice entry, struct address *address)
{
    char text[64];
    const char *end;

    entry = slice_trim(entry);
    if (entry.bytes > 0 && entry.at[0] == '[') {
        end = memchr(entry.at, ']', entry.bytes);
        if (end == NULL)
            return false;
        entry = (struct slice){entry.at + 1, (size_t)(end - entry.at) - 1};
    } else if (entry.bytes > 0) {
        end = memchr(entry.at, ':', entry.bytes);
        if (end != NULL && memchr(end + 1, ':', entry.bytes - (size_t)(end + 1 - entry.at)) == NULL)
            entry.bytes = (size_t)(end - entry.at);
    }
    if (entry.bytes == 0 || entry.bytes >= sizeof(text))
        return false;
    slice_copy(entry, text, sizeof(text));
    return address_parse(text, address);
}

void policy_client_ip(const struct policy *policy, const struct address *peer,
                      const struct http_head *head, char ip[ADDRESS_TEXT_ROOM])
{
    struct address client = *peer, next;
    unsigned hops = 0;

    /* Several X-Forwarded-For lines are one list in their order (RFC 9110 5.3). We read it from its
     * end, where the nearest proxy wrote. */
    for (unsigned i = head->field_count; i-- > 0;) {
        struct slice list = head->fields[i].value;

        if (!slice_is_nocase(head->fields[i].name, "x-forwarded-for"))
            continue;
        while (list.bytes > 0) {
            const char *comma = memrchr(list.at, ',', list.bytes);
            struct slice entry = list;

            if (comma != NULL) {
                entry.at = comma + 1;
                entry.bytes = list.bytes - (size_t)(entry.at - list.at);
                list.bytes = (size_t)(comma - list.at);
            } else {
                list.bytes = 0;
            }
            if (++hops > FORWARDED_HOPS_MAX || !policy_is_proxy(policy, &client) ||
                !parse_forwarded(entry, &next)) {
                address_print(&client, ip);
                return;
            }
            client = next;
        }
    }
    address_print(&client, ip);
}
