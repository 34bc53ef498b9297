// Prepared rows and their sums: what every metric and every bootstrap draw shares.
#include "metrics/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"
#include "metrics/sample_internal.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

static void free_names(char **names, int64_t count)
{
    for (int64_t i = 0; names != NULL && i < count; i++) eh_free(&names[i]);
}

void eh_sample_deinit(eh_sample *sample)
{
    free_names(sample->cluster_names, sample->cluster_count);
    free_names(sample->stratum_names, sample->stratum_count);
    eh_free(&sample->rows);
    eh_free(&sample->ids);
    eh_free(&sample->clusters);
    eh_free(&sample->strata);
    eh_free(&sample->cluster_first);
    eh_free(&sample->cluster_names);
    eh_free(&sample->stratum_names);
    eh_free(&sample->values);
    eh_free(&sample->scopes);
    eh_free(&sample->figures);
    eh_free(&sample->totals);
    *sample = (eh_sample){0};
}

int64_t eh_sample_totals_count(const eh_sample *sample, int64_t cluster_count)
{
    return cluster_count * sample->stratum_count * (1 + sample->value_count);
}

WIDE static void add_values(int64_t count, const double *restrict values, double *restrict sums)
{
#pragma omp simd
    for (int64_t v = 0; v < count; v++) sums[v] += values[v];
}

void eh_sample_add_item(const eh_sample *sample, int64_t item, double *cell)
{
    const double *values = sample->values + item * sample->value_count;
    cell[0] += 1;
    if (sample->maximum_count > 0)
        eh_sample_combine(sample, cell, values);
    else
        add_values(sample->value_count, values, cell + 1);
}

static void add_item(const eh_sample *sample, int64_t item, double *cluster_totals)
{
    eh_sample_add_item(sample, item, cluster_totals + sample->strata[item] * (1 + sample->value_count));
}

void eh_sample_summarise(const eh_sample *sample, const eh_draw *draw, double *totals, eh_figure *figures)
{
    if (draw == NULL) {
        sample->metric->summarise(sample, sample->totals, sample->cluster_count, figures);
        return;
    }
    const int64_t width = eh_sample_totals_count(sample, 1);
    memset(totals, 0, (size_t)(width * draw->cluster_count) * sizeof *totals);
    for (int64_t c = 0; c < draw->cluster_count; c++)
        for (int64_t i = draw->first[c]; i < draw->first[c + 1]; i++)
            add_item(sample, draw->items[i], totals + c * width);
    sample->metric->summarise(sample, totals, draw->cluster_count, figures);
}

int64_t eh_sample_find(const eh_sample *sample, const char *name, const char *score, const char *scope)
{
    for (int64_t f = 0; f < sample->figure_count; f++) {
        const eh_figure_info *info = &sample->figures[f];
        if (info->null_picker[0] == '\0' && strcmp(info->name, name) == 0 && strcmp(info->score, score) == 0 &&
            strcmp(info->scope, scope) == 0)
            return f;
    }
    return -1;
}

void eh_sample_scope_sums(const eh_sample *sample, const double *totals, int64_t cluster_count, int64_t scope,
                          double *sums)
{
    const int64_t width = 1 + sample->value_count;
    const uint8_t *takes = sample->scopes + scope * sample->stratum_count;
    memset(sums, 0, (size_t)width * sizeof *sums);
    for (int64_t c = 0; c < cluster_count; c++)
        for (int64_t s = 0; s < sample->stratum_count; s++) {
            const double *cell = totals + (c * sample->stratum_count + s) * width;
            if (!takes[s] || cell[0] == 0)
                continue;
            sums[0] += cell[0];
            eh_sample_combine(sample, sums, cell + 1);
        }
}

void eh_sample_cluster_sums(const eh_sample *sample, const double *totals, int64_t cluster, int64_t scope, double *sums)
{
    eh_sample_scope_sums(sample, totals + eh_sample_totals_count(sample, cluster), 1, scope, sums);
}

double eh_null_random(int64_t item, int option)
{
    return eh_random_uniform(0, EH_STREAM_NULL_PICKER, (uint64_t)item * 16 + (uint64_t)option);
}

// --- Alignment of two samples ---------------------------------------------------------------------------------

static int compare_ids(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static bool holds(const int64_t *sorted, int64_t count, int64_t id)
{
    return bsearch(&id, sorted, (size_t)count, sizeof id, compare_ids) != NULL;
}

static void sum_totals(eh_sample *sample)
{
    memset(sample->totals, 0, (size_t)eh_sample_totals_count(sample, sample->cluster_count) * sizeof(double));
    for (int64_t i = 0; i < sample->item_count; i++)
        add_item(sample, i, sample->totals + eh_sample_totals_count(sample, sample->clusters[i]));
}

// Drops the items that `sorted` lacks and the clusters that are empty then.
static void keep_items(eh_sample *sample, const int64_t *sorted, int64_t count)
{
    int64_t kept = 0, clusters = 0;
    for (int64_t c = 0; c < sample->cluster_count; c++) {
        const int64_t begin = kept;
        for (int64_t i = sample->cluster_first[c]; i < sample->cluster_first[c + 1]; i++) {
            if (!holds(sorted, count, sample->ids[i]))
                continue;
            sample->rows[kept] = sample->rows[i];
            sample->ids[kept] = sample->ids[i];
            sample->strata[kept] = sample->strata[i];
            sample->clusters[kept] = (int32_t)clusters;
            memmove(sample->values + kept * sample->value_count, sample->values + i * sample->value_count,
                    (size_t)sample->value_count * sizeof(double));
            kept++;
        }
        char *name = sample->cluster_names[c];
        sample->cluster_names[c] = NULL;
        if (kept == begin) {
            eh_free(&name);
        } else {
            sample->cluster_names[clusters] = name;
            sample->cluster_first[clusters++] = begin; // clusters <= c: read already
        }
    }
    sample->cluster_first[clusters] = kept;
    sample->item_count = kept;
    sample->cluster_count = clusters;
    sum_totals(sample);
}

// Both hold the same items now: gives `after` the order of `before`.
static eh_status same_order(const eh_sample *before, const eh_sample *after)
{
    bool same = before->item_count == after->item_count && before->cluster_count == after->cluster_count;
    for (int64_t i = 0; same && i < before->item_count; i++)
        same = before->ids[i] == after->ids[i] && before->clusters[i] == after->clusters[i];
    return same ? EH_OK
                : eh_error(EH_INPUT, "the two score tables hold the same items in another order or under other terms: "
                                     "were they made from the same data set?");
}

eh_status eh_samples_align(eh_sample *before, eh_sample *after)
{
    if (before->metric != after->metric || before->value_count != after->value_count)
        return eh_error(EH_INPUT, "scores of different metrics or kinds of model can't be compared item by item");
    eh_status status = EH_OK;
    int64_t *ids = NULL, *other_ids = NULL;
    const int64_t before_count = before->item_count, after_count = after->item_count;
    EH_TRY_OR(done, EH_ALLOC(before_count, &ids));
    EH_TRY_OR(done, EH_ALLOC(after_count, &other_ids));
    for (int64_t i = 0; i < before_count; i++) ids[i] = before->ids[i];
    for (int64_t i = 0; i < after_count; i++) other_ids[i] = after->ids[i];
    qsort(ids, (size_t)before_count, sizeof *ids, compare_ids);
    qsort(other_ids, (size_t)after_count, sizeof *other_ids, compare_ids);
    keep_items(before, other_ids, after_count);
    keep_items(after, ids, before_count);
    if (before->item_count == 0)
        status = eh_error(EH_INPUT, "the two score tables have no scored item in common");
    else
        status = same_order(before, after);
done:
    eh_free(&ids);
    eh_free(&other_ids);
    return status;
}

// --- Columns ------------------------------------------------------------------------------------------------------

eh_status eh_need_column(const eh_score_table *table, const char *name, int64_t *column)
{
    *column = eh_score_column(table, name);
    return *column >= 0 ? EH_OK : eh_error(EH_INPUT, "score table '%s' lacks the column '%s'", table->name, name);
}

double eh_row_number(const eh_score_table *table, int64_t column, int64_t row)
{
    return column < 0 ? NAN : table->columns[column].numbers[row];
}

int64_t eh_row_integer(const eh_score_table *table, int64_t column, int64_t row)
{
    return column < 0 ? 0 : table->columns[column].integers[row];
}

const char *eh_row_text(const eh_score_table *table, int64_t column, int64_t row)
{
    const char *text = column < 0 ? NULL : table->columns[column].texts[row];
    return text == NULL ? "" : text;
}

// --- Building -----------------------------------------------------------------------------------------------------

eh_sample_builder eh_sample_begin(eh_sample *sample, int64_t value_count)
{
    sample->value_count = value_count;
    return (eh_sample_builder){.sample = sample};
}

void eh_sample_builder_deinit(eh_sample_builder *builder)
{
    const int64_t scopes = builder->sample == NULL ? 0 : builder->sample->scope_count;
    free_names(builder->scope_names, scopes);
    eh_free(&builder->scope_names);
    eh_free(&builder->slots);
}

static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
    for (; *name != '\0'; name++) hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return hash;
}

static int64_t find_slot(const eh_sample_builder *builder, const char *name)
{
    int64_t slot = (int64_t)(hash_name(name) & (uint64_t)(builder->slot_count - 1));
    while (builder->slots[slot] != 0 && strcmp(builder->sample->cluster_names[builder->slots[slot] - 1], name) != 0)
        slot = (slot + 1) & (builder->slot_count - 1);
    return slot;
}

static eh_status grow_slots(eh_sample_builder *builder)
{
    if (2 * builder->sample->cluster_count < builder->slot_count)
        return EH_OK;
    eh_free(&builder->slots);
    builder->slot_count = builder->slot_count > 0 ? 2 * builder->slot_count : 256;
    EH_TRY(EH_ALLOC(builder->slot_count, &builder->slots));
    for (int64_t c = 0; c < builder->sample->cluster_count; c++)
        builder->slots[find_slot(builder, builder->sample->cluster_names[c])] = c + 1;
    return EH_OK;
}

eh_status eh_sample_cluster(eh_sample_builder *builder, const char *name, int32_t *index)
{
    EH_TRY(grow_slots(builder));
    eh_sample *sample = builder->sample;
    const int64_t slot = find_slot(builder, name);
    if (builder->slots[slot] == 0) {
        char *copy = NULL;
        EH_TRY(eh_copy_string(name, &copy));
        EH_TRY(EH_APPEND(&sample->cluster_names, &sample->cluster_count, &builder->cluster_capacity, copy));
        builder->slots[slot] = sample->cluster_count;
    }
    *index = (int32_t)(builder->slots[slot] - 1);
    return EH_OK;
}

eh_status eh_sample_stratum(eh_sample_builder *builder, const char *name, int32_t *index)
{
    eh_sample *sample = builder->sample;
    EH_ASSERT(sample->scope_count == 0);
    for (int64_t s = 0; s < sample->stratum_count; s++)
        if (strcmp(sample->stratum_names[s], name) == 0) {
            *index = (int32_t)s;
            return EH_OK;
        }
    char *copy = NULL;
    EH_TRY(eh_copy_string(name, &copy));
    *index = (int32_t)sample->stratum_count;
    return EH_APPEND(&sample->stratum_names, &sample->stratum_count, &builder->stratum_capacity, copy);
}

eh_status eh_sample_item(eh_sample_builder *builder, int64_t row, int64_t id, int32_t cluster, int32_t stratum,
                         const double *values)
{
    eh_sample *sample = builder->sample;
    for (int64_t v = 0; v < sample->value_count; v++) EH_ASSERT(isfinite(values[v]));
    int64_t capacity = builder->item_capacity;
    EH_TRY(eh_reserve(sample->item_count + 1, &capacity, sizeof *sample->rows, (void **)&sample->rows));
    if (capacity != builder->item_capacity) {
        EH_TRY(EH_RESIZE(sample->item_count, capacity, &sample->ids));
        EH_TRY(EH_RESIZE(sample->item_count, capacity, &sample->clusters));
        EH_TRY(EH_RESIZE(sample->item_count, capacity, &sample->strata));
        EH_TRY(EH_RESIZE(sample->item_count * sample->value_count, capacity * sample->value_count, &sample->values));
        builder->item_capacity = capacity;
    }
    const int64_t i = sample->item_count++;
    sample->rows[i] = row;
    sample->ids[i] = id;
    sample->clusters[i] = cluster;
    sample->strata[i] = stratum;
    if (sample->value_count > 0)
        memcpy(sample->values + i * sample->value_count, values, (size_t)sample->value_count * sizeof *values);
    return EH_OK;
}

// Whether `word` is one of the '/'-separated parts of `name`.
static bool has_part(const char *name, const char *word, size_t size)
{
    for (const char *part = name;; part++) {
        const size_t length = strcspn(part, "/");
        if (length == size && memcmp(part, word, size) == 0)
            return true;
        part += length;
        if (*part == '\0')
            return false;
    }
}

static bool scope_takes(const char *pattern, const char *stratum)
{
    if (pattern[0] == '\0' || strcmp(pattern, "all") == 0)
        return true;
    for (const char *word = pattern;; word++) {
        const size_t length = strcspn(word, "/");
        if (!has_part(stratum, word, length))
            return false;
        word += length;
        if (*word == '\0')
            return true;
    }
}

eh_status eh_sample_scope(eh_sample_builder *builder, const char *name, const char *pattern, int64_t *index)
{
    eh_sample *sample = builder->sample;
    *index = -1;
    bool any = false;
    for (int64_t s = 0; s < sample->stratum_count; s++) any = any || scope_takes(pattern, sample->stratum_names[s]);
    if (!any)
        return EH_OK;
    const int64_t count = sample->scope_count;
    EH_TRY(EH_RESIZE(count * sample->stratum_count, (count + 1) * sample->stratum_count, &sample->scopes));
    EH_TRY(EH_RESIZE(count, count + 1, &builder->scope_names));
    EH_TRY(eh_copy_string(name, &builder->scope_names[count]));
    for (int64_t s = 0; s < sample->stratum_count; s++)
        sample->scopes[count * sample->stratum_count + s] = scope_takes(pattern, sample->stratum_names[s]);
    *index = count;
    sample->scope_count = count + 1;
    return EH_OK;
}

eh_status eh_sample_figure(eh_sample_builder *builder, const eh_figure_info *info)
{
    eh_sample *sample = builder->sample;
    EH_ASSERT(info->scope_index >= 0 && info->scope_index < sample->scope_count);
    EH_TRY(EH_APPEND(&sample->figures, &sample->figure_count, &builder->figure_capacity, *info));
    eh_figure_info *copy = &sample->figures[sample->figure_count - 1];
    const char *name = builder->scope_names[info->scope_index];
    const size_t length = strlen(name) < sizeof copy->scope - 1 ? strlen(name) : sizeof copy->scope - 1;
    memcpy(copy->scope, name, length);
    copy->scope[length] = '\0';
    return EH_OK;
}

eh_status eh_sample_finish(eh_sample_builder *builder)
{
    eh_sample *sample = builder->sample;
    eh_status status = EH_OK;
    eh_sample sorted = {.value_count = sample->value_count};
    int64_t *place = NULL;
    EH_TRY_OR(done, EH_ALLOC(sample->cluster_count + 1, &sample->cluster_first));
    EH_TRY_OR(done, EH_ALLOC(sample->cluster_count + 1, &place));
    EH_TRY_OR(done, EH_ALLOC(sample->item_count, &sorted.rows));
    EH_TRY_OR(done, EH_ALLOC(sample->item_count, &sorted.ids));
    EH_TRY_OR(done, EH_ALLOC(sample->item_count, &sorted.clusters));
    EH_TRY_OR(done, EH_ALLOC(sample->item_count, &sorted.strata));
    EH_TRY_OR(done, EH_ALLOC(sample->item_count * sample->value_count, &sorted.values));
    EH_TRY_OR(done, EH_ALLOC(eh_sample_totals_count(sample, sample->cluster_count), &sample->totals));
    for (int64_t i = 0; i < sample->item_count; i++) sample->cluster_first[sample->clusters[i] + 1]++;
    for (int64_t c = 0; c < sample->cluster_count; c++) {
        sample->cluster_first[c + 1] += sample->cluster_first[c];
        place[c] = sample->cluster_first[c];
    }
    for (int64_t i = 0; i < sample->item_count; i++) {
        const int64_t to = place[sample->clusters[i]]++;
        sorted.rows[to] = sample->rows[i];
        sorted.ids[to] = sample->ids[i];
        sorted.clusters[to] = sample->clusters[i];
        sorted.strata[to] = sample->strata[i];
        for (int64_t v = 0; v < sample->value_count; v++)
            sorted.values[to * sample->value_count + v] = sample->values[i * sample->value_count + v];
    }
#define SWAP(field)                   \
    do {                              \
        void *swap = sample->field;   \
        sample->field = sorted.field; \
        sorted.field = swap;          \
    } while (0)
    SWAP(rows);
    SWAP(ids);
    SWAP(clusters);
    SWAP(strata);
    SWAP(values);
#undef SWAP
    sum_totals(sample);
done:
    eh_free(&place);
    eh_sample_deinit(&sorted);
    return status;
}
