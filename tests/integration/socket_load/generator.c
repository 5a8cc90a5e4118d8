/* Thousands of Socket.IO clients in one thread. They join and leave rooms at a fixed rate, also
 * when the server is slow: the time of an acknowledgement begins when its request was due.
 *
 * generator PORT TOKENS ROOMS RATE SECONDS CONNECTS_PER_SECOND
 *
 * TOKENS: a file with one access token in each line, for one socket each. ROOMS: a file with one
 * room id in each line; socket i joins room i modulo their number. RATE: joins in a second. Half
 * of the sockets are in a room at any time. Each phase ends with one line of JSON on stdout
 * ("connected", "joined", "gone"); the next phase begins with a line on stdin. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/clock.h"

#define PEERS_MAX 20000
#define READ_BYTES (1 << 20)
#define ACK_NS_MAX (60 * NS_PER_S)
#define CONNECT_NS_MAX (600 * NS_PER_S) /* only ends a run that hangs */

enum state { CLOSED, OPENING, UPGRADING, CONNECTING, CONNECTED };

struct peer {
    int fd;
    enum state state;
    bool waits; /* for an acknowledgement */
    uint64_t due_ns;
    char *rest; /* the beginning of a frame or head that is not complete */
    size_t rest_bytes;
};

static struct peer peers[PEERS_MAX];
static char *tokens[PEERS_MAX], *rooms[PEERS_MAX];
static unsigned peer_count, room_count, connected;
static int epoll_fd;
static struct sockaddr_in server = {.sin_family = AF_INET};
static char *read_buffer;
/* in us: until each acknowledgement; how late each request was sent */
static uint32_t *acks, *lateness;
static unsigned ack_count, late_count, samples_max;
static uint64_t errors, skipped, messages, bytes;

static void fail(const char *what)
{
    fprintf(stderr, "generator: %s: %s\n", what, strerror(errno));
    exit(1);
}

static unsigned read_lines(const char *path, char **lines)
{
    FILE *file = fopen(path, "r");
    unsigned count = 0;
    size_t room = 0;
    char *line = NULL;

    if (file == NULL)
        fail(path);
    while (count < PEERS_MAX && getline(&line, &room, file) > 1) {
        line[strcspn(line, "\n")] = '\0';
        lines[count++] = strdup(line);
    }
    free(line);
    fclose(file);
    return count;
}

/* ---- sending ---- */

static void send_bytes(struct peer *peer, const char *text, size_t count)
{
    if (write(peer->fd, text, count) != (ssize_t)count)
        fail("the kernel does not take a few hundred bytes");
}

/* A text frame with a mask of zero. */
static void send_frame(struct peer *peer, const char *text)
{
    size_t count = strlen(text), at = 0;
    char frame[2048] = {(char)0x81};

    if (count + 8 > sizeof(frame))
        fail("a message is too long");
    if (count < 126) {
        frame[1] = (char)(0x80 | count);
        at = 2;
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(count >> 8);
        frame[3] = (char)count;
        at = 4;
    }
    memcpy(frame + at + 4, text, count);
    send_bytes(peer, frame, at + 4 + count);
}

static void ask(struct peer *peer, const char *event, uint64_t due_ns)
{
    unsigned i = (unsigned)(peer - peers);
    char text[256];

    if (peer->waits || peer->state != CONNECTED) {
        skipped++; /* the test fails when there is one */
        return;
    }
    snprintf(text, sizeof(text), "421[\"%s\",{\"roomId\":\"%s\"}]", event, rooms[i % room_count]);
    peer->waits = true;
    peer->due_ns = due_ns;
    send_frame(peer, text);
    if (late_count < samples_max)
        lateness[late_count++] = (uint32_t)((clock_monotonic_ns() - due_ns) / NS_PER_US);
}

/* ---- receiving ---- */

static void take_ack(struct peer *peer, const char *text, size_t count)
{
    if (!peer->waits)
        return;
    peer->waits = false;
    if (ack_count < samples_max)
        acks[ack_count++] = (uint32_t)((clock_monotonic_ns() - peer->due_ns) / NS_PER_US);
    if (count > 20 && memmem(text, count < 60 ? count : 60, "\"status\":\"error\"", 16) != NULL) {
        if (errors++ < 5)
            fprintf(stderr, "generator: %.*s\n", (int)(count < 200 ? count : 200), text);
    }
}

static void take_message(struct peer *peer, const char *text, size_t count)
{
    messages++;
    if (count >= 1 && text[0] == '2') {
        send_frame(peer, "3");
    } else if (count >= 1 && text[0] == '0') {
        char connect[1500];

        snprintf(connect, sizeof(connect), "40{\"token\":\"%s\"}", tokens[peer - peers]);
        send_frame(peer, connect);
        peer->state = CONNECTING;
    } else if (count >= 2 && text[0] == '4' && text[1] == '3') {
        take_ack(peer, text, count);
    } else if (peer->state == CONNECTING && count > 18 &&
               memcmp(text, "42[\"authenticated\"", 18) == 0) {
        peer->state = CONNECTED;
        connected++;
    } else if (count >= 2 && text[0] == '4' && text[1] == '4') {
        fprintf(stderr, "generator: refused: %.*s\n", (int)(count < 200 ? count : 200), text);
        exit(1);
    }
}

/* The bytes of the first frame; 0: it is not complete. */
static size_t frame_bytes(const unsigned char *at, size_t count, size_t *head)
{
    size_t payload;

    if (count < 2)
        return 0;
    *head = 2;
    payload = at[1] & 127;
    if (payload == 126) {
        *head = 4;
        if (count < 4)
            return 0;
        payload = (size_t)at[2] << 8 | at[3];
    } else if (payload == 127) {
        *head = 10;
        if (count < 10)
            return 0;
        payload = 0;
        for (int i = 2; i < 10; i++)
            payload = payload << 8 | at[i];
    }
    return count < *head + payload ? 0 : *head + payload;
}

/* Returns how many bytes were used. */
static size_t take_bytes(struct peer *peer, const char *from, size_t count)
{
    size_t used = 0, head, whole;

    if (peer->state == UPGRADING) {
        const char *end = memmem(from, count, "\r\n\r\n", 4);

        if (end == NULL)
            return 0;
        if (memcmp(from, "HTTP/1.1 101", 12) != 0) {
            fprintf(stderr, "generator: %.*s\n", (int)(end - from), from);
            exit(1);
        }
        used = (size_t)(end - from) + 4;
        peer->state = CONNECTING;
    }
    while ((whole = frame_bytes((const unsigned char *)from + used, count - used, &head)) > 0) {
        if ((from[used] & 15) == 1)
            take_message(peer, from + used + head, whole - head);
        else
            fail("a frame that is not text");
        used += whole;
    }
    return used;
}

static void receive(struct peer *peer)
{
    size_t count = peer->rest_bytes, used;
    ssize_t got;

    if (count > 0)
        memcpy(read_buffer, peer->rest, count);
    got = read(peer->fd, read_buffer + count, READ_BYTES - count);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail("the server closed a socket");
    bytes += (uint64_t)got;
    count += (size_t)got;
    used = take_bytes(peer, read_buffer, count);
    free(peer->rest);
    peer->rest = NULL;
    peer->rest_bytes = count - used;
    if (peer->rest_bytes > 0) {
        peer->rest = malloc(peer->rest_bytes);
        memcpy(peer->rest, read_buffer + used, peer->rest_bytes);
    }
}

static void begin(struct peer *peer)
{
    static const char request[] =
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};

    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->fd < 0 || connect(peer->fd, (struct sockaddr *)&server, sizeof(server)) != 0)
        fail("connect");
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    fcntl(peer->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peer->fd, &event);
    peer->state = UPGRADING;
    send_bytes(peer, request, sizeof(request) - 1);
}

static void turn(int timeout_ms)
{
    struct epoll_event events[256];
    int count = epoll_wait(epoll_fd, events, 256, timeout_ms);

    for (int i = 0; i < count; i++)
        if (events[i].data.ptr != NULL)
            receive(events[i].data.ptr);
}

/* ---- phases ---- */

static double cpu_s(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void connect_all(double per_second)
{
    uint64_t start_ns = clock_monotonic_ns(), now_ns = start_ns;
    unsigned begun = 0;

    while (connected < peer_count) {
        double due = (double)(now_ns - start_ns) / NS_PER_S * per_second;

        while (begun < peer_count && begun <= due)
            begin(&peers[begun++]);
        turn(1);
        now_ns = clock_monotonic_ns();
        if (now_ns - start_ns > CONNECT_NS_MAX)
            fail("not all sockets were connected in time");
    }
    printf("{\"phase\":\"connected\",\"sockets\":%u,\"seconds\":%.2f}\n", connected,
           (double)(now_ns - start_ns) / NS_PER_S);
    fflush(stdout);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile_ms(uint32_t *values, unsigned count, double share)
{
    unsigned at = (unsigned)(share * count);

    return count == 0 ? 0 : values[at < count ? at : count - 1] / 1000.0;
}

static void wait_for_acks(void)
{
    uint64_t end_ns = clock_monotonic_ns() + ACK_NS_MAX;
    unsigned waiting = 1;

    while (waiting > 0 && clock_monotonic_ns() < end_ns) {
        turn(1);
        waiting = 0;
        for (unsigned i = 0; i < peer_count; i++)
            waiting += peers[i].waits;
    }
}

/* Join number n happens n / rate seconds after the start: socket n joins, and the socket that
 * joined peer_count / 2 joins earlier leaves. */
static void join_all(double rate, double seconds)
{
    uint64_t start_ns = clock_monotonic_ns(), now_ns = start_ns, n = 0,
             joins = (uint64_t)(rate * seconds), messages_before = messages, bytes_before = bytes;
    uint64_t members = peer_count / 2;
    double cpu_before = cpu_s(), elapsed_s;

    while (n < joins) {
        uint64_t due_ns = start_ns + (uint64_t)((double)n * NS_PER_S / rate);

        if (due_ns <= now_ns) {
            ask(&peers[n % peer_count], "room:join", due_ns);
            if (n >= members)
                ask(&peers[(n - members) % peer_count], "room:leave", due_ns);
            n++;
        }
        turn(due_ns > now_ns + NS_PER_MS ? 1 : 0);
        now_ns = clock_monotonic_ns();
    }
    elapsed_s = (double)(now_ns - start_ns) / NS_PER_S;
    cpu_before = cpu_s() - cpu_before;
    wait_for_acks();
    for (unsigned i = 0; i < peer_count; i++)
        errors += peers[i].waits;
    qsort(acks, ack_count, sizeof(*acks), compare);
    qsort(lateness, late_count, sizeof(*lateness), compare);
    printf("{\"phase\":\"joined\",\"joins\":%llu,\"seconds\":%.2f,\"acks\":%u,\"errors\":%llu,"
           "\"skipped\":%llu,\"ack_p50_ms\":%.3f,\"ack_p99_ms\":%.3f,\"ack_max_ms\":%.3f,"
           "\"late_p99_ms\":%.3f,\"cpu_share\":%.3f,\"messages\":%llu,\"megabytes\":%.1f}\n",
           (unsigned long long)joins, elapsed_s, ack_count, (unsigned long long)errors,
           (unsigned long long)skipped, percentile_ms(acks, ack_count, 0.5),
           percentile_ms(acks, ack_count, 0.99), percentile_ms(acks, ack_count, 1),
           percentile_ms(lateness, late_count, 0.99), cpu_before / elapsed_s,
           (unsigned long long)(messages - messages_before), (double)(bytes - bytes_before) / 1e6);
    fflush(stdout);
}

/* Answers pings until there is a line on stdin. */
static void wait_for_line(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    char word[64];

    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    while (read(STDIN_FILENO, word, sizeof(word)) < 0)
        turn(100);
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    double rate, seconds;

    if (argc != 7) {
        fprintf(stderr, "generator PORT TOKENS ROOMS RATE SECONDS CONNECTS_PER_SECOND\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer_count = read_lines(argv[2], tokens);
    room_count = read_lines(argv[3], rooms);
    rate = atof(argv[4]);
    seconds = atof(argv[5]);
    samples_max = (unsigned)(rate * seconds) * 2 + 16;
    acks = calloc(samples_max, sizeof(*acks));
    lateness = calloc(samples_max, sizeof(*lateness));
    read_buffer = malloc(READ_BYTES);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (peer_count == 0 || room_count == 0 || acks == NULL || lateness == NULL ||
        read_buffer == NULL || epoll_fd < 0)
        fail("cannot start");
    connect_all(atof(argv[6]));
    wait_for_line();
    join_all(rate, seconds);
    wait_for_line();
    for (unsigned i = 0; i < peer_count; i++)
        close(peers[i].fd);
    printf("{\"phase\":\"gone\"}\n");
    fflush(stdout);
    return 0;
}
