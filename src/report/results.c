#include "report/results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "report/comparison.h"
#include "report/draws.h"
#include "report/kept.h"

static const char damage_phases[] = "control-damage-";

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
    eh_free(&phase->architecture);
    eh_free(&phase->version);
}

// Files of older versions have neither.
static eh_status read_model_facts(const char *path, eh_phase *phase)
{
    char *text = NULL;
    EH_TRY(eh_scores_attribute(path, "parameters", &text));
    const double count = strtod(text, NULL);
    phase->parameters = count > 0 ? count : NAN;
    eh_free(&text);
    return eh_scores_attribute(path, "architecture", &phase->architecture);
}

// Takes the name, and reads its scores.
static eh_status read_phase(const char *folder, char **name, eh_phase *phase)
{
    eh_string path = {0};
    phase->name = *name;
    *name = NULL;
    const eh_status status = eh_string_printf(&path, "%s/scores-%s.h5", folder, phase->name);
    phase->path = path.bytes;
    EH_TRY(status);
    EH_TRY(eh_scores_read(phase->path, &phase->tables, &phase->table_count));
    EH_TRY(eh_scores_attribute(phase->path, "model_path", &phase->model_path));
    EH_TRY(eh_scores_attribute(phase->path, "model_sha256", &phase->model_sha256));
    EH_TRY(eh_scores_attribute(phase->path, "seed", &phase->seed));
    EH_TRY(eh_scores_attribute(phase->path, "evenhand", &phase->version));
    return read_model_facts(phase->path, phase);
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
    char **names = NULL;
    int64_t count = 0;
    eh_status status = eh_scores_phases(folder, &names, &count);
    if (status == EH_OK && count == 0)
        status = eh_error(EH_INPUT, "%s: there are no score files (scores-before.h5, ...): run evenhand-evaluate first",
                          folder);
    EH_TRY_OR(done, status);
    EH_TRY_OR(done, EH_ALLOC(count, &results->phases));
    for (int64_t p = 0; p < count; p++)
        EH_TRY_OR(done, read_phase(folder, &names[p], &results->phases[results->phase_count++]));
    qsort(results->phases, (size_t)results->phase_count, sizeof *results->phases, by_phase);
done:
    for (int64_t p = 0; p < count; p++) eh_free(&names[p]);
    eh_free(&names);
    return status;
}

// The damage control's models leave the phases; their mean takes their place.
static eh_status gather_draws(eh_results *results)
{
    int64_t first = 0, kept = 0;
    while (first < results->phase_count &&
           strncmp(results->phases[first].name, damage_phases, strlen(damage_phases)) != 0)
        first++;
    if (first == results->phase_count)
        return EH_OK;
    eh_phase mean = {.parameters = results->phases[first].parameters};
    EH_TRY(EH_ALLOC(results->phase_count, &results->draws));
    for (int64_t p = 0; p < results->phase_count; p++) {
        const bool is_draw = strncmp(results->phases[p].name, damage_phases, strlen(damage_phases)) == 0;
        if (is_draw)
            results->draws[results->draw_count++] = results->phases[p];
        if (!is_draw || p == first)
            results->phases[kept++] = is_draw ? mean : results->phases[p];
    }
    results->phase_count = kept;
    const eh_phase *draw = &results->draws[0];
    eh_phase *place = &results->phases[first];
    place->draw_count = results->draw_count;
    EH_TRY(eh_copy_string("control-damage", &place->name));
    EH_TRY(eh_copy_string(draw->path, &place->path));
    EH_TRY(eh_copy_string(draw->model_path, &place->model_path));
    EH_TRY(eh_copy_string(draw->model_sha256, &place->model_sha256));
    EH_TRY(eh_copy_string(draw->seed, &place->seed));
    EH_TRY(eh_copy_string(draw->architecture, &place->architecture));
    return eh_copy_string(draw->version, &place->version);
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
const eh_score_table *eh_phase_table(const eh_phase *phase, const char *name)
{
    for (int64_t t = 0; t < phase->table_count; t++)
        if (strcmp(phase->tables[t].name, name) == 0)
            return &phase->tables[t];
    return NULL;
}

static eh_status prepare_phase(const eh_phase *phase, const char *metric, eh_phase_figures *figures)
{
    figures->table = eh_phase_table(phase, metric);
    if (figures->table != NULL && figures->table->refusal != NULL) {
        figures->refusal = figures->table->refusal;
        figures->table = NULL;
    }
    if (figures->table == NULL)
        return EH_OK;
    const eh_status status = eh_metric_sample(figures->table, &figures->sample);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s: table '%s'", phase->path, metric);
}

// The mean of the damage control's models, on the items that all of them have scores of.
static eh_status average_draws(const eh_results *results, eh_metric_results *metric, eh_phase_figures *mean)
{
    const int64_t count = results->draw_count;
    eh_phase_figures *draws = NULL;
    eh_sample *samples = NULL;
    eh_figure *figures = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(count, &draws));
    EH_TRY_OR(done, EH_ALLOC(count, &samples));
    for (int64_t d = 0; d < count; d++) {
        EH_TRY_OR(done, prepare_phase(&results->draws[d], metric->name, &draws[d]));
        samples[d] = draws[d].sample; // owned by it from here on
        mean->refusal = draws[d].refusal;
        if (draws[d].table == NULL)
            goto done;
    }
    for (int pass = 0; pass < 2; pass++) // what the last one lacks, the first must lose too
        for (int64_t d = 1; d < count; d++) EH_TRY_OR(done, eh_samples_align(&samples[0], &samples[d]));
    EH_TRY_OR(done, eh_sample_mean(samples, count, &mean->sample));
    EH_TRY_OR(done, EH_ALLOC(count * samples[0].figure_count, &metric->draw_values));
    EH_TRY_OR(done, EH_ALLOC(samples[0].figure_count, &figures));
    for (int64_t d = 0; d < count; d++) {
        eh_sample_summarise(&samples[d], NULL, NULL, figures);
        for (int64_t f = 0; f < samples[0].figure_count; f++)
            metric->draw_values[d * samples[0].figure_count + f] = figures[f].value;
        mean->sample.missing_count = samples[d].missing_count > mean->sample.missing_count ? samples[d].missing_count
                                                                                           : mean->sample.missing_count;
    }
    mean->table = draws[0].table;
done:
    for (int64_t d = 0; samples != NULL && d < count; d++) eh_sample_deinit(&samples[d]);
    eh_free(&samples);
    eh_free(&draws);
    eh_free(&figures);
    return status;
}

static eh_draws_scatter draws_scatter(const eh_metric_results *metric, int64_t count, int64_t figure)
{
    double values[256];
    EH_ASSERT(count <= 256);
    for (int64_t d = 0; d < count; d++) values[d] = metric->draw_values[d * metric->figure_count + figure];
    return eh_draws_scatter_of(values, count);
}

// Estimates that the mean of the draws is part of.
static void widen_for_draws(const eh_metric_results *metric, int64_t draw_count, eh_estimate *estimates)
{
    for (int64_t f = 0; metric->draw_values != NULL && f < metric->figure_count; f++)
        eh_draws_widen(draws_scatter(metric, draw_count, f), draw_count, &estimates[f]);
}

static eh_status estimate_phase(const eh_phase *phase, const eh_replicates *draws, const eh_metric_results *metric,
                                eh_phase_figures *figures)
{
    EH_TRY(EH_ALLOC(figures->sample.figure_count, &figures->estimates));
    for (int64_t f = 0; f < figures->sample.figure_count; f++) figures->estimates[f].value = NAN;
    if (figures->sample.item_count == 0)
        return EH_OK;
    const eh_status status = eh_replicates_estimate(draws, figures->estimates);
    if (status == EH_OK && phase->draw_count > 0 && figures->sample.figure_count == metric->figure_count)
        widen_for_draws(metric, phase->draw_count, figures->estimates);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s", phase->path);
}

// What is drawn of the phases of one metric while it is computed: before and after are kept for all comparisons.
typedef struct {
    const eh_results *results;
    const eh_bootstrap_settings *settings;
    const eh_log *log;
    eh_metric_results *metric;
    eh_replicates before, after, own;
} computation;

static eh_status widen_comparison(const computation *c, int64_t draws, eh_comparison *comparison)
{
    const eh_metric_results *metric = c->metric;
    EH_TRY(EH_ALLOC(metric->figure_count, &comparison->on_average));
    for (int64_t f = 0; f < metric->figure_count; f++) {
        const eh_estimate *own = &comparison->differences[f];
        comparison->on_average[f] = eh_interval_widened(own->interval, own->value, draws_scatter(metric, draws, f).mean,
                                                        (double)(draws / 2 - 1), 0.95);
        comparison->p[f] = comparison->mcnemar[f] = comparison->p_table[f] = comparison->p_all[f] = NAN;
    }
    widen_for_draws(metric, draws, comparison->differences);
    return EH_OK;
}

static eh_status compare(const computation *c, const eh_replicates *from, const eh_replicates *to,
                         eh_comparison *comparison)
{
    const eh_sample *first = &c->metric->phases[comparison->from].sample;
    const eh_sample *second = &c->metric->phases[comparison->to].sample;
    const int64_t draws =
        c->results->phases[comparison->from].draw_count + c->results->phases[comparison->to].draw_count;
    eh_status status = eh_samples_match(first, second) && first->item_count > 0
                           ? eh_compare(from, to, c->settings->seed, comparison)
                           : eh_compare_common(first, second, c->settings, comparison);
    if (status == EH_OK && draws > 0)
        status = widen_comparison(c, draws, comparison);
    if (status != EH_INPUT)
        return status;
    eh_log_warning(c->log, "%s: %s and %s can't be compared: %s", c->metric->name,
                   c->results->phases[comparison->from].name, c->results->phases[comparison->to].name,
                   eh_error_message());
    return eh_copy_string(eh_error_message(), &comparison->trouble);
}

static bool is_control(const eh_results *results, int64_t phase)
{
    return strncmp(results->phases[phase].name, "control-", 8) == 0;
}

static eh_status draw(const computation *c, int64_t phase, eh_replicates *draws)
{
    const eh_phase_figures *figures = phase < 0 ? NULL : &c->metric->phases[phase];
    if (figures == NULL || figures->table == NULL || figures->sample.item_count == 0)
        return EH_OK;
    return eh_replicates_draw(&figures->sample, c->settings, draws);
}

static eh_status add_comparison(eh_metric_results *metric, int64_t from, int64_t to)
{
    if (from == to || metric->phases[from].table == NULL || metric->phases[to].table == NULL)
        return EH_OK;
    EH_TRY(EH_RESIZE(metric->comparison_count, metric->comparison_count + 1, &metric->comparisons));
    metric->comparisons[metric->comparison_count++] = (eh_comparison){.from = from, .to = to};
    return EH_OK;
}

// Every phase against before, and every control against after.
static eh_status list_comparisons(const eh_results *results, int64_t before, int64_t after, eh_metric_results *metric)
{
    for (int64_t to = 0; before >= 0 && to < results->phase_count; to++) EH_TRY(add_comparison(metric, before, to));
    for (int64_t from = 0; after >= 0 && from < results->phase_count; from++)
        if (is_control(results, from))
            EH_TRY(add_comparison(metric, from, after));
    return EH_OK;
}

// Each phase is drawn once, and its replicates go when everything that needs them is computed: no more than three
// phases' are held.
static eh_status compute_phase(computation *c, int64_t phase, int64_t before, int64_t after)
{
    eh_metric_results *metric = c->metric;
    if (metric->phases[phase].table == NULL)
        return EH_OK;
    if (phase != before && phase != after)
        EH_TRY(draw(c, phase, &c->own));
    const eh_replicates *own = phase == before ? &c->before : phase == after ? &c->after : &c->own;
    EH_TRY(estimate_phase(&c->results->phases[phase], own, metric, &metric->phases[phase]));
    for (int64_t i = 0; i < metric->comparison_count; i++) {
        eh_comparison *comparison = &metric->comparisons[i];
        if (comparison->from == before && comparison->to == phase)
            EH_TRY(compare(c, &c->before, own, comparison));
        else if (comparison->from == phase && comparison->to == after && phase != before)
            EH_TRY(compare(c, own, &c->after, comparison));
    }
    eh_replicates_deinit(&c->own);
    return EH_OK;
}

static eh_status compute_metric(const eh_results *results, const eh_bootstrap_settings *settings, const eh_log *log,
                                eh_metric_results *metric)
{
    const int64_t before = eh_results_phase(results, "before"), after = eh_results_phase(results, "after");
    computation c = {.results = results, .settings = settings, .log = log, .metric = metric};
    eh_status status = EH_OK;
    EH_TRY_OR(done, draw(&c, before, &c.before));
    EH_TRY_OR(done, draw(&c, after, &c.after));
    for (int64_t p = 0; p < results->phase_count; p++) EH_TRY_OR(done, compute_phase(&c, p, before, after));
done:
    eh_replicates_deinit(&c.before);
    eh_replicates_deinit(&c.after);
    eh_replicates_deinit(&c.own);
    return status;
}

// A metric with its samples and the comparisons that there are to make.
static eh_status add_metric(const char *table_name, eh_results *results)
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
        EH_TRY(results->phases[p].draw_count > 0
                   ? average_draws(results, metric, &metric->phases[p])
                   : prepare_phase(&results->phases[p], metric->name, &metric->phases[p]));
        if (metric->first_phase >= 0 || metric->phases[p].table == NULL)
            continue;
        metric->first_phase = p;
        metric->figure_count = metric->phases[p].sample.figure_count;
        metric->figures = metric->phases[p].sample.figures;
    }
    return list_comparisons(results, eh_results_phase(results, "before"), eh_results_phase(results, "after"), metric);
}

// Main figures that these rows don't define are told once for each phase; the tables' cells say it each.
static void warn_undefined(const eh_phase *phase, const eh_metric_results *metric, const eh_phase_figures *figures,
                           const eh_log *log)
{
    const eh_figure_info *first = NULL;
    int64_t count = 0;
    if (figures->refusal != NULL)
        eh_log_warning(log, "%s was not measured (%s): %s", metric->name, phase->name, figures->refusal);
    for (int64_t f = 0; figures->table != NULL && f < figures->sample.figure_count; f++) {
        const eh_figure_info *info = &figures->sample.figures[f];
        if (!info->main || info->null_picker[0] != '\0' || isfinite(figures->estimates[f].value))
            continue;
        first = first == NULL ? info : first;
        count++;
    }
    if (count > 0)
        eh_log_warning(log, "%s: %lld main figures are undefined (%s), as there is nothing to count: %s of '%s'%s",
                       metric->name, (long long)count, phase->name, first->name, first->scope,
                       count > 1 ? ", ..." : "");
}

static void warn_of_all(const eh_results *results, const eh_log *log)
{
    for (int64_t m = 0; m < results->metric_count; m++)
        for (int64_t p = 0; p < results->phase_count; p++)
            warn_undefined(&results->phases[p], &results->metrics[m], &results->metrics[m].phases[p], log);
}

eh_status eh_results_read(const char *name, const char *folder, const eh_bootstrap_settings *settings,
                          const eh_log *log, eh_results *results)
{
    *results = (eh_results){0};
    EH_TRY(eh_copy_string(name, &results->name));
    EH_TRY(eh_copy_string(folder, &results->folder));
    EH_TRY(read_phases(folder, results));
    EH_TRY(gather_draws(results));
    EH_TRY(check_models_differ(results));
    for (int64_t p = 0; p < results->phase_count; p++)
        for (int64_t t = 0; t < results->phases[p].table_count; t++)
            EH_TRY(add_metric(results->phases[p].tables[t].name, results));
    EH_TRY(eh_kept_read(settings, results, &results->kept));
    for (int64_t m = 0; m < results->metric_count && !results->kept; m++)
        EH_TRY(compute_metric(results, settings, log, &results->metrics[m]));
    warn_of_all(results, log);
    return results->kept ? EH_OK : eh_kept_write(settings, results);
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
        eh_free(&metric->draw_values);
        eh_free(&metric->name);
    }
    for (int64_t p = 0; p < results->phase_count; p++) phase_deinit(&results->phases[p]);
    for (int64_t d = 0; d < results->draw_count; d++) phase_deinit(&results->draws[d]);
    eh_free(&results->draws);
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
