/* --check: its findings about settings on this machine, and that it changes nothing. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/settings.h"

static char said[4000];

static void tell(bool is_problem, const char *sentence)
{
    size_t used = strlen(said);

    snprintf(said + used, sizeof(said) - used, "%s: %s\n", is_problem ? "problem" : "warning",
             sentence);
}

static unsigned check(const char *who, const char *first, const char *second)
{
    char *argv[] = {"program", (char *)first, (char *)second, NULL}, error[SETTING_ERROR_BYTES];
    enum settings_request request;
    struct settings settings;

    said[0] = '\0';
    if (!settings_load(&settings, second ? 3 : first ? 2 : 1, argv, NULL, &request, error))
        fail_msg("%s", error);
    return settings_check(&settings, who, tell);
}

static void findings(void **state)
{
    static const struct {
        const char *who, *first, *second;
        const char *says; /* NULL: nothing */
    } rows[] = {
        {"DP", NULL, NULL, NULL},
        {"CP", NULL, NULL, NULL},
        {"DP", "--media-listen-ip=127.0.0.1,::1", NULL, NULL},
        {"DP", "--media-listen-ip=0.0.0.0,::", NULL, NULL},
        {"DP", "--media-listen-ip=192.0.2.1", NULL,
         "problem: media_listen_ip: 192.0.2.1 is not an address of this machine"},
        {"DP", "--media-listen-ip=127.0.0.1, 2001:db8::77", NULL,
         "problem: media_listen_ip: 2001:db8::77 is not an address of this machine"},
        {"CP", "--media-listen-ip=192.0.2.1", NULL, NULL}, /* a setting of the data plane */
        /* what clients are told, and what is listened on */
        {"CP", "--media-listen-ip=::", NULL, NULL},
        {"DP", "--media-listen-ip=::", "--media-announced-ip=192.0.2.1,2001:db8::1", NULL},
        {"DP", "--media-listen-ip=::ffff:127.0.0.1", NULL, NULL},
        {"CP", "--media-listen-ip=::ffff:0.0.0.0", "--media-announced-ip=::ffff:192.0.2.1", NULL},
        {"CP", "--media-listen-ip=0.0.0.0", "--media-announced-ip=192.0.2.1,2001:db8::1",
         "warning: media_announced_ip: clients are not told 2001:db8::1, because media_listen_ip "
         "(0.0.0.0) has no IPv6 address"},
        {"DP", "--media-listen-ip=::1", "--media-announced-ip=192.0.2.1",
         "problem: media_announced_ip (192.0.2.1) and media_listen_ip (::1) have no IP version in "
         "common"},
        {"CP", "--media-listen-ip=0.0.0.0", "--media-announced-ip=2001:db8::1",
         "problem: media_announced_ip (2001:db8::1) and media_listen_ip (0.0.0.0) have no IP"},
        {"CP", "--media-listen-ip=127.0.0.1", "--media-announced-ip=192.0.2.1",
         "warning: media_announced_ip: clients are told 192.0.2.1, but media_listen_ip "
         "(127.0.0.1) hears only this machine over IPv4"},
        {"CP", "--http-listen-ip=192.0.2.1", NULL,
         "problem: http_listen_ip: 192.0.2.1 is not an address of this machine"},
        {"CP", "--http-listen-ip=127.0.0.1", NULL, NULL},
        {"DP", "--media-port-max=40000", "--http-port=8080",
         "warning: media_port_min 40000 to media_port_max 40000 holds 1 ports"},
        {"DP", "--http-port=40001", NULL, "warning: http_port 40001 is one of the media ports"},
        {"CP", "--node-env=production", NULL,
         "warning: media_announced_ip is 127.0.0.1, which only"},
        {"CP", "--data-directory=/dev/null", NULL,
         "problem: data_directory /dev/null is not a directory"},
        {"CP", "--data-directory=/nonexistent-a/b/c", NULL, "root"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned problems = check(rows[i].who, rows[i].first, rows[i].second);
        const char *says = rows[i].says;

        if (says && strstr(says, "holds 1 ports") && sysconf(_SC_NPROCESSORS_ONLN) == 1)
            continue;
        if (says && strcmp(says, "root") == 0) /* root may create a directory in / */
            says = geteuid() == 0 ? NULL : "problem: data_directory /nonexistent-a/b/c cannot be";
        if (!says ? said[0] != '\0' : !strstr(said, says))
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, said, says ? says : "nothing");
        assert_int_equal(problems > 0, says && strncmp(says, "problem", 7) == 0);
    }
    assert_int_not_equal(access("/nonexistent-a", F_OK), 0); /* nothing was created */
}

/* The check uses the rights of the user in run_as, even when root asks. */
static void a_directory_is_checked_for_run_as(void **state)
{
    char path[] = "/tmp/ringcast-check-XXXXXX", option[80];

    assert_non_null(mkdtemp(path));
    snprintf(option, sizeof(option), "--data-directory=%s", path);
    assert_int_equal(check("CP", option, NULL),
                     0); /* a directory of root is given to run_as at the start */
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 1, 1), 0); /* a third user */
        assert_int_equal(check("CP", option, "--run-as=nobody"), 1);
        assert_non_null(strstr(said, "nobody cannot use data_directory"));
        assert_int_equal(check("CP", option, "--run-as=no-such-user"), 1);
        assert_non_null(strstr(said, "is not a user of this machine"));
        assert_int_equal(check("CP", option, "--run-as=root"), 1);
        assert_int_equal(geteuid(), 0);
    } else {
        chmod(path, 0555);
        assert_int_equal(check("CP", option, NULL), 1);
    }
    rmdir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings),
        cmocka_unit_test(a_directory_is_checked_for_run_as),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
