/* Prints what happened between two samples. */
#include "top.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/clock.h"

/* Counters only rise, so a smaller one is from a forwarder that has restarted since. */
static uint64_t rise(uint64_t before, uint64_t now)
{
    return now >= before ? now - before : now;
}

static double per_second(uint64_t count, uint64_t elapsed_ns)
{
    return elapsed_ns ? (double)count * 1e9 / (double)elapsed_ns : 0;
}

/* "950 bit/s", "1.20 Mbit/s" */
static const char *bitrate(char text[24], uint64_t bytes, uint64_t elapsed_ns)
{
    double bps = per_second(bytes * 8, elapsed_ns);

    if (bps >= 1e9)
        snprintf(text, 24, "%.2f Gbit/s", bps / 1e9);
    else if (bps >= 1e6)
        snprintf(text, 24, "%.2f Mbit/s", bps / 1e6);
    else if (bps >= 1e3)
        snprintf(text, 24, "%.1f kbit/s", bps / 1e3);
    else
        snprintf(text, 24, "%.0f bit/s", bps);
    return text;
}

static unsigned print_workers(FILE *to, const struct top_sample *before,
                              const struct top_sample *now, uint64_t elapsed_ns)
{
    unsigned lines = 1;

    fprintf(to, "%-7s %6s %10s %10s %12s %12s %10s %9s %9s  %s\n", "WORKER", "LOAD", "IN pkt/s",
            "OUT pkt/s", "IN", "OUT", "TRANSPORTS", "PRODUCERS", "CONSUMERS", "PORT, BACKEND");
    for (unsigned w = 0; w < WORKERS_MAX; w++) {
        const struct worker_state_row *state = &now->workers[w];
        const uint64_t *c = now->counters[w].counters;
        static const uint64_t none[COUNTER_ROOM];
        const uint64_t *was = before->worker_there[w] ? before->counters[w].counters : none;
        uint64_t busy_ns = before->worker_there[w] ? before->workers[w].busy_ns : 0;
        char in[24], out[24];

        if (!now->worker_there[w])
            continue;
        fprintf(
            to, "%-7u %5.1f%% %10.0f %10.0f %12s %12s %10u %9u %9u  %u, %.*s\n", w,
            per_second(rise(busy_ns, state->busy_ns), elapsed_ns) / 1e7,
            per_second(rise(was[COUNTER_received], c[COUNTER_received]), elapsed_ns),
            per_second(rise(was[COUNTER_rtp_sent], c[COUNTER_rtp_sent]), elapsed_ns),
            bitrate(in, rise(was[COUNTER_received_bytes], c[COUNTER_received_bytes]), elapsed_ns),
            bitrate(out, rise(was[COUNTER_rtp_sent_bytes], c[COUNTER_rtp_sent_bytes]), elapsed_ns),
            state->transport_count, state->producer_count, state->consumer_count, state->udp_port,
            (int)sizeof(state->backend), state->backend);
        lines++;
    }
    if (lines == 1)
        lines += (unsigned)(fputs("no worker has reported yet\n", to) >= 0);
    return lines;
}

/* ---- sums of verdicts and counters over all workers ---- */

static uint64_t total(const struct top_sample *sample, bool verdicts, unsigned index)
{
    uint64_t sum = 0;

    for (unsigned w = 0; w < WORKERS_MAX; w++)
        if (sample->worker_there[w])
            sum += verdicts ? sample->counters[w].verdicts[index]
                            : sample->counters[w].counters[index];
    return sum;
}

static unsigned print_totals(FILE *to, const struct top_sample *before,
                             const struct top_sample *now, uint64_t elapsed_ns, bool verdicts)
{
    unsigned lines = 2;

    fprintf(to, "\n%-24s %16s %12s\n", verdicts ? "VERDICT" : "COUNTER", "TOTAL", "PER SECOND");
    for (unsigned i = 0; i < (verdicts ? VERDICT_COUNT : COUNTER_COUNT); i++) {
        uint64_t count = total(now, verdicts, i);

        if (count == 0)
            continue;
        fprintf(to, "%-24s %16" PRIu64 " %12.1f\n", verdicts ? verdict_name(i) : counter_name(i),
                count, per_second(rise(total(before, verdicts, i), count), elapsed_ns));
        lines++;
    }
    return lines;
}

/* ---- layers and repair ---- */

static double counter_rate(const struct top_sample *before, const struct top_sample *now,
                           enum worker_counter counter)
{
    return per_second(rise(total(before, false, counter), total(now, false, counter)),
                      now->now_ns - before->now_ns);
}

static unsigned print_video(FILE *to, const struct top_sample *before, const struct top_sample *now)
{
    const struct video_sample *v = &now->video;

    fprintf(to, "\n%-12s %9s %9s %9s %9s %9s %10s %9s %11s\n", "VIDEO", "LAYER 0", "LAYER 1",
            "LAYER 2", "LAYER 3", "NOTHING", "SWITCHING", "SCORE < 7", "SWITCHES/s");
    fprintf(to, "%-12s %9u %9u %9u %9u %9u %10u %9u %11.1f\n", "subscribers", v->layers[0],
            v->layers[1], v->layers[2], v->layers[3], v->without, v->switching, v->poor,
            counter_rate(before, now, COUNTER_layer_switches));
    fprintf(to, "%-12s %9s %9s %9s %9s %12s\n", "REPAIR", "LOST/s", "AGAIN/s", "REFUSED/s",
            "GONE/s", "KEY FRAMES/s");
    fprintf(to, "%-12s %9.1f %9.1f %9s %9s %12.1f\n", "publishers",
            counter_rate(before, now, COUNTER_nack_sent),
            counter_rate(before, now, COUNTER_repaired_in), "-", "-",
            counter_rate(before, now, COUNTER_key_frames_asked));
    fprintf(to, "%-12s %9.1f %9.1f %9.1f %9.1f %12s\n", "subscribers",
            counter_rate(before, now, COUNTER_nack_received),
            counter_rate(before, now, COUNTER_rtx_sent),
            counter_rate(before, now, COUNTER_rtx_refused),
            counter_rate(before, now, COUNTER_rtx_missing), "-");
    return 6;
}

/* ---- transports ---- */

static uint64_t rate_of(const struct transport_sample *t)
{
    return rise(t->previous_received, t->row.bytes_received) +
           rise(t->previous_sent, t->row.bytes_sent);
}

static int busier_first(const void *a, const void *b)
{
    const struct transport_sample *x = a, *y = b;
    uint64_t rate_x = rate_of(x), rate_y = rate_of(y);

    if (rate_x != rate_y)
        return rate_x < rate_y ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* "192.0.2.1:40000", "[2001:db8::1]:40000", "-" */
static const char *tuple(char text[64], const uint8_t ip[16], uint16_t port)
{
    struct in6_addr address;
    char printed[INET6_ADDRSTRLEN];

    memcpy(&address, ip, sizeof(address));
    if (port == 0)
        snprintf(text, 64, "-");
    else if (IN6_IS_ADDR_V4MAPPED(&address))
        snprintf(text, 64, "%u.%u.%u.%u:%u", ip[12], ip[13], ip[14], ip[15], port);
    else
        snprintf(text, 64, "[%s]:%u", inet_ntop(AF_INET6, ip, printed, sizeof(printed)), port);
    return text;
}

static const char *word(enum field_show show, unsigned value)
{
    const char *text = field_enum_text(show, value);

    return text ? text : "?";
}

static void print_transport(FILE *to, const struct transport_sample *t, uint64_t elapsed_ns)
{
    char in[24], out[24], remote[64];
    uint64_t packets = t->row.rtp_packets_received + t->row.rtp_packets_sent;

    fprintf(to, "%-7u %02x%02x%02x%02x %-5s %-12s %-10s %-26s %10.0f %12s %12s\n", t->index,
            t->id[0], t->id[1], t->id[2], t->id[3], word(SHOW_direction, t->direction),
            word(SHOW_ice_state, t->row.ice_state), word(SHOW_dtls_state, t->row.dtls_state),
            tuple(remote, t->row.remote_ip, t->row.remote_port),
            per_second(rise(t->previous_packets, packets), elapsed_ns),
            bitrate(in, rise(t->previous_received, t->row.bytes_received), elapsed_ns),
            bitrate(out, rise(t->previous_sent, t->row.bytes_sent), elapsed_ns));
}

static void print_transports(FILE *to, struct top_sample *now, uint64_t elapsed_ns, unsigned room)
{
    uint32_t shown = now->transport_count;

    if (room > 0 && shown > room)
        shown = room;
    qsort(now->transports, now->transport_count, sizeof(now->transports[0]), busier_first);
    fprintf(to, "\n%-7s %-8s %-5s %-12s %-10s %-26s %10s %12s %12s\n", "INDEX", "ID", "DIR", "ICE",
            "DTLS", "REMOTE", "RTP pkt/s", "IN", "OUT");
    for (uint32_t i = 0; i < shown; i++)
        print_transport(to, &now->transports[i], elapsed_ns);
    if (shown < now->transport_count)
        fprintf(to, "… and %u more with less traffic\n", now->transport_count - shown);
}

static void print_headline(FILE *to, const struct top_sample *now)
{
    uint64_t age_ns = now->now_ns > now->heartbeat_ns ? now->now_ns - now->heartbeat_ns : 0;

    if (now->heartbeat_ns == 0)
        fputs("ringcast: the forwarder has not started yet\n\n", to);
    else if (age_ns > SILENT_NS)
        fprintf(to, "ringcast: the forwarder gave no heartbeat for %.1f s: read its log\n\n",
                (double)age_ns / 1e9);
    else
        fprintf(to, "ringcast: %u transports, forwarder alive\n\n", now->transport_count);
}

void top_print(FILE *to, const struct top_sample *before, struct top_sample *now, unsigned lines)
{
    uint64_t elapsed_ns = now->now_ns - before->now_ns;
    unsigned used = 2;

    print_headline(to, now);
    used += print_workers(to, before, now, elapsed_ns);
    used += print_video(to, before, now);
    used += print_totals(to, before, now, elapsed_ns, true);
    if (lines == 0)
        print_totals(to, before, now, elapsed_ns, false);
    used += 4; /* blank lines, the line of column names, the line of what is left out */
    print_transports(to, now, elapsed_ns, lines == 0 ? 0 : lines > used + 3 ? lines - used : 3);
    if (lines == 0)
        fputc('\n', to);
}
