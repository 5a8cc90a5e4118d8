/* uses: src */
/* Copies and prints rows of shared memory with arbitrary content, as a hostile writer could leave
 * them. A row that is copied must be within its ranges, and printing it must not fail.
 *
 * Input: a byte that chooses the table, then the row with its header. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/ctl/ctl.h"
#include "src/ctl/value.c"
#include "src/tables.h"

union any_table_row {
    struct row_header header;
#define ROW_MEMBER(name, LIST, region_, rows_) struct name##_row name;
    TABLES(ROW_MEMBER)
#undef ROW_MEMBER
};

static void print_all(enum table_id table, const void *row)
{
    static FILE *nowhere;

    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    for (uint32_t f = 0; nowhere && f < tables[table].field_count; f++) {
        value_print(nowhere, &tables[table].fields[f], row, false);
        value_print(nowhere, &tables[table].fields[f], row, true);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union any_table_row shared, copy;
    enum row_result result;
    enum table_id table;

    if (size < 1)
        return 0;
    table = (enum table_id)(data[0] % TABLE_COUNT);
    memset(&shared, 0, sizeof(shared));
    memcpy(&shared, data + 1, size - 1 < sizeof(shared) ? size - 1 : sizeof(shared));
    result = row_copy(table, &copy, &shared.header, 0);
    if (result > ROW_RANGE || (result == ROW_OK && !row_in_range(table, &copy, NULL)))
        abort();
    if (result != ROW_TORN)
        print_all(table, &copy);
    return 0;
}
