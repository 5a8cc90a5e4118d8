/* Every reason why a request may fail: one row per reason. */
#ifndef RINGCAST_ROOMS_ERRORS_H
#define RINGCAST_ROOMS_ERRORS_H

/* E(code, message). Clients compare the code, so it never changes. The message is for people. */
/* clang-format off */
#define ROOM_ERRORS(E)                                                                           \
    E(invalid_payload, "The payload of this event is not as documented")                         \
    E(unknown_event, "There is no such event")                                                   \
    E(rate_limited, "Too many events; wait a moment and try again")                              \
    E(invalid_token, "The token is not valid, or it is another user's")                          \
    E(unavailable, "The service cannot do this at the moment; try again later")                  \
    E(room_not_found, "There is no such room")                                                   \
    E(room_closed, "The room is closed")                                                         \
    E(room_full, "The room is full")                                                             \
    E(not_in_room, "Join the room first")                                                        \
    E(not_host, "Only the host, or for some events a co-host, may do this")                     \
    E(cannot_kick_host, "The host cannot be removed")                                            \
    E(cannot_change_host, "The role of the host cannot be changed")                              \
    E(user_not_found, "This user is not in the room")                                            \
    E(transport_not_found, "You have no such transport")                                         \
    E(producer_not_found, "There is no such producer, or it is not yours")                       \
    E(consumer_not_found, "You have no such consumer")                                           \
    E(already_connected, "The transport is already connected")                                   \
    E(wrong_direction, "The transport was created for the other direction")                      \
    E(cannot_produce, "The server cannot accept these rtpParameters")                            \
    E(cannot_consume, "A client with these rtpCapabilities cannot consume this producer")        \
    E(limit_reached, "You have as many as you may have")
/* clang-format on */

enum room_error {
#define E(name, text) ERROR_##name,
    ROOM_ERRORS(E)
#undef E
        ROOM_ERROR_COUNT
};

extern const char *const room_error_codes[ROOM_ERROR_COUNT];

#endif
