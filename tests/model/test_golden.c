// The project's own golden set (tests/data/make_golden.py), which needs nothing beside the checkout.
#include <stdio.h>
#include <stdlib.h>

#include "model/conform.h"
#include "support/cmocka.h"

static void run(const char *device)
{
    char folder[4096];
    eh_conform_result result;
    const char *source = getenv("EVENHAND_SOURCE");
    snprintf(folder, sizeof folder, "%s/tests/data/golden", source != NULL ? source : ".");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_models_conform_on_the_reference),
        cmocka_unit_test(test_golden_models_conform_on_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
