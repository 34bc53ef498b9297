#include "report/resample.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"
#include "metrics/metric.h"

#define FIRST_STAGE UINT32_MAX // the sub-counter that draws clusters; items use 0, 1, ...

// --- Setting up
// -------------------------------------------------------------------------------------------------------
static eh_status sort_into_cells(const eh_sample *sample, eh_resampler *resampler)
{
    eh_status status = EH_OK;
    int64_t *counts = NULL, cell_count = 0, capacity = 0, next = 0;
    EH_TRY_OR(done, EH_ALLOC(sample->stratum_count + 1, &counts));
    for (int64_t c = 0; c < sample->cluster_count; c++) {
        resampler->cell_first[c] = cell_count;
        memset(counts, 0, (size_t)sample->stratum_count * sizeof *counts);
        for (int64_t i = sample->cluster_first[c]; i < sample->cluster_first[c + 1]; i++) counts[sample->strata[i]]++;
        for (int32_t s = 0; s < sample->stratum_count; s++) {
            if (counts[s] == 0)
                continue;
            EH_TRY_OR(done, EH_APPEND(&resampler->cells, &cell_count, &capacity, ((eh_cell){s, next, counts[s]})));
            for (int64_t i = sample->cluster_first[c]; i < sample->cluster_first[c + 1]; i++)
                if (sample->strata[i] == s)
                    resampler->order[next++] = i;
        }
    }
    resampler->cell_first[sample->cluster_count] = cell_count;
done:
    eh_free(&counts);
    return status;
}

static int64_t root_of(int64_t *parents, int64_t stratum)
{
    while (parents[stratum] != stratum) stratum = parents[stratum] = parents[parents[stratum]];
    return stratum;
}

// Clusters whose strata are connected, directly or through other clusters, form a class.
static eh_status find_classes(const eh_sample *sample, eh_resampler *resampler)
{
    eh_status status = EH_OK;
    int64_t *parents = NULL, *numbers = NULL;
    EH_TRY_OR(done, EH_ALLOC(sample->stratum_count + 1, &parents));
    EH_TRY_OR(done, EH_ALLOC(sample->stratum_count + 1, &numbers));
    for (int64_t s = 0; s < sample->stratum_count; s++) parents[s] = s, numbers[s] = -1;
    for (int64_t c = 0; c < sample->cluster_count; c++)
        for (int64_t k = resampler->cell_first[c] + 1; k < resampler->cell_first[c + 1]; k++)
            parents[root_of(parents, resampler->cells[k].stratum)] =
                root_of(parents, resampler->cells[resampler->cell_first[c]].stratum);
    for (int64_t c = 0; c < sample->cluster_count; c++) {
        if (resampler->cell_first[c] == resampler->cell_first[c + 1]) {
            status = eh_error(EH_INPUT, "cluster '%s' has no items", sample->cluster_names[c]);
            goto done;
        }
        const int64_t root = root_of(parents, resampler->cells[resampler->cell_first[c]].stratum);
        if (numbers[root] < 0)
            numbers[root] = resampler->class_count++;
        resampler->class_of[c] = numbers[root];
    }
    EH_TRY_OR(done, EH_ALLOC(resampler->class_count + 1, &resampler->class_first));
    for (int64_t c = 0; c < sample->cluster_count; c++) resampler->class_first[resampler->class_of[c] + 1]++;
    for (int64_t k = 0; k < resampler->class_count; k++) resampler->class_first[k + 1] += resampler->class_first[k];
    int64_t next = 0;
    for (int64_t k = 0; k < resampler->class_count; k++)
        for (int64_t c = 0; c < sample->cluster_count; c++)
            if (resampler->class_of[c] == k)
                resampler->members[next++] = c;
done:
    eh_free(&parents);
    eh_free(&numbers);
    return status;
}

eh_status eh_resampler_init(const eh_sample *sample, eh_resampler *resampler)
{
    eh_status status = EH_OK;
    *resampler = (eh_resampler){.cluster_count = sample->cluster_count};
    EH_TRY_OR(failed, EH_ALLOC(sample->cluster_count + 1, &resampler->cell_first));
    EH_TRY_OR(failed, EH_ALLOC(sample->cluster_count + 1, &resampler->class_of));
    EH_TRY_OR(failed, EH_ALLOC(sample->cluster_count + 1, &resampler->members));
    EH_TRY_OR(failed, EH_ALLOC(sample->item_count + 1, &resampler->order));
    EH_TRY_OR(failed, sort_into_cells(sample, resampler));
    EH_TRY_OR(failed, find_classes(sample, resampler));
    resampler->singletons = sample->cluster_count == sample->item_count;
    return EH_OK;
failed:
    eh_resampler_deinit(resampler);
    return status;
}

void eh_resampler_deinit(eh_resampler *resampler)
{
    eh_free(&resampler->cells);
    eh_free(&resampler->cell_first);
    eh_free(&resampler->order);
    eh_free(&resampler->class_of);
    eh_free(&resampler->class_first);
    eh_free(&resampler->members);
    *resampler = (eh_resampler){0};
}

// --- Drawing
// ---------------------------------------------------------------------------------------------------------- 32 random
// bits applied to a bound below 2^32: uniform in {0 .. count - 1} up to a bias of count / 2^32.
static int64_t below(uint32_t random, int64_t count)
{
    return (int64_t)((uint64_t)random * (uint64_t)count >> 32);
}

static int64_t draw_cluster(const eh_resampler *resampler, uint64_t seed, int64_t replicate, int64_t slot)
{
    const int64_t class = resampler->class_of[slot], first = resampler->class_first[class];
    const uint64_t index = (uint64_t)replicate << 32 | (uint64_t)(slot / 4);
    const eh_philox_block block = eh_philox(seed, EH_STREAM_BOOTSTRAP, index, FIRST_STAGE);
    return resampler->members[first + below(block.word[slot % 4], resampler->class_first[class + 1] - first)];
}

int64_t eh_totals_rows(const eh_sample *sample)
{
    return sample->metric->pooled && sample->cluster_count > 0 ? 1 : sample->cluster_count;
}

void eh_resample_two_stage(const eh_resampler *resampler, const eh_sample *sample, uint64_t seed, int64_t replicate,
                           double *totals)
{
    const int64_t width = 1 + sample->value_count, strata = sample->stratum_count;
    memset(totals, 0, (size_t)(eh_totals_rows(sample) * strata * width) * sizeof *totals);
    for (int64_t slot = 0; slot < resampler->cluster_count; slot++) {
        const int64_t cluster = draw_cluster(resampler, seed, replicate, slot);
        const uint64_t index = (uint64_t)replicate << 32 | (uint64_t)slot;
        eh_philox_block block = {{0}};
        uint32_t drawn = 0;
        for (int64_t k = resampler->cell_first[cluster]; k < resampler->cell_first[cluster + 1]; k++) {
            const eh_cell cell = resampler->cells[k];
            double *const total = totals + ((sample->metric->pooled ? 0 : slot) * strata + cell.stratum) * width;
            for (int64_t i = 0; i < cell.count; i++, drawn++) {
                if (drawn % 4 == 0 && !resampler->singletons)
                    block = eh_philox(seed, EH_STREAM_BOOTSTRAP, index, drawn / 4);
                const int64_t item = resampler->order[cell.first + below(block.word[drawn % 4], cell.count)];
                eh_sample_add_item(sample, item, total);
            }
        }
    }
}
