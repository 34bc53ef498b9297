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
