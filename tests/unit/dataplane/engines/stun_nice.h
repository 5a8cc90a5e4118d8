/* The STUN functions of libnice, to compare with: as a client that checks our server, and as a
 * server that reads the same requests. */
#ifndef STUN_NICE_H
#define STUN_NICE_H

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <stun/stunagent.h>
#include <stun/usages/ice.h>

#include "dataplane/path.h"

static const uint16_t nice_known[] = {
    STUN_ATTRIBUTE_MAPPED_ADDRESS,
    STUN_ATTRIBUTE_USERNAME,
    STUN_ATTRIBUTE_MESSAGE_INTEGRITY,
    STUN_ATTRIBUTE_ERROR_CODE,
    STUN_ATTRIBUTE_UNKNOWN_ATTRIBUTES,
    STUN_ATTRIBUTE_REALM,
    STUN_ATTRIBUTE_NONCE,
    STUN_ATTRIBUTE_XOR_MAPPED_ADDRESS,
    STUN_ATTRIBUTE_PRIORITY,
    STUN_ATTRIBUTE_USE_CANDIDATE,
    STUN_ATTRIBUTE_FINGERPRINT,
    STUN_ATTRIBUTE_ICE_CONTROLLED,
    STUN_ATTRIBUTE_ICE_CONTROLLING,
    0x001c, /* MESSAGE-INTEGRITY-SHA256, for which libnice has no name */
    0};

static void nice_agent(StunAgent *agent)
{
    stun_agent_init(agent, nice_known, STUN_COMPATIBILITY_RFC5389,
                    STUN_AGENT_USAGE_SHORT_TERM_CREDENTIALS | STUN_AGENT_USAGE_USE_FINGERPRINT);
}

static bool nice_password(StunAgent *agent, StunMessage *message, uint8_t *username,
                          uint16_t username_len, uint8_t **password, size_t *password_len,
                          void *user_data)
{
    (void)agent, (void)message, (void)username, (void)username_len;
    *password = user_data;
    *password_len = strlen(user_data);
    return true;
}

/* As a server: true for an authentic request in which libnice knows every attribute that it must
 * know. */
static inline bool nice_accepts(const uint8_t *data, size_t bytes, const char *password)
{
    StunAgent agent;
    StunMessage message;

    nice_agent(&agent);
    return stun_agent_validate(&agent, &message, data, bytes, nice_password, (void *)password) ==
           STUN_VALIDATION_SUCCESS;
}

struct nice_check {
    StunAgent agent;
    StunMessage message;
    char password[64]; /* the agent has a pointer to it */
};

/* As a client: makes a connectivity check for our server. */
static size_t nice_check_make(struct nice_check *check, uint8_t *data, size_t room,
                              const char *ours, const char *theirs, const char *password,
                              bool use_candidate, bool controlling, uint32_t priority,
                              uint64_t tie_breaker)
{
    char username[128];

    snprintf(username, sizeof(username), "%s:%s", ours, theirs);
    snprintf(check->password, sizeof(check->password), "%s", password);
    nice_agent(&check->agent);
    return stun_usage_ice_conncheck_create(
        &check->agent, &check->message, data, room, (uint8_t *)username, strlen(username),
        (uint8_t *)check->password, strlen(check->password), use_candidate, controlling, priority,
        tie_breaker, NULL, STUN_USAGE_ICE_COMPATIBILITY_RFC5245);
}

/* How the client reads our response: 0 for success with the address of `path`, the code of an error
 * response, -1 when it does not accept the response. */
static int nice_check_result(struct nice_check *check, const uint8_t *data, size_t bytes,
                             const struct path *path)
{
    StunMessage message;
    struct sockaddr_storage address;
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&address;
    socklen_t address_bytes = sizeof(address);
    StunValidationStatus status =
        stun_agent_validate(&check->agent, &message, data, bytes, NULL, NULL);
    int code = -1;

    if (status != STUN_VALIDATION_SUCCESS)
        return -1;
    if (stun_message_get_class(&message) == STUN_ERROR)
        return stun_message_find_error(&message, &code) == STUN_MESSAGE_RETURN_SUCCESS ? code : -1;
    if (stun_usage_ice_conncheck_process(&message, &address, &address_bytes,
                                         STUN_USAGE_ICE_COMPATIBILITY_RFC5245) !=
        STUN_USAGE_ICE_RETURN_SUCCESS)
        return -1;
    if (path_is_ipv4(path))
        return address.ss_family == AF_INET && ntohs(ipv4->sin_port) == path->remote_port &&
                       memcmp(&ipv4->sin_addr, path->remote_ip + 12, 4) == 0
                   ? 0
                   : -1;
    return address.ss_family == AF_INET6 && ntohs(ipv6->sin6_port) == path->remote_port &&
                   memcmp(&ipv6->sin6_addr, path->remote_ip, 16) == 0
               ? 0
               : -1;
}

#endif
