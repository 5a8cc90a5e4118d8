/* The region `resume`: reserved indexes of consumers and transports. */
#include "resume.h"

#include <string.h>

#include "dataplane/engines/srtp/sent.h"
#include "src/region.h"

/* Copies the row of an object of this generation, even when it is torn; false: there is none. */
static bool find(const struct resume *resume, enum table_id table, uint32_t index,
                 uint32_t generation, struct row_header *row, bool *torn)
{
    const struct row_header *shared = region_row(resume->region, table, index);

    *torn = false;
    if (__atomic_load_n(&shared->generation, __ATOMIC_RELAXED) != generation)
        return false;
    switch (row_copy(table, row, shared, generation)) {
    case ROW_OK:
        return true;
    case ROW_FREE:
        return false;
    default:
        *torn = true;
        for (size_t i = 0; i < tables[table].row_bytes / sizeof(uint64_t); i++)
            ((uint64_t *)row)[i] = __atomic_load_n((const uint64_t *)shared + i, __ATOMIC_RELAXED);
        return row->generation == generation && row->used;
    }
}

/* ---- consumers ---- */

/* The row of a consumer; an empty one and false when it has none yet. */
static bool read_consumer(const struct resume *resume, const struct resume_consumer *consumer,
                          struct consumer_resume_row *row)
{
    bool torn;

    if (find(resume, TABLE_consumer_resume, consumer->index, consumer->generation, &row->header,
             &torn) &&
        row->transport == consumer->transport && row->ssrc == consumer->ssrc) {
        row->header.sequence = 0;
        return true;
    }
    *row = (struct consumer_resume_row){.header = {.generation = consumer->generation, .used = 1},
                                        .transport = consumer->transport,
                                        .ssrc = consumer->ssrc};
    return false;
}

static void write_consumer(const struct resume *resume, const struct resume_consumer *consumer,
                           const struct consumer_resume_row *row)
{
    row_write(TABLE_consumer_resume,
              region_row(resume->region, TABLE_consumer_resume, consumer->index), &row->header);
}

bool resume_find_rtp(const struct resume *resume, const struct resume_consumer *consumer,
                     uint64_t *reserved)
{
    struct consumer_resume_row row;

    if (!read_consumer(resume, consumer, &row))
        return false;
    *reserved = row.rtp_index_reserved;
    return true;
}

bool resume_find_rtx(const struct resume *resume, const struct resume_consumer *consumer,
                     uint32_t rtx_ssrc, uint64_t *reserved)
{
    struct consumer_resume_row row;

    if (!read_consumer(resume, consumer, &row) || row.rtx_index_reserved == 0 ||
        row.rtx_ssrc != rtx_ssrc)
        return false;
    *reserved = row.rtx_index_reserved;
    return true;
}

uint64_t resume_reserve_rtp(const struct resume *resume, const struct resume_consumer *consumer,
                            uint64_t next)
{
    struct consumer_resume_row row;

    read_consumer(resume, consumer, &row);
    row.rtp_index_reserved = next + INDEX_RESERVE;
    write_consumer(resume, consumer, &row);
    return next + INDEX_RESERVE;
}

uint64_t resume_reserve_rtx(const struct resume *resume, const struct resume_consumer *consumer,
                            uint32_t rtx_ssrc, uint64_t next)
{
    struct consumer_resume_row row;

    read_consumer(resume, consumer, &row);
    row.rtx_index_reserved = next + INDEX_RESERVE;
    row.rtx_ssrc = rtx_ssrc;
    write_consumer(resume, consumer, &row);
    return next + INDEX_RESERVE;
}

/* ---- transports ---- */

/* The row of a transport; an empty one when it has none yet. */
static void read_transport(const struct resume *resume, uint32_t transport, uint32_t generation,
                           struct transport_resume_row *row)
{
    bool torn;

    if (!find(resume, TABLE_transport_resume, transport, generation, &row->header, &torn))
        *row = (struct transport_resume_row){.header = {.generation = generation, .used = 1}};
    else if (torn) /* its writer died: what may be half an old value counts as used */
        memset(row->ssrcs_skipped, 0, sizeof(row->ssrcs_skipped));
    row->header.sequence = 0;
}

static void write_transport(const struct resume *resume, uint32_t transport,
                            const struct transport_resume_row *row)
{
    row_write(TABLE_transport_resume, region_row(resume->region, TABLE_transport_resume, transport),
              &row->header);
}

bool resume_find_rtcp(const struct resume *resume, uint32_t transport, uint32_t generation,
                      uint32_t *reserved)
{
    struct transport_resume_row row;
    bool torn;

    if (!find(resume, TABLE_transport_resume, transport, generation, &row.header, &torn))
        return false;
    *reserved = (uint32_t)row.rtcp_index_reserved;
    return true;
}

uint32_t resume_reserve_rtcp(const struct resume *resume, uint32_t transport, uint32_t generation,
                             uint32_t next)
{
    struct transport_resume_row row;

    read_transport(resume, transport, generation, &row);
    row.rtcp_index_reserved = next + INDEX_RESERVE;
    write_transport(resume, transport, &row);
    return (uint32_t)row.rtcp_index_reserved;
}

void resume_find_ssrcs(const struct resume *resume, uint32_t transport, uint32_t generation,
                       struct srtp_sent *taken, struct srtp_skipped *skipped)
{
    struct transport_resume_row row;

    _Static_assert(sizeof(*skipped) == sizeof(row.ssrcs_skipped), "resume: window of SSRCs");
    read_transport(resume, transport, generation, &row);
    taken->next_and_skipped = row.ssrcs;
    memcpy(skipped, row.ssrcs_skipped, sizeof(*skipped));
}

void resume_take_ssrc(const struct resume *resume, handle_word transport, uint32_t ssrc)
{
    uint32_t index = handle_index(transport), generation = handle_generation(transport);
    struct transport_resume_row row;
    struct srtp_sent taken;
    struct srtp_skipped skipped;

    read_transport(resume, index, generation, &row);
    taken.next_and_skipped = row.ssrcs;
    memcpy(&skipped, row.ssrcs_skipped, sizeof(skipped));
    /* Not the short way, which relies on the count of those skipped: it is not kept here. */
    srtp_sent_take_late(&taken, &skipped, ssrc);
    row.ssrcs = srtp_sent_next(&taken);
    memcpy(row.ssrcs_skipped, &skipped, sizeof(skipped));
    write_transport(resume, index, &row);
}
