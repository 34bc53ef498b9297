// The key and value cache: one block, a slot per sequence, the slots of a layer together.
#include "model/cache.h"

#include "core/memory.h"

static eh_tensor place(eh_cache *cache, int64_t rows, int64_t columns, size_t *used)
{
    eh_tensor tensor = {.buffer = cache->buffer,
                        .offset = *used,
                        .dtype = cache->model->compute,
                        .dimension_count = 2,
                        .shape = {rows, columns}};
    *used += (eh_tensor_bytes(&tensor) + 255) / 256 * 256;
    return tensor;
}

static size_t lay_out(eh_cache *cache)
{
    const eh_transformer *t = &cache->model->t;
    const int64_t width = t->head_count * t->head_size, layers = t->layer_count[EH_STACK_DECODER];
    size_t used = 0;
    cache->tokens = place(cache, layers * cache->slots * cache->slot_rows, 3 * width, &used);
    cache->sources = place(cache, layers * cache->slots * cache->source_rows, 2 * width, &used);
    return used;
}

eh_status eh_cache_init(eh_cache *cache, eh_model *model, int64_t slots, int64_t slot_rows, int64_t source_rows)
{
    *cache = (eh_cache){.model = model, .slots = slots, .slot_rows = slot_rows, .source_rows = source_rows};
    const size_t bytes = lay_out(cache);
    EH_TRY(eh_buffer_new(model->backend, bytes, "keys and values", &cache->buffer));
    lay_out(cache);
    return EH_ALLOC(slots, &cache->runs);
}

void eh_cache_deinit(eh_cache *cache)
{
    eh_buffer_free(&cache->buffer);
    eh_free(&cache->runs);
    *cache = (eh_cache){0};
}

eh_status eh_cache_store(eh_cache *cache, int64_t layer, const eh_tensor *qkv, eh_tensor *all)
{
    const int64_t rows = cache->slots * cache->slot_rows;
    *all = eh_tensor_rows(&cache->tokens, layer * rows, rows);
    for (int64_t r = 0; r < cache->run_count; r++) {
        const eh_cache_run *run = &cache->runs[r];
        const eh_tensor from = eh_tensor_rows(qkv, run->batch_row, run->count);
        const eh_tensor to = eh_tensor_rows(all, run->cache_row, run->count);
        EH_TRY(eh_convert(cache->model->backend, &from, &to));
    }
    return EH_OK;
}

eh_tensor eh_cache_source(const eh_cache *cache, int64_t layer)
{
    const int64_t rows = cache->slots * cache->source_rows;
    return eh_tensor_rows(&cache->sources, layer * rows, rows);
}

eh_status eh_cache_fill_source(eh_cache *cache, int64_t slot, const eh_tensor *source)
{
    const eh_model *model = cache->model;
    if (!eh_tensor_exists(source))
        return EH_OK;
    for (int64_t l = 0; l < model->t.layer_count[EH_STACK_DECODER]; l++) {
        const eh_tensor all = eh_cache_source(cache, l);
        const eh_tensor own = eh_tensor_rows(&all, slot * cache->source_rows, source->shape[0]);
        EH_TRY(eh_linear_forward(model->backend, &model->w.stacks[EH_STACK_DECODER].layers[l].cross_key_value, source,
                                 EH_WRITE, &own));
    }
    return EH_OK;
}
