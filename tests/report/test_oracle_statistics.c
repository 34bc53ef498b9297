// Every statistic against SciPy and statsmodels on random data: the numbers go into a file of lines "name arguments |
// result" that check_statistics.py recomputes.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/philox.h"
#include "metrics/metric.h"
#include "report/bootstrap.h"
#include "report/statistics.h"
#include "support/cmocka.h"
#include "support/folder.h"

#define SEED 20261124

static double uniform(uint64_t index)
{
    return eh_random_uniform(SEED, EH_STREAM_TEST, index);
}

static double normal(uint64_t index)
{
    return eh_random_normal(SEED, EH_STREAM_TEST, index);
}

static void print_all(FILE *file, const char *name, const double *values, int64_t count)
{
    fprintf(file, " %s", name);
    for (int64_t i = 0; i < count; i++) fprintf(file, "%s%.17g", i == 0 ? "=" : ",", values[i]);
}

static void write_distributions(FILE *file)
{
    for (uint64_t i = 0; i < 200; i++) {
        const double z = 12 * uniform(i) - 6, degrees = exp(8 * uniform(i + 1000)) - 0.5 * uniform(i),
                     p = uniform(i + 2000);
        fprintf(file, "normal_cdf z=%.17g | %.17g\n", z, eh_normal_cdf(z));
        fprintf(file, "normal_quantile p=%.17g | %.17g\n", p, eh_normal_quantile(p));
        fprintf(file, "student_cdf t=%.17g df=%.17g | %.17g\n", z, degrees, eh_student_cdf(z, degrees));
        fprintf(file, "student_quantile p=%.17g df=%.17g | %.17g\n", p, degrees, eh_student_quantile(p, degrees));
    }
}

static void write_tests(FILE *file)
{
    for (uint64_t i = 0; i < 200; i++) {
        const int64_t count = 1 + (int64_t)(400 * uniform(i)), hits = (int64_t)((double)(count + 1) * uniform(i + 300));
        const eh_interval wilson = eh_wilson(hits, count, 0.95);
        fprintf(file, "wilson hits=%lld count=%lld | %.17g %.17g\n", (long long)hits, (long long)count, wilson.low,
                wilson.high);
        const int64_t b = (int64_t)(60 * uniform(i + 600)), c = (int64_t)(60 * uniform(i + 900));
        const eh_mcnemar mcnemar = eh_mcnemar_test(b, c);
        fprintf(file, "mcnemar b=%lld c=%lld | %.17g %.17g\n", (long long)b, (long long)c, mcnemar.exact, mcnemar.mid);
        const double effect = normal(i), error = 0.1 + uniform(i + 1200), margin = 2 * uniform(i + 1500);
        const double degrees = 1 + floor(40 * uniform(i + 1800));
        fprintf(file, "equivalence effect=%.17g error=%.17g df=%.17g margin=%.17g | %.17g %.17g\n", effect, error,
                degrees, margin, eh_equivalence_test(effect, error, degrees, margin),
                eh_equivalence_test(effect, error, 0, margin));
    }
}

static void write_permutations(FILE *file)
{
    double differences[40];
    for (uint64_t i = 0; i < 12; i++) {
        const int64_t count = i < 8 ? 2 + (int64_t)i : 20 + (int64_t)i;
        for (int64_t d = 0; d < count; d++) differences[d] = 0.4 + normal(100 * i + (uint64_t)d);
        print_all(file, i < 8 ? "sign_flip_exact values" : "sign_flip_random values", differences, count);
        fprintf(file, " | %.17g\n", eh_sign_flip_test(differences, count, 20000, SEED));
    }
}

static void write_families(FILE *file)
{
    double p[30], holm[30], hochberg[30];
    for (uint64_t i = 0; i < 20; i++) {
        const int64_t count = 1 + (int64_t)(29 * uniform(i));
        for (int64_t k = 0; k < count; k++) p[k] = pow(uniform(40 * i + (uint64_t)k), 3);
        if (count > 3)
            p[1] = p[2]; // ties
        assert_int_equal(eh_adjust_holm(p, count, holm), EH_OK);
        assert_int_equal(eh_adjust_benjamini_hochberg(p, count, hochberg), EH_OK);
        print_all(file, "families p", p, count);
        print_all(file, "holm", holm, count);
        print_all(file, "bh", hochberg, count);
        fprintf(file, " | 0\n");
    }
}

static void write_lines(FILE *file)
{
    double x[50], y[50], variances[50];
    for (uint64_t i = 0; i < 20; i++) {
        const int64_t count = 3 + (int64_t)(47 * uniform(i));
        for (int64_t k = 0; k < count; k++) {
            x[k] = normal(60 * i + (uint64_t)k);
            y[k] = 0.8 * x[k] + normal(7000 + 60 * i + (uint64_t)k);
            variances[k] = uniform(60 * i + (uint64_t)k);
        }
        const eh_line line = eh_fit_line(x, y, count);
        print_all(file, "line x", x, count);
        print_all(file, "y", y, count);
        fprintf(file, " | %.17g %.17g %.17g %.17g %.17g %.17g\n", line.slope, line.intercept, line.r_squared,
                line.slope_error, line.slope_interval.low, line.slope_interval.high);
        const eh_seed_spread spread = eh_seed_spread_of(y, variances, count);
        print_all(file, "seeds y", y, count);
        print_all(file, "variances", variances, count);
        fprintf(file, " | %.17g %.17g %.17g %.17g %.17g %.17g\n", spread.mean, spread.between, spread.within,
                spread.total, spread.interval.low, spread.interval.high);
    }
}

// --- BCa: the mean of skewed values, each a cluster of its own ---
enum { BCA_ITEMS = 60 };

static void summarise_mean(const eh_sample *sample, const double *totals, int64_t cluster_count, eh_figure *figures)
{
    double sum = 0, count = 0;
    for (int64_t c = 0; c < cluster_count * sample->stratum_count; c++) {
        count += totals[2 * c];
        sum += totals[2 * c + 1];
    }
    figures[0] = (eh_figure){.value = sum / count, .n = (int64_t)count};
}

static const eh_metric mean_metric = {.name = "test/mean", .summarise = summarise_mean};

static eh_estimate estimate_mean(double *values)
{
    int64_t ids[BCA_ITEMS], cluster_first[BCA_ITEMS + 1];
    int32_t clusters[BCA_ITEMS], strata[BCA_ITEMS] = {0};
    double totals[BCA_ITEMS * 2];
    uint8_t scopes[1] = {1};
    eh_figure_info figure = {.kind = EH_FIGURE_MEAN};
    for (int i = 0; i < BCA_ITEMS; i++) {
        ids[i] = cluster_first[i] = i;
        clusters[i] = i;
        totals[2 * i] = 1;
        totals[2 * i + 1] = values[i];
    }
    cluster_first[BCA_ITEMS] = BCA_ITEMS;
    const eh_sample sample = {.metric = &mean_metric,
                              .item_count = BCA_ITEMS,
                              .cluster_count = BCA_ITEMS,
                              .stratum_count = 1,
                              .value_count = 1,
                              .ids = ids,
                              .clusters = clusters,
                              .strata = strata,
                              .cluster_first = cluster_first,
                              .values = values,
                              .scope_count = 1,
                              .scopes = scopes,
                              .figure_count = 1,
                              .figures = &figure,
                              .totals = totals};
    eh_estimate estimate;
    assert_int_equal(
        eh_bootstrap_sample(&sample, &(eh_bootstrap_settings){.replicates = 20000, .seed = SEED}, &estimate), EH_OK);
    return estimate;
}

static void write_bca(FILE *file)
{
    double values[BCA_ITEMS];
    for (uint64_t i = 0; i < 4; i++) {
        for (int64_t k = 0; k < BCA_ITEMS; k++) values[k] = exp(1.2 * normal(9000 + 100 * i + (uint64_t)k));
        const eh_estimate e = estimate_mean(values);
        print_all(file, "bca values", values, BCA_ITEMS);
        fprintf(file, " | %.17g %.17g %.17g %.17g\n", e.bca.low, e.bca.high, e.interval.low, e.interval.high);
    }
}

static void test_statistics_agree_with_scipy_and_statsmodels(void **state)
{
    (void)state;
    const char *source = getenv("EVENHAND_SOURCE");
    assert_non_null(source);
    char *folder = eh_test_folder_new();
    const char *path = eh_test_path(folder, "statistics.txt");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    write_distributions(file);
    write_tests(file);
    write_permutations(file);
    write_families(file);
    write_lines(file);
    write_bca(file);
    assert_int_equal(fclose(file), 0);
    char command[9000];
    snprintf(command, sizeof command, "bash '%s/tests/support/python.sh' '%s/tests/report/check_statistics.py' '%s'",
             source, source, path);
    const int code = system(command);
    eh_test_folder_remove(&folder);
    assert_int_equal(code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_statistics_agree_with_scipy_and_statsmodels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
