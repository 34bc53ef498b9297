// Gradients of low-rank adapters by central differences on the oracle's models, every linear layer adapted.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/philox.h"
#include "model/model.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

enum { TOKENS = 7, LABELS = 3 };

static const int32_t ids[TOKENS] = {11, 40, 23, 8, 90, 17, 31};
static const int64_t offsets[] = {0, 4, TOKENS};
static const float even[LABELS] = {0.5f, 0.25f, 0.25f};

static double loss_of(eh_model *model, const eh_batch *batch, bool backward)
{
    float log_probabilities[LABELS];
    double loss = 0;
    assert_int_equal(backward ? eh_model_backward(model, batch, 0, 0, log_probabilities)
                              : eh_model_score(model, batch, log_probabilities),
                     EH_OK);
    for (int l = 0; l < LABELS; l++) loss -= (double)even[l] * (double)log_probabilities[l];
    return loss;
}

// The weights along a direction of the trained block.
static void move(eh_model *model, const double *direction, const float *start, double by)
{
    const eh_tensor block = eh_model_weights(model);
    float *weights = eh_tensor_host(&block);
    for (int64_t i = 0; i < eh_model_weight_count(model); i++) weights[i] = start[i] + (float)(by * direction[i]);
    assert_int_equal(eh_model_weights_changed(model), EH_OK);
}

static void check_direction(eh_model *model, const eh_batch *batch, const float *start, const float *gradient,
                            bool along_gradient)
{
    const int64_t count = eh_model_weight_count(model);
    double *direction = calloc((size_t)count, sizeof *direction), norm = 0, expected = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        for (int64_t i = parameter->offset; parameter->trains && i < parameter->offset + parameter->count; i++) {
            direction[i] = along_gradient ? (double)gradient[i] : eh_random_normal(5, EH_STREAM_TEST, (uint64_t)i);
            norm += direction[i] * direction[i];
        }
    }
    for (int64_t i = 0; i < count; i++) {
        direction[i] /= sqrt(norm);
        expected += direction[i] * (double)gradient[i];
    }
    const double step = 6e-3; // its square is what the differences are off by
    move(model, direction, start, step);
    const double above = loss_of(model, batch, false);
    move(model, direction, start, -step);
    const double below = loss_of(model, batch, false);
    move(model, direction, start, 0);
    assert_close((above - below) / (2 * step), expected, 2e-4 + 4e-3 * fabs(expected));
    free(direction);
}

static void check_model(const char *device, const char *name)
{
    const char *shared = eh_test_shared();
    if (shared == NULL) {
        print_message("SKIPPED TEST: no oracle fixtures\n");
        skip();
    }
    char path[600];
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    snprintf(path, sizeof path, "%s/oracle/fixtures/models/%s", shared, name);
    assert_int_equal(eh_backend_open(device, 0, 1, &backend), EH_OK);
    const eh_adaptation all = {.rank = 3, .alpha = 6, .targets = "all-linear", .seed = 1};
    if (eh_model_open_shared(backend, path, EH_F32, NULL, &all, &model) != EH_OK)
        fail_msg("%s", eh_error_message());

    // B is moved away from 0, where A would have no gradient.
    const eh_tensor block = eh_model_weights(model), gradients = eh_model_gradients(model);
    float *weights = eh_tensor_host(&block);
    int64_t trained = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        assert_int_equal(parameter->trains, strstr(parameter->name, ".lora_") != NULL);
        trained += parameter->trains;
        for (int64_t i = 0; strstr(parameter->name, ".lora_B") && i < parameter->count; i++)
            weights[parameter->offset + i] =
                (float)(0.1 * eh_random_normal(9, EH_STREAM_TEST, (uint64_t)(parameter->offset + i)));
    }
    assert_true(trained >= 16 && trained % 2 == 0);
    assert_int_equal(eh_model_weights_changed(model), EH_OK);
    const size_t bytes = (size_t)eh_model_weight_count(model) * sizeof(float);
    float *start = malloc(bytes), *gradient = calloc(1, bytes); // laid out as the weights
    memcpy(start, weights, bytes);

    const bool seq2seq = eh_model_kind_of(model) == EH_ENCODER_DECODER;
    const eh_batch batch = {.sequence_count = 2,
                            .input_ids = ids,
                            .input_offsets = offsets,
                            .decoder_ids = seq2seq ? ids : NULL,
                            .decoder_offsets = seq2seq ? offsets : NULL,
                            .label_count = LABELS,
                            .label_rows = (const int32_t[]){1, 3, 6},
                            .label_ids = (const int32_t[]){50, 12, 70},
                            .label_weights = even};
    const eh_batch_limits limits = {TOKENS, TOKENS, 2, LABELS};
    assert_int_equal(eh_model_reserve(model, &limits), EH_OK);
    loss_of(model, &batch, true);
    assert_int_equal(eh_backend_wait(backend), EH_OK);
    const float *block_of_gradients = eh_tensor_host(&gradients);
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) { // frozen weights get none
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        assert_int_equal(parameter->gradient >= 0, parameter->trains);
        if (parameter->trains)
            memcpy(gradient + parameter->offset, block_of_gradients + parameter->gradient,
                   (size_t)parameter->count * sizeof *gradient);
    }
    assert_true(eh_model_gradient_count(model) < eh_model_weight_count(model) / 2);
    check_direction(model, &batch, start, gradient, true);
    check_direction(model, &batch, start, gradient, false);
    free(start);
    free(gradient);
    eh_model_close(&model);
    eh_backend_close(&backend);
}

#define CHECKS(model, device, id)       \
    static void test_##id(void **state) \
    {                                   \
        (void)state;                    \
        check_model(device, model);     \
    }
CHECKS("bloom-a", "cpu", bloom)
CHECKS("bloom-a", "reference", bloom_on_reference)
CHECKS("gpt2-a", "cpu", gpt2)
CHECKS("t5-a", "cpu", t5)
CHECKS("t5-a", "reference", t5_on_reference)
CHECKS("bert-mlm", "cpu", bert)
CHECKS("roberta-mlm", "cpu", roberta)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bloom),   cmocka_unit_test(test_bloom_on_reference),
        cmocka_unit_test(test_gpt2),    cmocka_unit_test(test_t5),
        cmocka_unit_test(test_bert),    cmocka_unit_test(test_t5_on_reference),
        cmocka_unit_test(test_roberta),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
