// What the backends share: the table of functions that each one fills, what a backend and a buffer are inside, and the
// definitions that all must agree on to the bit (dropout's random words).
#ifndef EH_BACKEND_BACKEND_INTERNAL_H
#define EH_BACKEND_BACKEND_INTERNAL_H

#include "backend/backend.h"
#include "backend/exchange.h"
#include "core/philox.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eh_profile eh_profile;

// One backend's functions; none may be missing. backend.c has checked the shapes, and nothing is empty that an
// operation could not handle as "nothing to do"; the operations are described in backend.h.
typedef struct {
    const char *name;
    // Fills backend->state, description, prefers_bf16, packs_bf16, shares_host_memory.
    eh_status (*open)(eh_backend *backend, int local_rank, int threads);
    void (*close)(eh_backend *backend);
    // Sets buffer->address to zeroed memory of buffer->bytes; view: to memory that holds what `host` points to.
    eh_status (*buffer_new)(eh_buffer *buffer, const char *purpose);
    eh_status (*buffer_view)(eh_buffer *buffer, const void *host);
    void (*buffer_free)(eh_buffer *buffer);
    eh_status (*upload)(eh_backend *backend, const void *host, const eh_tensor *tensor);
    eh_status (*download)(eh_backend *backend, const eh_tensor *tensor, void *host);
    eh_status (*wait)(eh_backend *backend);
    eh_status (*reserve)(eh_backend *backend, const eh_work_sizes *sizes);

    eh_status (*fill)(eh_backend *backend, float value, const eh_tensor *y);
    eh_status (*convert)(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
    eh_status (*add)(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
    eh_status (*scale)(eh_backend *backend, float factor, const eh_tensor *y);
    eh_status (*dropout)(eh_backend *backend, const eh_tensor *x, float p, uint64_t seed, uint64_t first_index,
                         const eh_tensor *y);
    eh_status (*activation_forward)(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                    const eh_tensor *y);
    eh_status (*activation_backward)(eh_backend *backend, eh_activation kind, const eh_tensor *x, const eh_tensor *gate,
                                     const eh_tensor *grad_y, const eh_tensor *grad_x, const eh_tensor *grad_gate);
    eh_status (*gather_rows)(eh_backend *backend, const eh_tensor *table, const eh_tensor *index, eh_output_mode mode,
                             const eh_tensor *y);
    eh_status (*scatter_add_rows)(eh_backend *backend, const eh_tensor *x, const eh_tensor *index,
                                  const eh_tensor *table);
    eh_status (*column_sum)(eh_backend *backend, const eh_tensor *x, const eh_tensor *y);
    eh_status (*norm_forward)(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *residual,
                              const eh_tensor *sum, const eh_tensor *y, const eh_tensor *mean, const eh_tensor *scale);
    eh_status (*norm_backward)(eh_backend *backend, const eh_norm *norm, const eh_tensor *x, const eh_tensor *mean,
                               const eh_tensor *scale, const eh_tensor *grad_y, eh_output_mode mode,
                               const eh_tensor *grad_x, const eh_tensor *grad_weight, const eh_tensor *grad_bias);
    eh_status (*multiply)(eh_backend *backend, const eh_product *product);
    eh_status (*multiply_activate)(eh_backend *backend, const eh_product *product, eh_activation kind,
                                   const eh_tensor *activated);
    eh_status (*attention_forward)(eh_backend *backend, const eh_attention *attention, const eh_heads *query,
                                   const eh_heads *key, const eh_heads *value, const eh_heads *output,
                                   const eh_tensor *log_sum_exp);
    eh_status (*attention_backward)(eh_backend *backend, const eh_attention *attention,
                                    const eh_attention_grads *grads);
    eh_status (*output_forward)(eh_backend *backend, const eh_output_layer *layer);
    eh_status (*output_backward)(eh_backend *backend, const eh_output_layer *layer, const eh_tensor *row_weight,
                                 const eh_tensor *grad_hidden, const eh_tensor *grad_weight,
                                 const eh_tensor *grad_bias);
    eh_status (*log_softmax_rows)(eh_backend *backend, const eh_tensor *logits);
    eh_status (*divergence_rows)(eh_backend *backend, const eh_tensor *log_p, const eh_tensor *log_q,
                                 const eh_tensor *row_weight, float strength, const eh_tensor *divergence);
    eh_status (*argmax_rows)(eh_backend *backend, const eh_tensor *logits, const eh_tensor *index);
    eh_status (*sample_rows)(eh_backend *backend, const eh_sampling *sampling);
    eh_status (*adamw_runs)(eh_backend *backend, const eh_adamw *adamw, const eh_adamw_run *runs, int64_t run_count,
                            const eh_tensor *weights, const eh_tensor *gradient, const eh_tensor *m, const eh_tensor *v,
                            const eh_tensor *copy);
    eh_status (*pull)(eh_backend *backend, float strength, const eh_tensor *weights, const eh_tensor *anchor,
                      const eh_tensor *importance, const eh_tensor *gradient);
    eh_status (*squared_norms)(eh_backend *backend, const eh_tensor *x, const eh_norm_stretch *stretches,
                               int64_t stretch_count);
    eh_status (*limits)(eh_backend *backend, eh_dtype dtype, double *flops, double *bytes); // 0: not known
} eh_backend_table;

// Buckets between ranks (exchange.h), of a device with memory of its own. eh_exchange begins with its eh_backend *.
typedef struct {
    int (*nccl_version)(void);
    eh_status (*make_id)(eh_backend *backend, unsigned char *id);
    eh_status (*make)(eh_backend *backend, const eh_exchange_plan *plan, eh_exchange **exchange);
    void (*destroy)(eh_exchange *exchange);
    eh_status (*send)(eh_exchange *exchange, int slot, const eh_tensor *bucket);
    eh_status (*arrived)(eh_exchange *exchange, int slot, bool wait, bool *arrived);
    float *(*memory)(const eh_exchange *exchange, int slot);
    eh_status (*receive)(eh_exchange *exchange, int slot);
    eh_status (*release)(eh_exchange *exchange, int slot);
    eh_status (*finish)(eh_exchange *exchange);
} eh_exchange_table;

struct eh_backend {
    const eh_backend_table *table;
    const eh_exchange_table *exchange; // NULL: host and device memory are one
    void *state;                       // the backend's own
    char description[160];
    char identity[40];               // of the device: the GPU's address on the bus; "" where all ranks share the host
    char passed_over[400];           // what "auto" could not use, and why; "" if nothing was built that it could
    bool prefers_bf16, prefers_fp16; // its products in that type are faster than in fp32; at most one of them
    bool packs_bf16;                 // its packed copies of bf16 matrices are bf16
    bool shares_host_memory;         // a buffer's address is a host address
    eh_profile *profile;             // NULL: not profiling
};

struct eh_buffer {
    eh_backend *backend;
    void *address; // on the device; the host may read it only where shares_host_memory
    size_t bytes;
    bool is_view;         // borrows host memory
    bool in_file;         // host memory in a file of its own
    uint64_t serial;      // of this process; never used again, unlike an address
    uint64_t write_count; // how often something was written to it: says when a packed copy is stale
    void *handle;         // the backend's own
};

static inline void *eh_tensor_address(const eh_tensor *tensor)
{
    return (char *)tensor->buffer->address + tensor->offset;
}
static inline void *eh_heads_address(const eh_heads *heads)
{
    return eh_tensor_address(&heads->tensor);
}

// Dropout keeps element `index` if its 32-bit word is at least p * 2^32: word index % 4 of Philox block index / 4.
static inline uint32_t eh_dropout_word(uint64_t seed, uint64_t index)
{
    return eh_philox(seed, EH_STREAM_DROPOUT, index >> 2, 0).word[index & 3];
}
static inline uint32_t eh_dropout_threshold(float p)
{
    return (uint32_t)((double)p * 4294967296.0); // p < 1
}
// Index of a probability in attention dropout: row of the query tensor, head, key counted over prefix and own keys.
static inline uint64_t eh_attention_dropout_index(int64_t query_row, int64_t head_count, int64_t head, int64_t key)
{
    return (uint64_t)(query_row * head_count + head) << 24 | (uint64_t)key;
}

// First key (inclusive) and last key (exclusive) that query i of a segment sees, counted over prefix and own keys.
static inline int64_t eh_visible_keys(const eh_segment *segment, bool causal, int64_t i)
{
    const int64_t total = eh_segment_keys(segment), shared = eh_segment_shared(segment);
    const int64_t seen = total - segment->query_count + i + 1;
    return !causal ? total : seen < shared ? shared : seen < total ? seen : total;
}
// The row of a segment's key j, counted over prefix and own keys.
static inline int64_t eh_key_row(const eh_segment *segment, int64_t j)
{
    const int64_t in_middle = j - segment->prefix_count, own = in_middle - segment->middle_count;
    return in_middle < 0 ? segment->prefix_begin + j
           : own < 0     ? segment->middle_begin + in_middle
                         : segment->key_begin + own;
}

#ifdef __cplusplus
}
#endif
#endif
