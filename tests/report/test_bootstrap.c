// The cluster bootstrap on samples made by hand: intervals of known answers, coverage on simulated data, the same
// numbers on any number of threads.
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/philox.h"
#include "metrics/metric.h"
#include "metrics/sample_internal.h"
#include "report/bootstrap.h"
#include "report/resample.h"
#include "support/close.h"
#include "support/cmocka.h"

// A metric of one value: figure 0 is the mean over items (micro), figure 1 the mean over clusters of their means
// (macro).
static void summarise_means(const eh_sample *sample, const double *totals, int64_t cluster_count, eh_figure *figures)
{
    double sum = 0, count = 0, means = 0, used = 0;
    for (int64_t c = 0; c < cluster_count; c++) {
        double own = 0, items = 0;
        for (int64_t s = 0; s < sample->stratum_count; s++) {
            const double *cell = totals + (c * sample->stratum_count + s) * (1 + sample->value_count);
            items += cell[0];
            own += cell[1];
        }
        sum += own;
        count += items;
        means += items > 0 ? own / items : 0;
        used += items > 0;
    }
    figures[0] = (eh_figure){count > 0 ? sum / count : NAN, (int64_t)count};
    figures[1] = (eh_figure){used > 0 ? means / used : NAN, (int64_t)count};
}

static const eh_metric means = {.name = "test/means", .summarise = summarise_means};

enum { MOST_CLUSTERS = 100, MOST_ITEMS = 5000 };
typedef struct {
    eh_sample sample;
    int64_t ids[MOST_ITEMS], cluster_first[MOST_CLUSTERS + 1];
    int32_t clusters[MOST_ITEMS], strata[MOST_ITEMS];
    double values[MOST_ITEMS], totals[MOST_CLUSTERS * 2 * 2];
    uint8_t scopes[2];
    eh_figure_info figures[2];
} made_sample;

// clusters x items, all in one stratum (or by halves of the clusters in two); values are filled in later.
static void make_sample(made_sample *made, int64_t cluster_count, int64_t items_each, int64_t stratum_count)
{
    memset(made, 0, sizeof *made);
    made->sample = (eh_sample){.metric = &means,
                               .item_count = cluster_count * items_each,
                               .cluster_count = cluster_count,
                               .stratum_count = stratum_count,
                               .value_count = 1,
                               .ids = made->ids,
                               .clusters = made->clusters,
                               .strata = made->strata,
                               .cluster_first = made->cluster_first,
                               .values = made->values,
                               .scope_count = 1,
                               .scopes = made->scopes,
                               .figure_count = 2,
                               .figures = made->figures,
                               .totals = made->totals};
    for (int64_t i = 0; i < cluster_count * items_each; i++) {
        made->ids[i] = i;
        made->clusters[i] = (int32_t)(i / items_each);
        made->strata[i] = (int32_t)(i / items_each * stratum_count / cluster_count);
    }
    for (int64_t c = 0; c <= cluster_count; c++) made->cluster_first[c] = c * items_each;
    made->scopes[0] = made->scopes[1] = 1;
}

static void add_up(made_sample *made)
{
    memset(made->totals, 0, sizeof made->totals);
    for (int64_t i = 0; i < made->sample.item_count; i++) {
        double *cell = made->totals + (made->clusters[i] * made->sample.stratum_count + made->strata[i]) * 2;
        cell[0] += 1;
        eh_sample_combine(&made->sample, cell, made->values + i);
    }
}

// Shares of stereotyped choices: each cluster has its own probability, `spread` apart around 0.5 on the logit scale.
static double fill_choices(made_sample *made, double spread, uint64_t simulation)
{
    for (int64_t i = 0; i < made->sample.item_count; i++) {
        const uint64_t cluster = simulation << 32 | (uint64_t)made->clusters[i];
        const double p = 1 / (1 + exp(-spread * eh_random_normal(5, EH_STREAM_TEST, cluster)));
        made->values[i] = eh_random_uniform(6, EH_STREAM_TEST, simulation << 32 | (uint64_t)i) < p;
    }
    add_up(made);
    return 0.5; // the true mean, by symmetry
}

typedef struct {
    double interval, bca, two_stage;
} coverage;

static coverage simulate(int64_t cluster_count, int64_t items_each, double spread, uint64_t simulations)
{
    static made_sample made;
    coverage share = {0};
    make_sample(&made, cluster_count, items_each, 1);
    for (uint64_t simulation = 0; simulation < simulations; simulation++) {
        const double truth = fill_choices(&made, spread, simulation);
        const eh_bootstrap_settings settings = {.replicates = 1000, .seed = simulation};
        eh_estimate estimates[2];
        assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, estimates), EH_OK);
        const eh_estimate *e = &estimates[1];
        share.interval += e->interval.low <= truth && truth <= e->interval.high;
        share.bca += e->bca.low <= truth && truth <= e->bca.high;
        share.two_stage += e->two_stage.low <= truth && truth <= e->two_stage.high;
    }
    const double percent = 100 / (double)simulations;
    return (coverage){share.interval * percent, share.bca * percent, share.two_stage * percent};
}

static void test_intervals_cover_95_percent_of_simulated_truths(void **state)
{
    (void)state;
    const double spreads[] = {0, 0.3, 1.5};
    for (int k = 0; k < 3; k++) {
        const coverage share = simulate(60, 4, spreads[k], 2000);
        printf("terms spread by %.1f logits: percentile %.2f %%, BCa %.2f %%, two-stage uncalibrated %.2f %%\n",
               spreads[k], share.interval, share.bca, share.two_stage);
        assert_close(share.interval, 95, 1);
        assert_close(share.bca, 95, 1);
        assert_true(share.two_stage >= 94);
    }
}

static void test_standard_error_of_single_items_is_the_textbooks(void **state)
{
    (void)state;
    static made_sample made;
    make_sample(&made, 100, 1, 1);
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < 100; i++) mean += (made.values[i] = eh_random_normal(1, EH_STREAM_TEST, (uint64_t)i)) / 100;
    for (int64_t i = 0; i < 100; i++) squares += (made.values[i] - mean) * (made.values[i] - mean);
    add_up(&made);
    eh_estimate estimates[2];
    const eh_bootstrap_settings settings = {.replicates = 40000, .seed = 1};
    assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, estimates), EH_OK);
    assert_close(estimates[0].value, mean, 1e-15);
    assert_close(estimates[0].standard_error, sqrt(squares / 100 / 100), 0.001);
    assert_close(estimates[0].interval.low, mean - 1.96 * sqrt(squares) / 100, 0.01);
    assert_close(estimates[0].interval.high, mean + 1.96 * sqrt(squares) / 100, 0.01);
    assert_close(estimates[0].two_stage.low, estimates[0].interval.low, 0);
}

static void test_a_pair_cancels_what_both_share(void **state)
{
    (void)state;
    static made_sample before, after;
    make_sample(&before, 30, 10, 1);
    make_sample(&after, 30, 10, 1);
    for (uint64_t i = 0; i < 300; i++) {
        before.values[i] = 10 * eh_random_normal(2, EH_STREAM_TEST, i);
        after.values[i] = before.values[i] + 1 + 0.1 * eh_random_normal(3, EH_STREAM_TEST, i);
    }
    add_up(&before);
    add_up(&after);
    eh_estimate first[2], difference[2];
    eh_replicates draws[2];
    const eh_bootstrap_settings settings = {.replicates = 2000, .seed = 9};
    assert_int_equal(eh_replicates_draw(&before.sample, &settings, &draws[0]), EH_OK);
    assert_int_equal(eh_replicates_draw(&after.sample, &settings, &draws[1]), EH_OK);
    assert_int_equal(eh_replicates_estimate(&draws[0], first), EH_OK);
    assert_int_equal(eh_replicates_compare(&draws[0], &draws[1], difference), EH_OK);
    assert_close(difference[0].value, 1, 0.05);
    assert_true(difference[0].interval.low > 0.95 && difference[0].interval.high < 1.05);
    assert_true(first[0].standard_error > 0.3);
    assert_true(difference[0].p < 0.001);
    after.ids[7] = 1000;
    assert_int_equal(eh_replicates_compare(&draws[0], &draws[1], difference), EH_INPUT);
    eh_replicates_deinit(&draws[0]);
    eh_replicates_deinit(&draws[1]);
}

static void test_figures_without_a_value_get_no_interval(void **state)
{
    (void)state;
    static made_sample made;
    make_sample(&made, 4, 2, 1);
    made.values[0] = NAN;
    add_up(&made);
    eh_estimate estimates[2];
    const eh_bootstrap_settings settings = {.replicates = 100, .seed = 1};
    assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, estimates), EH_OK);
    assert_true(isnan(estimates[0].value) && isnan(estimates[0].interval.low) && isnan(estimates[0].p));
    assert_true(estimates[0].lost > 0);
}

static void test_draws_keep_every_domain_and_its_size(void **state)
{
    (void)state;
    static made_sample made;
    make_sample(&made, 20, 5, 2);
    eh_resampler resampler;
    assert_int_equal(eh_resampler_init(&made.sample, &resampler), EH_OK);
    assert_int_equal(resampler.class_count, 2);
    double totals[20 * 2 * 2];
    for (int64_t r = 0; r < 50; r++) {
        double counts[2] = {0};
        eh_resample_two_stage(&resampler, &made.sample, 1, r, totals);
        for (int64_t c = 0; c < 20; c++)
            for (int64_t s = 0; s < 2; s++) counts[s] += totals[(c * 2 + s) * 2];
        assert_close(counts[0], 50, 0);
        assert_close(counts[1], 50, 0);
    }
    eh_resampler_deinit(&resampler);
}

static void test_threads_do_not_change_the_numbers(void **state)
{
    (void)state;
    static made_sample made;
    make_sample(&made, 25, 8, 1);
    fill_choices(&made, 1, 77);
    const eh_bootstrap_settings settings = {.replicates = 1000, .seed = 4};
    eh_estimate one[2], three[2];
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, one), EH_OK);
    omp_set_num_threads(3);
    assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, three), EH_OK);
    omp_set_num_threads(threads);
    assert_memory_equal(one, three, sizeof one);
}

// A metric of sums alone gets one row of totals, and the same intervals but for the order of additions.
static void test_pooled_totals_give_the_same_intervals(void **state)
{
    (void)state;
    static const eh_metric pooled = {.name = "test/pooled", .summarise = summarise_means, .pooled = true};
    static made_sample made;
    make_sample(&made, 40, 5, 2);
    fill_choices(&made, 1, 1);
    const eh_bootstrap_settings settings = {.replicates = 500, .seed = 4};
    eh_estimate apart[2], together[2];
    assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, apart), EH_OK);
    eh_sample copy = made.sample;
    copy.metric = &pooled;
    assert_int_equal(eh_bootstrap_sample(&copy, &settings, together), EH_OK);
    assert_close(together[0].value, apart[0].value, 1e-12);
    assert_close(together[0].standard_error, apart[0].standard_error, 1e-12);
    assert_close(together[0].interval.low, apart[0].interval.low, 1e-12);
    assert_close(together[0].interval.high, apart[0].interval.high, 1e-12);
    assert_close(together[0].bca.low, apart[0].bca.low, 1e-12);
}

// Figure 0 is the largest value, figure 1 the number of items: a maximum is not added up, pooled or not.
static void summarise_maximum(const eh_sample *sample, const double *totals, int64_t cluster_count, eh_figure *figures)
{
    double sums[2];
    eh_sample_scope_sums(sample, totals, cluster_count, 0, sums);
    figures[0] = (eh_figure){sums[1], (int64_t)sums[0]};
    figures[1] = (eh_figure){sums[0], (int64_t)sums[0]};
}

static void test_pooled_maxima_stay_maxima(void **state)
{
    (void)state;
    static const eh_metric apart = {.name = "test/apart", .summarise = summarise_maximum};
    static const eh_metric pooled = {.name = "test/pooled", .summarise = summarise_maximum, .pooled = true};
    static made_sample made;
    make_sample(&made, 40, 5, 2);
    made.sample.maximum_count = 1;
    for (int64_t i = 0; i < made.sample.item_count; i++)
        made.values[i] = eh_random_uniform(6, EH_STREAM_TEST, (uint64_t)i);
    add_up(&made);
    const eh_bootstrap_settings settings = {.replicates = 500, .seed = 4};
    eh_estimate expected[2], found[2];
    made.sample.metric = &apart;
    assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, expected), EH_OK);
    made.sample.metric = &pooled;
    assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, found), EH_OK);
    assert_true(expected[0].value < 1 && expected[0].standard_error > 0);
    assert_close(found[0].value, expected[0].value, 0);
    assert_close(found[0].standard_error, expected[0].standard_error, 1e-12);
    assert_close(found[0].bca.low, expected[0].bca.low, 1e-12);
    assert_close(found[0].bca.high, expected[0].bca.high, 1e-12);
}

// The size of StereoSet: 79 terms, 4,229 items; the time is printed.
static void test_ten_thousand_replicates(void **state)
{
    (void)state;
    static made_sample made;
    make_sample(&made, 79, 54, 1);
    fill_choices(&made, 1, 1);
    const eh_bootstrap_settings settings = {.replicates = 10000, .seed = 4};
    eh_estimate estimates[2];
    const double began = eh_seconds();
    assert_int_equal(eh_bootstrap_sample(&made.sample, &settings, estimates), EH_OK);
    printf("10,000 replicates of %lld items in %.2f s on %d threads\n", (long long)made.sample.item_count,
           eh_seconds() - began, omp_get_max_threads());
    assert_true(estimates[0].interval.low < estimates[0].value && estimates[0].value < estimates[0].interval.high);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intervals_cover_95_percent_of_simulated_truths),
        cmocka_unit_test(test_standard_error_of_single_items_is_the_textbooks),
        cmocka_unit_test(test_a_pair_cancels_what_both_share),
        cmocka_unit_test(test_figures_without_a_value_get_no_interval),
        cmocka_unit_test(test_draws_keep_every_domain_and_its_size),
        cmocka_unit_test(test_threads_do_not_change_the_numbers),
        cmocka_unit_test(test_pooled_totals_give_the_same_intervals),
        cmocka_unit_test(test_pooled_maxima_stay_maxima),
        cmocka_unit_test(test_ten_thousand_replicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
