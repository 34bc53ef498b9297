#include "metrics/grouped_internal.h"

#include <stdio.h>

double eh_named_number(const eh_score_table *table, const char *column, int64_t row)
{
    const int64_t index = eh_score_column(table, column);
    return index < 0 ? NAN : eh_row_number(table, index, row);
}

int64_t eh_named_integer(const eh_score_table *table, const char *column, int64_t row)
{
    const int64_t index = eh_score_column(table, column);
    return index < 0 ? 0 : eh_row_integer(table, index, row);
}

static eh_status add_scope(const eh_grouped *grouped, eh_sample_builder *builder, const char *scope)
{
    int64_t index;
    EH_TRY(eh_sample_scope(builder, scope, scope, &index));
    for (int64_t f = 0; index >= 0 && f < grouped->figure_count; f++) {
        const eh_figure_row *row = &grouped->figures[f];
        eh_figure_info info = {.kind = row->kind,
                               .ideal = row->ideal,
                               .scope_index = index,
                               .item_value = row->item_value,
                               .main = row->main};
        snprintf(info.name, sizeof info.name, "%s", row->name);
        snprintf(info.unit, sizeof info.unit, "%s", row->unit);
        snprintf(info.null_picker, sizeof info.null_picker, "%s", row->null_picker == NULL ? "" : row->null_picker);
        EH_TRY(eh_sample_figure(builder, &info));
    }
    return EH_OK;
}

// The rows of an item are neighbours: [row, *end).
static eh_status add_item(const eh_grouped *grouped, const eh_score_table *table, const int64_t columns[3], int64_t row,
                          int64_t *end, double *values, eh_sample_builder *builder)
{
    const int64_t id = eh_row_integer(table, columns[0], row);
    char own[32];
    int32_t cluster, stratum;
    for (*end = row; *end < table->row_count && eh_row_integer(table, columns[0], *end) == id;) ++*end;
    EH_TRY(eh_sample_stratum(builder, eh_row_text(table, columns[1], row), &stratum));
    for (int64_t v = 0; v < grouped->value_count; v++) values[v] = 0;
    if (!grouped->fill(table, row, *end, values)) {
        builder->sample->missing_count++;
        return EH_OK;
    }
    snprintf(own, sizeof own, "%lld", (long long)id);
    EH_TRY(eh_sample_cluster(builder, columns[2] < 0 ? own : eh_row_text(table, columns[2], row), &cluster));
    return eh_sample_item(builder, row, id, cluster, stratum, values);
}

eh_status eh_grouped_begin(const eh_grouped *grouped, const eh_score_table *table, eh_sample *sample,
                           eh_sample_builder *builder)
{
    double values[64];
    int64_t columns[3] = {-1, -1, -1}; // item, stratum, cluster
    EH_ASSERT(grouped->value_count <= (int64_t)(sizeof values / sizeof *values));
    EH_TRY(eh_need_column(table, "item", &columns[0]));
    EH_TRY(eh_need_column(table, grouped->stratum == NULL ? "group" : grouped->stratum, &columns[1]));
    if (grouped->cluster != NULL)
        EH_TRY(eh_need_column(table, grouped->cluster, &columns[2]));
    *builder = eh_sample_begin(sample, grouped->value_count);
    for (int64_t row = 0, end; row < table->row_count; row = end)
        EH_TRY(add_item(grouped, table, columns, row, &end, values, builder));
    EH_TRY(add_scope(grouped, builder, "all"));
    for (int64_t s = 0; s < sample->stratum_count && sample->stratum_count > 1; s++)
        EH_TRY(add_scope(grouped, builder, sample->stratum_names[s]));
    return EH_OK;
}

eh_status eh_grouped_prepare(const eh_grouped *grouped, const eh_score_table *table, eh_sample *sample)
{
    eh_sample_builder builder = {0};
    eh_status status = eh_grouped_begin(grouped, table, sample, &builder);
    if (status == EH_OK)
        status = eh_sample_finish(&builder);
    eh_sample_builder_deinit(&builder);
    return status;
}
