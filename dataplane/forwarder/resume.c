/* The region `resume`: reserved indexes of consumers and transports. */
#include "resume.h"

#include <string.h>

#include "src/region.h"

/* Copies the row of an object of this generation, even when it is torn; false: there is none. */
static bool find(const struct resume *resume, enum table_id table, uint32_t index,
                 uint32_t generation, struct row_header *row)
{
    const struct row_header *shared = region_row(resume->region, table, index);

    if (__atomic_load_n(&shared->generation, __ATOMIC_RELAXED) != generation)
        return false;
    switch (row_copy(table, row, shared, generation)) {
    case ROW_OK:
        return true;
    case ROW_FREE:
        return false;
    default:
        for (size_t i = 0; i < tables[table].row_bytes / sizeof(uint64_t); i++)
            ((uint64_t *)row)[i] = __atomic_load_n((const uint64_t *)shared + i, __ATOMIC_RELAXED);
        return row->generation == generation && row->used;
    }
}

bool resume_find_rtp(const struct resume *resume, uint32_t consumer, uint32_t generation,
                     uint64_t *reserved)
{
    struct consumer_resume_row row;

    if (!find(resume, TABLE_consumer_resume, consumer, generation, &row.header))
        return false;
    *reserved = row.rtp_index_reserved;
    return true;
}

bool resume_find_rtcp(const struct resume *resume, uint32_t transport, uint32_t generation,
                      uint32_t *reserved)
{
    struct transport_resume_row row;

    if (!find(resume, TABLE_transport_resume, transport, generation, &row.header))
        return false;
    *reserved = (uint32_t)row.rtcp_index_reserved;
    return true;
}

uint64_t resume_reserve_rtp(const struct resume *resume, uint32_t consumer, uint32_t generation,
                            uint64_t next, uint32_t timestamp_offset)
{
    struct consumer_resume_row row = {.header = {.generation = generation, .used = 1},
                                      .rtp_index_reserved = next + INDEX_RESERVE,
                                      .timestamp_offset = timestamp_offset};

    row_write(TABLE_consumer_resume, region_row(resume->region, TABLE_consumer_resume, consumer),
              &row.header);
    return row.rtp_index_reserved;
}

uint32_t resume_reserve_rtcp(const struct resume *resume, uint32_t transport, uint32_t generation,
                             uint32_t next)
{
    struct transport_resume_row row = {.header = {.generation = generation, .used = 1},
                                       .rtcp_index_reserved = next + INDEX_RESERVE};

    row_write(TABLE_transport_resume, region_row(resume->region, TABLE_transport_resume, transport),
              &row.header);
    return (uint32_t)row.rtcp_index_reserved;
}
