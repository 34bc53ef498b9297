// The output layer with its cross-entropy: logits of labelled rows in blocks of the vocabulary, so that rows x
// vocabulary is never stored. The products bound it (2 n w V flops forward, 6 n w V with backward); the kernels here
// read each block of logits once or twice.
#include <math.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/product.cuh"

namespace
{

constexpr int64_t block_bytes = 64 << 20; // of fp32 logits at a time

// Running maximum and sum of exponentials of each row (Milakov & Gimelshein 2018), and the target's logit.
__global__ void row_state_kernel(float *logits, const float *bias, const int32_t *target, int64_t first, int64_t width,
                                 float *top, float *sum, float *target_logit)
{
    const int64_t row = blockIdx.x;
    float *mine = logits + row * width;
    float block_top = -INFINITY;
    for (int64_t v = threadIdx.x; v < width; v += blockDim.x) {
        if (bias != nullptr)
            mine[v] += bias[first + v];
        block_top = fmaxf(block_top, mine[v]);
        if (mine[v] != mine[v]) // fmaxf drops NaN; the sum below keeps it
            block_top = fmaxf(block_top, 0.0f);
    }
    block_top = eh_block_max(block_top);
    const float old_top = first == 0 ? -INFINITY : top[row], new_top = fmaxf(old_top, block_top);
    float block_sum = 0;
    for (int64_t v = threadIdx.x; v < width; v += blockDim.x) block_sum += expf(mine[v] - new_top);
    block_sum = eh_block_sum(block_sum);
    if (threadIdx.x != 0)
        return;
    const float old_sum = first == 0 ? 0.0f : sum[row] * expf(old_top - new_top);
    top[row] = new_top;
    sum[row] = old_sum + block_sum;
    if (target[row] >= first && target[row] < first + width)
        target_logit[row] = mine[target[row] - first];
}

__global__ void finish_kernel(const float *top, const float *sum, const float *target_logit, int64_t rows,
                              float *log_probability, float *log_sum_exp)
{
    const int64_t row = eh_thread_index();
    if (row >= rows)
        return;
    const float total = top[row] + logf(sum[row]);
    log_sum_exp[row] = total;
    log_probability[row] = target_logit[row] - total;
}

// grad of -row_weight log_probability: row_weight (probability - [v is the target]).
__global__ void grad_logits_kernel(const float *logits, const float *bias, const int32_t *target,
                                   const float *log_sum_exp, const float *row_weight, int64_t first, int64_t rows,
                                   int64_t width, eh_array grad)
{
    for (int64_t at = eh_thread_index(); at < rows * width; at += eh_thread_count()) {
        const int64_t row = at / width, v = first + at % width;
        const float logit = logits[at] + (bias != nullptr ? bias[v] : 0.0f);
        const float hit = target[row] == v ? 1.0f : 0.0f;
        eh_store(grad, at, row_weight[row] * (expf(logit - log_sum_exp[row]) - hit));
    }
}

__global__ void bias_grad_kernel(eh_array grad, int64_t rows, int64_t width, float *grad_bias)
{
    const int64_t v = eh_thread_index();
    if (v >= width)
        return;
    float sum = 0;
    for (int64_t row = 0; row < rows; row++) sum += eh_load(grad, row * width + v);
    grad_bias[v] += sum;
}

// How the scratch is cut for a layer.
struct plan {
    int64_t rows, width, vocab, block; // block: words at a time
    eh_dtype type;                     // of the products' inputs: what hidden and weight have, fp32 if they differ
    char *hidden;                      // hidden in that type
    char *weight;                      // a block of the weights in that type, where they have another
    float *logits, *grad_hidden;
    void *grad_logits;
    float *top, *sum, *target_logit;
};

size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

eh_status make_plan(eh_backend *backend, const eh_output_layer *layer, bool backward, plan *p)
{
    *p = {};
    p->rows = layer->hidden.shape[0];
    p->width = layer->hidden.shape[1];
    p->vocab = layer->weight.shape[0];
    p->type = layer->weight.dtype == layer->hidden.dtype ? layer->weight.dtype : EH_F32;
    const int64_t fitting = block_bytes / (4 * (p->rows > 0 ? p->rows : 1));
    p->block = fitting < 256 ? 256 : fitting;
    if (p->block > p->vocab)
        p->block = p->vocab;
    const size_t element = eh_dtype_bytes(p->type), rows = static_cast<size_t>(p->rows);
    const size_t hidden = layer->hidden.dtype != p->type ? aligned(rows * static_cast<size_t>(p->width) * element) : 0;
    const size_t weight =
        layer->weight.dtype != p->type ? aligned(static_cast<size_t>(p->block * p->width) * element) : 0;
    const size_t logits = aligned(rows * static_cast<size_t>(p->block) * 4);
    const size_t grads = backward ? aligned(rows * static_cast<size_t>(p->block) * element) : 0;
    const size_t grad_hidden = backward ? aligned(rows * static_cast<size_t>(p->width) * 4) : 0,
                 state = aligned(rows * 4);
    void *scratch = nullptr;
    EH_TRY(eh_cuda_scratch(backend, hidden + weight + logits + grads + grad_hidden + 3 * state, &scratch));
    char *at = static_cast<char *>(scratch);
    p->hidden = at;
    p->weight = at += hidden;
    p->logits = reinterpret_cast<float *>(at += weight);
    p->grad_logits = at += logits;
    p->grad_hidden = reinterpret_cast<float *>(at += grads);
    p->top = reinterpret_cast<float *>(at += grad_hidden);
    p->sum = reinterpret_cast<float *>(at += state);
    p->target_logit = reinterpret_cast<float *>(at += state);
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

const float *bias_of(const eh_output_layer *layer)
{
    return eh_tensor_exists(&layer->bias) ? static_cast<const float *>(eh_tensor_address(&layer->bias)) : nullptr;
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
        LAUNCH(row_state_kernel, dim3(static_cast<unsigned>(p.rows)), dim3(eh_block_threads), 0, stream, p.logits,
               bias_of(layer), target, first, words, p.top, p.sum, p.target_logit);
        EH_CUDA(cudaGetLastError());
    }
    LAUNCH(finish_kernel, dim3(static_cast<unsigned>((p.rows + eh_block_threads - 1) / eh_block_threads)),
           dim3(eh_block_threads), 0, stream, p.top, p.sum, p.target_logit, p.rows,
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
    const eh_array grads = {p.grad_logits, static_cast<int>(p.type), false};
    const void *rows = nullptr;
    EH_TRY(weight_rows(backend, layer, p, first, words, &rows));
    EH_TRY(logits_of_block(backend, layer, p, rows, words));
    LAUNCH(grad_logits_kernel, eh_grid_for(state, p.rows * words), dim3(eh_block_threads), 0, state->stream, p.logits,
           bias_of(layer), static_cast<const int32_t *>(eh_tensor_address(&layer->target)),
           static_cast<const float *>(eh_tensor_address(&layer->log_sum_exp)),
           static_cast<const float *>(eh_tensor_address(row_weight)), first, p.rows, words, grads);
    EH_CUDA(cudaGetLastError());
    const eh_cuda_gemm_call to_hidden = {p.rows,        p.width, words, p.grad_logits, rows,
                                         p.grad_hidden, false,   false, layer->scale,  first == 0 ? 0.0f : 1.0f,
                                         p.type,        EH_F32};
    EH_TRY(eh_cuda_gemm(backend, &to_hidden));
    if (eh_tensor_exists(grad_weight)) {
        EH_ASSERT(grad_weight->dtype == EH_F32);
        float *grads_of_rows = static_cast<float *>(eh_tensor_address(grad_weight)) + first * p.width;
        const eh_cuda_gemm_call to_weight = {words, p.width, p.rows,       p.grad_logits, p.hidden, grads_of_rows,
                                             true,  false,   layer->scale, 1.0f,          p.type,   EH_F32};
        EH_TRY(eh_cuda_gemm(backend, &to_weight));
    }
    if (eh_tensor_exists(grad_bias)) {
        LAUNCH(bias_grad_kernel, dim3(static_cast<unsigned>((words + eh_block_threads - 1) / eh_block_threads)),
               dim3(eh_block_threads), 0, state->stream, grads, p.rows, words,
               static_cast<float *>(eh_tensor_address(grad_bias)) + first);
        EH_CUDA(cudaGetLastError());
    }
    return EH_OK;
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

__global__ void log_softmax_kernel(float *logits, int64_t width)
{
    float *mine = logits + static_cast<int64_t>(blockIdx.x) * width;
    float top = -INFINITY;
    for (int64_t v = threadIdx.x; v < width; v += blockDim.x) top = fmaxf(top, mine[v]);
    top = eh_block_max(top);
    float sum = 0;
    for (int64_t v = threadIdx.x; v < width; v += blockDim.x) sum += expf(mine[v] - top);
    const float total = top + logf(eh_block_sum(sum));
    for (int64_t v = threadIdx.x; v < width; v += blockDim.x) mine[v] -= total;
}

__global__ void divergence_kernel(const float *log_p, float *log_q, const float *row_weight, float strength,
                                  int64_t width, float *divergence)
{
    const float *p = log_p + static_cast<int64_t>(blockIdx.x) * width;
    float *q = log_q + static_cast<int64_t>(blockIdx.x) * width;
    const float factor = strength * row_weight[blockIdx.x];
    float sum = 0;
    for (int64_t v = threadIdx.x; v < width; v += blockDim.x) {
        const float share = expf(q[v]);
        if (share > 0)
            sum += share * (q[v] - p[v]);
        q[v] = factor * (expf(p[v]) - share);
    }
    sum = eh_block_sum(sum);
    if (threadIdx.x == 0)
        divergence[blockIdx.x] = sum;
}

__global__ void argmax_kernel(const float *logits, int64_t width, int32_t *index)
{
    SHARED(float, values, eh_block_threads);
    SHARED(int, places, eh_block_threads);
    const float *mine = logits + static_cast<int64_t>(blockIdx.x) * width;
    const int t = static_cast<int>(threadIdx.x);
    float best = -INFINITY;
    int place = INT32_MAX;
    for (int64_t v = t; v < width; v += blockDim.x)
        if (mine[v] > best || place == INT32_MAX) {
            best = mine[v];
            place = static_cast<int>(v);
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
           eh_cuda(backend)->stream, static_cast<float *>(eh_tensor_address(logits)), logits->shape[1]);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_divergence_rows(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                                  const eh_tensor *row_weight, float strength, const eh_tensor *divergence)
{
    LAUNCH(divergence_kernel, dim3(static_cast<unsigned>(log_p->shape[0])), dim3(eh_block_threads), 0,
           eh_cuda(backend)->stream, static_cast<const float *>(eh_tensor_address(log_p)),
           static_cast<float *>(eh_tensor_address(log_q)), static_cast<const float *>(eh_tensor_address(row_weight)),
           strength, log_p->shape[1], static_cast<float *>(eh_tensor_address(divergence)));
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_argmax_rows(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index)
{
    if (eh_tensor_count(logits) == 0)
        return EH_OK;
    LAUNCH(argmax_kernel, dim3(static_cast<unsigned>(logits->shape[0])), dim3(eh_block_threads), 0,
           eh_cuda(backend)->stream, static_cast<const float *>(eh_tensor_address(logits)), logits->shape[1],
           static_cast<int32_t *>(eh_tensor_address(index)));
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}
