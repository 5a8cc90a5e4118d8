/* The tables in PostgreSQL: which statements make, accept or refuse them. */
#ifndef RINGCAST_POSTGRES_SCHEMA_H
#define RINGCAST_POSTGRES_SCHEMA_H

/* All statements as one text, from malloc. NULL: no memory. */
char *pg_schema_text(void);

#endif
