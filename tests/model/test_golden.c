// The project's own golden set (tests/data/make_golden.py), which needs nothing beside the checkout.
#include <fts.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/conform.h"
#include "support/cmocka.h"
#include "support/folder.h"

static const char *source(void)
{
    const char *folder = getenv("EVENHAND_SOURCE");
    return folder != NULL ? folder : ".";
}

static void run(const char *device)
{
    char folder[4096];
    eh_conform_result result;
    snprintf(folder, sizeof folder, "%s/tests/data/golden", source());
    assert_int_equal(eh_conform_run(folder, device, 1, NULL, stdout, &result), EH_OK);
    assert_int_equal(result.failed, 0);
    assert_int_equal(result.passed, 125); // logits, hidden states, training, scores, texts, tokenizers
}

static void test_golden_models_conform_on_the_reference(void **state)
{
    (void)state;
    run("reference");
}

static void test_golden_models_conform_on_the_cpu(void **state)
{
    (void)state;
    run("cpu");
}

// It is part of every clone.
static void test_the_golden_set_is_small(void **state)
{
    (void)state;
    char folder[4096];
    long long bytes = 0, files = 0;
    snprintf(folder, sizeof folder, "%s/tests/data/golden", source());
    FTS *tree = fts_open((char *const[]){folder, NULL}, FTS_PHYSICAL, NULL);
    assert_non_null(tree);
    for (FTSENT *entry; (entry = fts_read(tree)) != NULL;)
        if (entry->fts_info == FTS_F) {
            bytes += entry->fts_statp->st_size;
            files++;
        }
    fts_close(tree);
    printf("%lld files, %.2f MB\n", files, (double)bytes * 1e-6);
    assert_true(files > 20 && bytes <= 4000000);
}

// --- A wrong expected value fails its check ----------------------------------------------------------------------
// Changes the middle value of a dataset.
static void spoil(const char *path, const char *dataset_name)
{
    static uint8_t bytes[1 << 20];
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t dataset = H5Dopen2(file, dataset_name, H5P_DEFAULT);
    assert_true(file >= 0 && dataset >= 0);
    const hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
    const size_t size = H5Tget_size(type), count = (size_t)H5Sget_simple_extent_npoints(space);
    assert_true(size * count <= sizeof bytes && (size == 4 || size == 1));
    assert_true(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0);
    uint8_t *value = bytes + count / 2 * size;
    if (size == 1) {
        *value = *value == 'x' ? 'y' : 'x';
    } else if (H5Tget_class(type) == H5T_FLOAT) {
        float number;
        memcpy(&number, value, sizeof number);
        number += 0.05f;
        memcpy(value, &number, sizeof number);
    } else {
        value[0] ^= 1; // another token, another type
    }
    assert_true(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(dataset);
    H5Fclose(file);
}

static void expect_failure(const char *model, const char *dataset, const char *check)
{
    char command[16384], line[1024], wanted[1024];
    char *folder = eh_test_folder_new();
    const char *golden = "tests/data/golden";
    bool told = false;
    eh_conform_result result;
    snprintf(command, sizeof command,
             "mkdir '%s/models' '%s/expected' && cp -r '%s/%s/models/%s' '%s/models/' && cp '%s/%s/expected/%s.h5' "
             "'%s/expected/'",
             folder, folder, source(), golden, model, folder, source(), golden, model, folder);
    assert_int_equal(system(command), 0);
    snprintf(line, sizeof line, "expected/%s.h5", model);
    spoil(eh_test_path(folder, line), dataset);
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_int_equal(eh_conform_run(folder, "cpu", 1, NULL, out, &result), EH_OK);
    rewind(out);
    snprintf(wanted, sizeof wanted, " %s ", check);
    while (fgets(line, sizeof line, out) != NULL)
        told = told || (strncmp(line, "FAILED", 6) == 0 && strstr(line, wanted) != NULL);
    fclose(out);
    eh_test_folder_remove(&folder);
    if (result.failed == 0 || !told)
        fail_msg("%s: a wrong value in %s: %lld checks failed, '%s' %s", model, dataset, (long long)result.failed,
                 check, told ? "among them" : "not among them");
}

static void test_a_wrong_expected_value_fails(void **state)
{
    (void)state;
    static const struct {
        const char *model, *dataset, *check; // check NULL: of the dataset's name
    } cases[] = {
        {"bloom", "forward/single/logits", NULL},
        {"bloom", "forward/batch/logits", NULL},
        {"bloom", "forward/single/hidden_states", NULL},
        {"bloom", "logprobs/values", NULL},
        {"bloom", "generate/greedy", "generate/greedy,"},
        {"bloom", "generate/no_repeat_ngram_2", "generate/no_repeat_ngram_2,"},
        {"bloom", "generate/with_eos", "generate/with_eos,"},
        {"bloom", "train/loss", NULL},
        {"bloom", "train/grad_norm", NULL},
        {"bloom", "train/grads/transformer.h.1.mlp.dense_h_to_4h.weight", "train/grads"},
        {"bloom", "train/params_1/transformer.h.1.mlp.dense_h_to_4h.weight", "train/params_1"},
        {"bloom", "train/params_10/transformer.h.2.input_layernorm.weight", "train/params_10"},
        {"gpt2", "train/params_10/transformer.h.2.attn.c_attn.bias", "train/params_10"}, // its middle: a key's bias
        {"t5-tied", "forward/single/encoder_hidden_states", NULL},
        {"t5-tied", "forward/single/decoder_hidden_states", NULL},
        {"bert-masked", "pll/values", NULL},
        {"bert-masked", "pll/sums", NULL},
        {"bert-masked", "crows/values", NULL},
        {"bert-masked", "crows/sums", NULL},
        {"bert-three-labels", "forward/batch/probabilities", NULL},
        {"bert-next-sentence", "forward/batch/logits", NULL},
        {"roberta-masked", "tokenizer/ids/values", "tokenizer/ids"},
        {"roberta-masked", "tokenizer/pair_ids/values", "tokenizer/pair_ids"},
        {"roberta-masked", "tokenizer/decoded/values", "tokenizer/decoded"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        expect_failure(cases[c].model, cases[c].dataset, cases[c].check != NULL ? cases[c].check : cases[c].dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_models_conform_on_the_reference),
        cmocka_unit_test(test_golden_models_conform_on_the_cpu),
        cmocka_unit_test(test_the_golden_set_is_small),
        cmocka_unit_test(test_a_wrong_expected_value_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
