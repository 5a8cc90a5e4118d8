/* Restore: after a restart of the control plane its rooms are open again, so that people can come
 * back. A room that nobody comes back to within the grace time is closed. */
#ifndef RINGCAST_ROOMS_RESTORE_H
#define RINGCAST_ROOMS_RESTORE_H

struct rooms;

/* Opens the next room that the last run left open, and then those after it. The database may be
 * down at the start, so every tick calls this; it does nothing unless restore_is_due. */
void restore_next(struct rooms *rooms);

#endif
