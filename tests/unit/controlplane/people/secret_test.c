/* The keys of access tokens: where they come from, which are refused; they never get into a
 * message. */
#include "people.h"

#include <sys/wait.h>

#include "controlplane/people/secret.h"

#define GOOD "f3b1c9d27a604e85b0c4d1e2f3a49576"
#define NEWER "0a1b2c3d4e5f60718293a4b5c6d7e8f9a4c19e07b35d82f6e1470bc95a2d38f6"
#define COMMON "5t2Qx9!mWz@7rK#4pL8vN$1cB6hJ3gF0dS"

static struct secrets got;
static char why[WHY_BYTES];

static const char *obtain(void)
{
    if (!secrets_obtain(&setup_settings, &got, why))
        return NULL;
    assert_true(got.count >= 1);
    return got.keys[0];
}

static void secret_path(char *path, size_t room)
{
    snprintf(path, room, "%s/jwt-secret", setup_settings.data_directory);
}

static void the_first_start_makes_a_secret(void **state)
{
    char path[600], first[SETTING_TEXT_ROOM];
    struct stat file;
    int fd;

    secret_path(path, sizeof(path));
    assert_non_null(obtain());
    strcpy(first, got.keys[0]);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(got.count, 1);
    assert_int_equal(strlen(first), 64);
    assert_int_equal(strspn(first, "0123456789abcdef"), 64);
    assert_string_equal(obtain(), first);
    chmod(path, 0644); /* secrets_obtain makes it 0600 again */
    assert_string_equal(obtain(), first);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);

    fd = open(path, O_WRONLY | O_TRUNC); /* for example after a full disk */
    assert_int_equal(write(fd, first, 10), 10);
    close(fd);
    assert_null(obtain());
    assert_non_null(strstr(why, "not 64 hexadecimal digits"));
    unlink(path);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_null(obtain());
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not hang */
    assert_null(obtain());
    unlink(path);
    assert_non_null(obtain());
    assert_string_not_equal(got.keys[0], first);
}

static void a_check_makes_no_secret(void **state)
{
    char path[600];

    secret_path(path, sizeof(path));
    assert_true(secrets_check(&setup_settings, why));
    assert_int_not_equal(access(path, F_OK), 0);
    strcpy(setup_settings.node_env, "production");
    assert_false(secrets_check(&setup_settings, why));
}

static void processes_that_start_at_once_use_the_same_secret(void **state)
{
    char secrets[8][SETTING_TEXT_ROOM];
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    for (unsigned i = 0; i < 8; i++)
        if (fork() == 0)
            _exit(!obtain() || write(ends[1], got.keys[0], 64) != 64);
    for (unsigned i = 0; i < 8; i++) {
        int status;

        wait(&status);
        assert_int_equal(status, 0);
        memset(secrets[i], 0, sizeof(secrets[i]));
        assert_int_equal(read(ends[0], secrets[i], 64), 64);
        assert_string_equal(secrets[i], secrets[0]);
    }
    close(ends[0]);
    close(ends[1]);
}

static void weak_and_malformed_secrets_are_refused(void **state)
{
    static const struct {
        const char *environment, *given;
        const char *why; /* NULL: good */
        const char *keys[3];
    } rows[] = {
        {"production", "", "is not set"},
        {"production", "tiny", "is shorter than 32 bytes"},
        {"production", "f3b1c9d27a604e85b0c4d1e2f3a4957", "is shorter than 32 bytes"},
        {"production", GOOD, NULL, {GOOD}},
        {"production", COMMON, NULL, {COMMON}},
        {"production", "your-super-secret-jwt-key-change-in-production", "is a known default"},
        {"production", "CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME", "is a known default"},
        {"production", "please-change-this-to-a-long-random-string", "is a known default"},
        {"production", "my_jwt_secret_my_jwt_secret_my_jwt", "is a known default"},
        {"production", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "repeats a few characters"},
        {"production", "12341234123412341234123412341234", "repeats a few characters"},
        {"production", "12345678901234567890123456789012", "repeats a few characters"},
        {"production", "abcdefghijklmnopqrstuvwxyz012345", "is a sequence"},
        {"production", "9876543210zyxwvutsrqponmlkjihgfe", "is a sequence"},
        {"production", "qwertyuiopasdfghjklzxcvbnm123456", "is a known default"},
        {"production", "Xk4-Lm9_Qz7Xk4-Lm9_Qz7Xk4-Lm9_Qz", "repeats a few characters"},
        {"production",
         "31415926535897932384626433832795",
         NULL,
         {"31415926535897932384626433832795"}},
        {"development", "tiny", NULL, {"tiny"}},
        {"test", "CHANGE_ME", NULL, {"CHANGE_ME"}},
        /* several keys */
        {"production", NEWER "," GOOD, NULL, {NEWER, GOOD}},
        {"production", NEWER "," GOOD "," COMMON, NULL, {NEWER, GOOD, COMMON}},
        {"production", NEWER ",tiny", "is shorter than 32 bytes (key 2 of 2)"},
        {"production", "tiny," NEWER, "is shorter than 32 bytes (key 1 of 2)"},
        {"production", NEWER ",aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "repeats a few characters"},
        {"production", NEWER ", " GOOD, "separate keys by a comma alone"},
        {"production", NEWER "," GOOD " ," COMMON, "separate keys by a comma alone"},
        {"production", NEWER ",," GOOD, "separate keys by a comma alone"},
        {"production", "," GOOD, "separate keys by a comma alone"},
        {"production", GOOD ",", "ends with a comma"},
        {"development", GOOD ",", "ends with a comma"},
        {"development", "a,b", NULL, {"a", "b"}},
        {"development", "1,2,3,4,5,6,7,8", NULL, {"1", "2", "3"}},
        {"development", "1,2,3,4,5,6,7,8,9", "more than 8 keys"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        strcpy(setup_settings.node_env, rows[i].environment);
        strcpy(setup_settings.jwt_secret, rows[i].given);
        if ((obtain() != NULL) != (rows[i].why == NULL))
            fail_msg("%s %s", rows[i].environment, rows[i].given);
        assert_int_equal(secrets_check(&setup_settings, why), rows[i].why == NULL);
        if (rows[i].why && !strstr(why, rows[i].why))
            fail_msg("\"%s\" does not say \"%s\"", why, rows[i].why);
        for (unsigned k = 0; k < 3 && rows[i].keys[k]; k++)
            assert_string_equal(got.keys[k], rows[i].keys[k]);
        if (rows[i].why &&
            strlen(rows[i].given) > 1) { /* the message does not contain the secret */
            assert_null(strstr(why, rows[i].given));
            assert_null(strstr(why, GOOD));
            assert_null(strstr(why, NEWER));
        }
    }
}

static void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, 0600);
}

static void keys_are_read_from_a_file(void **state)
{
    static const struct {
        const char *text, *why;
        unsigned count;
    } rows[] = {
        {GOOD, NULL, 1},
        {GOOD "\n", NULL, 1},
        {NEWER "\n" GOOD "\n", NULL, 2},
        {"\n" NEWER "\r\n\r\n" GOOD "\r\n", NULL, 2},
        {"5t2Qx9!mWz@7rK,4pL8vN$1cB6hJ3gF0dS\n", NULL, 1}, /* a comma is one of its characters */
        {"", "holds no key", 0},
        {"\n\n", "holds no key", 0},
        {"tiny\n", "is shorter than 32 bytes;", 0},
        {NEWER "\ntiny\n", "is shorter than 32 bytes (key 2 of 2)", 0},
        {NEWER " \n", "starts or ends with a blank", 0},
    };
    char path[200], text[5000];

    strcpy(setup_settings.node_env, "production");
    snprintf(path, sizeof(path), "%s/keys", folder);
    strcpy(setup_settings.jwt_secret_file, path);
    assert_null(obtain());
    assert_non_null(strstr(why, "cannot be read: No such file"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        file_write(path, rows[i].text);
        if ((obtain() != NULL) != (rows[i].why == NULL))
            fail_msg("row %zu: %s", i, why);
        if (rows[i].why)
            assert_non_null(strstr(why, rows[i].why));
        else
            assert_int_equal(got.count, rows[i].count);
    }
    memset(text, 'x', sizeof(text) - 1); /* not a file of keys */
    text[sizeof(text) - 1] = 0;
    file_write(path, text);
    assert_null(obtain());
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not hang */
    assert_null(obtain());
    unlink(path);
    file_write(path, GOOD);
    strcpy(setup_settings.jwt_secret, NEWER);
    assert_null(obtain());
    assert_non_null(strstr(why, "both set"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        T(the_first_start_makes_a_secret),
        T(a_check_makes_no_secret),
        T(processes_that_start_at_once_use_the_same_secret),
        T(weak_and_malformed_secrets_are_refused),
        T(keys_are_read_from_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
