/* The tests of audit_faults_test.c with PostgreSQL behind it: a disk that is full is the spool's alone. */
#define TEST_POSTGRES
#include "audit_faults_test.c"
