// A model by itself, from random weights: the same function of its seed anywhere, steps that allocate nothing, shared
// prefixes that change nothing, texts that don't depend on their neighbours, and folders that are refused.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "model/generate.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

static const char *const bloom = "{\"model_type\":\"bloom\",\"vocab_size\":13,\"hidden_size\":20,\"n_head\":5,"
                                 "\"n_layer\":3,\"initializer_range\":0.5,\"bos_token_id\":1,\"eos_token_id\":2}";
static const char *const t5 = "{\"model_type\":\"t5\",\"vocab_size\":13,\"d_model\":20,\"d_kv\":6,\"d_ff\":24,"
                              "\"num_heads\":5,\"num_layers\":2,\"pad_token_id\":0,\"eos_token_id\":1}";

static const char *const bert =
    "{\"model_type\":\"bert\",\"vocab_size\":13,\"hidden_size\":20,\"num_attention_heads\":5,"
    "\"num_hidden_layers\":3,\"intermediate_size\":24,\"max_position_embeddings\":16}";

static eh_backend *open_backend(void)
{
    eh_backend *backend = NULL;
    assert_int_equal(eh_backend_open("cpu", 0, 1, &backend), EH_OK);
    return backend;
}

static eh_model *new_model(eh_backend *backend, const char *config, uint64_t seed, eh_model_use use)
{
    eh_model *model = NULL;
    if (eh_model_new(backend, config, seed, EH_F32, use, &model) != EH_OK)
        fail_msg("%s", eh_error_message());
    assert_int_equal(eh_model_reserve(model, &(eh_batch_limits){32, 32, 8, 32}), EH_OK);
    return model;
}

static void test_random_weights_are_a_function_of_the_seed(void **state)
{
    (void)state;
    eh_backend *backend = open_backend();
    char digest[3][65];
    for (int i = 0; i < 3; i++) {
        eh_model *model = new_model(backend, bloom, i < 2 ? 7 : 8, EH_FOR_TRAINING);
        assert_int_equal(eh_model_digest(model, digest[i]), EH_OK);
        eh_model_close(&model);
    }
    assert_string_equal(digest[0], digest[1]);
    assert_string_not_equal(digest[0], digest[2]);
    eh_backend_close(&backend);
}

// Two continuations of one context: as whole sequences, and behind a shared prefix.
static void test_a_shared_prefix_changes_nothing(void **state)
{
    (void)state;
    eh_backend *backend = open_backend();
    eh_model *model = new_model(backend, bloom, 3, EH_FOR_TRAINING);
    const int32_t whole[] = {1, 5, 6, 7, 8, 1, 5, 6, 9, 10, 11}, shared[] = {1, 5, 6, 7, 8, 9, 10, 11};
    const int64_t whole_offsets[] = {0, 5, 11}, shared_offsets[] = {0, 3, 5, 8};
    const int32_t prefix[] = {-1, 0, 0};
    const int32_t whole_rows[] = {2, 3, 7, 8, 9}, shared_rows[] = {2, 3, 2, 5, 6}, ids[] = {7, 8, 9, 10, 11};
    const float weights[] = {1, 2, 3, 4, 5};
    float a[5], b[5], *gradients[2] = {NULL, NULL};
    const eh_batch batches[] = {{.sequence_count = 2,
                                 .input_ids = whole,
                                 .input_offsets = whole_offsets,
                                 .label_count = 5,
                                 .label_rows = whole_rows,
                                 .label_ids = ids,
                                 .label_weights = weights},
                                {.sequence_count = 3,
                                 .input_ids = shared,
                                 .input_offsets = shared_offsets,
                                 .prefix = prefix,
                                 .label_count = 5,
                                 .label_rows = shared_rows,
                                 .label_ids = ids,
                                 .label_weights = weights}};
    const eh_tensor block = eh_model_gradients(model);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(EH_ALLOC(eh_model_weight_count(model), &gradients[i]), EH_OK);
        assert_int_equal(eh_fill(backend, 0, &block), EH_OK);
        assert_int_equal(eh_model_backward(model, &batches[i], 0, 0, i == 0 ? a : b), EH_OK);
        assert_int_equal(eh_backend_download(backend, &block, gradients[i]), EH_OK);
    }
    for (int i = 0; i < 5; i++) assert_close(a[i], b[i], 1e-5);
    for (int64_t i = 0; i < eh_model_weight_count(model); i++) assert_close(gradients[0][i], gradients[1][i], 2e-4);
    eh_free(&gradients[0]);
    eh_free(&gradients[1]);
    eh_model_close(&model);
    eh_backend_close(&backend);
}

static void test_a_step_allocates_nothing(void **state)
{
    (void)state;
    const char *configs[] = {bloom, t5};
    for (int c = 0; c < 2; c++) {
        eh_backend *backend = open_backend();
        eh_model *model = new_model(backend, configs[c], 3, EH_FOR_TRAINING);
        const int32_t ids[] = {1, 5, 6, 7, 8, 9}, rows[] = {0, 1, 4}, labels[] = {5, 6, 9};
        const int64_t offsets[] = {0, 3, 6};
        const float weights[] = {1, 1, 1};
        float scores[3];
        const eh_batch batch = {.sequence_count = 2,
                                .input_ids = ids,
                                .input_offsets = offsets,
                                .decoder_ids = ids,
                                .decoder_offsets = offsets,
                                .label_count = 3,
                                .label_rows = rows,
                                .label_ids = labels,
                                .label_weights = weights};
        int64_t before = 0;
        for (int step = 0; step < 4; step++) {
            if (step == 2) // by then the backend has its scratch
                before = eh_allocation_count();
            assert_int_equal(eh_model_backward(model, &batch, 0.1f, (uint64_t)step, scores), EH_OK);
            assert_int_equal(eh_model_score(model, &batch, scores), EH_OK);
        }
        assert_int_equal(eh_allocation_count(), before);
        eh_model_close(&model);
        eh_backend_close(&backend);
    }
}

// A block that was cleared and one that was filled with zeros end with the same bits, whatever was in them: also where
// the encoder has no rows, a part is frozen, nothing has a label, or a second pass adds to the first.
static void test_a_cleared_gradient_is_zero(void **state)
{
    (void)state;
    static const char *const classifier =
        "{\"model_type\":\"bert\",\"architectures\":[\"BertForSequenceClassification\"],\"vocab_size\":13,"
        "\"hidden_size\":20,\"num_attention_heads\":5,\"num_hidden_layers\":2,\"intermediate_size\":24,"
        "\"max_position_embeddings\":16,\"num_labels\":6}";
    static const struct {
        const char *config, *freeze;
        int64_t rank, labels;
        bool sourceless;
    } cases[] = {
        {.config = bloom, .labels = 3},
        {.config = t5, .labels = 3},
        {.config = t5, .labels = 3, .sourceless = true},
        {.config = bert, .labels = 3},
        {.config = bert, .labels = 3, .freeze = "*query*+*attention.output*"},
        {.config = bloom, .labels = 3, .rank = 2},
        {.config = bert, .labels = 3, .rank = 2},
        {.config = bloom, .labels = 0},
        {.config = classifier, .labels = 2},
    };
    const int32_t ids[] = {1, 5, 6, 7, 8, 9}, rows[] = {0, 1, 4}, firsts[] = {0, 1}, labels[] = {5, 4, 3};
    const int64_t offsets[] = {0, 3, 6}, none[] = {0, 0, 0};
    const float weights[] = {1, 2, 3};
    const size_t case_count = sizeof cases / sizeof *cases;
    for (size_t c = 0; c < 3 * case_count; c++) { // on the host; and on a GPU, if there is one
        const bool on_gpu = c >= case_count;
        const eh_dtype compute = c < 2 * case_count ? EH_F32 : EH_BF16;
        eh_backend *backend = NULL;
        if (on_gpu && eh_backend_open("cuda", 0, 1, &backend) != EH_OK)
            return;
        if (!on_gpu)
            backend = open_backend();
        eh_model *model = NULL;
        float *gradients[2] = {NULL, NULL}, scores[3];
        const eh_adaptation adaptation = {
            .rank = cases[c % case_count].rank, .alpha = 4, .seed = 1, .freeze = cases[c % case_count].freeze};
        if (eh_model_new_shared(backend, cases[c % case_count].config, 5, compute, NULL, &adaptation, &model) != EH_OK)
            fail_msg("%s", eh_error_message());
        assert_int_equal(eh_model_reserve(model, &(eh_batch_limits){32, 32, 8, 32}), EH_OK);
        const eh_batch batch = {.sequence_count = 2,
                                .input_ids = ids,
                                .input_offsets = cases[c % case_count].sourceless ? none : offsets,
                                .decoder_ids = ids,
                                .decoder_offsets = offsets,
                                .label_count = cases[c % case_count].labels,
                                .label_rows = cases[c % case_count].config == classifier ? firsts : rows,
                                .label_ids = labels,
                                .label_weights = weights};
        const eh_tensor block = eh_model_gradients(model);
        const int64_t count = eh_model_gradient_count(model);
        for (int cleared = 0; cleared < 2; cleared++) {
            assert_int_equal(EH_ALLOC(count, &gradients[cleared]), EH_OK);
            assert_int_equal(eh_fill(backend, cleared ? 7 : 0, &block), EH_OK);
            if (cleared)
                assert_int_equal(eh_model_clear_gradients(model), EH_OK);
            for (int pass = 0; pass < 2; pass++)
                assert_int_equal(eh_model_backward(model, &batch, 0, 0, scores), EH_OK);
            assert_int_equal(eh_backend_download(backend, &block, gradients[cleared]), EH_OK);
        }
        double sum = 0;
        for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
            const eh_parameter *parameter = &eh_model_parameters(model)[p]; // what lies between them is nobody's
            for (int64_t i = parameter->gradient; i >= 0 && i < parameter->gradient + parameter->count; i++) {
                if (memcmp(&gradients[0][i], &gradients[1][i], sizeof **gradients) != 0)
                    fail_msg("case %zu, %s: %g and %g", c, parameter->name, gradients[0][i], gradients[1][i]);
                sum += fabs((double)gradients[0][i]);
            }
        }
        assert_true((sum > 0) == (cases[c % case_count].labels > 0));
        eh_free(&gradients[0]);
        eh_free(&gradients[1]);
        eh_model_close(&model);
        eh_backend_close(&backend);
    }
}

// Gradients with dropout, of activations that were kept or computed again.
static float *gradients_of(const char *config, eh_dtype compute, bool recompute, float scores[3])
{
    const int32_t ids[] = {1, 5, 6, 7, 8, 9}, rows[] = {0, 1, 4}, labels[] = {5, 6, 9};
    const int64_t offsets[] = {0, 3, 6};
    const float weights[] = {1, 2, 3};
    const eh_batch batch = {.sequence_count = 2,
                            .input_ids = ids,
                            .input_offsets = offsets,
                            .decoder_ids = ids,
                            .decoder_offsets = offsets,
                            .label_count = 3,
                            .label_rows = rows,
                            .label_ids = labels,
                            .label_weights = weights};
    eh_backend *backend = open_backend();
    eh_model *model = NULL;
    float *gradients = NULL;
    assert_int_equal(eh_model_new(backend, config, 5, compute, EH_FOR_TRAINING, &model), EH_OK);
    eh_model_set_recompute(model, recompute);
    assert_int_equal(eh_model_reserve(model, &(eh_batch_limits){32, 32, 8, 32}), EH_OK);
    const eh_tensor block = eh_model_gradients(model);
    assert_int_equal(EH_ALLOC(eh_model_weight_count(model), &gradients), EH_OK);
    assert_int_equal(eh_model_backward(model, &batch, 0.2f, 9, scores), EH_OK);
    assert_int_equal(eh_backend_download(backend, &block, gradients), EH_OK);
    eh_model_close(&model);
    eh_backend_close(&backend);
    return gradients;
}

static void test_recomputing_changes_no_bit(void **state)
{
    (void)state;
    const char *configs[] = {bloom, t5, bert};
    eh_backend *backend = open_backend();
    for (int i = 0; i < 6; i++) {
        const eh_dtype compute = i % 2 == 0 ? EH_F32 : EH_BF16;
        float kept_scores[3], scores[3], *kept = gradients_of(configs[i / 2], compute, false, kept_scores);
        float *again = gradients_of(configs[i / 2], compute, true, scores);
        eh_model *model = new_model(backend, configs[i / 2], 5, EH_FOR_TRAINING);
        assert_memory_equal(scores, kept_scores, sizeof scores);
        assert_memory_equal(again, kept, (size_t)eh_model_weight_count(model) * sizeof *kept);
        const size_t whole = eh_model_activation_bytes(model, &(eh_batch_limits){32, 32, 8, 32});
        eh_model_set_recompute(model, true);
        assert_true(eh_model_activation_bytes(model, &(eh_batch_limits){32, 32, 8, 32}) < whole);
        eh_free(&kept);
        eh_free(&again);
        eh_model_close(&model);
    }
    eh_backend_close(&backend);
}

static eh_generation sampling(double temperature, int64_t top_k, int64_t samples, int64_t slots)
{
    return (eh_generation){.max_new_tokens = 1,
                           .samples = samples,
                           .sample = true,
                           .temperature = temperature,
                           .top_p = 1,
                           .top_k = top_k,
                           .repetition_penalty = 1,
                           .eos = -1,
                           .seed = 11,
                           .slots = slots};
}

typedef struct {
    int32_t ids[6][12];
    int64_t counts[6];
} texts;

static eh_status keep_text(void *context, const eh_generated *text)
{
    texts *own = context;
    own->counts[text->item] = text->count;
    memcpy(own->ids[text->item], text->ids, (size_t)text->count * sizeof *text->ids);
    return EH_OK;
}

static void test_a_text_does_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    const int32_t prompts[] = {1, 4, 9, 1, 3, 1, 7, 8, 5, 6, 3, 2, 4, 4, 4};
    const int64_t offsets[] = {0, 3, 5, 9, 10, 12, 15}, items[] = {0, 1, 2, 3, 4, 5};
    const char *configs[] = {bloom, t5};
    for (int c = 0; c < 2; c++) {
        eh_backend *backend = open_backend();
        eh_model *model = new_model(backend, configs[c], 5, EH_FOR_INFERENCE);
        texts alone = {.counts = {0}}, together = {.counts = {0}};
        eh_generation settings = sampling(1, 0, 1, 1);
        settings.max_new_tokens = 12;
        settings.eos = 2;
        for (int i = 0; i < 6; i++) {
            const int64_t own[] = {0, offsets[i + 1] - offsets[i]};
            assert_int_equal(eh_generate(model, &settings, 1, prompts + offsets[i], own, items + i, keep_text, &alone),
                             EH_OK);
        }
        settings.slots = 4;
        assert_int_equal(eh_generate(model, &settings, 6, prompts, offsets, items, keep_text, &together), EH_OK);
        assert_memory_equal(&alone, &together, sizeof alone);
        eh_model_close(&model);
        eh_backend_close(&backend);
    }
}

static void expect_refused(const char *folder, const char *words)
{
    eh_backend *backend = open_backend();
    eh_model *model = NULL;
    assert_int_equal(eh_model_open(backend, folder, EH_F32, EH_FOR_INFERENCE, &model), EH_INPUT);
    assert_null(model);
    if (strstr(eh_error_message(), words) == NULL)
        fail_msg("expected '%s' in '%s'", words, eh_error_message());
    eh_backend_close(&backend);
}

static void test_refuses_folders_that_do_not_fit(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_backend *backend = open_backend();
    eh_model *model = new_model(backend, bloom, 5, EH_FOR_TRAINING);
    expect_refused(folder, "config.json");
    assert_int_equal(eh_model_save(model, folder, NULL), EH_OK);
    const char *config = eh_test_path(folder, "config.json");
    eh_test_write_text(config,
                       "{\"model_type\":\"bloom\",\"vocab_size\":14,\"hidden_size\":20,\"n_head\":5,\"n_layer\":3}");
    expect_refused(folder, "has shape [13, 20], config.json asks for [14, 20]");
    eh_test_write_text(config,
                       "{\"model_type\":\"bloom\",\"vocab_size\":13,\"hidden_size\":20,\"n_head\":5,\"n_layer\":4}");
    expect_refused(folder, "tensor 'transformer.h.3.input_layernorm.weight' is missing");
    eh_test_write_text(
        config, "{\"model_type\":\"t5\",\"vocab_size\":13,\"d_model\":1048576,\"num_heads\":32768,\"d_kv\":65535,"
                "\"d_ff\":16777216,\"num_layers\":4096}"); // more weights than 64 bits count
    expect_refused(folder, "these sizes make no model");
    eh_test_write_text(config, "{\"model_type\":\"llama\"}");
    expect_refused(folder, "model_type \"llama\" is not supported");
    eh_test_write_text(config,
                       "{\"model_type\":\"bloom\",\"vocab_size\":13,\"hidden_size\":21,\"n_head\":5,\"n_layer\":3}");
    expect_refused(folder, "does not divide");
    eh_test_write_text(config, bloom);
    assert_int_equal(remove(eh_test_path(folder, "model.safetensors")), 0);
    expect_refused(folder, "has no weights");
    eh_test_write_text(eh_test_path(folder, "model.safetensors.index.json"),
                       "{\"weight_map\":{\"a\":\"../x.safetensors\"}}");
    expect_refused(folder, "is not a file of this folder");
    eh_model_close(&model);
    eh_backend_close(&backend);
    eh_test_folder_remove(&folder);
}

static void test_warns_of_weights_that_are_not_finite(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_backend *backend = open_backend();
    eh_model *model = new_model(backend, bloom, 5, EH_FOR_TRAINING);
    const eh_tensor weights = eh_model_weights(model), first = eh_tensor_rows(&weights, 0, 1);
    const float bad = NAN;
    assert_string_equal(eh_model_warning(model), "");
    assert_int_equal(eh_backend_upload(backend, &bad, &first), EH_OK);
    assert_int_equal(eh_model_save(model, folder, NULL), EH_OK);
    eh_model_close(&model);
    for (int use = 0; use < 2; use++) {
        assert_int_equal(eh_model_open(backend, folder, EH_F32, (eh_model_use)use, &model), EH_OK);
        assert_non_null(strstr(eh_model_warning(model), "word_embeddings.weight' holds 1 values that are NaN"));
        eh_model_close(&model);
    }
    eh_backend_close(&backend);
    eh_test_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_weights_are_a_function_of_the_seed),
        cmocka_unit_test(test_a_shared_prefix_changes_nothing),
        cmocka_unit_test(test_a_step_allocates_nothing),
        cmocka_unit_test(test_a_cleared_gradient_is_zero),
        cmocka_unit_test(test_recomputing_changes_no_bit),
        cmocka_unit_test(test_a_text_does_not_depend_on_its_neighbours),
        cmocka_unit_test(test_refuses_folders_that_do_not_fit),
        cmocka_unit_test(test_warns_of_weights_that_are_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
