// The key and value cache: one block, a slot per sequence, the slots of a layer together.
#include "model/cache.h"

#include "core/memory.h"

// A row of a layer's product is cut into pieces of equal width, of which every one is all query, all key or all value:
// a head's, or all heads' where they lie side by side.
static int64_t piece_width(const eh_transformer *t)
{
    return t->qkv_layout == EH_QKV_PER_HEAD ? t->head_size : t->head_count * t->head_size;
}

static int64_t pieces_kept(const eh_transformer *t) // of a row: its keys and values
{
    return 2 * t->head_count * t->head_size / piece_width(t);
}

static eh_tensor place(eh_cache *cache, eh_dtype dtype, int64_t rows, int64_t columns, size_t *used)
{
    eh_tensor tensor = {.buffer = cache->buffer,
                        .offset = *used,
                        .dtype = dtype,
                        .dimension_count = columns > 0 ? 2 : 1,
                        .shape = {rows, columns}};
    *used += (eh_tensor_bytes(&tensor) + 255) / 256 * 256;
    return tensor;
}

static size_t lay_out(eh_cache *cache, const eh_model *model, int64_t batch_rows)
{
    const eh_transformer *t = &model->t;
    const int64_t width = t->head_count * t->head_size, layers = t->layer_count[EH_STACK_DECODER];
    size_t used = 0;
    cache->tokens = place(cache, model->compute, layers * cache->slots * cache->slot_rows, 2 * width, &used);
    cache->sources = place(cache, model->compute, layers * cache->slots * cache->source_rows, 2 * width, &used);
    cache->pieces = place(cache, EH_I32, batch_rows * pieces_kept(t), 0, &used);
    return used;
}

size_t eh_cache_bytes(const eh_model *model, int64_t slots, int64_t slot_rows, int64_t source_rows, int64_t batch_rows)
{
    eh_cache cache = {.slots = slots, .slot_rows = slot_rows, .source_rows = source_rows};
    return lay_out(&cache, model, batch_rows);
}

// Keys of all heads, then values, of every row that a batch may have: the same for all layers and batches.
static eh_status number_pieces(eh_cache *cache)
{
    const eh_transformer *t = &cache->model->t;
    const int64_t count = cache->pieces.shape[0], of_part = pieces_kept(t) / 2;
    const bool per_head = t->qkv_layout == EH_QKV_PER_HEAD;
    int32_t *numbers = NULL;
    if (count == 0)
        return EH_OK;
    if (count / 2 * 3 > INT32_MAX)
        return eh_error(EH_INPUT, "a batch of %lld pieces of keys and values is more than a batch can be",
                        (long long)count);
    EH_TRY(EH_ALLOC(count, &numbers));
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = i / (2 * of_part), part = 1 + i / of_part % 2, head = i % of_part; // part 0: the query
        numbers[i] = (int32_t)(3 * of_part * row + (per_head ? 3 * head + part : part));
    }
    const eh_status status = eh_backend_upload(cache->model->backend, numbers, &cache->pieces);
    eh_free(&numbers);
    return status;
}

eh_status eh_cache_init(eh_cache *cache, eh_model *model, int64_t slots, int64_t slot_rows, int64_t source_rows,
                        int64_t batch_rows)
{
    *cache = (eh_cache){.model = model, .slots = slots, .slot_rows = slot_rows, .source_rows = source_rows};
    const size_t bytes = lay_out(cache, model, batch_rows);
    EH_TRY(eh_buffer_new(model->backend, bytes, "keys and values", &cache->buffer));
    lay_out(cache, model, batch_rows);
    EH_TRY(EH_ALLOC(slots, &cache->runs));
    return number_pieces(cache);
}

void eh_cache_deinit(eh_cache *cache)
{
    eh_buffer_free(&cache->buffer);
    eh_free(&cache->runs);
    *cache = (eh_cache){0};
}

eh_status eh_cache_store(eh_cache *cache, int64_t layer, const eh_tensor *qkv, eh_tensor *all)
{
    const eh_transformer *t = &cache->model->t;
    const int64_t rows = cache->slots * cache->slot_rows, width = piece_width(t), kept = pieces_kept(t);
    const eh_tensor from = eh_tensor_reshape(qkv, 2, (int64_t[]){eh_tensor_count(qkv) / width, width});
    *all = eh_tensor_rows(&cache->tokens, layer * rows, rows);
    for (int64_t r = 0; r < cache->run_count; r++) {
        const eh_cache_run *run = &cache->runs[r];
        const eh_tensor pieces = eh_tensor_rows(&cache->pieces, run->batch_row * kept, run->count * kept);
        const eh_tensor own = eh_tensor_rows(all, run->cache_row, run->count);
        const eh_tensor to = eh_tensor_reshape(&own, 2, (int64_t[]){run->count * kept, width});
        EH_TRY(eh_gather_rows(cache->model->backend, &from, &pieces, EH_WRITE, &to));
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
