/* Making and locking the data directory. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/data_directory.h"

static char top[] = "/tmp/ringcast-directory-XXXXXX";

static int begin(void **state)
{
    strcpy(top, "/tmp/ringcast-directory-XXXXXX");
    return mkdtemp(top) ? 0 : -1;
}

static int end(void **state)
{
    char command[96];

    snprintf(command, sizeof(command), "rm -rf %s", top);
    return system(command);
}

static const char *below(const char *rest)
{
    static char path[600];

    snprintf(path, sizeof(path), "%s/%s", top, rest);
    return path;
}

static void test_make(void **state)
{
    const struct passwd *nobody = getpwnam("nobody");
    uid_t nobody_uid = nobody->pw_uid;
    char why[DATA_DIRECTORY_WHY_BYTES];
    struct stat about;

    assert_true(data_directory_make(below("a/b/c//"), "nobody", why));
    assert_int_equal(stat(below("a/b/c"), &about), 0);
    assert_int_equal(about.st_mode & 07777, 0700);
    assert_int_equal(about.st_uid, geteuid() == 0 ? nobody_uid : geteuid());
    assert_int_equal(stat(below("a/b"), &about), 0);
    assert_int_equal(about.st_uid, geteuid()); /* only the last part is given away */
    /* what is there stays as it is */
    assert_int_equal(chmod(below("a/b"), 0751), 0);
    assert_true(data_directory_make(below("a/b"), "nobody", why));
    assert_int_equal(stat(below("a/b"), &about), 0);
    assert_int_equal(about.st_mode & 07777, 0751);
    assert_int_equal(about.st_uid, geteuid());
}

static void test_make_refused(void **state)
{
    char why[DATA_DIRECTORY_WHY_BYTES] = "", longest[600];
    FILE *file = fopen(below("file"), "w");

    fclose(file);
    assert_false(data_directory_make(below("file/data"), "", why));
    assert_non_null(strstr(why, "cannot create the data directory"));
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_false(data_directory_make(longest, "", why));
    if (geteuid() == 0) {
        assert_false(data_directory_make(below("new"), "no-such-user", why));
        assert_non_null(strstr(why, "no such user"));
        assert_int_equal(access(below("new"), F_OK), -1); /* nothing half made is left */
    }
}

static void test_lock(void **state)
{
    char why[DATA_DIRECTORY_WHY_BYTES] = "", pid[32];
    int lock = data_directory_lock(top, "x.lock", "another test", 0, why), status;
    pid_t child;

    assert_true(lock >= 0);
    assert_int_equal(data_directory_lock(top, "x.lock", "another test", 50, why), -1);
    snprintf(pid, sizeof(pid), "(process %d)", (int)getpid());
    assert_non_null(strstr(why, "another test already uses"));
    assert_non_null(strstr(why, pid));
    assert_int_equal(close(data_directory_lock(top, "y.lock", "another test", 0, why)), 0);
    close(lock);
    /* the holder's death is the end of its lock, within the time we wait */
    child = fork();
    if (child == 0) {
        if (data_directory_lock(top, "x.lock", "another test", 0, why) < 0)
            _exit(1);
        usleep(100000);
        abort();
    }
    usleep(30000);
    lock = data_directory_lock(top, "x.lock", "another test", 3000, why);
    assert_true(lock >= 0);
    close(lock);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static void test_lock_refused(void **state)
{
    char why[DATA_DIRECTORY_WHY_BYTES] = "";

    assert_int_equal(symlink("elsewhere", below("z.lock")), 0);
    assert_int_equal(data_directory_lock(top, "z.lock", "another test", 0, why), -1);
    assert_non_null(strstr(why, "cannot open"));
    assert_int_equal(data_directory_lock(below("nothing"), "z.lock", "another test", 0, why), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_make, begin, end),
        cmocka_unit_test_setup_teardown(test_make_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_lock, begin, end),
        cmocka_unit_test_setup_teardown(test_lock_refused, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
