/* Reads and writes offers and answers. */
#define _GNU_SOURCE
#include "sdp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_BYTES_MAX 2048
#define MEDIA_MAX 1024
#define HOST_PRIORITY 2122260223u /* the one that Chromium gives the first host candidate */

/* Copies one line without its line end. Returns the text after it; NULL: there was no more line. */
static const char *next_line(const char *text, char line[LINE_BYTES_MAX])
{
    size_t bytes = strcspn(text, "\r\n");

    if (*text == '\0')
        return NULL;
    snprintf(line, LINE_BYTES_MAX, "%.*s", (int)(bytes < LINE_BYTES_MAX ? bytes : 0), text);
    text += bytes;
    return text + strspn(text, "\r\n");
}

/* The text after `name` if the line begins with it, else NULL. */
static const char *value_of(const char *line, const char *name)
{
    size_t bytes = strlen(name);

    return strncmp(line, name, bytes) == 0 ? line + bytes : NULL;
}

/* ---- reading ---- */

static void read_transport(struct target_remote *remote, const char *line)
{
    const char *value;
    char protocol[8], address[64], type[8];
    unsigned port;

    if ((value = value_of(line, "a=ice-ufrag:")))
        snprintf(remote->ufrag, sizeof(remote->ufrag), "%.63s", value);
    else if ((value = value_of(line, "a=ice-pwd:")))
        snprintf(remote->password, sizeof(remote->password), "%.127s", value);
    else if ((value = value_of(line, "a=fingerprint:")))
        sscanf(value, "%11s %199s", remote->algorithm, remote->fingerprint);
    else if ((value = value_of(line, "a=candidate:")) && remote->address.sin_port == 0 &&
             sscanf(value, "%*s 1 %7s %*s %63s %u typ %7s", protocol, address, &port, type) == 4 &&
             strcasecmp(protocol, "udp") == 0 && strcmp(type, "host") == 0 &&
             inet_pton(AF_INET, address, &remote->address.sin_addr) == 1)
        remote->address.sin_port = htons((uint16_t)port);
}

static void read_media(struct sdp_media *m, const char *line)
{
    const char *value;
    unsigned first, second;

    if ((value = value_of(line, "a=mid:"))) {
        snprintf(m->mid, sizeof(m->mid), "%.15s", value);
    } else if (strcmp(line, "a=inactive") == 0) {
        m->active = false;
    } else if ((value = value_of(line, "a=fmtp:"))) {
        if (sscanf(value, "%u apt=%u", &first, &second) == 2 && second == m->payload_type)
            m->rtx_payload_type = (uint8_t)first;
    } else if ((value = value_of(line, "a=extmap:"))) {
        if (strstr(value, "transport-wide-cc"))
            m->transport_cc_id = (uint8_t)strtoul(value, NULL, 10);
    } else if ((value = value_of(line, "a=ssrc-group:FID "))) {
        if (sscanf(value, "%u %u", &first, &second) == 2)
            m->ssrc = first, m->rtx_ssrc = second;
    } else if ((value = value_of(line, "a=ssrc:")) && m->ssrc == 0) {
        m->ssrc = (uint32_t)strtoul(value, NULL, 10);
    }
}

/* Reads "m=video 9 UDP/TLS/RTP/SAVPF 96 97". NULL: neither audio nor video. */
static struct sdp_media *begin_media(struct sdp *sdp, const char *line)
{
    char kind[16] = "";
    unsigned port = 0, payload_type = 0;
    struct sdp_media *m;

    sscanf(line, "m=%15s %u %*s %u", kind, &port, &payload_type);
    if ((strcmp(kind, "audio") != 0 && strcmp(kind, "video") != 0) || sdp->media_count == MEDIA_MAX)
        return NULL;
    m = &sdp->media[sdp->media_count++];
    *m = (struct sdp_media){.kind = kind[0] == 'v' ? STREAM_VIDEO : STREAM_AUDIO,
                            .active = port != 0,
                            .payload_type = (uint8_t)payload_type};
    return m;
}

bool sdp_read(const char *text, bool is_offer, struct sdp *sdp, char *why)
{
    struct target_remote *remote = &sdp->remote;
    struct sdp_media *media = NULL;
    char line[LINE_BYTES_MAX];
    bool is_lite = false, is_client = false;

    *sdp = (struct sdp){.remote.address.sin_family = AF_INET,
                        .media = calloc(MEDIA_MAX, sizeof(*sdp->media))};
    if (!sdp->media)
        abort(); /* as memory_zeroed does */
    while ((text = next_line(text, line))) {
        if (line[0] == 'm')
            media = begin_media(sdp, line);
        is_lite = is_lite || strcmp(line, "a=ice-lite") == 0;
        is_client = is_client || strcmp(line, "a=setup:active") == 0;
        read_transport(remote, line);
        if (media)
            read_media(media, line);
    }
    remote->controls = is_offer && !is_lite;
    if (is_client)
        snprintf(why, TARGET_WHY_BYTES,
                 "the server wants to be the DTLS client, but the generator must be that");
    else if (!remote->ufrag[0] || !remote->password[0] || !remote->fingerprint[0])
        snprintf(why, TARGET_WHY_BYTES, "the server's SDP has no ICE parameters or no fingerprint");
    else if (!remote->address.sin_port)
        snprintf(why, TARGET_WHY_BYTES,
                 "the server's SDP has no UDP host candidate with an IPv4 address");
    else
        return true;
    free(sdp->media);
    sdp->media = NULL;
    return false;
}

/* ---- writing ---- */

static void write_head(FILE *f, const struct target_local *local)
{
    fprintf(f, "v=0\r\no=- %u%u 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
            ntohl(local->address.sin_addr.s_addr), ntohs(local->address.sin_port));
}

static void write_transport(FILE *f, const struct target_local *local)
{
    char address[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &local->address.sin_addr, address, sizeof(address));
    fprintf(f,
            "c=IN IP4 0.0.0.0\r\n"
            "a=candidate:1 1 udp %u %s %u typ host generation 0\r\n"
            "a=end-of-candidates\r\n"
            "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n"
            "a=fingerprint:sha-256 %s\r\na=setup:active\r\n",
            HOST_PRIORITY, address, ntohs(local->address.sin_port), local->ufrag, local->password,
            local->fingerprint);
}

static const char extensions_of_both[] =
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n"
    "a=extmap:3 "
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";

static void write_audio(FILE *f, const struct target_local *local, const struct target_stream *s)
{
    unsigned pt = s->payload_type;

    fprintf(f, "m=audio 9 UDP/TLS/RTP/SAVPF %u\r\n", pt);
    write_transport(f, local);
    fprintf(f,
            "a=mid:%s\r\na=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=msid:load audio\r\n%s"
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
            "a=rtpmap:%u opus/48000/2\r\na=rtcp-fb:%u transport-cc\r\na=rtcp-fb:%u nack\r\n"
            "a=fmtp:%u minptime=10;useinbandfec=1\r\n"
            "a=ssrc:%u cname:%s\r\n",
            s->mid, extensions_of_both, pt, pt, pt, pt, s->ssrc, local->cname);
}

static void write_video(FILE *f, const struct target_local *local, const struct target_stream *s)
{
    unsigned pt = s->payload_type, rtx = s->rtx_payload_type;

    fprintf(f, "m=video 9 UDP/TLS/RTP/SAVPF %u %u\r\n", pt, rtx);
    write_transport(f, local);
    fprintf(f,
            "a=mid:%s\r\na=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=msid:load video\r\n%s"
            "a=extmap:13 urn:3gpp:video-orientation\r\n"
            "a=extmap:14 urn:ietf:params:rtp-hdrext:toffset\r\n"
            "a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n"
            "a=rtpmap:%u VP8/90000\r\n"
            "a=rtcp-fb:%u goog-remb\r\na=rtcp-fb:%u transport-cc\r\na=rtcp-fb:%u ccm fir\r\n"
            "a=rtcp-fb:%u nack\r\na=rtcp-fb:%u nack pli\r\n"
            "a=rtpmap:%u rtx/90000\r\na=fmtp:%u apt=%u\r\n"
            "a=ssrc-group:FID %u %u\r\na=ssrc:%u cname:%s\r\na=ssrc:%u cname:%s\r\n",
            s->mid, extensions_of_both, pt, pt, pt, pt, pt, pt, rtx, rtx, pt, s->ssrc, s->rtx_ssrc,
            s->ssrc, local->cname, s->rtx_ssrc, local->cname);
}

static FILE *open_text(char **text, size_t *bytes)
{
    FILE *f = open_memstream(text, bytes);

    if (!f)
        abort();
    return f;
}

char *sdp_offer(const struct target_local *local, const struct target_stream *streams,
                unsigned count)
{
    char *text = NULL;
    size_t bytes;
    FILE *f = open_text(&text, &bytes);

    write_head(f, local);
    fprintf(f, "a=group:BUNDLE");
    for (unsigned i = 0; i < count; i++)
        fprintf(f, " %s", streams[i].mid);
    fprintf(f, "\r\na=msid-semantic: WMS load\r\n");
    for (unsigned i = 0; i < count; i++)
        if (streams[i].kind == STREAM_VIDEO)
            write_video(f, local, &streams[i]);
        else
            write_audio(f, local, &streams[i]);
    fclose(f);
    return text;
}

/* True: the answer repeats this line of an offered m-section. */
static bool is_repeated(const char *line, bool transport_cc)
{
    static const char *const names[] = {"a=mid:",       "a=rtpmap:",  "a=fmtp:",
                                        "a=rtcp-fb:",   "a=extmap:",  "a=rtcp-mux",
                                        "a=rtcp-rsize", "a=inactive", "b="};

    if (!transport_cc && (strstr(line, "transport-cc") || strstr(line, "transport-wide-cc") ||
                          strstr(line, "goog-remb")))
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (value_of(line, names[i]))
            return true;
    return false;
}

char *sdp_answer(const char *offer, const struct target_local *local, bool transport_cc)
{
    char *text = NULL, line[LINE_BYTES_MAX];
    bool in_media = false;
    size_t bytes;
    FILE *f = open_text(&text, &bytes);

    write_head(f, local);
    while ((offer = next_line(offer, line))) {
        if (line[0] == 'm') {
            in_media = true;
            fprintf(f, "%s\r\n", line);
            write_transport(f, local);
        } else if (strcmp(line, "a=sendonly") == 0 || strcmp(line, "a=sendrecv") == 0) {
            fprintf(f, "a=recvonly\r\n");
        } else if (in_media ? is_repeated(line, transport_cc)
                            : value_of(line, "a=group:BUNDLE") != NULL) {
            fprintf(f, "%s\r\n", line);
        }
    }
    fclose(f);
    return text;
}
