// What a backward pass tells on its way: stretches of the gradient block from its end to the first layer, without a
// gap, and that each has its last value by then. Whoever adds gradients up between ranks counts on both.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "model/model.h"
#include "support/cmocka.h"

enum { TOKENS = 24, SEQUENCES = 3, VOCABULARY = 61 };

#define SIZES "\"vocab_size\":61,"
static const char bloom[] = "{\"model_type\":\"bloom\"," SIZES "\"hidden_size\":24,\"n_head\":3,\"n_layer\":3}";
static const char gpt2[] =
    "{\"model_type\":\"gpt2\"," SIZES "\"n_embd\":24,\"n_head\":3,\"n_layer\":3,\"n_positions\":32}";
static const char bert[] = "{\"model_type\":\"bert\"," SIZES "\"hidden_size\":24,\"num_attention_heads\":3,"
                           "\"num_hidden_layers\":3,\"intermediate_size\":40,\"max_position_embeddings\":32}";
#define T5                                                                                                    \
    "{\"model_type\":\"t5\"," SIZES "\"d_model\":24,\"d_kv\":8,\"d_ff\":40,\"num_heads\":3,\"num_layers\":3," \
    "\"num_decoder_layers\":2,\"pad_token_id\":0,\"eos_token_id\":1,\"feed_forward_proj\":\"gated-gelu\","
static const char t5[] = T5 "\"tie_word_embeddings\":false}", t5_tied[] = T5 "\"tie_word_embeddings\":true}";

typedef struct {
    eh_model *model;
    float *told; // the block's values when they were told
    int64_t begin, end, count;
    bool leaves_a_gap;
} listener;

static const float *gradients_of(eh_model *model)
{
    const eh_tensor block = eh_model_gradients(model);
    return eh_tensor_host(&block);
}

static eh_status hear(void *context, int64_t first, int64_t count)
{
    listener *l = context;
    l->leaves_a_gap |= l->count > 0 && first + count != l->begin;
    l->end = l->count == 0 ? first + count : l->end;
    l->begin = first;
    l->count++;
    memcpy(l->told + first, gradients_of(l->model) + first, (size_t)count * sizeof(float));
    return EH_OK;
}

static eh_status pass(eh_model *model)
{
    static int32_t ids[TOKENS], rows[TOKENS], labels[TOKENS];
    static float weights[TOKENS], log_probabilities[TOKENS];
    static const int64_t offsets[SEQUENCES + 1] = {0, 7, 15, TOKENS};
    for (int32_t i = 0; i < TOKENS; i++) {
        ids[i] = labels[i] = 2 + i * 31 % (VOCABULARY - 2);
        rows[i] = i;
        weights[i] = 0.5F;
    }
    const bool decodes = eh_model_kind_of(model) == EH_ENCODER_DECODER;
    const eh_batch batch = {.sequence_count = SEQUENCES,
                            .input_ids = ids,
                            .input_offsets = offsets,
                            .decoder_ids = decodes ? ids : NULL,
                            .decoder_offsets = decodes ? offsets : NULL,
                            .label_count = TOKENS,
                            .label_rows = rows,
                            .label_ids = labels,
                            .label_weights = weights};
    const eh_batch_limits limits = {TOKENS, decodes ? TOKENS : 0, SEQUENCES, TOKENS};
    EH_TRY(eh_model_reserve(model, &limits));
    return eh_model_backward(model, &batch, 0, 0, log_probabilities);
}

// The listener of one pass; `front`: elements of the block before the first layer that has gradients.
static listener listen(const char *config, const eh_adaptation *adaptation, int64_t *gradient_count, int64_t *front)
{
    eh_backend *backend = NULL;
    listener l = {.count = 0};
    assert_int_equal(eh_backend_open("cpu", 0, 1, &backend), EH_OK);
    if (eh_model_new_shared(backend, config, 5, EH_F32, NULL, adaptation, &l.model) != EH_OK)
        fail_msg("%s", eh_error_message());
    *gradient_count = eh_model_gradient_count(l.model);
    const eh_tensor block = eh_model_gradients(l.model);
    l.told = malloc((size_t)*gradient_count * sizeof(float));
    assert_int_equal(eh_fill(backend, 0, &block), EH_OK);
    eh_model_tell_gradients(l.model, hear, &l);
    assert_int_equal(pass(l.model), EH_OK);
    assert_false(l.leaves_a_gap);
    assert_memory_equal(l.told + l.begin, gradients_of(l.model) + l.begin, (size_t)(l.end - l.begin) * sizeof(float));
    eh_unit *units = NULL;
    int64_t unit_count = 0;
    assert_int_equal(eh_model_units(l.model, &units, &unit_count), EH_OK);
    *front = units[0].count;
    eh_free(&units);
    for (int64_t p = 0; p < eh_model_parameter_count(l.model); p++) { // frozen beside trained ones in one matrix: 0
        const eh_parameter *parameter = &eh_model_parameters(l.model)[p];
        const float *gradient = gradients_of(l.model) + parameter->gradient;
        for (int64_t i = 0; !parameter->trains && parameter->gradient >= 0 && i < parameter->count; i++)
            assert_true(gradient[i] == 0);
    }
    free(l.told);
    eh_model_close(&l.model);
    eh_backend_close(&backend);
    return l;
}

static void check_all_learn(const char *config, int64_t layers)
{
    int64_t gradient_count, front;
    const listener l = listen(config, NULL, &gradient_count, &front);
    assert_int_equal(l.count, layers);
    assert_int_equal(l.end, gradient_count);
    assert_int_equal(l.begin, front);
}

static void test_all_but_the_embeddings_is_told_from_the_end(void **state)
{
    (void)state;
    check_all_learn(bloom, 3);
    check_all_learn(gpt2, 3);
    check_all_learn(bert, 3);
    check_all_learn(t5, 5);
    check_all_learn(t5_tied, 5);
}

// Their gradients are computed, since the product has one result for all three, and set to 0 before they are told.
static void test_frozen_parts_of_a_matrix_are_told_as_0(void **state)
{
    (void)state;
    int64_t gradient_count, front;
    const eh_adaptation freeze = {.freeze = "*query*"};
    const listener l = listen(bert, &freeze, &gradient_count, &front);
    assert_int_equal(l.count, 3);
    assert_int_equal(l.end, gradient_count);
    assert_int_equal(l.begin, 0);
}

// They lie behind all layers and belong to all.
static void test_adapters_are_not_told(void **state)
{
    (void)state;
    int64_t gradient_count, front;
    const eh_adaptation adapters = {.rank = 2, .alpha = 4};
    assert_int_equal(listen(bloom, &adapters, &gradient_count, &front).count, 0);
    assert_true(gradient_count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_but_the_embeddings_is_told_from_the_end),
                                       cmocka_unit_test(test_frozen_parts_of_a_matrix_are_told_as_0),
                                       cmocka_unit_test(test_adapters_are_not_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
