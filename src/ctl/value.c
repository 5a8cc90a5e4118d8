/* Prints one field of a row. */
#include "ctl.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "src/clock.h"
#include "src/verdicts.h"

#define NAME(name, text) #name,
static const char *const verdict_names[] = {VERDICTS(NAME)};
static const char *const counter_names[] = {WORKER_COUNTERS(NAME)};
#undef NAME

const char *verdict_name(unsigned verdict)
{
    return verdict < VERDICT_COUNT ? verdict_names[verdict] : NULL;
}

const char *counter_name(unsigned counter)
{
    return counter < COUNTER_COUNT ? counter_names[counter] : NULL;
}

bool field_is_filler(const struct field *field)
{
    return strncmp(field->name, "reserved", 8) == 0;
}

/* Prints text. NULs between two texts become one comma. Everything but printable ASCII is escaped,
 * because the text may come from a client. */
void value_print_text(FILE *to, const char *text, size_t bytes, bool json)
{
    bool gap = false, any = false;

    if (json)
        fputc('"', to);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '\0') {
            gap = any;
            continue;
        }
        if (gap)
            fputc(',', to);
        gap = false;
        any = true;
        if (c == '"' || c == '\\')
            fprintf(to, "\\%c", c);
        else if (c < ' ' || c >= 127)
            fprintf(to, json ? "\\u%04x" : "\\x%02x", c);
        else
            fputc(c, to);
    }
    if (json)
        fputc('"', to);
    else if (!any)
        fputc('-', to);
}

static uint64_t element(const struct field *field, const uint8_t *at)
{
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (field->size) {
    case 1:
        return *at;
    case 2:
        memcpy(&u16, at, sizeof(u16));
        return u16;
    case 4:
        memcpy(&u32, at, sizeof(u32));
        return field->is_signed ? (uint64_t)(int64_t)(int32_t)u32 : u32;
    default:
        memcpy(&u64, at, sizeof(u64));
        return u64;
    }
}

static void print_number(FILE *to, const struct field *field, uint64_t value, bool json)
{
    const char *word = field_enum_text(field->show, value);
    const char *quote = json ? "\"" : "";

    if (word)
        fprintf(to, "%s%s%s", quote, word, quote);
    else if ((field->show == SHOW_handle && value == 0) ||
             (field->show == SHOW_layer && value == LAYER_NONE))
        fputs(json ? "null" : "-", to);
    else if (field->show == SHOW_handle)
        fprintf(to, "%s%u:%u%s", quote, handle_index(value), handle_generation(value), quote);
    else if (field->show == SHOW_hex && !json)
        fprintf(to, "0x%" PRIx64, value);
    else if (field->show == SHOW_ns && !json)
        fprintf(to, "%" PRIu64 ".%06" PRIu64 " s", (uint64_t)(value / NS_PER_S),
                (uint64_t)(value % NS_PER_S / NS_PER_US));
    else if (field->is_signed)
        fprintf(to, "%" PRId64, (int64_t)value);
    else
        fprintf(to, "%" PRIu64, value);
}

static bool all_zero(const uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != 0)
            return false;
    return true;
}

/* Prints an array of bytes as one value: an id, an address, a fingerprint, a secret. False: the
 * field is something else. */
static bool print_bytes(FILE *to, const struct field *field, const uint8_t *at)
{
    size_t bytes = (size_t)field->size * field->count;
    char text[INET6_ADDRSTRLEN];

    if (field->show == SHOW_secret) {
        fputs(all_zero(at, bytes) ? "(none)" : "(secret)", to);
        return true;
    }
    if (field->size != 1 || field->count < 2)
        return false;
    if (field->show != SHOW_uuid && field->show != SHOW_ip && field->show != SHOW_hex)
        return false;
    if (all_zero(at, bytes)) {
        fputc('-', to);
    } else if (field->show == SHOW_ip && bytes == 16) {
        bool mapped = all_zero(at, 10) && at[10] == 0xff && at[11] == 0xff; /* RFC 4291 2.5.5.2 */

        inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? at + 12 : at, text, sizeof(text));
        fputs(text, to);
    } else {
        for (size_t i = 0; i < bytes; i++) {
            bool dash = field->show == SHOW_uuid && (i == 4 || i == 6 || i == 8 || i == 10);

            fprintf(to, "%s%02x", dash ? "-" : "", at[i]);
        }
    }
    return true;
}

void value_print(FILE *to, const struct field *field, const void *row, bool json)
{
    const uint8_t *at = (const uint8_t *)row + field->offset;
    bool list = field->count > 1;

    if (field->show == SHOW_text) {
        value_print_text(to, (const char *)at, field->count, json);
        return;
    }
    if (json && (field->show == SHOW_secret || field->show == SHOW_uuid || field->show == SHOW_ip ||
                 (field->show == SHOW_hex && field->size == 1 && list))) {
        fputc('"', to);
        print_bytes(to, field, at);
        fputc('"', to);
        return;
    }
    if (print_bytes(to, field, at))
        return;
    if (json && list)
        fputc('[', to);
    for (uint16_t i = 0; i < field->count; i++) {
        if (i > 0)
            fputs(json ? "," : " ", to);
        print_number(to, field, element(field, at + (size_t)i * field->size), json);
    }
    if (json && list)
        fputc(']', to);
}
