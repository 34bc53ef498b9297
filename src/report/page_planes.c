// The plots in a plane: bias against capability, a figure over model size, the way of a training.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "report/groups.h"
#include "report/page_plots_internal.h"
#include "report/trajectory.h"

static eh_shape shape_of(const char *phase)
{
    static const struct {
        const char *phase;
        eh_shape shape;
    } shapes[] = {{"before", EH_DOT},
                  {"after", EH_ARROWHEAD},
                  {"control-damage", EH_CROSS},
                  {"control-placebo", EH_RING},
                  {"control-neutral", EH_SQUARE}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].phase, phase) == 0)
            return shapes[i].shape;
    return EH_DIAMOND;
}

// Points of a plane, what they are called, and the lines between them.
typedef struct {
    eh_point *points;
    char (*titles)[256];
    int64_t *runs; // which run a point is of
    eh_path *paths;
    int64_t count, path_count;
} plane;

static eh_status plane_init(int64_t capacity, plane *made)
{
    EH_TRY(EH_ALLOC(capacity + 1, &made->points));
    EH_TRY(EH_ALLOC(capacity + 1, &made->titles));
    EH_TRY(EH_ALLOC(capacity + 1, &made->runs));
    return EH_ALLOC(capacity + 1, &made->paths);
}

static void plane_deinit(plane *made)
{
    eh_free(&made->points);
    eh_free(&made->titles);
    eh_free(&made->runs);
    eh_free(&made->paths);
}

// --- Bias against capability ---
static const char plane_title[] = "Bias against capability: mitigation or damage?";
static const char bits_label[] = "bits per byte of held-out text (further right is worse)";
static const char margin_label[] = "mean margin, nats (0: unbiased)";

static void add_phases(const eh_report_run *run, int64_t run_count, int series, plane *made)
{
    const eh_results *results = run->results;
    const eh_metric_results *bias = eh_results_metric(results, "stereoset/likelihood"), *text;
    const int64_t margin = bias == NULL ? -1 : eh_results_figure(bias, "stereoset/margin", NULL, "all");
    int64_t bits, base = -1, shown = 0;
    if (margin < 0 || !eh_results_capability(results, &text, &bits))
        return;
    for (int64_t p = 0; p < results->phase_count; p++) {
        const char *phase = results->phases[p].name, *name = eh_short_phase(phase);
        const eh_mark x = eh_mark_of(text, p, bits), y = eh_mark_of(bias, p, margin);
        if (!eh_phase_is_result(phase) || !isfinite(x.value) || !isfinite(y.value))
            continue;
        char *title = made->titles[made->count];
        snprintf(title, sizeof made->titles[0], "%.80s, %.40s: bias %.3f [%.3f, %.3f] nats, %.3f bits per byte",
                 results->name, name, y.value, y.interval.low, y.interval.high, x.value);
        // Intervals of capability are of the text, which all phases share: they would hide what differs.
        made->points[made->count] = (eh_point){
            x.value,        y.value, {NAN, NAN}, y.interval, name, title, run_count > 1 ? series : (int)shown++,
            shape_of(phase)};
        if (strcmp(phase, "before") == 0)
            base = made->count;
        else if (base >= 0)
            made->paths[made->path_count++] = (eh_path){base, made->count, strcmp(phase, "after") != 0};
        made->count++;
    }
}

// Few runs: every phase, a colour a run.
static eh_status plot_phases(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    plane made = {0};
    const char *names[EH_PAGE_FEW_RUNS];
    int64_t capacity = 0;
    eh_status status = EH_OK;
    for (int64_t r = 0; r < run_count; r++) capacity += runs[r].results->phase_count;
    EH_TRY_OR(done, plane_init(capacity, &made));
    for (int64_t r = 0; r < run_count; r++) {
        add_phases(&runs[r], run_count, (int)r, &made);
        names[r] = runs[r].results->name;
    }
    if (run_count > 4) // so many labels would cover the points: their titles say what they are
        for (int64_t i = 0; i < made.count; i++) made.points[i].label = NULL;
    const eh_scatter scatter = {.x_label = bits_label,
                                .y_label = margin_label,
                                .x_reference = run_count == 1 && made.count > 0 ? made.points[0].x : NAN,
                                .y_reference = 0,
                                .wide = true,
                                .paths = made.paths,
                                .path_count = made.path_count,
                                .series = run_count > 1 ? names : NULL,
                                .series_count = run_count};
    const eh_chart chart = {.title = plane_title,
                            .caption = "Mitigation moves down to the dashed line at 0 and stays at the left; damage "
                                       "drifts to the right. A treatment "
                                       "that works (triangle) lies nearer to 0 than the damage control (cross), which "
                                       "has lost as much capability. "
                                       "Other "
                                       "controls: placebo a ring, neutral text a square, reversed training a diamond. "
                                       "Upright lines: 95 % intervals.",
                            .unit = "",
                            .reference = NAN};
    status = made.count > 1 ? eh_chart_scatter(&chart, &scatter, made.points, made.count, html) : EH_OK;
done:
    plane_deinit(&made);
    return status;
}

// The colours of verdicts, by their place among the series.
static const char *const verdict_series[] = {"no effect", "damage only", "effective",
                                             "backfires", "trade-off",   "inconclusive, or none"};

static int series_of(const eh_verdicts *verdicts)
{
    const int count = sizeof verdict_series / sizeof *verdict_series;
    const bool judged = verdicts->row_count > 0 && !verdicts->any_failed;
    for (int s = 0; judged && s < count; s++)
        if (strcmp(verdict_series[s], eh_verdict_name(verdicts->rows[0].verdict)) == 0)
            return s;
    return count - 1;
}

// Many runs: from the base to the treated model, in the colour of the verdict.
static eh_status plot_ways(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    plane made = {0};
    int64_t capacity = 0, kept = 0;
    eh_status status = EH_OK;
    for (int64_t r = 0; r < run_count; r++) capacity += runs[r].results->phase_count;
    EH_TRY_OR(done, plane_init(capacity, &made));
    for (int64_t r = 0; r < run_count; r++) add_phases(&runs[r], run_count, series_of(runs[r].verdicts), &made);
    for (int64_t p = 0; p < made.path_count; p++)
        if (made.points[made.paths[p].to].shape == EH_ARROWHEAD)
            made.paths[kept++] = made.paths[p];
    made.path_count = kept;
    for (int64_t i = 0; i < made.count; i++) {
        eh_point *point = &made.points[i];
        point->label = NULL;
        point->y_interval = (eh_interval){NAN, NAN}; // so many would hide the points: the list has them
        if (point->shape != EH_DOT && point->shape != EH_ARROWHEAD)
            point->x = point->y = NAN;
    }
    const eh_scatter scatter = {.x_label = bits_label,
                                .y_label = margin_label,
                                .x_reference = NAN,
                                .y_reference = 0,
                                .wide = true,
                                .paths = made.paths,
                                .path_count = made.path_count,
                                .series = verdict_series,
                                .series_count = sizeof verdict_series / sizeof *verdict_series};
    const eh_chart chart = {.title = plane_title,
                            .caption = "A line for each run, from its base (dot) to the treated model (triangle), in "
                                       "the colour of its verdict. Mitigation moves down to the dashed line at 0 and "
                                       "stays at the left; damage drifts to the right. Each run's own page shows its "
                                       "controls beside it.",
                            .unit = "",
                            .reference = NAN};
    status = made.path_count > 0 ? eh_chart_scatter(&chart, &scatter, made.points, made.count, html) : EH_OK;
done:
    plane_deinit(&made);
    return status;
}

eh_status eh_page_plane(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    return run_count <= EH_PAGE_FEW_RUNS ? plot_phases(runs, run_count, html) : plot_ways(runs, run_count, html);
}

// --- Over model size ---
// Runs whose jobs differ in the model's size and the seed alone.
typedef struct {
    const eh_report_run *runs;
    int64_t run_count;
    const int64_t *curve; // [run_count] the first run of the same curve
    int64_t first;        // of this one
} size_curve;

// Adds a phase's figure of every run, joined from size to size for each seed.
static void add_sizes(const size_curve *curve, const char *figure, const char *phase, int series, plane *made)
{
    const int64_t first = made->count;
    for (int64_t r = 0; r < curve->run_count; r++) {
        const eh_results *results = curve->runs[r].results;
        const eh_metric_results *metric = eh_results_metric(results, "stereoset/likelihood");
        const int64_t p = eh_results_phase(results, phase);
        if (curve->curve[r] != curve->first || metric == NULL || p < 0 || !isfinite(results->phases[p].parameters))
            continue;
        const eh_mark y = eh_mark_of(metric, p, eh_results_figure(metric, figure, NULL, "all"));
        if (!isfinite(y.value))
            continue;
        snprintf(made->titles[made->count], sizeof made->titles[0], "%.100s, %s: %.3f [%.3f, %.3f]", results->name,
                 eh_short_phase(phase), y.value, y.interval.low, y.interval.high);
        made->points[made->count] = (eh_point){log10(results->phases[p].parameters),
                                               y.value,
                                               {NAN, NAN},
                                               y.interval,
                                               NULL,
                                               made->titles[made->count],
                                               series,
                                               shape_of(phase)};
        made->runs[made->count++] = r;
    }
    for (int64_t i = first; i < made->count; i++) {
        int64_t next = -1;
        for (int64_t k = first; k < made->count; k++)
            if (curve->runs[made->runs[k]].job->seed == curve->runs[made->runs[i]].job->seed &&
                made->points[k].x > made->points[i].x + 1e-9 && (next < 0 || made->points[k].x < made->points[next].x))
                next = k;
        if (next >= 0)
            made->paths[made->path_count++] = (eh_path){i, next, false};
    }
}

static bool sizes_differ(const plane *made)
{
    for (int64_t i = 1; i < made->count; i++)
        if (fabs(made->points[i].x - made->points[0].x) > 1e-6)
            return true;
    return false;
}

// What all names of a curve's runs have in common: "task-gap-fill" of "path-small_task-gap-fill" and
// "path-large_task-gap-fill".
static eh_status common_words(const size_curve *curve, eh_string *words)
{
    const char *name = curve->runs[curve->first].results->name;
    for (size_t size; *name != '\0'; name += size + (name[size] == '_')) {
        bool in_all = true;
        size = strcspn(name, "_");
        for (int64_t r = 0; r < curve->run_count; r++) {
            bool found = curve->curve[r] != curve->first;
            for (const char *other = curve->runs[r].results->name; !found && *other != '\0';) {
                const size_t length = strcspn(other, "_");
                found = length == size && memcmp(other, name, size) == 0;
                other += length + (other[length] == '_');
            }
            in_all = in_all && found;
        }
        if (in_all)
            EH_TRY(eh_string_printf(words, ", %.*s", (int)size, name));
    }
    return EH_OK;
}

static const char *architecture_of(const eh_report_run *run)
{
    const char *name = run->results->phase_count > 0 ? run->results->phases[0].architecture : NULL;
    return name != NULL ? name : "";
}

static eh_status plot_sizes(const size_curve *curve, const char *figure, const char *title, const char *y_label,
                            double reference, eh_string *html)
{
    static const char *const phases[] = {"before", "after", "control-damage", "control-placebo"}, *const names[] = {
                                                                                                      "before", "after",
                                                                                                      "damage",
                                                                                                      "placebo"};
    const char *architecture = architecture_of(&curve->runs[curve->first]);
    plane made = {0};
    eh_string words = {0};
    int64_t series = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&words, "%s%s%s", title, architecture[0] != '\0' ? ", " : "", architecture));
    EH_TRY_OR(done, common_words(curve, &words));
    EH_TRY_OR(done, plane_init(4 * curve->run_count, &made));
    for (int s = 0; s < 4; s++) {
        const int64_t before = made.count;
        add_sizes(curve, figure, phases[s], s, &made);
        if (made.count > before)
            series = s + 1;
    }
    const eh_scatter scatter = {.x_label = "parameters (logarithmic)",
                                .y_label = y_label,
                                .x_reference = NAN,
                                .y_reference = reference,
                                .log_x = true,
                                .paths = made.paths,
                                .path_count = made.path_count,
                                .series = names,
                                .series_count = series};
    const eh_chart chart = {.title = words.bytes,
                            .caption = "Runs that differ in nothing but their model's size and their seed (a line "
                                       "each). Upright lines: 95 % intervals.",
                            .unit = "",
                            .reference = NAN};
    if (sizes_differ(&made))
        status = eh_chart_scatter(&chart, &scatter, made.points, made.count, html);
done:
    eh_string_deinit(&words);
    plane_deinit(&made);
    return status;
}

eh_status eh_page_scaling(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    int64_t *group = NULL, *curve = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(run_count, &group));
    EH_TRY_OR(done, EH_ALLOC(run_count, &curve));
    EH_TRY_OR(done, eh_group_runs(runs, run_count, EH_DIFFER_IN_MODEL, group));
    for (int64_t r = 0; r < run_count; r++) {
        curve[r] = r;
        for (int64_t other = r - 1; other >= 0; other--)
            if (group[other] == group[r] && strcmp(architecture_of(&runs[other]), architecture_of(&runs[r])) == 0)
                curve[r] = curve[other];
    }
    for (int64_t r = 0; r < run_count; r++) {
        const size_curve one = {runs, run_count, curve, r};
        if (curve[r] != r)
            continue;
        EH_TRY_OR(done, plot_sizes(&one, "stereoset/margin", "Scaling: bias", "mean margin, nats", 0, html));
        EH_TRY_OR(done,
                  plot_sizes(&one, "stereoset/official-macro/LM", "Scaling: language modelling", "LMS, %", NAN, html));
    }
done:
    eh_free(&group);
    eh_free(&curve);
    return status;
}

// --- The way of a training ---
static double value_of(const eh_estimate *estimate)
{
    return estimate == NULL ? NAN : estimate->value;
}

static eh_status plot_way(const eh_trajectory *way, eh_string *html)
{
    plane made = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, plane_init(way->count, &made));
    for (int64_t i = 0; i < way->count; i++) {
        const eh_trajectory_point *point = &way->points[i];
        if (!isfinite(value_of(point->margin)) || !isfinite(value_of(point->bits)))
            continue;
        snprintf(made.titles[made.count], sizeof made.titles[0], "%s: bias %.3f nats, %.3f bits per byte%s",
                 point->phase, point->margin->value, point->bits->value, point->on_front ? ", on the front" : "");
        made.points[made.count] = (eh_point){point->bits->value,
                                             point->margin->value,
                                             {NAN, NAN},
                                             point->margin->interval,
                                             point->phase,
                                             made.titles[made.count],
                                             point->on_front ? 2 : 5,
                                             strcmp(point->phase, "after") == 0 ? EH_ARROWHEAD : EH_DOT};
        if (made.count > 0)
            made.paths[made.path_count++] = (eh_path){made.count - 1, made.count, true};
        made.count++;
    }
    const eh_scatter scatter = {.x_label = "bits per byte of held-out text (further right is worse)",
                                .y_label = "bias: mean margin, nats",
                                .x_reference = NAN,
                                .y_reference = 0,
                                .paths = made.paths,
                                .path_count = made.path_count};
    const eh_chart chart = {
        .title = "The way of the training",
        .caption = "Bias and capability at every checkpoint. Green: on the Pareto front, no other point is both "
                   "nearer to neutral and better on the text. Upright lines: 95 % intervals.",
        .unit = "",
        .reference = NAN};
    if (made.count > 2)
        status = eh_chart_scatter(&chart, &scatter, made.points, made.count, html);
done:
    plane_deinit(&made);
    return status;
}

static eh_status plot_over_steps(const eh_trajectory *way, int what, const char *title, const char *caption,
                                 double reference, const char *y_label, eh_string *html)
{
    plane made = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, plane_init(way->count, &made));
    for (int64_t i = 0; i < way->count; i++) {
        const eh_trajectory_point *point = &way->points[i];
        const eh_estimate *estimate = what == 0 ? point->margin : what == 1 ? point->bits : point->divergence;
        if (!isfinite(value_of(estimate)) || !isfinite(point->step))
            continue;
        snprintf(made.titles[made.count], sizeof made.titles[0], "%s: %.4f", point->phase, estimate->value);
        made.points[made.count] = (eh_point){point->step, estimate->value,         {NAN, NAN}, estimate->interval,
                                             NULL,        made.titles[made.count], what,       EH_DOT};
        if (made.count > 0)
            made.paths[made.path_count++] = (eh_path){made.count - 1, made.count, false};
        made.count++;
    }
    const eh_scatter scatter = {.x_label = "step of the training",
                                .y_label = y_label,
                                .x_reference = NAN,
                                .y_reference = reference,
                                .paths = made.paths,
                                .path_count = made.path_count};
    const eh_chart chart = {.title = title, .caption = caption, .unit = "", .reference = NAN};
    if (made.count > 2)
        status = eh_chart_scatter(&chart, &scatter, made.points, made.count, html);
done:
    plane_deinit(&made);
    return status;
}

eh_status eh_page_trajectory(const eh_report_run *run, eh_string *html)
{
    eh_trajectory way = {0};
    eh_status status = eh_trajectory_make(run->results, &way);
    if (status == EH_OK && way.count > 0) {
        EH_TRY_OR(done, plot_way(&way, html));
        EH_TRY_OR(done, plot_over_steps(&way, 0, "Bias over the training",
                                        "Mean margin at every checkpoint; 0 (dashed) is unbiased. Upright lines: 95 % "
                                        "intervals.",
                                        0, "mean margin, nats", html));
        EH_TRY_OR(done,
                  plot_over_steps(&way, 1, "Capability over the training",
                                  "Held-out text at every checkpoint; less is better. Upright lines: 95 % intervals.",
                                  NAN, "bits per byte", html));
        EH_TRY_OR(done, plot_over_steps(&way, 2, "Distance from the base over the training",
                                        "KL divergence from the base model per token of neutral text.", NAN,
                                        "KL to the base, nats", html));
    }
done:
    eh_trajectory_deinit(&way);
    return status;
}
