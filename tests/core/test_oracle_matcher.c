// The aligner against Python's difflib on the oracle's id sequences (some of 200 elements and more).
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/matcher.h"
#include "core/memory.h"
#include "support/cmocka.h"
#include "support/folder.h"

typedef struct {
    int32_t *values;
    int64_t *offsets, count;
} ragged;

static void *read_all(hid_t file, const char *group, const char *name, hid_t type, size_t size, int64_t *count)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", group, name);
    const hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
    assert_true(set >= 0);
    const hid_t space = H5Dget_space(set);
    *count = (int64_t)H5Sget_simple_extent_npoints(space);
    void *data = calloc((size_t)*count + 1, size);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Sclose(space);
    H5Dclose(set);
    return data;
}

static ragged read_ragged(hid_t file, const char *group)
{
    ragged r = {0};
    int64_t ignored;
    r.values = read_all(file, group, "values", H5T_NATIVE_INT32, sizeof *r.values, &ignored);
    r.offsets = read_all(file, group, "offsets", H5T_NATIVE_INT64, sizeof *r.offsets, &r.count);
    r.count--;
    return r;
}

static void test_blocks_are_difflibs(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/oracle/fixtures/expected/difflib.h5",
             eh_test_shared() == NULL ? "" : eh_test_shared());
    if (!eh_test_exists(path)) {
        printf("SKIPPED TEST: no oracle in EVENHAND_SHARED\n");
        skip();
    }
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    ragged a = read_ragged(file, "first"), b = read_ragged(file, "second");
    ragged pa = read_ragged(file, "first_positions"), pb = read_ragged(file, "second_positions");
    assert_true(a.count >= 40);
    int long_ones = 0;
    for (int64_t i = 0; i < a.count; i++) {
        eh_match *matches = NULL;
        int64_t count = 0, at = 0;
        long_ones += b.offsets[i + 1] - b.offsets[i] >= 200;
        assert_int_equal(eh_match_sequences(a.values + a.offsets[i], a.offsets[i + 1] - a.offsets[i],
                                            b.values + b.offsets[i], b.offsets[i + 1] - b.offsets[i], &matches, &count),
                         EH_OK);
        for (int64_t m = 0; m < count; m++)
            for (int64_t k = 0; k < matches[m].count; k++, at++) {
                assert_true(at < pa.offsets[i + 1] - pa.offsets[i]);
                assert_int_equal(matches[m].first_a + k, pa.values[pa.offsets[i] + at]);
                assert_int_equal(matches[m].first_b + k, pb.values[pb.offsets[i] + at]);
            }
        assert_int_equal(at, pa.offsets[i + 1] - pa.offsets[i]);
        eh_free(&matches);
    }
    assert_true(long_ones > 0);
    H5Fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks_are_difflibs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
