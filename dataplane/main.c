/* ringcast-dataplane: lists the I/O backends, reads the settings and becomes one of its three
 * processes. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "io/io.h"
#include "io/socket.h"
#include "io/uring/uring.h"
#include "kmod-free/hostcheck.h"
#include "processes.h"
#include "sandbox.h"
#include "src/log.h"
#include "src/version.h"

#define USAGE_STATUS 2
#define DESCRIPTORS_TIMEOUT_MS 5000
#define ROLE_OPTION "--role="

extern char **environ;

/* The I/O backends of this program. A new one is added here, and its name to the setting
 * io_backend. */
static const struct io_backend *const backend_list[] = {&io_uring_backend, &io_socket_backend};
static const struct io_backends backends = {sizeof(backend_list) / sizeof(backend_list[0]),
                                            backend_list};

static int forwarder_run(const struct settings *settings, struct descriptors *descriptors)
{
    return forwarder_main(settings, &backends, descriptors);
}

static const struct role {
    const char *name;
    const char *process; /* as ps and top show it */
    enum sandbox_role sandbox;
    int (*run)(const struct settings *settings, struct descriptors *descriptors);
} roles[] = {
    {"forwarder", "rc-forwarder", SANDBOX_FORWARDER, forwarder_run},
    {"handshaker", "rc-handshaker", SANDBOX_HANDSHAKER, handshaker_main},
};

/* ---- the host ---- */

static size_t check_host(const struct settings *settings,
                         struct host_finding findings[HOST_FINDINGS_MAX])
{
    struct host_wants wants = {.workers = settings->workers,
                               .socket_buffer_bytes = settings->socket_buffer_bytes,
                               .io_backend = settings->io_backend,
                               .sandbox = settings->sandbox};
    struct host_facts facts;

    host_facts_read(&facts);
    return host_judge(&facts, &wants, findings);
}

static void log_host(const struct settings *settings)
{
    struct host_finding findings[HOST_FINDINGS_MAX];
    size_t count = check_host(settings, findings);

    for (size_t i = 0; i < count; i++) {
        const struct host_finding *f = &findings[i];

        if (f->severity == HOST_BAD)
            LOG(ERROR, "host", f->sentence, F("about", "%s", f->about));
        else if (f->severity == HOST_WARN)
            LOG(WARN, "host", f->sentence, F("about", "%s", f->about));
        else
            LOG(INFO, "host", f->sentence, F("about", "%s", f->about));
    }
}

static void print_finding(bool is_problem, const char *sentence)
{
    printf("settings: %s: %s\n", is_problem ? "problem" : "warning", sentence);
}

/* For --check, after the settings could be read. Prints whether they fit together and whether this
 * machine fits them. */
static int print_checks(const struct settings *settings)
{
    static const char *const words[] = {"note", "warning", "problem"};
    struct host_finding findings[HOST_FINDINGS_MAX];
    size_t count = check_host(settings, findings);
    bool bad = settings_check(settings, "DP", print_finding) > 0;

    if (!bad)
        printf("settings: fine\n");
    for (size_t i = 0; i < count; i++) {
        printf("host: %s: %s: %s\n", words[findings[i].severity], findings[i].about,
               findings[i].sentence);
        bad |= findings[i].severity == HOST_BAD;
    }
    if (count == 0)
        printf("host: fine\n");
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- roles ---- */

static int child_run(const struct role *role, const struct settings *settings)
{
    struct descriptors set;
    char why[192];
    int status;

    prctl(PR_SET_NAME, role->process);
    process_log(role->name, settings);
    process_follow_log_level();
    if (descriptors_receive(CHILD_DESCRIPTOR_SOCKET, &set, DESCRIPTORS_TIMEOUT_MS) != 0) {
        LOG(ERROR, "start",
            "no descriptors arrived: only the supervisor starts this role; run ringcast-dataplane "
            "without --role");
        return USAGE_STATUS;
    }
    close(CHILD_DESCRIPTOR_SOCKET);
    close(CHILD_SETTINGS);
    if (!sandbox_prepare(role->sandbox, settings, why)) {
        LOG(ERROR, "start", "cannot prepare the sandbox", F("why", "%s", why));
        return EXIT_FAILURE;
    }
    status = role->run(settings, &set);
    descriptors_close(&set);
    return status;
}

/* Removes --role=NAME from the arguments and returns NAME. Only the supervisor gives this option.
 * NULL: the option is not there. */
static const char *role_take(int *argc, char **argv)
{
    for (int i = 1; i < *argc; i++) {
        const char *name = argv[i] + strlen(ROLE_OPTION);

        if (strncmp(argv[i], ROLE_OPTION, strlen(ROLE_OPTION)) != 0)
            continue;
        memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof(argv[0]));
        --*argc;
        return name;
    }
    return NULL;
}

static int role_run(const char *name, const struct settings *settings)
{
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (strcmp(roles[i].name, name) == 0)
            return child_run(&roles[i], settings);
    fprintf(stderr,
            "ringcast-dataplane: there is no role %.40s; run ringcast-dataplane without --role\n",
            name);
    return USAGE_STATUS;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    const char *role = role_take(&argc, argv);
    char error[SETTING_ERROR_BYTES];
    enum settings_request request;

    if (!settings_load(&settings, argc, argv, environ, &request, error)) {
        fprintf(stderr, "ringcast-dataplane: %s\n", error);
        return USAGE_STATUS;
    }
    switch (request) {
    case SETTINGS_HELP:
        printf("ringcast-dataplane moves the media packets of Ringcast.\n\n");
        fflush(stdout);
        settings_print(&settings, SETTINGS_AS_HELP, STDOUT_FILENO);
        return EXIT_SUCCESS;
    case SETTINGS_VERSION:
        printf("ringcast-dataplane %s\n", ringcast_version);
        return EXIT_SUCCESS;
    case SETTINGS_PRINT:
        settings_print(&settings, SETTINGS_AS_FILE, STDOUT_FILENO);
        return EXIT_SUCCESS;
    case SETTINGS_CHECK:
        return print_checks(&settings);
    case SETTINGS_RUN:
        break;
    }
    if (role)
        return role_run(role, &settings);
    process_log("supervisor", &settings);
    log_host(&settings);
    return supervisor_main(&settings, &backends, argc, argv);
}
