/* Can this host run the data plane? Facts about the host are read once, at the start, and compared
 * with what the settings want. Every finding is a sentence that says what to do.
 *
 *   host_facts_read ─► struct host_facts ─► host_judge ─► struct host_finding[]
 *
 * Severity: NOTE: everything works, but could work better. WARN: something is degraded. BAD: the
 * data plane will not start.
 * Threads: any. Memory: the caller's. Errors: a fact that cannot be read is unknown and gives no
 * finding. Nothing on the host is changed. */
#ifndef RINGCAST_HOSTCHECK_H
#define RINGCAST_HOSTCHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOST_UNKNOWN (-1)
#define HOST_FINDINGS_MAX 16
#define HOST_SENTENCE_BYTES 320

struct host_facts {
    int64_t kernel_major, kernel_minor;
    int64_t io_uring_disabled; /* sysctl: 0 allowed, 1 allowed for some processes, 2 forbidden */
    int64_t memlock_bytes;     /* INT64_MAX: unlimited */
    int64_t rmem_max_bytes, wmem_max_bytes;
    int64_t open_files_max; /* hard limit */
    int64_t cores;          /* cores that this process may use */
    int64_t landlock_abi;   /* 0: there is no Landlock */
    int64_t seccomp;        /* 1: filters are possible */
    bool is_x86_64;
    bool cpu_aes, cpu_pclmul, cpu_avx2, cpu_avx512, cpu_vaes, cpu_sha;
    bool may_force_buffers; /* has CAP_NET_ADMIN: SO_RCVBUFFORCE ignores the limit */
    bool may_lock_memory;   /* CAP_IPC_LOCK */
};

struct host_wants {
    uint32_t workers; /* 0: one per core */
    uint32_t socket_buffer_bytes;
    const char *io_backend; /* "auto", "io_uring", "socket" */
    bool sandbox;
};

enum host_severity { HOST_NOTE, HOST_WARN, HOST_BAD };

struct host_finding {
    enum host_severity severity;
    const char *about; /* one word, such as "io_uring" or "memlock" */
    char sentence[HOST_SENTENCE_BYTES];
};

void host_facts_read(struct host_facts *facts);

/* Fills at most HOST_FINDINGS_MAX findings, worst first, and returns how many. */
size_t host_judge(const struct host_facts *facts, const struct host_wants *wants,
                  struct host_finding findings[HOST_FINDINGS_MAX]);

#endif
