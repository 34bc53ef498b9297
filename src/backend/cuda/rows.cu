// Rows by index, and sums over rows. Memory bounds them; the sums have a fixed order, so no atomics.
#include "backend/cuda/device.cuh"

namespace
{

// A block a row. Bytes: a row of the table read (two reads where it is added) and a row written; expect 80-85 % from
// some hundred rows up, rows being scattered.
__global__ void __launch_bounds__(eh_most_threads)
    gather_kernel(eh_array table, const int32_t *index, eh_array y, int64_t width, bool add)
{
    const int64_t row = blockIdx.x, to = row * width, from = index[row] * width;
    for (int64_t column = 8 * static_cast<int64_t>(threadIdx.x); column < width; column += 8 * blockDim.x) {
        eh_eight value = eh_load8(table, from + column, from + width);
        if (add) {
            const eh_eight old = eh_load8(y, to + column, to + width);
#pragma unroll
            for (int j = 0; j < 8; j++) value.v[j] += old.v[j];
        }
        eh_store8(y, to + column, to + width, value);
    }
}

constexpr int64_t scattered_at_once = 131072; // rows whose bits fit into 16 KiB of shared memory

// A block a row, which leaves if an earlier row has its index; the first row's block adds all rows of that index, in
// ascending order: as deterministic as a sort. Bytes: each row of x read once, each row of the table that occurs read
// and written once, and the index read by every block as far as its first occurrence, 4 bytes beside a row's kilobytes,
// from the L2 cache. Expect 60-70 %: the rows of an index that occurs often wait for each other, four at a time.
__global__ void __launch_bounds__(eh_block_threads)
    scatter_kernel(eh_array x, const int32_t *index, eh_array table, int64_t rows, int64_t width)
{
    DYNAMIC_SHARED(uint32_t, matches); // [rows / 32, rounded up] bits
    SHARED(int, is_later, 1);
    const int64_t mine = blockIdx.x, words = (rows + 31) / 32;
    const int32_t target = index[mine];
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (threadIdx.x == 0)
        is_later[0] = 0;
    __syncthreads();
    for (int64_t word = threadIdx.x / 32; word < words; word += blockDim.x / 32) {
        const int seen = lane == 0 ? atomicAdd(&is_later[0], 0) : 0; // by one lane, so that the warp stays together
        if (__shfl_sync(eh_all_lanes, seen, 0) != 0)
            break;
        const int64_t row = 32 * word + lane;
        const unsigned found = __ballot_sync(eh_all_lanes, row < rows && index[row] == target);
        if (lane == 0)
            matches[word] = found;
        if (lane == 0 && found != 0 && 32 * word + __ffs(static_cast<int>(found)) - 1 < mine)
            atomicMax(&is_later[0], 1);
    }
    __syncthreads();
    if (is_later[0] != 0)
        return;
    for (int64_t column = 8 * static_cast<int64_t>(threadIdx.x); column < width; column += 8 * blockDim.x) {
        eh_eight sum = eh_load8(table, target * width + column, (target + 1) * width);
        int64_t word = mine / 32;
        uint32_t left = matches[word];
        for (bool more = true; more;) {
            int64_t next[4]; // the next rows, -1: no more
            eh_eight value[4];
#pragma unroll
            for (int n = 0; n < 4; n++) {
                while (left == 0 && word + 1 < words) left = matches[++word];
                next[n] = left != 0 ? 32 * word + __ffs(static_cast<int>(left)) - 1 : -1;
                left &= left - 1;
            }
#pragma unroll
            for (int n = 0; n < 4; n++)
                if (next[n] >= 0)
                    value[n] = eh_load8(x, next[n] * width + column, (next[n] + 1) * width);
#pragma unroll
            for (int n = 0; n < 4; n++)
#pragma unroll
                for (int j = 0; j < 8; j++)
                    if (next[n] >= 0)
                        sum.v[j] += value[n].v[j];
            more = next[3] >= 0;
        }
        eh_store8(table, target * width + column, (target + 1) * width, sum);
    }
}

// Only rows whose index is `wanted`, if there is an index. Bytes: x read once; expect 80-85 % from some thousand rows
// up, less for fewer, where a launch takes as long.
__global__ void __launch_bounds__(eh_block_threads)
    column_sum_kernel(eh_array x, const int32_t *index, int32_t wanted, int64_t rows, int64_t columns,
                      int64_t rows_a_chunk, float *partial, unsigned *tickets, eh_array y)
{
    const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
    const int64_t column = static_cast<int64_t>(blockIdx.x) * eh_sum_columns + 8 * lane;
    const int64_t begin = blockIdx.y * rows_a_chunk, end = begin + rows_a_chunk < rows ? begin + rows_a_chunk : rows;
    eh_eight sum[1] = {};
    for (int64_t row = begin + warp; row < end && column < columns; row += eh_sum_warps) {
        if (index != nullptr && index[row] != wanted)
            continue;
        const eh_eight value = eh_load8(x, row * columns + column, (row + 1) * columns);
#pragma unroll
        for (int j = 0; j < 8; j++) sum[0].v[j] += value.v[j];
    }
    const eh_array to[1] = {y};
    eh_add_columns<1>(sum, partial, tickets, to, columns);
}

eh_status sum_rows(eh_cuda_state *state, const eh_array &x, const int32_t *index, int32_t wanted, int64_t rows,
                   int64_t columns, float *partial, const eh_array &y)
{
    const eh_sum_grid grid = eh_sum_grid_for(rows, columns);
    EH_ASSERT(grid.blocks.x <= EH_CUDA_TICKETS);
    LAUNCH(column_sum_kernel, grid.blocks, dim3(eh_block_threads), 0, state->stream, x, index, wanted, rows, columns,
           grid.rows_a_chunk, partial, state->tickets, y);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

} // namespace

eh_status eh_cuda_sum_rows(eh_cuda_state *state, const eh_array &x, int64_t rows, int64_t columns, float *partial,
                           const eh_array &y)
{
    return sum_rows(state, x, nullptr, 0, rows, columns, partial, y);
}

eh_status eh_cuda_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index, eh_output_mode mode,
                              const eh_tensor *y)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t rows = index->shape[0], width = rows > 0 ? eh_tensor_count(y) / rows : 0;
    if (rows == 0 || width == 0)
        return EH_OK;
    LAUNCH(gather_kernel, dim3(static_cast<unsigned>(rows)), eh_threads_for(width), 0, state->stream,
           eh_array_of(table, width), static_cast<const int32_t *>(eh_tensor_address(index)), eh_array_of(y, width),
           width, mode == EH_ADD);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

// A table of a few rows (token types), each of which many rows of x are added to: sums over rows.
static eh_status scatter_to_few(eh_backend *backend, const eh_tensor *x, const int32_t *index, const eh_tensor *table,
                                int64_t rows, int64_t width)
{
    void *scratch = nullptr;
    EH_TRY(eh_cuda_scratch(backend, eh_sum_grid_for(rows, width).partial_bytes, &scratch));
    for (int32_t wanted = 0; wanted < table->shape[0]; wanted++) {
        const eh_tensor row = eh_tensor_rows(table, wanted, 1);
        EH_TRY(sum_rows(eh_cuda(backend), eh_array_of(x, width), index, wanted, rows, width,
                        static_cast<float *>(scratch), eh_array_of(&row, width)));
    }
    return EH_OK;
}

eh_status eh_cuda_scatter_add_rows(eh_backend *backend, const eh_tensor *x, const eh_tensor *index,
                                   const eh_tensor *table)
{
    eh_cuda_state *state = eh_cuda(backend);
    const int64_t rows = index->shape[0], width = rows > 0 ? eh_tensor_count(x) / rows : 0;
    const int32_t *indices = static_cast<const int32_t *>(eh_tensor_address(index));
    if (rows == 0 || width == 0)
        return EH_OK;
    if (table->shape[0] <= 4 && rows >= 32)
        return scatter_to_few(backend, x, indices, table, rows, width);
    const dim3 threads(eh_threads_for(width).x < eh_block_threads ? eh_threads_for(width).x : eh_block_threads);
    for (int64_t first = 0; first < rows; first += scattered_at_once) {
        const int64_t now = rows - first < scattered_at_once ? rows - first : scattered_at_once;
        const eh_tensor part = eh_tensor_rows(x, first, now);
        LAUNCH(scatter_kernel, dim3(static_cast<unsigned>(now)), threads,
               static_cast<size_t>((now + 31) / 32) * sizeof(uint32_t), state->stream, eh_array_of(&part, width),
               indices + first, eh_array_of(table, width), now, width);
        EH_CUDA(cudaGetLastError());
    }
    return EH_OK;
}

eh_status eh_cuda_column_sum(eh_backend *backend, const eh_tensor *x, const eh_tensor *y)
{
    const int64_t columns = eh_tensor_count(y), rows = columns > 0 ? eh_tensor_count(x) / columns : 0;
    if (rows == 0)
        return EH_OK;
    void *scratch = nullptr;
    EH_TRY(eh_cuda_scratch(backend, eh_sum_grid_for(rows, columns).partial_bytes, &scratch));
    return eh_cuda_sum_rows(eh_cuda(backend), eh_array_of(x, columns), rows, columns, static_cast<float *>(scratch),
                            eh_array_of(y, columns));
}
