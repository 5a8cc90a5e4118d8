/* The keys that sign access tokens: from the settings, from the file that they name, or from the
 * data directory. */
#define _GNU_SOURCE /* strcasestr, strchrnul */
#include "secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/log.h"
#include "uuid.h"

#define SECRET_RAW_BYTES 32
#define SECRET_HEX_BYTES (2 * SECRET_RAW_BYTES)

/* Parts of the secrets in tutorials, .env.example files and compose files. Such secrets may be long
 * enough, so they are recognised by their words. */
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
    "qwertyuiop",        "asdfghjkl",
};

/* "12345678901234567890123456789012", "abcdefgh…": most characters are neighbours of the one before
 * them. In 64 random hexadecimal digits about 12 are. */
static bool is_sequence(const char *secret, size_t bytes)
{
    size_t neighbours = 0;

    for (size_t i = 1; i < bytes; i++)
        neighbours += abs(secret[i] - secret[i - 1]) <= 1;
    return neighbours > bytes / 2;
}

/* One piece repeated; the last repeat may be incomplete. */
static bool is_periodic(const char *secret, size_t bytes)
{
    for (size_t period = 1; period <= bytes / 2; period++)
        if (memcmp(secret, secret + period, bytes - period) == 0)
            return true;
    return false;
}

/* What is wrong with the secret; NULL: nothing. */
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
    if (distinct < 8 || is_periodic(secret, bytes))
        return "repeats a few characters";
    return is_sequence(secret, bytes) ? "is a sequence" : NULL;
}

/* Writes a temporary file, syncs it, and links it to the name of the secret. So the file holds
 * the whole secret or does not exist, and when two processes start at once, both use the same
 * secret. */
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

/* 1: the secret was read; 0: there is no file; -1: the file is not usable (why). */
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
        LOG(WARN, "auth", "other users could read jwt-secret; its mode is now 0600");
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
                 SECRET_FILE
                 " in the data directory is not 64 hexadecimal digits; remove the file, "
                 "and the next start makes a new one (all tokens become invalid)");
        return -1;
    }
    return 1;
}

static bool secret_generated(const struct settings *settings, char secret[SETTING_TEXT_ROOM],
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

/* ---- secrets of the operator ---- */

/* Cuts a text into keys. An empty line is skipped; an empty key between two commas is an error. */
static bool secrets_cut(const char *text, char separator, const char *name, struct secrets *secrets,
                        char *why)
{
    while (*text) {
        const char *end = strchrnul(text, separator);
        size_t bytes = (size_t)(end - text);

        if (separator == '\n' && bytes && text[bytes - 1] == '\r')
            bytes--;
        if (bytes || separator != '\n') {
            if (secrets->count == SECRETS_MAX || bytes >= SETTING_TEXT_ROOM) {
                snprintf(why, WHY_BYTES, "%s holds more than %d keys, or one over %d bytes", name,
                         SECRETS_MAX, SETTING_TEXT_ROOM - 1);
                return false;
            }
            if (bytes == 0 || text[0] == ' ' || text[bytes - 1] == ' ') {
                snprintf(why, WHY_BYTES,
                         "%s: key %u is empty, or starts or ends with a blank; separate keys by a "
                         "comma alone",
                         name, secrets->count + 1);
                return false;
            }
            memcpy(secrets->keys[secrets->count], text, bytes);
            secrets->keys[secrets->count++][bytes] = 0;
        }
        text = *end ? end + 1 : end;
        if (*end && !*text && separator != '\n') {
            snprintf(why, WHY_BYTES, "%s ends with a comma: a key is missing after it", name);
            return false;
        }
    }
    return true;
}

static bool secrets_read_file(const char *path, struct secrets *secrets, char *why)
{
    char text[SECRETS_MAX * SETTING_TEXT_ROOM];
    struct stat file;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool ok;

    errno = fd < 0 ? errno : EINVAL;
    if (fd >= 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode))
        got = read(fd, text, sizeof(text));
    if (got < 0 || got == (ssize_t)sizeof(text) || memchr(text, 0, (size_t)got)) {
        snprintf(why, WHY_BYTES, "jwt_secret_file %.80s cannot be read: %s", path,
                 got < 0 ? strerror(errno) : "it is not a text file of a few lines");
        ok = false;
    } else {
        text[got] = 0;
        ok = secrets_cut(text, '\n', "jwt_secret_file", secrets, why);
        if (file.st_mode & 007)
            LOG(WARN, "auth", "every user of this machine may read jwt_secret_file",
                F("file", "%s", path), F("mode", "%04o", (unsigned)file.st_mode & 07777));
    }
    if (fd >= 0)
        close(fd);
    explicit_bzero(text, sizeof(text));
    return ok;
}

/* The keys in jwt_secret or jwt_secret_file. count 0: neither is set. */
static bool secrets_given(const struct settings *settings, struct secrets *secrets, char *why)
{
    const char *name = settings->jwt_secret_file[0] ? "jwt_secret_file" : "JWT_SECRET";
    bool strict = settings_in_production(settings);

    memset(secrets, 0, sizeof(*secrets));
    if (settings->jwt_secret[0] && settings->jwt_secret_file[0]) {
        snprintf(why, WHY_BYTES, "jwt_secret and jwt_secret_file are both set: remove one of them");
        return false;
    }
    if (settings->jwt_secret_file[0]) {
        if (!secrets_read_file(settings->jwt_secret_file, secrets, why))
            return false;
        if (secrets->count == 0) {
            snprintf(why, WHY_BYTES, "jwt_secret_file %.80s holds no key",
                     settings->jwt_secret_file);
            return false;
        }
    } else if (!strchr(settings->jwt_secret, ',')) { /* one key */
        secrets->count = settings->jwt_secret[0] != 0;
        memcpy(secrets->keys[0], settings->jwt_secret, SETTING_TEXT_ROOM);
    } else if (!secrets_cut(settings->jwt_secret, ',', "JWT_SECRET", secrets, why)) {
        return false;
    }
    for (unsigned i = 0; i < secrets->count || (strict && i == 0); i++) {
        const char *weakness = secret_weakness(secrets->keys[i]);

        if (weakness && strict) {
            char which[32] = "";

            if (secrets->count > 1)
                snprintf(which, sizeof(which), " (key %u of %u)", i + 1, secrets->count);
            snprintf(why, WHY_BYTES,
                     "%s %s%s; production needs 32 bytes or more, e.g. from: openssl rand -hex 32",
                     name, weakness, which);
            return false;
        }
        if (weakness)
            LOG(WARN, "auth", "a JWT secret is weak; production would refuse it",
                F("key", "%u", i + 1), F("reason", "%s", weakness));
    }
    return true;
}

bool secrets_obtain(const struct settings *settings, struct secrets *secrets, char *why)
{
    if (!secrets_given(settings, secrets, why))
        return false;
    if (secrets->count > 0)
        return true;
    secrets->count = 1;
    return secret_generated(settings, secrets->keys[0], why);
}

bool secrets_check(const struct settings *settings, char *why)
{
    struct secrets secrets;
    bool ok = secrets_given(settings, &secrets, why);

    explicit_bzero(&secrets, sizeof(secrets));
    return ok;
}
