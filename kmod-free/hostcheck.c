/* Reads facts about the host and judges them; see hostcheck.h. */
#define _GNU_SOURCE
#include "hostcheck.h"

#include "src/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#define LANDLOCK_VERSION_FLAG 1u

#define MIB (1ll << 20)
/* With io_uring, a worker locks less than 1 MiB (measured) for rings and registered descriptors. */
#define MEMLOCK_PER_WORKER_BYTES (1 * MIB)
/* Regions, sockets and doorbells of 16 workers need fewer than 128 descriptors. The control plane
 * needs one for each browser. */
#define OPEN_FILES_RECOMMENDED 4096
/* The first version with multishot recvmsg, which the io_uring backend needs. */
#define KERNEL_FOR_IO_URING_MAJOR 6

/* ---- facts ---- */

static int64_t read_number(const char *path)
{
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    char *end;
    long long number;

    if (fd >= 0)
        close(fd);
    if (bytes <= 0)
        return HOST_UNKNOWN;
    text[bytes] = '\0';
    errno = 0;
    number = strtoll(text, &end, 10);
    return errno == 0 && end != text && number >= 0 ? number : HOST_UNKNOWN;
}

static int64_t read_limit(int which)
{
    struct rlimit limit;

    if (getrlimit(which, &limit) != 0)
        return HOST_UNKNOWN;
    return limit.rlim_max == RLIM_INFINITY ? INT64_MAX : (int64_t)limit.rlim_max;
}

static bool has_capability(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capget, &header, data) != 0)
        return false;
    return (data[capability / 32].effective >> (capability % 32) & 1) != 0;
}

static void read_cpu(struct host_facts *facts)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;

    facts->is_x86_64 = true;
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        facts->cpu_aes = (c & bit_AES) != 0;
        facts->cpu_pclmul = (c & bit_PCLMUL) != 0;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        facts->cpu_avx2 = (b & bit_AVX2) != 0;
        facts->cpu_avx512 = (b & bit_AVX512F) != 0 && (b & bit_AVX512BW) != 0;
        facts->cpu_vaes = (c & bit_VAES) != 0;
        facts->cpu_sha = (b & bit_SHA) != 0;
    }
#endif
}

void host_facts_read(struct host_facts *facts)
{
    struct utsname name;
    cpu_set_t cores;
    unsigned major, minor;

    memset(facts, 0, sizeof(*facts));
    facts->kernel_major = facts->kernel_minor = HOST_UNKNOWN;
    if (uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2) {
        facts->kernel_major = major;
        facts->kernel_minor = minor;
    }
    facts->io_uring_disabled = read_number("/proc/sys/kernel/io_uring_disabled");
    facts->rmem_max_bytes = read_number("/proc/sys/net/core/rmem_max");
    facts->wmem_max_bytes = read_number("/proc/sys/net/core/wmem_max");
    facts->memlock_bytes = read_limit(RLIMIT_MEMLOCK);
    facts->open_files_max = read_limit(RLIMIT_NOFILE);
    facts->cores =
        sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : HOST_UNKNOWN;
    facts->landlock_abi =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION_FLAG);
    if (facts->landlock_abi < 0)
        facts->landlock_abi = 0;
    facts->seccomp = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
    facts->may_force_buffers = has_capability(CAP_NET_ADMIN);
    facts->may_lock_memory = has_capability(CAP_IPC_LOCK);
    read_cpu(facts);
}

/* ---- judgement ---- */

/* The findings so far. */
struct judgement {
    struct host_finding *findings;
    size_t count;
};

static void finding_add(struct judgement *j, enum host_severity severity, const char *about,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Adds a finding and keeps them sorted, worst first. */
static void finding_add(struct judgement *j, enum host_severity severity, const char *about,
                        const char *format, ...)
{
    va_list arguments;
    size_t at = j->count;

    if (j->count == HOST_FINDINGS_MAX)
        return;
    while (at > 0 && j->findings[at - 1].severity < severity) {
        j->findings[at] = j->findings[at - 1];
        at--;
    }
    j->count++;
    j->findings[at].severity = severity;
    j->findings[at].about = about;
    va_start(arguments, format);
    vsnprintf(j->findings[at].sentence, HOST_SENTENCE_BYTES, format, arguments);
    va_end(arguments);
}

static bool may_use_io_uring(const struct host_wants *wants)
{
    return strcmp(wants->io_backend, "auto") == 0 || strcmp(wants->io_backend, "io_uring") == 0;
}

static void judge_io_uring(struct judgement *j, const struct host_facts *facts,
                           const struct host_wants *wants)
{
    bool asked = strcmp(wants->io_backend, "io_uring") == 0;
    enum host_severity severity = asked ? HOST_BAD : HOST_WARN;
    const char *otherwise = asked ? "or set io_backend to auto"
                                  : "until then packets are moved by recvmmsg and sendmmsg";

    if (!may_use_io_uring(wants))
        return;
    if (facts->kernel_major != HOST_UNKNOWN && facts->kernel_major < KERNEL_FOR_IO_URING_MAJOR)
        finding_add(j, severity, "kernel",
                    "Linux %" PRId64 ".%" PRId64
                    " has no multishot receive for io_uring: use Linux 6.0 or "
                    "newer; %s",
                    facts->kernel_major, facts->kernel_minor, otherwise);
    if (facts->io_uring_disabled > 0)
        finding_add(j, severity, "io_uring",
                    "kernel.io_uring_disabled is %" PRId64 ": allow io_uring by \"sysctl -w "
                    "kernel.io_uring_disabled=0\"; %s",
                    facts->io_uring_disabled, otherwise);
}

static void judge_limits(struct judgement *j, const struct host_facts *facts,
                         const struct host_wants *wants, int64_t workers)
{
    int64_t needed_bytes = workers * MEMLOCK_PER_WORKER_BYTES;

    if (may_use_io_uring(wants) && !facts->may_lock_memory &&
        facts->memlock_bytes != HOST_UNKNOWN && facts->memlock_bytes < needed_bytes)
        finding_add(j, HOST_WARN, "memlock",
                    "the memlock limit is %" PRId64 " KiB, %" PRId64 " workers may need %" PRId64
                    " KiB for io_uring: raise it (LimitMEMLOCK= in the unit, or ulimit -l)",
                    facts->memlock_bytes / 1024, workers, needed_bytes / 1024);
    if (facts->open_files_max != HOST_UNKNOWN && facts->open_files_max < OPEN_FILES_RECOMMENDED)
        finding_add(j, facts->open_files_max < OPEN_FILES_MIN ? HOST_BAD : HOST_WARN, "open-files",
                    "at most %" PRId64
                    " files may be open, and each browser needs one in the control "
                    "plane: raise the limit to "
                    "%d or more (LimitNOFILE= in the unit, or ulimit -n)",
                    facts->open_files_max, OPEN_FILES_RECOMMENDED);
}

static void judge_buffer(struct judgement *j, const char *sysctl, int64_t max_bytes,
                         const struct host_facts *facts, const struct host_wants *wants)
{
    if (facts->may_force_buffers || max_bytes == HOST_UNKNOWN ||
        max_bytes >= (int64_t)wants->socket_buffer_bytes)
        return;
    finding_add(j, HOST_WARN, "socket-buffer",
                "net.core.%s is %" PRId64
                ", but socket_buffer_bytes is %u, so bursts of packets will be lost: "
                "raise it by \"sysctl -w net.core.%s=%u\"",
                sysctl, max_bytes, wants->socket_buffer_bytes, sysctl, wants->socket_buffer_bytes);
}

static void judge_cpu(struct judgement *j, const struct host_facts *facts,
                      const struct host_wants *wants)
{
    if (!facts->is_x86_64 || !facts->cpu_aes || !facts->cpu_pclmul)
        finding_add(
            j, HOST_WARN, "cpu",
            "this CPU has no AES instructions, so encryption costs ten times as much: in a virtual "
            "machine, pass the CPU flags of the host through");
    else if (!facts->cpu_avx2)
        finding_add(
            j, HOST_NOTE, "cpu",
            "this CPU has no AVX2, so encryption is slower: in a virtual machine, pass the CPU "
            "flags "
            "of the host through");
    if (facts->cores != HOST_UNKNOWN && wants->workers > facts->cores)
        finding_add(j, HOST_WARN, "workers",
                    "%u workers share %" PRId64
                    " cores and wait for each other: set workers to %" PRId64 " or to 0",
                    wants->workers, facts->cores, facts->cores);
}

static void judge_sandbox(struct judgement *j, const struct host_facts *facts,
                          const struct host_wants *wants)
{
    if (!wants->sandbox)
        finding_add(
            j, HOST_WARN, "sandbox",
            "the sandbox is off, so an attacker who takes over the forwarder or the handshaker "
            "gets "
            "all rights of its user: set sandbox to on");
    else if (facts->seccomp == 0)
        finding_add(
            j, HOST_BAD, "seccomp",
            "this kernel has no seccomp filters: use a kernel with CONFIG_SECCOMP_FILTER, or set "
            "sandbox to off");
    else if (facts->landlock_abi == 0)
        finding_add(
            j, HOST_NOTE, "landlock",
            "this kernel has no Landlock, so only the seccomp filter protects the files: add "
            "landlock "
            "to the lsm= boot parameter");
}

size_t host_judge(const struct host_facts *facts, const struct host_wants *wants,
                  struct host_finding findings[HOST_FINDINGS_MAX])
{
    struct judgement j = {.findings = findings};
    int64_t workers = wants->workers ? wants->workers : facts->cores;

    judge_io_uring(&j, facts, wants);
    judge_limits(&j, facts, wants, workers > 0 ? workers : 1);
    judge_buffer(&j, "rmem_max", facts->rmem_max_bytes, facts, wants);
    judge_buffer(&j, "wmem_max", facts->wmem_max_bytes, facts, wants);
    judge_cpu(&j, facts, wants);
    judge_sandbox(&j, facts, wants);
    return j.count;
}
