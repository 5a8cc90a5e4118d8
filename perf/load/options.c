/* The command line: every option is one row. */
#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

/* X(type, name, field, default, min, max, prose); types: number, percent (0…100), flag. */
/* clang-format off */
#define NUMBERS(X) \
    X(rooms, rooms, 1, 1, 10000, "rooms, all alike")                                              \
    X(publishers, publishers, 1, 0, 10000, "publishers of each room")                             \
    X(subscribers, subscribers, 0, 0, 100000, "endpoints of each room that take all its streams") \
    X(large, large, 0, 0, 100000, "endpoints of the first room instead; 0: as the others")        \
    X(participants, participants, 0, 0, 1000, "instead of both: everybody publishes and takes all others") \
    X(idle, idle, 0, 0, 100000, "endpoints beside them that are connected and silent")            \
    X(endpoints-per-member, endpoints_per_member, 8, 1, 1000, "receiving endpoints of one account (the server's transports_per_participant_max)") \
    X(video-kbps, video_kbps, 2500, 10, 50000, "of one video stream, payload")                    \
    X(fps, fps, 30, 1, 120, "frames a second; each leaves as one burst")                          \
    X(video-bytes, video_bytes, 1200, 200, 1400, "largest RTP packet before protection")          \
    X(audio-bytes, audio_bytes, 120, 40, 1200, "payload of an audio packet, one every 20 ms")     \
    X(seconds, seconds, 10, 1, 3600, "how long is measured")                                      \
    X(settle-seconds, settle_seconds, 30, 1, 600, "how long connecting and first pictures may take") \
    X(ramp, ramp_per_second, 0, 0, 100000, "endpoints begun a second; 0: as fast as they connect") \
    X(pending-max, pending_max, 64, 1, 10000, "endpoints connecting at one time")                 \
    X(sockets, sockets, 8, 1, NET_SOCKETS_MAX, "UDP sockets that all endpoints share")

#define PERCENTS(X) \
    X(loss, send_loss, "of the packets we send are not sent")                                     \
    X(reorder, send_reorder, "… are sent behind their successor")                                 \
    X(receive-loss, receive_loss, "of the packets that came are forgotten")                       \
    X(receive-duplicate, receive_duplicate, "… are taken twice")                                  \
    X(receive-corrupt, receive_corrupt, "… have a bit changed before decryption")                 \
    X(receive-scramble, receive_scramble, "… have a bit of the payload changed after it")
/* clang-format on */

static void usage(FILE *to)
{
    fprintf(to,
            "ringcast-load URL [options]: thousands of WebRTC clients against one server\n"
            "  who and how many\n"
            "    --target NAME                whose signaling: %s (default ringcast)\n",
            target_type_names());
#define X(name, field, value, min, max, prose)                                                     \
    fprintf(to, "    --%-26s %s (%d…%d, default %d)\n", #name " N", prose, (int)(min), (int)(max), \
            (int)(value));
    NUMBERS(X)
#undef X
    fprintf(to, "    --churn PER_SECOND           endpoints that leave and come again while "
                "measured (0…1000)\n"
                "  what flows\n"
                "    --video --audio              which streams a publisher has (default: video; "
                "both with --participants)\n"
                "    --profile gcm128|gcm256|cm   SRTP (default gcm128)\n"
                "    --nack                       ask for what is missing, answer who asks\n"
                "    --transport-cc               answer with transport-wide feedback\n"
                "  faults, per cent\n");
#define X(name, field, prose) fprintf(to, "    --%-26s %s\n", #name " P", prose);
    PERCENTS(X)
#undef X
    fprintf(to,
            "  measuring\n"
            "    --cpu N                      runs on this core\n"
            "    --realtime                   nothing else runs on its core when it wants to\n"
            "    --server-cpu N               the server's core: sendto is timed there\n"
            "    --server-pid PID[,PID…]      the server: these and all that descend from them\n"
            "    --room-latency               of each room, too (in the JSON)\n"
            "    --json FILE                  the result, too; - is standard output\n"
            "    --quiet                      no progress on standard error\n"
            "Exit status: 0 measured, 1 could not be measured, 2 usage,\n"
            "3 measured, but not valid: the generator itself was the bottleneck.\n");
}

static bool complain(const char *option, const char *value, const char *what)
{
    fprintf(stderr, "ringcast-load: --%s %s: %s\n", option, value ? value : "", what);
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
    snprintf(range, sizeof(range), "a whole number from %ld to %ld is wanted", min, max);
    return complain(option, value, range);
}

static bool fraction(const char *option, const char *value, double max, double *out)
{
    char *end = NULL, range[80];

    if (value)
        *out = strtod(value, &end);
    if (value && end != value && *end == '\0' && isfinite(*out) && *out >= 0 && *out <= max)
        return true;
    snprintf(range, sizeof(range), "a number from 0 to %g is wanted", max);
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
            return complain("server-pid", value, "16 at most");
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
        return complain("profile", value, "gcm128, gcm256 or cm is wanted");
    return true;
}

/* Options without a value: true when `name` is one. */
static bool flag(struct options *o, const char *name)
{
    bool *at = strcmp(name, "video") == 0          ? &o->video
               : strcmp(name, "audio") == 0        ? &o->audio
               : strcmp(name, "nack") == 0         ? &o->nack
               : strcmp(name, "transport-cc") == 0 ? &o->transport_cc
               : strcmp(name, "realtime") == 0     ? &o->realtime
               : strcmp(name, "room-latency") == 0 ? &o->room_latency
               : strcmp(name, "quiet") == 0        ? &o->quiet
                                                   : NULL;

    if (at)
        *at = true;
    return at != NULL;
}

static bool valued(struct options *o, const char *name, const char *value)
{
    long n = 0;

#define X(option, field, def, min, max, prose)  \
    if (strcmp(name, #option) == 0) {           \
        if (!number(name, value, min, max, &n)) \
            return false;                       \
        o->field = (unsigned)n;                 \
        return true;                            \
    }
    NUMBERS(X)
#undef X
#define X(option, field, prose)     \
    if (strcmp(name, #option) == 0) \
        return fraction(name, value, 100, &o->field);
    PERCENTS(X)
#undef X
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
    if (strcmp(name, "json") == 0 && value) {
        o->json = value;
        return true;
    }
    if (strcmp(name, "target") == 0) {
        o->target = value ? target_type_find(value) : NULL;
        return o->target || complain(name, value, target_type_names());
    }
    return complain(name, NULL, "no such option, or its value is missing; --help tells all");
}

static bool sensible(struct options *o)
{
    uint64_t endpoints =
        o->participants ? 2ull * o->participants : (uint64_t)o->publishers + o->subscribers;

    if (!o->url) {
        usage(stderr);
        return false;
    }
    if (!o->video && !o->audio)
        o->video = true, o->audio = o->participants > 0;
    if (o->participants == 1) {
        fprintf(stderr, "ringcast-load: --participants 1: nobody is there to listen\n");
        return false;
    }
    if (!o->participants && !o->subscribers && !o->idle) {
        fprintf(stderr, "ringcast-load: nobody listens: --subscribers, --participants or --idle\n");
        return false;
    }
    if (endpoints * o->rooms + o->idle > ENDPOINTS_MAX / 2) {
        fprintf(stderr, "ringcast-load: more than %d endpoints\n", ENDPOINTS_MAX / 2);
        return false;
    }
    return true;
}

bool options_read(struct options *o, int argc, char **argv, bool *help)
{
    *help = false;
    *o = (struct options){.target = target_type_find("ringcast"),
                          .cpu = -1,
                          .server_cpu = -1,
                          .profile = SRTP_PROFILE_aead_aes_128_gcm};
#define X(name, field, value, min, max, prose) o->field = value;
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
                return complain(word, NULL, "one URL only");
            o->url = word;
        } else if (!flag(o, word + 2)) {
            if (!valued(o, word + 2, i + 1 < argc ? argv[i + 1] : NULL))
                return false;
            i++;
        }
    }
    return sensible(o);
}
