/* uses: src */
/* Loads a configuration file of arbitrary bytes. It is either refused with one sentence, or its
 * settings can be printed, and loading what was printed gives the same settings. */
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

/* Secrets are never printed, so the comparison leaves them out. */
static void clear_secrets(struct settings *settings)
{
#define KEEP(name)
#define CLEAR(name) memset(settings->name, 0, sizeof(settings->name));
#define CLEAR_u32 KEEP
#define CLEAR_flag KEEP
#define CLEAR_word KEEP
#define CLEAR_text KEEP
#define CLEAR_path KEEP
#define CLEAR_address KEEP
#define CLEAR_addresses KEEP
#define CLEAR_list KEEP
#define CLEAR_secret CLEAR
#define GROUP(heading)
#define X(type, name, env, def, allowed, live, who, prose) CLEAR_##type(name)
    SETTINGS(GROUP, X)
#undef X
#undef GROUP
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct settings first, again;
    int given = memfd_create("given", MFD_CLOEXEC), printed = memfd_create("printed", MFD_CLOEXEC);

    memset(&again, 0, sizeof(again));
    if (given >= 0 && printed >= 0 && write(given, data, size) == (ssize_t)size &&
        load(given, &first)) {
        clear_secrets(&first);
        settings_print(&first, SETTINGS_AS_FILE, printed);
        if (!load(printed, &again) || memcmp(&first, &again, sizeof(first)) != 0)
            abort();
    }
    close(given);
    close(printed);
    return 0;
}
