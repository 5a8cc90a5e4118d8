/* The tests of audit_test.c with PostgreSQL behind it: the order there is that of "createdAt". */
#define TEST_POSTGRES
#include "audit_test.c"
