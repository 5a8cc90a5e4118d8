/* The system calls that the control plane may not make. */
#define _GNU_SOURCE
#include "sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "controlplane/people/data_directory_open.h"
#include "src/log.h"
#include "src/sanitizer.h"

static const int refused[] = {
    /* programs and processes */
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kcmp),
    SCMP_SYS(personality),
    /* users; there is no way back to root, and none to another user */
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(setfsuid),
    SCMP_SYS(setfsgid),
    SCMP_SYS(capset),
    /* namespaces and mounts */
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(open_tree),
    SCMP_SYS(move_mount),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    /* large parts of the kernel that a server does not need */
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    /* the machine */
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(syslog),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
};

static int refuse_with_arguments(scmp_filter_ctx filter)
{
    const uint32_t refusal = SCMP_ACT_ERRNO(EPERM);
    const scmp_datum_t both = PROT_WRITE | PROT_EXEC, self = (scmp_datum_t)getpid();
    int result = 0;

    /* The process may still load libraries (for host names and character sets). So only memory that
     * is both writable and executable is refused. */
    result |= seccomp_rule_add(filter, refusal, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, both, both));
    result |= seccomp_rule_add(filter, refusal, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, both, both));
    /* The process may start threads, but no processes. A filter cannot see the flags of clone3,
     * because they are in memory. Without clone3, glibc uses clone. */
    result |= seccomp_rule_add(filter, refusal, SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    result |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    result |= seccomp_rule_add(filter, refusal, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_NE, self));
    result |= seccomp_rule_add(filter, refusal, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_NE, self));
    return result;
}

static bool filter_load(char *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int result;

    if (filter == NULL) {
        snprintf(why, WHY_BYTES, "no memory for a seccomp filter");
        return false;
    }
    result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    result |= seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        result |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    result |= refuse_with_arguments(filter);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    if (result == 0)
        return true;
    snprintf(why, WHY_BYTES,
             "the kernel refuses the seccomp filter (%s): use a kernel with CONFIG_SECCOMP_FILTER, "
             "or set sandbox to off",
             strerror(result < 0 ? -result : EINVAL));
    return false;
}

bool sandbox_enter(const struct settings *settings, char *why)
{
    if (!settings->sandbox || BUILT_WITH_SANITIZER) {
        LOG(WARN, "sandbox",
            BUILT_WITH_SANITIZER
                ? "no sandbox: this build has a sanitizer, which could not work in one"
                : "no sandbox: the setting sandbox is off",
            F("role", "controlplane"));
        return true;
    }
    if (!filter_load(why))
        return false;
    LOG(INFO, "sandbox", "sandbox shut", F("role", "controlplane"),
        F("uid", "%u", (unsigned)geteuid()));
    return true;
}
