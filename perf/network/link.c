/* A network link with faults. */
#include "link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define IP_UDP_BYTES 28

/* ---- options ---- */

static bool set(struct link_options *o, const char *name, double value)
{
    if (!strcmp(name, "loss"))
        o->loss = value / 100;
    else if (!strcmp(name, "burst"))
        o->burst_packets = value;
    else if (!strcmp(name, "double"))
        o->doubled = value / 100;
    else if (!strcmp(name, "delay"))
        o->delay_ns = (uint64_t)(value * NS_PER_MS);
    else if (!strcmp(name, "jitter"))
        o->jitter_ns = (uint64_t)(value * NS_PER_MS);
    else if (!strcmp(name, "order"))
        o->in_order = value != 0;
    else if (!strcmp(name, "rate"))
        o->rate_bps = (uint64_t)(value * 1000);
    else if (!strcmp(name, "queue"))
        o->queue_ns = (uint64_t)(value * NS_PER_MS);
    else
        return false;
    return true;
}

bool link_options_read(const char *text, struct link_options *options, char *why)
{
    *options = (struct link_options){.queue_ns = 200 * NS_PER_MS};
    while (*text) {
        char name[16], *end;
        size_t n = strcspn(text, "=");
        double value;

        if (n == 0 || n >= sizeof(name) || text[n] != '=') {
            snprintf(why, 160, "\"%.40s\" is not name=value", text);
            return false;
        }
        memcpy(name, text, n);
        name[n] = '\0';
        value = strtod(text + n + 1, &end);
        if (end == text + n + 1 || (*end && *end != ',') || !(value >= 0 && value < 1e9)) {
            snprintf(why, 160, "%s: the value must be a number, at least 0 and below 1e9", name);
            return false;
        }
        if (!set(options, name, value)) {
            snprintf(why, 160,
                     "\"%s\" is none of loss, burst, double, delay, jitter, order, rate, queue",
                     name);
            return false;
        }
        text = *end ? end + 1 : end;
    }
    if (options->loss > 0.95 || options->doubled > 1) {
        snprintf(why, 160, "loss is at most 95, double at most 100 percent");
        return false;
    }
    if (options->jitter_ns > options->delay_ns) {
        snprintf(why, 160, "jitter is more than delay: a packet would arrive before it was sent");
        return false;
    }
    return true;
}

/* ---- packets ---- */

void link_open(struct link *link, const struct link_options *options, uint64_t seed)
{
    *link = (struct link){.options = *options, .random = seed * 0x9e3779b97f4a7c15ull | 1};
}

/* 0 to 1 (xorshift64*, Vigna 2016). */
static double chance(struct link *link)
{
    link->random ^= link->random >> 12;
    link->random ^= link->random << 25;
    link->random ^= link->random >> 27;
    return (double)(link->random * 0x2545f4914f6cdd1dull >> 11) / (double)(1ull << 53);
}

/* In the long run, loss/(1 - loss) packets are lost for each that arrives. The mean length of a
 * burst says how probable its end is, and both say how probable its beginning is. */
static bool is_lost(struct link *link)
{
    const struct link_options *o = &link->options;
    double end;

    if (o->burst_packets <= 1)
        return chance(link) < o->loss;
    end = 1 / o->burst_packets;
    if (link->in_burst)
        link->in_burst = chance(link) >= end;
    else
        link->in_burst = chance(link) < end * o->loss / (1 - o->loss);
    return link->in_burst;
}

static uint64_t arrival(struct link *link, uint64_t sent_ns)
{
    const struct link_options *o = &link->options;
    uint64_t due_ns = sent_ns + o->delay_ns - o->jitter_ns;

    if (o->jitter_ns)
        due_ns += (uint64_t)(chance(link) * 2 * (double)o->jitter_ns);
    if (o->in_order && due_ns < link->last_due_ns)
        due_ns = link->last_due_ns;
    link->last_due_ns = due_ns;
    return due_ns;
}

unsigned link_send(struct link *link, uint64_t now_ns, uint32_t bytes,
                   uint64_t due_ns[LINK_COPIES_MAX])
{
    const struct link_options *o = &link->options;
    unsigned copies = 1;

    link->packets++;
    if (o->rate_bps) {
        if (link->free_ns < now_ns)
            link->free_ns = now_ns;
        if (link->free_ns - now_ns > o->queue_ns) {
            link->dropped++;
            return 0;
        }
        link->free_ns += (uint64_t)(bytes + IP_UDP_BYTES) * 8 * NS_PER_S / o->rate_bps;
        now_ns = link->free_ns;
    }
    if (is_lost(link)) {
        link->lost++;
        return 0;
    }
    if (o->doubled > 0 && chance(link) < o->doubled)
        copies = 2;
    for (unsigned i = 0; i < copies; i++)
        due_ns[i] = arrival(link, now_ns);
    return copies;
}
