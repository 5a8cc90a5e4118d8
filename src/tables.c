/* The descriptions of all tables, made from rows.h, and the seqlock of a row. */
#define _GNU_SOURCE
#include "tables.h"

#include <string.h>

#include "race.h"
#include "region.h"

/* ---- descriptions ---- */

#define SIGNED_u8 false
#define SIGNED_u16 false
#define SIGNED_u32 false
#define SIGNED_u64 false
#define SIGNED_i32 true
#define SIGNED_i64 true
#define SIGNED_chr false

/* A row list does not give its macros the name of the table, but offsetof needs it. So the list is
 * called with FIELD_S(table). That expands to the start of an initialiser and the name of a second
 * macro, FIELD_SCALAR; the "(type, name, …)" of the list then becomes the arguments of that macro,
 * which completes the initialiser. (offsetof is itself a macro and cannot stay open in the middle;
 * the builtin can.) */
/* clang-format off */
#define FIELD_S(table) {.offset = __builtin_offsetof(struct table##_row, FIELD_SCALAR
#define FIELD_SCALAR(type_, name_, show_, min_, max_)                                           \
    name_), .name = #name_, .type = #type_, .size = sizeof(row_##type_), .count = 1,            \
    .is_signed = SIGNED_##type_, .show = SHOW_##show_, .min = (min_), .max = (max_)},
#define FIELD_A(table) {.offset = __builtin_offsetof(struct table##_row, FIELD_ARRAY
#define FIELD_ARRAY(type_, name_, count_, show_, min_, max_)                                    \
    name_), .name = #name_, .type = #type_, .size = sizeof(row_##type_), .count = (count_),     \
    .is_signed = SIGNED_##type_, .show = SHOW_##show_, .min = (min_), .max = (max_)},
#define TABLE_FIELDS(table, LIST, region_, rows_)                                               \
    static const struct field table##_fields[] = {LIST(FIELD_S(table), FIELD_A(table))};
TABLES(TABLE_FIELDS)

#define TABLE_DESCRIBE(table, LIST, region_, rows_)                                             \
    [TABLE_##table] = {.name = #table, .region = REGION_##region_,                              \
                       .row_bytes = sizeof(struct table##_row), .rows = (rows_),                \
                       .fields = table##_fields,                                                \
                       .field_count = sizeof(table##_fields) / sizeof(table##_fields[0])},
const struct table tables[TABLE_COUNT] = {TABLES(TABLE_DESCRIBE)};

/* Can hold a row of any table. */
#define ROW_MEMBER(table, LIST, region_, rows_) struct table##_row table;
union any_row {
    TABLES(ROW_MEMBER)
};
/* clang-format on */

#define ENUM_CASE(name_, value_) \
    case (value_):               \
        return #name_;
#define ENUM_TEXT(show_, list)                     \
    case SHOW_##show_:                             \
        switch (value) {                           \
            list(ENUM_CASE) default : return NULL; \
        }

const char *field_enum_text(enum field_show show, uint64_t value)
{
    switch (show) {
        ROW_ENUMS(ENUM_TEXT)
    default:
        return NULL;
    }
}

/* ---- range check ---- */

static bool element_in_range(const struct field *field, const uint8_t *at)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (field->size) {
    case 1:
        memcpy(&u8, at, sizeof(u8));
        return u8 >= field->min && u8 <= field->max;
    case 2:
        memcpy(&u16, at, sizeof(u16));
        return u16 >= field->min && u16 <= field->max;
    case 4:
        memcpy(&u32, at, sizeof(u32));
        if (field->is_signed)
            return (int32_t)u32 >= field->min && (int32_t)u32 <= field->max;
        return u32 >= field->min && u32 <= field->max;
    default:
        memcpy(&u64, at, sizeof(u64));
        if (field->is_signed)
            return (int64_t)u64 >= field->min && (int64_t)u64 <= field->max;
        return u64 >= (uint64_t)field->min && u64 <= (uint64_t)field->max;
    }
}

bool row_in_range(enum table_id table, const void *row, const struct field **bad)
{
    const struct table *t = &tables[table];

    for (uint32_t f = 0; f < t->field_count; f++) {
        const struct field *field = &t->fields[f];
        const uint8_t *at = (const uint8_t *)row + field->offset;

        if (field->min == 0 && field->max == 0)
            continue;
        for (uint32_t i = 0; i < field->count; i++) {
            if (element_in_range(field, at + (size_t)i * field->size))
                continue;
            if (bad)
                *bad = field;
            return false;
        }
    }
    return true;
}

/* ---- seqlock ---- */

/* Words are written with release and read with acquire. So a reader that reads one word of an
 * update also sees, afterwards, the odd sequence that the writer stored before it. This needs no
 * fences (which ThreadSanitizer cannot follow), and on x86 these are plain moves. */

/* A reader gives up after this many attempts, and pauses this often after each attempt that met the
 * writer. A live writer needs much less than 1 µs. Together these limit a reader to about 30 µs. */
#define ROW_ATTEMPTS_MAX 64
#define ROW_PAUSES 8

static void pause_briefly(void)
{
    for (unsigned i = 0; i < ROW_PAUSES; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }
}

void row_write(enum table_id table, struct row_header *to, const struct row_header *from)
{
    uint32_t sequence = atomic_load_explicit(&to->sequence, memory_order_relaxed) | 1;
    size_t words = tables[table].row_bytes / sizeof(uint64_t);

    RACE_POINT("row_write.begin");
    atomic_store_explicit(&to->sequence, sequence, memory_order_relaxed);
    RACE_POINT("row_write.odd");
    __atomic_store_n(&to->generation, from->generation, __ATOMIC_RELEASE);
    for (size_t i = 1; i < words; i++) {
        uint64_t word;

        memcpy(&word, (const uint8_t *)from + i * sizeof(word), sizeof(word));
        __atomic_store_n((uint64_t *)to + i, word, __ATOMIC_RELEASE);
        RACE_POINT("row_write.word");
    }
    RACE_POINT("row_write.before_even");
    atomic_store_explicit(&to->sequence, sequence + 1, memory_order_release);
    RACE_POINT("row_write.end");
}

/* One attempt; false when the writer changed the row before or during it. */
static bool row_try_copy(union any_row *copy, const struct row_header *from, size_t words)
{
    struct row_header *header = (struct row_header *)copy;
    uint32_t before = atomic_load_explicit(&from->sequence, memory_order_acquire);

    RACE_POINT("row_copy.after_sequence");
    if (before & 1)
        return false;
    header->generation = __atomic_load_n(&from->generation, __ATOMIC_ACQUIRE);
    for (size_t i = 1; i < words; i++) {
        uint64_t word = __atomic_load_n((const uint64_t *)from + i, __ATOMIC_ACQUIRE);

        memcpy((uint8_t *)copy + i * sizeof(word), &word, sizeof(word));
        RACE_POINT("row_copy.word");
    }
    RACE_POINT("row_copy.before_check");
    atomic_init(&header->sequence, before);
    return atomic_load_explicit(&from->sequence, memory_order_relaxed) == before;
}

enum row_result row_copy(enum table_id table, void *to, const struct row_header *from,
                         uint32_t generation)
{
    uint32_t bytes = tables[table].row_bytes;
    union any_row copy;
    const struct row_header *header = (const struct row_header *)&copy;
    enum row_result result = ROW_OK;
    unsigned attempt = 0;

    while (!row_try_copy(&copy, from, bytes / sizeof(uint64_t))) {
        if (++attempt == ROW_ATTEMPTS_MAX)
            return ROW_TORN;
        pause_briefly();
    }
    memcpy(to, &copy, bytes);
    if (header->used == 0 || (generation != 0 && generation != header->generation))
        result = ROW_FREE;
    else if (header->used != 1 || header->generation == 0 || !row_in_range(table, &copy, NULL))
        result = ROW_RANGE;
    if (tables[table].region == REGION_keys) /* leave no copy of a key on the stack */
        explicit_bzero(&copy, bytes);
    return result;
}
