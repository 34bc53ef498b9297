// Attention of packed sequences without a positions x positions buffer (Dao et al. 2022), in fp32 and for types that
// the tensor cores don't know; attention_tensor.cu has the others. Tiles of 32 queries and 32 keys in shared memory,
// softmax on the fly, scores computed again in the backward pass. Sums have a fixed order: a tile of keys gathers its
// gradient itself, nothing is added atomically. A multiply and add takes a load from shared memory, which bounds these
// kernels at a quarter of the fp32 peak: expect 15-20 % of it, at 4 (14 backward) flops a pair and element.
#include "backend/cuda/attention.cuh"

namespace
{

constexpr int tile = 32; // queries and keys
constexpr int parts = 4; // threads a row
constexpr int threads = tile * parts;

// Rows of a tile in shared memory, one float apart from a multiple of the banks.
__device__ int row_stride(const eh_attention_view &a)
{
    return a.head_size + 1;
}

// Eight elements of a row to shared memory; what is past the head or missing is 0.
__device__ void load_part(const eh_attention_view &a, const eh_heads_view &from, int head, bool exists, int64_t row,
                          int e, float *to)
{
    const int64_t begin = row * from.token_stride + head * from.head_stride;
    eh_eight value = {};
    if (exists)
        value = eh_load8(from.data, begin + e, begin + a.head_size);
#pragma unroll
    for (int j = 0; j < 8; j++)
        if (e + j < a.head_size)
            to[e + j] = value.v[j];
}

__device__ void load_queries(const eh_attention_view &a, const eh_heads_view &from, const eh_segment_view &s, int head,
                             int first, float *to)
{
    const int parts_a_row = (a.head_size + 7) / 8;
    for (int at = static_cast<int>(threadIdx.x); at < tile * parts_a_row; at += threads) {
        const int row = at / parts_a_row;
        load_part(a, from, head, first + row < s.query_count, s.query_begin + first + row, at % parts_a_row * 8,
                  to + row * row_stride(a));
    }
}

__device__ void load_keys(const eh_attention_view &a, const eh_heads_view &from, const eh_segment_view &s, int head,
                          int first, float *to)
{
    const int parts_a_row = (a.head_size + 7) / 8;
    for (int at = static_cast<int>(threadIdx.x); at < tile * parts_a_row; at += threads) {
        const int row = at / parts_a_row;
        load_part(a, from, head, first + row < s.total, eh_row_of_key(s, first + row), at % parts_a_row * 8,
                  to + row * row_stride(a));
    }
}

__device__ float dot(const float *x, const float *y, int size)
{
    float sum = 0;
    for (int e = 0; e < size; e++) sum += x[e] * y[e];
    return sum;
}

// Keys that any query of a tile sees.
__device__ int tile_keys(const eh_attention_view &a, const eh_segment_view &s, int first)
{
    const int last = first + tile - 1 < s.query_count - 1 ? first + tile - 1 : s.query_count - 1;
    return eh_seen_keys(a, s, last);
}

// Grid: tiles of queries, heads, segments. `slices`: elements of the output that a thread holds.
template <int slices> __global__ void forward_kernel(eh_attention_view a)
{
    DYNAMIC_SHARED(float, memory);
    SHARED(float, scores, tile *(tile + 1));
    const eh_segment_view s = eh_segment_at(a, blockIdx.z);
    const int first = static_cast<int>(blockIdx.x) * tile, head = static_cast<int>(blockIdx.y);
    if (first >= s.query_count)
        return;
    float *const q = memory, *const k = q + tile * row_stride(a), *const v = k + tile * row_stride(a);
    const int row = static_cast<int>(threadIdx.x) / parts, part = static_cast<int>(threadIdx.x) % parts,
              i = first + row;
    const int64_t query_row = s.query_begin + i;
    const int mine = i < s.query_count ? eh_seen_keys(a, s, i) : 0;
    load_queries(a, a.query, s, head, first, q);
    float top = -INFINITY, sum = 0, mixed[slices] = {};
    const int keys = tile_keys(a, s, first);
    for (int key = 0; key < keys; key += tile) {
        __syncthreads(); // the last tile was used
        load_keys(a, a.key, s, head, key, k);
        load_keys(a, a.value, s, head, key, v);
        __syncthreads();
        float tile_top = -INFINITY;
        for (int j = part; j < tile; j += parts) {
            float score = -INFINITY;
            if (key + j < mine)
                score = eh_pair_score(a, s, head, i, key + j,
                                      dot(q + row * row_stride(a), k + j * row_stride(a), a.head_size));
            scores[row * (tile + 1) + j] = score;
            tile_top = fmaxf(tile_top, score);
        }
        const float new_top = fmaxf(top, eh_row_max(tile_top)),
                    shrink = new_top == -INFINITY ? 1.0f : expf(top - new_top);
        float tile_sum = 0;
        for (int j = part; j < tile; j += parts) {
            const float p = key + j < mine ? expf(scores[row * (tile + 1) + j] - new_top) : 0.0f;
            tile_sum += p;
            scores[row * (tile + 1) + j] = key + j < mine ? p * eh_pair_factor(a, query_row, head, key + j) : 0.0f;
        }
        sum = sum * shrink + eh_row_sum(tile_sum);
        top = new_top;
        __syncwarp(); // a row's scores come from its four neighbours
#pragma unroll
        for (int slice = 0; slice < slices; slice++) {
            const int e = part + parts * slice;
            float more = 0;
            for (int j = 0; e < a.head_size && j < tile; j++)
                more += scores[row * (tile + 1) + j] * v[j * row_stride(a) + e];
            mixed[slice] = mixed[slice] * shrink + more;
        }
    }
    if (i >= s.query_count)
        return;
#pragma unroll
    for (int slice = 0; slice < slices; slice++) {
        const int e = part + parts * slice;
        if (e < a.head_size)
            eh_store(a.output.data, query_row * a.output.token_stride + head * a.output.head_stride + e,
                     sum > 0 ? mixed[slice] / sum : mixed[slice]);
    }
    if (part == 0 && a.log_sum_exp != nullptr)
        a.log_sum_exp[query_row * a.head_count + head] = mine > 0 ? top + logf(sum) : -INFINITY;
}

// delta = grad_output . output of each query and head. Bytes: both read once; expect 80 %.
__global__ void delta_kernel(eh_attention_view a)
{
    const eh_segment_view s = eh_segment_at(a, blockIdx.z);
    const int head = static_cast<int>(blockIdx.y);
    const int i = static_cast<int>(blockIdx.x) * tile + static_cast<int>(threadIdx.x) / parts;
    const int64_t row = s.query_begin + i;
    const int64_t grad_at = row * a.grad_output.token_stride + head * a.grad_output.head_stride;
    const int64_t output_at = row * a.output.token_stride + head * a.output.head_stride;
    float sum = 0;
    if (i < s.query_count)
        for (int e = 8 * (static_cast<int>(threadIdx.x) % parts); e < a.head_size; e += 8 * parts) {
            const eh_eight grad = eh_load8(a.grad_output.data, grad_at + e, grad_at + a.head_size),
                           output = eh_load8(a.output.data, output_at + e, output_at + a.head_size);
#pragma unroll
            for (int j = 0; j < 8; j++) sum += grad.v[j] * output.v[j];
        }
    sum = eh_row_sum(sum);
    if (i < s.query_count && threadIdx.x % parts == 0)
        a.delta[row * a.head_count + head] = sum;
}

// 6 flops a pair and element; grad_output comes from the L1 cache, where shared memory is full.
template <int slices> __global__ void query_gradient_kernel(eh_attention_view a)
{
    DYNAMIC_SHARED(float, memory);
    SHARED(float, grads, tile *(tile + 1));
    const eh_segment_view s = eh_segment_at(a, blockIdx.z);
    const int first = static_cast<int>(blockIdx.x) * tile, head = static_cast<int>(blockIdx.y);
    if (first >= s.query_count)
        return;
    float *const q = memory, *const k = q + tile * row_stride(a), *const v = k + tile * row_stride(a);
    const int row = static_cast<int>(threadIdx.x) / parts, part = static_cast<int>(threadIdx.x) % parts,
              i = first + row;
    const int64_t query_row = s.query_begin + i;
    const int mine = i < s.query_count ? eh_seen_keys(a, s, i) : 0;
    const eh_query_facts facts = eh_facts_of(a, s, head, i);
    load_queries(a, a.query, s, head, first, q);
    float sums[slices] = {};
    const int keys = tile_keys(a, s, first);
    for (int key = 0; key < keys; key += tile) {
        __syncthreads();
        load_keys(a, a.key, s, head, key, k);
        load_keys(a, a.value, s, head, key, v);
        __syncthreads();
        for (int j = part; j < tile; j += parts) {
            float dropped = 0, grad_score = 0;
            if (key + j < mine) {
                float grad_product = 0;
                for (int e = 0; e < a.head_size; e++)
                    grad_product += eh_head_element(a.grad_output, query_row, head, e) * v[j * row_stride(a) + e];
                eh_pair_gradient<false>(a, s, facts, head, i, key + j,
                                        dot(q + row * row_stride(a), k + j * row_stride(a), a.head_size), grad_product,
                                        &dropped, &grad_score);
            }
            grads[row * (tile + 1) + j] = grad_score;
        }
        __syncwarp();
#pragma unroll
        for (int slice = 0; slice < slices; slice++) {
            const int e = part + parts * slice;
            for (int j = 0; e < a.head_size && j < tile; j++)
                sums[slice] += grads[row * (tile + 1) + j] * k[j * row_stride(a) + e];
        }
    }
#pragma unroll
    for (int slice = 0; slice < slices; slice++) {
        const int e = part + parts * slice;
        const int64_t at = query_row * a.grad_query.token_stride + head * a.grad_query.head_stride + e;
        if (i < s.query_count && e < a.head_size)
            eh_put_gradient(a, a.grad_query.data, at, a.scale * sums[slice]);
    }
}

// A tile of keys and what it gathers from the queries of one segment.
template <int slices> struct key_gradients {
    float key[slices], value[slices];
};

template <int slices>
__device__ void gather_segment(const eh_attention_view &a, const eh_segment_view &s, int head, int first_key,
                               int keys_end, float *memory, float *dropped_tile, float *grad_tile,
                               key_gradients<slices> *sums)
{
    float *const q = memory, *const grad = q + tile * row_stride(a), *const k = grad + tile * row_stride(a);
    const int row = static_cast<int>(threadIdx.x) / parts, part = static_cast<int>(threadIdx.x) % parts;
    const int j = first_key + row;
    __syncthreads();
    load_keys(a, a.key, s, head, first_key, k);
    for (int first = eh_first_query(a, s, first_key); first < s.query_count; first += tile) {
        __syncthreads();
        load_queries(a, a.query, s, head, first, q);
        load_queries(a, a.grad_output, s, head, first, grad);
        __syncthreads();
        for (int at = part; at < tile; at += parts) {
            const int i = first + at;
            float dropped = 0, grad_score = 0;
            if (i < s.query_count && j < keys_end && j < eh_seen_keys(a, s, i)) {
                float grad_product = 0;
                for (int e = 0; e < a.head_size; e++)
                    grad_product +=
                        grad[at * row_stride(a) + e] * eh_head_element(a.value, eh_row_of_key(s, j), head, e);
                eh_pair_gradient<false>(a, s, eh_facts_of(a, s, head, i), head, i, j,
                                        dot(q + at * row_stride(a), k + row * row_stride(a), a.head_size), grad_product,
                                        &dropped, &grad_score);
            }
            dropped_tile[row * (tile + 1) + at] = dropped;
            grad_tile[row * (tile + 1) + at] = grad_score;
        }
        __syncwarp();
#pragma unroll
        for (int slice = 0; slice < slices; slice++) {
            const int e = part + parts * slice;
            for (int at = 0; e < a.head_size && at < tile; at++) {
                sums->value[slice] += dropped_tile[row * (tile + 1) + at] * grad[at * row_stride(a) + e];
                sums->key[slice] += grad_tile[row * (tile + 1) + at] * q[at * row_stride(a) + e];
            }
        }
    }
}

// 8 flops a pair and element.
// Own keys: grid tiles of keys, heads, segments. A prefix (prefix_count > 0): grid tiles of it, heads, 1; the block
// goes through all segments that share it, in order.
template <int slices> __global__ void key_gradient_kernel(eh_attention_view a, int prefix_begin, int prefix_count)
{
    DYNAMIC_SHARED(float, memory);
    SHARED(float, dropped_tile, tile *(tile + 1));
    SHARED(float, grad_tile, tile *(tile + 1));
    const bool shared_prefix = prefix_count > 0;
    const int head = static_cast<int>(blockIdx.y);
    const int row = static_cast<int>(threadIdx.x) / parts, part = static_cast<int>(threadIdx.x) % parts;
    const int64_t begin = shared_prefix ? 0 : blockIdx.z, end = shared_prefix ? a.segment_count : begin + 1;
    key_gradients<slices> sums = {};
    int64_t target = -1;
    for (int64_t index = begin; index < end; index++) {
        const eh_segment_view s = eh_segment_at(a, index);
        if (shared_prefix && (s.prefix_begin != prefix_begin || s.prefix_count != prefix_count))
            continue;
        const int first_key = (shared_prefix ? 0 : s.prefix_count) + static_cast<int>(blockIdx.x) * tile;
        const int keys_end = shared_prefix ? prefix_count : s.total;
        if (first_key >= keys_end)
            return; // the same for the whole block, and for all segments of a prefix
        gather_segment<slices>(a, s, head, first_key, keys_end, memory, dropped_tile, grad_tile, &sums);
        if (first_key + row < keys_end)
            target = eh_row_of_key(s, first_key + row);
    }
#pragma unroll
    for (int slice = 0; slice < slices; slice++) {
        const int e = part + parts * slice;
        if (target < 0 || e >= a.head_size)
            continue;
        const int64_t key_at = target * a.grad_key.token_stride + head * a.grad_key.head_stride + e;
        const int64_t value_at = target * a.grad_value.token_stride + head * a.grad_value.head_stride + e;
        eh_put_gradient(a, a.grad_key.data, key_at, a.scale * sums.key[slice]);
        eh_put_gradient(a, a.grad_value.data, value_at, sums.value[slice]);
    }
}

__device__ float dot_of_rows(const eh_attention_view &a, const eh_heads_view &x, int64_t x_row, const eh_heads_view &y,
                             int64_t y_row, int head)
{
    const int64_t x_at = x_row * x.token_stride + head * x.head_stride;
    const int64_t y_at = y_row * y.token_stride + head * y.head_stride;
    float sum = 0;
    for (int e = 0; e < a.head_size; e += 8) {
        const eh_eight u = eh_load8(x.data, x_at + e, x_at + a.head_size),
                       v = eh_load8(y.data, y_at + e, y_at + a.head_size);
#pragma unroll
        for (int part = 0; part < 8; part++) sum += u.v[part] * v.v[part];
    }
    return sum;
}

// Gradient of the relative bias, of T5's first layers only. 4 flops a pair and element, operands from the L1 and L2
// caches: expect 5 % of the fp32 peak. Grid: heads, segments. A thread per distance adds the pairs at that distance,
// then a thread per bucket adds its distances; `partial` [segments, heads, buckets].
__global__ void bias_gradient_kernel(eh_attention_view a, float *partial)
{
    DYNAMIC_SHARED(float, by_distance); // [total + query_count - 1], from distance -(total - 1) up
    const eh_segment_view s = eh_segment_at(a, blockIdx.y);
    const int head = static_cast<int>(blockIdx.x), lowest = 1 - s.total, count = s.total + s.query_count - 1;
    for (int at = static_cast<int>(threadIdx.x); at < count; at += threads) {
        float sum = 0;
        for (int i = 0; i < s.query_count; i++) {
            const int j = lowest + at + s.total - s.query_count + i;
            if (j < 0 || j >= eh_seen_keys(a, s, i))
                continue;
            const int64_t query = static_cast<int64_t>(s.query_begin) + i, key = eh_row_of_key(s, j);
            float dropped = 0, grad_score = 0;
            eh_pair_gradient<false>(a, s, eh_facts_of(a, s, head, i), head, i, j,
                                    dot_of_rows(a, a.query, query, a.key, key, head),
                                    dot_of_rows(a, a.grad_output, query, a.value, key, head), &dropped, &grad_score);
            sum += grad_score;
        }
        by_distance[at] = sum;
    }
    __syncthreads();
    for (int bucket = static_cast<int>(threadIdx.x); bucket < a.bucket_count; bucket += threads) {
        float sum = 0;
        for (int at = 0; at < count; at++) {
            const int distance = lowest + at, bound = a.max_distance;
            const int clamped = distance < -bound ? -bound : distance > bound ? bound : distance;
            if (a.buckets[clamped + bound] == bucket)
                sum += by_distance[at];
        }
        partial[(static_cast<int64_t>(blockIdx.y) * a.head_count + head) * a.bucket_count + bucket] = sum;
    }
}

// Bytes: [segments, heads, buckets] read once.
__global__ void bias_sum_kernel(const float *partial, int64_t segments, int heads, int buckets, float *grad)
{
    const int64_t at = eh_thread_index(); // [buckets, heads]
    if (at >= static_cast<int64_t>(buckets) * heads)
        return;
    const int64_t bucket = at / heads, head = at % heads;
    float sum = 0;
    for (int64_t s = 0; s < segments; s++) sum += partial[(s * heads + head) * buckets + bucket];
    grad[at] += sum;
}

eh_heads_view view_of(const eh_heads *heads)
{
    eh_array data = eh_array_of(&heads->tensor, 8);
    data.vectors = data.vectors && heads->token_stride % 8 == 0 && heads->head_stride % 8 == 0;
    return {data, heads->token_stride, heads->head_stride};
}

float *floats(const eh_tensor *tensor)
{
    return eh_tensor_exists(tensor) ? static_cast<float *>(eh_tensor_address(tensor)) : nullptr;
}

// T5's buckets as a table by distance: the logarithm in them is the host's, the same for every backend.
eh_status bucket_table(eh_backend *backend, const eh_attention *attention, const int **table)
{
    eh_cuda_state *state = eh_cuda(backend);
    for (int i = 0; i < state->bucket_table_count; i++)
        if (state->buckets[i].bucket_count == attention->bucket_count &&
            state->buckets[i].max_distance == attention->bucket_max_distance &&
            state->buckets[i].bidirectional == attention->bidirectional_buckets) {
            *table = static_cast<const int *>(state->buckets[i].device);
            return EH_OK;
        }
    EH_ASSERT(state->bucket_table_count < 4); // an encoder's and a decoder's; a second model has the same
    const int bound = attention->bucket_max_distance, count = 2 * bound + 1;
    std::vector<int> host(static_cast<size_t>(count));
    for (int distance = -bound; distance <= bound; distance++)
        host[static_cast<size_t>(distance + bound)] =
            eh_relative_bucket(distance, attention->bidirectional_buckets, attention->bucket_count, bound);
    auto *const entry = &state->buckets[state->bucket_table_count];
    EH_TRY(eh_cuda_arena_take(&state->arena, host.size() * sizeof(int), "buckets of distances", &entry->device));
    entry->bucket_count = attention->bucket_count;
    entry->max_distance = bound;
    entry->bidirectional = attention->bidirectional_buckets;
    state->bucket_table_count++;
    *table = static_cast<const int *>(entry->device);
    return eh_cuda_copy_in(state, host.data(), entry->device, host.size() * sizeof(int));
}

eh_status make_view(eh_backend *backend, const eh_attention *attention, eh_attention_view *a)
{
    *a = {};
    a->segments = static_cast<const int32_t *>(eh_tensor_address(&attention->segments));
    a->segment_count = attention->segment_count;
    a->head_count = static_cast<int>(attention->head_count);
    a->head_size = static_cast<int>(attention->head_size);
    a->scale = attention->scale;
    a->causal = attention->causal;
    a->position_bias = attention->position_bias;
    a->slopes = floats(&attention->alibi_slopes);
    if (attention->position_bias == EH_RELATIVE_BUCKETS) {
        a->relative_bias = eh_array_of(&attention->relative_bias, 1);
        a->max_distance = attention->bucket_max_distance;
        a->bucket_count = attention->bucket_count;
        EH_TRY(bucket_table(backend, attention, &a->buckets));
    }
    a->dropout_threshold = eh_dropout_threshold(attention->dropout);
    a->dropout_factor = 1 / (1 - attention->dropout);
    a->dropout_seed = attention->dropout_seed;
    if (attention->head_size > eh_largest_head)
        return eh_error(EH_INPUT, "attention heads of %lld elements: the CUDA backend takes up to %d",
                        static_cast<long long>(attention->head_size), eh_largest_head);
    return EH_OK;
}

struct launch_shape {
    eh_attention_size size;
    unsigned query_tiles, key_tiles;
    int longest;  // keys and queries of a segment
    int64_t rows; // of the query tensor that any segment uses
};

launch_shape shape_of(const eh_attention *attention)
{
    int queries = 0, keys = 0, longest = 0;
    int64_t rows = 0;
    for (int64_t i = 0; i < attention->segment_count; i++) {
        const eh_segment *s = &attention->host_segments[i];
        queries = s->query_count > queries ? s->query_count : queries;
        keys = s->key_count > keys ? s->key_count : keys;
        const int total = s->prefix_count + s->middle_count + s->key_count + s->query_count;
        longest = total > longest ? total : longest;
        const int64_t end = static_cast<int64_t>(s->query_begin) + s->query_count;
        rows = end > rows ? end : rows;
    }
    return {{queries, keys},
            static_cast<unsigned>((queries + tile - 1) / tile),
            static_cast<unsigned>((keys + tile - 1) / tile),
            longest,
            rows};
}

size_t tile_bytes(const eh_attention_view &a)
{
    return 3 * sizeof(float) * tile * static_cast<size_t>(a.head_size + 1);
}

// More shared memory than 48 KiB must be asked for, kernel by kernel.
template <class Kernel> eh_status allow_shared(Kernel *kernel, size_t bytes)
{
    if (bytes > 40 * 1024)
        EH_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
    return EH_OK;
}

template <int slices> eh_status forward(eh_backend *backend, eh_attention_view a, const launch_shape &shape)
{
    EH_TRY(allow_shared(forward_kernel<slices>, tile_bytes(a)));
    for (int64_t first = 0; first < a.segment_count; eh_next_segments(&a, &first)) {
        LAUNCH((forward_kernel<slices>),
               dim3(shape.query_tiles, static_cast<unsigned>(a.head_count), eh_segments_from(a, first)), dim3(threads),
               tile_bytes(a), eh_cuda(backend)->stream, a);
        EH_CUDA(cudaGetLastError());
    }
    return EH_OK;
}

// Every distinct prefix once, in the order of its first segment.
template <int slices>
eh_status prefix_gradients(eh_backend *backend, const eh_attention_view &a, const eh_attention *attention)
{
    for (int64_t i = 0; i < attention->segment_count; i++) {
        const eh_segment *s = &attention->host_segments[i];
        if (!eh_prefix_is_new(attention, i))
            continue;
        const unsigned tiles = static_cast<unsigned>((s->prefix_count + tile - 1) / tile);
        LAUNCH((key_gradient_kernel<slices>), dim3(tiles, static_cast<unsigned>(a.head_count), 1), dim3(threads),
               tile_bytes(a), eh_cuda(backend)->stream, a, static_cast<int>(s->prefix_begin),
               static_cast<int>(s->prefix_count));
        EH_CUDA(cudaGetLastError());
    }
    return EH_OK;
}

template <int slices>
eh_status backward(eh_backend *backend, const eh_attention_view &whole, const eh_attention *attention,
                   const launch_shape &shape)
{
    const cudaStream_t stream = eh_cuda(backend)->stream;
    EH_TRY(allow_shared(query_gradient_kernel<slices>, tile_bytes(whole)));
    EH_TRY(allow_shared(key_gradient_kernel<slices>, tile_bytes(whole)));
    eh_attention_view a = whole;
    const unsigned heads = static_cast<unsigned>(a.head_count);
    for (int64_t first = 0; first < whole.segment_count; eh_next_segments(&a, &first)) {
        const unsigned segments = eh_segments_from(whole, first);
        LAUNCH((query_gradient_kernel<slices>), dim3(shape.query_tiles, heads, segments), dim3(threads), tile_bytes(a),
               stream, a);
        EH_CUDA(cudaGetLastError());
        if (shape.key_tiles > 0)
            LAUNCH((key_gradient_kernel<slices>), dim3(shape.key_tiles, heads, segments), dim3(threads), tile_bytes(a),
                   stream, a, 0, 0);
        EH_CUDA(cudaGetLastError());
    }
    return prefix_gradients<slices>(backend, whole, attention);
}

// What both backward passes need first.
eh_status deltas_of(eh_backend *backend, eh_attention_view a, const launch_shape &shape)
{
    for (int64_t first = 0; first < a.segment_count; eh_next_segments(&a, &first)) {
        LAUNCH(delta_kernel, dim3(shape.query_tiles, static_cast<unsigned>(a.head_count), eh_segments_from(a, first)),
               dim3(threads), 0, eh_cuda(backend)->stream, a);
        EH_CUDA(cudaGetLastError());
    }
    return EH_OK;
}

} // namespace

bool eh_prefix_is_new(const eh_attention *attention, int64_t segment)
{
    const eh_segment *s = &attention->host_segments[segment];
    bool seen = s->prefix_count == 0;
    for (int64_t before = 0; before < segment && !seen; before++)
        seen = attention->host_segments[before].prefix_begin == s->prefix_begin &&
               attention->host_segments[before].prefix_count == s->prefix_count;
    return !seen;
}

eh_status eh_cuda_attention_forward(eh_backend *backend, const eh_attention *attention, const eh_heads *query,
                                    const eh_heads *key, const eh_heads *value, const eh_heads *output,
                                    const eh_tensor *log_sum_exp)
{
    const launch_shape shape = shape_of(attention);
    if (shape.query_tiles == 0)
        return EH_OK;
    eh_attention_view a;
    EH_TRY(make_view(backend, attention, &a));
    a.query = view_of(query);
    a.key = view_of(key);
    a.value = view_of(value);
    a.output = view_of(output);
    a.log_sum_exp = floats(log_sum_exp);
    bool done = false;
    EH_TRY(eh_cuda_tensor_forward(backend, &a, shape.size, &done));
    if (done)
        return EH_OK;
    if (a.head_size <= 64)
        return forward<64 / parts>(backend, a, shape);
    return forward<eh_largest_head / parts>(backend, a, shape);
}

static eh_status relative_bias_gradient(eh_backend *backend, const eh_attention_view &whole, const launch_shape &shape,
                                        float *partial, float *grad)
{
    eh_attention_view a = whole;
    const cudaStream_t stream = eh_cuda(backend)->stream;
    const size_t bytes = static_cast<size_t>(shape.longest) * sizeof(float);
    EH_TRY(allow_shared(bias_gradient_kernel, bytes));
    for (int64_t first = 0; first < a.segment_count; eh_next_segments(&a, &first)) {
        LAUNCH(bias_gradient_kernel, dim3(static_cast<unsigned>(a.head_count), eh_segments_from(a, first)),
               dim3(threads), bytes, stream, a, partial + first * a.head_count * a.bucket_count);
        EH_CUDA(cudaGetLastError());
    }
    const int entries = a.bucket_count * a.head_count;
    LAUNCH(bias_sum_kernel, dim3(static_cast<unsigned>((entries + eh_block_threads - 1) / eh_block_threads)),
           dim3(eh_block_threads), 0, stream, partial, a.segment_count, a.head_count, a.bucket_count, grad);
    EH_CUDA(cudaGetLastError());
    return EH_OK;
}

eh_status eh_cuda_attention_backward(eh_backend *backend, const eh_attention *attention,
                                     const eh_attention_grads *grads)
{
    const launch_shape shape = shape_of(attention);
    if (shape.query_tiles == 0)
        return EH_OK;
    for (int64_t s = 0; s < attention->segment_count; s++) EH_ASSERT(attention->host_segments[s].middle_count == 0);
    eh_attention_view a;
    EH_TRY(make_view(backend, attention, &a));
    a.query = view_of(&grads->query);
    a.key = view_of(&grads->key);
    a.value = view_of(&grads->value);
    a.output = view_of(&grads->output);
    a.grad_output = view_of(&grads->grad_output);
    a.grad_query = view_of(&grads->grad_query);
    a.grad_key = view_of(&grads->grad_key);
    a.grad_value = view_of(&grads->grad_value);
    a.log_sum_exp = floats(&grads->log_sum_exp);
    a.fresh = grads->fresh;
    const bool bias = eh_tensor_exists(&grads->grad_relative_bias) && attention->position_bias == EH_RELATIVE_BUCKETS;
    const size_t deltas = (static_cast<size_t>(shape.rows * a.head_count) * sizeof(float) + 255) / 256 * 256;
    const size_t partials =
        bias ? static_cast<size_t>(a.segment_count * a.head_count * a.bucket_count) * sizeof(float) : 0;
    void *scratch = nullptr;
    EH_TRY(eh_cuda_scratch(backend, deltas + partials, &scratch));
    a.delta = static_cast<float *>(scratch);
    EH_TRY(deltas_of(backend, a, shape));
    bool done = false;
    EH_TRY(eh_cuda_tensor_backward(backend, &a, attention, shape.size, &done));
    if (!done && a.head_size <= 64)
        EH_TRY((backward<64 / parts>(backend, a, attention, shape)));
    else if (!done)
        EH_TRY((backward<eh_largest_head / parts>(backend, a, attention, shape)));
    if (!bias)
        return EH_OK;
    return relative_bias_gradient(backend, a, shape, reinterpret_cast<float *>(static_cast<char *>(scratch) + deltas),
                                  floats(&grads->grad_relative_bias));
}
