/* The columns of the tables "users" and "meetings", each listed once. Both databases make their
 * statements, their parameters and their reading of rows from these lists.
 *
 * C(number, kind, column, field): the number in the list of columns, from 1; the field of struct
 * user_row or meeting_row. Column 1 of each table is "id" and is in no list.
 *   kind uuid text word   text in C; word: one of a few words (an enum in PostgreSQL)
 *        flag             bool
 *        count            uint32_t
 *        time             milliseconds since 1970
 *        time_or_null     the same, 0 for null */
#ifndef RINGCAST_COLUMNS_H
#define RINGCAST_COLUMNS_H

/* clang-format off */
#define USER_COLUMNS(C)                                  \
    C(2, text, "email", email)                           \
    C(3, text, "passwordHash", password_hash)            \
    C(4, text, "displayName", display_name)              \
    C(5, flag, "isActive", is_active)                    \
    C(6, time, "createdAt", created_ms)                  \
    C(7, time, "updatedAt", updated_ms)

#define MEETING_COLUMNS(C)                               \
    C(2, text, "title", title)                           \
    C(3, text, "roomCode", room_code)                    \
    C(4, uuid, "hostId", host_id)                        \
    C(5, word, "status", status)                         \
    C(6, count, "maxParticipants", participants_max)     \
    C(7, time_or_null, "startedAt", started_ms)          \
    C(8, time_or_null, "endedAt", ended_ms)              \
    C(9, count, "peakParticipants", participants_peak)   \
    C(10, time, "createdAt", created_ms)                 \
    C(11, time, "updatedAt", updated_ms)
/* clang-format on */

/* A list of column names for SQL: "\"id\"" USER_COLUMNS(COLUMN_NAME) */
#define COLUMN_NAME(number, kind, column, field) ", \"" column "\""

#endif
