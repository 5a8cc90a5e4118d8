/* ringcast-probe: is this installation able to hold a call? Two participants of its own meet in a
 * room (or one joins a given room), exchange generated streams through the server, and say how long
 * each step took, what was lost and how late it came. Exit status: 0 works, 1 does not, 2 usage. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer.h"
#include "src/version.h"

#define REPORTS_WITHIN_S 4 /* the server reports once a second */
#define LAST_TURNS_MAX 10000

struct options {
    struct signaling_options signaling;
    const char *email, *password, *room;
    unsigned seconds, video_kbps;
    double loss_percent_max;
    bool json;
};

struct probe {
    struct options options;
    unsigned peer_count;
    struct peer peers[2];
    GMainContext *loop;
    _Atomic bool sending_ends, loop_ends;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = 1;
}

static const char usage[] =
    "ringcast-probe URL [options]: checks an installation as a WebRTC client would\n"
    "  --room CODE        join this meeting with one participant (default: two meet in a new one)\n"
    "  --email ADDRESS --password WORD   use this account (default: registers throw-away ones)\n"
    "  --seconds N        how long media flows, 1..3600 (default 5)\n"
    "  --video-kbps N     generated video, 50..20000 (default 1000)\n"
    "  --max-loss PERCENT more than this fails (default 1)\n"
    "  --insecure         accept any TLS certificate\n"
    "  --json             one JSON object instead of text\n"
    "Ctrl-C ends the call early; the report comes all the same.\n";

static void queue_packet(void *context, uint8_t *packet, size_t bytes)
{
    transport_send_rtp(context, packet, bytes, PACKET_ROOM);
}

/* 50 ticks of audio, 30 frames of video and one round of reports a second, for every peer. */
static void *sending_thread(void *argument)
{
    struct probe *probe = argument;
    uint64_t next_audio = probe_now_ns(), next_video = next_audio, next_report = next_audio;

    while (!probe->sending_ends) {
        uint64_t now = probe_now_ns(), next;

        if (now >= next_audio) {
            for (unsigned i = 0; i < probe->peer_count; i++)
                sender_frame(&probe->peers[i].audio, 80, now, probe->peers[i].mark, queue_packet,
                             probe->peers[i].send);
            next_audio += 20000000;
        }
        if (now >= next_video) {
            for (unsigned i = 0; i < probe->peer_count; i++)
                sender_frame(&probe->peers[i].video, probe->options.video_kbps * 1000 / 8 / 30, now,
                             probe->peers[i].mark, queue_packet, probe->peers[i].send);
            next_video += 33333333;
        }
        if (now >= next_report) {
            for (unsigned i = 0; i < probe->peer_count; i++)
                peer_reports(&probe->peers[i]);
            next_report += 1000000000;
        }
        next = next_audio < next_video ? next_audio : next_video;
        now = probe_now_ns();
        if (next > now)
            usleep((useconds_t)((next - now) / 1000));
    }
    return NULL;
}

static void *loop_thread(void *argument)
{
    struct probe *probe = argument;

    while (!probe->loop_ends)
        g_main_context_iteration(probe->loop, TRUE);
    /* What has come by now is not lost, however late this thread gets to it. */
    for (unsigned i = 0; i < LAST_TURNS_MAX && g_main_context_iteration(probe->loop, FALSE); i++)
        continue;
    return NULL;
}

static bool number(const char *text, double min, double max, double *value)
{
    char *end;

    *value = strtod(text, &end);
    return *text && !*end && *value >= min && *value <= max;
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
            ok = number(optarg, 1, 3600, &value);
            o->seconds = (unsigned)value;
            break;
        case 'v':
            ok = number(optarg, 50, 20000, &value);
            o->video_kbps = (unsigned)value;
            break;
        case 'l':
            ok = number(optarg, 0, 100, &o->loss_percent_max);
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
            ok = false;
            optarg = NULL;
        }
        if (!ok) {
            if (optarg)
                fprintf(stderr, "\"%s\" is out of range.\n", optarg);
            return false;
        }
    }
    o->signaling.url = optind + 1 == argc ? argv[optind] : NULL;
    if (!o->signaling.url || strncmp(o->signaling.url, "http", 4) != 0) {
        fprintf(stderr, "Name one URL, like http://localhost:3000.\n");
        return false;
    }
    if (!o->email != !o->password) {
        fprintf(stderr, "--email and --password go together.\n");
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
        if (!peer_media(&probe->peers[i], probe->loop, why))
            return false;
    if (pthread_create(&sending, NULL, sending_thread, probe) != 0) {
        snprintf(why, PROBE_WHY_BYTES, "no thread for sending");
        return false;
    }
    for (unsigned tick = 0; ok && !interrupted && tick < o->seconds * 10; tick++) {
        usleep(100000);
        for (unsigned i = 0; ok && i < probe->peer_count; i++)
            ok = peer_is_well(&probe->peers[i], why) && peer_consume_news(&probe->peers[i], why);
    }
    probe->sending_ends = true;
    pthread_join(sending, NULL);
    usleep(300000); /* what is still on its way */
    return ok;
}

/* ---- the report ---- */

/* What a receiver of our own misses: by the sender's numbers, else by sequence numbers. */
static uint64_t lost_of(const struct probe *probe, unsigned peer, const struct receiver *r)
{
    const struct peer *other = &probe->peers[1 - peer];

    if (probe->peer_count == 2 && r->ours)
        return receiver_lost_of(r, r->is_video ? &other->video : &other->audio);
    return receiver_lost(r);
}

static double percent(uint64_t lost, uint64_t came)
{
    return lost + came ? 100.0 * (double)lost / (double)(lost + came) : 100;
}

static bool judge_receiver(const struct probe *probe, unsigned peer, const struct receiver *r,
                           char *why)
{
    double lost = percent(lost_of(probe, peer, r), r->packets);

    if (r->packets == 0 && (probe->peer_count == 2 || (r->is_video && !r->paused))) {
        snprintf(why, PROBE_WHY_BYTES, "%s was subscribed to and nothing of it came",
                 r->is_video ? "video" : "audio");
        return false;
    }
    if (r->packets && lost > probe->options.loss_percent_max) {
        snprintf(why, PROBE_WHY_BYTES, "%.2f %% of a stream of %s was lost", lost,
                 r->is_video ? "video" : "audio");
        return false;
    }
    return true;
}

/* By the server's reports about what we sent. */
static bool judge_sender(const struct probe *probe, const struct sender *s, char *why)
{
    double lost = percent(s->reported_lost, s->packets);

    if (!s->reports && !interrupted && probe->options.seconds >= REPORTS_WITHIN_S) {
        snprintf(why, PROBE_WHY_BYTES, "the server sent no report about the %s it was sent",
                 s->is_video ? "video" : "audio");
        return false;
    }
    if (lost > probe->options.loss_percent_max) {
        snprintf(why, PROBE_WHY_BYTES, "%.2f %% of the %s did not reach the server", lost,
                 s->is_video ? "video" : "audio");
        return false;
    }
    return true;
}

/* Every stream came, and little enough was lost. */
static bool judge(const struct probe *probe, char *why)
{
    unsigned streams = 0;

    for (unsigned i = 0; i < probe->peer_count; i++) {
        const struct peer *p = &probe->peers[i];

        streams += p->consumer_count;
        for (unsigned c = 0; c < p->consumer_count; c++)
            if (!judge_receiver(probe, i, &p->consumers[c], why))
                return false;
        if (!judge_sender(probe, &p->video, why) || !judge_sender(probe, &p->audio, why))
            return false;
    }
    if (probe->peer_count == 2 && streams < 4) {
        snprintf(why, PROBE_WHY_BYTES, "only %u of 4 streams were announced", streams);
        return false;
    }
    return true;
}

static void report_sent(cJSON *one, const struct sender *s)
{
    cJSON *stream = cJSON_CreateObject();

    cJSON_AddStringToObject(stream, "kind", s->is_video ? "video" : "audio");
    cJSON_AddNumberToObject(stream, "packets", (double)s->packets);
    if (s->reports) {
        cJSON_AddNumberToObject(stream, "lost", s->reported_lost);
        cJSON_AddNumberToObject(stream, "roundTripMs", s->round_trip_ms);
    }
    cJSON_AddItemToArray(one, stream);
}

static double first_packet_ms(const struct receiver *r)
{
    return ((double)r->first_ns - (double)r->consumed_ns) / 1e6;
}

static cJSON *report(struct probe *probe, bool ok, const char *why)
{
    cJSON *all = cJSON_CreateObject(), *peers = cJSON_AddArrayToObject(all, "participants");

    cJSON_AddBoolToObject(all, "works", ok);
    if (!ok)
        cJSON_AddStringToObject(all, "why", why);
    for (unsigned i = 0; i < probe->peer_count; i++) {
        struct peer *p = &probe->peers[i];
        cJSON *one = cJSON_CreateObject(), *streams;

        cJSON_AddItemToArray(peers, one);
        cJSON_AddStringToObject(one, "name", p->name);
        cJSON_AddNumberToObject(one, "accountMs", p->account_ms);
        cJSON_AddNumberToObject(one, "socketMs", p->socket_ms);
        cJSON_AddNumberToObject(one, "joinMs", p->join_ms);
        cJSON_AddNumberToObject(one, "iceMs", p->ice_ms);
        cJSON_AddNumberToObject(one, "dtlsMs", p->dtls_ms);
        if (p->send)
            cJSON_AddStringToObject(one, "srtp", transport_times(p->send).profile);
        streams = cJSON_AddArrayToObject(one, "sent");
        report_sent(streams, &p->video);
        report_sent(streams, &p->audio);
        cJSON_AddNumberToObject(one, "notSubscribed", p->left_out);
        streams = cJSON_AddArrayToObject(one, "received");
        for (unsigned c = 0; c < p->consumer_count; c++) {
            struct receiver *r = &p->consumers[c];
            cJSON *stream = cJSON_CreateObject();

            cJSON_AddItemToArray(streams, stream);
            cJSON_AddStringToObject(stream, "kind", r->is_video ? "video" : "audio");
            cJSON_AddNumberToObject(stream, "packets", (double)r->packets);
            cJSON_AddNumberToObject(stream, "lost", (double)lost_of(probe, i, r));
            cJSON_AddNumberToObject(stream, "duplicates", (double)r->duplicates);
            cJSON_AddNumberToObject(stream, "lossPercent",
                                    percent(lost_of(probe, i, r), r->packets));
            if (r->packets) {
                cJSON_AddNumberToObject(stream, "firstPacketMs", first_packet_ms(r));
                /* of the monotonic clock, for who knows what happened when */
                cJSON_AddNumberToObject(stream, "lastPacketAtMs", (double)r->last_ns / 1e6);
            }
            if (r->ours) {
                cJSON_AddNumberToObject(stream, "latencyP50Us", receiver_latency_us(r, 50));
                cJSON_AddNumberToObject(stream, "latencyP99Us", receiver_latency_us(r, 99));
                cJSON_AddNumberToObject(stream, "latencyMaxUs", receiver_latency_us(r, 100));
            }
        }
    }
    return all;
}

static void print_text(struct probe *probe, bool ok, const char *why)
{
    for (unsigned i = 0; i < probe->peer_count; i++) {
        struct peer *p = &probe->peers[i];

        printf("%s: account %.0f ms, socket %.0f ms, join %.0f ms, ICE %.0f ms, DTLS %.0f ms",
               p->name, p->account_ms, p->socket_ms, p->join_ms, p->ice_ms, p->dtls_ms);
        printf(p->send ? ", %s\n" : "%s\n", p->send ? transport_times(p->send).profile : "");
        if (p->video.reports)
            printf("  sent video: %llu packets, lost %u, round trip %.1f ms\n",
                   (unsigned long long)p->video.packets, p->video.reported_lost,
                   p->video.round_trip_ms);
        if (p->left_out)
            printf("  not subscribed to %u streams more\n", p->left_out);
        for (unsigned c = 0; c < p->consumer_count; c++) {
            struct receiver *r = &p->consumers[c];

            printf("  received %s: %llu packets, lost %llu (%.2f %%), duplicates %llu",
                   r->is_video ? "video" : "audio", (unsigned long long)r->packets,
                   (unsigned long long)lost_of(probe, i, r),
                   percent(lost_of(probe, i, r), r->packets), (unsigned long long)r->duplicates);
            if (r->packets)
                printf(", first after %.0f ms", first_packet_ms(r));
            if (r->ours)
                printf(", latency p50 %.2f ms, p99 %.2f ms, max %.2f ms",
                       receiver_latency_us(r, 50) / 1e3, receiver_latency_us(r, 99) / 1e3,
                       receiver_latency_us(r, 100) / 1e3);
            printf("\n");
        }
    }
    if (ok)
        printf("This installation works.\n");
    else
        printf("This installation does not work: %s.\n", why);
}

int main(int argc, char **argv)
{
    static struct probe probe;
    char why[PROBE_WHY_BYTES] = "", fingerprint[96];
    pthread_t loop;
    uint64_t mark;
    bool ok;

    if (!read_options(&probe.options, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    if (!transport_identity(fingerprint)) {
        fprintf(stderr, "OpenSSL makes no certificate.\n");
        return 1;
    }
    probe.peer_count = probe.options.room ? 1 : 2;
    mark = (uint64_t)g_random_int() << 32 | g_random_int();
    for (unsigned i = 0; i < probe.peer_count; i++) {
        probe.peers[i].name = i ? "probe B" : "probe A";
        probe.peers[i].mark = mark;
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
    ok = ok && judge(&probe, why); /* of counters that nobody moves any more */
    if (probe.options.json) {
        cJSON *all = report(&probe, ok, why);
        char *text = cJSON_Print(all);

        puts(text);
        free(text);
        cJSON_Delete(all);
    } else {
        print_text(&probe, ok, why);
    }
    for (unsigned i = 0; i < probe.peer_count; i++)
        peer_leave(&probe.peers[i]);
    g_main_context_unref(probe.loop);
    return ok ? 0 : 1;
}
