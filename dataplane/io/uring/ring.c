/* Creates the ring with the best flags of this kernel, registers memory with it, and restricts
 * it. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/log.h"
#include "parts.h"

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

/* The best flags come first. DEFER_TASKRUN: the kernel makes completions on our core and only when
 * we ask; it does not interrupt us. TASKRUN_FLAG: the ring shows whether asking is worth a system
 * call. R_DISABLED: only a ring that does not run yet can be restricted. SQPOLL is not used: it
 * needed twice the CPU time and brought nothing. */
static bool ring_setup(struct io *io, char *why)
{
    static const unsigned flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                         IORING_SETUP_TASKRUN_FLAG,
                                     IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};
    int result = 0;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        struct io_uring_params parameters = {.flags = flags[i] | IORING_SETUP_R_DISABLED |
                                                      IORING_SETUP_CQSIZE |
                                                      IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP,
                                             .cq_entries = COMPLETIONS};

        result = io_uring_queue_init_params(SUBMISSIONS, &io->ring, &parameters);
        if (result != 0)
            continue;
        io->ring_is_open = true;
        if (parameters.features & IORING_FEAT_EXT_ARG && parameters.features & IORING_FEAT_CQE_SKIP)
            return true;
        snprintf(why, IO_WHY_BYTES, "io_uring of this kernel is too old: use Linux 6.0 or newer");
        return false;
    }
    snprintf(why, IO_WHY_BYTES, "io_uring_setup: %s%s", strerror(-result),
             result == -EPERM    ? " (sysctl kernel.io_uring_disabled, or a seccomp filter)"
             : result == -ENOMEM ? " (raise the memlock limit)"
                                 : "");
    return false;
}

static bool files_register(struct io *io, char *why)
{
    int files[SOCKETS_MAX + 1], result;
    unsigned count = io->sockets.count;

    for (unsigned i = 0; i < count; i++)
        files[i] = io->sockets.list[i].fd;
    io->doorbell_file = count;
    if (io->doorbell >= 0)
        files[count++] = io->doorbell;
    result = io_uring_register_files(&io->ring, files, count);
    if (result == 0)
        return true;
    snprintf(why, IO_WHY_BYTES, "io_uring refuses to register the sockets: %s", strerror(-result));
    return false;
}

static bool buffers_register(struct io *io, char *why)
{
    struct io_uring_buf_reg registration = {.ring_entries = OFFERED};
    int result;

    io->buffers = pages_map((size_t)BUFFERS * URING_BUFFER_BYTES);
    io->buffer_ring = pages_map(OFFERED * sizeof(struct io_uring_buf));
    if (!io->buffers || !io->buffer_ring) {
        snprintf(why, IO_WHY_BYTES, "no memory for receive buffers");
        return false;
    }
    registration.ring_addr = (uint64_t)(uintptr_t)io->buffer_ring;
    result = io_uring_register_buf_ring(&io->ring, &registration, 0);
    if (result != 0) {
        snprintf(why, IO_WHY_BYTES, "io_uring has no buffer rings (%s): use Linux 6.0 or newer",
                 strerror(-result));
        return false;
    }
    io_uring_buf_ring_init(io->buffer_ring);
    for (unsigned i = 0; i < BUFFERS; i++)
        io->spare[i] = (uint16_t)(BUFFERS - 1 - i);
    io->spare_count = BUFFERS;
    return true;
}

static bool operation_is_known(struct io *io, int operation)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&io->ring);
    bool known = probe && io_uring_opcode_supported(probe, operation);

    io_uring_free_probe(probe);
    return known;
}

/* The kernel sends without copying only from registered memory, which stays in place and counts as
 * locked. False: it sends by copying, and `why` says the reason. */
static bool arenas_register(struct io *io, char *why)
{
    struct iovec arenas = {.iov_base = io->slots.pages,
                           .iov_len = (size_t)ARENAS * IO_SLOTS_BYTES + 2 * SLOTS_BYTES_AROUND};
    int result;

    if (!operation_is_known(io, IORING_OP_SENDMSG_ZC)) {
        snprintf(why, IO_WHY_BYTES, "no zero-copy sending: use Linux 6.1 or newer");
        return false;
    }
    result = io_uring_register_buffers(&io->ring, &arenas, 1);
    if (result == 0)
        return true;
    snprintf(why, IO_WHY_BYTES, "no zero-copy sending: cannot register %zu KiB (%s)",
             arenas.iov_len / 1024,
             result == -ENOMEM ? "memlock limit too low" : strerror(-result));
    if (result == -ENOMEM)
        LOG(WARN, "start", "io_uring sends by copying: the memlock limit is too low",
            F("wanted_kib", "%zu", arenas.iov_len / 1024),
            F("help", "LimitMEMLOCK=infinity, or ulimit -l"));
    return false;
}

#define RULE_OPERATION(code)                                  \
    {                                                         \
        .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = (code) \
    }

/* Allows exactly the operations that are used, only on registered descriptors, and no more
 * registrations. liburing 2.3 of Debian declares io_uring_register_restrictions and
 * io_uring_enable_rings but does not export them: so these two are plain system calls. */
static bool ring_restrict(struct io *io, char *why)
{
    struct io_uring_restriction rules[] = {
        RULE_OPERATION(IORING_OP_RECVMSG),
        RULE_OPERATION(IORING_OP_POLL_ADD),
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
         .sqe_flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS},
        RULE_OPERATION(IORING_OP_SENDMSG), /* this one and the next: only with zero-copy */
        RULE_OPERATION(IORING_OP_SENDMSG_ZC),
    };
    unsigned count = sizeof(rules) / sizeof(rules[0]) - (io->zero_copy.possible ? 0 : 2);

    if (syscall(SYS_io_uring_register, io->ring.ring_fd, IORING_REGISTER_RESTRICTIONS, rules,
                count) != 0 ||
        syscall(SYS_io_uring_register, io->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) !=
            0) {
        snprintf(why, IO_WHY_BYTES, "io_uring refuses restrictions: %s", strerror(errno));
        return false;
    }
    return true;
}

bool uring_ring_open(struct io *io, char *why)
{
    if (!ring_setup(io, why) || !files_register(io, why) || !buffers_register(io, why))
        return false;
    zero_copy_open(&io->zero_copy, arenas_register(io, why));
    return ring_restrict(io, why);
}

void uring_ring_close(struct io *io)
{
    if (io->ring_is_open)
        io_uring_queue_exit(&io->ring);
    io->ring_is_open = false;
    pages_unmap(io->buffers, (size_t)BUFFERS * URING_BUFFER_BYTES);
    pages_unmap(io->buffer_ring, OFFERED * sizeof(struct io_uring_buf));
}
