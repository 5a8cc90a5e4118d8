/* The tests of persistence_test.c on PostgreSQL. */
#define TEST_POSTGRES
#include "persistence_test.c"
