// figures.csv, the tidy long file.
#include <math.h>
#include <string.h>

#include "report/tables.h"

static eh_status number(double value, eh_string *text)
{
    return isfinite(value) ? eh_string_printf(text, ",%.10g", value) : eh_string_append_text(text, ",");
}

static eh_status field(const char *value, eh_string *text)
{
    EH_TRY(eh_string_append_text(text, ","));
    return eh_csv_field(value, text);
}

static eh_status interval(eh_interval value, eh_string *text)
{
    EH_TRY(number(value.low, text));
    return number(value.high, text);
}

// The value of a line with `compared_with` is the difference phase - compared_with.
static eh_status begin_line(const eh_report_run *run, const eh_metric_results *metric, const char *phase,
                            const char *other, const eh_figure_info *info, eh_string *text)
{
    EH_TRY(eh_csv_field(run->results->name, text));
    EH_TRY(field(metric->name, text));
    EH_TRY(field(phase, text));
    EH_TRY(field(other, text));
    EH_TRY(field(info->name, text));
    EH_TRY(field(info->score, text));
    EH_TRY(field(info->scope, text));
    EH_TRY(field(info->null_picker, text));
    return field(info->unit, text);
}

static eh_status estimate(const eh_estimate *e, eh_string *text)
{
    EH_TRY(number(e->value, text));
    EH_TRY(eh_string_printf(text, ",%lld", (long long)e->n));
    EH_TRY(number(e->standard_error, text));
    EH_TRY(interval(e->interval, text));
    EH_TRY(interval(e->bca, text));
    return interval(e->two_stage, text);
}

static eh_status phase_lines(const eh_report_run *run, const eh_metric_results *metric, int64_t phase, eh_string *text)
{
    const eh_phase_figures *figures = &metric->phases[phase];
    const char *name = run->results->phases[phase].name;
    if (figures->refusal != NULL) {
        const eh_figure_info refused = {.name = "not measured"};
        EH_TRY(begin_line(run, metric, name, "", &refused, text));
        EH_TRY(eh_string_append_text(text, ",,,,,,,,,,,,,,,,,\n"));
    }
    for (int64_t f = 0; figures->table != NULL && f < figures->sample.figure_count; f++) {
        const eh_figure_info *info = &figures->sample.figures[f];
        const eh_estimate *e = &figures->estimates[f];
        EH_TRY(begin_line(run, metric, name, "", info, text));
        EH_TRY(estimate(e, text));
        // A share of n independent things has Wilson's interval too.
        eh_interval wilson = {NAN, NAN};
        if (info->kind == EH_FIGURE_PERCENT && e->n > 0 && isfinite(e->value)) {
            wilson = eh_wilson((int64_t)llround(e->value / 100 * (double)e->n), e->n, 0.95);
            wilson = (eh_interval){100 * wilson.low, 100 * wilson.high};
        }
        EH_TRY(interval(wilson, text));
        EH_TRY(eh_string_printf(text, ",,,,,,%lld\n", (long long)figures->sample.missing_count));
    }
    return EH_OK;
}

static eh_status comparison_lines(const eh_report_run *run, const eh_metric_results *metric,
                                  const eh_comparison *comparison, eh_string *text)
{
    const eh_results *results = run->results;
    for (int64_t f = 0; comparison->trouble == NULL && f < metric->figure_count; f++) {
        EH_TRY(begin_line(run, metric, results->phases[comparison->to].name, results->phases[comparison->from].name,
                          &metric->figures[f], text));
        EH_TRY(estimate(&comparison->differences[f], text));
        EH_TRY(eh_string_append_text(text, ",,"));
        EH_TRY(number(comparison->p[f], text));
        EH_TRY(field(comparison->tests[f], text));
        EH_TRY(number(comparison->mcnemar[f], text));
        EH_TRY(number(comparison->p_table[f], text));
        EH_TRY(number(comparison->p_all[f], text));
        EH_TRY(eh_string_append_text(text, ",\n"));
    }
    return EH_OK;
}

eh_status eh_figures_to_csv(const eh_report_run *run, eh_string *text)
{
    EH_TRY(eh_string_append_text(text,
                                 "run,metric,phase,compared_with,figure,score,scope,null_picker,unit,value,n,"
                                 "standard_error,low,high,bca_low,bca_high,two_stage_low,two_stage_high,wilson_low,"
                                 "wilson_high,p,test,p_mcnemar_mid,p_holm,p_benjamini_hochberg,missing\n"));
    for (int64_t m = 0; m < run->results->metric_count; m++) {
        const eh_metric_results *metric = &run->results->metrics[m];
        for (int64_t p = 0; p < run->results->phase_count; p++) EH_TRY(phase_lines(run, metric, p, text));
        for (int64_t c = 0; c < metric->comparison_count; c++)
            EH_TRY(comparison_lines(run, metric, &metric->comparisons[c], text));
    }
    return EH_OK;
}
