/* The tests of audit_faults_test.c on PostgreSQL: only the disk of the spool is full there. */
#define TEST_POSTGRES
#include "audit_faults_test.c"
