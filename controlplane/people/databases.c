/* The table of databases: a new one gets a row here. */
#include "databases.h"

const struct database_kind *const databases[] = {&database_sqlite, &database_postgres, NULL};
