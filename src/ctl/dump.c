/* ringcastctl dump: prints the rows of one table, or of all tables. */
#include "ctl.h"

#include <inttypes.h>
#include <string.h>

/* Can hold a row of any table. */
union row_room {
    struct row_header header;
#define ROW_MEMBER(name, LIST, region_, rows_) struct name##_row name;
    TABLES(ROW_MEMBER)
#undef ROW_MEMBER
};

/* The name of an array element: the verdict or counter. NULL for other arrays. */
static const char *element_name(const struct field *field, enum table_id table, unsigned index)
{
    if (table != TABLE_worker_counters)
        return NULL;
    return strcmp(field->name, "verdicts") == 0 ? verdict_name(index) : counter_name(index);
}

/* Prints name and value of each counter that is not 0; as JSON, of each counter. */
static void print_counters(const struct field *field, const void *row, enum table_id table,
                           bool json)
{
    bool first = true;

    for (unsigned i = 0; i < field->count; i++) {
        const char *name = element_name(field, table, i);
        uint64_t value;

        memcpy(&value, (const uint8_t *)row + field->offset + i * sizeof(value), sizeof(value));
        if (!name)
            break;
        if (json)
            printf("%s\"%s\":%" PRIu64, first ? "" : ",", name, value);
        else if (value != 0)
            printf("  %-28s %" PRIu64 "\n", name, value);
        first = false;
    }
}

static void print_fields(const struct table *t, enum table_id table, const void *row, bool json)
{
    for (uint32_t f = 0; f < t->field_count; f++) {
        const struct field *field = &t->fields[f];
        bool named = element_name(field, table, 0) && field->count > 1;

        if (field_is_filler(field))
            continue;
        if (json) {
            printf(",\"%s\":%s", field->name, named ? "{" : "");
            if (named)
                print_counters(field, row, table, true);
            else
                value_print(stdout, field, row, true);
            fputs(named ? "}" : "", stdout);
        } else if (named) {
            print_counters(field, row, table, false);
        } else {
            printf("  %-28s ", field->name);
            value_print(stdout, field, row, false);
            fputc('\n', stdout);
        }
    }
}

static const char *result_word(enum row_result result)
{
    switch (result) {
    case ROW_OK:
        return "used";
    case ROW_FREE:
        return "free";
    case ROW_RANGE:
        return "out of range";
    default:
        return "being written";
    }
}

static void print_row(enum table_id table, uint32_t index, const union row_room *row,
                      enum row_result result, bool json)
{
    const struct table *t = &tables[table];
    const struct field *bad = NULL;

    if (result == ROW_RANGE)
        row_in_range(table, row, &bad);
    if (json) {
        printf("{\"table\":\"%s\",\"index\":%u,\"generation\":%u,\"row\":\"%s\"", t->name, index,
               row->header.generation, result_word(result));
        if (bad)
            printf(",\"bad_field\":\"%s\"", bad->name);
    } else {
        printf("%s %u:%u%s%s%s%s\n", t->name, index, row->header.generation,
               result == ROW_OK ? "" : "  — ", result == ROW_OK ? "" : result_word(result),
               bad ? ": " : "", bad ? bad->name : "");
    }
    if (result != ROW_TORN)
        print_fields(t, table, row, json);
    fputs(json ? "}\n" : "\n", stdout);
}

static void dump_table(const struct observer *observer, enum table_id table,
                       const struct dump_options *options)
{
    const struct region *region = observer_region(observer, table);
    uint32_t rows = observer_rows(observer, table), shown = 0;

    for (uint32_t index = 0; index < rows; index++) {
        union row_room row = {0};
        enum row_result result = row_copy(table, &row, region_row(region, table, index), 0);

        if (result == ROW_FREE && (!options->all || row.header.generation == 0))
            continue;
        print_row(table, index, &row, result, options->json);
        shown++;
    }
    if (!options->json && shown == 0)
        printf("%s: no rows\n", tables[table].name);
}

static int find_table(const char *name)
{
    int table = 0;

    while (table < TABLE_COUNT && strcmp(tables[table].name, name) != 0)
        table++;
    return table;
}

/* Only the data plane may read the others. */
static bool is_shown(int table)
{
    return tables[table].region == REGION_desired || tables[table].region == REGION_actual;
}

static void list_tables(FILE *to)
{
    for (int t = 0; t < TABLE_COUNT; t++)
        if (is_shown(t))
            fprintf(to, " %s", tables[t].name);
    fputc('\n', to);
}

bool dump_is_possible(const struct dump_options *options)
{
    int table = options->table ? find_table(options->table) : 0;

    if (table == TABLE_COUNT) {
        fprintf(stderr, "ringcastctl: there is no table %.60s; the tables are:", options->table);
        list_tables(stderr);
        return false;
    }
    if (!is_shown(table)) {
        fprintf(stderr,
                "ringcastctl: table %s cannot be dumped: it belongs to encryption keys, and only "
                "the data plane may read it\n",
                options->table);
        return false;
    }
    return true;
}

int command_dump(const struct observer *observer, const struct dump_options *options)
{
    int only = options->table ? find_table(options->table) : -1;

    for (int t = 0; t < TABLE_COUNT; t++)
        if ((only < 0 || only == t) && is_shown(t))
            dump_table(observer, (enum table_id)t, options);
    return 0;
}
