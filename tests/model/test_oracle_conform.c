// `conform` on the oracle's fixtures with each device of this build, and the proof that a wrong value makes it fail.
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "core/memory.h"
#include "model/conform.h"
#include "support/cmocka.h"
#include "support/folder.h"

static void run(const char *device)
{
    if (eh_test_shared() == NULL) {
        printf("SKIPPED TEST: no ../shared\n");
        skip();
    }
    char folder[4096];
    eh_conform_result result;
    snprintf(folder, sizeof folder, "%s/oracle/fixtures", eh_test_shared());
    const eh_status status = eh_conform_run(folder, device, 1, NULL, stdout, &result);
    assert_int_equal(status, EH_OK);
    assert_int_equal(result.failed, 0);
    assert_true(result.passed > 150);
}

static void test_all_fixtures_conform_on_the_reference(void **state)
{
    (void)state;
    run("reference");
}

// Every set of kernels that this machine can run, forced in turn.
static void test_all_fixtures_conform_on_the_cpu(void **state)
{
    (void)state;
    static const char *const sets[] = {"avx512bf16", "avx512", "avx2", "baseline"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        eh_backend *backend = NULL;
        setenv("EVENHAND_CPU_ISA", sets[i], 1);
        if (eh_backend_open("cpu", 0, 1, &backend) == EH_OK) {
            eh_backend_close(&backend);
            run("cpu");
        } else {
            printf("not tested here: %s\n", eh_error_message());
        }
    }
    unsetenv("EVENHAND_CPU_ISA");
}

static void test_all_fixtures_conform_on_a_gpu(void **state)
{
    (void)state;
    eh_backend *backend = NULL;
    if (eh_backend_open("cuda", 0, 1, &backend) != EH_OK) {
        printf("not tested here: %s\n", eh_error_message());
        return;
    }
    eh_backend_close(&backend);
    run("cuda");
}

// A folder with one model: a link to it, and a copy of its expected values.
static char *folder_of_one(const char *name)
{
    char *folder = eh_test_folder_new();
    const char *shared = eh_test_shared();
    char command[16384];
    snprintf(command, sizeof command,
             "mkdir -p '%s/models' '%s/expected' && ln -s \"$(realpath '%s/oracle/fixtures/models/%s')\" '%s/models/' "
             "&& cp '%s/oracle/fixtures/expected/%s.h5' '%s/expected/' && chmod u+w '%s/expected/%s.h5'",
             folder, folder, shared, name, folder, shared, name, folder, folder, name);
    assert_int_equal(system(command), 0);
    return folder;
}

// Adds `by` to the middle element of a dataset of floats (or ints).
static void change(const char *path, const char *dataset, double by)
{
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), data = H5Dopen2(file, dataset, H5P_DEFAULT);
    const hid_t space = H5Dget_space(data);
    const int64_t count = H5Sget_simple_extent_npoints(space);
    double *values = NULL;
    assert_true(count > 0);
    assert_int_equal(EH_ALLOC(count, &values), EH_OK);
    assert_true(H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    values[count / 2] += by;
    assert_true(H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    eh_free(&values);
    H5Sclose(space);
    H5Dclose(data);
    H5Fclose(file);
}

static void test_a_changed_expected_value_fails(void **state)
{
    (void)state;
    static const struct {
        const char *model, *dataset;
        double by;
    } changes[] = {
        {"bloom-b", "forward/single/logits", 1e-3},
        {"bloom-b", "forward/single/hidden_states", 1e-3},
        {"t5-a", "forward/single/encoder_hidden_states", 1e-3},
        {"bloom-b", "train/grads/transformer.h.1.mlp.dense_h_to_4h.weight", 1e-3},
        {"bloom-b", "train/params_10/transformer.word_embeddings.weight", 1e-3},
        {"bloom-b", "train/loss", 1e-3},
        {"bloom-b", "generate/greedy", 1},
        {"bloom-b", "logprobs/values", 1e-3},
        {"bloom-b", "tokenizer/ids/values", 1},
        {"bloom-b", "tokenizer/decoded/values", 1},
        {"bert-mlm", "pll/values", 1e-3},
        {"bert-mlm", "crows/sums", 1e-3},
        {"bert-nsp", "forward/batch/probabilities", 1e-3},
        {"t5-a", "relative_buckets/causal", 1},
    };
    if (eh_test_shared() == NULL) {
        printf("SKIPPED TEST: no ../shared\n");
        skip();
    }
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char *folder = folder_of_one(changes[i].model), path[4096];
        eh_conform_result before, after;
        FILE *nowhere = fopen("/dev/null", "w");
        snprintf(path, sizeof path, "%s/expected/%s.h5", folder, changes[i].model);
        assert_int_equal(eh_conform_run(folder, "cpu", 1, NULL, nowhere, &before), EH_OK);
        change(path, changes[i].dataset, changes[i].by);
        assert_int_equal(eh_conform_run(folder, "cpu", 1, NULL, nowhere, &after), EH_OK);
        if (before.failed != 0 || after.failed < 1)
            fprintf(stderr, "%s %s: %d failed before, %d after\n", changes[i].model, changes[i].dataset,
                    (int)before.failed, (int)after.failed);
        assert_int_equal(before.failed, 0);
        assert_true(after.failed >= 1);
        fclose(nowhere);
        eh_test_folder_remove(&folder);
    }
}

static void test_a_folder_without_models_is_refused(void **state)
{
    (void)state;
    eh_conform_result result;
    char *folder = eh_test_folder_new();
    assert_int_equal(eh_conform_run(folder, "cpu", 1, NULL, stdout, &result), EH_INPUT);
    eh_test_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_fixtures_conform_on_the_reference),
        cmocka_unit_test(test_all_fixtures_conform_on_the_cpu),
        cmocka_unit_test(test_all_fixtures_conform_on_a_gpu),
        cmocka_unit_test(test_a_changed_expected_value_fails),
        cmocka_unit_test(test_a_folder_without_models_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
