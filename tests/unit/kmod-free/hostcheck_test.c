/* Facts and findings of kmod-free/hostcheck.c. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "kmod-free/hostcheck.c"

static const struct host_facts good = {
    .kernel_major = 6,
    .kernel_minor = 1,
    .memlock_bytes = 64 * MIB,
    .rmem_max_bytes = 8 * MIB,
    .wmem_max_bytes = 8 * MIB,
    .open_files_max = 65536,
    .cores = 4,
    .landlock_abi = 2,
    .seccomp = 1,
    .is_x86_64 = true,
    .cpu_aes = true,
    .cpu_pclmul = true,
    .cpu_avx2 = true,
};
static const struct host_wants usual = {
    .socket_buffer_bytes = 4 << 20, .io_backend = "auto", .sandbox = true};

static const struct host_finding *finding(const struct host_finding *findings, size_t count,
                                          const char *about)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(findings[i].about, about) == 0)
            return &findings[i];
    return NULL;
}

static void test_finding_for_each_fact(void **state)
{
    static const struct {
        const char *what, *about, *backend;
        int severity; /* -1: no finding */
        size_t offset;
        int64_t value;
    } rows[] = {
#define FACT(member) offsetof(struct host_facts, member)
        {"a good host", "io_uring", "auto", -1, FACT(io_uring_disabled), 0},
        {"io_uring is allowed only for some", "io_uring", "auto", HOST_WARN,
         FACT(io_uring_disabled), 1},
        {"io_uring is forbidden", "io_uring", "auto", HOST_WARN, FACT(io_uring_disabled), 2},
        {"io_uring is forbidden, but io_backend names it", "io_uring", "io_uring", HOST_BAD,
         FACT(io_uring_disabled), 2},
        {"io_uring is forbidden and not wanted", "io_uring", "socket", -1, FACT(io_uring_disabled),
         2},
        {"the sysctl cannot be read", "io_uring", "auto", -1, FACT(io_uring_disabled),
         HOST_UNKNOWN},
        {"old kernel", "kernel", "auto", HOST_WARN, FACT(kernel_major), 5},
        {"old kernel, but io_backend names io_uring", "kernel", "io_uring", HOST_BAD,
         FACT(kernel_major), 5},
        {"memlock is just large enough", "memlock", "auto", -1, FACT(memlock_bytes), 4 * MIB},
        {"memlock is too small", "memlock", "auto", HOST_WARN, FACT(memlock_bytes), 4 * MIB - 1},
        {"memlock is not needed", "memlock", "socket", -1, FACT(memlock_bytes), 0},
        {"rmem_max is just large enough", "socket-buffer", "auto", -1, FACT(rmem_max_bytes),
         4 << 20},
        {"rmem_max is too small", "socket-buffer", "auto", HOST_WARN, FACT(rmem_max_bytes),
         (4 << 20) - 1},
        {"wmem_max is too small", "socket-buffer", "auto", HOST_WARN, FACT(wmem_max_bytes), 212992},
        {"few open files are allowed", "open-files", "auto", HOST_WARN, FACT(open_files_max), 1024},
        {"too few open files are allowed", "open-files", "auto", HOST_BAD, FACT(open_files_max),
         255},
        {"no landlock", "landlock", "auto", HOST_NOTE, FACT(landlock_abi), 0},
        {"no seccomp", "seccomp", "auto", HOST_BAD, FACT(seccomp), 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct host_finding findings[HOST_FINDINGS_MAX];
        struct host_facts facts = good;
        struct host_wants wants = usual;
        const struct host_finding *found;
        size_t count;

        memcpy((char *)&facts + rows[i].offset, &rows[i].value, sizeof(int64_t));
        wants.io_backend = rows[i].backend;
        count = host_judge(&facts, &wants, findings);
        found = finding(findings, count, rows[i].about);
        if ((found ? (int)found->severity : -1) != rows[i].severity)
            fail_msg("%s: got %d, wanted %d", rows[i].what, found ? (int)found->severity : -1,
                     rows[i].severity);
        assert_int_equal(count, rows[i].severity == -1 ? 0 : 1);
    }
}

static void test_findings_about_the_cpu(void **state)
{
    struct host_finding findings[HOST_FINDINGS_MAX];
    struct host_facts facts = good;
    struct host_wants wants = usual;

    facts.cpu_avx2 = false;
    assert_int_equal(host_judge(&facts, &wants, findings), 1);
    assert_int_equal(findings[0].severity, HOST_NOTE);
    facts.cpu_aes = false;
    assert_int_equal(host_judge(&facts, &wants, findings), 1);
    assert_int_equal(findings[0].severity, HOST_WARN);
    facts = good;
    wants.workers = 5;
    assert_int_equal(host_judge(&facts, &wants, findings), 1);
    assert_string_equal(findings[0].about, "workers");
}

/* With CAP_NET_ADMIN and CAP_IPC_LOCK two limits do not apply. */
static void test_capabilities_lift_limits(void **state)
{
    struct host_finding findings[HOST_FINDINGS_MAX];
    struct host_facts facts = good;

    facts.rmem_max_bytes = facts.wmem_max_bytes = facts.memlock_bytes = 0;
    assert_int_equal(host_judge(&facts, &usual, findings), 3);
    facts.may_force_buffers = true;
    assert_int_equal(host_judge(&facts, &usual, findings), 1);
    facts.may_lock_memory = true;
    assert_int_equal(host_judge(&facts, &usual, findings), 0);
}

/* Everything is wrong: the findings are sorted, and each sentence says what to do. */
static void test_findings_are_sorted(void **state)
{
    struct host_finding findings[HOST_FINDINGS_MAX];
    struct host_facts facts = {.kernel_major = 5, .kernel_minor = 10, .io_uring_disabled = 2};
    struct host_wants wants = {.workers = 16,
                               .socket_buffer_bytes = UINT32_MAX,
                               .io_backend = "io_uring",
                               .sandbox = true};
    size_t count = host_judge(&facts, &wants, findings);

    assert_true(count >= 8);
    for (size_t i = 0; i < count; i++) {
        assert_true(strchr(findings[i].sentence, ':') != NULL);
        assert_true(strlen(findings[i].sentence) < HOST_SENTENCE_BYTES - 1);
        if (i > 0)
            assert_true(findings[i - 1].severity >= findings[i].severity);
    }
    assert_int_equal(findings[0].severity, HOST_BAD);
}

static void test_facts_of_this_host(void **state)
{
    struct host_facts facts;

    host_facts_read(&facts);
    assert_true(facts.kernel_major >= 5);
    assert_int_equal(facts.cores > 0, 1);
    assert_true(facts.open_files_max > 0);
    assert_true(facts.rmem_max_bytes > 0);
    assert_int_equal(facts.seccomp, 1);
#if defined(__x86_64__)
    assert_true(facts.is_x86_64);
#endif
    assert_int_equal(read_number("/proc/sys/no/such/thing"), HOST_UNKNOWN);
    assert_int_equal(read_number("/proc/version"), HOST_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finding_for_each_fact),
        cmocka_unit_test(test_findings_about_the_cpu),
        cmocka_unit_test(test_capabilities_lift_limits),
        cmocka_unit_test(test_findings_are_sorted),
        cmocka_unit_test(test_facts_of_this_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
