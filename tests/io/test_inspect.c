// inspect: what a person reads about a file, and files that are none.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/hdf5.h"
#include "io/inspect.h"
#include "support/cmocka.h"
#include "support/folder.h"

static void write_file(const char *path, uint64_t last_offset)
{
    hid_t file = -1;
    const uint32_t ids[] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    const uint64_t offsets[] = {0, 5, last_offset};
    assert_int_equal(eh_hdf5_create(path, &file), EH_OK);
    assert_int_equal(eh_hdf5_write_text(file, "format", "evenhand-shard"), EH_OK);
    assert_int_equal(eh_hdf5_write_number(file, "version", 1), EH_OK);
    assert_int_equal(eh_hdf5_write(file, "input_ids", H5T_NATIVE_UINT32, 10, ids), EH_OK);
    assert_int_equal(eh_hdf5_write(file, "text", H5T_NATIVE_UINT8, 12, "h\x1fllo\xc3\xa9t\xc3\xa9 2"), EH_OK);
    assert_int_equal(eh_hdf5_write(file, "text_offsets", H5T_NATIVE_UINT64, 3, offsets), EH_OK);
    assert_int_equal(eh_hdf5_save(&file, path), EH_OK);
}

static void test_shows_attributes_shapes_values_and_texts(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "x.h5");
    eh_string text = {0};
    write_file(path, 12);
    assert_int_equal(eh_inspect(path, &text), EH_OK);
    assert_non_null(strstr(text.bytes, "format                   \"evenhand-shard\"\n"));
    assert_non_null(strstr(text.bytes, "version                  1\n"));
    assert_non_null(strstr(text.bytes, "u32   [10]"));
    assert_non_null(strstr(text.bytes, "5 6 7 8 9 10 11 12 ..."));
    assert_non_null(strstr(text.bytes, "\"h | llo\"\n"));
    assert_non_null(strstr(text.bytes, "\"\xc3\xa9t\xc3\xa9 2\""));
    eh_string_deinit(&text);
    eh_test_folder_remove(&folder);
}

static void test_refuses_what_is_no_hdf5_file(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "x.h5");
    eh_string text = {0};
    assert_int_equal(eh_inspect(path, &text), EH_INPUT);
    eh_test_write_text(path, "model: {path: a}\n");
    assert_int_equal(eh_inspect(path, &text), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "x.h5"));
    write_file(path, 99); // offsets past the end
    assert_int_equal(eh_inspect(path, &text), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "offsets"));
    eh_string_deinit(&text);
    eh_test_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shows_attributes_shapes_values_and_texts),
        cmocka_unit_test(test_refuses_what_is_no_hdf5_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
