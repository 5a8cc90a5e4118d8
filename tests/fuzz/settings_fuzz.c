/* uses: src */
/* A configuration file of any bytes is loaded or refused in one sentence; what was loaded prints and
 * loads again to the same. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/settings.h"

static bool load(int fd, struct settings *settings)
{
    char path[40], error[SETTING_ERROR_BYTES] = "";
    char *argv[] = {"fuzz", "--config", path, NULL}, *environment[] = {NULL};
    enum settings_request request;
    bool fine;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fine = settings_load(settings, 3, argv, environment, &request, error);
    if (!fine && (error[0] == '\0' || !memchr(error, '\0', sizeof(error))))
        abort();
    return fine;
}

static void forget_secrets(struct settings *settings)
{
#define FORGET_u32(name)
#define FORGET_flag(name)
#define FORGET_text(name)
#define FORGET_secret(name) memset(settings->name, 0, sizeof(settings->name));
#define X(type, name, env, def, min, max, unit, live, who, prose) FORGET_##type(name)
    SETTINGS(X)
#undef X
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct settings first, again;
    int given = memfd_create("given", MFD_CLOEXEC), printed = memfd_create("printed", MFD_CLOEXEC);

    memset(&again, 0, sizeof(again));
    if (given >= 0 && printed >= 0 && write(given, data, size) == (ssize_t)size &&
        load(given, &first)) {
        forget_secrets(&first); /* they are not printed */
        settings_print(&first, SETTINGS_AS_FILE, printed);
        if (!load(printed, &again) || memcmp(&first, &again, sizeof(first)) != 0)
            abort();
    }
    close(given);
    close(printed);
    return 0;
}
