/* Every setting of the product, once. The struct, the environment variables, the file syntax,
 * --help, --print-config, the sample configuration and the README's table come from these rows.
 *
 * X(type, name, ENV, default, min, max, unit, live, who, prose)
 *   type   u32, flag, text, secret (text that is never printed)
 *   name   the file and command-line name (dashes on the command line: --media-port-min)
 *   ENV    environment variable; the seed's keep their names
 *   min/max  of a u32 its value, of a text its length in bytes
 *   live   1: a reload (SIGHUP) may change it
 *   who    CP control plane, DP data plane, BOTH
 * Strength, weakest first: default, environment, file, command line. */
#ifndef RINGCAST_SETTINGS_H
#define RINGCAST_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SETTING_TEXT_ROOM 512

/* clang-format off */
#define SETTINGS(X)                                                                              \
    X(text, node_env, NODE_ENV, "development", 1, 32, "", 0, CP,                                 \
      "production makes the start refuse weak secrets and open CORS")                            \
    X(text, data_directory, RINGCAST_DATA, "./ringcast-data", 1, 400, "", 0, BOTH,               \
      "where the embedded database, the generated JWT secret and the sockets live")              \
    X(text, log_level, RINGCAST_LOG_LEVEL, "info", 4, 5, "", 1, BOTH,                            \
      "error, warn, info or debug")                                                              \
    X(text, log_format, RINGCAST_LOG_FORMAT, "logfmt", 4, 6, "", 0, BOTH, "logfmt or json")      \
    X(text, media_log_level, MEDIASOUP_LOG_LEVEL, "warn", 4, 5, "", 1, DP,                       \
      "log level of the data plane as the NestJS backend named it: debug, warn, error or none")  \
    X(text, http_listen_ip, RINGCAST_HTTP_LISTEN_IP, "", 0, 64, "", 0, CP,                       \
      "address to serve HTTP and WebSocket on; empty: all")                                      \
    X(u32, http_port, PORT, 3000, 1, 65535, "", 0, CP, "HTTP and WebSocket port")                \
    X(text, tls_certificate_file, RINGCAST_TLS_CERTIFICATE, "", 0, 400, "", 0, CP,               \
      "PEM file with the certificate and its chain: PORT then speaks HTTPS and WSS; read again "  \
      "when it changes; empty: plain HTTP")                                                      \
    X(text, tls_key_file, RINGCAST_TLS_KEY, "", 0, 400, "", 0, CP,                               \
      "PEM file with the certificate's private key; read again when it changes")                 \
    X(u32, redirect_port, RINGCAST_REDIRECT_PORT, 0, 0, 65535, "", 0, CP,                        \
      "plain HTTP port, such as 80, that sends browsers to https; 0: none")                      \
    X(text, metrics_listen_ip, RINGCAST_METRICS_LISTEN_IP, "127.0.0.1", 2, 64, "", 0, CP,        \
      "address of RINGCAST_METRICS_PORT")                                                        \
    X(u32, metrics_port, RINGCAST_METRICS_PORT, 0, 0, 65535, "", 0, CP,                          \
      "plain HTTP port for /metrics and /health alone; 0: /metrics is on PORT")                  \
    X(secret, metrics_token, RINGCAST_METRICS_TOKEN, "", 0, 200, "", 0, CP,                      \
      "bearer token that /metrics wants; empty: none on RINGCAST_METRICS_PORT, and on PORT only " \
      "this machine may read")                                                                   \
    X(text, cors_origins, CORS_ORIGINS, "", 0, 500, "", 1, CP,                                   \
      "allowed origins, comma separated, or *; empty: * outside production, none in production") \
    X(text, trusted_proxies, TRUSTED_PROXIES, "", 0, 500, "", 1, CP,                             \
      "addresses of proxies whose X-Forwarded-For is believed, comma separated")                 \
    X(secret, jwt_secret, JWT_SECRET, "", 0, 500, "", 1, CP,                                     \
      "HMAC keys of access tokens, comma separated, each 32 bytes or more: the first signs, all " \
      "verify; empty outside production: generated once and kept in the data directory")         \
    X(text, jwt_secret_file, JWT_SECRET_FILE, "", 0, 400, "", 1, CP,                             \
      "file with the keys of access tokens, one a line, in place of jwt_secret; a reload reads " \
      "it again")                                                                                \
    X(u32, jwt_expiration_s, JWT_EXPIRATION, 3600, 60, 31536000, "s", 1, CP,                     \
      "life of an access token")                                                                 \
    X(u32, room_participants_max, MAX_PARTICIPANTS_PER_ROOM, 100, 2, 10000, "", 1, CP,           \
      "hard cap per room")                                                                       \
    X(u32, transports_per_participant_max, RINGCAST_TRANSPORTS_PER_PARTICIPANT, 8, 2, 1000, "", 1, CP, \
      "transports that one participant may have open")                                           \
    X(u32, reconnect_grace_s, RECONNECT_GRACE, 10, 0, 300, "s", 1, CP,                           \
      "how long a dropped socket keeps its seat")                                                \
    X(u32, rate_limit_events, RATE_LIMIT_EVENTS, 60, 1, 100000, "", 1, CP,                       \
      "mutating events per socket and window")                                                   \
    X(u32, rate_limit_window_s, RATE_LIMIT_WINDOW, 60, 1, 3600, "s", 1, CP,                      \
      "the sliding window of the rate limit")                                                    \
    X(flag, short_events, SIGNALING_SHORT_EVENTS, 1, 0, 1, "", 1, CP,                            \
      "send the seed's short event names beside the canonical ones (on, off)")                   \
    X(u32, ping_interval_ms, RINGCAST_PING_INTERVAL, 25000, 100, 300000, "ms", 0, CP,            \
      "Engine.IO pingInterval")                                                                  \
    X(u32, ping_timeout_ms, RINGCAST_PING_TIMEOUT, 20000, 100, 300000, "ms", 0, CP,              \
      "Engine.IO pingTimeout")                                                                   \
    X(u32, payload_bytes_max, RINGCAST_MAX_PAYLOAD, 1000000, 1000, 16000000, "bytes", 0, CP,     \
      "Engine.IO maxPayload: the longest message a client may send")                             \
    X(u32, connect_timeout_ms, RINGCAST_CONNECT_TIMEOUT, 45000, 100, 300000, "ms", 0, CP,        \
      "how long an opened socket may take to send its CONNECT packet")                           \
    X(u32, login_attempts_per_minute, RINGCAST_LOGIN_ATTEMPTS, 20, 1, 100000, "", 1, CP,         \
      "login and register attempts per minute and address")                                      \
    X(u32, account_attempts_per_minute, RINGCAST_ACCOUNT_ATTEMPTS, 5, 1, 100000, "", 1, CP,      \
      "failed logins per minute and account")                                                    \
    X(u32, argon2_memory_kib, RINGCAST_ARGON2_MEMORY, 19456, 19456, 262144, "KiB", 1, CP,        \
      "memory of one password hash (argon2id); two are made at a time. Weaker hashes are "       \
      "replaced at their owner's next login")                                                    \
    X(u32, argon2_passes, RINGCAST_ARGON2_PASSES, 2, 2, 16, "", 1, CP,                           \
      "passes of a password hash over its memory")                                               \
    X(u32, argon2_lanes, RINGCAST_ARGON2_LANES, 1, 1, 4, "", 1, CP,                              \
      "lanes of a password hash: so many threads work on one")                                   \
    X(u32, sockets_per_address_max, RINGCAST_SOCKETS_PER_ADDRESS, 1000, 1, 1000000, "", 1, CP,   \
      "TCP connections from one address, and Engine.IO sessions")                                \
    X(u32, connections_per_minute, RINGCAST_CONNECTIONS_PER_MINUTE, 60000, 1, 10000000, "", 1, CP, \
      "new TCP connections per minute and address")                                              \
    X(u32, connections_max, RINGCAST_CONNECTIONS, 0, 0, 1000000, "", 0, CP,                      \
      "TCP connections in all; 0: as many as the limit of open files allows")                    \
    X(u32, drain_s, RINGCAST_DRAIN, 0, 0, 86400, "s", 1, CP,                                     \
      "how long sockets may stay after SIGTERM; they hear server:draining at once")              \
    X(text, persistence, RINGCAST_PERSISTENCE, "sqlite", 6, 8, "", 0, CP,                        \
      "where people, meetings and audit rows are kept: sqlite (in the data directory) or postgres") \
    X(text, postgres_host, POSTGRES_HOST, "localhost", 1, 400, "", 0, CP,                        \
      "PostgreSQL server, several comma separated (the one that takes writes is used), or a "    \
      "directory of Unix sockets")                                                               \
    X(u32, postgres_port, POSTGRES_PORT, 5432, 1, 65535, "", 0, CP, "its port")                  \
    X(text, postgres_user, POSTGRES_USER, "videoconf", 1, 63, "", 0, CP, "user to log in as")    \
    X(secret, postgres_password, POSTGRES_PASSWORD, "", 0, 500, "", 0, CP, "that user's password") \
    X(text, postgres_db, POSTGRES_DB, "videoconf", 1, 63, "", 0, CP,                             \
      "database: an empty one, or one that the NestJS backend uses")                             \
    X(text, postgres_sslmode, POSTGRES_SSLMODE, "prefer", 5, 11, "", 0, CP,                      \
      "TLS to the server as libpq names it: disable, allow, prefer, require, verify-ca or "      \
      "verify-full")                                                                             \
    X(text, postgres_sslrootcert, POSTGRES_SSLROOTCERT, "/etc/ssl/certs/ca-certificates.crt", 0, \
      400, "", 0, CP, "certificates of the authorities that verify-ca and verify-full believe")  \
    X(u32, postgres_connections, POSTGRES_CONNECTIONS, 4, 1, 64, "", 0, CP,                      \
      "connections kept open to the server")                                                     \
    X(u32, audit_spool_mib_max, RINGCAST_AUDIT_SPOOL, 256, 1, 1048576, "MiB", 0, CP,             \
      "audit rows that wait in the data directory while the database is away; alarms at 50, 80 " \
      "and 95 % of it, and when it is full calls that change something are refused")             \
    X(text, state, RINGCAST_STATE, "memory", 5, 6, "", 0, CP,                                    \
      "who gets to know live room state: memory (nobody else) or redis (the NestJS backend's keys)") \
    X(text, redis_host, REDIS_HOST, "localhost", 1, 255, "", 0, CP, "Redis server")              \
    X(u32, redis_port, REDIS_PORT, 6379, 1, 65535, "", 0, CP, "port of the Redis server")        \
    X(secret, redis_password, REDIS_PASSWORD, "", 0, 500, "", 0, CP,                             \
      "password of the Redis user; empty: no AUTH")                                              \
    X(text, redis_username, REDIS_USERNAME, "", 0, 128, "", 0, CP,                               \
      "Redis user (ACL); empty: the default user")                                               \
    X(u32, redis_db, REDIS_DB, 0, 0, 1000000, "", 0, CP, "number of the Redis database")         \
    X(flag, redis_tls, REDIS_TLS, 0, 0, 1, "", 0, CP,                                            \
      "speak TLS with Redis and Sentinels, and verify their certificates (on, off)")             \
    X(text, redis_tls_ca, REDIS_TLS_CA, "", 0, 400, "", 0, CP,                                   \
      "PEM file of the authorities that sign these certificates; empty: the system's")           \
    X(text, redis_tls_cert, REDIS_TLS_CERT, "", 0, 400, "", 0, CP,                               \
      "PEM file of our own certificate, for a Redis that asks for one; empty: none")             \
    X(text, redis_tls_key, REDIS_TLS_KEY, "", 0, 400, "", 0, CP, "PEM file of its key")          \
    X(text, redis_sentinels, REDIS_SENTINELS, "", 0, 500, "", 0, CP,                             \
      "Sentinels to ask for the master instead of redis_host: host:port, comma separated")       \
    X(text, redis_sentinel_master, REDIS_SENTINEL_MASTER, "mymaster", 1, 128, "", 0, CP,         \
      "name of the master that Sentinels know")                                                  \
    X(secret, redis_sentinel_password, REDIS_SENTINEL_PASSWORD, "", 0, 500, "", 0, CP,           \
      "password of the Sentinels; empty: no AUTH")                                               \
    X(u32, redis_timeout_ms, REDIS_TIMEOUT, 2000, 50, 60000, "ms", 0, CP,                        \
      "how long a connection to Redis or an answer of it may take before it is looked for anew") \
    X(u32, redis_refresh_s, REDIS_REFRESH, 60, 1, 3600, "s", 0, CP,                              \
      "how often lives of keys in Redis are prolonged, and keys that are missing written again") \
    X(text, turn_urls, TURN_URLS, "", 0, 500, "", 1, CP,                                         \
      "STUN and TURN servers that clients are told of, comma separated: "                        \
      "turn:turn.example.org:3478?transport=udp")                                                \
    X(secret, turn_secret, TURN_SECRET, "", 0, 255, "", 1, CP,                                   \
      "secret shared with the TURN servers (coturn: static-auth-secret), 16 bytes or more")      \
    X(u32, turn_ttl_s, TURN_TTL, 86400, 60, 604800, "s", 1, CP,                                  \
      "how long a client may use the TURN credentials it is given")                              \
    X(text, page_directory, RINGCAST_PAGE, "", 0, 400, "", 0, CP,                                \
      "the built demo page that is served at /; empty: none")                                    \
    X(text, media_codecs, RINGCAST_MEDIA_CODECS, "opus,VP8,VP9,VP9:2,H264:4d0032,H264:42e01f,AV1", \
      4, 200, "", 0, CP, "codecs of the router, in order of preference")                         \
    X(text, media_listen_ip, MEDIASOUP_LISTEN_IP, "0.0.0.0", 2, 200, "", 0, DP,                  \
      "addresses to receive media on, comma separated, IPv4 and IPv6")                           \
    X(text, media_announced_ip, MEDIASOUP_ANNOUNCED_IP, "127.0.0.1", 2, 400, "", 0, CP,          \
      "addresses that clients are told, comma separated, IPv4 and IPv6")                         \
    X(u32, media_port_min, MEDIASOUP_MIN_PORT, 40000, 1024, 65535, "", 0, DP, "first media port") \
    X(u32, media_port_max, MEDIASOUP_MAX_PORT, 49999, 1024, 65535, "", 0, DP, "last media port") \
    X(u32, workers, MEDIASOUP_NUM_WORKERS, 0, 0, 16, "", 0, DP,                                  \
      "worker threads of the data plane; 0: one per core")                                       \
    X(u32, room_together, RINGCAST_ROOM_TOGETHER, 16, 0, 1000000, "", 1, CP,                     \
      "how much more load (transports and consumers) than the least loaded worker the one where " \
      "a room began may carry before the room spreads; 0: new transports go to the least loaded") \
    X(text, io_backend, RINGCAST_IO_BACKEND, "auto", 4, 8, "", 0, DP,                            \
      "how packets are moved: auto, io_uring or socket")                                         \
    X(u32, socket_buffer_bytes, RINGCAST_SOCKET_BUFFER, 4194304, 65536, 268435456, "bytes", 0, DP, \
      "send and receive buffer asked for each media socket")                                     \
    X(u32, batch_fill_us, RINGCAST_BATCH_FILL, 1500, 0, 2000, "us", 0, DP,                       \
      "how long a worker that is busy more than half of the time may leave packets to gather; "  \
      "0: never")                                                                                \
    X(u32, consent_timeout_ms, RINGCAST_CONSENT_TIMEOUT, 30000, 5000, 120000, "ms", 0, DP,       \
      "silence of ICE checks after which a peer is gone (RFC 7675)")                             \
    X(u32, dtls_timeout_ms, RINGCAST_DTLS_TIMEOUT, 30000, 1000, 120000, "ms", 0, DP,             \
      "deadline of a DTLS handshake")                                                            \
    X(text, run_as, RINGCAST_RUN_AS, "nobody", 0, 32, "", 0, BOTH,                               \
      "user that the children run as when started by root; empty: stay")                         \
    X(flag, sandbox, RINGCAST_SANDBOX, 1, 0, 1, "", 0, DP,                                       \
      "seccomp, Landlock and ring restrictions for forwarder and handshaker (on, off)")
/* clang-format on */

typedef uint32_t setting_u32;
typedef bool setting_flag;
typedef char setting_text[SETTING_TEXT_ROOM];
typedef char setting_secret[SETTING_TEXT_ROOM];

struct settings {
#define X(type, name, env, def, min, max, unit, live, who, prose) setting_##type name;
    SETTINGS(X)
#undef X
    bool media_log_level_given; /* MEDIASOUP_LOG_LEVEL was set, so it overrides log_level there */
};

#define SETTING_ERROR_BYTES 400

/* Fills `settings` from defaults, environment, the file (NULL: none) and the command line, in order
 * of increasing strength. argv[0] is skipped; --config FILE, --help, --check, --print-config and
 * --version are recognised and reported in *request. Returns false with one sentence that names the
 * key, the value and the allowed range; then nothing was changed. */
enum settings_request {
    SETTINGS_RUN,
    SETTINGS_HELP,
    SETTINGS_CHECK,
    SETTINGS_PRINT,
    SETTINGS_VERSION
};
bool settings_load(struct settings *settings, int argc, char **argv, char **environment,
                   enum settings_request *request, char error[SETTING_ERROR_BYTES]);

/* ---- reload (settings_reload.c) ---- */

/* Takes the variables of all secrets out of our environment, before it is given to a child. */
void settings_unset_secrets(void);

#define SETTING_NAMES_BYTES 2048 /* all names there are, comma separated */

/* Names of the settings of `who` ("CP", "DP"; those of both included) that differ. */
struct settings_changes {
    char live[SETTING_NAMES_BYTES];    /* settings_apply_live puts them in force */
    char restart[SETTING_NAMES_BYTES]; /* these stay as they are until the process starts anew */
};
void settings_compare(const struct settings *now, const struct settings *fresh, const char *who,
                      struct settings_changes *changes);
void settings_apply_live(struct settings *now, const struct settings *fresh);

/* ---- --check (settings_check.c) ---- */

/* Looks at what settings that are right by themselves meet on this machine: directories, users,
 * addresses, ports. Starts nothing, leaves nothing. `tell` hears one sentence for each finding; returns
 * how many of them are problems with which `who` ("CP", "DP") would not start. */
typedef void (*settings_report)(bool is_problem, const char *sentence);
unsigned settings_check(const struct settings *settings, const char *who, settings_report tell);

/* The seed's variables for PostgreSQL that are set: their names, comma separated. True when there are
 * any: whoever set them should be told when persistence does not use them. */
bool settings_find_postgres_variables(char **environment, char *names, size_t room);

/* Prints the current values as a configuration file (secrets as "(set)"), the help text, a sample
 * file with every default and its prose, or the README's Markdown table. */
enum settings_form { SETTINGS_AS_FILE, SETTINGS_AS_HELP, SETTINGS_AS_SAMPLE, SETTINGS_AS_MARKDOWN };
void settings_print(const struct settings *settings, enum settings_form form, int fd);

#endif
