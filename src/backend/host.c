#include "backend/host.h"

#include <string.h>

#include "core/memory.h"

eh_status eh_host_buffer_new(eh_buffer *buffer, const char *purpose)
{
    return eh_map(buffer->bytes, purpose, &buffer->address);
}

eh_status eh_host_buffer_view(eh_buffer *buffer, const void *host)
{
    buffer->address = (void *)(uintptr_t)host; // never written: backend.c and operations.c refuse it
    return EH_OK;
}

void eh_host_buffer_free(eh_buffer *buffer)
{
    if (!buffer->is_view)
        eh_unmap(&buffer->address, buffer->bytes);
}

eh_status eh_host_upload(eh_backend *backend, const void *host, const eh_tensor *tensor)
{
    (void)backend;
    memcpy(eh_tensor_address(tensor), host, eh_tensor_bytes(tensor));
    return EH_OK;
}

eh_status eh_host_download(eh_backend *backend, const eh_tensor *tensor, void *host)
{
    (void)backend;
    memcpy(host, eh_tensor_address(tensor), eh_tensor_bytes(tensor));
    return EH_OK;
}

eh_status eh_host_wait(eh_backend *backend)
{
    (void)backend;
    return EH_OK;
}

eh_status eh_host_reserve(eh_backend *backend, const eh_work_sizes *sizes)
{
    (void)backend;
    (void)sizes; // working memory is the stack's, or grows once
    return EH_OK;
}

eh_status eh_host_multiply_activate(eh_backend *backend, const eh_product *product, eh_activation kind,
                                    const eh_tensor *activated)
{
    EH_TRY(backend->table->multiply(backend, product));
    return backend->table->activation_forward(backend, kind, &product->y, NULL, activated);
}

eh_status eh_host_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs, int64_t run_count,
                             const eh_tensor *weights, const eh_tensor *gradient, const eh_tensor *m,
                             const eh_tensor *v, const eh_tensor *copy, eh_host_adamw *step)
{
    for (int64_t r = 0; r < run_count; r++) {
        const eh_adamw_run *run = &runs[r];
        eh_adamw own = *adamw;
        own.weight_decay = run->decays ? adamw->weight_decay : 0;
        const eh_tensor w = eh_tensor_rows(weights, run->weights, run->count);
        const eh_tensor g = eh_tensor_rows(gradient, run->gradient, run->count);
        const eh_tensor own_m = eh_tensor_rows(m, run->moments, run->count);
        const eh_tensor own_v = eh_tensor_rows(v, run->moments, run->count);
        eh_tensor c = {0};
        if (eh_tensor_exists(copy))
            c = eh_tensor_rows(copy, run->weights, run->count);
        if (run->count > 0)
            EH_TRY(step(backend, &own, &w, &g, &own_m, &own_v, &c));
    }
    return EH_OK;
}

eh_status eh_host_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                                int64_t stretch_count,
                                eh_status (*squared_norm)(eh_backend *, const eh_tensor *, double *))
{
    for (int64_t s = 0; s < stretch_count; s++) {
        const eh_norm_stretch *own = &stretches[s];
        for (int64_t done = 0, piece = 0; done < own->count; done += own->piece, piece++) {
            const int64_t rest = own->count - done;
            const eh_tensor part = eh_tensor_rows(x, own->first + done, rest < own->piece ? rest : own->piece);
            EH_TRY(squared_norm(backend, &part, &own->sums[piece]));
        }
    }
    return EH_OK;
}

static void clear_rows(const eh_attention *attention, const eh_heads *heads, int64_t first, int64_t count)
{
    const size_t element = eh_dtype_bytes(heads->tensor.dtype);
    for (int64_t row = first; row < first + count; row++)
        for (int64_t head = 0; head < attention->head_count; head++)
            memset((char *)eh_heads_address(heads) +
                       (size_t)(row * heads->token_stride + head * heads->head_stride) * element,
                   0, (size_t)attention->head_size * element);
}

void eh_host_clear_attention(const eh_attention *attention, const eh_attention_grads *grads)
{
    for (int64_t s = 0; s < attention->segment_count; s++) {
        const eh_segment *segment = &attention->host_segments[s];
        clear_rows(attention, &grads->grad_query, segment->query_begin, segment->query_count);
        clear_rows(attention, &grads->grad_key, segment->key_begin, segment->key_count);
        clear_rows(attention, &grads->grad_value, segment->key_begin, segment->key_count);
    }
}
