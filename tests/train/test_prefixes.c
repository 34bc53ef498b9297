// A training that reads what prompts begin with once has the losses and gradients of one that reads it with each
// example.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "support/cmocka.h"
#include "train/trainer.h"

enum { EXAMPLES = 10, LONGEST = 16 };

static eh_comm *comm;

static const char *const bloom = "{\"model_type\":\"bloom\",\"vocab_size\":40,\"hidden_size\":20,\"n_head\":5,"
                                 "\"n_layer\":3,\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2}";
static const char *const gpt2 = "{\"model_type\":\"gpt2\",\"vocab_size\":40,\"n_embd\":20,\"n_head\":5,\"n_layer\":3,"
                                "\"n_positions\":32,\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2}";

// Two templates, an example that begins with neither, and one whose labels begin inside the template.
static void fill(eh_training_set *set)
{
    static const int32_t templates[2][7] = {{5, 6, 7, 8, 9, 10, 11}, {5, 6, 20, 21, 22, 23, 24}};
    const eh_job_data data = {.name = "test"};
    eh_examples examples = {0};
    for (int32_t e = 0; e < EXAMPLES; e++) {
        int32_t input[LONGEST], target[3] = {30 + e % 7, 25, 2};
        int64_t count = e % 2 == 0 ? 7 : 6;
        memcpy(input, templates[e % 2], sizeof templates[0]);
        if (e == 3)
            input[0] = 39;
        for (int32_t i = 0; i < 1 + e % 4; i++) input[count++] = 12 + (7 * e + 3 * i) % 8;
        if (e == 8)
            count = 5;
        const eh_example example = {.input = input,
                                    .input_count = count,
                                    .target = target,
                                    .target_count = 3,
                                    .split = e == 4 || e == 6 ? EH_SPLIT_HOLDOUT : EH_SPLIT_TRAIN,
                                    .text = ""};
        assert_int_equal(eh_examples_add(&examples, &example), EH_OK);
    }
    assert_int_equal(eh_training_set_add(set, &data, "append", &examples), EH_OK);
    eh_examples_deinit(&examples);
}

typedef struct {
    double loss, norm, holdout;
    float *gradient;
    int64_t count;
    bool shared; // the last micro-batch had prefixes
} results;

static results train(const char *device, const char *config, int64_t micro_batches, double dropout)
{
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    eh_training_set set;
    eh_trainer trainer;
    eh_step_outcome outcome;
    double general;
    results found = {0};
    const eh_job job = {.train = {.epochs = 1,
                                  .batch = 8,
                                  .micro_batches = micro_batches,
                                  .lr = 1e-3,
                                  .schedule = (char[]){"linear"},
                                  .optimizer = (char[]){"adamw"},
                                  .reduction = (char[]){"tree"},
                                  .beta2 = 0.999,
                                  .eps = 1e-8,
                                  .dropout = dropout,
                                  .clip = 1}};
    assert_int_equal(eh_backend_open(device, 0, 2, &backend), EH_OK);
    if (eh_model_new(backend, config, 3, EH_F32, EH_FOR_TRAINING, &model) != EH_OK)
        fail_msg("%s", eh_error_message());
    const eh_model_facts facts = eh_model_facts_of(model);
    assert_int_equal(eh_training_set_init(&facts, &set), EH_OK);
    fill(&set);
    assert_int_equal(eh_trainer_init(comm, backend, model, &job, &set, &trainer), EH_OK);
    eh_batches_plan(&trainer.batches, 0);
    assert_int_equal(eh_trainer_gradients(&trainer, false, &outcome), EH_OK);
    found.shared = trainer.packed.batch.prefix != NULL;
    found.loss = outcome.loss;
    found.norm = outcome.gradient_norm;
    found.count = eh_model_gradient_count(model);
    assert_int_equal(EH_ALLOC(found.count, &found.gradient), EH_OK);
    assert_int_equal(eh_backend_download(backend, &trainer.gradient, found.gradient), EH_OK);
    assert_int_equal(eh_trainer_holdout(&trainer, &found.holdout, &general), EH_OK);
    assert_true(micro_batches > 1 || (trainer.packed.batch.prefix != NULL)); // the two held out begin alike
    eh_trainer_deinit(&trainer);
    eh_training_set_deinit(&set);
    eh_model_close(&model);
    eh_backend_close(&backend);
    return found;
}

static void test_gradients_are_those_of_whole_examples(void **state)
{
    (void)state;
    const char *devices[] = {"cpu", "reference"}, *configs[] = {bloom, gpt2};
    for (int d = 0; d < 2; d++)
        for (int c = 0; c < 2; c++) {
            results shared = train(devices[d], configs[c], 1, 0), alone = train(devices[d], configs[c], 8, 0);
            assert_true(shared.shared && !alone.shared);
            assert_int_equal(shared.count, alone.count);
            assert_true(alone.norm > 0.1);
            assert_true(fabs(shared.loss - alone.loss) <= 1e-6 * alone.loss);
            assert_true(fabs(shared.holdout - alone.holdout) <= 1e-6 * alone.holdout);
            assert_true(fabs(shared.norm - alone.norm) <= 1e-5 * alone.norm);
            for (int64_t i = 0; i < alone.count; i++)
                assert_true(fabs((double)shared.gradient[i] - (double)alone.gradient[i]) <= 1e-6 * alone.norm);
            eh_free(&shared.gradient);
            eh_free(&alone.gradient);
        }
}

// With dropout each example has masks of its own. BLOOM's own rates are 0, GPT-2's are not.
static void test_nothing_is_shared_where_something_drops(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        double dropout;
        bool shares;
    } cases[] = {{bloom, -1, true}, {bloom, 0.1, false}, {gpt2, 0, true}, {gpt2, -1, false}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        results its = train("cpu", cases[c].config, 1, cases[c].dropout);
        assert_int_equal(its.shared, cases[c].shares);
        eh_free(&its.gradient);
    }
}

int main(int argc, char **argv)
{
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_are_those_of_whole_examples),
        cmocka_unit_test(test_nothing_is_shared_where_something_drops),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_comm_end(&comm);
    return failed;
}
