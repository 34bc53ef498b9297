// Rows by index, and sums over rows. Memory bounds them; the sums have a fixed order, so no atomics.
#include "backend/cuda/device.cuh"

namespace
{

// Bytes: a row of the table read (two reads where it is added) and a row written; expect 80-85 %, rows being scattered.
__global__ void gather_kernel(eh_array table, const int32_t *index, eh_array y, int64_t rows, int64_t width, bool add)
{
    const int64_t parts = (width + 7) / 8;
    for (int64_t at = eh_thread_index(); at < rows * parts; at += eh_thread_count()) {
        const int64_t row = at / parts, column = 8 * (at % parts), to = row * width, from = index[row] * width;
        eh_eight value = eh_load8(table, from + column, from + width);
        if (add) {
            const eh_eight old = eh_load8(y, to + column, to + width);
#pragma unroll
            for (int j = 0; j < 8; j++) value.v[j] += old.v[j];
        }
        eh_store8(y, to + column, to + width, value);
    }
}

// A block per row. The first row of each index adds all rows of that index, in ascending order: as deterministic as a
// sort. Bytes: each row of x read once, each row of the table that occurs read and written once; the index is read by
// every block, 4 bytes beside a row's kilobytes, from the L2 cache. Expect 60-70 %: rows of one index wait in turn.
__global__ void scatter_kernel(eh_array x, const int32_t *index, eh_array table, int64_t rows, int64_t width)
{
    SHARED(uint32_t, matches, eh_block_threads / 32);
    const int64_t mine = blockIdx.x;
    const int32_t target = index[mine];
    const int warp = static_cast<int>(threadIdx.x / 32), warps = eh_block_threads / 32;
    for (int64_t base = 0; base < rows; base += eh_block_threads) {
        const int64_t i = base + threadIdx.x;
        const unsigned found = __ballot_sync(eh_all_lanes, i < rows && index[i] == target);
        __syncthreads(); // the last 256 rows were used
        if (threadIdx.x % 32 == 0)
            matches[warp] = found;
        __syncthreads();
        for (int w = 0; w < warps; w++) {
            uint32_t left = matches[w];
            while (left != 0) {
                const int64_t row = base + 32 * w + __ffs(static_cast<int>(left)) - 1;
                left &= left - 1;
                if (row < mine)
                    return; // the whole block: an earlier row's block adds this one
                const int64_t to = target * width, from = row * width;
                for (int64_t column = 8 * static_cast<int64_t>(threadIdx.x); column < width; column += 8 * blockDim.x) {
                    eh_eight sum = eh_load8(table, to + column, to + width);
                    const eh_eight value = eh_load8(x, from + column, from + width);
#pragma unroll
                    for (int j = 0; j < 8; j++) sum.v[j] += value.v[j];
                    eh_store8(table, to + column, to + width, sum); // read again from the L1 cache for the next row
                }
            }
        }
    }
}

// Bytes: x read once; expect 80-85 %.
__global__ void column_sum_kernel(eh_array x, int64_t rows, int64_t columns, int64_t rows_a_chunk, float *partial)
{
    SHARED(float, sums, eh_block_threads * 8);
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t column = static_cast<int64_t>(blockIdx.x) * eh_sum_columns + 8 * lane;
    const int64_t begin = blockIdx.y * rows_a_chunk, end = begin + rows_a_chunk < rows ? begin + rows_a_chunk : rows;
    eh_eight sum = {};
    for (int64_t row = begin + warp; row < end && column < columns; row += eh_block_threads / 32) {
        const eh_eight value = eh_load8(x, row * columns + column, (row + 1) * columns);
#pragma unroll
        for (int j = 0; j < 8; j++) sum.v[j] += value.v[j];
    }
#pragma unroll
    for (int j = 0; j < 8; j++) sums[eh_sum_columns * warp + 32 * j + lane] = sum.v[j]; // no bank twice
    __syncthreads();
    const int64_t mine = static_cast<int64_t>(blockIdx.x) * eh_sum_columns + threadIdx.x;
    if (mine >= columns)
        return;
    float total = 0;
    const int place = static_cast<int>(32 * (threadIdx.x % 8) + threadIdx.x / 8);
    for (int w = 0; w < eh_block_threads / 32; w++) total += sums[eh_sum_columns * w + place];
    partial[blockIdx.y * columns + mine] = total;
}

// Bytes: the chunks' sums, at most half of what was summed.
__global__ void add_chunks_kernel(const float *partial, int64_t chunks, int64_t columns, eh_array y)
{
    const int64_t column = eh_thread_index();
    if (column >= columns)
        return;
    float sum = eh_load(y, column);
    for (int64_t chunk = 0; chunk < chunks; chunk++) sum += partial[chunk * columns + column];
    eh_store(y, column, sum);
}

} // namespace

eh_status eh_cuda_add_chunks(eh_cuda_state *state, const float *partial, int64_t chunks, int64_t columns, eh_array y)
{
    LAUNCH(add_chunks_kernel, dim3(static_cast<unsigned>((columns + eh_block_threads - 1) / eh_block_threads)),
           dim3(eh_block_threads), 0, state->stream, partial, chunks, columns, y);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index, eh_output_mode mode,
                              const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t rows = index->shape[0], width = rows > 0 ? eh_tensor_count(y) / rows : 0;
    if (rows == 0 || width == 0)
        return EH_OK;
    LAUNCH(gather_kernel, eh_grid_for(state, rows * ((width + 7) / 8)), dim3(eh_block_threads), 0, state->stream,
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
    const int64_t chunks = eh_sum_chunks(rows), rows_a_chunk = (rows + chunks - 1) / chunks;
    void *scratch = nullptr;
    EH_TRY(eh_cuda_scratch(backend, static_cast<size_t>(chunks * columns) * sizeof(float), &scratch));
    float *partial = static_cast<float *>(scratch);
    LAUNCH(column_sum_kernel,
           dim3(static_cast<unsigned>((columns + eh_sum_columns - 1) / eh_sum_columns), static_cast<unsigned>(chunks)),
           dim3(eh_block_threads), 0, state->stream, eh_array_of(x, columns), rows, columns, rows_a_chunk, partial);
    EH_CUDA(cudaGetLastError());
    return eh_cuda_add_chunks(state, partial, chunks, columns, eh_array_of(y, columns));
}
