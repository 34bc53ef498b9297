// Everything that a run's score files say: the figures of every phase with their intervals, and the paired differences
// between phases. Tables, plots and the verdict only read it.
#ifndef EH_REPORT_RESULTS_H
#define EH_REPORT_RESULTS_H

#include "core/log.h"
#include "io/scores.h"
#include "metrics/metric.h"
#include "report/bootstrap.h"

// One scores-<phase>.h5.
typedef struct {
    char *name; // "before", "step-200", "after", "control-placebo"
    char *path, *model_path, *model_sha256, *seed, *version;
    double parameters;  // of the model, NaN: not known
    char *architecture; // "bloom", ...; "": not known
    eh_score_table *tables;
    int64_t table_count;
    int64_t draw_count; // of "control-damage", the mean of so many models (results.draws); 0 otherwise
} eh_phase;

// Figures of one metric in one phase.
typedef struct {
    const eh_score_table *table; // NULL: this phase has no such table, or one that was refused; of the damage control,
                                 // the first draw's
    const char *refusal;         // why it was; NULL: it was not
    eh_sample sample;
    eh_estimate *estimates; // [figure_count]
} eh_phase_figures;

// Differences to - from of all figures, on the items that both phases hold.
typedef struct {
    int64_t from, to;         // phases
    eh_estimate *differences; // [figure_count]
    eh_interval *on_average;  // [figure_count] 95 % interval of the difference to the mean of the damage control's
                              // draws, where `differences` have that to a new draw; NULL without draws
    double *p;                // [figure_count] of "no difference", by `tests`; NaN where draws of the noise scatter too
    const char **tests;       // [figure_count] "sign-flip", "McNemar mid-p", "bootstrap"
    double *mcnemar;          // [figure_count] McNemar's mid-p where items are hits or misses, else NaN
    double *p_table, *p_all;  // Holm over the main figures; Benjamini-Hochberg over all
    char *trouble;            // NULL, or why there are no differences
} eh_comparison;

typedef struct {
    char *name; // of the table
    const eh_metric *metric;
    int64_t figure_count;
    const eh_figure_info *figures; // those of the first phase that has the table
    int64_t first_phase;           // that has the table; -1: none, the metric was refused in all
    eh_phase_figures *phases;      // [phase_count]
    double *draw_values;           // [draw_count, figure_count] of the damage control's models, NULL without them
    eh_comparison *comparisons;
    int64_t comparison_count;
} eh_metric_results;

typedef struct {
    char *name, *folder; // the job's
    eh_phase *phases;    // before, the checkpoints by step, after, then the controls in the order of their names
    int64_t phase_count;
    eh_phase *draws; // the models of the damage control, in their order; their mean is the phase "control-damage"
    int64_t draw_count;
    eh_metric_results *metrics;
    int64_t metric_count;
    bool kept; // estimates and comparisons are those that an earlier report of the same scores has kept
} eh_results;

// Reads FOLDER/scores-*.h5 and computes everything. EH_INPUT if there is no score file, or before and after are the
// same model.
EH_CHECKED eh_status eh_results_read(const char *name, const char *folder, const eh_bootstrap_settings *settings,
                                     const eh_log *log, eh_results *results);
void eh_results_deinit(eh_results *results);

int64_t eh_results_phase(const eh_results *results, const char *name); // -1 if there is none
// The table "stereoset/likelihood", of any data set ("stereoset/likelihood@dev"); NULL if there is none.
const eh_metric_results *eh_results_metric(const eh_results *results, const char *table);
const eh_comparison *eh_results_comparison(const eh_metric_results *metric, int64_t from, int64_t to); // or NULL
// The figure by its name, score and scope (NULL score: the first), not a null picker's; -1 if there is none.
int64_t eh_results_figure(const eh_metric_results *metric, const char *name, const char *score, const char *scope);

const eh_score_table *eh_phase_table(const eh_phase *phase, const char *name); // NULL if there is none

// The step of a checkpoint's phase ("step-200"), -1 for another.
int64_t eh_phase_step(const char *phase);
// Whether a table of results shows the phase: the checkpoints have a table of their own, and the base measured a second
// time is a check of the instrument.
bool eh_phase_is_result(const char *phase);
// The main figure of capability, in bits per byte of held-out text; false if there is none.
bool eh_results_capability(const eh_results *results, const eh_metric_results **metric, int64_t *figure);
// The divergence from the base model per token of neutral text, in nats; false if there is none.
bool eh_results_divergence(const eh_results *results, const eh_metric_results **metric, int64_t *figure);

// A figure in a phase; NULL if the phase has no such table.
const eh_estimate *eh_results_estimate(const eh_metric_results *metric, int64_t phase, int64_t figure);

// Whether a scope of StereoSet is a bias type: neither "all", nor a task, nor a type within a task.
bool eh_scope_is_bias_type(const char *scope);

#endif
