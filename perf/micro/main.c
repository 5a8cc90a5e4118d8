/* ringcast-bench: what a worker costs, and the bound for the same work. */
#define _GNU_SOURCE /* sched_setaffinity */
#include <getopt.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"

#include "dataplane/engines/srtp/engine.h"

#define VALUES_MAX 16

/* An option that is a list of values. */
struct values {
    size_t count;
    uint32_t value[VALUES_MAX];
};

struct command_line {
    struct bench_options options;
    struct values fanouts, profiles, sizes;
    bool warm, cold, video, audio;
    const char *json;
};

static const char usage[] =
    "ringcast-bench [OPTION…] [short | list | count SCENARIO | CASE…]\n"
    "  short             run what `make bench` runs (the default): less than a minute\n"
    "  list              print every case, and the scenarios that perf/regress counts\n"
    "  count SCENARIO    run one scenario without measuring time, for perf/regress\n"
    "  CASE              measure this case, with all usual values of options that are not given\n"
    "For path, protect and unprotect (in parentheses: the usual values):\n"
    "  --fanout N,…      consumers of each producer (1,10,50,500)\n"
    "  --profile P,…     gcm128, gcm256, cm (all)\n"
    "  --bytes N,…       size of an RTP packet without the tag (1200,160)\n"
    "  --warm, --cold    one room, or more rooms than the cache can hold (both)\n"
    "  --video, --audio  bursts of 9 packets of one producer, or single packets of 20 producers\n"
    "                    (audio when a packet has less than 400 bytes)\n"
    "  --uneven          packets of a burst differ in size by one byte, as in browsers\n"
    "  --burst N         packets of a producer in one turn\n"
    "  --rooms N         rooms that send one after the other\n"
    "  --publishers N    producers in each room\n"
    "  --together N      rooms that send in the same turn (1)\n"
    "  --turn-ns N       virtual nanoseconds that pass with each turn\n"
    "For room-over-workers (usually --fanout 50,500,1000 and gcm128, cm):\n"
    "  --workers N       compare one worker with N workers (2)\n"
    "For all cases:\n"
    "  --transports N    number of clients or entries, for cases whose cost depends on it\n"
    "  --rounds N        number of rounds\n"
    "  --units N         units of work in one round, at least\n"
    "  --cpu N           run on this processor only\n"
    "  --json FILE       write the figures to FILE, too\n";

static uint32_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || value > UINT32_MAX)
        bench_die("%s is not a number from 0 to 4294967295", text);
    return (uint32_t)value;
}

static void read_values(struct values *values, char *text, bool profiles)
{
    char *rest, *word = strtok_r(text, ",", &rest);

    for (; word; word = strtok_r(NULL, ",", &rest)) {
        enum srtp_profile profile;

        if (values->count == VALUES_MAX)
            bench_die("a list of an option has at most %d values", VALUES_MAX);
        if (!profiles)
            values->value[values->count++] = number(word);
        else if (bench_profile_parse(word, &profile))
            values->value[values->count++] = profile;
        else
            bench_die("unknown profile %s: gcm128, gcm256 or cm", word);
    }
}

static void run_on(uint32_t processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        bench_die("cannot run on processor %u: it does not exist or is not allowed", processor);
}

static void read_option(struct command_line *c, int option)
{
    switch (option) {
    case 'f':
        read_values(&c->fanouts, optarg, false);
        break;
    case 'p':
        read_values(&c->profiles, optarg, true);
        break;
    case 'b':
        read_values(&c->sizes, optarg, false);
        break;
    case 'r':
        c->options.rounds = number(optarg);
        break;
    case 'u':
        c->options.units = number(optarg);
        break;
    case 'R':
        c->options.rooms = number(optarg);
        break;
    case 'P':
        c->options.publishers = number(optarg);
        break;
    case 'B':
        c->options.burst = number(optarg);
        break;
    case 'o':
        c->options.together = number(optarg);
        break;
    case 'T':
        c->options.transports = number(optarg);
        break;
    case 'w':
        c->options.workers = number(optarg);
        break;
    case 't':
        c->options.turn_ns = number(optarg);
        break;
    case 'c':
        run_on(number(optarg));
        break;
    case 'j':
        c->json = optarg;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    case 0: /* a flag, which getopt_long has set */
        break;
    default:
        fputs(usage, stderr);
        exit(2);
    }
}

static void read_command_line(struct command_line *c, int argc, char **argv)
{
    static int warm, cold, video, audio, uneven;
    static const struct option options[] = {
        {"fanout", required_argument, NULL, 'f'},
        {"profile", required_argument, NULL, 'p'},
        {"bytes", required_argument, NULL, 'b'},
        {"rounds", required_argument, NULL, 'r'},
        {"units", required_argument, NULL, 'u'},
        {"rooms", required_argument, NULL, 'R'},
        {"publishers", required_argument, NULL, 'P'},
        {"burst", required_argument, NULL, 'B'},
        {"together", required_argument, NULL, 'o'},
        {"transports", required_argument, NULL, 'T'},
        {"workers", required_argument, NULL, 'w'},
        {"turn-ns", required_argument, NULL, 't'},
        {"cpu", required_argument, NULL, 'c'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"warm", no_argument, &warm, 1},
        {"cold", no_argument, &cold, 1},
        {"video", no_argument, &video, 1},
        {"audio", no_argument, &audio, 1},
        {"uneven", no_argument, &uneven, 1},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
        read_option(c, option);
    c->warm = warm;
    c->cold = cold;
    c->video = video;
    c->audio = audio;
    c->options.uneven = uneven;
}

/* ---- running ---- */

static void run_sizes(const struct case_entry *entry, const struct command_line *c,
                      struct bench_options o)
{
    static const struct values usual = {2, {1200, 160}}, open = {1, {0}};
    const struct values *sizes = c->sizes.count             ? &c->sizes
                                 : entry->axes & AXIS_BYTES ? &usual
                                                            : &open;

    for (size_t i = 0; i < sizes->count; i++) {
        o.bytes = sizes->value[i];
        o.audio = c->audio || (!c->video && o.bytes > 0 && o.bytes < 400);
        o.cold = false;
        if (!(entry->axes & AXIS_COLD) || c->warm || !c->cold)
            bench_run(entry->what, &o);
        o.cold = true;
        if (entry->axes & AXIS_COLD && (c->cold || !c->warm))
            bench_run(entry->what, &o);
    }
}

static void run_case(const struct case_entry *entry, const struct command_line *c)
{
    static const struct values fanouts = {4, {1, 10, 50, 500}}, open = {1, {0}};
    static const struct values rooms = {3, {50, 500, 1000}};
    static const struct values room_profiles = {
        2, {SRTP_PROFILE_aead_aes_128_gcm, SRTP_PROFILE_aes128_cm_sha1_80}};
    static const struct values profiles = {3,
                                           {SRTP_PROFILE_aead_aes_128_gcm,
                                            SRTP_PROFILE_aead_aes_256_gcm,
                                            SRTP_PROFILE_aes128_cm_sha1_80}};
    const struct values *f = c->fanouts.count            ? &c->fanouts
                             : entry->axes & AXIS_FANOUT ? &fanouts
                             : entry->axes & AXIS_ROOM   ? &rooms
                                                         : &open;
    const struct values *p = c->profiles.count            ? &c->profiles
                             : entry->axes & AXIS_PROFILE ? &profiles
                             : entry->axes & AXIS_ROOM    ? &room_profiles
                                                          : &open;

    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; k < f->count; k++) {
            struct bench_options o = c->options;

            o.profile = (enum srtp_profile)p->value[i];
            o.fanout = f->value[k];
            run_sizes(entry, c, o);
        }
}

static void list(void)
{
    for (const struct case_entry *entry = cases; entry->what; entry++)
        printf("%-18s %s (per %s)\n", entry->what->name, entry->what->prose, entry->what->unit);
    puts("\ncounted by perf/regress:");
    for (const struct case_scenario *s = scenarios; s->name; s++)
        printf("%-18s\n", s->name);
}

/* For callgrind: nothing is timed, and every run does the same. */
static void count(const char *name)
{
    static const char *const architectures[IMB_ARCH_NUM] = {
        [IMB_ARCH_NOAESNI] = "noaesni", [IMB_ARCH_SSE] = "sse",       [IMB_ARCH_AVX] = "avx",
        [IMB_ARCH_AVX2] = "avx2",       [IMB_ARCH_AVX512] = "avx512",
    };
    const struct case_scenario *s = scenarios;
    struct srtp_engine *engine = srtp_engine_new();

    while (s->name && strcmp(s->name, name) != 0)
        s++;
    if (!s->name || !engine)
        bench_die("there is no scenario %s, or intel-ipsec-mb does not start", name);
    printf("{\"unit\": \"%s\", \"units\": %llu, ", s->what->unit,
           (unsigned long long)bench_count(s->what, &s->options, s->units));
    printf("\"ipsec_mb\": \"%s %s\", \"libcrypto\": \"%s\"}\n", imb_get_version_str(),
           architectures[engine->wide->used_arch], OpenSSL_version(OPENSSL_VERSION_STRING));
    srtp_engine_delete(engine);
}

static void run_named(const char *name, const struct command_line *c)
{
    const struct case_entry *entry = cases;

    if (strcmp(name, "short") == 0) {
        for (const struct case_run *run = short_set; run->what; run++)
            bench_run(run->what, &run->options);
        return;
    }
    while (entry->what && strcmp(entry->what->name, name) != 0)
        entry++;
    if (!entry->what)
        bench_die("there is no case %s; `ringcast-bench list` prints all", name);
    run_case(entry, c);
}

int main(int argc, char **argv)
{
    struct command_line c = {0};

    read_command_line(&c, argc, argv);
    if (optind + 2 == argc && strcmp(argv[optind], "count") == 0) {
        count(argv[optind + 1]);
        return 0;
    }
    if (optind < argc && strcmp(argv[optind], "list") == 0) {
        list();
        return 0;
    }
    bench_clock_start();
    if (optind == argc)
        run_named("short", &c);
    for (; optind < argc; optind++)
        run_named(argv[optind], &c);
    if (c.json)
        bench_write_json(c.json);
    return 0;
}
