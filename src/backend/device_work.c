// How much memory the operations of the CUDA backend work in: the same sums as cuda_reserve in cuda/device.cu and the
// output layer's plan in cuda/output.cu, for plans in programs that have no CUDA in them.
#include "backend/backend.h"

// As eh_logit_bytes in cuda/launch.cuh; the build for the emulated device has less.
#ifndef EH_DEVICE_LOGIT_BYTES
#define EH_DEVICE_LOGIT_BYTES (256 << 20)
#endif

static size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

// Of the sums over rows of a matrix, as eh_sum_grid_for in cuda/device.cuh: one for each chunk of rows.
static size_t sum_bytes(int64_t rows, int64_t columns)
{
    const int64_t chunks = rows / 32 < 1 ? 1 : rows / 32 < 128 ? rows / 32 : 128;
    const int64_t rows_a_chunk = rows > 0 ? (rows + chunks - 1) / chunks : 1;
    return (size_t)((rows + rows_a_chunk - 1) / rows_a_chunk) * (size_t)((columns + 255) / 256) * 256 * sizeof(float);
}

// Logits of a block of words, their gradients, a block of weights, hidden rows and their gradient, the rows' states,
// and sums for the bias.
static size_t output_bytes(const eh_work_sizes *sizes)
{
    const int64_t logits_at_once = EH_DEVICE_LOGIT_BYTES, rows = sizes->labels > 0 ? sizes->labels : 1;
    const int64_t fitting = logits_at_once / (4 * rows) / 64 * 64, some = fitting < 256 ? 256 : fitting;
    const size_t block = (size_t)(some < sizes->vocab_size ? some : sizes->vocab_size);
    const size_t labels = (size_t)sizes->labels, width = (size_t)sizes->hidden_size;
    return 2 * aligned(labels * width * 4) + aligned(block * width * 4) + 2 * aligned(labels * block * 4) +
           3 * aligned(labels * (block / 2048 + 1) * 4) + sum_bytes(sizes->labels, (int64_t)block);
}

size_t eh_device_work_bytes(const eh_work_sizes *sizes)
{
    const size_t slack = 16 * 256; // of alignment
    const size_t rows = (size_t)(sizes->tokens > sizes->labels ? sizes->tokens : sizes->labels);
    const size_t heads = (size_t)sizes->head_count, widest = (size_t)sizes->widest;
    size_t bytes = larger(output_bytes(sizes), 4 * rows * widest + slack); // operands that meet in fp32
    bytes = larger(bytes, 4 * heads * (rows + (size_t)(sizes->segments * sizes->bucket_count)) + slack);
    bytes = larger(bytes, (size_t)sizes->weight_count / 2048 * sizeof(double) + slack);
    return larger(bytes, 2 * sum_bytes((int64_t)rows, sizes->widest) + slack) + 65536; // and the tickets of sums
}
