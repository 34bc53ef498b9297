#include "report/results.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "report/comparison.h"

// --- Reading ---
static void phase_deinit(eh_phase *phase)
{
    for (int64_t t = 0; t < phase->table_count; t++) eh_score_table_deinit(&phase->tables[t]);
    eh_free(&phase->tables);
    eh_free(&phase->name);
    eh_free(&phase->path);
    eh_free(&phase->model_path);
    eh_free(&phase->model_sha256);
    eh_free(&phase->seed);
    eh_free(&phase->version);
}

static eh_status read_parameters(const char *path, eh_phase *phase)
{
    char *text = NULL;
    EH_TRY(eh_scores_attribute(path, "parameters", &text)); // files of older versions have none
    const double count = strtod(text, NULL);
    phase->parameters = count > 0 ? count : NAN;
    eh_free(&text);
    return EH_OK;
}

static eh_status read_phase(const char *path, eh_phase *phase)
{
    const char *name = strrchr(path, '/');
    name = (name == NULL ? path : name + 1) + strlen("scores-");
    EH_TRY(eh_copy_string(path, &phase->path));
    EH_TRY(eh_copy_bytes(name, strlen(name) - strlen(".h5"), &phase->name));
    EH_TRY(eh_scores_read(path, &phase->tables, &phase->table_count));
    EH_TRY(eh_scores_attribute(path, "model_path", &phase->model_path));
    EH_TRY(eh_scores_attribute(path, "model_sha256", &phase->model_sha256));
    EH_TRY(eh_scores_attribute(path, "seed", &phase->seed));
    EH_TRY(eh_scores_attribute(path, "evenhand", &phase->version));
    return read_parameters(path, phase);
}

// before, the checkpoints by step, after, then the controls by name.
static int by_phase(const void *left, const void *right)
{
    const eh_phase *const phases[2] = {left, right};
    int order[2];
    int64_t steps[2];
    for (int i = 0; i < 2; i++) {
        steps[i] = eh_phase_step(phases[i]->name);
        order[i] = strcmp(phases[i]->name, "before") == 0  ? 0
                   : steps[i] >= 0                         ? 1
                   : strcmp(phases[i]->name, "after") == 0 ? 2
                                                           : 3;
    }
    if (order[0] != order[1])
        return order[0] - order[1];
    return steps[0] != steps[1] ? (steps[0] < steps[1] ? -1 : 1) : strcmp(phases[0]->name, phases[1]->name);
}

static eh_status read_phases(const char *folder, eh_results *results)
{
    eh_string pattern = {0};
    glob_t found = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&pattern, "%s/scores-*.h5", folder));
    const int failed = glob(pattern.bytes, 0, NULL, &found);
    if (failed == GLOB_NOMATCH) {
        status = eh_error(EH_INPUT, "%s: there are no score files (scores-before.h5, ...): run evenhand-evaluate first",
                          folder);
        goto done;
    }
    if (failed != 0) {
        status = eh_error(EH_MACHINE, "%s: can't list the folder: %s", folder, strerror(errno));
        goto done;
    }
    EH_TRY_OR(done, EH_ALLOC(found.gl_pathc, &results->phases));
    for (size_t i = 0; i < found.gl_pathc; i++)
        EH_TRY_OR(done, read_phase(found.gl_pathv[i], &results->phases[results->phase_count++]));
    qsort(results->phases, (size_t)results->phase_count, sizeof *results->phases, by_phase);
done:
    globfree(&found);
    eh_string_deinit(&pattern);
    return status;
}

static eh_status check_models_differ(const eh_results *results)
{
    const int64_t before = eh_results_phase(results, "before"), after = eh_results_phase(results, "after");
    if (before < 0 || after < 0)
        return EH_OK;
    const char *digest = results->phases[before].model_sha256;
    if (digest[0] == '\0' || strcmp(digest, results->phases[after].model_sha256) != 0)
        return EH_OK;
    return eh_error(EH_INPUT,
                    "%s: scores-before.h5 and scores-after.h5 are of the same model (digest %.12s): was the fine-tuned "
                    "model loaded for 'after'?",
                    results->folder, digest);
}

// --- Figures ---
static const eh_score_table *table_of(const eh_phase *phase, const char *name)
{
    for (int64_t t = 0; t < phase->table_count; t++)
        if (strcmp(phase->tables[t].name, name) == 0)
            return &phase->tables[t];
    return NULL;
}

static eh_status prepare_phase(const eh_phase *phase, eh_metric_results *metric, eh_phase_figures *figures)
{
    figures->table = table_of(phase, metric->name);
    if (figures->table == NULL)
        return EH_OK;
    const eh_status status = eh_metric_sample(figures->table, &figures->sample);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s: table '%s'", phase->path, metric->name);
}

// The estimates that a comparison made are the phase's own if the other phase lacks none of its items.
static eh_status take_estimates(const eh_comparison *comparison, const eh_estimate *estimates,
                                eh_phase_figures *figures)
{
    if (figures->estimates != NULL || comparison->item_count != figures->sample.item_count)
        return EH_OK;
    EH_TRY(EH_ALLOC(figures->sample.figure_count, &figures->estimates));
    memcpy(figures->estimates, estimates, (size_t)figures->sample.figure_count * sizeof *estimates);
    return EH_OK;
}

static eh_status measure_phase(const eh_phase *phase, const eh_bootstrap_settings *settings, eh_phase_figures *figures)
{
    if (figures->table == NULL || figures->estimates != NULL)
        return EH_OK;
    EH_TRY(EH_ALLOC(figures->sample.figure_count, &figures->estimates));
    for (int64_t f = 0; f < figures->sample.figure_count; f++) figures->estimates[f].value = NAN;
    if (figures->sample.item_count == 0)
        return EH_OK;
    const eh_status status = eh_bootstrap_sample(&figures->sample, settings, figures->estimates);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s", phase->path);
}

static eh_status add_comparison(const eh_results *results, const eh_bootstrap_settings *settings, const eh_log *log,
                                int64_t from, int64_t to, eh_metric_results *metric)
{
    const eh_score_table *first = metric->phases[from].table, *second = metric->phases[to].table;
    if (from == to || first == NULL || second == NULL)
        return EH_OK;
    EH_TRY(EH_RESIZE(metric->comparison_count, metric->comparison_count + 1, &metric->comparisons));
    eh_comparison *comparison = &metric->comparisons[metric->comparison_count++];
    *comparison = (eh_comparison){.from = from, .to = to};
    const eh_status status = eh_compare(first, second, settings, comparison, metric->figure_count);
    if (status == EH_OK) {
        EH_TRY(take_estimates(comparison, comparison->from_estimates, &metric->phases[from]));
        return take_estimates(comparison, comparison->to_estimates, &metric->phases[to]);
    }
    if (status != EH_INPUT)
        return status;
    eh_log_warning(log, "%s: %s and %s can't be compared: %s", metric->name, results->phases[from].name,
                   results->phases[to].name, eh_error_message());
    return eh_copy_string(eh_error_message(), &comparison->trouble);
}

// Every phase against before, and every control against after.
static eh_status compare_phases(const eh_results *results, const eh_bootstrap_settings *settings, const eh_log *log,
                                eh_metric_results *metric)
{
    const int64_t before = eh_results_phase(results, "before"), after = eh_results_phase(results, "after");
    for (int64_t to = 0; before >= 0 && to < results->phase_count; to++)
        EH_TRY(add_comparison(results, settings, log, before, to, metric));
    for (int64_t from = 0; after >= 0 && from < results->phase_count; from++)
        if (strncmp(results->phases[from].name, "control-", 8) == 0)
            EH_TRY(add_comparison(results, settings, log, from, after, metric));
    return EH_OK;
}

static eh_status add_metric(const char *table_name, const eh_bootstrap_settings *settings, const eh_log *log,
                            eh_results *results)
{
    for (int64_t m = 0; m < results->metric_count; m++)
        if (strcmp(results->metrics[m].name, table_name) == 0)
            return EH_OK;
    EH_TRY(EH_RESIZE(results->metric_count, results->metric_count + 1, &results->metrics));
    eh_metric_results *metric = &results->metrics[results->metric_count++];
    *metric = (eh_metric_results){.metric = eh_metric_of_table(table_name), .first_phase = -1};
    EH_TRY(eh_copy_string(table_name, &metric->name));
    EH_TRY(EH_ALLOC(results->phase_count, &metric->phases));
    for (int64_t p = 0; p < results->phase_count; p++) {
        EH_TRY(prepare_phase(&results->phases[p], metric, &metric->phases[p]));
        if (metric->first_phase >= 0 || metric->phases[p].table == NULL)
            continue;
        metric->first_phase = p;
        metric->figure_count = metric->phases[p].sample.figure_count;
        metric->figures = metric->phases[p].sample.figures;
    }
    EH_TRY(compare_phases(results, settings, log, metric));
    for (int64_t p = 0; p < results->phase_count; p++)
        EH_TRY(measure_phase(&results->phases[p], settings, &metric->phases[p]));
    return EH_OK;
}

eh_status eh_results_read(const char *name, const char *folder, const eh_bootstrap_settings *settings,
                          const eh_log *log, eh_results *results)
{
    *results = (eh_results){0};
    EH_TRY(eh_copy_string(name, &results->name));
    EH_TRY(eh_copy_string(folder, &results->folder));
    EH_TRY(read_phases(folder, results));
    EH_TRY(check_models_differ(results));
    for (int64_t p = 0; p < results->phase_count; p++)
        for (int64_t t = 0; t < results->phases[p].table_count; t++)
            EH_TRY(add_metric(results->phases[p].tables[t].name, settings, log, results));
    return EH_OK;
}

void eh_results_deinit(eh_results *results)
{
    for (int64_t m = 0; m < results->metric_count; m++) {
        eh_metric_results *metric = &results->metrics[m];
        for (int64_t p = 0; metric->phases != NULL && p < results->phase_count; p++) {
            eh_sample_deinit(&metric->phases[p].sample);
            eh_free(&metric->phases[p].estimates);
        }
        for (int64_t c = 0; c < metric->comparison_count; c++) eh_comparison_deinit(&metric->comparisons[c]);
        eh_free(&metric->phases);
        eh_free(&metric->comparisons);
        eh_free(&metric->name);
    }
    for (int64_t p = 0; p < results->phase_count; p++) phase_deinit(&results->phases[p]);
    eh_free(&results->metrics);
    eh_free(&results->phases);
    eh_free(&results->name);
    eh_free(&results->folder);
    *results = (eh_results){0};
}

// --- Finding ---
int64_t eh_results_phase(const eh_results *results, const char *name)
{
    for (int64_t p = 0; p < results->phase_count; p++)
        if (strcmp(results->phases[p].name, name) == 0)
            return p;
    return -1;
}

int64_t eh_phase_step(const char *phase)
{
    char *end = NULL;
    if (strncmp(phase, "step-", 5) != 0 || phase[5] < '0' || phase[5] > '9')
        return -1;
    const long long step = strtoll(phase + 5, &end, 10);
    return *end == '\0' ? step : -1;
}

bool eh_phase_is_result(const char *phase)
{
    return eh_phase_step(phase) < 0 && strcmp(phase, "control-repeat") != 0;
}

static bool find_main(const eh_results *results, const char *unit, const char *ending, const eh_metric_results **metric,
                      int64_t *figure)
{
    for (int64_t m = 0; m < results->metric_count; m++)
        for (int64_t f = 0; f < results->metrics[m].figure_count; f++) {
            const eh_figure_info *info = &results->metrics[m].figures[f];
            const size_t length = strlen(info->name), size = strlen(ending);
            if (!info->main || strcmp(info->scope, "all") != 0 || info->null_picker[0] != '\0' ||
                (unit != NULL && strcmp(info->unit, unit) != 0) || length < size ||
                strcmp(info->name + length - size, ending) != 0)
                continue;
            *metric = &results->metrics[m];
            *figure = f;
            return true;
        }
    return false;
}

bool eh_results_capability(const eh_results *results, const eh_metric_results **metric, int64_t *figure)
{
    return find_main(results, "bits/byte", "", metric, figure);
}

bool eh_results_divergence(const eh_results *results, const eh_metric_results **metric, int64_t *figure)
{
    return find_main(results, NULL, "/kl", metric, figure);
}

const eh_metric_results *eh_results_metric(const eh_results *results, const char *metric)
{
    const size_t length = strlen(metric);
    for (int64_t m = 0; m < results->metric_count; m++) {
        const char *name = results->metrics[m].name;
        if (strncmp(name, metric, length) == 0 && (name[length] == '\0' || name[length] == '@'))
            return &results->metrics[m];
    }
    return NULL;
}

const eh_comparison *eh_results_comparison(const eh_metric_results *metric, int64_t from, int64_t to)
{
    for (int64_t c = 0; c < metric->comparison_count; c++)
        if (metric->comparisons[c].from == from && metric->comparisons[c].to == to &&
            metric->comparisons[c].trouble == NULL)
            return &metric->comparisons[c];
    return NULL;
}

int64_t eh_results_figure(const eh_metric_results *metric, const char *name, const char *score, const char *scope)
{
    for (int64_t f = 0; f < metric->figure_count; f++) {
        const eh_figure_info *info = &metric->figures[f];
        if (info->null_picker[0] == '\0' && strcmp(info->name, name) == 0 && strcmp(info->scope, scope) == 0 &&
            (score == NULL || strcmp(info->score, score) == 0))
            return f;
    }
    return -1;
}

const eh_estimate *eh_results_estimate(const eh_metric_results *metric, int64_t phase, int64_t figure)
{
    if (phase < 0 || figure < 0 || metric->phases[phase].table == NULL ||
        figure >= metric->phases[phase].sample.figure_count)
        return NULL;
    return &metric->phases[phase].estimates[figure];
}

bool eh_scope_is_bias_type(const char *scope)
{
    return strcmp(scope, "all") != 0 && strchr(scope, '/') == NULL && strcmp(scope, "intrasentence") != 0 &&
           strcmp(scope, "intersentence") != 0;
}
