/* The rules of the sandbox: Landlock for files and TCP, seccomp for system calls. */
#define _GNU_SOURCE
#include "sandbox_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- files ---- */

/* linux/landlock.h of Debian 12 knows ABI 2, and newer kernels know more rights. ABI 1: bits 0-12
 * of the file system rights, 2: refer, 3: truncate, 4: TCP bind and connect, 5: ioctl of devices,
 * 6: abstract Unix sockets and signals only within the sandbox. */
struct landlock_ruleset {
    uint64_t file_system, network, scoped;
};
#define LANDLOCK_VERSION_FLAG 1u
#define FILE_RIGHTS_1 ((1ull << 13) - 1)
#define FILE_RIGHT_REFER (1ull << 13)
#define FILE_RIGHT_TRUNCATE (1ull << 14)
#define FILE_RIGHT_IOCTL_DEVICE (1ull << 15)
#define NETWORK_RIGHTS 3ull
#define SCOPES 3ull

/* Set-up reads libraries, the configuration of OpenSSL, users, the CPU topology and our own
 * status. */
static const char *const system_folders[] = {"/usr", "/lib", "/lib64", "/etc", "/proc", "/sys"};

static struct landlock_ruleset rules_for(long abi)
{
    struct landlock_ruleset rules = {.file_system = FILE_RIGHTS_1};

    if (abi >= 2)
        rules.file_system |= FILE_RIGHT_REFER;
    if (abi >= 3)
        rules.file_system |= FILE_RIGHT_TRUNCATE;
    if (abi >= 4)
        rules.network = NETWORK_RIGHTS;
    if (abi >= 5)
        rules.file_system |= FILE_RIGHT_IOCTL_DEVICE;
    if (abi >= 6)
        rules.scoped = SCOPES;
    return rules;
}

static bool allow_reading(int ruleset, const char *folder)
{
    struct landlock_path_beneath_attr beneath = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE |
                                                                   LANDLOCK_ACCESS_FS_READ_DIR};
    long result;

    beneath.parent_fd = open(folder, O_PATH | O_CLOEXEC);
    if (beneath.parent_fd < 0)
        return errno == ENOENT;
    result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    close(beneath.parent_fd);
    return result == 0;
}

bool sandbox_files(bool reading_system, bool *missing, char *why)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_VERSION_FLAG);
    struct landlock_ruleset rules = rules_for(abi);
    int ruleset;
    bool ok = true;

    *missing = abi < 1;
    if (*missing)
        return true;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
    if (ruleset < 0) {
        snprintf(why, SANDBOX_WHY_BYTES, "the kernel refuses a Landlock ruleset: %s",
                 strerror(errno));
        return false;
    }
    for (size_t i = 0; reading_system && i < sizeof(system_folders) / sizeof(*system_folders); i++)
        ok &= allow_reading(ruleset, system_folders[i]);
    ok = ok && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    if (!ok)
        snprintf(why, SANDBOX_WHY_BYTES, "the kernel refuses to enforce Landlock: %s",
                 strerror(errno));
    close(ruleset);
    return ok;
}

/* ---- system calls ---- */

#define EVERY_ROLE (1u << SANDBOX_FORWARDER | 1u << SANDBOX_HANDSHAKER)
#define FORWARDER (1u << SANDBOX_FORWARDER)

/* Allowed with any arguments. */
static const struct {
    int number;
    unsigned roles;
} allowed[] = {
    /* open descriptors; none of these calls creates one */
    {SCMP_SYS(read), EVERY_ROLE},
    {SCMP_SYS(write), EVERY_ROLE},
    {SCMP_SYS(readv), EVERY_ROLE},
    {SCMP_SYS(writev), EVERY_ROLE},
    {SCMP_SYS(close), EVERY_ROLE},
    {SCMP_SYS(fstat), EVERY_ROLE},
    {SCMP_SYS(poll), EVERY_ROLE},
    {SCMP_SYS(ppoll), EVERY_ROLE},
    {SCMP_SYS(epoll_wait), EVERY_ROLE},
    {SCMP_SYS(epoll_pwait), EVERY_ROLE},
    {SCMP_SYS(epoll_pwait2), EVERY_ROLE},
    {SCMP_SYS(epoll_ctl), EVERY_ROLE},
    {SCMP_SYS(timerfd_settime), EVERY_ROLE},
    {SCMP_SYS(timerfd_gettime), EVERY_ROLE},
    /* packets; the handshaker has no socket, it gets its datagrams through rings */
    {SCMP_SYS(sendto), FORWARDER},
    {SCMP_SYS(sendmsg), FORWARDER},
    {SCMP_SYS(sendmmsg), FORWARDER},
    {SCMP_SYS(recvfrom), FORWARDER},
    {SCMP_SYS(recvmsg), FORWARDER},
    {SCMP_SYS(recvmmsg), FORWARDER},
    {SCMP_SYS(getsockname), FORWARDER},
    {SCMP_SYS(getsockopt), FORWARDER},
    {SCMP_SYS(io_uring_enter), FORWARDER},
    /* memory; allow_with_arguments forbids executable memory */
    {SCMP_SYS(munmap), EVERY_ROLE},
    {SCMP_SYS(mremap), EVERY_ROLE},
    {SCMP_SYS(madvise), EVERY_ROLE},
    {SCMP_SYS(brk), EVERY_ROLE},
    {SCMP_SYS(membarrier), EVERY_ROLE},
    /* existing threads, clocks, random numbers */
    {SCMP_SYS(futex), EVERY_ROLE},
    {SCMP_SYS(futex_waitv), EVERY_ROLE},
    {SCMP_SYS(set_robust_list), EVERY_ROLE},
    {SCMP_SYS(rseq), EVERY_ROLE},
    {SCMP_SYS(sched_yield), EVERY_ROLE},
    {SCMP_SYS(sched_getaffinity), EVERY_ROLE},
    {SCMP_SYS(getcpu), EVERY_ROLE},
    {SCMP_SYS(nanosleep), EVERY_ROLE},
    {SCMP_SYS(clock_nanosleep), EVERY_ROLE},
    {SCMP_SYS(clock_gettime), EVERY_ROLE},
    {SCMP_SYS(clock_getres), EVERY_ROLE},
    {SCMP_SYS(gettimeofday), EVERY_ROLE},
    {SCMP_SYS(time), EVERY_ROLE},
    {SCMP_SYS(getrandom), EVERY_ROLE},
    {SCMP_SYS(getpid), EVERY_ROLE},
    {SCMP_SYS(gettid), EVERY_ROLE},
    {SCMP_SYS(getuid), EVERY_ROLE},
    {SCMP_SYS(geteuid), EVERY_ROLE},
    {SCMP_SYS(getrusage), EVERY_ROLE},
    {SCMP_SYS(sysinfo), EVERY_ROLE},
    /* signals to itself, exit; restart_syscall: after SIGSTOP and SIGCONT */
    {SCMP_SYS(rt_sigaction), EVERY_ROLE},
    {SCMP_SYS(rt_sigprocmask), EVERY_ROLE},
    {SCMP_SYS(rt_sigreturn), EVERY_ROLE},
    {SCMP_SYS(rt_sigpending), EVERY_ROLE},
    {SCMP_SYS(rt_sigtimedwait), EVERY_ROLE},
    {SCMP_SYS(sigaltstack), EVERY_ROLE},
    {SCMP_SYS(restart_syscall), EVERY_ROLE},
    {SCMP_SYS(exit), EVERY_ROLE},
    {SCMP_SYS(exit_group), EVERY_ROLE},
};

static int allow_with_arguments(scmp_filter_ctx filter)
{
    static const int fcntl_commands[] = {F_GETFD, F_GETFL, F_SETFL};
    int result = 0;

    /* Memory is never executable and cannot become executable. */
    result |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    result |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* abort() and raise() send signals to the process's own threads. */
    result |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    result |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                               SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    for (size_t i = 0; i < sizeof(fcntl_commands) / sizeof(fcntl_commands[0]); i++)
        result |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                                   SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)fcntl_commands[i]));
    return result;
}

bool sandbox_system_calls(enum sandbox_role role, char *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int result;

    if (!filter) {
        snprintf(why, SANDBOX_WHY_BYTES, "no memory for a seccomp filter");
        return false;
    }
    result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    result |= seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    /* 2: a binary tree, which is faster. Older libraries refuse it, which does no harm. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        if (allowed[i].roles & 1u << role)
            result |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i].number, 0);
    result |= allow_with_arguments(filter);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    if (result != 0)
        snprintf(why, SANDBOX_WHY_BYTES,
                 "the kernel refuses the seccomp filter (%s): use a kernel with "
                 "CONFIG_SECCOMP_FILTER, or set sandbox to off",
                 strerror(result < 0 ? -result : EINVAL));
    return result == 0;
}
