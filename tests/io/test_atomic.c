// A file is there complete or not at all.
#define _GNU_SOURCE
#include "io/atomic.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "support/cmocka.h"
#include "support/folder.h"

static void test_writes_and_makes_folders(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "a/b/file.txt");
    assert_int_equal(eh_atomic_write(path, "one", 3), EH_OK);
    assert_int_equal(eh_atomic_write(path, "three", 5), EH_OK);
    size_t size = 0;
    char *text = eh_test_read(path, &size);
    assert_string_equal(text, "three");
    free(text);
    assert_false(eh_test_exists(eh_test_path(folder, "a/b/file.txt.part")));
    eh_test_folder_remove(&folder);
}

static void test_discarding_leaves_the_old_file(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "file.txt");
    assert_int_equal(eh_atomic_write(path, "old", 3), EH_OK);
    eh_atomic atomic;
    assert_int_equal(eh_atomic_begin(path, &atomic), EH_OK);
    fputs("new", atomic.file);
    eh_atomic_discard(&atomic);
    eh_atomic_discard(&atomic);
    char *text = eh_test_read(path, NULL);
    assert_string_equal(text, "old");
    free(text);
    assert_false(eh_test_exists(eh_test_path(folder, "file.txt.part")));
    eh_test_folder_remove(&folder);
}

static void test_a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "file.txt");
    assert_int_equal(eh_atomic_write(path, "old", 3), EH_OK);
    struct rlimit before, small = {.rlim_cur = 1000};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    eh_atomic atomic;
    const eh_status begun = eh_atomic_begin(path, &atomic);
    for (int i = 0; begun == EH_OK && i < 500; i++) fputs("more", atomic.file); // unchecked, as writers may
    const eh_status committed = eh_atomic_commit(&atomic);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(begun, EH_OK);
    assert_int_equal(committed, EH_MACHINE);
    assert_non_null(strstr(eh_error_message(), "file.txt: writing failed: File too large"));
    char *text = eh_test_read(path, NULL);
    assert_string_equal(text, "old");
    free(text);
    assert_false(eh_test_exists(eh_test_path(folder, "file.txt.part")));
    eh_test_folder_remove(&folder);
}

static void test_a_file_in_the_way_of_a_folder_is_named(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_test_write_text(eh_test_path(folder, "here"), "x");
    assert_int_equal(eh_atomic_write(eh_test_path(folder, "here/file.txt"), "x", 1), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "here: a file stands where a folder is needed"));
    eh_test_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_and_makes_folders),
        cmocka_unit_test(test_discarding_leaves_the_old_file),
        cmocka_unit_test(test_a_full_disk_leaves_the_old_file),
        cmocka_unit_test(test_a_file_in_the_way_of_a_folder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
