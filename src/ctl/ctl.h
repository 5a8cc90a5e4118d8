/* ringcastctl: looks into the shared tables of a running data plane, changes nothing.
 *
 * main.c reads the command line, observe.c attaches, value.c prints one field; dump.c, top.c and
 * check.c are the commands. One thread. Commands return the exit status. */
#ifndef RINGCAST_CTL_H
#define RINGCAST_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "src/clock.h"
#include "src/region.h"

#define SILENT_NS NS_PER_S /* a heartbeat older than this means that nobody is there */

/* The regions that the supervisor shows to an observer, read-only. */
struct observer {
    struct region desired, actual, resume;
};

/* Attaches to the data plane whose sockets live in that directory; says on standard error why not. */
bool observer_attach(struct observer *observer, const char *data_directory);
void observer_detach(struct observer *observer);

/* The region a table is in; NULL for tables in `keys`. */
const struct region *observer_region(const struct observer *observer, enum table_id table);
/* How many rows from the front may be in use. Rows are taken from the front of `desired`, and the
 * tables of the other side share its indexes. Going further would find nothing and, because the
 * kernel makes a page of a hole that is read, use up memory. */
uint32_t observer_rows(const struct observer *observer, enum table_id table);

/* One field of a row copy, for people or as a JSON value. Secrets are masked in both. */
void value_print(FILE *to, const struct field *field, const void *row, bool json);
void value_print_text(FILE *to, const char *text, size_t bytes, bool json);
bool field_is_filler(const struct field *field);

const char *verdict_name(unsigned verdict);
const char *verdict_text(unsigned verdict);
const char *counter_name(unsigned counter);

struct dump_options {
    const char *table; /* NULL: all */
    bool all, json;
};
/* Before attaching: is there such a table, and one to show? Else says on standard error what is. */
bool dump_is_possible(const struct dump_options *options);
int command_dump(const struct observer *observer, const struct dump_options *options);

struct top_options {
    bool once;
    unsigned interval_ms;
};
int command_top(const struct observer *observer, const struct top_options *options);

int command_check(const struct observer *observer);

#endif
