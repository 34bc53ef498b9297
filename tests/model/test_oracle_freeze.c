// Which weights each group of train.freeze lets learn, on the oracle's models, and that the others stay bit for bit.
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka.h"
#include "support/folder.h"

static eh_backend *backend;

static eh_status open_model(const char *name, const char *words, eh_model **model)
{
    const char *shared = eh_test_shared();
    if (shared == NULL) {
        print_message("SKIPPED TEST: no oracle fixtures\n");
        skip();
    }
    char path[600];
    const eh_adaptation freeze = {.freeze = words};
    snprintf(path, sizeof path, "%s/oracle/fixtures/models/%s", shared, name);
    return eh_model_open_shared(backend, path, EH_F32, NULL, &freeze, model);
}

// Trained parameters, and one that must and one that must not be among them; and that their gradients alone have room.
static void check_groups(const char *model_name, const char *words, int64_t trained, const char *with,
                         const char *without)
{
    eh_model *model = NULL;
    if (open_model(model_name, words, &model) != EH_OK)
        fail_msg("%s", eh_error_message());
    int64_t count = 0, elements = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        count += parameter->trains;
        elements += parameter->trains ? (parameter->count + 15) / 16 * 16 : 0;
        assert_true(parameter->gradient >= 0 || !parameter->trains);
        if (strcmp(parameter->name, with) == 0)
            assert_true(parameter->trains);
        if (strcmp(parameter->name, without) == 0)
            assert_false(parameter->trains);
    }
    assert_int_equal(count, trained);
    assert_int_equal(eh_model_gradient_count(model), elements); // none of these words cuts a joined matrix
    eh_model_close(&model);
}

static void test_groups(void **state)
{
    (void)state;
    check_groups("gpt2-a", "norms", 10, "transformer.h.1.ln_2.bias", "transformer.wpe.weight");
    check_groups("gpt2-a", "norms+positions", 11, "transformer.wpe.weight", "transformer.wte.weight");
    check_groups("gpt2-a", "norms+positions+embeddings", 12, "transformer.wte.weight",
                 "transformer.h.0.mlp.c_fc.weight");
    check_groups("gpt2-a", "top-1", 12, "transformer.h.1.mlp.c_fc.weight", "transformer.h.0.mlp.c_fc.weight");
    check_groups("bloom-a", "*.h.0.*", 12, "transformer.h.0.input_layernorm.weight", "transformer.ln_f.weight");
    check_groups("t5-a", "output", 1, "lm_head.weight", "shared.weight");
}

// A query that learns beside a key and a value that don't: their common product has gradients of all three, of which
// two are 0 after a backward pass.
static void test_part_of_a_joined_matrix(void **state)
{
    (void)state;
    eh_model *model = NULL;
    if (open_model("t5-a", "encoder.block.0.layer.0.SelfAttention.q.weight", &model) != EH_OK)
        fail_msg("%s", eh_error_message());
    const int32_t ids[] = {5, 9, 7, 3, 11}, decoder_ids[] = {0, 4, 6}, rows[] = {0, 1, 2}, labels[] = {4, 6, 1};
    const int64_t offsets[] = {0, 5}, decoder_offsets[] = {0, 3};
    const float weights[] = {1, 1, 1};
    const eh_batch batch = {.sequence_count = 1,
                            .input_ids = ids,
                            .input_offsets = offsets,
                            .decoder_ids = decoder_ids,
                            .decoder_offsets = decoder_offsets,
                            .label_count = 3,
                            .label_rows = rows,
                            .label_ids = labels,
                            .label_weights = weights};
    float losses[3];
    assert_int_equal(eh_model_reserve(model, &(eh_batch_limits){5, 3, 1, 3}), EH_OK);
    assert_int_equal(eh_model_backward(model, &batch, 0, 0, losses), EH_OK);
    const eh_tensor block = eh_model_gradients(model);
    const float *gradients = eh_tensor_host(&block);
    int64_t trained = 0, silent = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        double sum = 0;
        for (int64_t i = 0; parameter->gradient >= 0 && i < parameter->count; i++)
            sum += fabs((double)gradients[parameter->gradient + i]);
        trained += parameter->trains && sum > 0;
        silent += !parameter->trains && parameter->gradient >= 0 && sum == 0;
        assert_true(parameter->trains || sum == 0);
    }
    assert_int_equal(trained, 1);
    assert_int_equal(silent, 2);
    eh_model_close(&model);
}

// OPT, of which the oracle has no model, names its positions and embeddings the other way round.
static void test_positions_of_opt(void **state)
{
    (void)state;
    static const char config[] = "{\"model_type\": \"opt\", \"vocab_size\": 20, \"hidden_size\": 8, "
                                 "\"num_attention_heads\": 2, \"num_hidden_layers\": 1, \"ffn_dim\": 12}";
    const eh_adaptation freeze = {.freeze = "positions"};
    eh_model *model = NULL;
    if (eh_model_new_shared(backend, config, 1, EH_F32, NULL, &freeze, &model) != EH_OK)
        fail_msg("%s", eh_error_message());
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        assert_int_equal(parameter->trains, strcmp(parameter->name, "model.decoder.embed_positions.weight") == 0);
    }
    eh_model_close(&model);
}

static void test_refuses_a_word_that_fits_nothing(void **state)
{
    (void)state;
    eh_model *model = NULL;
    assert_int_equal(open_model("bloom-a", "norms+positions", &model), EH_INPUT); // ALiBi has no position embeddings
    assert_non_null(strstr(eh_error_message(), "'positions' fits no weight"));
    assert_null(model);
}

int main(void)
{
    if (eh_backend_open("cpu", 0, 1, &backend) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups), cmocka_unit_test(test_part_of_a_joined_matrix),
                                       cmocka_unit_test(test_positions_of_opt),
                                       cmocka_unit_test(test_refuses_a_word_that_fits_nothing)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_backend_close(&backend);
    return failed;
}
