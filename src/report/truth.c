#include "report/truth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "report/columns.h"
#include "report/draws.h"

static void phase_deinit(eh_truth_phase *phase)
{
    for (int64_t d = 0; d < phase->draw_count; d++) phase_deinit(&phase->draws[d]);
    eh_free(&phase->draws);
    eh_free(&phase->points);
    *phase = (eh_truth_phase){0};
}

void eh_truth_deinit(eh_truth *truth)
{
    for (int64_t p = 0; p < truth->phase_count; p++) phase_deinit(&truth->phases[p]);
    eh_free(&truth->phases);
    eh_free(&truth->path);
    *truth = (eh_truth){0};
}

// Points sorted by "people/pair" for finding.
typedef struct {
    char key[64];
    double sum;
    int64_t items, row;
} cell;

static int by_key(const void *left, const void *right)
{
    return strcmp(((const cell *)left)->key, ((const cell *)right)->key);
}

static eh_status make_cells(const eh_columns *truth, cell **cells)
{
    const int64_t people = eh_columns_find(truth, "people"), pair = eh_columns_find(truth, "pair");
    EH_TRY(EH_ALLOC(truth->row_count, cells));
    for (int64_t r = 0; r < truth->row_count; r++) {
        snprintf((*cells)[r].key, sizeof(*cells)[r].key, "%s/%s", eh_columns_text(truth, r, people),
                 eh_columns_text(truth, r, pair));
        (*cells)[r].row = r;
    }
    qsort(*cells, (size_t)truth->row_count, sizeof **cells, by_key);
    return EH_OK;
}

// The key of an item's id: all before its last slash.
static bool key_of(const char *id, char key[64])
{
    const char *slash = strrchr(id, '/');
    if (slash == NULL || slash - id >= 64)
        return false;
    memcpy(key, id, (size_t)(slash - id));
    key[slash - id] = '\0';
    return true;
}

static void add_margins(const eh_score_table *table, cell *cells, int64_t cell_count)
{
    const int64_t id = eh_score_column(table, "id"), task = eh_score_column(table, "task");
    // What each kind of model was taught: sentences (decoder), words under masks, gaps (encoder-decoder).
    static const char *const forms[] = {"", "pll_", "infill_"};
    int64_t more = -1, less = -1;
    for (size_t f = 0; f < sizeof forms / sizeof *forms && (more < 0 || less < 0); f++) {
        char name[64];
        snprintf(name, sizeof name, "%slog_likelihood_stereotype", forms[f]);
        more = eh_score_column(table, name);
        snprintf(name, sizeof name, "%slog_likelihood_anti_stereotype", forms[f]);
        less = eh_score_column(table, name);
    }
    if (id < 0 || more < 0 || less < 0)
        return;
    for (int64_t r = 0; r < table->row_count; r++) {
        cell wanted = {.row = 0};
        if (task >= 0 && strcmp(table->columns[task].texts[r], "intrasentence") != 0)
            continue;
        const double margin = table->columns[more].numbers[r] - table->columns[less].numbers[r];
        if (!isfinite(margin) || !key_of(table->columns[id].texts[r], wanted.key))
            continue;
        cell *found = bsearch(&wanted, cells, (size_t)cell_count, sizeof *cells, by_key);
        if (found == NULL)
            continue;
        found->sum += margin;
        found->items++;
    }
}

static void copy_field(const eh_columns *truth, int64_t row, const char *header, char *field, size_t size)
{
    snprintf(field, size, "%s", eh_columns_text(truth, row, eh_columns_find(truth, header)));
}

static eh_status fit_phase(const eh_columns *truth, const cell *cells, eh_truth_phase *phase)
{
    double *planted = NULL, *measured = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(truth->row_count, &phase->points));
    EH_TRY_OR(done, EH_ALLOC(truth->row_count, &planted));
    EH_TRY_OR(done, EH_ALLOC(truth->row_count, &measured));
    for (int64_t c = 0; c < truth->row_count; c++) {
        const double odds = eh_columns_number(truth, cells[c].row, eh_columns_find(truth, "log_odds"));
        if (cells[c].items == 0 || !isfinite(odds))
            continue;
        eh_truth_point *point = &phase->points[phase->point_count];
        copy_field(truth, cells[c].row, "people", point->people, sizeof point->people);
        copy_field(truth, cells[c].row, "stereotype", point->stereotype, sizeof point->stereotype);
        copy_field(truth, cells[c].row, "anti_stereotype", point->anti_stereotype, sizeof point->anti_stereotype);
        copy_field(truth, cells[c].row, "kind", point->kind, sizeof point->kind);
        copy_field(truth, cells[c].row, "exposure", point->exposure, sizeof point->exposure);
        point->planted = planted[phase->point_count] = odds;
        point->measured = measured[phase->point_count] = cells[c].sum / (double)cells[c].items;
        point->items = cells[c].items;
        phase->point_count++;
    }
    phase->line = eh_fit_line(planted, measured, phase->point_count);
done:
    eh_free(&planted);
    eh_free(&measured);
    return status;
}

static eh_status measure(const eh_columns *truth, const eh_score_table *table, eh_truth_phase *phase)
{
    cell *cells = NULL;
    eh_status status = make_cells(truth, &cells);
    if (status == EH_OK)
        add_margins(table, cells, truth->row_count);
    if (status == EH_OK)
        status = fit_phase(truth, cells, phase);
    eh_free(&cells);
    return status;
}

// The damage control's models: their mean by pair of people and attribute, which all of them were asked of, with the
// line through it.
static eh_status measure_draws(const eh_columns *truth, const eh_results *results, const char *metric,
                               eh_truth_phase *mean)
{
    double *planted = NULL, *measured = NULL, *slopes = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(results->draw_count, &mean->draws));
    EH_TRY_OR(done, EH_ALLOC(results->draw_count, &slopes));
    for (int64_t d = 0; d < results->draw_count; d++) {
        const eh_score_table *table = eh_phase_table(&results->draws[d], metric);
        if (table != NULL)
            EH_TRY_OR(done, measure(truth, table, &mean->draws[mean->draw_count++]));
    }
    const int64_t count = mean->draw_count, points = count > 0 ? mean->draws[0].point_count : 0;
    for (int64_t d = 0; d < count; d++)
        if (mean->draws[d].point_count != points || points == 0 || count < results->draw_count)
            goto done; // a model that some are not scored of: no mean
    EH_TRY_OR(done, EH_ALLOC(points, &mean->points));
    EH_TRY_OR(done, EH_ALLOC(points, &planted));
    EH_TRY_OR(done, EH_ALLOC(points, &measured));
    for (int64_t i = 0; i < points; i++) {
        mean->points[i] = mean->draws[0].points[i];
        for (int64_t d = 0; d < count; d++) measured[i] += mean->draws[d].points[i].measured / (double)count;
        mean->points[i].measured = measured[i];
        planted[i] = mean->points[i].planted;
    }
    mean->point_count = points;
    mean->line = eh_fit_line(planted, measured, points);
    for (int64_t d = 0; d < count; d++) slopes[d] = mean->draws[d].line.slope;
    mean->line.slope_interval =
        eh_interval_widened(mean->line.slope_interval, mean->line.slope, eh_draws_scatter_of(slopes, count).single,
                            (double)(count / 2), 0.95);
done:
    eh_free(&planted);
    eh_free(&measured);
    eh_free(&slopes);
    return status;
}

eh_status eh_truth_read(const char *path, const eh_results *results, const eh_metric_results *metric, eh_truth *truth)
{
    eh_columns columns = {0};
    eh_status status = EH_OK;
    *truth = (eh_truth){0};
    EH_TRY_OR(done, eh_columns_read(path, &columns));
    EH_TRY_OR(done, eh_copy_string(path, &truth->path));
    EH_TRY_OR(done, EH_ALLOC(results->phase_count, &truth->phases));
    for (int64_t p = 0; p < results->phase_count; p++) {
        if (metric->phases[p].table == NULL)
            continue;
        eh_truth_phase *phase = &truth->phases[truth->phase_count++];
        phase->phase = p;
        EH_TRY_OR(done, results->phases[p].draw_count > 0 ? measure_draws(&columns, results, metric->name, phase)
                                                          : measure(&columns, metric->phases[p].table, phase));
        if (phase->point_count == 0)
            phase_deinit(&truth->phases[--truth->phase_count]);
    }
done:
    eh_columns_deinit(&columns);
    return status;
}
