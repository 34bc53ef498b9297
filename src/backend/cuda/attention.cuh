// What the attention kernels share: the tensors and segments as a kernel sees them, which keys a query sees, biases and
// dropout of a pair.
#ifndef EH_BACKEND_CUDA_ATTENTION_CUH
#define EH_BACKEND_CUDA_ATTENTION_CUH

#include <math.h>

#include "backend/cuda/device.cuh"

constexpr int eh_largest_head = 128; // what fits into the shared memory of every GPU since Turing

struct eh_heads_view {
    eh_array data;
    int64_t token_stride, head_stride;
};

struct eh_attention_view {
    eh_heads_view query, key, value, output, grad_output, grad_query, grad_key, grad_value;
    float *log_sum_exp, *delta; // [query rows, heads]
    const int32_t *segments;    // [n, EH_SEGMENT_WORDS]
    int64_t segment_count;
    int head_count, head_size;
    float scale;
    bool causal;
    int position_bias;
    const float *slopes;
    eh_array relative_bias;
    const int *buckets; // by distance + max_distance
    int max_distance, bucket_count;
    uint32_t dropout_threshold;
    float dropout_factor;
    uint64_t dropout_seed;
    bool fresh; // gradients are written, not added to
};

// Segments are along a grid's y or z: many go in several launches. How many from the first-th on go in one.
static inline unsigned eh_segments_from(const eh_attention_view &a, int64_t first)
{
    const int64_t left = a.segment_count - first;
    return static_cast<unsigned>(left < eh_largest_grid_y ? left : eh_largest_grid_y);
}
static inline void eh_next_segments(eh_attention_view *a, int64_t *first)
{
    *first += eh_largest_grid_y;
    a->segments += EH_SEGMENT_WORDS * eh_largest_grid_y;
}

struct eh_segment_view {
    int query_begin, query_count, key_begin, key_count, prefix_begin, prefix_count, middle_begin, middle_count, total;
};

static __device__ inline eh_segment_view eh_segment_at(const eh_attention_view &a, int64_t index)
{
    const int32_t *s = a.segments + EH_SEGMENT_WORDS * index;
    return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[3] + s[5] + s[7]};
}

static __device__ inline int eh_seen_keys(const eh_attention_view &a, const eh_segment_view &s, int i)
{
    if (!a.causal)
        return s.total;
    const int seen = s.total - s.query_count + i + 1, shared = s.prefix_count + s.middle_count;
    return seen < shared ? shared : seen < s.total ? seen : s.total;
}

static __device__ inline int64_t eh_row_of_key(const eh_segment_view &s, int j)
{
    const int in_middle = j - s.prefix_count, own = in_middle - s.middle_count;
    return in_middle < 0 ? s.prefix_begin + j : own < 0 ? s.middle_begin + in_middle : s.key_begin + own;
}

static __device__ inline float eh_head_element(const eh_heads_view &h, int64_t row, int head, int e)
{
    return eh_load(h.data, row * h.token_stride + head * h.head_stride + e);
}

// Bucket of key j seen from query i of a segment.
static __device__ inline int eh_bucket_of(const eh_attention_view &a, const eh_segment_view &s, int i, int j)
{
    int distance = j - (s.total - s.query_count + i);
    distance = distance < -a.max_distance ? -a.max_distance : distance > a.max_distance ? a.max_distance : distance;
    return a.buckets[distance + a.max_distance];
}

static __device__ inline float eh_pair_score(const eh_attention_view &a, const eh_segment_view &s, int head, int i,
                                             int j, float product)
{
    float score = a.scale * product;
    if (a.position_bias == EH_ALIBI)
        score += a.slopes[head] * static_cast<float>(j);
    else if (a.position_bias == EH_RELATIVE_BUCKETS)
        score += eh_load(a.relative_bias, static_cast<int64_t>(eh_bucket_of(a, s, i, j)) * a.head_count + head);
    return score;
}

static __device__ inline float eh_pair_factor(const eh_attention_view &a, int64_t query_row, int head, int j)
{
    if (a.dropout_threshold == 0)
        return 1;
    const uint64_t index = static_cast<uint64_t>(query_row * a.head_count + head) << 24 | static_cast<uint64_t>(j);
    return eh_cuda_dropout_word(a.dropout_seed, index) >= a.dropout_threshold ? a.dropout_factor : 0.0f;
}

// What the backward pass knows of a query and head.
struct eh_query_facts {
    float log_sum_exp, delta;
};
static __device__ inline eh_query_facts eh_facts_of(const eh_attention_view &a, const eh_segment_view &s, int head,
                                                    int i)
{
    if (i >= s.query_count)
        return {0, 0};
    const int64_t at = (static_cast<int64_t>(s.query_begin) + i) * a.head_count + head;
    return {a.log_sum_exp[at], a.delta[at]};
}

// Of a pair, from q.k and grad_output.v: its probability times its dropout factor d, p d with p = exp(s - log_sum_exp),
// and its score's gradient, p (d grad_output.v - delta). `rounded`: p is rounded to 16 bits next, so that the
// hardware's exponential, good to some 20 bits, will do.
template <bool rounded>
static __device__ inline void eh_pair_gradient(const eh_attention_view &a, const eh_segment_view &s,
                                               const eh_query_facts &query, int head, int i, int j, float product,
                                               float grad_product, float *dropped, float *grad_score)
{
    const float x = eh_pair_score(a, s, head, i, j, product) - query.log_sum_exp, p = rounded ? __expf(x) : expf(x);
    const float factor = eh_pair_factor(a, static_cast<int64_t>(s.query_begin) + i, head, j);
    *dropped = p * factor;
    *grad_score = p * (factor * grad_product - query.delta);
}

// The first query of a segment that sees key j or one behind it.
static __device__ inline int eh_first_query(const eh_attention_view &a, const eh_segment_view &s, int j)
{
    if (!a.causal || j < s.prefix_count + s.middle_count)
        return 0;
    const int first = j - (s.total - s.query_count);
    return first > 0 ? first : 0;
}

// Two neighbours of an array; `both`: the second one is there too.
static __device__ inline void eh_store_pair(const eh_array &to, int64_t place, float x, float y, bool both)
{
    if (to.vectors && both && to.dtype == EH_F32) {
        *reinterpret_cast<float2 *>(static_cast<float *>(to.data) + place) = make_float2(x, y);
    } else if (to.vectors && both) {
        *reinterpret_cast<uint32_t *>(static_cast<uint16_t *>(to.data) + place) = eh_pair_bits(to.dtype, x, y);
    } else {
        eh_store(to, place, x);
        if (both)
            eh_store(to, place + 1, y);
    }
}

// One element of a gradient.
static __device__ inline void eh_put_gradient(const eh_attention_view &a, const eh_array &to, int64_t place,
                                              float value)
{
    eh_store(to, place, a.fresh ? value : eh_load(to, place) + value);
}

// Sum or maximum over the four threads of a row, which are neighbours in a warp.
static __device__ inline float eh_row_sum(float x)
{
    x += __shfl_xor_sync(eh_all_lanes, x, 1);
    return x + __shfl_xor_sync(eh_all_lanes, x, 2);
}
static __device__ inline float eh_row_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(eh_all_lanes, x, 1));
    return fmaxf(x, __shfl_xor_sync(eh_all_lanes, x, 2));
}

// By tensor cores (attention_tensor.cu), for queries, keys and values of one 16-bit type that the device's tensor cores
// know; *done false: it is not the case. The shape: tiles of `queries` and `keys` of the longest segment.
struct eh_attention_size {
    int queries, keys; // of the longest segment
};
eh_status eh_cuda_tensor_forward(eh_backend *backend, const eh_attention_view *a, eh_attention_size size, bool *done);
// After a.delta was computed.
eh_status eh_cuda_tensor_backward(eh_backend *backend, const eh_attention_view *a, const eh_attention *attention,
                                  eh_attention_size size, bool *done);
// Which segments' prefixes come first of their kind: the others' were seen before.
bool eh_prefix_is_new(const eh_attention *attention, int64_t segment);

#endif
