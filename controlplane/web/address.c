/* IP addresses as text and as 16 bytes. */
#include "address.h"

#include <arpa/inet.h>
#include <string.h>

static const unsigned char ipv4_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool address_parse(const char *text, struct address *address)
{
    memset(address->bytes, 0, sizeof(address->bytes));
    if (inet_pton(AF_INET6, text, address->bytes) == 1)
        return true;
    memcpy(address->bytes, ipv4_prefix, sizeof(ipv4_prefix));
    return inet_pton(AF_INET, text, address->bytes + 12) == 1;
}

bool address_is_ipv4(const struct address *address)
{
    return memcmp(address->bytes, ipv4_prefix, sizeof(ipv4_prefix)) == 0;
}

void address_print(const struct address *address, char text[ADDRESS_TEXT_ROOM])
{
    if (address_is_ipv4(address))
        inet_ntop(AF_INET, address->bytes + 12, text, ADDRESS_TEXT_ROOM);
    else
        inet_ntop(AF_INET6, address->bytes, text, ADDRESS_TEXT_ROOM);
}
