/* The HMAC key of access tokens: taken from the settings or from the file in the data directory. */
#define _GNU_SOURCE /* strcasestr */
#include "secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/log.h"
#include "uuid.h"

#define SECRET_RAW_BYTES 32
#define SECRET_HEX_BYTES (2 * SECRET_RAW_BYTES)

/* What tutorials, .env.example files and compose files ship as a secret. Long ones pass a length
 * check, so they are known by what they say. */
static const char *const default_marks[] = {
    "changeme",          "change-me",    "change_me",
    "change this",       "change-this",  "change_this",
    "change-in-",        "change_in_",   "your-super-secret",
    "your_super_secret", "your-secret",  "your_secret",
    "your-jwt",          "your_jwt",     "supersecret",
    "super-secret",      "super_secret", "secret-key",
    "secret_key",        "secretkey",    "jwt-secret",
    "jwt_secret",        "jwtsecret",    "example",
    "placeholder",       "password",     "0123456789abcdef0123456789abcdef",
};

/* NULL, or what is wrong with it. */
static const char *secret_weakness(const char *secret)
{
    size_t bytes = strlen(secret);
    bool seen[256] = {false};
    unsigned distinct = 0;

    if (bytes == 0)
        return "is not set";
    if (bytes < SECRET_BYTES_MIN)
        return "is shorter than 32 bytes";
    for (size_t i = 0; i < sizeof(default_marks) / sizeof(default_marks[0]); i++)
        if (strcasestr(secret, default_marks[i]))
            return "is a known default";
    for (size_t i = 0; i < bytes; i++) {
        distinct += !seen[(uint8_t)secret[i]];
        seen[(uint8_t)secret[i]] = true;
    }
    return distinct < 8 ? "repeats a few characters" : NULL;
}

/* Written beside its name, synced, then linked: either the whole secret is there or none, and of
 * two starters at once both end up with the same one. */
static int secret_file_make(int directory)
{
    char temporary[64], text[SECRET_HEX_BYTES + 2], id[UUID_TEXT_BYTES];
    uint8_t raw[SECRET_RAW_BYTES];
    int fd, failed;

    random_fill(raw, sizeof(raw));
    for (unsigned i = 0; i < sizeof(raw); i++)
        snprintf(text + 2 * i, 3, "%02x", raw[i]);
    text[SECRET_HEX_BYTES] = '\n';
    uuid_make(id);
    snprintf(temporary, sizeof(temporary), SECRET_FILE ".%s", id);
    fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    failed = write(fd, text, SECRET_HEX_BYTES + 1) != SECRET_HEX_BYTES + 1 || fsync(fd) != 0;
    failed |= close(fd) != 0;
    if (!failed)
        failed = linkat(directory, temporary, directory, SECRET_FILE, 0) != 0 && errno != EEXIST;
    fd = errno;
    unlinkat(directory, temporary, 0);
    fsync(directory);
    explicit_bzero(raw, sizeof(raw));
    explicit_bzero(text, sizeof(text));
    errno = fd;
    return failed ? -1 : 0;
}

/* 1: read, 0: there is none, -1: not usable (why). */
static int secret_file_read(int directory, char secret[SETTING_TEXT_ROOM], char *why)
{
    struct stat file;
    ssize_t got;
    int fd = openat(directory, SECRET_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &file) != 0) {
        snprintf(why, WHY_BYTES, "cannot read " SECRET_FILE " in the data directory: %s",
                 strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if ((file.st_mode & 077) != 0) {
        LOG(WARN, "auth", "jwt-secret was readable by others; its mode is now 0600");
        if (fchmod(fd, 0600) != 0)
            LOG(WARN, "auth", "chmod of jwt-secret failed", F("reason", "%s", strerror(errno)));
    }
    got = S_ISREG(file.st_mode) ? read(fd, secret, SETTING_TEXT_ROOM - 1) : 0;
    close(fd);
    if (got > 0 && secret[got - 1] == '\n')
        got--;
    secret[got > 0 ? got : 0] = 0;
    if (got != SECRET_HEX_BYTES || strspn(secret, "0123456789abcdef") != SECRET_HEX_BYTES) {
        snprintf(why, WHY_BYTES,
                 SECRET_FILE " in the data directory is not 64 hexadecimal digits; remove it to "
                             "have a new one made (all tokens become invalid)");
        return -1;
    }
    return 1;
}

static bool secret_from_file(const struct settings *settings, char secret[SETTING_TEXT_ROOM],
                             char *why)
{
    int directory = data_directory_open(settings, why);
    int got;

    if (directory < 0)
        return false;
    got = secret_file_read(directory, secret, why);
    if (got == 0) {
        if (secret_file_make(directory) != 0) {
            snprintf(why, WHY_BYTES, "cannot write " SECRET_FILE " into the data directory: %s",
                     strerror(errno));
        } else {
            LOG(INFO, "auth", "made a new JWT secret in the data directory");
            got = secret_file_read(directory, secret, why);
        }
    }
    close(directory);
    return got == 1;
}

bool secret_obtain(const struct settings *settings, char secret[SETTING_TEXT_ROOM], char *why)
{
    const char *weakness = secret_weakness(settings->jwt_secret);

    if (!strcmp(settings->node_env, "production") && weakness) {
        snprintf(
            why, WHY_BYTES,
            "JWT_SECRET %s; production needs 32 bytes or more, e.g. from: openssl rand -hex 32",
            weakness);
        return false;
    }
    if (settings->jwt_secret[0] == 0)
        return secret_from_file(settings, secret, why);
    if (weakness)
        LOG(WARN, "auth", "JWT_SECRET is weak; production would refuse it",
            F("reason", "%s", weakness));
    memcpy(secret, settings->jwt_secret, SETTING_TEXT_ROOM);
    secret[SETTING_TEXT_ROOM - 1] = 0;
    return true;
}
