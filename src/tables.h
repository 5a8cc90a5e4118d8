/* Shared tables: rows under a seqlock, one writer each. rows.h says what the rows hold.
 *
 *   writer                                    readers (any number, other processes)
 *   fills a private row, then row_write       row_copy: copies, tries again a bounded number of
 *                                             times, then gives up (ROW_TORN: keep the last copy)
 *
 * Threads: a row has one writing thread; readers take no lock and never write.
 * Memory:  rows live in a region (region.h); a reader works on its private copy only.
 * Errors:  enum row_verdict; nothing here aborts on what the other side wrote. */
#ifndef RINGCAST_TABLES_H
#define RINGCAST_TABLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handle.h"
#include "rows.h"

/* In front of every row. sequence: odd while the writer is inside. generation: see handle.h; it
 * stays when the row is freed and rises when the row is taken again. used: 1 while the row stands
 * for something that exists. */
struct row_header {
    _Atomic uint32_t sequence;
    uint32_t generation;
    uint32_t used;
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

enum row_verdict {
    ROW_OK,
    ROW_FREE,  /* nothing there, or the handle's generation is past */
    ROW_TORN,  /* the writer is inside, or died there */
    ROW_RANGE, /* a field is outside what rows.h allows: treat the row as free, log once */
};

/* How one field looks, for whoever walks a row without knowing it (dump, hash, range checks). */
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
    SHOW_secret,
#define SHOW_ENUM(name, list) SHOW_##name,
    ROW_ENUMS(SHOW_ENUM)
#undef SHOW_ENUM
};

struct field {
    const char *name;
    const char *type; /* "u8" … "chr" */
    uint16_t offset;  /* in the row, header included */
    uint16_t size;    /* of one element, bytes */
    uint16_t count;
    bool is_signed;
    enum field_show show;
    int64_t min, max; /* both 0: any */
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

/* Text of value in the enum list that show names; NULL when the value is not in it. */
const char *field_enum_text(enum field_show show, uint64_t value);

/* ---- one row ---- */

/* Publishes the writer's private copy `from` as the row `to`, both of the table's row_bytes. The
 * header's generation and used are taken from `from`, its sequence is the row's own business.
 * A writer that died inside left the sequence odd: its successor just goes on from there. */
void row_write(enum table_id table, struct row_header *to, const struct row_header *from);

/* Copies one consistent version of a row of row_bytes (a multiple of 64) to `to` and checks every
 * field's range; after ROW_TORN `to` is what it was. ROW_FREE when the row is not in use, or
 * generation is not 0 and not the row's. */
enum row_verdict row_copy(enum table_id table, void *to, const struct row_header *from,
                          uint32_t generation);

/* The range check alone, on a private copy. Names the first bad field in *bad unless NULL. */
bool row_in_range(enum table_id table, const void *row, const struct field **bad);

#endif
