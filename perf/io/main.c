/* ringcast-bench-io: options and printing; bench.h says what it measures. */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "device.h"
#include "src/version.h"

enum device { DEVICE_LOOPBACK, DEVICE_NULL, DEVICE_OFFLOAD };
static const char *const device_names[] = {"loopback", "null", "null-offload"};

static struct options {
    uint32_t destinations, bytes, segments, datagrams, rounds, hz;
    enum device device;
    bool bound, sends, receives, json;
} options = {.destinations = 1000, .datagrams = 4000, .rounds = 9, .sends = true, .receives = true};

static const char usage[] =
    "ringcast-bench-io [options]: CPU time per datagram of each I/O backend and of bare calls\n"
    "  --device NAME       loopback (default): sockets that nobody reads;\n"
    "                      null: a device that drops, in a namespace of its own (needs root);\n"
    "                      null-offload: the same, but it takes segmented sends uncut\n"
    "  --bound             bind the sending socket to one address, as media_listen_ip can;\n"
    "                      default: to all addresses, and each send says which one it uses\n"
    "  --destinations N    1 to 10000 (default 1000)\n"
    "  --bytes N           size of a datagram, 1 to 1500 (default: 160 and 1200)\n"
    "  --segments N        datagrams of a run to one destination, 1 to 64 (default: several "
    "sizes)\n"
    "  --datagrams N       in one round (default 4000)\n"
    "  --rounds N          1 to 99 (default 9), after one that is not counted\n"
    "  --only send|receive\n"
    "  --paced HZ          measure a bare forwarder instead: HZ times a second it receives\n"
    "                      --segments datagrams of --bytes and sends each to all --destinations,\n"
    "                      on loopback and two processors\n"
    "  --method NAME       measure only this one, for a profiler; its ratios have no meaning\n"
    "  --json              print one JSON object instead of text\n";

static uint32_t number(const char *text, uint32_t min, uint32_t max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text && !*end && value >= min && value <= max)
        return (uint32_t)value;
    fprintf(stderr, "\"%s\" is not a number from %u to %u\n%s", text, min, max, usage);
    exit(2);
}

static enum device device_named(const char *name)
{
    for (unsigned i = 0; i < sizeof(device_names) / sizeof(device_names[0]); i++)
        if (strcmp(name, device_names[i]) == 0)
            return (enum device)i;
    fprintf(stderr, "there is no device \"%s\"\n%s", name, usage);
    exit(2);
}

static void options_read(int count, char **words)
{
    static const struct option names[] = {
        {"device", 1, NULL, 'd'}, {"bound", 0, NULL, 'B'},    {"destinations", 1, NULL, 'n'},
        {"bytes", 1, NULL, 'b'},  {"segments", 1, NULL, 's'}, {"datagrams", 1, NULL, 'p'},
        {"rounds", 1, NULL, 'r'}, {"only", 1, NULL, 'o'},     {"method", 1, NULL, 'm'},
        {"json", 0, NULL, 'j'},   {"paced", 1, NULL, 'P'},    {"help", 0, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(count, words, "", names, NULL)) != -1) {
        if (option == 'd')
            options.device = device_named(optarg);
        else if (option == 'B')
            options.bound = true;
        else if (option == 'n')
            options.destinations = number(optarg, 1, DESTINATIONS_MAX);
        else if (option == 'b')
            options.bytes = number(optarg, 1, 1500);
        else if (option == 's')
            options.segments = number(optarg, 1, IO_SEGMENTS_MAX);
        else if (option == 'p')
            options.datagrams = number(optarg, 1, 1000000);
        else if (option == 'r')
            options.rounds = number(optarg, 1, ROUNDS_MAX);
        else if (option == 'P')
            options.hz = number(optarg, 1, 10000);
        else if (option == 'j')
            options.json = true;
        else if (option == 'm')
            rounds_only = optarg;
        else if (option == 'o' && strcmp(optarg, "send") == 0)
            options.receives = false;
        else if (option == 'o' && strcmp(optarg, "receive") == 0)
            options.sends = false;
        else {
            fputs(usage, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (options.hz && (options.device != DEVICE_LOOPBACK || !options.bytes || !options.segments)) {
        fprintf(stderr, "--paced needs --bytes and --segments, and loopback\n%s", usage);
        exit(2);
    }
    if (options.device != DEVICE_LOOPBACK)
        options.receives = false;
}

/* ---- printing ---- */

static void print_row(const struct method *methods, unsigned count, const struct figures *figures,
                      const char *kind, const struct work *work)
{
    static bool after_first;

    if (options.json) {
        printf("%s\n  {\"what\":\"%s\",\"bytes\":%u,\"segments\":%u", after_first ? "," : "", kind,
               work->bytes, work->segments);
        for (unsigned m = 0; m < count; m++)
            printf(",\"%s\":{\"ns\":%.1f,\"to_plain\":%.3f,\"to_best\":%.3f}", methods[m].name,
                   figures->ns[m], figures->to_plain[m], figures->to_best[m]);
        printf("}");
    } else {
        printf("%-9s %5u B × %2u ", kind, work->bytes, work->segments);
        for (unsigned m = 0; m < count; m++)
            if (methods[m].backend)
                printf("  %6.0f (%5.3f, %5.3f)", figures->ns[m], figures->to_plain[m],
                       figures->to_best[m]);
            else
                printf(" %10.0f", figures->ns[m]);
        printf("\n");
    }
    after_first = true;
    fflush(stdout);
}

static void print_head(const struct method *methods, unsigned count)
{
    if (options.json)
        return;
    printf("%-23s", "ns per datagram");
    for (unsigned m = 0; m < count; m++)
        printf(methods[m].backend ? "  %22s" : " %10.10s", methods[m].name);
    printf("\n");
}

/* ---- what is measured ---- */

static bool measure_sends(struct sender *sender)
{
    static const uint32_t sizes[] = {160, 1200}, runs[] = {1, 2, 4, 9, 16, 32};
    struct figures figures;

    print_head(send_methods, send_method_count);
    for (unsigned b = 0; b < 2; b++)
        for (unsigned s = 0; s < sizeof(runs) / sizeof(runs[0]); s++) {
            struct work work = {.segments = options.segments ? options.segments : runs[s],
                                .bytes = options.bytes ? options.bytes : sizes[b]};

            if ((options.segments && s > 0) || (options.bytes && b > 0))
                continue;
            work.runs = options.datagrams / work.segments ? options.datagrams / work.segments : 1;
            if (!rounds_send(sender, &work, options.rounds, &figures))
                return false;
            print_row(send_methods, send_method_count, &figures, "send", &work);
        }
    return true;
}

static bool measure_receives(struct sender *sender)
{
    static const struct incoming cases[] = {{1000, 1, 160}, {1, 1, 160},    {10, 1, 160},
                                            {100, 1, 160},  {100, 10, 160}, {1000, 1, 1200}};
    struct figures figures;

    print_head(receive_methods, receive_method_count);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct work work = {
            .runs = cases[i].senders, .segments = cases[i].each, .bytes = cases[i].bytes};
        char kind[16];

        snprintf(kind, sizeof(kind), "from %u", cases[i].senders);
        if (cases[i].senders > sender->destination_count)
            continue;
        if (!rounds_receive(sender, &cases[i], options.rounds, &figures))
            return false;
        print_row(receive_methods, receive_method_count, &figures, kind, &work);
    }
    if (!rounds_idle(sender, options.rounds, &figures))
        return false;
    print_row(receive_methods, receive_method_count, &figures, "nothing", &(struct work){0});
    return true;
}

#define PACED_SECONDS 3

static bool measure_paced(struct sender *sender)
{
    struct pace pace = {.work = {.segments = options.segments, .bytes = options.bytes},
                        .hz = options.hz,
                        .seconds = PACED_SECONDS};
    struct paced paced;

    if (!paced_measure(sender, &pace, &paced))
        return false;
    if (options.json)
        printf("{\"program\":\"ringcast-bench-io\",\"version\":\"%s\",\"paced\":{\"hz\":%u,"
               "\"segments\":%u,\"bytes\":%u,\"destinations\":%u,\"ns\":%.1f,"
               "\"sendto_ns\":%.1f}}\n",
               ringcast_version, options.hz, options.segments, options.bytes, options.destinations,
               paced.ns, paced.sendto_ns);
    else
        printf("a bare forwarder, %u times a second %u datagrams of %u B to %u destinations: "
               "%.0f ns each = %.2f sendto (%.0f ns)\n",
               options.hz, options.segments, options.bytes, options.destinations, paced.ns,
               paced.ns / paced.sendto_ns, paced.sendto_ns);
    return true;
}

int main(int count, char **words)
{
    struct sender *sender;
    char why[DEVICE_WHY_BYTES];
    bool ok = true;

    options_read(count, words);
    if (options.device != DEVICE_LOOPBACK &&
        device_null_open(options.device == DEVICE_OFFLOAD, why) < 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    sender = sender_open(options.destinations, options.device == DEVICE_LOOPBACK, options.bound);
    if (!sender)
        return 1;
    if (options.hz) {
        ok = measure_paced(sender);
        sender_close(sender);
        return ok ? 0 : 1;
    }
    if (options.json)
        printf("{\"program\":\"ringcast-bench-io\",\"version\":\"%s\",\"device\":\"%s\","
               "\"bound\":%s,\"destinations\":%u,\"rounds\":%u,\"datagrams\":%u,\"rows\":[",
               ringcast_version, device_names[options.device], options.bound ? "true" : "false",
               options.destinations, options.rounds, options.datagrams);
    else
        printf("%s, %u destinations; CPU time of the thread, median of %u rounds;\n"
               "in brackets: divided by the first bare call, by the cheapest bare call\n",
               device_names[options.device], options.destinations, options.rounds);
    ok &= !options.sends || measure_sends(sender);
    ok &= ok && (!options.receives || measure_receives(sender));
    if (options.json)
        printf("\n]}\n");
    sender_close(sender);
    return ok ? 0 : 1;
}
