/* The three processes of ringcast-dataplane and how they start.
 *
 *   ringcast-dataplane                     supervisor: resources, and watches the children
 *     ├ ringcast-dataplane --role=forwarder    worker threads (unprivileged, sandboxed)
 *     └ ringcast-dataplane --role=handshaker   DTLS (unprivileged, sandboxed)
 *
 * A child reads the supervisor's settings from a file in memory (descriptor 4), so that a later
 * change of the file on disk cannot stop a child from starting. The supervisor sends a new log
 * level as the value of a SIGHUP. A child receives its descriptors (src/descriptors.h explains the
 * names) as one set over descriptor 3; "ro" is read-only:
 *   forwarder   desired(ro) actual keys(ro) resume, udp4.W udp6.W bell.worker.W, bell.control,
 *               bell.handshaker, io.… (what an I/O backend opened in the supervisor)
 *   handshaker  desired(ro) keys resume(ro), bell.worker.W, bell.handshaker
 * The supervisor's control socket <data_directory>/dataplane.sock gives other processes
 *   "control"   desired actual(ro), bell.worker.W, bell.control
 *   "inspect"   desired(ro) actual(ro)
 *
 * Each main function returns the exit status of its process. SIGTERM ends a process cleanly; the
 * supervisor passes it on to its children. When the supervisor dies, its children keep running: the
 * next supervisor adopts them by the pidfds in the descriptor store of the service manager. */
#ifndef RINGCAST_PROCESSES_H
#define RINGCAST_PROCESSES_H

#include "src/descriptors.h"
#include "src/settings.h"

struct io_backends;

#define CHILD_DESCRIPTOR_SOCKET 3
#define CHILD_SETTINGS 4

/* Opens the log as the settings say. media_log_level, if it was given, replaces log_level. */
void process_log(const char *process, const struct settings *settings);
int process_log_level(const struct settings *settings);
/* From now on a SIGHUP of the supervisor sets the log level. */
void process_follow_log_level(void);

/* argv is what main got: a reload reads it again, and changes those of `settings` that are live. */
int supervisor_main(struct settings *settings, const struct io_backends *backends, int argc,
                    char **argv);
int forwarder_main(const struct settings *settings, const struct io_backends *backends,
                   struct descriptors *descriptors);
int handshaker_main(const struct settings *settings, struct descriptors *descriptors);

#endif
