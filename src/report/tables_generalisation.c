// How far what was learnt carries: the peoples and attributes of a planted world by whether the training pairs showed
// them together (seen), each apart (unseen-pair), never the attribute, never the people. The pairs without a planted
// bias (neutral) and those whose label is not what the corpus favours (reversed) stand apart: labels train these away
// from neutral.
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "report/draws.h"
#include "report/tables_internal.h"

#define MOST_PEOPLES 64

typedef struct {
    const char *kind, *exposure; // exposure NULL: any
    const char *name;
} slice;

static const slice slices[] = {
    {"stereotyped", "seen", "seen"},
    {"stereotyped", "unseen-pair", "unseen pair"},
    {"stereotyped", "unseen-attribute", "unseen attribute"},
    {"stereotyped", "unseen-people", "unseen people"},
    {"neutral", NULL, "neutral"},
    {"reversed", NULL, "reversed"},
};

// Sums over the cells of one people.
typedef struct {
    const char *people;
    double before, after;
    int64_t cells;
} people_sum;

static bool is_in(const slice *wanted, const eh_truth_point *point)
{
    return strcmp(point->kind, wanted->kind) == 0 &&
           (wanted->exposure == NULL || strcmp(point->exposure, wanted->exposure) == 0);
}

static bool is_same_cell(const eh_truth_point *left, const eh_truth_point *right)
{
    return strcmp(left->people, right->people) == 0 && strcmp(left->stereotype, right->stereotype) == 0 &&
           strcmp(left->anti_stereotype, right->anti_stereotype) == 0;
}

// Points of both phases are in the order of the same keys; a cell that one lacks is left out.
static int64_t sum_up(const slice *wanted, const eh_truth_phase *before, const eh_truth_phase *after, people_sum *sums)
{
    int64_t count = 0;
    for (int64_t b = 0, a = 0; b < before->point_count; b++) {
        const eh_truth_point *point = &before->points[b];
        int64_t at = a;
        while (at < after->point_count && !is_same_cell(point, &after->points[at])) at++;
        if (at == after->point_count)
            continue;
        a = at + 1;
        if (!is_in(wanted, point))
            continue;
        int64_t g = 0;
        while (g < count && strcmp(sums[g].people, point->people) != 0) g++;
        if (g == MOST_PEOPLES)
            continue;
        if (g == count)
            sums[count++] = (people_sum){.people = point->people};
        sums[g].before += point->measured;
        sums[g].after += after->points[at].measured;
        sums[g].cells++;
    }
    return count;
}

// Mean over peoples, with Student's t interval: cells of one people are not independent.
static eh_estimate mean_over(const double *values, int64_t count)
{
    eh_estimate mean = {.value = NAN, .n = count, .standard_error = NAN, .interval = {NAN, NAN}};
    double sum = 0, squares = 0;
    for (int64_t g = 0; g < count; g++) sum += values[g];
    if (count > 0)
        mean.value = sum / (double)count;
    for (int64_t g = 0; g < count; g++) squares += (values[g] - mean.value) * (values[g] - mean.value);
    if (count > 1) {
        mean.standard_error = sqrt(squares / (double)(count - 1) / (double)count);
        const double half = eh_student_quantile(0.975, (double)(count - 1)) * mean.standard_error;
        mean.interval = (eh_interval){mean.value - half, mean.value + half};
    }
    return mean;
}

enum { RUN, PHASE, PAIRS, CELLS, PEOPLES, BEFORE, AFTER, CHANGE, COLUMNS_COUNT };

// What a slice's cells are before and after, and the change.
typedef struct {
    eh_estimate means[3];
    int64_t cells, peoples;
} slice_means;

static void average(const slice *wanted, const eh_truth_phase *before, const eh_truth_phase *after, slice_means *m)
{
    people_sum sums[MOST_PEOPLES];
    double values[3][MOST_PEOPLES];
    *m = (slice_means){.peoples = sum_up(wanted, before, after, sums)};
    for (int64_t g = 0; g < m->peoples; g++) {
        values[0][g] = sums[g].before / (double)sums[g].cells;
        values[1][g] = sums[g].after / (double)sums[g].cells;
        values[2][g] = values[1][g] - values[0][g];
        m->cells += sums[g].cells;
    }
    for (int i = 0; i < 3; i++) m->means[i] = mean_over(values[i], m->peoples);
}

// The mean of several damaged models: its interval holds a new one.
static eh_status widen(const slice *wanted, const eh_truth_phase *before, const eh_truth_phase *after, slice_means *m)
{
    double *values = NULL; // [after or change, draws]
    const int64_t count = after->draw_count;
    EH_TRY(EH_ALLOC(2 * count, &values));
    for (int64_t d = 0; d < count; d++) {
        slice_means own;
        average(wanted, before, &after->draws[d], &own);
        for (int i = 0; i < 2; i++) values[i * count + d] = own.means[1 + i].value;
    }
    for (int i = 0; i < 2; i++) eh_draws_widen(eh_draws_scatter_of(values + i * count, count), count, &m->means[1 + i]);
    eh_free(&values);
    return EH_OK;
}

static eh_status add_row(eh_table *table, const char *run, const char *phase, const slice *wanted, const slice_means *m)
{
    eh_cell *cells;
    EH_TRY(eh_table_add_row(table, &cells));
    EH_TRY(eh_cell_set_text(&cells[RUN], "%s", run));
    EH_TRY(eh_cell_set_text(&cells[PHASE], "%s", phase));
    EH_TRY(eh_cell_set_text(&cells[PAIRS], "%s", wanted->name));
    EH_TRY(eh_cell_set_text(&cells[CELLS], "%lld", (long long)m->cells));
    EH_TRY(eh_cell_set_text(&cells[PEOPLES], "%lld", (long long)m->peoples));
    for (int i = 0; i < 3; i++) EH_TRY(eh_cell_set_estimate(&cells[BEFORE + i], &m->means[i], 3));
    cells[CHANGE].change = true;
    return EH_OK;
}

static eh_status add_phase(eh_table *table, const eh_report_run *run, int64_t run_count, const eh_truth_phase *before,
                           const eh_truth_phase *after)
{
    for (size_t s = 0; s < sizeof slices / sizeof *slices; s++) {
        slice_means means;
        average(&slices[s], before, after, &means);
        if (means.peoples == 0)
            continue;
        if (after->draw_count > 0)
            EH_TRY(widen(&slices[s], before, after, &means));
        EH_TRY(
            add_row(table, eh_run_title(run, run_count), run->results->phases[after->phase].name, &slices[s], &means));
    }
    return EH_OK;
}

eh_status eh_tables_add_generalisation(eh_table_list *list, const eh_report_run *runs, int64_t run_count)
{
    eh_table *table;
    EH_TRY(eh_tables_begin(
        list, "generalisation", "From the pairs that were trained on to what was never seen",
        "Mean margin (nats) over the cells of a planted world, a people and an attribute pair each, by what the "
        "training pairs show of them: both together, both but never together, never the attribute, never the people. "
        "Neutral: no planted bias; reversed: the label is not what the corpus favours, so that counter-stereotypes "
        "lead away from neutral. Change: after - before. Brackets: 95 %, Student's t over peoples; control-damage is "
        "the "
        "mean of several models, its intervals hold a new one.",
        COLUMNS("run", "phase", "pairs", "cells", "peoples", "before", "after", "change"), COLUMNS_COUNT, &table));
    table->long_list = run_count > 1;
    for (int64_t r = 0; r < run_count; r++) {
        const eh_truth *truth = runs[r].truth;
        const eh_truth_phase *before = NULL;
        for (int64_t p = 0; truth != NULL && p < truth->phase_count; p++)
            if (strcmp(runs[r].results->phases[truth->phases[p].phase].name, "before") == 0)
                before = &truth->phases[p];
        for (int64_t p = 0; before != NULL && p < truth->phase_count; p++)
            if (&truth->phases[p] != before && eh_phase_is_result(runs[r].results->phases[truth->phases[p].phase].name))
                EH_TRY(add_phase(table, &runs[r], run_count, before, &truth->phases[p]));
    }
    eh_tables_drop_if_empty(list);
    return EH_OK;
}
