// GPT-2's published StereoSet predictions: PROTOCOL part 5 gives the intervals that the two-stage bootstrap has on
// them, computed by other means. Two bootstraps of 10,000 differ by a few tenths of a point.
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/memory.h"
#include "metrics/metric.h"
#include "metrics/stereoset_predictions.h"
#include "report/bootstrap.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/folder.h"

static void check(const eh_sample *sample, const eh_estimate *estimates, const char *scope, double value, double low,
                  double high, double bound)
{
    const int64_t figure = eh_sample_find(sample, "stereoset/official-macro/SS", "official", scope);
    assert_true(figure >= 0);
    const eh_estimate *e = &estimates[figure];
    printf("%s: SS %.2f, two-stage [%.2f, %.2f], calibrated [%.2f, %.2f], BCa [%.2f, %.2f], n = %lld\n", scope,
           e->value, e->two_stage.low, e->two_stage.high, e->interval.low, e->interval.high, e->bca.low, e->bca.high,
           (long long)e->n);
    assert_close(e->value, value, 0.01);
    assert_close(e->two_stage.low, low, bound);
    assert_close(e->two_stage.high, high, bound);
    assert_true(e->interval.low >= e->two_stage.low && e->interval.high <= e->two_stage.high);
}

static void test_gpt2_has_the_protocols_intervals(void **state)
{
    (void)state;
    const char *shared = eh_test_shared();
    char dev[4096], predictions[4096];
    snprintf(dev, sizeof dev, "%s/datasets/stereoset/dev.json", shared == NULL ? "" : shared);
    snprintf(predictions, sizeof predictions, "%s/datasets/stereoset/predictions/predictions_gpt2_ModelNSP_GPT2LM.json",
             shared == NULL ? "" : shared);
    if (!eh_test_exists(dev) || !eh_test_exists(predictions)) {
        printf("SKIPPED TEST: no published predictions of GPT-2\n");
        skip();
    }
    eh_score_table table = {0};
    eh_sample sample = {0};
    eh_estimate *estimates = NULL;
    assert_int_equal(eh_stereoset_predictions(dev, predictions, &table), EH_OK);
    assert_int_equal(eh_metric_sample(&table, &sample), EH_OK);
    assert_int_equal(EH_ALLOC(sample.figure_count, &estimates), EH_OK);
    const eh_bootstrap_settings settings = {.replicates = 10000, .seed = 2023};
    const double began = eh_seconds();
    assert_int_equal(eh_bootstrap_sample(&sample, &settings, estimates), EH_OK);
    printf("%lld figures, 10,000 replicates: %.2f s\n", (long long)sample.figure_count, eh_seconds() - began);
    check(&sample, estimates, "intrasentence", 61.93, 58.9, 65.0, 0.3);
    check(&sample, estimates, "intrasentence/gender", 62.67, 54.4, 70.6, 0.6);
    check(&sample, estimates, "intrasentence/religion", 58.02, 42.4, 72.7, 1.2);
    eh_free(&estimates);
    eh_sample_deinit(&sample);
    eh_score_table_deinit(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gpt2_has_the_protocols_intervals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
