// The CUDA backend: the device, its streams, copies through pinned staging, and the table of operations.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <new>

#include "backend/cuda/device.cuh"

// Memory is asked for in memory.cu only, which has a better message for its lack.
eh_status eh_cuda_failure(cudaError_t error, const char *call, const char *file, int line)
{
    cudaGetLastError(); // it is told here: whoever asks next, after a launch of his own, shall not hear of it again
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
    cudaGetLastError();
    if (error != cudaSuccess || count == 0)
        return eh_error(EH_MACHINE, "no GPU can be used (%s): choose device: cpu, or see `evenhand doctor`",
                        error != cudaSuccess ? cudaGetErrorString(error) : "none found");
    // All GPUs of the node: the rank's own number is its GPU's. Those that CUDA_VISIBLE_DEVICES leaves, as Slurm sets
    // it for each task: one, or the same few for all. Whether two ranks meet on a GPU is seen by its address on the
    // bus.
    *device = local_rank % count;
    return EH_OK;
}

static void cuda_close(eh_backend *backend)
{
    eh_cuda_state *state = eh_cuda(backend);
    if (state == NULL)
        return;
    if (state->copies != NULL)
        cudaStreamSynchronize(state->copies);
    for (int i = 0; i < EH_CUDA_STAGING_SLOTS; i++) {
        if (state->staging[i] != NULL)
            cudaFreeHost(state->staging[i]);
        if (state->staged[i] != NULL)
            cudaEventDestroy(state->staged[i]);
    }
    eh_cuda_forget_products(state);
    eh_cuda_forget_runs(state);
    if (state->blas_lt != NULL)
        cublasLtDestroy(state->blas_lt);
    if (state->blas != NULL)
        cublasDestroy(state->blas);
    eh_cuda_arena_end(&state->arena); // with the scratch and T5's buckets
    for (cudaEvent_t event : {state->computed, state->copied})
        if (event != NULL)
            cudaEventDestroy(event);
    for (cudaStream_t stream : {state->copies, state->stream})
        if (stream != NULL)
            cudaStreamDestroy(stream);
    delete state;
    backend->state = NULL;
}

static eh_status open_device(eh_backend *backend, eh_cuda_state *state)
{
    EH_CUDA(cudaSetDevice(state->device));
    cudaDeviceProp properties;
    EH_CUDA(cudaGetDeviceProperties(&properties, state->device));
    state->multiprocessors = properties.multiProcessorCount > 0 ? properties.multiProcessorCount : 1;
    state->capability = 10 * properties.major + properties.minor;
    EH_CUDA(cudaDeviceGetPCIBusId(backend->identity, sizeof backend->identity, state->device));
    backend->exchange = &eh_cuda_exchange;
    backend->prefers_bf16 = properties.major >= 8;
    backend->prefers_fp16 = properties.major == 7; // Volta's and Turing's tensor cores know fp16 only
    snprintf(backend->description, sizeof backend->description, "%.80s, compute capability %d.%d, %.1f GiB",
             properties.name, properties.major, properties.minor, (double)properties.totalGlobalMem / 0x1p30);
    EH_CUDA(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking));
    EH_CUDA(cudaStreamCreateWithFlags(&state->copies, cudaStreamNonBlocking));
    EH_CUDA(cudaEventCreateWithFlags(&state->computed, cudaEventDisableTiming));
    EH_CUDA(cudaEventCreateWithFlags(&state->copied, cudaEventDisableTiming));
    EH_CUBLAS(cublasCreate(&state->blas));
    EH_CUBLAS(cublasSetStream(state->blas, state->stream));
    // Parts of a sum are put together in fp32 even where the result has 16 bits.
    EH_CUBLAS(cublasSetMathMode(state->blas, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
    EH_CUBLAS(cublasLtCreate(&state->blas_lt));
    eh_cuda_arena_begin(&state->arena);
    // What cuBLAS's own workspace has: 32 MiB from Hopper on, whose algorithms split sums more.
    state->lt_workspace_bytes = static_cast<size_t>(state->capability >= 90 ? 32 : 4) << 20;
    EH_TRY(eh_cuda_arena_take(&state->arena, state->lt_workspace_bytes, "cuBLAS", &state->lt_workspace));
    void *tickets = NULL;
    EH_TRY(eh_cuda_arena_take(&state->arena, EH_CUDA_TICKETS * sizeof(unsigned), "tickets of sums", &tickets));
    EH_CUDA(cudaMemsetAsync(tickets, 0, EH_CUDA_TICKETS * sizeof(unsigned), state->stream));
    state->tickets = static_cast<unsigned *>(tickets);
    for (int i = 0; i < EH_CUDA_STAGING_SLOTS; i++) {
        EH_CUDA(cudaMallocHost(reinterpret_cast<void **>(&state->staging[i]), EH_CUDA_STAGING_BYTES));
        EH_CUDA(cudaEventCreateWithFlags(&state->staged[i], cudaEventDisableTiming));
        EH_CUDA(cudaEventRecord(state->staged[i], state->copies));
    }
    return EH_OK;
}

static eh_status cuda_open(eh_backend *backend, int local_rank, int threads)
{
    (void)threads;
    int device = 0;
    EH_TRY(find_device(local_rank, &device));
    eh_cuda_state *state = new (std::nothrow) eh_cuda_state();
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
    EH_CUDA(cudaStreamSynchronize(eh_cuda(backend)->copies));
    EH_CUDA(cudaStreamSynchronize(eh_cuda(backend)->stream));
    return EH_OK;
}

eh_status eh_cuda_order(cudaStream_t first, cudaEvent_t mark, cudaStream_t second)
{
    EH_CUDA(cudaEventRecord(mark, first));
    EH_CUDA(cudaStreamWaitEvent(second, mark, 0));
    return EH_OK;
}

// --- Memory --------------------------------------------------------------------------------------
static eh_status cuda_buffer_new(eh_buffer *buffer, const char *purpose)
{
    eh_cuda_state *state = eh_cuda(buffer->backend);
    EH_TRY(eh_cuda_arena_take(&state->arena, buffer->bytes, purpose, &buffer->address));
    EH_CUDA(cudaMemsetAsync(buffer->address, 0, buffer->bytes, state->stream));
    return EH_OK;
}

// Copies in chunks through the pinned slots: the host goes on while the last chunks are under way. What is small shares
// a slot with what came before it: a batch's ids and labels wait for the work that is queued, but the host doesn't.
eh_status eh_cuda_copy_in(eh_cuda_state *state, const void *host, void *device, size_t bytes)
{
    EH_TRY(eh_cuda_order(state->stream, state->computed, state->copies)); // what is queued may use the goal
    for (size_t done = 0; done < bytes; done += EH_CUDA_STAGING_BYTES) {
        const size_t part = bytes - done < EH_CUDA_STAGING_BYTES ? bytes - done : EH_CUDA_STAGING_BYTES;
        if (state->slot_used + part > EH_CUDA_STAGING_BYTES) {
            state->slot = (state->slot + 1) % EH_CUDA_STAGING_SLOTS;
            state->slot_used = 0;
            EH_CUDA(cudaEventSynchronize(state->staged[state->slot]));
        }
        char *staging = state->staging[state->slot] + state->slot_used;
        state->slot_used += (part + 255) / 256 * 256;
        memcpy(staging, static_cast<const char *>(host) + done, part);
        EH_CUDA(
            cudaMemcpyAsync(static_cast<char *>(device) + done, staging, part, cudaMemcpyHostToDevice, state->copies));
        EH_CUDA(cudaEventRecord(state->staged[state->slot], state->copies));
    }
    return eh_cuda_order(state->copies, state->copied, state->stream);
}

// One chunk ahead: while the host reads a slot, the next one fills. An upload that still reads a slot is before it in
// the copying stream.
eh_status eh_cuda_copy_out(eh_cuda_state *state, const void *device, void *host, size_t bytes)
{
    EH_TRY(eh_cuda_order(state->stream, state->computed, state->copies));
    size_t begun = 0;
    for (size_t done = 0; done < bytes; done += EH_CUDA_STAGING_BYTES) {
        for (; begun < bytes && begun < done + 2 * EH_CUDA_STAGING_BYTES; begun += EH_CUDA_STAGING_BYTES) {
            const size_t part = bytes - begun < EH_CUDA_STAGING_BYTES ? bytes - begun : EH_CUDA_STAGING_BYTES;
            const int slot = static_cast<int>(begun / EH_CUDA_STAGING_BYTES % EH_CUDA_STAGING_SLOTS);
            EH_CUDA(cudaMemcpyAsync(state->staging[slot], static_cast<const char *>(device) + begun, part,
                                    cudaMemcpyDeviceToHost, state->copies));
            EH_CUDA(cudaEventRecord(state->staged[slot], state->copies));
        }
        const size_t part = bytes - done < EH_CUDA_STAGING_BYTES ? bytes - done : EH_CUDA_STAGING_BYTES;
        const int slot = static_cast<int>(done / EH_CUDA_STAGING_BYTES % EH_CUDA_STAGING_SLOTS);
        EH_CUDA(cudaEventSynchronize(state->staged[slot]));
        memcpy(static_cast<char *>(host) + done, state->staging[slot], part);
    }
    return EH_OK;
}

static void cuda_buffer_free(eh_buffer *buffer)
{
    eh_cuda_state *state = eh_cuda(buffer->backend);
    cudaStreamSynchronize(state->copies); // queued work may still use it
    cudaStreamSynchronize(state->stream);
    eh_cuda_arena_give(&state->arena, buffer->address);
}

static eh_status cuda_buffer_view(eh_buffer *buffer, const void *host)
{
    EH_TRY(cuda_buffer_new(buffer, "weights"));
    const eh_status status = eh_cuda_copy_in(eh_cuda(buffer->backend), host, buffer->address, buffer->bytes);
    if (status != EH_OK)
        cuda_buffer_free(buffer);
    return status;
}

static eh_status cuda_upload(eh_backend *backend, const void *host, const eh_tensor *tensor)
{
    return eh_cuda_copy_in(eh_cuda(backend), host, eh_tensor_address(tensor), eh_tensor_bytes(tensor));
}

static eh_status cuda_download(eh_backend *backend, const eh_tensor *tensor, void *host)
{
    return eh_cuda_copy_out(eh_cuda(backend), eh_tensor_address(tensor), host, eh_tensor_bytes(tensor));
}

eh_status eh_cuda_scratch(eh_backend *backend, size_t bytes, void **scratch)
{
    eh_cuda_state *state = eh_cuda(backend);
    if (bytes > state->scratch_bytes) {
        EH_CUDA(cudaStreamSynchronize(state->stream));
        if (state->scratch != NULL)
            eh_cuda_arena_give(&state->arena, state->scratch);
        state->scratch = NULL;
        state->scratch_bytes = 0;
        EH_TRY(eh_cuda_arena_take(&state->arena, bytes, "scratch of operations", &state->scratch));
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

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

// The operations that take scratch: the output layer; products whose operands differ in type, which meet in fp32; the
// attention's backward pass; sums over rows; the squared norm.
static eh_status cuda_reserve(eh_backend *backend, const eh_work_sizes *sizes)
{
    const size_t slack = 16 * 256; // of alignment
    const size_t rows = static_cast<size_t>(sizes->tokens > sizes->labels ? sizes->tokens : sizes->labels);
    const size_t heads = static_cast<size_t>(sizes->head_count);
    size_t bytes = eh_cuda_output_scratch(sizes->labels, sizes->hidden_size, sizes->vocab_size, EH_F32);
    bytes = largest(bytes, 4 * rows * static_cast<size_t>(sizes->widest) + slack);
    bytes = largest(bytes, 4 * heads * (rows + static_cast<size_t>(sizes->segments * sizes->bucket_count)) + slack);
    bytes = largest(bytes, static_cast<size_t>(sizes->weight_count) / 2048 * sizeof(double) + slack);
    bytes = largest(bytes, 2 * eh_sum_grid_for(static_cast<int64_t>(rows), sizes->widest).partial_bytes + slack);
    void *scratch = NULL;
    return eh_cuda_scratch(backend, bytes, &scratch);
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
    cuda_reserve,
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
    eh_cuda_multiply_activate,
    eh_cuda_attention_forward,
    eh_cuda_attention_backward,
    eh_cuda_output_forward,
    eh_cuda_output_backward,
    eh_cuda_log_softmax_rows,
    eh_cuda_divergence_rows,
    eh_cuda_argmax_rows,
    eh_cuda_sample_rows,
    eh_cuda_adamw_runs,
    eh_cuda_pull,
    eh_cuda_squared_norms,
    cuda_limits,
};
