/* ringcast-probe: does this installation carry a call? Two participants meet in a new room (or one
 * joins an existing room), exchange generated streams through the server, and report how long each
 * step took, how many packets were lost and how late they arrived. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "probe.h"
#include "result.h"
#include "src/clock.h"
#include "src/version.h"

#define AUDIO_INTERVAL_NS (20 * NS_PER_MS)
#define AUDIO_BYTES 80
#define VIDEO_FPS 30
#define LAST_TURNS_MAX 10000

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = 1;
}

static const char usage[] =
    "ringcast-probe URL [options]\n"
    "Makes a short call through the server at URL, as a WebRTC client, and reports whether the\n"
    "installation works.\n"
    "  --room CODE        join this meeting with one participant (default: two meet in a new one)\n"
    "  --email ADDRESS --password WORD\n"
    "                     use this account (default: register new accounts)\n"
    "  --seconds N        length of the call, 1..3600 (default 5)\n"
    "  --video-kbps N     bit rate of the generated video, 50..20000 (default 1000)\n"
    "  --max-loss PERCENT fail if a stream loses more packets than this (default 1)\n"
    "  --insecure         accept any TLS certificate\n"
    "  --json             print one JSON object instead of text\n"
    "  --version          print the version\n"
    "Ctrl-C ends the call early and still prints the result.\n"
    "Exit status: 0 the installation works; 1 it does not; 2 wrong options.\n";

static void send_packet(void *context, uint8_t *packet, size_t bytes)
{
    transport_send_rtp(context, packet, bytes, PACKET_BYTES_MAX);
}

/* For each peer and second: 50 packets of audio, 30 frames of video, one round of reports. */
static void *sending_thread(void *argument)
{
    struct probe *probe = argument;
    uint64_t next_audio = clock_monotonic_ns(), next_video = next_audio, next_report = next_audio;

    while (!probe->sending_ends) {
        uint64_t now = clock_monotonic_ns(), next;

        if (now >= next_audio) {
            for (unsigned i = 0; i < probe->peer_count; i++)
                sender_frame(&probe->peers[i].audio, AUDIO_BYTES, now, probe->peers[i].run,
                             send_packet, probe->peers[i].send);
            next_audio += AUDIO_INTERVAL_NS;
        }
        if (now >= next_video) {
            for (unsigned i = 0; i < probe->peer_count; i++)
                sender_frame(&probe->peers[i].video,
                             probe->options.video_kbps * 1000 / 8 / VIDEO_FPS, now,
                             probe->peers[i].run, send_packet, probe->peers[i].send);
            next_video += NS_PER_S / VIDEO_FPS;
        }
        if (now >= next_report) {
            for (unsigned i = 0; i < probe->peer_count; i++)
                peer_send_reports(&probe->peers[i]);
            next_report += NS_PER_S;
        }
        next = next_audio < next_video ? next_audio : next_video;
        now = clock_monotonic_ns();
        if (next > now)
            usleep((useconds_t)((next - now) / NS_PER_US));
    }
    return NULL;
}

static void *loop_thread(void *argument)
{
    struct probe *probe = argument;

    while (!probe->loop_ends)
        g_main_context_iteration(probe->loop, TRUE);
    /* Read what has already arrived: it would count as lost. */
    for (unsigned i = 0; i < LAST_TURNS_MAX && g_main_context_iteration(probe->loop, FALSE); i++)
        continue;
    return NULL;
}

static bool number(const char *option, const char *text, double min, double max, double *value)
{
    char *end;

    *value = strtod(text, &end);
    if (*text && !*end && *value >= min && *value <= max)
        return true;
    fprintf(stderr, "ringcast-probe: --%s %s: must be a number from %g to %g\n", option, text, min,
            max);
    return false;
}

static bool read_options(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"room", 1, NULL, 'r'},     {"email", 1, NULL, 'e'},      {"password", 1, NULL, 'p'},
        {"seconds", 1, NULL, 's'},  {"video-kbps", 1, NULL, 'v'}, {"max-loss", 1, NULL, 'l'},
        {"insecure", 0, NULL, 'k'}, {"json", 0, NULL, 'j'},       {"help", 0, NULL, 'h'},
        {"version", 0, NULL, 'V'},  {NULL, 0, NULL, 0},
    };
    double value = 0;
    int which;

    *o = (struct options){.seconds = 5, .video_kbps = 1000, .loss_percent_max = 1};
    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        bool ok = true;

        switch (which) {
        case 'r':
            o->room = optarg;
            break;
        case 'e':
            o->email = optarg;
            break;
        case 'p':
            o->password = optarg;
            break;
        case 's':
            ok = number("seconds", optarg, 1, 3600, &value);
            o->seconds = (unsigned)value;
            break;
        case 'v':
            ok = number("video-kbps", optarg, 50, 20000, &value);
            o->video_kbps = (unsigned)value;
            break;
        case 'l':
            ok = number("max-loss", optarg, 0, 100, &o->loss_percent_max);
            break;
        case 'k':
            o->signaling.insecure = true;
            break;
        case 'j':
            o->json = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        case 'V':
            printf("ringcast-probe %s\n", ringcast_version);
            exit(0);
        default:
            ok = false; /* getopt_long has printed the reason */
        }
        if (!ok)
            return false;
    }
    o->signaling.url = optind + 1 == argc ? argv[optind] : NULL;
    if (!o->signaling.url || strncmp(o->signaling.url, "http", 4) != 0) {
        fprintf(stderr, "ringcast-probe: give one URL, such as http://localhost:3000\n");
        return false;
    }
    if (!o->email != !o->password) {
        fprintf(stderr, "ringcast-probe: --email and --password must be given together\n");
        return false;
    }
    return true;
}

static bool run(struct probe *probe, char *why)
{
    const struct options *o = &probe->options;
    pthread_t sending;
    bool ok = true;

    for (unsigned i = 0; i < probe->peer_count; i++) {
        struct peer *peer = &probe->peers[i];
        char email[128], password[64];

        snprintf(email, sizeof(email), "probe-%08x%08x@ringcast.invalid", g_random_int(),
                 g_random_int());
        snprintf(password, sizeof(password), "%08x%08x%08x", g_random_int(), g_random_int(),
                 g_random_int());
        if (!peer_join(peer, &o->signaling, o->email ? o->email : email,
                       o->password ? o->password : password, !o->email,
                       o->room ? o->room
                       : i     ? probe->peers[0].room_id
                               : NULL,
                       why))
            return false;
    }
    for (unsigned i = 0; i < probe->peer_count; i++)
        if (!peer_start_media(&probe->peers[i], probe->loop, why))
            return false;
    if (pthread_create(&sending, NULL, sending_thread, probe) != 0) {
        snprintf(why, PROBE_WHY_BYTES, "the sending thread does not start");
        return false;
    }
    for (unsigned tick = 0; ok && !interrupted && tick < o->seconds * 10; tick++) {
        usleep(100000);
        for (unsigned i = 0; ok && i < probe->peer_count; i++)
            ok = peer_is_alive(&probe->peers[i], why) && peer_consume_new(&probe->peers[i], why);
    }
    probe->sending_ends = true;
    pthread_join(sending, NULL);
    usleep(300000); /* for packets that are still on their way */
    return ok;
}

int main(int argc, char **argv)
{
    static struct probe probe;
    char why[PROBE_WHY_BYTES] = "";
    pthread_t loop;
    uint64_t run_number;
    bool ok;

    if (!read_options(&probe.options, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    if (!transport_prepare()) {
        fprintf(stderr, "ringcast-probe: OpenSSL cannot create a certificate\n");
        return 1;
    }
    probe.peer_count = probe.options.room ? 1 : 2;
    run_number = (uint64_t)g_random_int() << 32 | g_random_int();
    for (unsigned i = 0; i < probe.peer_count; i++) {
        probe.peers[i].name = i ? "probe B" : "probe A";
        probe.peers[i].run = run_number;
        probe.peers[i].video =
            (struct sender){.ssrc = g_random_int() | 1, .payload_type = 96, .is_video = true};
        probe.peers[i].audio = (struct sender){.ssrc = g_random_int() | 1, .payload_type = 111};
    }
    probe.loop = g_main_context_new();
    pthread_create(&loop, NULL, loop_thread, &probe);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    ok = run(&probe, why);
    probe.loop_ends = true;
    g_main_context_wakeup(probe.loop);
    pthread_join(loop, NULL);
    probe.interrupted = interrupted;
    ok = ok && result_judge(&probe, why);
    result_print(&probe, ok, why);
    for (unsigned i = 0; i < probe.peer_count; i++)
        peer_leave(&probe.peers[i]);
    g_main_context_unref(probe.loop);
    return ok ? 0 : 1;
}
