/* Shared tables: each row has one writer and is guarded by a seqlock. rows.h says what the rows
 * hold.
 *
 *   writer                                    readers (any number, in other processes)
 *   fills a private row, then row_write       row_copy: copies the row, retries a bounded number of
 *                                             times, then gives up (ROW_TORN: keep the last copy)
 *
 * Threads: one thread writes a row. Readers take no lock and never write.
 * Memory:  rows live in a region (region.h). A reader works only on its private copy.
 * Errors:  enum row_result. Nothing that the other side wrote can make these functions abort. */
#ifndef RINGCAST_TABLES_H
#define RINGCAST_TABLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handle.h"
#include "rows.h"

/* The first 16 bytes of every row. */
struct row_header {
    _Atomic uint32_t sequence; /* odd while the writer changes the row */
    uint32_t generation;       /* see handle.h; rises when a free row is used again; never 0 in a
                                * row that is in use */
    uint32_t used;             /* 1: the row describes an object that exists; 0: it is free */
    uint32_t reserved;
};

#define ROW_SCALAR(type, name, show, min, max) row_##type name;
#define ROW_ARRAY(type, name, count, show, min, max) row_##type name[count];
#define ROW_SCALAR_SIZE(type, name, show, min, max) +sizeof(row_##type)
#define ROW_ARRAY_SIZE(type, name, count, show, min, max) +sizeof(row_##type) * (count)

#define ROW_DECLARE(name, LIST, region, rows)                                              \
    struct name##_row {                                                                    \
        struct row_header header;                                                          \
        LIST(ROW_SCALAR, ROW_ARRAY)                                                        \
    };                                                                                     \
    _Static_assert(sizeof(struct name##_row) == sizeof(struct row_header)                  \
                                                    LIST(ROW_SCALAR_SIZE, ROW_ARRAY_SIZE), \
                   #name " row: hidden padding");                                          \
    _Static_assert(sizeof(struct name##_row) % 64 == 0, #name " row: not a multiple of 64");
TABLES(ROW_DECLARE)

#define TABLE_ID(name, LIST, region, rows) TABLE_##name,
enum table_id { TABLES(TABLE_ID) TABLE_COUNT };

enum row_result {
    ROW_OK,
    ROW_FREE,  /* the row is not in use, or it has another generation than the handle */
    ROW_TORN,  /* the writer is changing the row, or died while it did */
    ROW_RANGE, /* a field has a value that rows.h does not allow, or the row is in use and its
                * generation is 0: treat the row as free */
};

/* How to show a field, for code that walks any row: dump, layout hash, range checks. */
enum field_show {
    SHOW_dec,
    SHOW_hex,
    SHOW_uuid,
    SHOW_text,
    SHOW_handle,
    SHOW_ip,
    SHOW_port,
    SHOW_ns,
    SHOW_bytes,
    SHOW_layer,
    SHOW_secret,
#define SHOW_ENUM(name, list) SHOW_##name,
    ROW_ENUMS(SHOW_ENUM)
#undef SHOW_ENUM
};

struct field {
    const char *name;
    const char *type; /* "u8", …, "chr", as in rows.h */
    uint16_t offset;  /* from the start of the row, in bytes */
    uint16_t size;    /* of one element, in bytes */
    uint16_t count;   /* elements; 1 unless it is an array */
    bool is_signed;
    enum field_show show;
    int64_t min, max; /* allowed range of each element; both 0: any value */
};

struct table {
    const char *name;
    uint8_t region; /* enum region_id, region.h */
    uint32_t row_bytes;
    uint32_t rows;
    const struct field *fields;
    uint32_t field_count;
};

extern const struct table tables[TABLE_COUNT];

/* The name of a value in an enum list of rows.h; NULL when `show` is no list or has no such
 * value. */
const char *field_enum_text(enum field_show show, uint64_t value);

/* ---- one row ---- */

/* Writer: copies the private row `from` to the shared row `to`; both have the table's row_bytes.
 *         All of
 * `from` counts except its sequence. If an earlier writer died in the middle, the sequence is odd,
 * and this write repairs the row. */
void row_write(enum table_id table, struct row_header *to, const struct row_header *from);

/* Reader: copies one consistent version of the shared row `from` to `to`, and checks the range of
 *         every
 * field. A `generation` that is not 0 must be the row's, else the result is ROW_FREE. ROW_TORN
 * leaves `to` unchanged. */
enum row_result row_copy(enum table_id table, void *to, const struct row_header *from,
                         uint32_t generation);

/* Checks the range of every field of a private copy. *bad is the first wrong field; `bad` may be
 * NULL. */
bool row_in_range(enum table_id table, const void *row, const struct field **bad);

#endif
