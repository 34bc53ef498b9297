// Opening a backend, its memory, and tensors as views of it. The operations are in operations.c.
#include "backend/backend.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "backend/list.h"
#include "backend/profile.h"
#include "core/memory.h"

// A backend that was not built is a stub whose error says how to get it.
#ifndef EVENHAND_HAVE_CUDA
static eh_status open_missing(eh_backend *backend, int local_rank, int threads)
{
    (void)local_rank;
    (void)threads;
#define EH_EXPLAIN(backend_name, how)                     \
    if (strcmp(backend->table->name, #backend_name) == 0) \
        return eh_error(EH_MACHINE, "device '%s' was not built: %s", #backend_name, how);
    EH_BACKEND_LIST(EH_EXPLAIN)
#undef EH_EXPLAIN
    return EH_MACHINE;
}
static void close_missing(eh_backend *backend)
{
    (void)backend;
}
const eh_backend_table eh_backend_cuda = {.name = "cuda", .open = open_missing, .close = close_missing};
#endif

#define EH_BACKEND_ADDRESS(name, how) &eh_backend_##name,
static const eh_backend_table *const backends[] = {EH_BACKEND_LIST(EH_BACKEND_ADDRESS)};
#undef EH_BACKEND_ADDRESS
enum { BACKEND_COUNT = sizeof backends / sizeof *backends };

static eh_status open_table(const eh_backend_table *table, int local_rank, int threads, eh_backend **backend)
{
    eh_backend *fresh = NULL;
    EH_TRY(EH_ALLOC(1, &fresh));
    fresh->table = table;
    const eh_status status = table->open(fresh, local_rank, threads);
    if (status != EH_OK) {
        eh_free(&fresh);
        return status;
    }
    *backend = fresh;
    return EH_OK;
}

eh_status eh_backend_open(const char *name, int local_rank, int threads, eh_backend **backend)
{
    const bool any = strcmp(name, "auto") == 0;
    char passed_over[400] = "";
    eh_status status = EH_INPUT;
    for (int i = 0; i < BACKEND_COUNT; i++) {
        if (!any && strcmp(backends[i]->name, name) != 0)
            continue;
        status = open_table(backends[i], local_rank, threads, backend);
        if (status == EH_OK)
            snprintf((*backend)->passed_over, sizeof(*backend)->passed_over, "%s", passed_over);
        if (status == EH_OK || !any) {
            if (status == EH_OK)
                eh_error_clear(); // what "auto" passed over is no failure
            return status;
        }
        if (backends[i]->fill != NULL) // built, but this machine lacks the device
            snprintf(passed_over, sizeof passed_over, "%s", eh_error_message());
    }
    if (any)
        return status;
    return eh_error(EH_INPUT, "device '%s' is unknown; there are auto, cuda, cpu and reference", name);
}

void eh_backend_close(eh_backend **backend)
{
    if (*backend == NULL)
        return;
    eh_profile_free(&(*backend)->profile);
    (*backend)->table->close(*backend);
    eh_free(backend);
}

const char *eh_backend_name(const eh_backend *backend)
{
    return backend->table->name;
}

const char *eh_backend_description(const eh_backend *backend)
{
    return backend->description;
}

const char *eh_backend_identity(const eh_backend *backend)
{
    return backend->identity;
}

const char *eh_backend_passed_over(const eh_backend *backend)
{
    return backend->passed_over;
}

eh_dtype eh_backend_precision(const eh_backend *backend, const char *name)
{
    for (eh_dtype dtype = EH_F32; dtype <= EH_F16; dtype++)
        if (strcmp(name, eh_dtype_name(dtype)) == 0)
            return dtype;
    return backend->prefers_bf16 ? EH_BF16 : backend->prefers_fp16 ? EH_F16 : EH_F32;
}

bool eh_backend_packs(const eh_backend *backend, eh_dtype dtype)
{
    return dtype == EH_F32 || (dtype == EH_BF16 && backend->packs_bf16);
}

// --- Buffers -----------------------------------------------------------------------------
static atomic_uint_fast64_t buffer_serial;

static eh_status buffer_begin(eh_backend *backend, size_t bytes, eh_buffer **buffer)
{
    EH_TRY(EH_ALLOC(1, buffer));
    (*buffer)->backend = backend;
    (*buffer)->bytes = bytes;
    (*buffer)->serial = atomic_fetch_add(&buffer_serial, 1) + 1;
    return EH_OK;
}

eh_status eh_buffer_new(eh_backend *backend, size_t bytes, const char *purpose, eh_buffer **buffer)
{
    eh_buffer *fresh = NULL;
    EH_TRY(buffer_begin(backend, bytes, &fresh));
    const eh_status status = backend->table->buffer_new(fresh, purpose);
    if (status != EH_OK) {
        eh_free(&fresh);
        return status;
    }
    *buffer = fresh;
    return EH_OK;
}

eh_status eh_buffer_view(eh_backend *backend, const void *host, size_t bytes, eh_buffer **buffer)
{
    eh_buffer *fresh = NULL;
    EH_TRY(buffer_begin(backend, bytes, &fresh));
    fresh->is_view = true;
    const eh_status status = backend->table->buffer_view(fresh, host);
    if (status != EH_OK) {
        eh_free(&fresh);
        return status;
    }
    *buffer = fresh;
    return EH_OK;
}

eh_status eh_buffer_new_in_file(eh_backend *backend, size_t bytes, const char *folder, const char *purpose,
                                eh_buffer **buffer)
{
    eh_buffer *fresh = NULL;
    if (!backend->shares_host_memory)
        return eh_error(EH_INPUT, "%s on disk: only where the device's memory is the host's (cpu, reference)", purpose);
    EH_TRY(buffer_begin(backend, bytes, &fresh));
    fresh->in_file = true;
    const eh_status status = eh_map_file(folder, bytes, purpose, &fresh->address);
    if (status != EH_OK) {
        eh_free(&fresh);
        return status;
    }
    *buffer = fresh;
    return EH_OK;
}

bool eh_tensor_in_file(const eh_tensor *tensor)
{
    return eh_tensor_exists(tensor) && tensor->buffer->in_file;
}

void eh_tensor_release(const eh_tensor *tensor)
{
    if (eh_tensor_in_file(tensor))
        eh_release_pages(eh_tensor_address(tensor), eh_tensor_bytes(tensor));
}

void eh_buffer_free(eh_buffer **buffer)
{
    if (*buffer == NULL)
        return;
    (*buffer)->backend->table->buffer_free(*buffer);
    eh_free(buffer);
}

size_t eh_buffer_bytes(const eh_buffer *buffer)
{
    return buffer->bytes;
}

// --- Tensors -----------------------------------------------------------------------------
size_t eh_dtype_bytes(eh_dtype dtype)
{
    return dtype == EH_F32 || dtype == EH_I32 ? 4 : 2;
}

const char *eh_dtype_name(eh_dtype dtype)
{
    static const char *const names[] = {"fp32", "bf16", "fp16", "int32"};
    return names[dtype];
}

int64_t eh_tensor_count(const eh_tensor *tensor)
{
    int64_t count = 1;
    for (int d = 0; d < tensor->dimension_count; d++) count *= tensor->shape[d];
    return count;
}

size_t eh_tensor_bytes(const eh_tensor *tensor)
{
    return (size_t)eh_tensor_count(tensor) * eh_dtype_bytes(tensor->dtype);
}

eh_tensor eh_tensor_rows(const eh_tensor *tensor, int64_t first, int64_t count)
{
    EH_ASSERT(tensor->dimension_count > 0 && first >= 0 && count >= 0 && first + count <= tensor->shape[0]);
    eh_tensor rows = *tensor;
    int64_t row_count = 1;
    for (int d = 1; d < tensor->dimension_count; d++) row_count *= tensor->shape[d];
    rows.offset += (size_t)(first * row_count) * eh_dtype_bytes(tensor->dtype);
    rows.shape[0] = count;
    return rows;
}

eh_tensor eh_tensor_reshape(const eh_tensor *tensor, int dimension_count, const int64_t *shape)
{
    eh_tensor view = *tensor;
    EH_ASSERT(dimension_count >= 0 && dimension_count <= 4);
    view.dimension_count = dimension_count;
    for (int d = 0; d < 4; d++) view.shape[d] = d < dimension_count ? shape[d] : 0;
    EH_ASSERT(eh_tensor_count(&view) == eh_tensor_count(tensor));
    return view;
}

void *eh_tensor_host(const eh_tensor *tensor)
{
    eh_buffer *buffer = tensor->buffer;
    if (!buffer->backend->shares_host_memory)
        return NULL;
    buffer->write_count++; // the caller may write through it
    return eh_tensor_address(tensor);
}

eh_status eh_backend_upload(eh_backend *backend, const void *host, const eh_tensor *tensor)
{
    EH_ASSERT(tensor->offset + eh_tensor_bytes(tensor) <= tensor->buffer->bytes);
    EH_ASSERT(!tensor->buffer->is_view);
    tensor->buffer->write_count++;
    return eh_tensor_count(tensor) == 0 ? EH_OK : backend->table->upload(backend, host, tensor);
}

eh_status eh_backend_download(eh_backend *backend, const eh_tensor *tensor, void *host)
{
    EH_ASSERT(tensor->offset + eh_tensor_bytes(tensor) <= tensor->buffer->bytes);
    return eh_tensor_count(tensor) == 0 ? eh_backend_wait(backend) : backend->table->download(backend, tensor, host);
}

eh_status eh_backend_wait(eh_backend *backend)
{
    return backend->table->wait(backend);
}

eh_status eh_backend_reserve(eh_backend *backend, const eh_work_sizes *sizes)
{
    return backend->table->reserve(backend, sizes);
}

int eh_relative_bucket(int64_t distance, bool bidirectional, int bucket_count, int max_distance)
{
    int bucket = 0;
    if (bidirectional) {
        bucket_count /= 2;
        bucket = distance > 0 ? bucket_count : 0;
        distance = distance < 0 ? -distance : distance;
    } else {
        distance = distance < 0 ? -distance : 0;
    }
    const int exact = bucket_count / 2;
    if (distance < exact)
        return bucket + (int)distance;
    const float scale = (float)log((double)max_distance / exact);
    const float place = logf((float)distance / (float)exact) / scale * (float)(bucket_count - exact);
    const int64_t large = exact + (int64_t)place;
    return bucket + (int)(large < bucket_count - 1 ? large : bucket_count - 1);
}
