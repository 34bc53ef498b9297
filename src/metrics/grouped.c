#include "metrics/grouped_internal.h"

#include <stdio.h>

#define VALUES_MOST 64

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

const char *eh_named_text(const eh_score_table *table, const char *column, int64_t row)
{
    const int64_t index = eh_score_column(table, column);
    return index < 0 ? "" : eh_row_text(table, index, row);
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

// With more groups than this there are too many pairs to be of use.
#define PAIRED_GROUPS_MOST 8

static int64_t pair_count(const eh_grouped *grouped, const eh_sample *sample)
{
    const int64_t n = sample->stratum_count;
    return grouped->gap_name == NULL || n < 2 || n > PAIRED_GROUPS_MOST ? 0 : n * (n - 1) / 2;
}

static eh_status add_pairs(const eh_grouped *grouped, eh_sample_builder *builder)
{
    const eh_sample *sample = builder->sample;
    const eh_figure_row *row = &grouped->figures[grouped->gap_of];
    for (int64_t a = 0; pair_count(grouped, sample) > 0 && a < sample->stratum_count; a++)
        for (int64_t b = a + 1; b < sample->stratum_count; b++) {
            char scope[EH_FIGURE_NAME];
            const eh_figure_kind kind = row->kind == EH_FIGURE_PERCENT ? EH_FIGURE_SCORE : row->kind;
            eh_figure_info info = {.kind = kind, .ideal = 0, .item_value = -1, .main = row->main};
            snprintf(scope, sizeof scope, "%.30s - %.30s", sample->stratum_names[a], sample->stratum_names[b]);
            EH_TRY(eh_sample_scope(builder, scope, "all", &info.scope_index));
            snprintf(info.name, sizeof info.name, "%s", grouped->gap_name);
            snprintf(info.unit, sizeof info.unit, "%s", row->unit);
            EH_TRY(eh_sample_figure(builder, &info));
        }
    return EH_OK;
}

static eh_status add_items(const eh_grouped *grouped, const eh_score_table *table, eh_sample_builder *builder)
{
    double values[VALUES_MOST];
    int64_t columns[3] = {-1, -1, -1}; // item, stratum, cluster
    EH_ASSERT(grouped->value_count <= VALUES_MOST);
    EH_TRY(eh_need_column(table, "item", &columns[0]));
    EH_TRY(eh_need_column(table, grouped->stratum == NULL ? "group" : grouped->stratum, &columns[1]));
    if (grouped->cluster != NULL)
        EH_TRY(eh_need_column(table, grouped->cluster, &columns[2]));
    for (int64_t row = 0, end; row < table->row_count; row = end)
        EH_TRY(add_item(grouped, table, columns, row, &end, values, builder));
    return EH_OK;
}

eh_status eh_grouped_prepare(const eh_score_table *table, eh_sample *sample)
{
    const eh_grouped *grouped = sample->metric->grouped;
    eh_status status = EH_OK;
    eh_sample_builder builder = eh_sample_begin(sample, grouped->value_count);
    sample->maximum_count = grouped->maximum_count;
    EH_TRY_OR(done, add_items(grouped, table, &builder));
    EH_TRY_OR(done, add_scope(grouped, &builder, "all"));
    for (int64_t s = 0; s < sample->stratum_count && sample->stratum_count > 1; s++)
        EH_TRY_OR(done, add_scope(grouped, &builder, sample->stratum_names[s]));
    EH_TRY_OR(done, add_pairs(grouped, &builder));
    status = eh_sample_finish(&builder);
done:
    eh_sample_builder_deinit(&builder);
    return status;
}

void eh_grouped_summarise(const eh_sample *sample, const double *totals, int64_t cluster_count, eh_figure *figures)
{
    const eh_grouped *grouped = sample->metric->grouped;
    const int64_t pairs = pair_count(grouped, sample), scopes = sample->scope_count - pairs;
    for (int64_t scope = 0; scope < scopes; scope++) {
        double sums[1 + VALUES_MOST];
        eh_sample_scope_sums(sample, totals, cluster_count, scope, sums);
        grouped->summarise(sums[0], sums + 1, figures + scope * grouped->figure_count);
    }
    eh_figure *gap = figures + scopes * grouped->figure_count;
    for (int64_t a = 0; pairs > 0 && a < sample->stratum_count; a++)
        for (int64_t b = a + 1; b < sample->stratum_count; b++) {
            const eh_figure first = figures[(1 + a) * grouped->figure_count + grouped->gap_of];
            const eh_figure second = figures[(1 + b) * grouped->figure_count + grouped->gap_of];
            *gap++ = (eh_figure){.value = first.value - second.value, .n = first.n + second.n};
        }
}
