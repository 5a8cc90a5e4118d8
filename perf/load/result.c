/* Judges, prints and writes the result of a run. */
#include "result.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measurement.h"
#include "net.h"
#include "options.h"
#include "src/clock.h"

#define OWN_CPU_MAX 0.90 /* of a core */
#define LATENESS_MAX_NS (2 * NS_PER_MS)

static double window_s(const struct measurement *m)
{
    return (double)(m->ended_ns - m->began_ns) / 1e9;
}

static double own_cpu(const struct measurement *m)
{
    return (double)m->own_cpu_ns / (double)(m->ended_ns - m->began_ns);
}

static double server_ns(const struct result *r)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < r->after.count; i++)
        sum += server_usage_cpu_ns(&r->before, &r->after, i);
    return (double)sum;
}

/* CPU time of the server per forwarded packet, in ns; 0: unknown. Packets that --receive-loss dropped
 * count: the server forwarded them. The two readings of the server's
 * CPU time are a little further apart than start and stop, so both sides are first taken per
 * second. */
static double forwarded_ns(const struct result *r, const struct measurement *m)
{
    double wall = (double)(r->after.wall_ns - r->before.wall_ns);

    if (!m->counts.rtp_received || wall <= 0 || r->server_died)
        return 0;
    return server_ns(r) / wall * window_s(m) * 1e9 /
           (double)(m->counts.rtp_received + m->counts.injected_loss);
}

/* The memory that one endpoint added to the server. */
static double memory_mib(const struct result *r)
{
    double more =
        (double)server_usage_memory_kib(&r->before) - (double)server_usage_memory_kib(&r->empty);

    return r->endpoints ? more / 1024 / r->endpoints : 0;
}

static double sendto_ns(const struct result *r)
{
    return (r->sendto_before_ns + r->sendto_after_ns) / 2;
}

void result_judge(struct result *r)
{
    const struct measurement *m = r->measurement;

    r->invalid_count = 0;
    if (own_cpu(m) > OWN_CPU_MAX)
        r->invalid[r->invalid_count++] = "the generator's thread used more than 90 % of its core";
    if (histogram_percentile(&m->lateness, 99) > LATENESS_MAX_NS)
        r->invalid[r->invalid_count++] = "frames were sent more than 2 ms late (p99)";
    if (m->drops)
        r->invalid[r->invalid_count++] = "the generator's own sockets overflowed";
    if (m->send_failed)
        r->invalid[r->invalid_count++] = "the kernel refused some of the generator's send calls";
    if (r->net->truncated)
        r->invalid[r->invalid_count++] =
            "datagrams arrived that were larger than the generator's buffers";
}

/* ---- text ---- */

static void print_latency(const char *what, const struct histogram *h)
{
    if (h->count)
        printf("latency   %s: p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f ms\n", what,
               (double)histogram_percentile(h, 50) / 1e6, (double)histogram_percentile(h, 90) / 1e6,
               (double)histogram_percentile(h, 99) / 1e6,
               (double)histogram_percentile(h, 99.9) / 1e6, (double)h->max / 1e6);
}

static void print_sums(const char *what, const struct media_sums *s)
{
    if (s->receivers)
        printf("%-9s %lu streams: received %lu of %lu packets, lost %lu (%.4f %%; in %lu streams, "
               "worst %.3f %%), duplicates %lu, reordered %lu (by at most %u), too late to judge "
               "%lu, streams without any packet %lu\n",
               what, s->receivers, s->received, s->expected, s->lost,
               s->expected ? 100.0 * (double)s->lost / (double)s->expected : 0, s->with_loss,
               100 * s->loss_worst, s->duplicates, s->reordered, s->distance_max, s->ancient,
               s->silent);
    if (s->not_sent)
        printf("          %lu of the lost packets were not sent at all (--loss)\n", s->not_sent);
}

/* What the subscribers did about losses. */
static void print_answers(const struct measurement *m, const struct options *o)
{
    const struct media_counts *c = &m->counts;
    const struct gap_counts *g = &m->gaps;

    if (o->nack)
        printf("repair    missing %lu: late %lu, repaired %lu, superseded by a key frame %lu, "
               "never %lu, open at the end %lu; asked "
               "for %lu in %lu NACKs, RTX received %lu; missing p50 %.0f p99 %.0f ms; key frames "
               "asked %lu\n",
               g->lost, g->late, g->repaired, g->superseded, g->never, m->gaps_open,
               c->nack_packets_sent, c->nack_sent, c->rtx_received,
               (double)histogram_percentile(&m->missing, 50) / 1e6,
               (double)histogram_percentile(&m->missing, 99) / 1e6, c->pli_sent);
    if (o->transport_cc)
        printf("feedback  %lu transport-cc reports about %lu packets%s\n", c->transport_cc_sent,
               c->transport_cc_packets,
               c->transport_cc_unnumbered > c->transport_cc_packets / 2
                   ? "; the server does not number them"
                   : "");
}

/* --verify: what was wrong, each kind in a line. */
static void print_verified(const struct verify_counts *v)
{
    printf("verified  %lu packets, %lu pictures, %lu switches of encoding, %lu empty packets, %lu "
           "missing, %lu frames useless because of that: %lu violations\n",
           v->packets, v->pictures, v->switches, v->empty, v->holes, v->after_hole, verify_sum(v));
    for (int i = 0; i < VIOLATION_COUNT; i++)
        if (v->found[i])
            printf("          %-20s %6lu  %s\n", violation_names[i], v->found[i],
                   violation_texts[i]);
}

static void print_layers(const struct result *r)
{
    const struct histogram *h = &r->measurement->layer_delay;

    printf(
        "layers    %u requests, %u refused%s%s; %lu arrived: p50 %.0f p95 %.0f p99 %.0f ms after "
        "the request\n",
        r->layer_requests, r->layer_refused, r->layer_refused ? ", first: " : "", r->layer_refusal,
        h->count, (double)histogram_percentile(h, 50) / 1e6,
        (double)histogram_percentile(h, 95) / 1e6, (double)histogram_percentile(h, 99) / 1e6);
}

static void print_server(const struct result *r, const struct measurement *m,
                         const struct options *o)
{
    double wall = (double)(r->after.wall_ns - r->before.wall_ns);

    if (r->sendto_before_ns > 0)
        printf("sendto    one call of %u bytes costs %.0f ns before, %.0f ns after\n",
               r->sendto_bytes, r->sendto_before_ns, r->sendto_after_ns);
    if (!o->server_pid_count)
        return;
    printf("server    %.0f ns of CPU per forwarded packet", forwarded_ns(r, m));
    if (sendto_ns(r) > 0)
        printf(" = %.3f sendto calls", forwarded_ns(r, m) / sendto_ns(r));
    printf("; %.1f %% of a core", 100 * server_ns(r) / wall);
    if (o->server_cpu >= 0)
        printf(", its core is %.1f %% busy",
               100 * (double)(r->after.core_busy_ns - r->before.core_busy_ns) / wall);
    printf("\n");
    printf("            memory %.1f MiB, %.4f MiB per endpoint\n",
           (double)server_usage_memory_kib(&r->before) / 1024, memory_mib(r));
    for (unsigned i = 0; i < r->after.count; i++)
        printf("            %-40s %.2f %%\n", r->after.processes[i].name,
               100 * (double)server_usage_cpu_ns(&r->before, &r->after, i) / wall);
    if (r->server_died)
        printf("            %u of its processes ended during the measurement\n", r->server_died);
}

void result_print(const struct result *r)
{
    const struct measurement *m = r->measurement;
    const struct media_counts *c = &m->counts;
    const struct net_counters *net = r->net;

    if (!r->measured) {
        printf("FAILED    %s\n", r->failure);
        return;
    }
    printf("endpoints %u, receiving %u streams; connected in %.1f s, all streams flowing after "
           "%.1f s more, "
           "measured for %.1f s\n",
           r->endpoints, r->receivers, r->ramp_s, r->settle_s, window_s(m));
    printf("packets   received %.0f/s, %.1f Mbit/s; sent %.0f/s\n",
           (double)c->rtp_received / window_s(m),
           (double)c->rtp_received_bytes * 8 / 1e6 / window_s(m),
           (double)c->rtp_sent / window_s(m));
    print_sums("video", &m->sums[STREAM_VIDEO]);
    print_sums("audio", &m->sums[STREAM_AUDIO]);
    printf("errors    unauthentic %lu, replayed %lu, malformed %lu, corrupt %lu, misrouted %lu, "
           "foreign %lu, before the first key frame %lu\n",
           c->unauthentic, c->replayed, c->malformed, c->corrupt, c->misrouted, c->foreign,
           c->before_key_frame);
    print_answers(m, r->options);
    if (r->options->verify)
        print_verified(&m->verify);
    if (r->options->flip_layers)
        print_layers(r);
    if (r->options->joiners)
        joins_print(&r->joins);
    print_latency("video", &m->latency[STREAM_VIDEO]);
    print_latency("audio", &m->latency[STREAM_AUDIO]);
    print_server(r, m, r->options);
    printf("generator %.1f %% of its core; p99: sent %.3f ms late, read %.3f ms after arrival; own "
           "sockets dropped %lu, refused sends %lu; %.1f packets per message read\n",
           100 * own_cpu(m), (double)histogram_percentile(&m->lateness, 99) / 1e6,
           (double)histogram_percentile(&m->read_lag, 99) / 1e6, m->drops, m->send_failed,
           (double)net->received / ((double)net->messages + 1e-9));
    if (r->failure[0])
        printf("NOTE      %s\n", r->failure);
    for (unsigned i = 0; i < r->invalid_count; i++)
        printf("INVALID   %s\n", r->invalid[i]);
    if (!r->invalid_count)
        printf("valid     the generator was not the bottleneck\n");
}

/* ---- JSON ---- */

static cJSON *latency_json(const struct histogram *h)
{
    static const struct {
        const char *name;
        double percentile;
    } points[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p999", 99.9}, {"p9999", 99.99}};
    cJSON *o = cJSON_CreateObject();

    cJSON_AddNumberToObject(o, "count", (double)h->count);
    cJSON_AddNumberToObject(o, "min", (double)(h->count ? h->min : 0) / 1e6);
    cJSON_AddNumberToObject(o, "mean", histogram_mean(h) / 1e6);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        cJSON_AddNumberToObject(o, points[i].name,
                                (double)histogram_percentile(h, points[i].percentile) / 1e6);
    cJSON_AddNumberToObject(o, "max", (double)h->max / 1e6);
    return o;
}

static cJSON *sums_json(const struct media_sums *s)
{
    cJSON *o = cJSON_CreateObject();

#define N(name) cJSON_AddNumberToObject(o, #name, (double)s->name)
    N(receivers), N(silent), N(with_loss), N(expected), N(received), N(lost), N(not_sent),
        N(duplicates);
    N(reordered), N(ancient), N(distance_max), N(lost_worst), N(loss_worst);
#undef N
    return o;
}

static cJSON *counts_json(const struct media_counts *c)
{
    cJSON *o = cJSON_CreateObject();

#define N(name) cJSON_AddNumberToObject(o, #name, (double)c->name)
    N(rtp_received), N(rtp_received_bytes), N(rtp_sent), N(rtp_sent_bytes);
    N(unauthentic), N(replayed), N(malformed), N(corrupt), N(foreign), N(misrouted);
    N(before_key_frame), N(unknown_ssrc), N(unknown_endpoint), N(too_early);
    N(rtcp_received), N(rtcp_sent), N(rtcp_bad), N(pli_sent), N(pli_received), N(fir_received);
    N(nack_sent), N(nack_packets_sent), N(nack_received), N(rtx_sent), N(rtx_received);
    N(transport_cc_sent), N(transport_cc_packets), N(transport_cc_unnumbered);
    N(checks_sent), N(checks_answered), N(check_errors), N(consent_lost);
    N(injected_send_loss), N(injected_send_reorder), N(injected_loss), N(injected_duplicate);
    N(injected_corrupt), N(injected_scramble);
#undef N
    return o;
}

static void server_json(cJSON *root, const struct result *r, const struct measurement *m)
{
    cJSON *server = cJSON_AddObjectToObject(root, "server"), *list;
    double wall = (double)(r->after.wall_ns - r->before.wall_ns);

    cJSON_AddNumberToObject(server, "cpu_ns_per_packet", forwarded_ns(r, m));
    cJSON_AddNumberToObject(server, "sendto_per_packet",
                            sendto_ns(r) > 0 ? forwarded_ns(r, m) / sendto_ns(r) : 0);
    cJSON_AddNumberToObject(server, "cpu_share", server_ns(r) / wall);
    cJSON_AddNumberToObject(server, "core_busy_share",
                            (double)(r->after.core_busy_ns - r->before.core_busy_ns) / wall);
    cJSON_AddNumberToObject(server, "sendto_before_ns", r->sendto_before_ns);
    cJSON_AddNumberToObject(server, "sendto_after_ns", r->sendto_after_ns);
    cJSON_AddNumberToObject(server, "sendto_bytes", r->sendto_bytes);
    cJSON_AddNumberToObject(server, "memory_mib",
                            (double)server_usage_memory_kib(&r->before) / 1024);
    cJSON_AddNumberToObject(server, "memory_mib_per_endpoint", memory_mib(r));
    list = cJSON_AddArrayToObject(server, "processes");
    for (unsigned i = 0; i < r->after.count; i++) {
        cJSON *one = cJSON_CreateObject();

        cJSON_AddStringToObject(one, "name", r->after.processes[i].name);
        cJSON_AddNumberToObject(one, "pid", r->after.processes[i].pid);
        cJSON_AddNumberToObject(one, "cpu_share",
                                (double)server_usage_cpu_ns(&r->before, &r->after, i) / wall);
        cJSON_AddItemToArray(list, one);
    }
    cJSON_AddNumberToObject(server, "died", r->server_died);
}

static cJSON *verify_json(const struct verify_counts *v)
{
    cJSON *o = cJSON_CreateObject(), *found = cJSON_AddObjectToObject(o, "found");

    for (int i = 0; i < VIOLATION_COUNT; i++)
        cJSON_AddNumberToObject(found, violation_names[i], (double)v->found[i]);
    cJSON_AddNumberToObject(o, "violations", (double)verify_sum(v));
    cJSON_AddNumberToObject(o, "packets", (double)v->packets);
    cJSON_AddNumberToObject(o, "pictures", (double)v->pictures);
    cJSON_AddNumberToObject(o, "switches", (double)v->switches);
    cJSON_AddNumberToObject(o, "holes", (double)v->holes);
    cJSON_AddNumberToObject(o, "empty", (double)v->empty);
    cJSON_AddNumberToObject(o, "after_hole", (double)v->after_hole);
    return o;
}

static cJSON *joins_json(const struct joins *j)
{
    cJSON *o = cJSON_CreateObject();

    cJSON_AddNumberToObject(o, "joined", j->joined);
    cJSON_AddNumberToObject(o, "without_key_frame", j->without_key_frame);
    cJSON_AddNumberToObject(o, "seconds", j->seconds);
    cJSON_AddNumberToObject(o, "key_frames_asked", j->key_frames_asked);
    cJSON_AddNumberToObject(o, "key_frames_sent", j->key_frames_sent);
    cJSON_AddItemToObject(o, "first_key_frame_ms", latency_json(&j->waited));
    cJSON_AddItemToObject(o, "connected_ms", latency_json(&j->connected));
    return o;
}

static cJSON *result_json(const struct result *r)
{
    const struct measurement *m = r->measurement;
    static struct histogram all;
    cJSON *root = cJSON_CreateObject(), *one;

    cJSON_AddBoolToObject(root, "measured", r->measured);
    cJSON_AddBoolToObject(root, "valid", r->measured && r->invalid_count == 0);
    one = cJSON_AddArrayToObject(root, "invalid_because");
    for (unsigned i = 0; i < r->invalid_count; i++)
        cJSON_AddItemToArray(one, cJSON_CreateString(r->invalid[i]));
    cJSON_AddStringToObject(root, "failure", r->failure);
    cJSON_AddNumberToObject(root, "endpoints", r->endpoints);
    cJSON_AddNumberToObject(root, "streams", r->receivers);
    cJSON_AddNumberToObject(root, "churned", r->churned);
    cJSON_AddNumberToObject(root, "ramp_s", r->ramp_s);
    cJSON_AddNumberToObject(root, "settle_s", r->settle_s);
    if (!r->measured)
        return root;
    cJSON_AddNumberToObject(root, "window_s", window_s(m));
    cJSON_AddNumberToObject(root, "packets_per_second",
                            (double)m->counts.rtp_received / window_s(m));
    cJSON_AddNumberToObject(root, "mbit_per_second",
                            (double)m->counts.rtp_received_bytes * 8 / 1e6 / window_s(m));
    cJSON_AddItemToObject(root, "video", sums_json(&m->sums[STREAM_VIDEO]));
    cJSON_AddItemToObject(root, "audio", sums_json(&m->sums[STREAM_AUDIO]));
    histogram_reset(&all);
    histogram_add(&all, &m->latency[STREAM_VIDEO]);
    histogram_add(&all, &m->latency[STREAM_AUDIO]);
    cJSON_AddItemToObject(root, "latency_ms", latency_json(&all));
    cJSON_AddItemToObject(root, "video_latency_ms", latency_json(&m->latency[STREAM_VIDEO]));
    cJSON_AddItemToObject(root, "audio_latency_ms", latency_json(&m->latency[STREAM_AUDIO]));
    cJSON_AddItemToObject(root, "counts", counts_json(&m->counts));
    if (r->options->verify)
        cJSON_AddItemToObject(root, "verify", verify_json(&m->verify));
    if (r->options->flip_layers) {
        one = cJSON_AddObjectToObject(root, "layers");
        cJSON_AddNumberToObject(one, "requests", r->layer_requests);
        cJSON_AddNumberToObject(one, "refused", r->layer_refused);
        cJSON_AddStringToObject(one, "refusal", r->layer_refusal);
        cJSON_AddItemToObject(one, "delay_ms", latency_json(&m->layer_delay));
    }
    if (r->options->joiners)
        cJSON_AddItemToObject(root, "joins", joins_json(&r->joins));
    one = cJSON_AddObjectToObject(root, "repair");
    cJSON_AddNumberToObject(one, "lost", (double)m->gaps.lost);
    cJSON_AddNumberToObject(one, "late", (double)m->gaps.late);
    cJSON_AddNumberToObject(one, "repaired", (double)m->gaps.repaired);
    cJSON_AddNumberToObject(one, "superseded", (double)m->gaps.superseded);
    cJSON_AddNumberToObject(one, "never", (double)m->gaps.never);
    cJSON_AddNumberToObject(one, "open", (double)m->gaps_open);
    cJSON_AddItemToObject(one, "missing_ms", latency_json(&m->missing));
    server_json(root, r, m);
    if (m->room_latency) {
        one = cJSON_AddArrayToObject(root, "room_latency_ms");
        for (unsigned i = 0; i < r->options->rooms; i++)
            cJSON_AddItemToArray(one, latency_json(&m->room_latency[i]));
    }
    one = cJSON_AddObjectToObject(root, "generator");
    cJSON_AddNumberToObject(one, "cpu_share", own_cpu(m));
    cJSON_AddNumberToObject(one, "process_cpu_share",
                            (double)m->own_process_cpu_ns / 1e9 / window_s(m));
    cJSON_AddItemToObject(one, "lateness_ms", latency_json(&m->lateness));
    cJSON_AddItemToObject(one, "read_lag_ms", latency_json(&m->read_lag));
    cJSON_AddNumberToObject(one, "drops", (double)m->drops);
    cJSON_AddNumberToObject(one, "send_failed", (double)m->send_failed);
    return root;
}

bool result_write(const struct result *r, const char *path)
{
    cJSON *root = result_json(r);
    char *text = cJSON_Print(root);
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    bool ok = file && text && fprintf(file, "%s\n", text) > 0;

    if (file && file != stdout)
        ok = fclose(file) == 0 && ok;
    if (!ok)
        fprintf(stderr, "ringcast-load: %s: %s\n", path, strerror(errno));
    free(text);
    cJSON_Delete(root);
    return ok;
}
