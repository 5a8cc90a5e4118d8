/* The databases that this program can use. */
#ifndef RINGCAST_DATABASES_H
#define RINGCAST_DATABASES_H

#include "database.h"

extern const struct database_kind database_sqlite, database_postgres;
extern const struct database_kind *const databases[]; /* NULL ends it */

#endif
