#include "report/trajectory.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "report/columns.h"

// The last step of FOLDER/metrics.csv, NaN without one.
static eh_status find_last_step(const char *folder, double *step)
{
    eh_columns columns = {0};
    *step = NAN;
    const eh_status status = eh_columns_read_if_there(folder, "metrics.csv", &columns);
    const int64_t column = eh_columns_find(&columns, "step");
    if (status == EH_OK && column >= 0 && columns.row_count > 0)
        *step = eh_columns_number(&columns, columns.row_count - 1, column);
    eh_columns_deinit(&columns);
    return status;
}

static bool has_value(const eh_estimate *estimate)
{
    return estimate != NULL && isfinite(estimate->value);
}

static bool is_on_front(const eh_trajectory *way, int64_t index)
{
    const eh_trajectory_point *own = &way->points[index];
    if (!has_value(own->margin) || !has_value(own->bits))
        return false;
    for (int64_t i = 0; i < way->count; i++) {
        const eh_trajectory_point *other = &way->points[i];
        if (i == index || !has_value(other->margin) || !has_value(other->bits))
            continue;
        const double bias = fabs(other->margin->value) - fabs(own->margin->value);
        const double bits = other->bits->value - own->bits->value;
        if (bias <= 0 && bits <= 0 && (bias < 0 || bits < 0))
            return false;
    }
    return true;
}

eh_status eh_trajectory_make(const eh_results *results, eh_trajectory *way)
{
    const eh_metric_results *bias = eh_results_metric(results, "stereoset/likelihood"), *text = NULL,
                            *divergence = NULL;
    const int64_t margin = bias == NULL ? -1 : eh_results_figure(bias, "stereoset/margin", NULL, "all");
    int64_t bits = -1, kl = -1, checkpoints = 0;
    double last = NAN;
    for (int64_t p = 0; p < results->phase_count; p++) checkpoints += eh_phase_step(results->phases[p].name) >= 0;
    if (checkpoints == 0)
        return EH_OK;
    eh_results_capability(results, &text, &bits);
    eh_results_divergence(results, &divergence, &kl);
    EH_TRY(find_last_step(results->folder, &last));
    EH_TRY(EH_ALLOC(results->phase_count, &way->points));
    for (int64_t p = 0; p < results->phase_count; p++) {
        const char *name = results->phases[p].name;
        const int64_t step = eh_phase_step(name);
        const bool before = strcmp(name, "before") == 0;
        if (step < 0 && !before && strcmp(name, "after") != 0)
            continue;
        way->points[way->count++] =
            (eh_trajectory_point){.phase = name,
                                  .step = step >= 0 ? (double)step
                                          : before  ? 0
                                                    : last,
                                  .margin = bias == NULL ? NULL : eh_results_estimate(bias, p, margin),
                                  .bits = text == NULL ? NULL : eh_results_estimate(text, p, bits),
                                  .divergence = divergence == NULL ? NULL : eh_results_estimate(divergence, p, kl)};
    }
    for (int64_t i = 0; i < way->count; i++) way->points[i].on_front = is_on_front(way, i);
    return EH_OK;
}

void eh_trajectory_deinit(eh_trajectory *way)
{
    eh_free(&way->points);
    *way = (eh_trajectory){0};
}
