/* Judges a run of the probe and prints it. */
#include "result.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "probe.h"

#define REPORTS_WITHIN_S 4 /* the server sends a report every second */

/* Lost packets: by the numbers in the labels if this process sent the stream, else by sequence
 * numbers. */
static uint64_t lost_of(const struct probe *probe, unsigned peer, const struct receiver *r)
{
    const struct peer *other = &probe->peers[1 - peer];

    if (probe->peer_count == 2 && r->is_own)
        return receiver_lost_of(r, r->is_video ? &other->video : &other->audio);
    return receiver_lost(r);
}

static double percent(uint64_t lost, uint64_t arrived)
{
    return lost + arrived ? 100.0 * (double)lost / (double)(lost + arrived) : 100;
}

static bool judge_receiver(const struct probe *probe, unsigned peer, const struct receiver *r,
                           char *why)
{
    double lost = percent(lost_of(probe, peer, r), r->packets);

    if (r->packets == 0 && (probe->peer_count == 2 || (r->is_video && !r->paused))) {
        snprintf(why, PROBE_WHY_BYTES, "a subscribed %s stream sent no packet",
                 r->is_video ? "video" : "audio");
        return false;
    }
    if (r->packets && lost > probe->options.loss_percent_max) {
        snprintf(why, PROBE_WHY_BYTES, "%.2f %% of a received %s stream was lost", lost,
                 r->is_video ? "video" : "audio");
        return false;
    }
    return true;
}

/* By the server's receiver reports. */
static bool judge_sender(const struct probe *probe, const struct sender *s, char *why)
{
    double lost = percent(s->reported_lost, s->packets);

    if (!s->reports && !probe->interrupted && probe->options.seconds >= REPORTS_WITHIN_S) {
        snprintf(why, PROBE_WHY_BYTES, "the server sent no receiver report about the %s",
                 s->is_video ? "video" : "audio");
        return false;
    }
    if (lost > probe->options.loss_percent_max) {
        snprintf(why, PROBE_WHY_BYTES, "%.2f %% of the sent %s did not reach the server", lost,
                 s->is_video ? "video" : "audio");
        return false;
    }
    return true;
}

bool result_judge(const struct probe *probe, char *why)
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
        snprintf(why, PROBE_WHY_BYTES, "the server announced only %u of 4 streams", streams);
        return false;
    }
    return true;
}

static void add_sent_stream(cJSON *one, const struct sender *s)
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

static void add_received_stream(cJSON *streams, const struct probe *probe, unsigned peer,
                                struct receiver *r)
{
    cJSON *stream = cJSON_CreateObject();

    cJSON_AddItemToArray(streams, stream);
    cJSON_AddStringToObject(stream, "kind", r->is_video ? "video" : "audio");
    cJSON_AddNumberToObject(stream, "packets", (double)r->packets);
    cJSON_AddNumberToObject(stream, "lost", (double)lost_of(probe, peer, r));
    cJSON_AddNumberToObject(stream, "duplicates", (double)r->duplicates);
    cJSON_AddNumberToObject(stream, "lossPercent", percent(lost_of(probe, peer, r), r->packets));
    if (r->packets) {
        cJSON_AddNumberToObject(stream, "firstPacketMs", first_packet_ms(r));
        /* by the monotonic clock, so that tests can compare it with other events */
        cJSON_AddNumberToObject(stream, "lastPacketAtMs", (double)r->last_ns / 1e6);
    }
    if (r->is_own) {
        cJSON_AddNumberToObject(stream, "latencyP50Us", receiver_latency_us(r, 50));
        cJSON_AddNumberToObject(stream, "latencyP99Us", receiver_latency_us(r, 99));
        cJSON_AddNumberToObject(stream, "latencyMaxUs", receiver_latency_us(r, 100));
    }
}

static cJSON *result_json(struct probe *probe, bool ok, const char *why)
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
        add_sent_stream(streams, &p->video);
        add_sent_stream(streams, &p->audio);
        cJSON_AddNumberToObject(one, "notSubscribed", p->left_out);
        streams = cJSON_AddArrayToObject(one, "received");
        for (unsigned c = 0; c < p->consumer_count; c++)
            add_received_stream(streams, probe, i, &p->consumers[c]);
    }
    return all;
}

/* How long each step took, up to the first one that did not succeed. */
static void print_steps(const struct peer *p)
{
    const struct {
        const char *name;
        double ms;
    } steps[] = {{"account", p->account_ms},
                 {"signaling", p->socket_ms},
                 {"join", p->join_ms},
                 {"ICE", p->ice_ms},
                 {"DTLS", p->dtls_ms}};
    unsigned done = 0;

    printf("%s:", p->name);
    for (; done < sizeof(steps) / sizeof(steps[0]) && steps[done].ms > 0; done++)
        printf("%s %s %.0f ms", done ? "," : "", steps[done].name, steps[done].ms);
    if (p->dtls_ms > 0)
        printf(", %s", transport_times(p->send).profile);
    printf("%s\n", done ? "" : " no step succeeded");
}

static void print_text(struct probe *probe, bool ok, const char *why)
{
    for (unsigned i = 0; i < probe->peer_count; i++) {
        struct peer *p = &probe->peers[i];

        print_steps(p);
        if (p->video.reports)
            printf("  sent video: %llu packets, lost %u, round trip %.1f ms\n",
                   (unsigned long long)p->video.packets, p->video.reported_lost,
                   p->video.round_trip_ms);
        if (p->left_out)
            printf("  %u more streams exist that the probe did not subscribe to\n", p->left_out);
        for (unsigned c = 0; c < p->consumer_count; c++) {
            struct receiver *r = &p->consumers[c];

            printf("  received %s: %llu packets, lost %llu (%.2f %%), duplicates %llu",
                   r->is_video ? "video" : "audio", (unsigned long long)r->packets,
                   (unsigned long long)lost_of(probe, i, r),
                   percent(lost_of(probe, i, r), r->packets), (unsigned long long)r->duplicates);
            if (r->packets)
                printf(", first after %.0f ms", first_packet_ms(r));
            if (r->is_own)
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

void result_print(struct probe *probe, bool works, const char *why)
{
    cJSON *all;
    char *text;

    if (!probe->options.json) {
        print_text(probe, works, why);
        return;
    }
    all = result_json(probe, works, why);
    text = cJSON_Print(all);
    puts(text);
    free(text);
    cJSON_Delete(all);
}
