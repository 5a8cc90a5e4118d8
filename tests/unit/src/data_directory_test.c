/* The data directory: creating it, locking it. */
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

static void a_new_directory_belongs_to_run_as(void **state)
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
    assert_int_equal(about.st_uid,
                     geteuid()); /* only the last directory belongs to the user of run_as */
    /* an existing directory stays unchanged */
    assert_int_equal(chmod(below("a/b"), 0751), 0);
    assert_true(data_directory_make(below("a/b"), "nobody", why));
    assert_int_equal(stat(below("a/b"), &about), 0);
    assert_int_equal(about.st_mode & 07777, 0751);
    assert_int_equal(about.st_uid, geteuid());
}

static void directories_that_cannot_be_created(void **state)
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
        assert_int_equal(access(below("new"), F_OK), -1); /* removed again */
    }
}

static void one_holder_at_a_time(void **state)
{
    char why[DATA_DIRECTORY_WHY_BYTES] = "", pid[32];
    int lock = data_directory_lock(top, "x.lock", "another test", 0, why), status, locked[2];
    pid_t child;

    assert_true(lock >= 0);
    assert_int_equal(data_directory_lock(top, "x.lock", "another test", 50, why), -1);
    snprintf(pid, sizeof(pid), "(process %d)", (int)getpid());
    assert_non_null(strstr(why, "another test already uses"));
    assert_non_null(strstr(why, pid));
    assert_int_equal(close(data_directory_lock(top, "y.lock", "another test", 0, why)), 0);
    close(lock);
    /* when the holder dies, the waiting process gets the lock */
    assert_int_equal(pipe(locked), 0);
    child = fork();
    if (child == 0) {
        if (data_directory_lock(top, "x.lock", "another test", 0, why) < 0)
            _exit(1);
        close(locked[1]);
        usleep(100000);
        abort();
    }
    close(locked[1]);
    assert_int_equal(read(locked[0], pid, 1), 0); /* the child holds the lock, or has exited */
    close(locked[0]);
    lock = data_directory_lock(top, "x.lock", "another test", 60000, why);
    assert_true(lock >= 0);
    close(lock);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static void locks_that_are_refused(void **state)
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
        cmocka_unit_test_setup_teardown(a_new_directory_belongs_to_run_as, begin, end),
        cmocka_unit_test_setup_teardown(directories_that_cannot_be_created, begin, end),
        cmocka_unit_test_setup_teardown(one_holder_at_a_time, begin, end),
        cmocka_unit_test_setup_teardown(locks_that_are_refused, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
