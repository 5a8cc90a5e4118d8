/* --check: asks the parts of the control plane whether they could start with the settings. */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/live/tls.h"
#include "controlplane/people/secret.h"
#include "controlplane/rooms/rooms.h"
#include "controlplane/web/http.h"
#include "src/log.h"

static void print_finding(bool is_problem, const char *sentence)
{
    printf("settings: %s: %s\n", is_problem ? "problem" : "warning", sentence);
}

static bool redis_check(const struct settings *settings, char *why)
{
    if (strcmp(settings->state, "redis") != 0 || !settings->redis_tls)
        return true;
    return tls_files_check(settings->redis_tls_ca, settings->redis_tls_cert,
                           settings->redis_tls_key, why);
}

static bool postgres_check(const struct settings *settings, char *why)
{
    const char *file = settings->postgres_sslrootcert;

    if (strcmp(settings->persistence, "postgres") != 0 ||
        strncmp(settings->postgres_sslmode, "verify", 6) != 0 || access(file, R_OK) == 0)
        return true;
    snprintf(why, WHY_BYTES, "postgres_sslrootcert %.100s cannot be read: %s", file,
             strerror(errno));
    return false;
}

/* One row for each part. It returns true, or false and why. */
static bool (*const checks[])(const struct settings *settings, char *why) = {
    http_check,                    /* origins, proxies, the page */
    secrets_check,                 /* keys of tokens: strength, their file */
    rooms_check,                   /* the router's codecs, STUN and TURN servers */
    redis_check,   postgres_check, /* certificates */
};

int check_settings(const struct settings *settings)
{
    unsigned problems = settings_check(settings, "CP", print_finding);
    char why[WHY_BYTES];

    log_open("check", LOG_ERROR, false);
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        if (checks[i](settings, why))
            continue;
        print_finding(true, why);
        problems++;
    }
    if (problems == 0)
        printf("settings: fine\n");
    return problems ? EXIT_FAILURE : EXIT_SUCCESS;
}
