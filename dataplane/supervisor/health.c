/* Distinguishes a hung process from one that waits for a processor; see health.h. */
#define _GNU_SOURCE
#include "health.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool health_wants_sample(uint64_t now_ns, uint64_t heartbeat_ns)
{
    return now_ns > heartbeat_ns && now_ns - heartbeat_ns > HEALTH_LATE_NS;
}

static bool is_stopped(const struct process_sample *sample)
{
    for (uint32_t i = 0; i < sample->count; i++)
        if (sample->threads[i].state != 'T')
            return false;
    return sample->count > 0;
}

/* Did a thread want a processor and not get it? The scheduler adds a wait to its figures only when
 * the wait is over. So a thread that is runnable now and hardly ran has waited all the time. */
static bool is_starved(const struct process_sample *first, const struct process_sample *now)
{
    uint64_t window_ns = now->taken_ns - first->taken_ns;

    for (uint32_t i = 0; i < now->count; i++) {
        const struct thread_sample *after = &now->threads[i], *before = NULL;

        for (uint32_t j = 0; j < first->count && !before; j++)
            if (first->threads[j].id == after->id)
                before = &first->threads[j];
        if (!before)
            continue;
        if (after->state == 'R' && after->ran_ns - before->ran_ns < window_ns / 4)
            return true;
        if (after->waited_ns - before->waited_ns > window_ns / 4 * 3)
            return true;
    }
    return false;
}

enum health_verdict health_step(struct health *health, uint64_t now_ns, uint64_t heartbeat_ns,
                                const struct process_sample *sample, const char **why)
{
    if (!health_wants_sample(now_ns, heartbeat_ns)) {
        health->suspect_ns = 0;
        return HEALTH_WELL;
    }
    if (is_stopped(sample)) {
        *why = "it is stopped (SIGSTOP)";
        return HEALTH_HUNG;
    }
    if (health->suspect_ns == 0) {
        health->suspect_ns = now_ns;
        health->samples = 0;
        health->first = *sample;
        return HEALTH_SUSPECT;
    }
    health->samples++;
    if (health->samples >= HEALTH_SAMPLES_MIN && now_ns - health->suspect_ns > HEALTH_LIMIT_NS) {
        *why = "it gets no processor time, or it uses it without progress";
        return HEALTH_HUNG;
    }
    if (sample->count == 0 || now_ns - health->first.taken_ns < HEALTH_WINDOW_NS)
        return HEALTH_SUSPECT;
    if (health->first.count == 0 || is_starved(&health->first, sample)) {
        health->first = *sample;
        return HEALTH_SUSPECT;
    }
    *why = "it makes no progress though no thread waits for a processor";
    return HEALTH_HUNG;
}

/* ---- reading ---- */

static bool read_text(char *text, size_t room, const char *format, int pid, const char *thread)
{
    char path[64];
    ssize_t bytes;
    int fd;

    snprintf(path, sizeof(path), format, pid, thread);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    bytes = fd < 0 ? -1 : read(fd, text, room - 1);
    if (fd >= 0)
        close(fd);
    if (bytes <= 0)
        return false;
    text[bytes] = '\0';
    return true;
}

static bool thread_sample_read(struct thread_sample *sample, pid_t pid, const char *thread)
{
    char text[512];
    const char *name_end;

    if (!read_text(text, sizeof(text), "/proc/%d/task/%.12s/stat", pid, thread))
        return false;
    name_end = strrchr(text, ')'); /* the name may contain any character */
    if (!name_end || sscanf(name_end, ") %c", &sample->state) != 1)
        return false;
    if (!read_text(text, sizeof(text), "/proc/%d/task/%.12s/schedstat", pid, thread) ||
        sscanf(text, "%" SCNu64 " %" SCNu64, &sample->ran_ns, &sample->waited_ns) != 2)
        return false;
    sample->id = atoi(thread);
    return true;
}

void process_sample_read(struct process_sample *sample, pid_t pid, uint64_t now_ns)
{
    const struct dirent *entry;
    char path[32];
    DIR *threads;

    sample->taken_ns = now_ns;
    sample->count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    threads = opendir(path);
    while (threads && sample->count < HEALTH_THREADS_MAX && (entry = readdir(threads)) != NULL)
        if (entry->d_name[0] != '.' &&
            thread_sample_read(&sample->threads[sample->count], pid, entry->d_name))
            sample->count++;
    if (threads)
        closedir(threads);
}
