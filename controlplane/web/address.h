/* The IP address of a client. IPv4 is kept in its IPv6 form, ::ffff:a.b.c.d. */
#ifndef RINGCAST_WEB_ADDRESS_H
#define RINGCAST_WEB_ADDRESS_H

#include <stdbool.h>

#define ADDRESS_TEXT_ROOM 46

struct address {
    unsigned char bytes[16];
};

/* text: "203.0.113.7" or "2001:db8::1". False when it is neither. */
bool address_parse(const char *text, struct address *address);
bool address_is_ipv4(const struct address *address);
void address_print(const struct address *address, char text[ADDRESS_TEXT_ROOM]);

#endif
