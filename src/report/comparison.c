// Paired differences and their p-values. The test follows the figure: where it is a mean over clusters (weighted or
// not), the signs of the clusters' contributions are flipped; where every item is a cluster of its own and a hit or a
// miss, McNemar; otherwise (ICAT, ratios) the bootstrap.
#include "report/comparison.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/memory.h"

#define SIGN_FLIPS_MAIN 10000 // for the figures of the laid-out tables
#define SIGN_FLIPS 2000       // for the others

void eh_comparison_deinit(eh_comparison *comparison)
{
    eh_free(&comparison->differences);
    eh_free(&comparison->on_average);
    eh_free(&comparison->p);
    eh_free(&comparison->tests);
    eh_free(&comparison->mcnemar);
    eh_free(&comparison->p_table);
    eh_free(&comparison->p_all);
    eh_free(&comparison->trouble);
}

typedef struct {
    const eh_sample *from, *to;
    const eh_figure *from_figures, *to_figures; // [figure_count]
    const double *from_clusters, *to_clusters;  // [figure_count, cluster_count]
    double *contributions;                      // [cluster_count] scratch
    double *weights;                            // [cluster_count] scratch: items in scope
    uint64_t seed;
} pairing;

static bool in_scope(const eh_sample *sample, int64_t figure, int64_t item)
{
    const eh_figure_info *info = &sample->figures[figure];
    return sample->scopes[info->scope_index * sample->stratum_count + sample->strata[item]] != 0;
}

// McNemar on an item value that is 0 or 1 in both phases; false if it is not such a value.
static bool mcnemar(const pairing *pair, int64_t figure, double *mid)
{
    const eh_sample *from = pair->from, *to = pair->to;
    const int64_t value = from->figures[figure].item_value;
    if (value < 0)
        return false;
    int64_t lost = 0, gained = 0;
    for (int64_t i = 0; i < from->item_count; i++) {
        if (!in_scope(from, figure, i))
            continue;
        const double x = from->values[i * from->value_count + value], y = to->values[i * to->value_count + value];
        if ((x != 0 && x != 1) || (y != 0 && y != 1))
            return false;
        lost += x > y;
        gained += y > x;
    }
    *mid = eh_mcnemar_test(lost, gained).mid;
    return true;
}

// Whether sum_c w_c f_c / sum_c w_c gives the figure.
static bool is_weighted_mean(const double *values, const double *weights, int64_t count, double figure)
{
    double sum = 0, total = 0;
    for (int64_t c = 0; c < count; c++) {
        if (weights[c] == 0)
            continue;
        sum += weights[c] * values[c];
        total += weights[c];
    }
    return total > 0 && fabs(sum / total - figure) <= 1e-9 * (1 + fabs(figure));
}

static int64_t flip_contributions(const pairing *pair, int64_t figure, bool weighted)
{
    const int64_t clusters = pair->from->cluster_count;
    int64_t count = 0;
    for (int64_t c = 0; c < clusters; c++) {
        const double change = pair->to_clusters[figure * clusters + c] - pair->from_clusters[figure * clusters + c];
        if (pair->weights[c] > 0 && isfinite(change))
            pair->contributions[count++] = (weighted ? pair->weights[c] : 1) * change;
    }
    return count;
}

static void test_figure(const pairing *pair, int64_t figure, eh_comparison *out)
{
    const double from_value = pair->from_figures[figure].value, to_value = pair->to_figures[figure].value;
    const eh_sample *from = pair->from;
    const int64_t clusters = from->cluster_count;
    out->mcnemar[figure] = NAN;
    const bool hits = mcnemar(pair, figure, &out->mcnemar[figure]);
    out->p[figure] = out->differences[figure].p;
    out->tests[figure] = "bootstrap";
    if (hits && clusters == from->item_count) {
        out->p[figure] = out->mcnemar[figure];
        out->tests[figure] = "McNemar mid-p";
        return;
    }
    for (int64_t c = 0; c < clusters; c++) {
        pair->weights[c] = 0;
        for (int64_t i = from->cluster_first[c]; i < from->cluster_first[c + 1]; i++)
            pair->weights[c] += in_scope(from, figure, i);
    }
    const double *x = pair->from_clusters + figure * clusters, *y = pair->to_clusters + figure * clusters;
    const bool weighted = is_weighted_mean(x, pair->weights, clusters, from_value) &&
                          is_weighted_mean(y, pair->weights, clusters, to_value);
    int64_t count = flip_contributions(pair, figure, weighted);
    if (!weighted) {
        for (int64_t c = 0; c < clusters; c++) pair->weights[c] = pair->weights[c] > 0;
        if (!is_weighted_mean(x, pair->weights, clusters, from_value) ||
            !is_weighted_mean(y, pair->weights, clusters, to_value))
            return;
    }
    if (count < 2)
        return;
    out->p[figure] = eh_sign_flip_test(pair->contributions, count,
                                       from->figures[figure].main ? SIGN_FLIPS_MAIN : SIGN_FLIPS, pair->seed);
    out->tests[figure] = "sign-flip";
}

static eh_status adjust(const eh_sample *sample, eh_comparison *comparison)
{
    double *family = NULL;
    eh_status status = EH_OK;
    EH_TRY(EH_ALLOC(sample->figure_count, &family));
    for (int64_t f = 0; f < sample->figure_count; f++) {
        const eh_figure_info *info = &sample->figures[f];
        family[f] = info->main && info->null_picker[0] == '\0' ? comparison->p[f] : NAN;
    }
    EH_TRY_OR(done, eh_adjust_holm(family, sample->figure_count, comparison->p_table));
    for (int64_t f = 0; f < sample->figure_count; f++)
        family[f] = sample->figures[f].null_picker[0] == '\0' ? comparison->p[f] : NAN;
    EH_TRY_OR(done, eh_adjust_benjamini_hochberg(family, sample->figure_count, comparison->p_all));
done:
    eh_free(&family);
    return status;
}

static eh_status allocate(eh_comparison *comparison, int64_t figures)
{
    EH_TRY(EH_ALLOC(figures, &comparison->differences));
    EH_TRY(EH_ALLOC(figures, &comparison->p));
    EH_TRY(EH_ALLOC(figures, &comparison->tests));
    EH_TRY(EH_ALLOC(figures, &comparison->mcnemar));
    EH_TRY(EH_ALLOC(figures, &comparison->p_table));
    return EH_ALLOC(figures, &comparison->p_all);
}

// Each figure's test is a matter of its own: the threads share them.
static void test_figures(const pairing *pairs, int thread_count, eh_comparison *comparison)
{
#pragma omp parallel for schedule(dynamic, 8) num_threads(thread_count)
    for (int64_t f = 0; f < pairs->from->figure_count; f++) test_figure(&pairs[omp_get_thread_num()], f, comparison);
}

static eh_status test_samples(const eh_replicates *first, const eh_replicates *second, uint64_t seed,
                              eh_comparison *comparison)
{
    const eh_sample *from = first->sample, *to = second->sample;
    const int64_t figures = from->figure_count, clusters = from->cluster_count;
    const int thread_count = omp_get_max_threads();
    double *values = NULL, *scratch = NULL;
    pairing *pairs = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(2 * figures * clusters, &values));
    EH_TRY_OR(done, EH_ALLOC(2 * clusters * thread_count, &scratch));
    EH_TRY_OR(done, EH_ALLOC(thread_count, &pairs));
    EH_TRY_OR(done, eh_cluster_figures(from, values));
    EH_TRY_OR(done, eh_cluster_figures(to, values + figures * clusters));
    for (int t = 0; t < thread_count; t++)
        pairs[t] = (pairing){.from = from,
                             .to = to,
                             .from_figures = first->observed,
                             .to_figures = second->observed,
                             .from_clusters = values,
                             .to_clusters = values + figures * clusters,
                             .contributions = scratch + 2 * t * clusters,
                             .weights = scratch + (2 * t + 1) * clusters,
                             .seed = seed};
    test_figures(pairs, thread_count, comparison);
    status = adjust(from, comparison);
done:
    eh_free(&values);
    eh_free(&scratch);
    eh_free(&pairs);
    return status;
}

eh_status eh_compare(const eh_replicates *from, const eh_replicates *to, uint64_t seed, eh_comparison *comparison)
{
    EH_TRY(allocate(comparison, from->sample->figure_count));
    EH_TRY(eh_replicates_compare(from, to, comparison->differences));
    return test_samples(from, to, seed, comparison);
}

// On the items that both hold.
static eh_status compare_common(eh_sample *first, eh_sample *second, const eh_bootstrap_settings *settings,
                                eh_comparison *comparison)
{
    eh_replicates draws[2] = {{0}, {0}};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_samples_align(first, second));
    EH_TRY_OR(done, eh_replicates_draw(first, settings, &draws[0]));
    EH_TRY_OR(done, eh_replicates_draw(second, settings, &draws[1]));
    EH_TRY_OR(done, eh_compare(&draws[0], &draws[1], settings->seed, comparison));
done:
    eh_replicates_deinit(&draws[0]);
    eh_replicates_deinit(&draws[1]);
    return status;
}

eh_status eh_compare_common(const eh_sample *from, const eh_sample *to, const eh_bootstrap_settings *settings,
                            eh_comparison *comparison)
{
    if (from->figure_count != to->figure_count)
        return eh_error(EH_INPUT, "the two phases were scored in different ways (%lld and %lld figures)",
                        (long long)from->figure_count, (long long)to->figure_count);
    eh_sample first = {0}, second = {0};
    eh_status status = eh_sample_copy(from, &first);
    if (status == EH_OK)
        status = eh_sample_copy(to, &second);
    if (status == EH_OK)
        status = compare_common(&first, &second, settings, comparison);
    eh_sample_deinit(&first);
    eh_sample_deinit(&second);
    return status;
}
