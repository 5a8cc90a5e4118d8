/* Reads the command line and prints the help text. */
#define _GNU_SOURCE
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

/* One row per option. */
/* clang-format off */
/* X(option, field, default, min, max, text) */
#define NUMBERS_CLIENTS(X) \
    X(rooms, rooms, 1, 1, 10000, "rooms; all have the same number of clients") \
    X(publishers, publishers, 1, 0, 10000, "publishers in each room") \
    X(subscribers, subscribers, 0, 0, 100000, \
      "subscribers in each room; each receives all streams of its room") \
    X(large, large, 0, 0, 100000, \
      "subscribers in the first room; 0: as many as in the others") \
    X(participants, participants, 0, 0, 1000, \
      "participants in each room, instead of publishers and subscribers; each sends, and " \
      "receives all others; 0: none") \
    X(join, joiners, 0, 0, 1000, \
      "subscribers that join the first room within a second of the measurement; the result says " \
      "how long each waits for a complete key frame") \
    X(idle, idle, 0, 0, 100000, \
      "additional endpoints that connect but neither send nor receive media") \
    X(endpoints-per-member, endpoints_per_member, 8, 1, 1000, \
      "subscribers per account; the server must allow an account that many transports")

#define NUMBERS_STREAMS(X) \
    X(video-kbps, video_kbps, 2500, 10, 400000, "kbit/s of one video stream (payload)") \
    X(fps, fps, 30, 1, 120, "video frames per second; all packets of a frame leave at once") \
    X(video-bytes, video_bytes, 1200, 200, 1400, "largest video packet in bytes, unencrypted") \
    X(simulcast, simulcast, 0, 0, TARGET_ENCODINGS_MAX, \
      "encodings of each camera, each with a quarter of the bitrate of the next; VP8 with three " \
      "temporal layers; 0: no simulcast") \
    X(audio-bytes, audio_bytes, 120, 40, 1200, \
      "payload of an audio packet in bytes; one leaves every 20 ms")

#define NUMBERS_TIME(X) \
    X(seconds, seconds, 10, 1, 3600, "length of the measurement in seconds") \
    X(settle-seconds, settle_seconds, 30, 1, 600, \
      "longest wait, in seconds, until all clients are connected and all streams arrive") \
    X(ramp, ramp_per_second, 0, 0, 100000, \
      "endpoints that begin to connect per second; 0: no limit") \
    X(pending-max, pending_max, 64, 1, 10000, \
      "endpoints that may be connecting at the same time") \
    X(sockets, sockets, 8, 1, NET_SOCKETS_MAX, "UDP sockets, which all endpoints share")

#define NUMBERS_FAULTS(X) \
    X(seed, seed, 1, 0, INT_MAX, "seed of the random choice of these packets")

#define NUMBERS(X) NUMBERS_CLIENTS(X) NUMBERS_STREAMS(X) NUMBERS_TIME(X) NUMBERS_FAULTS(X)

/* X(option, field, text): percentages from 0 to 100. */
#define PERCENTS(X) \
    X(loss, send_loss, "packets that are not sent at all") \
    X(reorder, send_reorder, "packets that are sent after their successor") \
    X(receive-loss, receive_loss, "received packets that are dropped") \
    X(receive-duplicate, receive_duplicate, "received packets that are processed twice") \
    X(receive-corrupt, receive_corrupt, "received packets with one bit changed before decryption") \
    X(receive-scramble, receive_scramble, \
      "received packets with one bit of the payload changed after decryption")
/* clang-format on */

static void usage(FILE *to)
{
    fprintf(to,
            "ringcast-load URL [options]\n"
            "Connects thousands of WebRTC clients to the server at URL (http://HOST:PORT), on the "
            "same\n"
            "machine, and measures loss, latency and the server's CPU time per packet.\n"
            "  clients\n"
            "    --target NAME                kind of server: %s (default ringcast)\n",
            target_type_names());
#define X(name, field, value, min, max, text)                                                     \
    fprintf(to, "    --%-26s %s (%d…%d, default %d)\n", #name " N", text, (int)(min), (int)(max), \
            (int)(value));
    NUMBERS_CLIENTS(X)
    fprintf(to, "    --churn PER_SECOND           clients that leave and join again during the "
                "measurement (0…1000)\n"
                "  streams\n"
                "    --video --audio              what a publisher sends (default: video; with "
                "--participants both)\n");
    NUMBERS_STREAMS(X)
    fprintf(to,
            "    --codec vp8|h264             of video (default vp8)\n"
            "    --simulcast-by rid|ssrc      how the server tells the encodings apart (default "
            "rid)\n"
            "    --svc L3T3_KEY|L3T3          VP9 with three spatial and three temporal layers "
            "in one stream\n"
            "    --layers flip                each second, subscribers ask for the other of the "
            "lowest and highest layer\n"
            "    --verify                     check how the server rewrites numbers, time "
            "stamps and picture ids\n");
    fprintf(to, "    --profile gcm128|gcm256|cm   SRTP cipher (default gcm128)\n"
                "    --nack                       ask for missing packets and, where that is in "
                "vain, for a key frame;\n"
                "                                 resend packets that the server misses\n"
                "    --transport-cc               send transport-wide congestion feedback\n"
                "    --via ADDRESS                all media goes through ringcast-relay at this "
                "IPv4 address\n"
                "  time and limits\n");
    NUMBERS_TIME(X)
#undef X
    fprintf(to, "  faults on purpose, in per cent of all packets\n");
#define X(name, field, text) fprintf(to, "    --%-26s %s\n", #name " P", text);
    PERCENTS(X)
#undef X
#define X(name, field, value, min, max, text) \
    fprintf(to, "    --%-26s %s (default %d)\n", #name " N", text, (int)(value));
    NUMBERS_FAULTS(X)
#undef X
    fprintf(
        to,
        "  measurement\n"
        "    --cpu N                      run on this core\n"
        "    --realtime                   run with real-time priority\n"
        "    --server-cpu N               core of the server; the price of a sendto call is "
        "measured there\n"
        "    --server-pid PID[,PID…]      processes of the server; their children are included\n"
        "    --room-latency               also report the latency of each room (in the JSON)\n"
        "    --json FILE                  also write the result as JSON; \"-\" is standard "
        "output\n"
        "    --quiet                      no progress messages on standard error\n"
        "Exit status: 0 measured; 1 could not measure; 2 wrong options; 3 measured, but not "
        "valid,\n"
        "because the generator itself was the bottleneck.\n");
}

static bool complain(const char *option, const char *value, const char *problem)
{
    fprintf(stderr, "ringcast-load: --%s%s%s: %s\n", option, value ? " " : "", value ? value : "",
            problem);
    return false;
}

static bool number(const char *option, const char *value, long min, long max, long *out)
{
    char *end = NULL, range[80];

    errno = 0;
    if (value)
        *out = strtol(value, &end, 10);
    if (value && end != value && *end == '\0' && !errno && *out >= min && *out <= max)
        return true;
    snprintf(range, sizeof(range), "must be a whole number from %ld to %ld", min, max);
    return complain(option, value, range);
}

static bool fraction(const char *option, const char *value, double max, double *out)
{
    char *end = NULL, range[80];

    if (value)
        *out = strtod(value, &end);
    if (value && end != value && *end == '\0' && isfinite(*out) && *out >= 0 && *out <= max)
        return true;
    snprintf(range, sizeof(range), "must be a number from 0 to %g", max);
    return complain(option, value, range);
}

static bool pids(struct options *o, const char *value)
{
    char copy[400], *rest = copy, *word;

    snprintf(copy, sizeof(copy), "%s", value ? value : "");
    o->server_pid_count = 0;
    while ((word = strsep(&rest, ",")) != NULL) {
        long pid;

        if (o->server_pid_count == SERVER_PIDS_MAX)
            return complain("server-pid", value, "names more than 16 processes");
        if (!number("server-pid", word, 1, INT_MAX, &pid))
            return false;
        o->server_pids[o->server_pid_count++] = (int)pid;
    }
    return true;
}

static bool profile(struct options *o, const char *value)
{
    if (value && strcmp(value, "gcm128") == 0)
        o->profile = SRTP_PROFILE_aead_aes_128_gcm;
    else if (value && strcmp(value, "gcm256") == 0)
        o->profile = SRTP_PROFILE_aead_aes_256_gcm;
    else if (value && strcmp(value, "cm") == 0)
        o->profile = SRTP_PROFILE_aes128_cm_sha1_80;
    else
        return complain("profile", value, "must be gcm128, gcm256 or cm");
    return true;
}

/* Options without a value. False: `name` is none of them. */
static bool flag(struct options *o, const char *name)
{
    bool *at = strcmp(name, "video") == 0          ? &o->video
               : strcmp(name, "audio") == 0        ? &o->audio
               : strcmp(name, "nack") == 0         ? &o->nack
               : strcmp(name, "transport-cc") == 0 ? &o->transport_cc
               : strcmp(name, "realtime") == 0     ? &o->realtime
               : strcmp(name, "room-latency") == 0 ? &o->room_latency
               : strcmp(name, "verify") == 0       ? &o->verify
               : strcmp(name, "quiet") == 0        ? &o->quiet
                                                   : NULL;

    if (at)
        *at = true;
    return at != NULL;
}

/* Options whose value is one of a few words. False: `name` is none of them. *ok: the word is. */
static bool choice(struct options *o, const char *name, const char *value, bool *ok)
{
    const char *words = NULL;

    *ok = true;
    if (!value)
        value = "";
    if (strcmp(name, "codec") == 0) {
        words = "must be vp8 or h264; for VP9 give --svc";
        o->codec = strcmp(value, "h264") == 0 ? VIDEO_H264 : VIDEO_VP8;
        *ok = o->codec == VIDEO_H264 || strcmp(value, "vp8") == 0;
    } else if (strcmp(name, "simulcast-by") == 0) {
        words = "must be rid or ssrc";
        o->by_ssrc = strcmp(value, "ssrc") == 0;
        *ok = o->by_ssrc || strcmp(value, "rid") == 0;
    } else if (strcmp(name, "svc") == 0) {
        words = "must be L3T3_KEY or L3T3";
        o->svc = strcmp(value, "L3T3") == 0 ? SVC_FULL : SVC_KEY;
        *ok = o->svc == SVC_FULL || strcmp(value, "L3T3_KEY") == 0;
    } else if (strcmp(name, "layers") == 0) {
        words = "must be flip";
        *ok = o->flip_layers = strcmp(value, "flip") == 0;
    }
    if (!*ok)
        complain(name, value, words);
    return words != NULL;
}

static bool valued(struct options *o, const char *name, const char *value)
{
    long n = 0;
    bool ok;

#define X(option, field, def, min, max, text)   \
    if (strcmp(name, #option) == 0) {           \
        if (!number(name, value, min, max, &n)) \
            return false;                       \
        o->field = (unsigned)n;                 \
        return true;                            \
    }
    NUMBERS(X)
#undef X
#define X(option, field, text)      \
    if (strcmp(name, #option) == 0) \
        return fraction(name, value, 100, &o->field);
    PERCENTS(X)
#undef X
    if (choice(o, name, value, &ok))
        return ok;
    if (strcmp(name, "churn") == 0)
        return fraction(name, value, 1000, &o->churn_per_second);
    if (strcmp(name, "profile") == 0)
        return profile(o, value);
    if (strcmp(name, "server-pid") == 0)
        return pids(o, value);
    if (strcmp(name, "cpu") == 0 || strcmp(name, "server-cpu") == 0) {
        if (!number(name, value, 0, 1023, &n))
            return false;
        *(name[0] == 'c' ? &o->cpu : &o->server_cpu) = (int)n;
        return true;
    }
    if (strcmp(name, "via") == 0) {
        struct in_addr address;

        o->via = value;
        return (value && inet_pton(AF_INET, value, &address) == 1) ||
               complain(name, value, "must be an IPv4 address, such as 127.0.0.2");
    }
    if (strcmp(name, "json") == 0) {
        o->json = value;
        return value || complain(name, NULL, "a file name is missing");
    }
    if (strcmp(name, "target") == 0) {
        char known[160];

        snprintf(known, sizeof(known), "must be one of: %s", target_type_names());
        o->target = value ? target_type_find(value) : NULL;
        return o->target || complain(name, value, known);
    }
    return complain(name, NULL, "unknown option; --help lists all options");
}

/* False: the options about layers contradict each other. */
static bool check_layers(const struct options *o)
{
    const char *why = NULL;
    bool layered = o->simulcast || o->svc;

    if (o->simulcast == 1)
        why = "--simulcast 1: it needs at least 2 encodings";
    else if (o->simulcast && o->svc)
        why = "--simulcast and --svc: a camera sends either several encodings or layers in one";
    else if (o->svc && o->codec != VIDEO_VP8)
        why = "--svc and --codec: layers in one stream are VP9";
    else if ((layered || o->verify) && !o->video)
        why = "--simulcast, --svc and --verify are about video; give --video";
    else if ((layered || o->codec != VIDEO_VP8) && !o->target->prefer)
        why = "--simulcast, --svc and --codec: not with this kind of server";
    else if (o->flip_layers && !layered)
        why = "--layers flip: there are no layers; give --simulcast or --svc";
    else if (o->joiners && (o->participants || !o->publishers))
        why = "--join: the first room needs --publishers, and no --participants";
    if (why)
        fprintf(stderr, "ringcast-load: %s\n", why);
    return !why;
}

static bool complain_word(const char *word)
{
    fprintf(stderr, "ringcast-load: \"%s\": there is already a URL\n", word);
    return false;
}

/* False: the options contradict each other. */
static bool check_together(struct options *o)
{
    uint64_t endpoints =
        o->participants ? 2ull * o->participants : (uint64_t)o->publishers + o->subscribers;

    if (!o->url) {
        fprintf(stderr, "ringcast-load: the URL of the server is missing\n");
        usage(stderr);
        return false;
    }
    if (!o->video && !o->audio)
        o->video = true, o->audio = o->participants > 0;
    if (o->participants == 1) {
        fprintf(stderr, "ringcast-load: --participants 1: a room needs at least 2\n");
        return false;
    }
    if (!o->participants && !o->subscribers && !o->idle && !o->joiners) {
        fprintf(stderr,
                "ringcast-load: no client receives anything; give --subscribers, --participants, "
                "--join or --idle\n");
        return false;
    }
    if (endpoints * o->rooms + o->idle + o->joiners > ENDPOINTS_MAX / 2) {
        fprintf(stderr, "ringcast-load: these options need more than %d endpoints\n",
                ENDPOINTS_MAX / 2);
        return false;
    }
    return check_layers(o);
}

bool options_read(struct options *o, int argc, char **argv, bool *help)
{
    *help = false;
    *o = (struct options){.target = target_type_find("ringcast"),
                          .cpu = -1,
                          .server_cpu = -1,
                          .profile = SRTP_PROFILE_aead_aes_128_gcm};
#define X(name, field, value, min, max, text) o->field = value;
    NUMBERS(X)
#undef X
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];

        if (strcmp(word, "--help") == 0) {
            usage(stdout);
            *help = true;
            return true;
        }
        if (strncmp(word, "--", 2) != 0) {
            if (o->url)
                return complain_word(word);
            o->url = word;
        } else if (!flag(o, word + 2)) {
            if (!valued(o, word + 2, i + 1 < argc ? argv[i + 1] : NULL))
                return false;
            i++;
        }
    }
    return check_together(o);
}
