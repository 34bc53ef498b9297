#include "report/bootstrap.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/metric.h"
#include "report/resample.h"

// One or two aligned samples and the replicates of their figures.
typedef struct {
    const eh_sample *samples[2];
    int64_t sample_count, figure_count;
    int64_t replicate_count, jackknife_count;
    double *two_stage[2]; // [figure_count, replicate_count]
    double *jackknife[2]; // [figure_count, jackknife_count]: without cluster j
    eh_figure *observed[2];
} replicates;

typedef enum { TWO_STAGE, JACKKNIFE } draw_kind;

static void replicates_deinit(replicates *all)
{
    for (int s = 0; s < 2; s++) {
        eh_free(&all->two_stage[s]);
        eh_free(&all->jackknife[s]);
        eh_free(&all->observed[s]);
    }
}

static int64_t totals_size(const eh_sample *sample)
{
    return eh_totals_rows(sample) * sample->stratum_count * (1 + sample->value_count);
}

// Scratch of one thread.
typedef struct {
    double *totals[2];
    eh_figure *figures;
} scratch;

static void scratch_free(scratch **threads, int thread_count)
{
    for (int t = 0; *threads != NULL && t < thread_count; t++) {
        eh_free(&(*threads)[t].totals[0]);
        eh_free(&(*threads)[t].totals[1]);
        eh_free(&(*threads)[t].figures);
    }
    eh_free(threads);
}

static eh_status scratch_new(const replicates *all, int thread_count, scratch **threads)
{
    eh_status status = EH_OK;
    EH_TRY(EH_ALLOC(thread_count, threads));
    for (int t = 0; t < thread_count; t++) {
        for (int64_t s = 0; s < all->sample_count; s++)
            EH_TRY_OR(failed, EH_ALLOC(totals_size(all->samples[s]), &(*threads)[t].totals[s]));
        EH_TRY_OR(failed, EH_ALLOC(all->figure_count, &(*threads)[t].figures));
    }
    return EH_OK;
failed:
    scratch_free(threads, thread_count);
    return status;
}

// The totals of all clusters but one.
static void copy_without(const eh_sample *sample, int64_t left_out, double *totals)
{
    const int64_t size = sample->stratum_count * (1 + sample->value_count);
    if (sample->metric->pooled) {
        memset(totals, 0, (size_t)size * sizeof *totals);
        for (int64_t c = 0; c < sample->cluster_count; c++)
            for (int64_t v = 0; v < size && c != left_out; v += 1 + sample->value_count) {
                const double *cell = sample->totals + c * size + v;
                totals[v] += cell[0];
                eh_sample_combine(sample, totals + v, cell + 1);
            }
        return;
    }
    memcpy(totals, sample->totals, (size_t)(left_out * size) * sizeof *totals);
    memcpy(totals + left_out * size, sample->totals + (left_out + 1) * size,
           (size_t)((sample->cluster_count - 1 - left_out) * size) * sizeof *totals);
}

static eh_status run_draws(replicates *all, const eh_resampler *resampler, uint64_t seed, draw_kind kind, int64_t count,
                           double *const *results)
{
    const int thread_count = omp_get_max_threads();
    scratch *threads = NULL;
    EH_TRY(scratch_new(all, thread_count, &threads));
#pragma omp parallel for schedule(static) num_threads(thread_count)
    for (int64_t r = 0; r < count; r++) {
        scratch *own = &threads[omp_get_thread_num()];
        if (kind == TWO_STAGE)
            eh_resample_two_stage(resampler, all->samples, all->sample_count, seed, r, own->totals);
        for (int64_t s = 0; s < all->sample_count; s++) {
            const eh_sample *sample = all->samples[s];
            if (kind == JACKKNIFE)
                copy_without(sample, r, own->totals[s]);
            const int64_t rows = eh_totals_rows(sample) - (kind == JACKKNIFE && !sample->metric->pooled);
            sample->metric->summarise(sample, own->totals[s], rows, own->figures);
            for (int64_t f = 0; f < all->figure_count; f++) results[s][f * count + r] = own->figures[f].value;
        }
    }
    scratch_free(&threads, thread_count);
    return EH_OK;
}

static eh_status draw_all(replicates *all, const eh_bootstrap_settings *settings)
{
    eh_status status = EH_OK;
    eh_resampler resampler = {0};
    EH_TRY_OR(done, eh_resampler_init(all->samples[0], &resampler));
    all->replicate_count = settings->replicates;
    all->jackknife_count = all->samples[0]->cluster_count > 1 ? all->samples[0]->cluster_count : 0;
    for (int64_t s = 0; s < all->sample_count; s++) {
        EH_TRY_OR(done, EH_ALLOC(all->figure_count, &all->observed[s]));
        EH_TRY_OR(done, EH_ALLOC(all->figure_count * all->replicate_count, &all->two_stage[s]));
        EH_TRY_OR(done, EH_ALLOC(all->figure_count * all->jackknife_count, &all->jackknife[s]));
        const eh_sample *sample = all->samples[s];
        sample->metric->summarise(sample, sample->totals, sample->cluster_count, all->observed[s]);
    }
    EH_TRY_OR(done, run_draws(all, &resampler, settings->seed, TWO_STAGE, all->replicate_count, all->two_stage));
    EH_TRY_OR(done, run_draws(all, &resampler, settings->seed, JACKKNIFE, all->jackknife_count, all->jackknife));
done:
    eh_resampler_deinit(&resampler);
    return status;
}

// --- From replicates to intervals
// -------------------------------------------------------------------------------------
static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

// Moves the finite values to the front; returns how many there are.
static int64_t keep_finite(double *values, int64_t count)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(values[i]))
            values[kept++] = values[i];
    return kept;
}

static double deviation(const double *values, int64_t count)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) sum += values[i];
    for (int64_t i = 0; i < count; i++)
        squares += (values[i] - sum / (double)count) * (values[i] - sum / (double)count);
    return count > 1 ? sqrt(squares / (double)(count - 1)) : NAN;
}

// Linear between the order statistics, as numpy's default.
static double quantile(const double *sorted, int64_t count, double p)
{
    if (count == 0 || !(p >= 0 && p <= 1))
        return NAN;
    const double position = p * (double)(count - 1);
    const int64_t below = (int64_t)position;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (position - (double)below) * (sorted[below + 1] - sorted[below]);
}

static eh_interval percentile(const double *sorted, int64_t count, double level)
{
    return (eh_interval){quantile(sorted, count, 0.5 - 0.5 * level), quantile(sorted, count, 0.5 + 0.5 * level)};
}

static double acceleration(const double *jackknife, int64_t count)
{
    double mean = 0, squares = 0, cubes = 0;
    for (int64_t j = 0; j < count; j++) mean += jackknife[j] / (double)count;
    for (int64_t j = 0; j < count; j++) {
        const double off = mean - jackknife[j];
        squares += off * off;
        cubes += off * off * off;
    }
    return squares > 0 ? cubes / (6 * pow(squares, 1.5)) : 0;
}

// Efron (1987): the percentiles moved for median bias and for a standard error that changes with the value.
static eh_interval bias_corrected(const double *sorted, int64_t count, double value, double a)
{
    int64_t less = 0, equal = 0;
    for (int64_t i = 0; i < count && sorted[i] <= value; i++) *(sorted[i] < value ? &less : &equal) += 1;
    const double z0 = eh_normal_quantile(((double)less + 0.5 * (double)equal) / (double)count);
    const double z = eh_two_sided_z(0.95);
    const double low = z0 - z, high = z0 + z;
    return (eh_interval){quantile(sorted, count, eh_normal_cdf(z0 + low / (1 - a * low))),
                         quantile(sorted, count, eh_normal_cdf(z0 + high / (1 - a * high)))};
}

static double share_beyond_zero(const double *sorted, int64_t count)
{
    int64_t low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) low += sorted[i] <= 0, high += sorted[i] >= 0;
    return fmin(1, 2 * (1 + (double)(low < high ? low : high)) / (1 + (double)count));
}

static eh_interval drawn_together(eh_interval interval, double value, double factor)
{
    return (eh_interval){value + factor * (interval.low - value), value + factor * (interval.high - value)};
}

// How many clusters have items in the figure's scope.
static int64_t clusters_in_scope(const eh_sample *sample, int64_t figure)
{
    const uint8_t *scope = sample->scopes + sample->figures[figure].scope_index * sample->stratum_count;
    int64_t count = 0;
    for (int64_t c = 0; c < sample->cluster_count; c++) {
        bool inside = false;
        for (int64_t i = sample->cluster_first[c]; i < sample->cluster_first[c + 1] && !inside; i++)
            inside = scope[sample->strata[i]] != 0;
        count += inside;
    }
    return count;
}

typedef struct {
    double *two_stage, *jackknife; // of one figure; reordered
    int64_t replicate_count, jackknife_count, cluster_count;
} figure_replicates;

// Standard error of the jackknife over the clusters of the figure's scope; leaving out another changes nothing.
static double jackknife_error(const figure_replicates *r, double value, int64_t left_out)
{
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < left_out; j++) sum += r->jackknife[j] - value;
    for (int64_t j = 0; j < left_out; j++) squares += (r->jackknife[j] - value) * (r->jackknife[j] - value);
    const double clusters = (double)r->cluster_count;
    return sqrt((clusters - 1) / clusters * (squares - sum * sum / clusters));
}

static eh_estimate estimate_of(double value, int64_t n, figure_replicates r)
{
    const eh_interval none = {NAN, NAN};
    eh_estimate estimate = {value, n, NAN, none, none, none, none, NAN, NAN};
    const int64_t kept = keep_finite(r.two_stage, r.replicate_count);
    estimate.lost = 1 - (double)kept / (double)r.replicate_count;
    if (!isfinite(value) || n < 2 || kept < 2)
        return estimate;
    qsort(r.two_stage, (size_t)kept, sizeof *r.two_stage, by_value);
    const double spread = deviation(r.two_stage, kept);
    const int64_t left_out = keep_finite(r.jackknife, r.jackknife_count);
    double error = spread, factor = 1;
    if (r.cluster_count >= EH_CALIBRATED_CLUSTERS && left_out == r.jackknife_count && spread > 0) {
        error = fmin(spread, jackknife_error(&r, value, left_out));
        const double widened = eh_student_quantile(0.975, (double)(r.cluster_count - 1)) / eh_two_sided_z(0.95);
        factor = fmin(1, widened * error / spread);
    }
    estimate.standard_error = error;
    estimate.two_stage = percentile(r.two_stage, kept, 0.95);
    estimate.interval = drawn_together(estimate.two_stage, value, factor);
    estimate.ninety = drawn_together(percentile(r.two_stage, kept, 0.90), value, factor);
    const double a = acceleration(r.jackknife, left_out);
    estimate.bca = drawn_together(bias_corrected(r.two_stage, kept, value, a), value, factor);
    for (int64_t i = 0; i < kept; i++) r.two_stage[i] = value + factor * (r.two_stage[i] - value);
    estimate.p = share_beyond_zero(r.two_stage, kept);
    return estimate;
}

static void subtract(double *second, const double *first, int64_t count)
{
    for (int64_t i = 0; i < count; i++) second[i] -= first[i];
}

static figure_replicates figure_of(const replicates *all, int64_t s, int64_t f)
{
    return (figure_replicates){all->two_stage[s] + f * all->replicate_count,
                               all->jackknife[s] + f * all->jackknife_count, all->replicate_count, all->jackknife_count,
                               clusters_in_scope(all->samples[s], f)};
}

// The difference goes into a copy of the second sample's replicates, since estimate_of reorders.
static eh_status estimate_difference(const replicates *all, int64_t f, eh_estimate *difference)
{
    figure_replicates own = figure_of(all, 1, f);
    const figure_replicates first = figure_of(all, 0, f);
    double *copy = NULL;
    EH_TRY(EH_ALLOC(own.replicate_count + own.jackknife_count, &copy));
    double *const jackknife = copy + own.replicate_count;
    memcpy(copy, own.two_stage, (size_t)own.replicate_count * sizeof *copy);
    memcpy(jackknife, own.jackknife, (size_t)own.jackknife_count * sizeof *copy);
    subtract(copy, first.two_stage, own.replicate_count);
    subtract(jackknife, first.jackknife, own.jackknife_count);
    own.two_stage = copy;
    own.jackknife = jackknife;
    const eh_figure before = all->observed[0][f], after = all->observed[1][f];
    *difference = estimate_of(after.value - before.value, before.n < after.n ? before.n : after.n, own);
    eh_free(&copy);
    return EH_OK;
}

static eh_status estimate_all(replicates *all, const eh_bootstrap_settings *settings, eh_estimate *const *estimates,
                              eh_estimate *differences)
{
    eh_status status = EH_OK;
    all->figure_count = all->samples[0]->figure_count;
    EH_TRY_OR(done, draw_all(all, settings));
    // Before any estimate_of: it reorders what the differences need in the order of the draws.
    for (int64_t f = 0; differences != NULL && f < all->figure_count; f++)
        EH_TRY_OR(done, estimate_difference(all, f, &differences[f]));
#pragma omp parallel for schedule(dynamic, 8) collapse(2)
    for (int64_t s = 0; s < all->sample_count; s++)
        for (int64_t f = 0; f < all->figure_count; f++)
            estimates[s][f] = estimate_of(all->observed[s][f].value, all->observed[s][f].n, figure_of(all, s, f));
done:
    replicates_deinit(all);
    return status;
}

eh_status eh_bootstrap_sample(const eh_sample *sample, const eh_bootstrap_settings *settings, eh_estimate *estimates)
{
    replicates all = {.samples = {sample, NULL}, .sample_count = 1};
    return estimate_all(&all, settings, (eh_estimate *const[]){estimates, NULL}, NULL);
}

static eh_status check_aligned(const eh_sample *first, const eh_sample *second)
{
    bool same = first->metric == second->metric && first->item_count == second->item_count &&
                first->cluster_count == second->cluster_count && first->stratum_count == second->stratum_count &&
                first->figure_count == second->figure_count;
    for (int64_t i = 0; same && i < first->item_count; i++)
        same = first->ids[i] == second->ids[i] && first->clusters[i] == second->clusters[i] &&
               first->strata[i] == second->strata[i];
    return same ? EH_OK : eh_error(EH_INPUT, "the two phases do not hold the same items, so they can't be paired");
}

eh_status eh_bootstrap_pair(const eh_sample *first, const eh_sample *second, const eh_bootstrap_settings *settings,
                            eh_estimate *first_estimates, eh_estimate *second_estimates, eh_estimate *differences)
{
    EH_TRY(check_aligned(first, second));
    replicates all = {.samples = {first, second}, .sample_count = 2};
    return estimate_all(&all, settings, (eh_estimate *const[]){first_estimates, second_estimates}, differences);
}

eh_status eh_cluster_figures(const eh_sample *sample, double *values)
{
    eh_figure *figures = NULL;
    EH_TRY(EH_ALLOC(sample->figure_count, &figures));
    const int64_t size = sample->stratum_count * (1 + sample->value_count);
    for (int64_t c = 0; c < sample->cluster_count; c++) {
        sample->metric->summarise(sample, sample->totals + c * size, 1, figures);
        for (int64_t f = 0; f < sample->figure_count; f++) values[f * sample->cluster_count + c] = figures[f].value;
    }
    eh_free(&figures);
    return EH_OK;
}
