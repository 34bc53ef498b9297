#include "train/anchor.h"

#include <string.h>

#include "core/memory.h"

enum { PIECE = 65536 }; // elements pulled at a time

static eh_status new_block(eh_backend *backend, int64_t count, const char *purpose, eh_buffer **buffer,
                           eh_tensor *tensor)
{
    EH_TRY(eh_buffer_new(backend, (size_t)count * sizeof(float), purpose, buffer));
    *tensor = (eh_tensor){.buffer = *buffer, .dtype = EH_F32, .dimension_count = 1, .shape = {count}};
    return EH_OK;
}

eh_status eh_anchor_init(eh_backend *backend, const eh_model *model, double strength, eh_anchor_stretch *stretches,
                         int64_t stretch_count, eh_anchor *anchor)
{
    *anchor = (eh_anchor){
        .backend = backend, .strength = (float)strength, .stretches = stretches, .stretch_count = stretch_count};
    for (int64_t s = 0; s < stretch_count; s++) {
        stretches[s].at = anchor->count;
        anchor->count += stretches[s].count;
    }
    EH_TRY(new_block(backend, anchor->count, "the starting weights", &anchor->start_buffer, &anchor->start));
    EH_TRY(new_block(backend, PIECE, "a pulled gradient", &anchor->pulled_buffer, &anchor->pulled));
    const eh_tensor weights = eh_model_weights(model);
    for (int64_t s = 0; s < stretch_count; s++) {
        const eh_tensor own = eh_tensor_rows(&weights, stretches[s].weights, stretches[s].count);
        const eh_tensor start = eh_tensor_rows(&anchor->start, stretches[s].at, stretches[s].count);
        EH_TRY(eh_convert(backend, &own, &start));
        eh_tensor_release(&own);
    }
    return EH_OK;
}

eh_status eh_anchor_weigh(eh_backend *backend, const float *importance, eh_anchor *anchor)
{
    EH_TRY(new_block(backend, anchor->count, "the Fisher matrix's diagonal", &anchor->importance_buffer,
                     &anchor->importance));
    for (int64_t s = 0; s < anchor->stretch_count; s++) {
        const eh_anchor_stretch *stretch = &anchor->stretches[s];
        const eh_tensor own = eh_tensor_rows(&anchor->importance, stretch->at, stretch->count);
        EH_TRY(eh_backend_upload(backend, importance + stretch->block, &own));
    }
    return eh_backend_wait(backend);
}

void eh_anchor_deinit(eh_anchor *anchor)
{
    eh_buffer_free(&anchor->start_buffer);
    eh_buffer_free(&anchor->importance_buffer);
    eh_buffer_free(&anchor->pulled_buffer);
    eh_free(&anchor->stretches);
    *anchor = (eh_anchor){0};
}

// Elements [done, done + count) of a stretch.
static eh_status pull_piece(const eh_anchor *anchor, float strength, const eh_anchor_stretch *stretch, int64_t done,
                            int64_t count, const eh_tensor *held, const eh_tensor *sum)
{
    const eh_tensor weights = eh_tensor_rows(held, stretch->weights + done, count);
    const eh_tensor start = eh_tensor_rows(&anchor->start, stretch->at + done, count);
    const eh_tensor gradient = eh_tensor_rows(sum, stretch->sum + done, count);
    const eh_tensor pulled = eh_tensor_rows(&anchor->pulled, 0, count);
    eh_tensor importance = {0};
    if (eh_tensor_exists(&anchor->importance))
        importance = eh_tensor_rows(&anchor->importance, stretch->at + done, count);
    float *host = eh_tensor_host(&gradient);
    if (host == NULL)
        return eh_pull(anchor->backend, strength, &weights, &start, &importance, &gradient);
    EH_TRY(eh_convert(anchor->backend, &gradient, &pulled));
    EH_TRY(eh_pull(anchor->backend, strength, &weights, &start, &importance, &pulled));
    EH_TRY(eh_backend_wait(anchor->backend));
    memcpy(host, eh_tensor_host(&pulled), (size_t)count * sizeof *host);
    eh_tensor_release(&weights);
    return EH_OK;
}

eh_status eh_anchor_pull(const eh_anchor *anchor, const eh_model *model, float scale, const eh_tensor *sum)
{
    const eh_tensor held = eh_model_weights(model);
    for (int64_t s = 0; s < anchor->stretch_count; s++) {
        const eh_anchor_stretch *stretch = &anchor->stretches[s];
        for (int64_t done = 0; done < stretch->count; done += PIECE) {
            const int64_t count = stretch->count - done < PIECE ? stretch->count - done : PIECE;
            EH_TRY(pull_piece(anchor, anchor->strength * scale, stretch, done, count, &held, sum));
        }
    }
    return EH_OK;
}
