/* Every setting of the product, once. The struct, the environment variables, the file syntax, the
 * checks and their error texts, --help, --print-config, configs/ringcast.conf and
 * configs/settings.md all come from these rows. To add a setting, add its row here and run `make
 * settings`.
 *
 * GROUP(heading) begins a group. X(type, name, ENV, default, allowed, live, who, prose) is a
 * setting:
 *   type     u32, flag, word (one of a few), text, path, address, addresses, list, secret (a text
 *            that is never printed)
 *   name     in the file; on the command line with dashes: --media-port-min
 *   ENV      environment variable; those of the NestJS backend keep their names
 *   allowed  u32 RANGE(min, max, "unit"); flag ON_OFF; word WORDS("first, second, third"); all
 *            others BYTES(min, max), the length
 *   live     1: a reload (SIGHUP) changes it; 0: it needs a restart. A live setting needs a case in
 *            tests/integration/settings.test.mjs. In the data plane a reload reaches only the
 *            supervisor, which sends nothing but the log level to its children.
 *   who      who uses it: CP control plane, DP data plane, BOTH
 *   prose    for a person who reads only this sentence
 *
 * A value may come from four places. The later one wins: default, environment, file, command
 * line. */
#ifndef RINGCAST_SETTINGS_H
#define RINGCAST_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SETTING_TEXT_ROOM 512

/* clang-format off */
#define SETTINGS(GROUP, X)                                                                        \
    GROUP("Processes and log")                                                                    \
    X(text, node_env, NODE_ENV, "development", BYTES(1, 32), 0, CP,                               \
      "Set it to production on a public server: Ringcast then does not start with weak secrets, " \
      "and empty cors_origins allows no origin")                                                  \
    X(path, data_directory, RINGCAST_DATA, "./ringcast-data", BYTES(1, 400), 0, BOTH,             \
      "Directory of the SQLite database, the generated JWT secret, waiting audit rows and the "   \
      "Unix sockets")                                                                             \
    X(text, run_as, RINGCAST_RUN_AS, "ringcast", BYTES(0, 32), 0, BOTH,                           \
      "User that forwarder, handshaker and control plane change to when root starts them; "       \
      "empty: they stay root")                                                                    \
    X(flag, sandbox, RINGCAST_SANDBOX, 1, ON_OFF, 0, BOTH,                                        \
      "Restrict the system calls that the processes may use (seccomp), and the files of the "     \
      "forwarder and the handshaker (Landlock, io_uring restrictions)")                           \
    X(word, log_level, RINGCAST_LOG_LEVEL, "info", WORDS("error, warn, info, debug"), 1, BOTH,    \
      "The log gets lines of this level and of the more serious ones")                            \
    X(word, log_format, RINGCAST_LOG_FORMAT, "logfmt", WORDS("logfmt, json"), 0, BOTH,            \
      "Format of the log lines")                                                                  \
    X(word, media_log_level, MEDIASOUP_LOG_LEVEL, "warn",                                         \
      WORDS("debug, warn, error, none"), 1, DP,                                                   \
      "Log level of the data plane; if it is set, the data plane uses it instead of log_level. "  \
      "The NestJS backend has this variable too")                                                 \
    GROUP("Web server")                                                                           \
    X(address, http_listen_ip, RINGCAST_HTTP_LISTEN_IP, "", BYTES(0, 64), 0, CP,                  \
      "Address to serve HTTP and WebSocket on; empty: all addresses")                             \
    X(u32, http_port, PORT, 3000, RANGE(1, 65535), 0, CP,                                         \
      "Port for HTTP and WebSocket")                                                              \
    X(list, cors_origins, CORS_ORIGINS, "", BYTES(0, 500), 1, CP,                                 \
      "Origins of web pages that may use this server, such as https://meet.example.org or "       \
      "https://*.example.org; null and file:// stand for pages without a host; * for all "        \
      "pages, without credentials. Empty: all outside production, none in production")            \
    X(list, trusted_proxies, TRUSTED_PROXIES, "", BYTES(0, 500), 1, CP,                           \
      "Addresses or networks of proxies whose X-Forwarded-For header Ringcast trusts")            \
    X(path, page_directory, RINGCAST_PAGE, "", BYTES(0, 400), 0, CP,                              \
      "Directory of the built demo page, which is served at /; empty: no page")                   \
    X(u32, connections_max, RINGCAST_CONNECTIONS, 0, RANGE(0, 1000000), 0, CP,                    \
      "Maximum number of TCP connections; 0: as many as the limit of open files allows")          \
    X(u32, sockets_per_address_max, RINGCAST_SOCKETS_PER_ADDRESS, 1000, RANGE(1, 1000000), 1, CP, \
      "Maximum number of TCP connections, and of Engine.IO sessions, from one address")           \
    X(u32, connections_per_minute, RINGCAST_CONNECTIONS_PER_MINUTE, 60000,                        \
      RANGE(1, 10000000), 1, CP,                                                                  \
      "Maximum number of new TCP connections per minute from one address")                        \
    X(u32, keep_alive_s, RINGCAST_KEEP_ALIVE, 75, RANGE(1, 3600, "s"), 1, CP,                     \
      "Time that an HTTP connection stays open between two requests. A load balancer in front "   \
      "must close its idle connections sooner")                                                   \
    X(u32, unfinished_mib_per_address, RINGCAST_UNFINISHED_PER_ADDRESS, 16,                       \
      RANGE(1, 1024, "MiB"), 1, CP,                                                               \
      "Maximum memory for incomplete requests and messages of one address. Clients without an "   \
      "open Socket.IO socket have 2 MiB per address, and 12 MiB in all")                          \
    X(u32, messages_per_address, RINGCAST_MESSAGES_PER_ADDRESS, 10000, RANGE(100, 1000000), 1, CP,\
      "Maximum number of messages per second from one address, over all its connections. An "     \
      "account may send an eighth of it. The server reads more slowly from a client above it")    \
    X(u32, message_kib_per_address, RINGCAST_MESSAGE_KIB_PER_ADDRESS, 16384,                      \
      RANGE(100, 1000000, "KiB/s"), 1, CP,                                                        \
      "Maximum number of bytes per second of messages and JSON bodies from one address. An "      \
      "account may send an eighth of it")                                                         \
    X(u32, payload_bytes_max, RINGCAST_MAX_PAYLOAD, 1000000,                                      \
      RANGE(1000, 16000000, "bytes"), 0, CP,                                                      \
      "Maximum length of a message from a client (Engine.IO maxPayload)")                         \
    X(u32, ping_interval_ms, RINGCAST_PING_INTERVAL, 25000, RANGE(100, 300000, "ms"), 0, CP,      \
      "Time between two pings to a client (Engine.IO pingInterval)")                              \
    X(u32, ping_timeout_ms, RINGCAST_PING_TIMEOUT, 20000, RANGE(100, 300000, "ms"), 0, CP,        \
      "Time that a client has to answer a ping (Engine.IO pingTimeout)")                          \
    X(u32, connect_timeout_ms, RINGCAST_CONNECT_TIMEOUT, 45000, RANGE(100, 300000, "ms"), 0, CP,  \
      "Time that a client has to send the Socket.IO CONNECT packet after it opened a session")    \
    X(u32, drain_s, RINGCAST_DRAIN, 0, RANGE(0, 86400, "s"), 1, CP,                               \
      "Time that sockets may stay open after SIGTERM; clients get server:draining at once")       \
    GROUP("TLS")                                                                                  \
    X(path, tls_certificate_file, RINGCAST_TLS_CERTIFICATE, "", BYTES(0, 400), 0, CP,             \
      "PEM file with the certificate and its chain. With it, http_port serves HTTPS and WSS. "    \
      "Ringcast reads the file again when it changes; empty: plain HTTP")                         \
    X(path, tls_key_file, RINGCAST_TLS_KEY, "", BYTES(0, 400), 0, CP,                             \
      "PEM file with the private key of the certificate. Ringcast reads the file again when "     \
      "it changes")                                                                               \
    X(u32, redirect_port, RINGCAST_REDIRECT_PORT, 0, RANGE(0, 65535), 0, CP,                      \
      "Plain HTTP port, such as 80, that redirects browsers to https; 0: none")                   \
    GROUP("Metrics")                                                                              \
    X(address, metrics_listen_ip, RINGCAST_METRICS_LISTEN_IP, "127.0.0.1", BYTES(2, 64), 0, CP,   \
      "Address that metrics_port listens on")                                                     \
    X(u32, metrics_port, RINGCAST_METRICS_PORT, 0, RANGE(0, 65535), 0, CP,                        \
      "Plain HTTP port that serves only /metrics and /health; 0: /metrics is served on "          \
      "http_port")                                                                                \
    X(secret, metrics_token, RINGCAST_METRICS_TOKEN, "", BYTES(0, 200), 0, CP,                    \
      "Bearer token that a reader of /metrics must send. Empty: metrics_port asks for none, "     \
      "and http_port serves /metrics to this machine only")                                       \
    GROUP("Accounts and tokens")                                                                  \
    X(secret, jwt_secret, JWT_SECRET, "", BYTES(0, 500), 1, CP,                                   \
      "HMAC keys of access tokens, comma separated, each 32 bytes or more. The first key signs, " \
      "all keys verify. Empty outside production: Ringcast generates a key at the first start "   \
      "and keeps it in the data directory")                                                       \
    X(path, jwt_secret_file, JWT_SECRET_FILE, "", BYTES(0, 400), 1, CP,                           \
      "File with the HMAC keys, one per line, instead of jwt_secret; a reload reads it again")    \
    X(u32, jwt_expiration_s, JWT_EXPIRATION, 3600, RANGE(60, 31536000, "s"), 1, CP,               \
      "Lifetime of an access token")                                                              \
    X(u32, login_attempts_per_minute, RINGCAST_LOGIN_ATTEMPTS, 20, RANGE(1, 100000), 1, CP,       \
      "Maximum number per minute from one address of failed logins, and of registrations")        \
    X(u32, account_attempts_per_minute, RINGCAST_ACCOUNT_ATTEMPTS, 5, RANGE(1, 100000), 1, CP,    \
      "Maximum number of failed logins per minute for one account; from one address 2 less")      \
    X(u32, argon2_memory_kib, RINGCAST_ARGON2_MEMORY, 19456, RANGE(19456, 262144, "KiB"), 1, CP,  \
      "Memory for one password hash (argon2id). Ringcast computes at most two hashes at the "     \
      "same time. A weaker stored hash is replaced at its user's next login")                     \
    X(u32, argon2_passes, RINGCAST_ARGON2_PASSES, 2, RANGE(2, 16), 1, CP,                         \
      "Passes of a password hash over its memory")                                                \
    X(u32, argon2_lanes, RINGCAST_ARGON2_LANES, 1, RANGE(1, 4), 1, CP,                            \
      "Threads that compute one password hash (argon2 lanes)")                                    \
    GROUP("Rooms and limits")                                                                     \
    X(u32, room_participants_max, MAX_PARTICIPANTS_PER_ROOM, 100, RANGE(2, 10000), 1, CP,         \
      "Maximum number of participants in one room; a room may set a lower limit for itself")      \
    X(u32, transports_per_participant_max, RINGCAST_TRANSPORTS_PER_PARTICIPANT, 128,              \
      RANGE(2, 1000), 1, CP,                                                                      \
      "Maximum number of open transports of one participant")                                     \
    X(u32, rooms_per_user_max, RINGCAST_ROOMS_PER_USER, 500, RANGE(1, 1000000), 1, CP,            \
      "Maximum number of rooms that one user has created in a day and not closed, and that one "  \
      "user is in")                                                                               \
    X(u32, transports_per_user_max, RINGCAST_TRANSPORTS_PER_USER, 200, RANGE(2, 1000000), 1, CP,  \
      "Maximum number of open transports of one user, in all rooms")                              \
    X(u32, producers_per_user_max, RINGCAST_PRODUCERS_PER_USER, 128, RANGE(1, 1000000), 1, CP,    \
      "Maximum number of producers of one user, in all rooms")                                    \
    X(u32, consumers_per_user_max, RINGCAST_CONSUMERS_PER_USER, 4096, RANGE(1, 1000000), 1, CP,   \
      "Maximum number of consumers of one user, in all rooms")                                    \
    X(u32, users_per_address, RINGCAST_USERS_PER_ADDRESS, 250, RANGE(1, 1000000), 1, CP,          \
      "One address may have as many rooms, transports, producers and consumers, and send as "     \
      "many events, as this many users")                                                          \
    X(u32, address_share_percent, RINGCAST_ADDRESS_SHARE, 50, RANGE(1, 100, "%"), 1, CP,          \
      "Maximum part of the data plane's transports, producers and consumers that one address "    \
      "may have")                                                                                 \
    X(u32, room_app_data_kib, RINGCAST_ROOM_APP_DATA, 1024, RANGE(64, 65536, "KiB"), 1, CP,       \
      "Maximum size of the appData of all producers of one room. Whoever joins gets all of it in " \
      "one answer")                                                                               \
    X(u32, reconnect_grace_s, RECONNECT_GRACE, 10, RANGE(0, 300, "s"), 1, CP,                     \
      "Time that a participant stays in the room after the socket dropped, so that the client "   \
      "can reconnect")                                                                            \
    X(u32, rate_limit_events, RATE_LIMIT_EVENTS, 60, RANGE(1, 100000), 1, CP,                     \
      "Maximum number of events that change something, per user within rate_limit_window_s. "     \
      "Events of consumers have a limit of their own: this number and 4 for each producer in "    \
      "the user's rooms")                                                                         \
    X(u32, rate_limit_window_s, RATE_LIMIT_WINDOW, 60, RANGE(1, 3600, "s"), 1, CP,                \
      "Length of the sliding window of rate_limit_events")                                        \
    X(flag, short_events, SIGNALING_SHORT_EVENTS, 1, ON_OFF, 1, CP,                               \
      "Send events also under the NestJS backend's short names, such as userLeft beside "         \
      "room:userLeft")                                                                            \
    GROUP("Database")                                                                             \
    X(word, persistence, RINGCAST_PERSISTENCE, "sqlite", WORDS("sqlite, postgres"), 0, CP,        \
      "Database for accounts, meetings and audit rows; sqlite is a file in the data directory")   \
    X(text, postgres_host, POSTGRES_HOST, "localhost", BYTES(1, 400), 0, CP,                      \
      "PostgreSQL server. It may be several, comma separated: Ringcast uses the one that "        \
      "accepts writes. It may also be a directory of Unix sockets")                               \
    X(u32, postgres_port, POSTGRES_PORT, 5432, RANGE(1, 65535), 0, CP,                            \
      "Port of the PostgreSQL server")                                                            \
    X(text, postgres_user, POSTGRES_USER, "videoconf", BYTES(1, 63), 0, CP,                       \
      "PostgreSQL user to log in as")                                                             \
    X(secret, postgres_password, POSTGRES_PASSWORD, "", BYTES(0, 500), 0, CP,                     \
      "Password of the PostgreSQL user")                                                          \
    X(text, postgres_db, POSTGRES_DB, "videoconf", BYTES(1, 63), 0, CP,                           \
      "PostgreSQL database: an empty one, or the one of a NestJS backend")                        \
    X(word, postgres_sslmode, POSTGRES_SSLMODE, "prefer",                                         \
      WORDS("disable, allow, prefer, require, verify-ca, verify-full"), 0, CP,                    \
      "Use of TLS to the PostgreSQL server, in libpq's words")                                    \
    X(path, postgres_sslrootcert, POSTGRES_SSLROOTCERT, "/etc/ssl/certs/ca-certificates.crt",     \
      BYTES(0, 400), 0, CP,                                                                       \
      "PEM file of the certificate authorities that verify-ca and verify-full trust")             \
    X(u32, postgres_connections, POSTGRES_CONNECTIONS, 4, RANGE(1, 64), 0, CP,                    \
      "Connections that stay open to the PostgreSQL server")                                      \
    X(u32, audit_spool_mib_max, RINGCAST_AUDIT_SPOOL, 256, RANGE(1, 1048576, "MiB"), 0, CP,       \
      "Maximum size of the audit rows that wait in the data directory while the database is "     \
      "unreachable. The log warns at 50, 80 and 95 %. At the maximum, Ringcast refuses requests " \
      "that change something")                                                                    \
    GROUP("Redis")                                                                                \
    X(word, state, RINGCAST_STATE, "memory", WORDS("memory, redis"), 0, CP,                       \
      "Where live room state is kept: memory is this process only; redis also writes it under "   \
      "the NestJS backend's keys, for others to read")                                            \
    X(text, redis_host, REDIS_HOST, "localhost", BYTES(1, 255), 0, CP,                            \
      "Redis server")                                                                             \
    X(u32, redis_port, REDIS_PORT, 6379, RANGE(1, 65535), 0, CP,                                  \
      "Port of the Redis server")                                                                 \
    X(secret, redis_password, REDIS_PASSWORD, "", BYTES(0, 500), 0, CP,                           \
      "Password of the Redis user; empty: no AUTH")                                               \
    X(text, redis_username, REDIS_USERNAME, "", BYTES(0, 128), 0, CP,                             \
      "Redis user (ACL); empty: the default user")                                                \
    X(u32, redis_db, REDIS_DB, 0, RANGE(0, 1000000), 0, CP,                                       \
      "Number of the Redis database")                                                             \
    X(flag, redis_tls, REDIS_TLS, 0, ON_OFF, 0, CP,                                               \
      "Use TLS to Redis and to the Sentinels, and verify their certificates")                     \
    X(path, redis_tls_ca, REDIS_TLS_CA, "", BYTES(0, 400), 0, CP,                                 \
      "PEM file of the certificate authorities that signed these certificates; empty: the "       \
      "system's authorities")                                                                     \
    X(path, redis_tls_cert, REDIS_TLS_CERT, "", BYTES(0, 400), 0, CP,                             \
      "PEM file of Ringcast's own certificate, for a Redis that asks for one; empty: none")       \
    X(path, redis_tls_key, REDIS_TLS_KEY, "", BYTES(0, 400), 0, CP,                               \
      "PEM file of the private key of redis_tls_cert")                                            \
    X(list, redis_sentinels, REDIS_SENTINELS, "", BYTES(0, 500), 0, CP,                           \
      "Sentinels to ask for the master, instead of redis_host, each as host:port")                \
    X(text, redis_sentinel_master, REDIS_SENTINEL_MASTER, "mymaster", BYTES(1, 128), 0, CP,       \
      "Name under which the Sentinels know the master")                                           \
    X(secret, redis_sentinel_password, REDIS_SENTINEL_PASSWORD, "", BYTES(0, 500), 0, CP,         \
      "Password of the Sentinels; empty: no AUTH")                                                \
    X(u32, redis_timeout_ms, REDIS_TIMEOUT, 2000, RANGE(50, 60000, "ms"), 0, CP,                  \
      "Maximum time for connecting to Redis, and for each reply. Then Ringcast connects again")   \
    X(u32, redis_refresh_s, REDIS_REFRESH, 60, RANGE(1, 3600, "s"), 0, CP,                        \
      "How often Ringcast extends the expiry of its keys in Redis and writes missing keys "       \
      "again")                                                                                    \
    GROUP("STUN and TURN")                                                                        \
    X(list, turn_urls, TURN_URLS, "", BYTES(0, 500), 1, CP,                                       \
      "STUN and TURN servers that clients are told to use, such as "                              \
      "turn:turn.example.org:3478?transport=udp")                                                 \
    X(secret, turn_secret, TURN_SECRET, "", BYTES(0, 255), 1, CP,                                 \
      "Secret shared with the TURN servers (coturn: static-auth-secret), 16 bytes or more")       \
    X(u32, turn_ttl_s, TURN_TTL, 86400, RANGE(60, 604800, "s"), 1, CP,                            \
      "Lifetime of the TURN credentials that a client gets")                                      \
    GROUP("Media")                                                                                \
    X(list, media_codecs, RINGCAST_MEDIA_CODECS,                                                  \
      "opus,VP8,VP9,VP9:2,H264:4d0032,H264:42e01f,AV1", BYTES(4, 200), 0, CP,                     \
      "Codecs that rooms offer, in order of preference")                                          \
    X(addresses, media_listen_ip, MEDIASOUP_LISTEN_IP, "0.0.0.0", BYTES(2, 200), 0, DP,           \
      "Addresses to receive media on: one IPv4 address, one IPv6 address, or both. :: alone "       \
      "means all addresses of this machine, IPv4 too")                                                            \
    X(addresses, media_announced_ip, MEDIASOUP_ANNOUNCED_IP, "127.0.0.1", BYTES(2, 400), 0, CP,   \
      "Addresses that clients are told to send media to")                                         \
    X(u32, media_port_min, MEDIASOUP_MIN_PORT, 40000, RANGE(1024, 65535), 0, DP,                  \
      "First media port (UDP); each worker uses one port, from this one on")                       \
    X(u32, media_port_max, MEDIASOUP_MAX_PORT, 49999, RANGE(1024, 65535), 0, DP,                  \
      "Last media port")                                                                          \
    X(u32, video_in_kbps_max, RINGCAST_VIDEO_IN_KBPS, 100000, RANGE(1000, 10000000, "kbit/s"), 0, \
      DP,                                                                                         \
      "Maximum rate of all media of a client that sends video. What exceeds it for longer than "  \
      "half a second is dropped (drop_media_limit)")                                              \
    X(u32, video_in_packets_max, RINGCAST_VIDEO_IN_PACKETS, 20000, RANGE(200, 2000000), 0, DP,    \
      "Maximum number of media packets per second of a client that sends video")                  \
    X(u32, audio_in_kbps_max, RINGCAST_AUDIO_IN_KBPS, 5000, RANGE(100, 10000000, "kbit/s"), 0, DP,\
      "Maximum rate of all media of a client that sends no video")                                \
    X(u32, audio_in_packets_max, RINGCAST_AUDIO_IN_PACKETS, 2000, RANGE(200, 2000000), 0, DP,     \
      "Maximum number of media packets per second of a client that sends no video")               \
    X(u32, consent_timeout_ms, RINGCAST_CONSENT_TIMEOUT, 30000, RANGE(5000, 120000, "ms"), 0, DP, \
      "Ringcast closes the media of a client that sends no ICE check for this long (RFC 7675)")   \
    X(u32, dtls_timeout_ms, RINGCAST_DTLS_TIMEOUT, 30000, RANGE(1000, 120000, "ms"), 0, DP,       \
      "Maximum time for a DTLS handshake")                                                        \
    GROUP("Workers and packet I/O")                                                               \
    X(u32, workers, MEDIASOUP_NUM_WORKERS, 0, RANGE(0, 16), 0, DP,                                \
      "Worker threads of the data plane; 0: one per core")                                        \
    X(u32, room_together, RINGCAST_ROOM_TOGETHER, 16, RANGE(0, 1000000), 1, CP,                   \
      "A new transport goes to the first worker of its room, unless that worker carries more "    \
      "than this many transports and consumers above the least loaded worker. 0: always to "      \
      "the least loaded worker")                                                                  \
    X(word, io_backend, RINGCAST_IO_BACKEND, "auto", WORDS("auto, io_uring, socket"), 0, DP,      \
      "How packets are received and sent; auto measures the backends at the start and uses the "  \
      "fastest")                                                                                  \
    X(u32, socket_buffer_bytes, RINGCAST_SOCKET_BUFFER, 4194304,                                  \
      RANGE(65536, 268435456, "bytes"), 0, DP,                                                    \
      "Size of the send buffer and of the receive buffer that each media socket asks the "        \
      "kernel for")                                                                               \
    X(u32, batch_fill_us, RINGCAST_BATCH_FILL, 1500, RANGE(0, 2000, "us"), 0, DP,                 \
      "Maximum time that a worker waits for more packets before it handles a batch. Only a "      \
      "worker that is busy more than half of the time waits; 0: no worker waits")
/* clang-format on */

typedef uint32_t setting_u32;
typedef bool setting_flag;
typedef char setting_text[SETTING_TEXT_ROOM];
typedef setting_text setting_word;
typedef setting_text setting_path;
typedef setting_text setting_address;
typedef setting_text setting_addresses;
typedef setting_text setting_list;
typedef setting_text setting_secret;

struct settings {
#define GROUP(heading)
#define X(type, name, env, def, allowed, live, who, prose) setting_##type name;
    SETTINGS(GROUP, X)
#undef X
#undef GROUP
    bool media_log_level_given; /* media_log_level was set, so the data plane ignores log_level */
};

/* An IPv4 address that is written as an IPv6 address (::ffff:192.0.2.1): the IPv4 address in it. Any
 * other text: itself. */
const char *settings_address_plain(const char *text);

static inline bool settings_in_production(const struct settings *settings)
{
    return strcmp(settings->node_env, "production") == 0;
}

/* ---- loading (settings.c) ---- */

#define SETTING_ERROR_BYTES 600

enum settings_request {
    SETTINGS_RUN,
    SETTINGS_HELP,
    SETTINGS_CHECK,
    SETTINGS_PRINT,
    SETTINGS_VERSION
};

/* Fills `settings` from defaults, environment, configuration file and command line. argv[0] is
 * skipped. --config FILE names the file; --help, --check, --print-config and --version set
 * *request. False: *settings and *request are as before, and `error` is one sentence for a person:
 * which setting, from where, which value, what is allowed. */
bool settings_load(struct settings *settings, int argc, char **argv, char **environment,
                   enum settings_request *request, char error[SETTING_ERROR_BYTES]);

/* Writes the names of the PostgreSQL variables that are set, comma separated. True if at least one
 * is set; the caller then warns that persistence = sqlite does not use them. */
bool settings_find_postgres_variables(char **environment, char *names, size_t room);

/* ---- reload (settings_reload.c) ---- */

/* Removes the variables of all secrets from our environment, so that no child inherits them. */
void settings_unset_secrets(void);

#define SETTING_NAMES_BYTES 2048 /* enough for the names of all settings, comma separated */

struct settings_changes {
    char live[SETTING_NAMES_BYTES];    /* settings_apply_live puts these in force */
    char restart[SETTING_NAMES_BYTES]; /* these keep their value until the process restarts */
};
/* Names the settings that differ, of those that `who` ("CP" or "DP") uses. */
void settings_compare(const struct settings *now, const struct settings *fresh, const char *who,
                      struct settings_changes *changes);
/* Copies the live settings of `fresh` to `now`. */
void settings_apply_live(struct settings *now, const struct settings *fresh);

/* ---- --check (settings_check.c) ---- */

/* Checks settings against this machine: directories, users, addresses, ports. It starts nothing and
 * changes nothing. Calls `report` with one sentence per finding. Returns how many findings are
 * problems that would stop `who` ("CP" or "DP") from starting. */
typedef void (*settings_report)(bool is_problem, const char *sentence);
unsigned settings_check(const struct settings *settings, const char *who, settings_report report);

/* ---- printing (settings_print.c) ---- */

enum settings_form {
    SETTINGS_AS_FILE,     /* the values in force; a secret is a comment that says "(set)" */
    SETTINGS_AS_HELP,     /* every option, for --help */
    SETTINGS_AS_SAMPLE,   /* configs/ringcast.conf: every setting as a comment, with its default */
    SETTINGS_AS_MARKDOWN, /* configs/settings.md */
};
void settings_print(const struct settings *settings, enum settings_form form, int fd);

#endif
