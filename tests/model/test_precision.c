// Computing in bf16 and fp16: the golden models' logits stay within the noise that the reference saw in fp32, scaled by
// the formats' coarseness; gradients stay close to fp32's; files in half precision load exactly.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5.h"
#include "model/conform_internal.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

static const char *const models[] = {"bloom",       "gpt2",           "t5-tied",           "bert-three-labels",
                                     "bert-masked", "roberta-masked", "bert-next-sentence"};
enum { MODELS = sizeof models / sizeof *models };
static const char *const devices[] = {"reference", "cpu"};

static const char *golden(const char *part, const char *name, const char *ending)
{
    static char path[4096];
    const char *source = getenv("EVENHAND_SOURCE");
    snprintf(path, sizeof path, "%s/tests/data/golden/%s/%s%s", source != NULL ? source : ".", part, name, ending);
    return path;
}

static eh_model *open_golden(eh_backend *backend, const char *name, eh_dtype compute, eh_model_use use)
{
    eh_model *model = NULL;
    if (eh_model_open(backend, golden("models", name, ""), compute, use, &model) != EH_OK)
        fail_msg("%s", eh_error_message());
    return model;
}

// The greatest error of the logits, in units of the noise of fp32 and, at its size, of the format.
static double logit_error(eh_conform *conform, eh_model *model, double *against_fp32)
{
    eh_conform_batch batch = {0};
    eh_expected expected = {0};
    float *logits = NULL;
    double worst = 0;
    assert_int_equal(eh_conform_batch_read(conform, model, "forward/single", &batch), EH_OK);
    assert_int_equal(eh_expected_read(conform, "forward/single/logits", &expected), EH_OK);
    assert_int_equal(EH_ALLOC(expected.count, &logits), EH_OK);
    assert_int_equal(eh_model_logits(model, &batch.batch, logits), EH_OK);
    for (int64_t i = 0; i < expected.count; i++) {
        const double error = fabs((double)logits[i] - (double)expected.floats[i]);
        worst = error <= worst ? worst : error; // NaN stays
    }
    *against_fp32 = worst / (8 * expected.noise + 1e-6);
    const double noise = expected.noise;
    eh_free(&logits);
    eh_expected_deinit(&expected);
    eh_conform_batch_deinit(&batch);
    return worst / noise;
}

// fp32 has 24 significant bits, bf16 8 and fp16 11: noise grows by 2^16 and 2^13. Twice that is allowed.
static void test_logits_stay_within_the_formats_noise(void **state)
{
    (void)state;
    static const struct {
        eh_dtype compute;
        double coarser;
    } formats[] = {{EH_BF16, 65536}, {EH_F16, 8192}};
    for (int d = 0; d < 2; d++) {
        eh_backend *backend = NULL;
        assert_int_equal(eh_backend_open(devices[d], 0, 1, &backend), EH_OK);
        for (int m = 0; m < MODELS; m++)
            for (int f = 0; f < 2; f++) {
                eh_conform conform = {.name = models[m], .backend = backend, .file = -1};
                double against_fp32 = 0;
                assert_int_equal(eh_hdf5_open(golden("expected", models[m], ".h5"), &conform.file), EH_OK);
                eh_model *model = open_golden(backend, models[m], formats[f].compute, EH_FOR_INFERENCE);
                const double ratio = logit_error(&conform, model, &against_fp32) / (2 * formats[f].coarser);
                printf("%s %s %s: error/bound %.3g\n", devices[d], models[m], eh_dtype_name(formats[f].compute), ratio);
                assert_true(ratio <= 1);
                assert_true(against_fp32 > 1); // it was not computed in fp32 after all
                eh_model_close(&model);
                eh_hdf5_close(&conform.file);
            }
        eh_backend_close(&backend);
    }
}

static void gradients(eh_backend *backend, eh_dtype compute, float **block, int64_t *count)
{
    eh_model *model = open_golden(backend, "bloom", compute, EH_FOR_TRAINING);
    const int32_t ids[] = {1, 5, 6, 7, 8, 9, 10, 11, 12, 13}, rows[] = {0, 1, 2, 5, 6, 8};
    const int32_t labels[] = {5, 6, 7, 10, 11, 13};
    const int64_t offsets[] = {0, 4, 10};
    const float weights[] = {0.2f, 0.2f, 0.2f, 0.2f, 0.1f, 0.1f};
    float scores[6];
    const eh_batch batch = {.sequence_count = 2,
                            .input_ids = ids,
                            .input_offsets = offsets,
                            .label_count = 6,
                            .label_rows = rows,
                            .label_ids = labels,
                            .label_weights = weights};
    const eh_tensor own = eh_model_gradients(model);
    *count = eh_model_weight_count(model);
    assert_int_equal(eh_model_reserve(model, &(eh_batch_limits){10, 0, 2, 6}), EH_OK);
    assert_int_equal(eh_fill(backend, 0, &own), EH_OK);
    assert_int_equal(eh_model_backward(model, &batch, 0, 0, scores), EH_OK);
    assert_int_equal(EH_ALLOC(*count, block), EH_OK);
    assert_int_equal(eh_backend_download(backend, &own, *block), EH_OK);
    eh_model_close(&model);
}

static void test_gradients_stay_close_to_those_of_fp32(void **state)
{
    (void)state;
    static const eh_dtype formats[] = {EH_BF16, EH_F16};
    static const double bounds[] = {8.0 / 256,
                                    8.0 / 2048}; // some roundings of the format, of the whole vector's length
    for (int d = 0; d < 2; d++) {
        eh_backend *backend = NULL;
        float *exact = NULL;
        int64_t count = 0;
        assert_int_equal(eh_backend_open(devices[d], 0, 1, &backend), EH_OK);
        gradients(backend, EH_F32, &exact, &count);
        for (int f = 0; f < 2; f++) {
            float *coarse = NULL;
            double error = 0, length = 0;
            gradients(backend, formats[f], &coarse, &count);
            for (int64_t i = 0; i < count; i++) {
                error += pow((double)coarse[i] - (double)exact[i], 2);
                length += pow((double)exact[i], 2);
            }
            printf("%s %s: gradients off by %.3g\n", devices[d], eh_dtype_name(formats[f]), sqrt(error / length));
            assert_true(sqrt(error / length) <= bounds[f] && error > 0);
            eh_free(&coarse);
        }
        eh_free(&exact);
        eh_backend_close(&backend);
    }
}

// What is written in half precision comes back bit for bit, read in place or turned into fp32.
static void test_files_in_half_precision_load_exactly(void **state)
{
    (void)state;
    static const eh_dtype formats[] = {EH_BF16, EH_F16};
    eh_backend *backend = NULL;
    assert_int_equal(eh_backend_open("cpu", 0, 1, &backend), EH_OK);
    for (int m = 0; m < MODELS; m++)
        for (int f = 0; f < 2; f++) {
            char *folder = eh_test_folder_new(), digests[3][65];
            eh_model *model = open_golden(backend, models[m], formats[f], EH_FOR_INFERENCE);
            assert_int_equal(eh_model_digest(model, digests[0]), EH_OK); // of the values as fp32
            assert_int_equal(eh_model_save(model, folder, NULL), EH_OK);
            eh_model_close(&model);
            for (int i = 1; i < 3; i++) {
                assert_int_equal(eh_model_open(backend, folder, i == 1 ? formats[f] : EH_F32, EH_FOR_INFERENCE, &model),
                                 EH_OK);
                assert_int_equal(eh_model_digest(model, digests[i]), EH_OK);
                assert_string_equal(digests[i], digests[0]);
                eh_model_close(&model);
            }
            eh_test_folder_remove(&folder);
        }
    eh_backend_close(&backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_stay_within_the_formats_noise),
        cmocka_unit_test(test_gradients_stay_close_to_those_of_fp32),
        cmocka_unit_test(test_files_in_half_precision_load_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
