// Lines, CSV and JSON as users' files have them, and what is said about files that are none.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/memory.h"
#include "io/csv.h"
#include "io/json.h"
#include "io/lines.h"
#include "support/cmocka.h"
#include "support/folder.h"

static char *folder;

static const char *write_file(const char *name, const char *text, size_t size)
{
    const char *path = eh_test_path(folder, name);
    eh_test_write(path, text, size);
    return path;
}

static const char *write_packed(const char *name, const char *text)
{
    const char *path = eh_test_path(folder, name);
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)strlen(text)), (int)strlen(text));
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

static void expect_lines(const char *path, const char *const *expected)
{
    eh_lines *lines = NULL;
    const char *line = NULL;
    size_t size = 0;
    bool more = true;
    assert_int_equal(eh_lines_open(path, &lines), EH_OK);
    for (int64_t n = 1; *expected != NULL; expected++, n++) {
        assert_int_equal(eh_lines_next(lines, &line, &size, &more), EH_OK);
        assert_true(more);
        assert_int_equal(size, strlen(*expected));
        assert_string_equal(line, *expected);
        assert_int_equal(eh_lines_number(lines), n);
    }
    assert_int_equal(eh_lines_next(lines, &line, &size, &more), EH_OK);
    assert_false(more);
    eh_lines_close(&lines);
}

static void test_lines_end_in_lf_or_cr_lf(void **state)
{
    (void)state;
    const char text[] = "\xef\xbb\xbf"
                        "first\r\n\r\nthird \xc3\xa9\nlast\r";
    const char *const expected[] = {"first", "", "third \xc3\xa9", "last\r", NULL};
    expect_lines(write_file("a.txt", text, sizeof text - 1), expected);
    expect_lines(write_packed("a.txt.gz", text), expected);
    const char *const nothing[] = {NULL};
    expect_lines(write_file("empty.txt", "", 0), nothing);
    const char *const one[] = {"x", NULL};
    expect_lines(write_file("one.txt", "x\n", 2), one);
}

static eh_status read_all(const char *path, int64_t *count)
{
    eh_lines *lines = NULL;
    EH_TRY(eh_lines_open(path, &lines));
    eh_status status = EH_OK;
    const char *line = NULL;
    size_t size = 0;
    *count = 0;
    for (bool more = true; more && status == EH_OK; *count += more) status = eh_lines_next(lines, &line, &size, &more);
    eh_lines_close(&lines);
    return status;
}

static void test_what_is_no_text_is_refused_with_its_line(void **state)
{
    (void)state;
    int64_t count = 0;
    assert_int_equal(read_all(write_file("b.bin", "fine\nno\0t fine\n", 15), &count), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "b.bin:2: NUL at byte 3 of the line: this is a binary file"));
    assert_int_equal(read_all(eh_test_path(folder, "nowhere.txt"), &count), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "nowhere.txt: No such file"));
    assert_int_equal(read_all(folder, &count), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "a folder, expected a file"));
    const char *packed = write_packed("cut.gz", "some text that is packed\nand some more of it\n");
    size_t size = 0;
    char *bytes = eh_test_read(packed, &size);
    eh_test_write(packed, bytes, size - 12);
    free(bytes);
    assert_int_equal(read_all(packed, &count), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "cut.gz: the gzip file is cut off"));
}

// A sparse file of 2 GiB without a line feed, behind one line: refused after 16 MiB, in bounded memory.
static void test_a_line_of_two_gibibytes_is_refused(void **state)
{
    (void)state;
    const char *path = eh_test_path(folder, "long.txt");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("a line\n", file);
    char *block = malloc(1 << 20);
    assert_non_null(block);
    memset(block, 'x', 1 << 20);
    for (int i = 0; i < 20; i++) assert_int_equal(fwrite(block, 1, 1 << 20, file), 1 << 20);
    free(block);
    assert_int_equal(fseek(file, 2047L << 20, SEEK_SET), 0);
    fputs("end", file);
    assert_int_equal(fclose(file), 0);
    const size_t before = eh_peak_resident_bytes();
    int64_t count = 0;
    assert_int_equal(read_all(path, &count), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "long.txt:2: a line of more than 16 MiB"));
    if (getenv("EVENHAND_SANITIZED") == NULL)
        assert_true(eh_peak_resident_bytes() - before < (size_t)80 << 20);
}

static void test_rows_of_a_csv(void **state)
{
    (void)state;
    const char text[] = "\xef\xbb\xbfid,\"a,b\",c\r\n"
                        "1,\"with \"\"quotes\"\", commas\",\"two\r\nlines\"\r\n"
                        "\r\n"
                        "2,,\"\"\n"
                        "3,too few\n"
                        "4,\"stray\"x,y\n"
                        "5,a \"bare\" quote,z";
    eh_csv *csv = NULL;
    eh_csv_row row;
    bool more = false;
    assert_int_equal(eh_csv_open(write_packed("t.csv.gz", text), ',', EH_CSV_QUOTED, &csv), EH_OK);
    assert_int_equal(eh_csv_column(csv, "id"), 0);
    assert_int_equal(eh_csv_column(csv, "a,b"), 1);
    assert_int_equal(eh_csv_column(csv, "b"), -1);
    const char *const expected[][3] = {{"1", "with \"quotes\", commas", "two\r\nlines"},
                                       {"2", "", ""},
                                       {"3", "too few", NULL},
                                       {"4", "strayx", "y"},
                                       {"5", "a \"bare\" quote", "z"}};
    const int64_t lines[] = {2, 5, 6, 7, 8};
    for (int64_t r = 0; r < 5; r++) {
        assert_int_equal(eh_csv_next(csv, &row, &more), EH_OK);
        assert_true(more);
        assert_int_equal(row.row, r);
        assert_int_equal(row.line, lines[r]);
        for (int64_t f = 0; f < row.field_count; f++) assert_string_equal(row.fields[f], expected[r][f]);
        if (r == 2)
            assert_string_equal(row.problem, "too few columns");
        else if (r == 3)
            assert_string_equal(row.problem, "text behind a closing quote");
        else
            assert_null(row.problem);
    }
    assert_int_equal(eh_csv_next(csv, &row, &more), EH_OK);
    assert_false(more);
    eh_csv_close(&csv);
}

static void test_a_quote_is_plain_text_where_the_format_says_so(void **state)
{
    (void)state;
    const char text[] = "a\tb\n\"\tx\n";
    eh_csv *csv = NULL;
    eh_csv_row row;
    bool more = false;
    assert_int_equal(eh_csv_open(write_file("q.tsv", text, strlen(text)), '\t', EH_CSV_PLAIN, &csv), EH_OK);
    assert_int_equal(eh_csv_next(csv, &row, &more), EH_OK);
    assert_string_equal(row.fields[0], "\"");
    assert_string_equal(row.fields[1], "x");
    eh_csv_close(&csv);
}

static void test_bad_csv_says_where(void **state)
{
    (void)state;
    eh_csv *csv = NULL;
    eh_csv_row row;
    bool more = false;
    int64_t column = 0;
    const char *const wanted[] = {"less"};
    const char text[] = "more,lesss\n1,2\n3,\"never\nclosed\n";
    assert_int_equal(eh_csv_open(write_file("bad.csv", text, strlen(text)), ',', EH_CSV_QUOTED, &csv), EH_OK);
    assert_int_equal(eh_csv_columns(csv, wanted, 1, &column), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "bad.csv:1: there is no column 'less'; the header has: more, lesss"));
    assert_int_equal(eh_csv_next(csv, &row, &more), EH_OK);
    assert_int_equal(eh_csv_next(csv, &row, &more), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "bad.csv:3: a quote in this row is never closed"));
    eh_csv_close(&csv);
    assert_int_equal(eh_csv_open(write_file("none.csv", "", 0), ',', EH_CSV_QUOTED, &csv), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "none.csv: the file is empty"));
}

static void test_json_that_is_cut_off_says_where(void **state)
{
    (void)state;
    json_t *value = NULL;
    const char good[] = "\xef\xbb\xbf{\"a\": [1, \"\xc3\xa9\"]}\n";
    assert_int_equal(eh_json_read(write_packed("good.json.gz", good), &value), EH_OK);
    assert_int_equal(json_array_size(json_object_get(value, "a")), 2);
    json_decref(value);
    const char cut[] = "{\"a\":\n [1, 2,\n";
    assert_int_equal(eh_json_read(write_file("cut.json", cut, strlen(cut)), &value), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "cut.json:3:"));
    assert_non_null(strstr(eh_error_message(), "is the file cut off?"));
    assert_int_equal(eh_json_parse_line("f.jsonl", 17, "{\"a\" 1}", 7, &value), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "f.jsonl:17: column 6: not JSON"));
}

static int set_up(void **state)
{
    (void)state;
    folder = eh_test_folder_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    eh_test_folder_remove(&folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_end_in_lf_or_cr_lf),
        cmocka_unit_test(test_what_is_no_text_is_refused_with_its_line),
        cmocka_unit_test(test_a_line_of_two_gibibytes_is_refused),
        cmocka_unit_test(test_rows_of_a_csv),
        cmocka_unit_test(test_a_quote_is_plain_text_where_the_format_says_so),
        cmocka_unit_test(test_bad_csv_says_where),
        cmocka_unit_test(test_json_that_is_cut_off_says_where),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
