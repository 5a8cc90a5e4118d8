/* --check: what the parts of the control plane would say to the settings at a start. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

#include "controlplane/people/secret.h"
#include "controlplane/rooms/ortc.h"
#include "controlplane/web/http.h"
#include "src/log.h"

static void print_finding(bool is_problem, const char *sentence)
{
    printf("settings: %s: %s\n", is_problem ? "problem" : "warning", sentence);
}

static bool codecs_check(const struct settings *settings, char *why)
{
    cJSON *capabilities = ortc_router_capabilities(settings->media_codecs, why);

    cJSON_Delete(capabilities);
    return capabilities != NULL;
}

/* One row a part: true, or false with a sentence. */
static bool (*const checks[])(const struct settings *settings, char *why) = {
    http_check,    /* origins, proxies, the page */
    secrets_check, /* keys of tokens: strength, their file */
    codecs_check,  /* the router's codecs */
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
