// A sample of its own with the rows of another, and the mean of several.
#include <string.h>

#include "core/memory.h"
#include "metrics/sample.h"

#define COPY(field, number) copy_array(from->field, (number), sizeof *from->field, (void **)&to->field)

static eh_status copy_array(const void *from, int64_t count, size_t size, void **to)
{
    if (from == NULL)
        return EH_OK;
    EH_TRY(eh_alloc(count, size, to));
    memcpy(*to, from, (size_t)count * size);
    return EH_OK;
}

static eh_status copy_names(char *const *from, int64_t count, char ***to)
{
    EH_TRY(EH_ALLOC(count, to));
    for (int64_t i = 0; i < count; i++) EH_TRY(eh_copy_string(from[i], &(*to)[i]));
    return EH_OK;
}

static eh_status copy(const eh_sample *from, eh_sample *to)
{
    const int64_t items = from->item_count, clusters = from->cluster_count;
    EH_TRY(COPY(rows, items));
    EH_TRY(COPY(ids, items));
    EH_TRY(COPY(clusters, items));
    EH_TRY(COPY(strata, items));
    EH_TRY(COPY(cluster_first, clusters + 1));
    EH_TRY(COPY(values, items * from->value_count));
    EH_TRY(COPY(scopes, from->scope_count * from->stratum_count));
    EH_TRY(COPY(figures, from->figure_count));
    EH_TRY(COPY(totals, eh_sample_totals_count(from, clusters)));
    EH_TRY(copy_names(from->cluster_names, clusters, &to->cluster_names));
    return copy_names(from->stratum_names, from->stratum_count, &to->stratum_names);
}

eh_status eh_sample_copy(const eh_sample *from, eh_sample *to)
{
    *to = *from;
    to->rows = to->ids = to->cluster_first = NULL;
    to->clusters = to->strata = NULL;
    to->cluster_names = to->stratum_names = NULL;
    to->values = to->totals = NULL;
    to->scopes = NULL;
    to->figures = NULL;
    const eh_status status = copy(from, to);
    if (status != EH_OK)
        eh_sample_deinit(to);
    return status;
}

eh_status eh_sample_mean(const eh_sample *samples, int64_t count, eh_sample *mean)
{
    EH_TRY(eh_sample_copy(&samples[0], mean));
    for (int64_t v = 0; v < mean->item_count * mean->value_count; v++) {
        for (int64_t s = 1; s < count; s++) mean->values[v] += samples[s].values[v];
        mean->values[v] /= (double)count;
    }
    const int64_t width = 1 + mean->value_count;
    memset(mean->totals, 0, (size_t)eh_sample_totals_count(mean, mean->cluster_count) * sizeof *mean->totals);
    for (int64_t i = 0; i < mean->item_count; i++) {
        double *cell =
            mean->totals + eh_sample_totals_count(mean, mean->clusters[i]) + (int64_t)mean->strata[i] * width;
        eh_sample_add_item(mean, i, cell);
    }
    return EH_OK;
}
