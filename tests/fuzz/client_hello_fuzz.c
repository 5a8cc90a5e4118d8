/* uses: dataplane */
/* Gives arbitrary datagrams to the part that puts a ClientHello together. What it makes is a
 * ClientHello that may begin a handshake, and no longer than it may be.
 *
 * Input: datagrams, each after its length in two bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct client_hello hello, alone;

    memset(&hello, 0, sizeof(hello));
    while (bytes >= 2) {
        size_t length = (size_t)data[0] << 8 | data[1], made;
        uint8_t *exact; /* ends where the datagram ends, so that a sanitizer notices overruns */

        data += 2, bytes -= 2;
        length = length < bytes ? length : bytes;
        exact = malloc(length ? length : 1);
        if (!exact)
            abort();
        memcpy(exact, data, length);
        client_hello_begins(exact, length);
        made = client_hello_add(&hello, exact, length);
        free(exact);
        data += length, bytes -= length;
        if (made == 0)
            continue;
        if (made > sizeof(hello.datagram) || !client_hello_begins(hello.datagram, made))
            abort();
        memset(&alone, 0, sizeof(alone));
        if (client_hello_add(&alone, hello.datagram, made) != made ||
            memcmp(alone.datagram, hello.datagram, made) != 0)
            abort();
    }
    return 0;
}
