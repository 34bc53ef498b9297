// Rows by index, and sums over rows. Memory bounds them; the sums have a fixed order, so no atomics.
#include "backend/cuda/device.cuh"

namespace
{

__global__ void gather_kernel(eh_array table, const int32_t *index, eh_array y, int64_t rows, int64_t width, bool add)
{
    const int64_t quads = (width + 3) / 4;
    for (int64_t at = eh_thread_index(); at < rows * quads; at += eh_thread_count()) {
        const int64_t row = at / quads, column = 4 * (at % quads), to = row * width, from = index[row] * width;
        float4 value = eh_load4(table, from + column, from + width);
        if (add) {
            const float4 old = eh_load4(y, to + column, to + width);
            value = make_float4(old.x + value.x, old.y + value.y, old.z + value.z, old.w + value.w);
        }
        eh_store4(y, to + column, to + width, value);
    }
}

// A block per row. The first row of each index adds all rows of that index, in ascending order: as deterministic as a
// sort, and n index reads a block are nothing beside the rows (n is a batch's tokens).
__global__ void scatter_kernel(eh_array x, const int32_t *index, eh_array table, int64_t rows, int64_t width)
{
    const int64_t mine = blockIdx.x;
    const int32_t target = index[mine];
    SHARED(int, earlier, 1);
    if (threadIdx.x == 0)
        earlier[0] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < mine; i += blockDim.x)
        if (index[i] == target)
            atomicExch(earlier, 1);
    __syncthreads();
    if (earlier[0] != 0)
        return;
    for (int64_t column = 4 * static_cast<int64_t>(threadIdx.x); column < width; column += 4 * blockDim.x) {
        const int64_t to = target * width;
        float4 sum = eh_load4(table, to + column, to + width);
        for (int64_t i = mine; i < rows; i++) {
            if (index[i] != target)
                continue;
            const float4 value = eh_load4(x, i * width + column, (i + 1) * width);
            sum = make_float4(sum.x + value.x, sum.y + value.y, sum.z + value.z, sum.w + value.w);
        }
        eh_store4(table, to + column, to + width, sum);
    }
}

// A block per 32 columns, eight rows at a time: each warp reads 32 neighbours.
__global__ void column_sum_kernel(eh_array x, eh_array y, int64_t rows, int64_t columns)
{
    SHARED(float, partial, eh_block_threads);
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + lane;
    float sum = 0;
    if (column < columns)
        for (int64_t row = warp; row < rows; row += eh_block_threads / 32) sum += eh_load(x, row * columns + column);
    partial[threadIdx.x] = sum;
    __syncthreads();
    if (warp != 0 || column >= columns)
        return;
    for (int w = 1; w < eh_block_threads / 32; w++) sum += partial[32 * w + lane];
    eh_store(y, column, eh_load(y, column) + sum);
}

} // namespace

eh_status eh_cuda_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index, eh_output_mode mode,
                              const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t rows = index->shape[0], width = rows > 0 ? eh_tensor_count(y) / rows : 0;
    if (rows == 0 || width == 0)
        return EH_OK;
    LAUNCH(gather_kernel, eh_grid_for(state, rows * ((width + 3) / 4)), dim3(eh_block_threads), 0, state->stream,
           eh_array_of(table, width), static_cast<const int32_t *>(eh_tensor_address(index)), eh_array_of(y, width),
           rows, width, mode == EH_ADD);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_scatter_add_rows(eh_backend *backend, const eh_tensor *x, const eh_tensor *index,
                                   const eh_tensor *table)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t rows = index->shape[0], width = rows > 0 ? eh_tensor_count(x) / rows : 0;
    if (rows == 0 || width == 0)
        return EH_OK;
    LAUNCH(scatter_kernel, dim3(static_cast<unsigned>(rows)), dim3(eh_block_threads), 0, state->stream,
           eh_array_of(x, width), static_cast<const int32_t *>(eh_tensor_address(index)), eh_array_of(table, width),
           rows, width);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_column_sum(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t columns = eh_tensor_count(y), rows = columns > 0 ? eh_tensor_count(x) / columns : 0;
    if (rows == 0)
        return EH_OK;
    LAUNCH(column_sum_kernel, dim3(static_cast<unsigned>((columns + 31) / 32)), dim3(eh_block_threads), 0,
           state->stream, eh_array_of(x, columns), eh_array_of(y, columns), rows, columns);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
