/* Live state: hands rooms and participants to controlplane/live, which copies them to Redis. */
#ifndef RINGCAST_ROOMS_LIVE_STATE_H
#define RINGCAST_ROOMS_LIVE_STATE_H

struct participant;
struct room;

void live_state_put_room(const struct room *room);
/* Something about the participant changed. Many changes at once are written as one. */
void live_state_put_participant(struct participant *participant);
void live_state_remove_participant(struct participant *participant);

#endif
