/* ringcast-load: thousands of WebRTC clients in one process. */
#define _GNU_SOURCE
#include <openssl/rand.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "dtls_client.h"
#include "media.h"
#include "net.h"
#include "options.h"
#include "scenario.h"

enum { EXIT_MEASURED, EXIT_FAILED, EXIT_USAGE, EXIT_INVALID };

static volatile int interrupted;

static void on_signal(int number)
{
    if (interrupted)
        _Exit(EXIT_FAILED); /* the second signal ends it at once */
    interrupted = 1;
}

/* Pins the whole process, so that no thread of it runs on the server's core. */
static bool pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return true;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) == 0)
        return true;
    fprintf(stderr, "ringcast-load: --cpu %d: this process may not run on that core\n", cpu);
    return false;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static struct media media;
    static struct result result;
    struct options options;
    char why[400], fingerprint[96];
    unsigned seed;
    bool help, written = true;

    if (!options_read(&options, argc, argv, &help))
        return EXIT_USAGE;
    if (help)
        return EXIT_MEASURED;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    RAND_bytes((unsigned char *)&seed, sizeof(seed));
    srandom(seed);
    raise_descriptor_limit();
    if (!pin(options.cpu))
        return EXIT_USAGE;
    if (!dtls_client_open(options.profile, fingerprint, why) ||
        !media_start(&media, &options, why)) {
        fprintf(stderr, "ringcast-load: %s\n", why);
        return EXIT_FAILED;
    }
    result.measurement = &media.measurement;
    result.options = &options;
    result.net = net_counters(media.net);
    scenario_run(&options, &media, fingerprint, &interrupted, &result);
    media_stop(&media);
    if (result.measured)
        result_judge(&result);
    if (!options.json || strcmp(options.json, "-") != 0)
        result_print(&result);
    if (options.json)
        written = result_write(&result, options.json);
    media_free(&media);
    dtls_client_close();
    if (!result.measured || !written)
        return EXIT_FAILED;
    return result.invalid_count ? EXIT_INVALID : EXIT_MEASURED;
}
