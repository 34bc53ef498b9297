// The shapes of the published models, with random weights: loaded, run and saved as transformers does it, in no more
// memory than the weights' file and 5 %. Minutes and gigabytes: only with `tests/run.sh --large`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/conform.h"
#include "model/model.h"
#include "support/cmocka.h"
#include "support/folder.h"

static int python(const char *script, const char *arguments)
{
    char command[16384];
    snprintf(command, sizeof command, "\"$EVENHAND_PYTHON\" \"$EVENHAND_SOURCE/tests/model/%s\" %s 2>&1", script,
             arguments);
    return system(command);
}

// Pages of the mapped file count too.
static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long total = 0, resident = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &total, &resident), 2);
    fclose(file);
    return (double)resident * 4096;
}

static double file_bytes(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long size = ftell(file);
    fclose(file);
    return (double)size;
}

static void run(const char *name)
{
    if (getenv("EVENHAND_LARGE") == NULL || getenv("EVENHAND_PYTHON") == NULL) {
        printf("SKIPPED TEST: large models, run by tests/run.sh --large\n");
        skip();
    }
    char *folder = eh_test_folder_new(), arguments[9000], model_folder[4096], saved[4096];
    snprintf(arguments, sizeof arguments, "%s '%s'", name, folder);
    assert_int_equal(python("large_models.py", arguments), 0);
    eh_conform_result result;
    assert_int_equal(eh_conform_run(folder, "cpu", 2, NULL, stdout, &result), EH_OK);
    assert_int_equal(result.failed, 0);
    assert_true(result.passed >= 2);

    snprintf(model_folder, sizeof model_folder, "%s/models/%s", folder, name);
    snprintf(saved, sizeof saved, "%s/saved", folder);
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    assert_int_equal(eh_backend_open("cpu", 0, 2, &backend), EH_OK);
    const double before = resident_bytes();
    assert_int_equal(eh_model_open(backend, model_folder, EH_F32, EH_FOR_INFERENCE, &model), EH_OK);
    const double taken = resident_bytes() - before, size = file_bytes(eh_test_path(model_folder, "model.safetensors"));
    printf("%s: opened in %.0f MiB, its file has %.0f\n", name, taken / 0x1p20, size / 0x1p20);
    assert_true(taken <= 1.05 * size);
    assert_int_equal(eh_model_save(model, saved, NULL), EH_OK);
    eh_model_close(&model);
    eh_backend_close(&backend);
    snprintf(arguments, sizeof arguments, "same '%s' '%s'", model_folder, saved);
    assert_int_equal(python("folders.py", arguments), 0);
    eh_test_folder_remove(&folder);
}

static void test_bloomz_560m(void **state)
{
    (void)state;
    run("bloomz-560m");
}

static void test_flan_t5_small(void **state)
{
    (void)state;
    run("flan-t5-small");
}

static void test_gpt2(void **state)
{
    (void)state;
    run("gpt2");
}

static void test_bert_base(void **state)
{
    (void)state;
    run("bert-base");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_bert_base),
        cmocka_unit_test(test_flan_t5_small),
        cmocka_unit_test(test_bloomz_560m),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
