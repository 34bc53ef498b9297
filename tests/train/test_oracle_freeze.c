// Which weights each group of train.freeze lets learn, on the oracle's models, and that the others stay bit for bit.
#include "train/freeze.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka.h"
#include "support/folder.h"

static eh_backend *backend;

static eh_model *open_model(const char *name)
{
    const char *shared = eh_test_shared();
    if (shared == NULL) {
        print_message("SKIPPED TEST: no oracle fixtures\n");
        skip();
    }
    char path[600];
    eh_model *model = NULL;
    snprintf(path, sizeof path, "%s/oracle/fixtures/models/%s", shared, name);
    if (eh_model_open(backend, path, EH_F32, EH_FOR_TRAINING, &model) != EH_OK)
        fail_msg("%s", eh_error_message());
    return model;
}

// Trained parameters, and one that must and one that must not be among them.
static void check_groups(const char *model_name, const char *words, int64_t trained, const char *with,
                         const char *without)
{
    eh_model *model = open_model(model_name);
    char *method = (char[]){"freeze"}, text[64];
    snprintf(text, sizeof text, "%s", words);
    const eh_job_train train = {.method = method, .freeze = text};
    assert_int_equal(eh_freeze(&train, model), EH_OK);
    int64_t count = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        count += parameter->trains;
        if (strcmp(parameter->name, with) == 0)
            assert_true(parameter->trains);
        if (strcmp(parameter->name, without) == 0)
            assert_false(parameter->trains);
    }
    assert_int_equal(count, trained);
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

static void test_refuses_a_word_that_fits_nothing(void **state)
{
    (void)state;
    eh_model *model = open_model("bloom-a");
    const eh_job_train train = {.method = (char[]){"freeze"}, .freeze = (char[]){"norms+positions"}};
    assert_int_equal(eh_freeze(&train, model), EH_INPUT); // ALiBi has no position embeddings
    assert_non_null(strstr(eh_error_message(), "'positions' fits no weight"));
    eh_model_close(&model);
}

int main(void)
{
    if (eh_backend_open("cpu", 0, 1, &backend) != EH_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups),
                                       cmocka_unit_test(test_refuses_a_word_that_fits_nothing)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_backend_close(&backend);
    return failed;
}
