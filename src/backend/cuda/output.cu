// The output layer with its cross-entropy: logits of labelled rows in blocks of the vocabulary, so that rows x
// vocabulary is never stored. The products bound it: 2 n w V flops forward, 6 n w V more backward from some 200 rows
// up, below that the weights' bytes; expect what product.cu says. The kernels here go over each block of logits once.
#include <math.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/product.cuh"

namespace
{

// Running maximum and sum of exponentials of each row (Milakov & Gimelshein 2018), and the target's logit, in one pass.
// Grid: rows, parts of a row, each with a state of its own [rows, parts], so that few rows fill the device too. Bytes:
// the logits read once; expect 80 %.
__global__ void __launch_bounds__(eh_block_threads)
    row_state_kernel(eh_array logits, eh_array bias, const int32_t *target, int64_t first, int64_t width, float *top,
                     float *sum, float *target_logit)
{
    const int64_t row = blockIdx.x, begin = row * width, end = begin + width, mine = row * gridDim.y + blockIdx.y;
    const int64_t step = 8 * static_cast<int64_t>(blockDim.x) * gridDim.y;
    float own_top = -INFINITY, own_sum = 0;
    for (int64_t v = 8 * (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x); v < width; v += step) {
        eh_eight a = eh_load8(logits, begin + v, end);
        if (bias.data != nullptr) {
            const eh_eight b = eh_load8(bias, first + v, first + width);
#pragma unroll
            for (int j = 0; j < 8; j++) a.v[j] += b.v[j];
        }
        float high = own_top;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            a.v[j] = v + j < width ? a.v[j] : -INFINITY;
            high = fmaxf(high, a.v[j] != a.v[j] ? 0.0f : a.v[j]); // fmaxf would drop NaN; the sum keeps it
        }
        if (high == -INFINITY)
            continue;
        own_sum *= expf(own_top - high);
        own_top = high;
#pragma unroll
        for (int j = 0; j < 8; j++) own_sum += expf(a.v[j] - high);
    }
    const float old_top = first == 0 ? -INFINITY : top[mine], block_top = fmaxf(old_top, eh_block_max(own_top));
    const float block_sum = eh_block_sum(own_top == -INFINITY ? 0.0f : own_sum * expf(own_top - block_top));
    if (threadIdx.x != 0)
        return;
    const float old_sum = first == 0 || old_top == -INFINITY ? 0.0f : sum[mine] * expf(old_top - block_top);
    top[mine] = block_top;
    sum[mine] = old_sum + block_sum;
    if (blockIdx.y == 0 && target[row] >= first && target[row] < first + width)
        target_logit[row] =
            eh_load(logits, begin + target[row] - first) + (bias.data != nullptr ? eh_load(bias, target[row]) : 0.0f);
}

// A warp a row puts its parts together: a few bytes, a launch.
__global__ void __launch_bounds__(eh_block_threads)
    finish_kernel(const float *top, const float *sum, const float *target_logit, int64_t rows, int parts,
                  float *log_probability, float *log_sum_exp)
{
    const int64_t row = eh_thread_index() / 32;
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (row >= rows)
        return; // the whole warp
    float high = -INFINITY, own = 0;
    for (int part = lane; part < parts; part += 32) high = fmaxf(high, top[row * parts + part]);
    high = eh_warp_max(high);
    for (int part = lane; part < parts; part += 32) {
        const float part_top = top[row * parts + part], part_sum = sum[row * parts + part];
        own += part_top == -INFINITY ? part_sum : part_sum * expf(part_top - high); // NaN stays
    }
    const float total = high + logf(eh_warp_sum(own));
    if (lane != 0)
        return;
    log_sum_exp[row] = total;
    log_probability[row] = target_logit[row] - total;
}

// grad of -row_weight log_probability: row_weight (probability - [v is the target]). Grid: rows, parts of a row. Bytes:
// the logits read, their gradient written; expect 80 %.
__global__ void __launch_bounds__(eh_block_threads)
    grad_logits_kernel(eh_array logits, eh_array bias, const int32_t *target, const float *log_sum_exp,
                       const float *row_weight, int64_t first, int64_t width, eh_array grad)
{
    const int64_t row = blockIdx.x, begin = row * width, end = begin + width;
    const int64_t step = 8 * static_cast<int64_t>(blockDim.x) * gridDim.y;
    const float total = log_sum_exp[row], weight = row_weight[row];
    const int64_t hit = target[row] - first;
    for (int64_t v = 8 * (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x); v < width; v += step) {
        eh_eight a = eh_load8(logits, begin + v, end);
        if (bias.data != nullptr) {
            const eh_eight b = eh_load8(bias, first + v, first + width);
#pragma unroll
            for (int j = 0; j < 8; j++) a.v[j] += b.v[j];
        }
#pragma unroll
        for (int j = 0; j < 8; j++) a.v[j] = weight * (expf(a.v[j] - total) - (v + j == hit ? 1.0f : 0.0f));
        eh_store8(grad, begin + v, end, a);
    }
}

eh_array floats_at(const void *address, int64_t width)
{
    return {const_cast<void *>(address), EH_F32, reinterpret_cast<uintptr_t>(address) % 16 == 0 && width % 8 == 0};
}

// How the scratch is cut for a layer.
struct plan {
    int64_t rows, width, vocab, block; // block: words at a time
    eh_dtype type;                     // of the products' inputs: what hidden and weight have, fp32 if they differ
    char *hidden;                      // hidden in that type
    char *weight;                      // a block of the weights in that type, where they have another
    float *logits, *grad_hidden;
    void *grad_logits;
    int parts; // of a row, which blocks of threads take
    float *top, *sum, *target_logit;
    float *partial; // of the bias's gradient
};

size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

// Words at a time: a multiple of 64, so that rows of a block begin where vectors do.
int64_t block_words(int64_t rows, int64_t vocab)
{
    const int64_t fitting = eh_logit_bytes / (4 * (rows > 0 ? rows : 1)) / 64 * 64,
                  block = fitting < 256 ? 256 : fitting;
    return block < vocab ? block : vocab;
}

// Enough blocks of threads for the device, none without work.
int parts_of_row(const eh_cuda_state *state, int64_t rows, int64_t words)
{
    const int64_t wanted = (8 * state->multiprocessors + rows - 1) / (rows > 0 ? rows : 1);
    const int64_t most = (words + 8 * eh_block_threads - 1) / (8 * eh_block_threads);
    const int64_t parts = wanted < most ? wanted : most;
    return static_cast<int>(parts < eh_largest_grid_y ? parts : eh_largest_grid_y);
}

eh_status make_plan(eh_backend *backend, const eh_output_layer *layer, bool backward, plan *p)
{
    *p = {};
    p->rows = layer->hidden.shape[0];
    p->width = layer->hidden.shape[1];
    p->vocab = layer->weight.shape[0];
    p->type = layer->weight.dtype == layer->hidden.dtype ? layer->weight.dtype : EH_F32;
    p->block = block_words(p->rows, p->vocab);
    const size_t element = eh_dtype_bytes(p->type), rows = static_cast<size_t>(p->rows);
    const size_t hidden = layer->hidden.dtype != p->type ? aligned(rows * static_cast<size_t>(p->width) * element) : 0;
    const size_t weight =
        layer->weight.dtype != p->type ? aligned(static_cast<size_t>(p->block * p->width) * element) : 0;
    const size_t logits = aligned(rows * static_cast<size_t>(p->block) * 4);
    const size_t grads = backward ? aligned(rows * static_cast<size_t>(p->block) * element) : 0;
    const size_t grad_hidden = backward ? aligned(rows * static_cast<size_t>(p->width) * 4) : 0;
    p->parts = parts_of_row(eh_cuda(backend), p->rows, p->block);
    const size_t state = aligned(rows * static_cast<size_t>(p->parts) * 4);
    const size_t partial = backward ? eh_sum_grid_for(p->rows, p->block).partial_bytes : 0;
    void *scratch = nullptr;
    EH_TRY(eh_cuda_scratch(backend, hidden + weight + logits + grads + grad_hidden + 3 * state + partial, &scratch));
    char *at = static_cast<char *>(scratch);
    p->hidden = at;
    p->weight = at += hidden;
    p->logits = reinterpret_cast<float *>(at += weight);
    p->grad_logits = at += logits;
    p->grad_hidden = reinterpret_cast<float *>(at += grads);
    p->top = reinterpret_cast<float *>(at += grad_hidden);
    p->sum = reinterpret_cast<float *>(at += state);
    p->target_logit = reinterpret_cast<float *>(at += state);
    p->partial = reinterpret_cast<float *>(at += state);
    if (hidden == 0) {
        p->hidden = static_cast<char *>(eh_tensor_address(&layer->hidden));
        return EH_OK;
    }
    eh_buffer buffer = {};
    buffer.backend = backend;
    buffer.address = p->hidden;
    eh_tensor converted = layer->hidden;
    converted.buffer = &buffer;
    converted.offset = 0;
    converted.dtype = p->type;
    return eh_cuda_convert(backend, &layer->hidden, &converted);
}

eh_array bias_of(const eh_output_layer *layer)
{
    return eh_array_of(&layer->bias, 8);
}

// The weights of a block of words in the products' type.
eh_status weight_rows(eh_backend *backend, const eh_output_layer *layer, const plan &p, int64_t first, int64_t words,
                      const void **rows)
{
    const eh_tensor stored = eh_tensor_rows(&layer->weight, first, words);
    *rows = eh_tensor_address(&stored);
    if (stored.dtype == p.type)
        return EH_OK;
    eh_buffer buffer = {};
    buffer.backend = backend;
    buffer.address = p.weight;
    eh_tensor same = stored;
    same.buffer = &buffer;
    same.offset = 0;
    same.dtype = p.type;
    *rows = p.weight;
    return eh_cuda_convert(backend, &stored, &same);
}

eh_status logits_of_block(eh_backend *backend, const eh_output_layer *layer, const plan &p, const void *rows,
                          int64_t words)
{
    const eh_cuda_gemm_call call = {p.rows, words, p.width,      p.hidden, rows,   p.logits,
                                    false,  true,  layer->scale, 0.0f,     p.type, EH_F32};
    return eh_cuda_gemm(backend, &call);
}

} // namespace

size_t eh_cuda_output_scratch(int64_t rows, int64_t width, int64_t vocab, eh_dtype type)
{
    const auto element = eh_dtype_bytes(type);
    const size_t block = static_cast<size_t>(block_words(rows, vocab)), n = static_cast<size_t>(rows),
                 w = static_cast<size_t>(width);
    // A row's parts are at least 2048 words each.
    return aligned(n * w * element) + aligned(block * w * element) + aligned(n * block * 4) +
           aligned(n * block * element) + aligned(n * w * 4) + 3 * aligned(n * (block / 2048 + 1) * 4) +
           eh_sum_grid_for(rows, static_cast<int64_t>(block)).partial_bytes;
}

eh_status eh_cuda_output_forward(eh_backend *backend, const eh_output_layer *layer)
{
    plan p;
    EH_TRY(make_plan(backend, layer, false, &p));
    if (p.rows == 0)
        return EH_OK;
    const cudaStream_t stream = eh_cuda(backend)->stream;
    const int32_t *target = static_cast<const int32_t *>(eh_tensor_address(&layer->target));
    for (int64_t first = 0; first < p.vocab; first += p.block) {
        const int64_t words = p.vocab - first < p.block ? p.vocab - first : p.block;
        const void *rows = nullptr;
        EH_TRY(weight_rows(backend, layer, p, first, words, &rows));
        EH_TRY(logits_of_block(backend, layer, p, rows, words));
        LAUNCH(row_state_kernel, dim3(static_cast<unsigned>(p.rows), static_cast<unsigned>(p.parts)),
               dim3(eh_block_threads), 0, stream, floats_at(p.logits, words), bias_of(layer), target, first, words,
               p.top, p.sum, p.target_logit);
        EH_CUDA(cudaGetLastError());
    }
    LAUNCH(finish_kernel, dim3(static_cast<unsigned>((32 * p.rows + eh_block_threads - 1) / eh_block_threads)),
           dim3(eh_block_threads), 0, stream, p.top, p.sum, p.target_logit, p.rows, p.parts,
           static_cast<float *>(eh_tensor_address(&layer->log_probability)),
           static_cast<float *>(eh_tensor_address(&layer->log_sum_exp)));
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

static eh_status backward_of_block(eh_backend *backend, const eh_output_layer *layer, const plan &p, int64_t first,
                                   int64_t words, const eh_tensor *row_weight, const eh_tensor *grad_weight,
                                   const eh_tensor *grad_bias)
{
    eh_cuda_state *state = eh_cuda(backend);
    const eh_array grads = {p.grad_logits, static_cast<int>(p.type), words % 8 == 0}; // scratch is aligned
    const void *rows = nullptr;
    EH_TRY(weight_rows(backend, layer, p, first, words, &rows));
    EH_TRY(logits_of_block(backend, layer, p, rows, words));
    LAUNCH(grad_logits_kernel, dim3(static_cast<unsigned>(p.rows), static_cast<unsigned>(p.parts)),
           dim3(eh_block_threads), 0, state->stream, floats_at(p.logits, words), bias_of(layer),
           static_cast<const int32_t *>(eh_tensor_address(&layer->target)),
           static_cast<const float *>(eh_tensor_address(&layer->log_sum_exp)),
           static_cast<const float *>(eh_tensor_address(row_weight)), first, words, grads);
    EH_CUDA(cudaGetLastError());
    const eh_cuda_gemm_call to_hidden = {p.rows,        p.width, words, p.grad_logits, rows,
                                         p.grad_hidden, false,   false, layer->scale,  first == 0 ? 0.0f : 1.0f,
                                         p.type,        EH_F32};
    EH_TRY(eh_cuda_gemm(backend, &to_hidden));
    if (eh_tensor_exists(grad_weight)) {
        EH_ASSERT(grad_weight->dtype == EH_F32);
        float *grads_of_rows = static_cast<float *>(eh_tensor_address(grad_weight)) + first * p.width;
        const float kept = layer->gradient_is_fresh ? 0.0f : 1.0f;
        const eh_cuda_gemm_call to_weight = {words, p.width, p.rows,       p.grad_logits, p.hidden, grads_of_rows,
                                             true,  false,   layer->scale, kept,          p.type,   EH_F32};
        EH_TRY(eh_cuda_gemm(backend, &to_weight));
    }
    if (!eh_tensor_exists(grad_bias))
        return EH_OK;
    return eh_cuda_sum_rows(state, grads, p.rows, words, p.partial,
                            floats_at(static_cast<float *>(eh_tensor_address(grad_bias)) + first, 8));
}

eh_status eh_cuda_output_backward(eh_backend *backend, const eh_output_layer *layer, const eh_tensor *row_weight,
                                  const eh_tensor *grad_hidden, const eh_tensor *grad_weight,
                                  const eh_tensor *grad_bias)
{
    plan p;
    EH_TRY(make_plan(backend, layer, true, &p));
    if (p.rows == 0)
        return EH_OK;
    for (int64_t first = 0; first < p.vocab; first += p.block) {
        const int64_t words = p.vocab - first < p.block ? p.vocab - first : p.block;
        EH_TRY(backward_of_block(backend, layer, p, first, words, row_weight, grad_weight, grad_bias));
    }
    if (!eh_tensor_exists(grad_hidden))
        return EH_OK;
    eh_buffer buffer = {};
    buffer.backend = backend;
    buffer.address = p.grad_hidden;
    eh_tensor sums = *grad_hidden;
    sums.buffer = &buffer;
    sums.offset = 0;
    sums.dtype = EH_F32;
    return eh_cuda_convert(backend, &sums, grad_hidden);
}

// --- Rows of logits --------------------------------------------------------------------------------
namespace
{

// Bytes: three reads of a row, of which the L2 cache serves two, and a write; expect 70-80 %.
__global__ void __launch_bounds__(eh_block_threads) log_softmax_kernel(eh_array logits, int64_t width)
{
    const int64_t begin = static_cast<int64_t>(blockIdx.x) * width, end = begin + width;
    const int64_t start = begin + 8 * static_cast<int64_t>(threadIdx.x), step = 8 * static_cast<int64_t>(blockDim.x);
    float top = -INFINITY;
    for (int64_t i = start; i < end; i += step) {
        const eh_eight a = eh_load8(logits, i, end);
#pragma unroll
        for (int j = 0; j < 8; j++) top = i + j < end ? fmaxf(top, a.v[j]) : top;
    }
    top = eh_block_max(top);
    float sum = 0;
    for (int64_t i = start; i < end; i += step) {
        const eh_eight a = eh_load8(logits, i, end);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += i + j < end ? expf(a.v[j] - top) : 0.0f;
    }
    const float total = top + logf(eh_block_sum(sum));
    for (int64_t i = start; i < end; i += step) {
        eh_eight a = eh_load8(logits, i, end);
#pragma unroll
        for (int j = 0; j < 8; j++) a.v[j] -= total;
        eh_store8(logits, i, end, a);
    }
}

// Bytes: two reads and a write; expect 80 %.
__global__ void __launch_bounds__(eh_block_threads)
    divergence_kernel(eh_array log_p, eh_array log_q, const float *row_weight, float strength, int64_t width,
                      float *divergence)
{
    const int64_t begin = static_cast<int64_t>(blockIdx.x) * width, end = begin + width;
    const float factor = strength * row_weight[blockIdx.x];
    float sum = 0;
    for (int64_t i = begin + 8 * static_cast<int64_t>(threadIdx.x); i < end;
         i += 8 * static_cast<int64_t>(blockDim.x)) {
        const eh_eight p = eh_load8(log_p, i, end);
        eh_eight q = eh_load8(log_q, i, end);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float share = i + j < end ? expf(q.v[j]) : 0.0f;
            if (share > 0)
                sum += share * (q.v[j] - p.v[j]);
            q.v[j] = factor * (expf(p.v[j]) - share);
        }
        eh_store8(log_q, i, end, q);
    }
    sum = eh_block_sum(sum);
    if (threadIdx.x == 0)
        divergence[blockIdx.x] = sum;
}

// Bytes: one read; expect 80 %.
__global__ void __launch_bounds__(eh_block_threads) argmax_kernel(eh_array logits, int64_t width, int32_t *index)
{
    SHARED(float, values, eh_block_threads);
    SHARED(int, places, eh_block_threads);
    const int64_t begin = static_cast<int64_t>(blockIdx.x) * width, end = begin + width;
    const int t = static_cast<int>(threadIdx.x);
    float best = -INFINITY;
    int place = INT32_MAX;
    for (int64_t i = begin + 8 * t; i < end; i += 8 * static_cast<int64_t>(blockDim.x)) {
        const eh_eight a = eh_load8(logits, i, end);
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (i + j < end && isnan(a.v[j])) { // nothing is better
                best = INFINITY;
                place = -1;
            } else if (i + j < end && (a.v[j] > best || place == INT32_MAX)) {
                best = a.v[j];
                place = static_cast<int>(i + j - begin);
            }
    }
    values[t] = best;
    places[t] = place;
    __syncthreads();
    for (int step = eh_block_threads / 2; step > 0; step /= 2) {
        if (t < step) {
            const bool better =
                values[t + step] > values[t] || (values[t + step] == values[t] && places[t + step] < places[t]);
            if (better && places[t + step] != INT32_MAX) {
                values[t] = values[t + step];
                places[t] = places[t + step];
            }
        }
        __syncthreads();
    }
    if (t == 0)
        index[blockIdx.x] = places[0];
}

} // namespace

eh_status eh_cuda_log_softmax_rows(eh_backend *backend, const eh_tensor *logits)
{
    if (eh_tensor_count(logits) == 0)
        return EH_OK;
    LAUNCH(log_softmax_kernel, dim3(static_cast<unsigned>(logits->shape[0])), dim3(eh_block_threads), 0,
           eh_cuda(backend)->stream, eh_array_of(logits, logits->shape[1]), logits->shape[1]);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_divergence_rows(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                                  const eh_tensor *row_weight, float strength, const eh_tensor *divergence)
{
    LAUNCH(divergence_kernel, dim3(static_cast<unsigned>(log_p->shape[0])), dim3(eh_block_threads), 0,
           eh_cuda(backend)->stream, eh_array_of(log_p, log_p->shape[1]), eh_array_of(log_q, log_p->shape[1]),
           static_cast<const float *>(eh_tensor_address(row_weight)), strength, log_p->shape[1],
           static_cast<float *>(eh_tensor_address(divergence)));
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_argmax_rows(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index)
{
    if (eh_tensor_count(logits) == 0)
        return EH_OK;
    LAUNCH(argmax_kernel, dim3(static_cast<unsigned>(logits->shape[0])), dim3(eh_block_threads), 0,
           eh_cuda(backend)->stream, eh_array_of(logits, logits->shape[1]), logits->shape[1],
           static_cast<int32_t *>(eh_tensor_address(index)));
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
