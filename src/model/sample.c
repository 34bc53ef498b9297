// Sampling as transformers orders it: repetition penalty (Keskar et al. 2019), no-repeat n-gram, minimum length; then
// temperature, top-k, top-p (Holtzman et al. 2020), which the device does (eh_sample_rows): only tokens come back from
// it.
#include "model/sample.h"

#include <string.h>

#include "core/memory.h"
#include "core/philox.h"

eh_status eh_sampler_init(eh_backend *backend, const eh_generation *settings, int64_t vocab_size, int64_t rows,
                          int64_t length, eh_sampler *sampler)
{
    // A token of the text is penalised once or banned; then there is the end of the text.
    *sampler = (eh_sampler){.backend = backend,
                            .settings = settings,
                            .vocab_size = vocab_size,
                            .row_capacity = rows,
                            .edit_capacity = rows * (length + 1)};
    EH_TRY(EH_ALLOC(3 * sampler->edit_capacity, &sampler->host_edits));
    EH_TRY(EH_ALLOC(rows, &sampler->host_draws));
    EH_TRY(EH_ALLOC(rows, &sampler->host_index));
    EH_TRY(EH_ALLOC(vocab_size, &sampler->edit_of));
    const size_t bytes = (size_t)(3 * sampler->edit_capacity + 3 * rows + 1) * sizeof(int32_t);
    return eh_buffer_new(backend, bytes, "sampling", &sampler->buffer);
}

void eh_sampler_deinit(eh_sampler *sampler)
{
    eh_buffer_free(&sampler->buffer);
    eh_free(&sampler->host_edits);
    eh_free(&sampler->host_draws);
    eh_free(&sampler->host_index);
    eh_free(&sampler->edit_of);
}

void eh_sampler_begin(eh_sampler *sampler)
{
    sampler->row_count = sampler->edit_count = 0;
}

// A ban outweighs a penalty.
static void edit(eh_sampler *sampler, int32_t token, bool ban)
{
    int32_t *place = &sampler->edit_of[token];
    const bool known = *place > 0 && *place <= sampler->edit_count &&
                       sampler->host_edits[3 * (*place - 1)] == sampler->row_count &&
                       sampler->host_edits[3 * (*place - 1) + 1] == token;
    if (!known) {
        EH_ASSERT(sampler->edit_count < sampler->edit_capacity);
        int32_t *fresh = sampler->host_edits + 3 * sampler->edit_count++;
        fresh[0] = (int32_t)sampler->row_count;
        fresh[1] = token;
        fresh[2] = 0;
        *place = (int32_t)sampler->edit_count;
    }
    if (ban)
        sampler->host_edits[3 * (*place - 1) + 2] = 1;
}

// Bans what would complete an n-gram that was there before.
static void ban_repeats(eh_sampler *sampler, const int32_t *ids, int64_t count)
{
    const int64_t n = sampler->settings->no_repeat_ngram;
    if (n == 0 || count + 1 < n)
        return;
    const int32_t *end = ids + count - (n - 1);
    for (int64_t i = 0; i + n <= count; i++)
        if (memcmp(ids + i, end, (size_t)(n - 1) * sizeof *ids) == 0)
            edit(sampler, ids[i + n - 1], true);
}

void eh_sampler_add(eh_sampler *sampler, const eh_sample_place *place, const int32_t *ids, int64_t count, int64_t made)
{
    const eh_generation *settings = sampler->settings;
    const uint64_t key = (uint64_t)place->item << 20 ^ (uint64_t)place->sample;
    EH_ASSERT(sampler->row_count < sampler->row_capacity);
    // Tokens that occurred get less likely, once each however often they did.
    for (int64_t i = 0; i < count && settings->repetition_penalty != 1; i++) edit(sampler, ids[i], false);
    ban_repeats(sampler, ids, count);
    if (made < settings->min_new_tokens && settings->eos >= 0)
        edit(sampler, settings->eos, true);
    sampler->host_draws[sampler->row_count++] =
        eh_random_uniform(settings->seed ^ key * 0x9E3779B97F4A7C15u, EH_STREAM_SAMPLING, (uint64_t)place->index);
}

eh_status eh_sampler_end(eh_sampler *sampler, const eh_tensor *logits, const int32_t **tokens)
{
    const eh_generation *settings = sampler->settings;
    const int64_t rows = sampler->row_count;
    eh_sampling sampling = {
        .logits = *logits,
        .penalty = settings->repetition_penalty,
        .temperature = settings->temperature,
        .top_p = settings->top_p,
        .top_k = settings->top_k,
        .index = {.buffer = sampler->buffer, .dtype = EH_I32, .dimension_count = 1, .shape = {rows}}};
    *tokens = sampler->host_index;
    if (settings->sample) {
        sampling.draws = (eh_tensor){.buffer = sampler->buffer,
                                     .offset = (size_t)(sampler->row_capacity + sampler->row_capacity % 2) * 4,
                                     .dtype = EH_I32,
                                     .dimension_count = 2,
                                     .shape = {rows, 2}};
        EH_TRY(eh_backend_upload(sampler->backend, sampler->host_draws, &sampling.draws));
    }
    if (sampler->edit_count > 0) {
        sampling.edits = (eh_tensor){.buffer = sampler->buffer,
                                     .offset = (size_t)(3 * sampler->row_capacity + 1) * 4,
                                     .dtype = EH_I32,
                                     .dimension_count = 2,
                                     .shape = {sampler->edit_count, 3}};
        EH_TRY(eh_backend_upload(sampler->backend, sampler->host_edits, &sampling.edits));
    }
    EH_TRY(eh_sample_rows(sampler->backend, &sampling));
    return eh_backend_download(sampler->backend, &sampling.index, sampler->host_index);
}
