#include "report/checks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/columns.h"

static eh_estimate turned(eh_estimate change)
{
    const eh_interval interval = change.interval;
    change.value = -change.value;
    change.interval = (eh_interval){-interval.high, -interval.low};
    return change;
}

static void check_reversed(const eh_results *results, const eh_metric_results *metric, eh_check *check)
{
    *check = (eh_check){.name = "reversed training raises the measured bias", .state = EH_CHECK_NOT_RUN};
    const int64_t before = eh_results_phase(results, "before"),
                  reversed = eh_results_phase(results, "control-reversed");
    const int64_t figure = eh_results_figure(metric, "stereoset/margin", NULL, "all");
    const eh_comparison *change = before < 0 || reversed < 0 ? NULL : eh_results_comparison(metric, before, reversed);
    if (change == NULL || figure < 0) {
        snprintf(check->detail, sizeof check->detail, "there is no control 'reversed' in this run");
        return;
    }
    const eh_estimate *base = eh_results_estimate(metric, before, figure);
    const eh_estimate rise = base->value < 0 ? turned(change->differences[figure]) : change->differences[figure];
    check->state = rise.interval.low > 0 ? EH_CHECK_PASSED : EH_CHECK_FAILED;
    snprintf(check->detail, sizeof check->detail, "mean margin %+.3f [%+.3f, %+.3f] nats towards the bias", rise.value,
             rise.interval.low, rise.interval.high);
}

// A rule that looks at nothing but the place, or draws, must choose each label as often as chance does: 2/3 meaningful,
// half of these stereotypes (where the best of three is counted). Its figures stand beside the metrics' own.
typedef struct {
    double worst; // standard errors
    int64_t count;
    bool differs; // from PROTOCOL 3.10's values on StereoSet's development set
} null_tally;

// "LMS" or "SS" of a figure's name.
static bool is_quantity(const eh_figure_info *info, const char *quantity)
{
    const char *slash = strrchr(info->name, '/');
    return slash != NULL && strcmp(slash + 1, quantity) == 0;
}

static const eh_estimate *null_estimate(const eh_metric_results *metric, const eh_figure_info *like,
                                        const char *quantity)
{
    for (int64_t f = 0; f < metric->figure_count; f++) {
        const eh_figure_info *info = &metric->figures[f];
        if (strcmp(info->null_picker, like->null_picker) == 0 && strcmp(info->scope, like->scope) == 0 &&
            is_quantity(info, quantity) &&
            strncmp(info->name, like->name, strlen(like->name) - strlen(strrchr(like->name, '/'))) == 0)
            return eh_results_estimate(metric, metric->first_phase, f);
    }
    return NULL;
}

static void tally_known(const eh_metric_results *metric, const eh_figure_info *info, const eh_estimate *ss,
                        const eh_estimate *lms, null_tally *tally)
{
    static const struct {
        const char *null_picker, *scope;
        int64_t items;
        double lms, ss;
    } known[] = {{"always-1", "all", 4229, 66.90, 49.81},
                 {"always-2", "all", 4229, 66.59, 50.39},
                 {"always-3", "all", 4229, 66.52, 49.80},
                 {"longest", "intrasentence", 2106, 79.20, 49.52},
                 {"longest", "intersentence", 2123, 85.77, 42.72}};
    // Beside likelihoods equally long sentences share an item; the values are those of the first of them.
    const bool shares = strncmp(metric->name, "stereoset/likelihood", 20) == 0;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (strcmp(info->null_picker, known[k].null_picker) == 0 && strcmp(info->scope, known[k].scope) == 0 &&
            lms->n == known[k].items && !(shares && strcmp(info->null_picker, "longest") == 0))
            tally->differs =
                tally->differs || fabs(lms->value - known[k].lms) > 0.00501 || fabs(ss->value - known[k].ss) > 0.00501;
}

static void tally_metric(const eh_metric_results *metric, null_tally *tally)
{
    for (int64_t f = 0; f < metric->figure_count; f++) {
        const eh_figure_info *info = &metric->figures[f];
        const eh_estimate *ss = eh_results_estimate(metric, metric->first_phase, f);
        if (info->null_picker[0] == '\0' || !is_quantity(info, "SS") || ss == NULL || !isfinite(ss->value))
            continue;
        const eh_estimate *lms = null_estimate(metric, info, "LMS");
        if (lms != NULL)
            tally_known(metric, info, ss, lms, tally);
        const bool blind = strncmp(info->null_picker, "always", 6) == 0 || strcmp(info->null_picker, "random") == 0;
        if (!blind || strcmp(info->scope, "all") != 0 || ss->n < 100)
            continue;
        tally->worst = fmax(tally->worst, fabs(ss->value - 50) / (50 / sqrt((double)ss->n)));
        if (lms != NULL)
            tally->worst = fmax(tally->worst, fabs(lms->value - 200.0 / 3) / (100 * sqrt(2.0 / 9 / (double)lms->n)));
        tally->count++;
    }
}

static void check_nulls(const eh_results *results, eh_check *check)
{
    *check = (eh_check){.name = "null pickers score their known values", .state = EH_CHECK_NOT_RUN};
    snprintf(check->detail, sizeof check->detail, "no metric of this run has a hundred items with null pickers");
    null_tally tally = {0};
    for (int64_t m = 0; m < results->metric_count; m++)
        if (strncmp(results->metrics[m].name, "stereoset/", 10) == 0)
            tally_metric(&results->metrics[m], &tally);
    if (tally.count == 0)
        return;
    check->state = tally.worst < 3.5 && !tally.differs ? EH_CHECK_PASSED : EH_CHECK_FAILED;
    snprintf(check->detail, sizeof check->detail,
             "%lld figures of rules that do not read are at most %.1f standard errors from SS 50 and LMS 66.7%s",
             (long long)tally.count, tally.worst,
             tally.differs ? ", but not at their published values on this set" : "");
}

// The column's numbers must agree bit for bit; NaN agrees with NaN.
static bool same_column(const eh_column *first, const eh_column *second, int64_t rows)
{
    if (first->type != second->type || strcmp(first->name, second->name) != 0)
        return false;
    for (int64_t r = 0; r < rows; r++) {
        if (first->type == EH_COLUMN_NUMBER && first->numbers[r] != second->numbers[r] &&
            !(isnan(first->numbers[r]) && isnan(second->numbers[r])))
            return false;
        if (first->type == EH_COLUMN_INTEGER && first->integers[r] != second->integers[r])
            return false;
    }
    return true;
}

static bool same_tables(const eh_phase *first, const eh_phase *second, int64_t *rows)
{
    bool same = first->table_count == second->table_count;
    *rows = 0;
    for (int64_t t = 0; same && t < first->table_count; t++) {
        const eh_score_table *a = &first->tables[t], *b = &second->tables[t];
        same = a->row_count == b->row_count && a->column_count == b->column_count;
        for (int64_t c = 0; same && c < a->column_count; c++)
            same = same_column(&a->columns[c], &b->columns[c], a->row_count);
        *rows += a->row_count;
    }
    return same;
}

static void check_repeat(const eh_results *results, eh_check *check)
{
    *check = (eh_check){.name = "the base measured twice gives the same scores", .state = EH_CHECK_NOT_RUN};
    const int64_t before = eh_results_phase(results, "before"), repeat = eh_results_phase(results, "control-repeat");
    if (before < 0 || repeat < 0) {
        snprintf(check->detail, sizeof check->detail, "there is no control 'repeat' in this run");
        return;
    }
    int64_t rows = 0;
    const bool same = same_tables(&results->phases[before], &results->phases[repeat], &rows);
    check->state = same ? EH_CHECK_PASSED : EH_CHECK_FAILED;
    snprintf(check->detail, sizeof check->detail,
             same ? "%lld rows, bit for bit" : "scores differ (%lld rows compared)", (long long)rows);
}

static void judge_planted(double slope, double intercept, double r_squared, int64_t pairs, eh_check *check)
{
    check->state = r_squared >= EH_TRUTH_LEAST_R_SQUARED && slope > 0 ? EH_CHECK_PASSED : EH_CHECK_FAILED;
    snprintf(check->detail, sizeof check->detail,
             "measured = %.2f x planted %+.2f, R2 = %.2f over %lld pairs (at least %.1f is asked for)", slope,
             intercept, r_squared, (long long)pairs, EH_TRUTH_LEAST_R_SQUARED);
}

// The first phase of another run's table: its base, which has learnt the planted world and nothing else.
static eh_status check_other_run(const char *planted, eh_check *check)
{
    char folder[4096];
    eh_columns columns = {0};
    eh_status status = EH_OK;
    snprintf(folder, sizeof folder, "%s/tables/truth.csv", planted);
    EH_TRY_OR(done, eh_columns_read(folder, &columns));
    const int64_t phase = eh_columns_find(&columns, "phase");
    int64_t row = 0;
    while (row < columns.row_count && phase >= 0 && strcmp(eh_columns_text(&columns, row, phase), "before") != 0) row++;
    if (phase < 0 || row == columns.row_count)
        EH_TRY_OR(done, eh_error(EH_INPUT, "%s: no row of phase 'before': is it a run on a planted world?", folder));
    judge_planted(eh_columns_number(&columns, row, eh_columns_find(&columns, "slope")),
                  eh_columns_number(&columns, row, eh_columns_find(&columns, "intercept")),
                  eh_columns_number(&columns, row, eh_columns_find(&columns, "R2")),
                  (int64_t)eh_columns_number(&columns, row, eh_columns_find(&columns, "pairs")), check);
    const size_t used = strlen(check->detail);
    snprintf(check->detail + used, sizeof check->detail - used, ", in the run %s", planted);
done:
    eh_columns_deinit(&columns);
    return status == EH_OK ? EH_OK : eh_error_context(status, "verdict.planted");
}

static eh_status check_planted(const eh_results *results, const eh_truth *truth, const char *planted, eh_check *check)
{
    *check = (eh_check){.name = "the meter reads planted bias", .state = EH_CHECK_NOT_RUN};
    snprintf(check->detail, sizeof check->detail,
             "no data set of this run has a planted truth, and verdict.planted names no run that has one");
    for (int64_t p = 0; truth != NULL && p < truth->phase_count; p++) {
        const eh_truth_phase *phase = &truth->phases[p];
        if (strcmp(results->phases[phase->phase].name, "before") != 0)
            continue;
        judge_planted(phase->line.slope, phase->line.intercept, phase->line.r_squared, phase->point_count, check);
        return EH_OK;
    }
    return planted == NULL ? EH_OK : check_other_run(planted, check);
}

eh_status eh_checks_run(const eh_results *results, const eh_truth *truth, const char *planted,
                        eh_check checks[EH_CHECK_COUNT])
{
    static const eh_metric_results none;
    const eh_metric_results *stereoset = eh_results_metric(results, "stereoset/likelihood");
    check_reversed(results, stereoset == NULL ? &none : stereoset, &checks[0]);
    check_nulls(results, &checks[1]);
    check_repeat(results, &checks[2]);
    return check_planted(results, truth, planted, &checks[3]);
}
