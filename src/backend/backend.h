// What a device can do: memory, and the operations that the transformer is made of. A backend (reference, cpu, cuda) is
// one const table of functions; the model sees an eh_backend and never asks which. Conventions:
//  - Tensors are dense and row-major; the last dimension is contiguous. Sequences are packed: [tokens, ...], no
//  padding.
//  - Weights, activations and gradients may be EH_F32, EH_BF16 or EH_F16; sums, statistics and probabilities are fp32.
//  - "written" outputs are overwritten, "added to" outputs are accumulated into (the caller zeroes them first).
//  - Calls are queued in order; results are on the host after eh_backend_download or eh_backend_wait. Not collective.
//  - The results do not depend on thread count or on other calls: sums have a fixed order.
//  - Shapes are checked once for all backends in backend.c; a mismatch is a broken invariant (EH_ASSERT).
#ifndef EH_BACKEND_BACKEND_H
#define EH_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eh_backend eh_backend;
typedef struct eh_buffer eh_buffer; // memory of the device; only the backend may look inside

typedef enum { EH_F32, EH_BF16, EH_F16, EH_I32 } eh_dtype;
size_t eh_dtype_bytes(eh_dtype dtype);
const char *eh_dtype_name(eh_dtype dtype); // "fp32", "bf16", "fp16", "int32"

// A view of device memory. All zero is "no tensor", which is how optional arguments are left out.
typedef struct {
    eh_buffer *buffer; // borrowed
    size_t offset;     // bytes from the buffer's start
    eh_dtype dtype;
    int dimension_count;
    int64_t shape[4];
} eh_tensor;

int64_t eh_tensor_count(const eh_tensor *tensor); // elements
size_t eh_tensor_bytes(const eh_tensor *tensor);
static inline bool eh_tensor_exists(const eh_tensor *tensor)
{
    return tensor != NULL && tensor->buffer != NULL;
}
eh_tensor eh_tensor_rows(const eh_tensor *tensor, int64_t first, int64_t count); // view of rows of the first dimension
// View of the same elements under another shape (as many elements).
eh_tensor eh_tensor_reshape(const eh_tensor *tensor, int dimension_count, const int64_t *shape);

// --- The device and its memory ---------------------------------------------------------
// name: "auto", "reference", "cpu" or "cuda". `local_rank` picks the GPU. threads 0 means what the binding allows.
// EH_MACHINE if it was not built or there is no such device; the message says what to do.
EH_CHECKED eh_status eh_backend_open(const char *name, int local_rank, int threads, eh_backend **backend);
void eh_backend_close(eh_backend **backend);
const char *eh_backend_name(const eh_backend *backend);
const char *eh_backend_description(const eh_backend *backend); // "AVX2, 1 thread"
// The GPU's address on its node's bus, or "": ranks of a node that have the same one share a GPU.
const char *eh_backend_identity(const eh_backend *backend);
// "no GPU can be used (...)": why "auto" did not take a faster device that was built; "" if it took that.
const char *eh_backend_passed_over(const eh_backend *backend);
// "fp32", "bf16", "fp16", or "auto": the one whose products are the fastest here (fp16 on GPUs without bf16 of their
// own).
eh_dtype eh_backend_precision(const eh_backend *backend, const char *name);
bool eh_backend_packs(const eh_backend *backend, eh_dtype dtype); // a packed copy of a matrix is no larger than it is

// Zeroed memory. `purpose` names it in the message when there is none ("activations") and in memory reports.
EH_CHECKED eh_status eh_buffer_new(eh_backend *backend, size_t bytes, const char *purpose, eh_buffer **buffer);
void eh_buffer_free(eh_buffer **buffer);
size_t eh_buffer_bytes(const eh_buffer *buffer);
// A buffer that borrows host memory (a memory mapped file): the CPU backends read it in place, others copy it once.
EH_CHECKED eh_status eh_buffer_view(eh_backend *backend, const void *host, size_t bytes, eh_buffer **buffer);
// Zeroed memory in a file of its own in `folder` (core/memory.h), for what is seldom used. Only where host and device
// memory are one; EH_INPUT else. eh_tensor_release lets a part go from resident memory; nothing for other buffers.
EH_CHECKED eh_status eh_buffer_new_in_file(eh_backend *backend, size_t bytes, const char *folder, const char *purpose,
                                           eh_buffer **buffer);
void eh_tensor_release(const eh_tensor *tensor);
bool eh_tensor_in_file(const eh_tensor *tensor);
// The host address of a tensor where host and device memory are one (reference, cpu), else NULL. Ask again before each
// round of writing through it: asking is what tells the backend that packed copies of this memory are stale.
void *eh_tensor_host(const eh_tensor *tensor);

EH_CHECKED eh_status eh_backend_upload(eh_backend *backend, const void *host, const eh_tensor *tensor);
EH_CHECKED eh_status eh_backend_download(eh_backend *backend, const eh_tensor *tensor, void *host); // waits
EH_CHECKED eh_status eh_backend_wait(eh_backend *backend);
// The largest batches to come, so that operations find their working memory and a step allocates nothing.
typedef struct {
    int64_t tokens, labels, segments; // rows of a batch, labelled rows, sequences
    int64_t widest, hidden_size;      // the widest product's outputs; the output layer's inputs
    int64_t vocab_size, head_count, bucket_count;
    int64_t weight_count;
} eh_work_sizes;
EH_CHECKED eh_status eh_backend_reserve(eh_backend *backend, const eh_work_sizes *sizes);
// What a GPU reserves for these (cuda/device.cu), without one. For plans; cuda_host.steps compares.
size_t eh_device_work_bytes(const eh_work_sizes *sizes);

// --- Element-wise ------------------------------------------------------------------------
EH_CHECKED eh_status eh_fill(eh_backend *backend, float value, const eh_tensor *y);
EH_CHECKED eh_status eh_convert(eh_backend *backend, const eh_tensor *x, const eh_tensor *y); // copies, casts
EH_CHECKED eh_status eh_add(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);     // y += x
EH_CHECKED eh_status eh_scale(eh_backend *backend, float factor, const eh_tensor *y);         // y *= factor
// Dropout (Srivastava et al. 2014), inverted: y = x * mask / (1 - p); the mask is Philox of (seed, first_index + i), so
// backward is the same call on the gradient. y may be x.
EH_CHECKED eh_status eh_dropout(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                                const eh_tensor *y);

typedef enum { EH_GELU_ERF, EH_GELU_TANH, EH_RELU, EH_SILU, EH_TANH } eh_activation;
// y = act(x), or act(x) * gate where a gate is given (Shazeer 2020). x, gate, y the same shape; y may be x.
EH_CHECKED eh_status eh_activation_forward(eh_backend *backend, eh_activation kind, const eh_tensor *x,
                                           const eh_tensor *gate, const eh_tensor *y);
// grad_x (and grad_gate) written; either may be grad_y.
EH_CHECKED eh_status eh_activation_backward(eh_backend *backend, eh_activation kind, const eh_tensor *x,
                                            const eh_tensor *gate, const eh_tensor *grad_y, const eh_tensor *grad_x,
                                            const eh_tensor *grad_gate);

// --- Rows --------------------------------------------------------------------------------
// y[i] = table[index[i]] (written) or y[i] += table[index[i]]; index I32 [n], y [n, width]. Embedding lookup, gathering
// of labelled positions.
typedef enum { EH_WRITE, EH_ADD } eh_output_mode;
EH_CHECKED eh_status eh_gather_rows(eh_backend *backend, const eh_tensor *table, const eh_tensor *index,
                                    eh_output_mode mode, const eh_tensor *y);
// table[index[i]] += x[i], in ascending i for equal indices: the embedding's gradient. (A GPU takes the rows of a table
// of at most four in chunks, as a column sum.)
EH_CHECKED eh_status eh_scatter_add_rows(eh_backend *backend, const eh_tensor *x, const eh_tensor *index,
                                         const eh_tensor *table);
// y[j] += sum_i x[i, j]: the gradient of a bias. x [rows, n], y [n].
EH_CHECKED eh_status eh_column_sum(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);

// --- Norms ---------------------------------------------------------------------------------
typedef enum { EH_LAYER_NORM, EH_RMS_NORM } eh_norm_kind;
// Layer normalisation (Ba et al. 2016) or root mean square normalisation (Zhang & Sennrich 2019, eq. 4) of each row:
//   s = x + residual (if given; written to `sum`, which may be x or residual), y = weight * (s - mean) * scale + bias,
// scale = 1/sqrt(var + eps) or 1/sqrt(mean(s^2) + eps). Shapes: x, residual, sum, y [rows, n]; weight, bias [n];
// mean (layer norm only), scale fp32 [rows], written for the backward pass. Two-pass sums.
typedef struct {
    eh_norm_kind kind;
    float eps;
    eh_tensor weight, bias; // bias may be missing
} eh_norm;
EH_CHECKED eh_status eh_norm_forward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x,
                                     const eh_tensor *residual, const eh_tensor *sum, const eh_tensor *y,
                                     const eh_tensor *mean, const eh_tensor *scale);
// x here is what was normalised (`sum` where there was a residual). grad_x is written, or added to with EH_ADD (the
// gradient that came along the residual is in it then). grad_weight, grad_bias are added to; may be missing (frozen).
EH_CHECKED eh_status eh_norm_backward(eh_backend *backend, const eh_norm *norm, const eh_tensor *x,
                                      const eh_tensor *mean, const eh_tensor *scale, const eh_tensor *grad_y,
                                      eh_output_mode mode, const eh_tensor *grad_x, const eh_tensor *grad_weight,
                                      const eh_tensor *grad_bias);

// --- Products --------------------------------------------------------------------------------
// y[m, n] = alpha * A B + bias (+ y with EH_ADD), A = a or a^T, B = b or b^T. Stored: a [m, k] or, transposed, [k, m];
// b [k, n] or, transposed, [n, k] (a torch Linear weight is [out, in]: transpose_b). bias [n] or missing; a GPU may
// round it to y's type. fp32 sums.
typedef struct {
    eh_tensor a, b, bias, y;
    bool transpose_a, transpose_b;
    float alpha; // 0 means 1
    eh_output_mode mode;
    bool b_is_constant; // b stays unchanged for many calls: the backend may keep a packed copy (as big as b)
} eh_product;
EH_CHECKED eh_status eh_multiply(eh_backend *backend, const eh_product *product);
// The same, and activated = act(y) [m, n], in one pass over memory where the backend can; y is kept for the backward
// pass. product->mode is EH_WRITE.
EH_CHECKED eh_status eh_multiply_activate(eh_backend *backend, const eh_product *product, eh_activation kind,
                                          const eh_tensor *activated);

// --- Attention ----------------------------------------------------------------------------------
// A packed sequence's share of the rows. Queries and keys are rows of their tensors; `prefix` rows, then `middle` rows
// come before the own keys and may be shared by several segments (a common context or prompt template, and what some of
// its readers go on with alike). `prefix` below: both.
typedef struct {
    int32_t query_begin, query_count, key_begin, key_count, prefix_begin, prefix_count, middle_begin, middle_count;
} eh_segment;
enum { EH_SEGMENT_WORDS = sizeof(eh_segment) / sizeof(int32_t) };
static inline int64_t eh_segment_shared(const eh_segment *segment)
{
    return (int64_t)segment->prefix_count + segment->middle_count;
}
static inline int64_t eh_segment_keys(const eh_segment *segment)
{
    return eh_segment_shared(segment) + segment->key_count;
}

typedef enum { EH_NO_POSITION_BIAS, EH_ALIBI, EH_RELATIVE_BUCKETS } eh_position_bias;

// Heads inside a wider row: element (t, h, i) is at t * token_stride + h * head_stride + i from the tensor's start. So
// BLOOM's [tokens, heads, 3, size] and GPT-2's [tokens, 3, heads, size] are three views of one product.
typedef struct {
    eh_tensor tensor;
    int64_t token_stride, head_stride; // elements
} eh_heads;

typedef struct {
    int64_t head_count, head_size;
    float scale; // of the scores; 1 for T5
    bool causal; // query i of a segment sees the prefix and own keys up to key_count - query_count + i
    eh_position_bias position_bias;
    eh_tensor
        alibi_slopes; // fp32 [heads] (Press et al. 2022); bias = slope * key index, counted over prefix and own keys
    eh_tensor relative_bias; // [buckets, heads] (Raffel et al. 2020); bucket of key index - query index
    int bucket_count, bucket_max_distance;
    bool bidirectional_buckets;
    eh_tensor segments;              // I32 [segment_count, EH_SEGMENT_WORDS], eh_segment rows
    const eh_segment *host_segments; // the same on the host, for planning; valid until the call returns
    int64_t segment_count;
    float dropout; // of the probabilities; mask from (dropout_seed, row of the query tensor, head, key index)
    uint64_t dropout_seed;
} eh_attention;

// output[t, h, :] = softmax(scale q.k + bias) v, never materialised for all pairs. log_sum_exp fp32 [queries, heads] is
// written for the backward pass; may be missing. A query that sees no key gives 0 and log_sum_exp -inf.
EH_CHECKED eh_status eh_attention_forward(eh_backend *backend, const eh_attention *attention, const eh_heads *query,
                                          const eh_heads *key, const eh_heads *value, const eh_heads *output,
                                          const eh_tensor *log_sum_exp);
// Whether a row of keys belongs to several segments, so that its gradient has several parts.
bool eh_attention_shares_keys(const eh_attention *attention);
// grad_query, grad_key, grad_value are added to, or, fresh, written for all rows of the segments, where no keys are
// shared and there is a query; grad_relative_bias fp32 [buckets, heads] is added to (may be missing). A GPU takes no
// segments with `middle` rows here.
typedef struct {
    eh_heads query, key, value, output, grad_output;
    eh_tensor log_sum_exp;
    eh_heads grad_query, grad_key, grad_value;
    eh_tensor grad_relative_bias;
    bool fresh;
} eh_attention_grads;
EH_CHECKED eh_status eh_attention_backward(eh_backend *backend, const eh_attention *attention,
                                           const eh_attention_grads *grads);
// T5's bucket of a distance key - query (Raffel et al. 2020; transformers' float arithmetic).
int eh_relative_bucket(int64_t distance, bool bidirectional, int bucket_count, int max_distance);

// --- Output layer with cross-entropy, in vocabulary blocks ----------------------------------------
// logits[i, v] = scale * hidden[i] . weight[v] + bias[v] for labelled rows only, never stored as a whole.
//   log_probability[i] = logits[i, target[i]] - log_sum_exp[i]. hidden [n, width], weight [vocab, width], bias fp32
//   [vocab]
// or missing, target I32 [n], outputs fp32 [n].
typedef struct {
    eh_tensor hidden, weight, bias, target;
    float scale;
    bool weight_is_constant; // as eh_product's b_is_constant
    bool backward_follows;   // eh_output_backward comes next for this layer, tensors unchanged: the logits may be kept
    bool gradient_is_fresh;  // grad_weight is written, not added to
    eh_tensor log_probability, log_sum_exp;
} eh_output_layer;
EH_CHECKED eh_status eh_output_forward(eh_backend *backend, const eh_output_layer *layer);
// For the loss -sum_i row_weight[i] log_probability[i] (row_weight fp32 [n]): grad_hidden is written, grad_weight and
// grad_bias are added to (may be missing: frozen). Logits are computed again block by block.
EH_CHECKED eh_status eh_output_backward(eh_backend *backend, const eh_output_layer *layer, const eh_tensor *row_weight,
                                        const eh_tensor *grad_hidden, const eh_tensor *grad_weight,
                                        const eh_tensor *grad_bias);
// Rows of logits [n, vocab] fp32 -> log-probabilities in place.
EH_CHECKED eh_status eh_log_softmax_rows(eh_backend *backend, const eh_tensor *logits);
// Divergence of a model from another one, row by row: KL(q || p) = sum_v q (log q - log p), and its gradient with
// respect to the logits of p, times strength row_weight[i], in place of log_q: strength row_weight[i] (p - q). log_p,
// log_q [n, vocab], row_weight, divergence [n], all fp32; log_p is not changed.
EH_CHECKED eh_status eh_divergence_rows(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                                        const eh_tensor *row_weight, float strength, const eh_tensor *divergence);
// index I32 [n]: the largest entry of each row, the first among equals; -1 where one is NaN.
EH_CHECKED eh_status eh_argmax_rows(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index);
// A token for each row of logits [n, vocab] fp32, in transformers' order: the edits, then temperature, top-k and top-p
// (Holtzman et al. 2020; counted within what top-k left). The kept tokens lie on [0, 1) by falling probability, among
// equals by ascending id (all tokens: by ascending id); the one that a row's number falls on is drawn. Masses are
// double on the host, whole multiples of 2^-40 of the likeliest token's on a GPU: a number nearer than that to a
// border may draw the neighbour. -1 where a logit is NaN, or one to draw from is +inf.
typedef struct {
    eh_tensor logits;          // may be changed
    eh_tensor edits;           // I32 [m, 3]: row, token (each pair once), 1: banned, 0: penalised; or missing
    double penalty;            // of the penalised: a logit above 0 is divided by it, others are multiplied
    eh_tensor draws;           // I32 [n, 2]: the bits of a double in [0, 1) for each row; missing: the likeliest token
    double temperature, top_p; // top_p >= 1: no limit
    int64_t top_k;             // 0: no limit
    eh_tensor index;           // I32 [n], written
} eh_sampling;
EH_CHECKED eh_status eh_sample_rows(eh_backend *backend, const eh_sampling *sampling);

// --- Optimiser ----------------------------------------------------------------------------------------
// One fused pass of AdamW (Loshchilov & Hutter 2019) over equal ranges; the gradient is multiplied by grad_scale first
// (clipping, loss scaling). step counts from 1.
//   decoupled:  m, v as usual; p -= lr * wd * p; p -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//   (torch.optim.AdamW) hf_legacy:  p -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps), then p -= lr * wd * p
//   (adamw_hf)
typedef struct {
    float learning_rate, beta1, beta2, eps, weight_decay, grad_scale;
    int64_t step;
    bool hf_legacy;
} eh_adamw;
// weights, m, v fp32; gradient fp32; `copy` (bf16 or fp16, may be missing) receives the rounded new weights.
EH_CHECKED eh_status eh_adamw_step(eh_backend *backend, const eh_adamw *adamw, const eh_tensor *weights,
                                   const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v,
                                   const eh_tensor *copy);
// The same over runs of elements, in one pass where the backend can: a model has some hundred, most of them short. A
// run begins at different places of the weights (and their copy), the gradient, and the moments; adamw->weight_decay
// holds for those that decay.
typedef struct {
    int64_t weights, gradient, moments; // first elements
    int64_t count;
    bool decays;
} eh_adamw_run;
EH_CHECKED eh_status eh_adamw_runs(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs,
                                   int64_t run_count, const eh_tensor *weights, const eh_tensor *gradient,
                                   const eh_tensor *m, const eh_tensor *v, const eh_tensor *copy);
// Pull towards anchors, the gradient of strength / 2 sum_i importance[i] (weights[i] - anchor[i])^2, added to
// `gradient`. All fp32 and of one size; importance may be missing: 1 for all.
EH_CHECKED eh_status eh_pull(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                             const eh_tensor *importance, const eh_tensor *gradient);
// Sum of squares in double with a fixed order, the same on any number of threads (on the host: blocks of 4096, then a
// binary tree). Waits. NaN and Inf show in it.
EH_CHECKED eh_status eh_squared_norm(eh_backend *backend, const eh_tensor *x, double *sum);
// The same for each piece of some stretches of a vector, all at once: a device is waited for once.
typedef struct {
    int64_t first, count; // elements
    int64_t piece;        // elements of a piece; the last one may be shorter
    double *sums;         // [count / piece, rounded up], written
} eh_norm_stretch;
EH_CHECKED eh_status eh_squared_norms(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                                      int64_t stretch_count);

#ifdef __cplusplus
}
#endif
#endif
