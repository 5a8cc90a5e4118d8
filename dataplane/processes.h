/* The three processes of ringcast-dataplane and how they start.
 *
 *   ringcast-dataplane                    supervisor: regions, sockets, doorbells; starts and watches
 *     ├ ringcast-dataplane --role=forwarder    worker threads (unprivileged, sandboxed)
 *     └ ringcast-dataplane --role=handshaker   DTLS (unprivileged, sandboxed)
 *
 * A child is given the supervisor's settings as a configuration file of memory (descriptor 4): what
 * becomes of the file on the disk meanwhile does not matter to one that is started later. How much it
 * logs it is told again with each SIGHUP, whose value is the level. It receives its descriptors
 * (src/descriptors.h names) as one set on descriptor 3:
 *   forwarder   desired(ro) actual keys(ro) resume, udp4.W udp6.W bell.worker.W, bell.control,
 *               bell.handshaker
 *   handshaker  desired(ro) keys resume(ro), bell.worker.W, bell.handshaker
 * and the supervisor's Unix socket <data_directory>/dataplane.sock serves
 *   "control"   desired actual(ro), bell.worker.W, bell.control
 *   "inspect"   desired(ro) actual(ro) resume(ro)
 *
 * Each returns the process's exit status. SIGTERM ends a process cleanly; the supervisor passes it
 * on. Death of the supervisor ends nobody: a new one adopts children by the pidfds in the service
 * manager's descriptor store. */
#ifndef RINGCAST_PROCESSES_H
#define RINGCAST_PROCESSES_H

#include "src/descriptors.h"
#include "src/settings.h"

struct io_backends;

#define CHILD_DESCRIPTOR_SOCKET 3
#define CHILD_SETTINGS 4

/* Opens the log as the settings say: media_log_level, where it was given, wins over log_level. */
void process_log(const char *process, const struct settings *settings);
int process_log_level(const struct settings *settings);
/* From now on a SIGHUP of the supervisor sets the level. */
void process_obey_log_level(void);

/* argv is what main got: a reload reads it again, and changes those of `settings` that are live. */
int supervisor_main(struct settings *settings, const struct io_backends *backends, int argc,
                    char **argv);
int forwarder_main(const struct settings *settings, const struct io_backends *backends,
                   struct descriptors *descriptors);
int handshaker_main(const struct settings *settings, struct descriptors *descriptors);

#endif
