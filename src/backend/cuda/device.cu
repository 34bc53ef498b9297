// The CUDA backend: the device, its memory, copies through pinned staging, and the table of operations.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/device.cuh"

eh_status eh_cuda_failure(cudaError_t error, const char *call, const char *file, int line)
{
    if (error == cudaErrorMemoryAllocation)
        return eh_error(EH_MACHINE,
                        "the GPU is out of memory (%s): `evenhand plan JOB` shows what would fit; try "
                        "memory.zero, memory.recompute or a smaller train.batch",
                        call);
    return eh_error(EH_MACHINE, "CUDA: %s: %s (%s:%d)", cudaGetErrorString(error), call, file, line);
}

eh_status eh_cublas_failure(cublasStatus_t error, const char *call, const char *file, int line)
{
    return eh_error(EH_MACHINE, "cuBLAS: %s: %s (%s:%d)", cublasGetStatusString(error), call, file, line);
}

static eh_status find_device(int local_rank, int *device)
{
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0)
        return eh_error(EH_MACHINE, "no GPU can be used (%s): choose device: cpu, or see `evenhand doctor`",
                        error != cudaSuccess ? cudaGetErrorString(error) : "none found");
    // Two ranks on one GPU are slower than one; somebody who wants that for a test says so.
    if (local_rank >= count && getenv("EVENHAND_SHARE_GPU") == NULL)
        return eh_error(EH_MACHINE,
                        "rank %d of this node has no GPU of its own: there are %d; start %d ranks a node (or set "
                        "EVENHAND_SHARE_GPU=1)",
                        local_rank, count, count);
    *device = local_rank % count;
    return EH_OK;
}

static void cuda_close(eh_backend *backend)
{
    eh_cuda_state *state = eh_cuda(backend);
    if (state == NULL)
        return;
    for (int i = 0; i < state->bucket_table_count; i++) cudaFree(state->buckets[i].device);
    for (int i = 0; i < EH_CUDA_STAGING_SLOTS; i++) {
        if (state->staging[i] != NULL)
            cudaFreeHost(state->staging[i]);
        if (state->staged[i] != NULL)
            cudaEventDestroy(state->staged[i]);
    }
    if (state->scratch != NULL)
        cudaFree(state->scratch);
    if (state->blas != NULL)
        cublasDestroy(state->blas);
    if (state->stream != NULL)
        cudaStreamDestroy(state->stream);
    free(state);
    backend->state = NULL;
}

static eh_status open_device(eh_backend *backend, eh_cuda_state *state)
{
    EH_CUDA(cudaSetDevice(state->device));
    cudaDeviceProp properties;
    EH_CUDA(cudaGetDeviceProperties(&properties, state->device));
    state->multiprocessors = properties.multiProcessorCount > 0 ? properties.multiProcessorCount : 1;
    backend->prefers_bf16 = properties.major >= 8;
    backend->prefers_fp16 = properties.major == 7; // Volta's and Turing's tensor cores know fp16 only
    snprintf(backend->description, sizeof backend->description, "%.80s, compute capability %d.%d, %.1f GiB",
             properties.name, properties.major, properties.minor, (double)properties.totalGlobalMem / 0x1p30);
    EH_CUDA(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking));
    EH_CUBLAS(cublasCreate(&state->blas));
    EH_CUBLAS(cublasSetStream(state->blas, state->stream));
    for (int i = 0; i < EH_CUDA_STAGING_SLOTS; i++) {
        EH_CUDA(cudaMallocHost(reinterpret_cast<void **>(&state->staging[i]), EH_CUDA_STAGING_BYTES));
        EH_CUDA(cudaEventCreateWithFlags(&state->staged[i], cudaEventDisableTiming));
        EH_CUDA(cudaEventRecord(state->staged[i], state->stream));
    }
    return EH_OK;
}

static eh_status cuda_open(eh_backend *backend, int local_rank, int threads)
{
    (void)threads;
    int device = 0;
    EH_TRY(find_device(local_rank, &device));
    eh_cuda_state *state = static_cast<eh_cuda_state *>(calloc(1, sizeof *state));
    if (state == NULL)
        return eh_error(EH_MACHINE, "out of memory");
    state->device = device;
    backend->state = state;
    const eh_status status = open_device(backend, state);
    if (status != EH_OK)
        cuda_close(backend);
    return status;
}

static eh_status cuda_wait(eh_backend *backend)
{
    EH_CUDA(cudaStreamSynchronize(eh_cuda(backend)->stream));
    return EH_OK;
}

// --- Memory --------------------------------------------------------------------------------------
static eh_status cuda_buffer_new(eh_buffer *buffer, const char *purpose)
{
    const size_t bytes = buffer->bytes > 0 ? buffer->bytes : 1;
    const cudaError_t error = cudaMalloc(&buffer->address, bytes);
    if (error == cudaErrorMemoryAllocation) {
        size_t available = 0, total = 0;
        cudaMemGetInfo(&available, &total);
        cudaGetLastError(); // the failure was handled
        return eh_error(EH_MACHINE,
                        "the GPU is out of memory: %.1f MiB for %s were asked for, %.1f of %.1f MiB are free; "
                        "`evenhand plan JOB` shows what would fit",
                        (double)bytes / 0x1p20, purpose, (double)available / 0x1p20, (double)total / 0x1p20);
    }
    EH_CUDA(error);
    EH_CUDA(cudaMemsetAsync(buffer->address, 0, bytes, eh_cuda(buffer->backend)->stream));
    return EH_OK;
}

// Copies in chunks through the pinned slots: the host goes on while the last chunks are under way.
static eh_status copy_in(eh_cuda_state *state, const void *host, void *device, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += EH_CUDA_STAGING_BYTES) {
        const size_t part = bytes - done < EH_CUDA_STAGING_BYTES ? bytes - done : EH_CUDA_STAGING_BYTES;
        const int slot = state->next_slot;
        state->next_slot = (slot + 1) % EH_CUDA_STAGING_SLOTS;
        EH_CUDA(cudaEventSynchronize(state->staged[slot]));
        memcpy(state->staging[slot], static_cast<const char *>(host) + done, part);
        EH_CUDA(cudaMemcpyAsync(static_cast<char *>(device) + done, state->staging[slot], part, cudaMemcpyHostToDevice,
                                state->stream));
        EH_CUDA(cudaEventRecord(state->staged[slot], state->stream));
    }
    return EH_OK;
}

static eh_status copy_out(eh_cuda_state *state, const void *device, void *host, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += EH_CUDA_STAGING_BYTES) {
        const size_t part = bytes - done < EH_CUDA_STAGING_BYTES ? bytes - done : EH_CUDA_STAGING_BYTES;
        const int slot = state->next_slot;
        state->next_slot = (slot + 1) % EH_CUDA_STAGING_SLOTS;
        EH_CUDA(cudaEventSynchronize(state->staged[slot]));
        EH_CUDA(cudaMemcpyAsync(state->staging[slot], static_cast<const char *>(device) + done, part,
                                cudaMemcpyDeviceToHost, state->stream));
        EH_CUDA(cudaEventRecord(state->staged[slot], state->stream));
        EH_CUDA(cudaEventSynchronize(state->staged[slot]));
        memcpy(static_cast<char *>(host) + done, state->staging[slot], part);
    }
    EH_CUDA(cudaStreamSynchronize(state->stream));
    return EH_OK;
}

static void cuda_buffer_free(eh_buffer *buffer)
{
    cudaStreamSynchronize(eh_cuda(buffer->backend)->stream); // queued work may still use it
    cudaFree(buffer->address);
}

static eh_status cuda_buffer_view(eh_buffer *buffer, const void *host)
{
    EH_TRY(cuda_buffer_new(buffer, "weights"));
    const eh_status status = copy_in(eh_cuda(buffer->backend), host, buffer->address, buffer->bytes);
    if (status != EH_OK)
        cuda_buffer_free(buffer);
    return status;
}

static eh_status cuda_upload(eh_backend *backend, const void *host, const eh_tensor *tensor)
{
    return copy_in(eh_cuda(backend), host, eh_tensor_address(tensor), eh_tensor_bytes(tensor));
}

static eh_status cuda_download(eh_backend *backend, const eh_tensor *tensor, void *host)
{
    return copy_out(eh_cuda(backend), eh_tensor_address(tensor), host, eh_tensor_bytes(tensor));
}

eh_status eh_cuda_scratch(eh_backend *backend, size_t bytes, void **scratch)
{
    eh_cuda_state *state = eh_cuda(backend);
    if (bytes > state->scratch_bytes) {
        EH_CUDA(cudaStreamSynchronize(state->stream));
        if (state->scratch != NULL)
            EH_CUDA(cudaFree(state->scratch));
        state->scratch = NULL;
        state->scratch_bytes = 0;
        EH_CUDA(cudaMalloc(&state->scratch, bytes));
        state->scratch_bytes = bytes;
    }
    *scratch = state->scratch;
    return EH_OK;
}

// Not measured: no probe of a GPU's units yet.
static eh_status cuda_limits(eh_backend *backend, eh_dtype dtype, double *flops, double *bytes)
{
    (void)backend;
    (void)dtype;
    *flops = *bytes = 0;
    return EH_OK;
}

extern "C" const eh_backend_table eh_backend_cuda = {
    "cuda",
    cuda_open,
    cuda_close,
    cuda_buffer_new,
    cuda_buffer_view,
    cuda_buffer_free,
    cuda_upload,
    cuda_download,
    cuda_wait,
    eh_cuda_fill,
    eh_cuda_convert,
    eh_cuda_add,
    eh_cuda_scale,
    eh_cuda_dropout,
    eh_cuda_activation_forward,
    eh_cuda_activation_backward,
    eh_cuda_gather_rows,
    eh_cuda_scatter_add_rows,
    eh_cuda_column_sum,
    eh_cuda_norm_forward,
    eh_cuda_norm_backward,
    eh_cuda_multiply,
    eh_cuda_attention_forward,
    eh_cuda_attention_backward,
    eh_cuda_output_forward,
    eh_cuda_output_backward,
    eh_cuda_log_softmax_rows,
    eh_cuda_divergence_rows,
    eh_cuda_argmax_rows,
    eh_cuda_adamw_step,
    eh_cuda_pull,
    eh_cuda_squared_norm,
    cuda_limits,
};
