/* ringcastctl: shows the shared tables of a running data plane. It changes nothing.
 *
 *   main.c               parses the command line
 *   observe.c            maps the regions, read-only
 *   value.c              prints one field of a row
 *   dump.c top.c check.c the commands; each returns the exit status
 *
 * Threads: one. Errors: a sentence on standard error. */
#ifndef RINGCAST_CTL_H
#define RINGCAST_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "src/clock.h"
#include "src/region.h"

#define SILENT_NS NS_PER_S /* the writer of an older heartbeat is dead or hangs */

/* The regions that the supervisor gives to an observer. */
struct observer {
    struct region desired, actual;
};

/* Maps the regions of the data plane with this data directory. False, with a sentence on
 * standard error. */
bool observer_attach(struct observer *observer, const char *data_directory);
void observer_detach(struct observer *observer);

/* The region of a table; NULL for the tables in `keys` and `resume`. */
const struct region *observer_region(const struct observer *observer, enum table_id table);
/* The number of rows, from index 0, that may be in use. The control plane uses the rows of
 * `desired` from the front, and the tables of the other regions use the same indexes. Do not read
 * further: the kernel allocates memory for every page that is read. */
uint32_t observer_rows(const struct observer *observer, enum table_id table);

/* Prints one field of a copied row, for people or as a JSON value. A secret is never printed. */
void value_print(FILE *to, const struct field *field, const void *row, bool json);
void value_print_text(FILE *to, const char *text, size_t bytes, bool json);
bool field_is_filler(const struct field *field); /* reserved bytes: not shown */

const char *verdict_name(unsigned verdict);
const char *counter_name(unsigned counter);

struct dump_options {
    const char *table; /* NULL: all */
    bool all, json;
};
/* True if the table exists and may be shown. Else false, with a sentence on standard error. */
bool dump_is_possible(const struct dump_options *options);
int command_dump(const struct observer *observer, const struct dump_options *options);

struct top_options {
    bool once;
    unsigned interval_ms;
};
int command_top(const struct observer *observer, const struct top_options *options);

int command_check(const struct observer *observer);

#endif
