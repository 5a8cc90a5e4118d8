/* Shuts the sandbox: drops capabilities and user, and adds the filters of sandbox_filter.c. */
#define _GNU_SOURCE
#include "sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox_filter.h"
#include "src/log.h"
#include "src/sanitizer.h"

static const char *const role_names[] = {"forwarder", "handshaker"};

static bool filters_wanted(const struct settings *settings)
{
    return settings->sandbox && !BUILT_WITH_SANITIZER;
}

static bool drops_user(const struct settings *settings)
{
    return geteuid() == 0 && settings->run_as[0] != '\0';
}

/* ---- capabilities ---- */

static bool capabilities_keep(uint64_t keep)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    for (unsigned c = 0; c <= 63; c++) /* without CAP_SETPCAP this fails, and is not needed */
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
            break;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        data[i].permitted = data[i].effective = (uint32_t)(keep >> (32 * i));
    return syscall(SYS_capset, &header, data) == 0;
}

/* Permitted capabilities of one thread; UINT64_MAX: they cannot be read. */
static uint64_t capabilities_of(const char *thread)
{
    char path[64], text[4096], *line;
    uint64_t permitted;
    ssize_t bytes;
    int fd;

    snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", thread);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    bytes = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (bytes <= 0)
        return UINT64_MAX;
    text[bytes] = '\0';
    line = strstr(text, "\nCapPrm:");
    return line && sscanf(line, "\nCapPrm: %" SCNx64, &permitted) == 1 ? permitted : UINT64_MAX;
}

/* Each thread has its own capabilities. This reads /proc, so it must run while files can be
 * read. */
static bool capabilities_are_gone(char *why)
{
    DIR *threads = opendir("/proc/self/task");
    const struct dirent *entry;
    bool gone = threads != NULL;

    if (!threads)
        snprintf(why, SANDBOX_WHY_BYTES,
                 "cannot list the threads of this process (%s): is /proc mounted?",
                 strerror(errno));
    while (gone && (entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] == '.' || capabilities_of(entry->d_name) == 0)
            continue;
        snprintf(why, SANDBOX_WHY_BYTES,
                 "thread %.20s still has capabilities: start this process as an unprivileged user, "
                 "or set run_as",
                 entry->d_name);
        gone = false;
    }
    if (threads)
        closedir(threads);
    return gone;
}

/* ---- user ---- */

/* glibc applies setgroups, setgid and setuid to all threads. A thread that leaves uid 0 loses all
 * its capabilities. */
static bool user_drop(const char *name, char *why)
{
    const struct passwd *user = getpwnam(name);

    if (!user || user->pw_uid == 0) {
        snprintf(why, SANDBOX_WHY_BYTES,
                 "run_as names %.40s, which is %s: name an unprivileged user that exists", name,
                 user ? "root" : "no user of this machine");
        return false;
    }
    if (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
        snprintf(why, SANDBOX_WHY_BYTES, "cannot become user %.40s: %s", name, strerror(errno));
        return false;
    }
    if (setuid(0) == 0) {
        snprintf(why, SANDBOX_WHY_BYTES,
                 "this process became user %.40s, but it can still become root again", name);
        return false;
    }
    return true;
}

/* ringcast-run asks the kernel to end this process when its parent ends (PR_SET_PDEATHSIG). A
 * change of user cancels that (prctl(2)), so it is requested again. */
static bool user_drop_and_follow_parent(const char *name, char *why)
{
    pid_t parent = getppid();
    int signal_number = 0;

    prctl(PR_GET_PDEATHSIG, &signal_number);
    if (!user_drop(name, why))
        return false;
    if (signal_number == 0)
        return true;
    prctl(PR_SET_PDEATHSIG, signal_number);
    if (getppid() == parent)
        return true;
    snprintf(why, SANDBOX_WHY_BYTES, "the process that started this one has ended");
    return false;
}

/* ---- the two steps ---- */

bool sandbox_prepare(enum sandbox_role role, const struct settings *settings,
                     char why[SANDBOX_WHY_BYTES])
{
    /* With CAP_IPC_LOCK the memlock limit does not apply to memory that set-up registers with
     * io_uring. */
    uint64_t keep =
        drops_user(settings) ? 1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_IPC_LOCK : 0;
    bool missing;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !capabilities_keep(keep)) {
        snprintf(why, SANDBOX_WHY_BYTES, "cannot give up capabilities: %s", strerror(errno));
        return false;
    }
    if (!filters_wanted(settings))
        return true;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!sandbox_files(true, &missing, why))
        return false;
    if (missing)
        LOG(WARN, "sandbox", "this kernel has no Landlock: only seccomp protects the files",
            F("role", "%s", role_names[role]));
    return true;
}

bool sandbox_enter(enum sandbox_role role, const struct settings *settings,
                   char why[SANDBOX_WHY_BYTES])
{
    bool missing;

    if (drops_user(settings) && !user_drop_and_follow_parent(settings->run_as, why))
        return false;
    if (!BUILT_WITH_SANITIZER &&
        !capabilities_are_gone(why)) /* a sanitizer has threads of its own */
        return false;
    if (!filters_wanted(settings)) {
        prctl(PR_SET_DUMPABLE, BUILT_WITH_SANITIZER, 0, 0, 0); /* a leak check traces the process */
        LOG(WARN, "sandbox",
            BUILT_WITH_SANITIZER
                ? "no sandbox: this build has a sanitizer, which could not work in one"
                : "no sandbox: the setting sandbox is off",
            F("role", "%s", role_names[role]));
        return true;
    }
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!sandbox_files(false, &missing, why) || !sandbox_system_calls(role, why))
        return false;
    LOG(INFO, "sandbox", "sandbox shut", F("role", "%s", role_names[role]),
        F("uid", "%u", (unsigned)geteuid()), F("landlock", "%s", missing ? "missing" : "on"));
    return true;
}
