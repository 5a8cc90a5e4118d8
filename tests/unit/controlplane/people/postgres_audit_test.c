/* The tests of audit_test.c on PostgreSQL. */
#define TEST_POSTGRES
#include "audit_test.c"
