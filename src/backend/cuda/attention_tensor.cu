// Attention of packed sequences on tensor cores (Dao et al. 2022; Dao 2023): a warp has 16 rows, whose scores, softmax
// and result stay in registers, and meets tiles of other rows in shared memory; nothing of queries x keys is stored.
// Products in 16 bits, sums, softmax and gradients in fp32; probabilities and their gradients are rounded for the next
// product. Sums have a fixed order, as in attention.cu. At tens to hundreds of keys the exponentials, masks and biases
// of a pair take as long as its products: expect 25-35 % of the tensor cores' peak forward and 20-30 % backward at 512
// keys, and to be bound by bytes (q, k, v, output once) at 60 keys and fewer.
#include "backend/cuda/attention.cuh"
#include "backend/cuda/mma.cuh"

namespace
{

constexpr int warps = 4, threads = 32 * warps;
constexpr int block_rows = 16 * warps; // of a block
constexpr int key_tile_rows = 32;      // keys that they meet at a time
// Queries that a block of keys meets at a time. It holds two sums, which at heads of 128 leave registers for 16 only,
// and for one of its two operands.
template <int size> constexpr int query_tile_rows = size <= 64 ? 32 : 16;
template <int tile> constexpr int turned_stride = tile + 8;

// Eight elements of a tile's row lie apart from the next row's by 4 banks: a warp's reads of it meet no bank twice.
template <int size> constexpr int row_stride = size + 8;

// A lane's place in fragments (mma.cuh).
struct lane_place {
    int g, t, row; // row: of the warp's 16, g
};

__device__ lane_place place_of_lane()
{
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return {lane / 4, lane % 4, static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4};
}

__device__ uint32_t word_at(const uint16_t *from)
{
    return *reinterpret_cast<const uint32_t *>(from);
}

__device__ int64_t start_of(const eh_heads_view &from, int64_t row, int head)
{
    return row * from.token_stride + head * from.head_stride;
}

// Two neighbours of a head's row; 0 past its end.
__device__ uint32_t pair_at(const eh_attention_view &a, const eh_heads_view &from, bool exists, int64_t start, int e)
{
    const uint16_t *at = static_cast<const uint16_t *>(from.data.data) + start + e;
    if (!exists || e >= a.head_size)
        return 0;
    if (from.data.vectors && e + 1 < a.head_size)
        return word_at(at);
    return static_cast<uint32_t>(at[0]) | (e + 1 < a.head_size ? static_cast<uint32_t>(at[1]) << 16 : 0u);
}

// The left operand's fragments of two rows, g and g + 8; a row below 0 is missing.
template <int size>
__device__ void load_fragments(const eh_attention_view &a, const eh_heads_view &from, int head, const int (&rows)[2],
                               int t, uint32_t (&fragments)[size / 16][4])
{
#pragma unroll
    for (int k = 0; k < size / 16; k++)
#pragma unroll
        for (int part = 0; part < 4; part++)
            fragments[k][part] = pair_at(a, from, rows[part % 2] >= 0, start_of(from, rows[part % 2], head),
                                         16 * k + 2 * t + 8 * (part / 2));
}

// `tile` rows to shared memory, as they are [tile, size + 8] and turned [size, tile + 8]; either may be missing. By
// keys: rows are prefix and own keys of the segment from `first` on, else its queries. What does not exist is 0.
template <int size, int tile>
__device__ void load_tile(const eh_attention_view &a, const eh_heads_view &from, const eh_segment_view &s, int head,
                          bool by_keys, int first, uint16_t *straight, uint16_t *turned)
{
    const int count = by_keys ? s.total : s.query_count;
    for (int at = static_cast<int>(threadIdx.x); at < tile * (size / 8); at += threads) {
        // Two lanes read a sector of a row; what 32 lanes turn meets each bank twice.
        const int row = at / 2 % tile, e = (at % 2 + at / (2 * tile) * 2) * 8, place = first + row;
        const int64_t begin = start_of(from, by_keys ? eh_row_of_key(s, place) : s.query_begin + place, head) + e;
        const uint16_t *source = static_cast<const uint16_t *>(from.data.data) + begin;
        uint4 words = make_uint4(0, 0, 0, 0);
        if (place < count && from.data.vectors && e + 8 <= a.head_size) {
            words = *reinterpret_cast<const uint4 *>(source);
        } else if (place < count) {
            uint32_t halves[8];
#pragma unroll
            for (int j = 0; j < 8; j++) halves[j] = e + j < a.head_size ? source[j] : 0u;
            words = make_uint4(halves[0] | halves[1] << 16, halves[2] | halves[3] << 16, halves[4] | halves[5] << 16,
                               halves[6] | halves[7] << 16);
        }
        if (straight != nullptr)
            *reinterpret_cast<uint4 *>(straight + row * row_stride<size> + e) = words;
        if (turned == nullptr)
            continue;
        const uint32_t all[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int j = 0; j < 8; j++)
            turned[(e + j) * turned_stride<tile> + row] = static_cast<uint16_t>(all[j / 2] >> 16 * (j % 2));
    }
}

// c[16, tile] = left [16, size] times the tile's rows, transposed.
template <int size, int tile, bool bf16>
__device__ void times_rows(const uint32_t (&left)[size / 16][4], const uint16_t *rows, const lane_place &at,
                           float (&c)[tile / 8][4])
{
#pragma unroll
    for (int n = 0; n < tile / 8; n++) {
        c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
#pragma unroll
        for (int k = 0; k < size / 16; k++) {
            const uint16_t *from = rows + (8 * n + at.g) * row_stride<size> + 16 * k + 2 * at.t;
            const uint32_t b[2] = {word_at(from), word_at(from + 8)};
            eh_mma<bf16>(c[n], left[k], b);
        }
    }
}

// The same where the left operand has no registers to stay in: its words come from the L1 cache as they are needed.
template <int size, int tile, bool bf16>
__device__ void fetched_times_rows(const eh_attention_view &a, const eh_heads_view &left, int head,
                                   const int (&left_rows)[2], const uint16_t *rows, const lane_place &at,
                                   float (&c)[tile / 8][4])
{
#pragma unroll
    for (int n = 0; n < tile / 8; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
#pragma unroll 2
    for (int k = 0; k < size / 16; k++) {
        uint32_t words[4];
#pragma unroll
        for (int part = 0; part < 4; part++)
            words[part] = pair_at(a, left, left_rows[part % 2] >= 0, start_of(left, left_rows[part % 2], head),
                                  16 * k + 2 * at.t + 8 * (part / 2));
#pragma unroll
        for (int n = 0; n < tile / 8; n++) {
            const uint16_t *from = rows + (8 * n + at.g) * row_stride<size> + 16 * k + 2 * at.t;
            const uint32_t b[2] = {word_at(from), word_at(from + 8)};
            eh_mma<bf16>(c[n], words, b);
        }
    }
}

// sum[16, size] += left [16, tile], rounded, times the tile, which is given turned.
template <int size, int tile, bool bf16>
__device__ void add_times_tile(const float (&left)[tile / 8][4], const uint16_t *turned, const lane_place &at,
                               float (&sum)[size / 8][4])
{
#pragma unroll
    for (int k = 0; k < tile / 16; k++) {
        const uint32_t a[4] = {eh_pack<bf16>(left[2 * k][0], left[2 * k][1]),
                               eh_pack<bf16>(left[2 * k][2], left[2 * k][3]),
                               eh_pack<bf16>(left[2 * k + 1][0], left[2 * k + 1][1]),
                               eh_pack<bf16>(left[2 * k + 1][2], left[2 * k + 1][3])};
#pragma unroll
        for (int n = 0; n < size / 8; n++) {
            const uint16_t *from = turned + (8 * n + at.g) * turned_stride<tile> + 16 * k + 2 * at.t;
            const uint32_t b[2] = {word_at(from), word_at(from + 8)};
            eh_mma<bf16>(sum[n], a, b);
        }
    }
}

// Keys that any query of the block sees.
__device__ int block_keys(const eh_attention_view &a, const eh_segment_view &s, int first)
{
    const int last = first + block_rows - 1;
    return eh_seen_keys(a, s, last < s.query_count - 1 ? last : s.query_count - 1);
}

// Adds factor x sums to a gradient's rows, or writes them.
template <int size>
__device__ void add_rows(const eh_attention_view &a, const eh_heads_view &to, int head, const int (&rows)[2], int t,
                         float factor, const float (&sums)[size / 8][4])
{
#pragma unroll
    for (int n = 0; n < size / 8; n++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int e = 8 * n + 2 * t;
            const int64_t place = start_of(to, rows[r], head) + e;
            const bool both = e + 1 < a.head_size;
            if (rows[r] < 0 || e >= a.head_size)
                continue;
            float x = factor * sums[n][2 * r], y = factor * sums[n][2 * r + 1];
            if (!a.fresh) {
                x += eh_load(to.data, place);
                y += both ? eh_load(to.data, place + 1) : 0.0f;
            }
            eh_store_pair(to.data, place, x, y, both);
        }
}

// The block of queries that this one takes: under a causal mask those that see most keys go first, so that the last
// blocks to run are short.
__device__ int first_query_of_block(const eh_attention_view &a)
{
    return static_cast<int>(a.causal ? gridDim.x - 1 - blockIdx.x : blockIdx.x) * block_rows;
}

// The two queries that a lane has part in, g and g + 8 of its warp's.
struct lane_queries {
    int i[2];    // in the segment
    int rows[2]; // -1: missing
    int seen[2]; // keys
};

__device__ lane_queries queries_of_lane(const eh_attention_view &a, const eh_segment_view &s, const lane_place &at,
                                        int first)
{
    lane_queries own;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        own.i[r] = first + at.row + 8 * r;
        own.rows[r] = own.i[r] < s.query_count ? s.query_begin + own.i[r] : -1;
        own.seen[r] = own.rows[r] >= 0 ? eh_seen_keys(a, s, own.i[r]) : 0;
    }
    return own;
}

// 4 flops a pair and element. Grid: blocks of queries, heads, segments.
template <int size, bool bf16>
__global__ void __launch_bounds__(threads, size <= 64 ? 3 : 2) tensor_forward_kernel(eh_attention_view a)
{
    constexpr int tile = key_tile_rows;
    SHARED(uint4, key_tile, tile * row_stride<size> / 8);
    SHARED(uint4, value_tile, size * turned_stride<tile> / 8);
    uint16_t *const keys_straight = reinterpret_cast<uint16_t *>(key_tile), *const values_turned =
                                                                                reinterpret_cast<uint16_t *>(
                                                                                    value_tile);
    const eh_segment_view s = eh_segment_at(a, blockIdx.z);
    const int first = first_query_of_block(a), head = static_cast<int>(blockIdx.y);
    if (first >= s.query_count)
        return;
    const lane_place at = place_of_lane();
    const lane_queries own = queries_of_lane(a, s, at, first);
    uint32_t q[size / 16][4];
    load_fragments<size>(a, a.query, head, own.rows, at.t, q);
    float mixed[size / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    const int keys = block_keys(a, s, first);
    for (int key = 0; key < keys; key += tile) {
        __syncthreads(); // the last tile was used
        load_tile<size, tile>(a, a.key, s, head, true, key, keys_straight, nullptr);
        load_tile<size, tile>(a, a.value, s, head, true, key, nullptr, values_turned);
        __syncthreads();
        float p[tile / 8][4], high[2] = {-INFINITY, -INFINITY}, more[2] = {0, 0}, shrink[2];
        times_rows<size, tile, bf16>(q, keys_straight, at, p);
#pragma unroll
        for (int n = 0; n < tile / 8; n++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                const int j = key + 8 * n + 2 * at.t + c % 2;
                p[n][c] = j < own.seen[c / 2] ? eh_pair_score(a, s, head, own.i[c / 2], j, p[n][c]) : -INFINITY;
                high[c / 2] = fmaxf(high[c / 2], p[n][c]);
            }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float new_top = fmaxf(top[r], eh_row_max(high[r]));
            shrink[r] = new_top == -INFINITY ? 1.0f : __expf(top[r] - new_top);
            top[r] = new_top;
        }
#pragma unroll
        for (int n = 0; n < tile / 8; n++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                const int j = key + 8 * n + 2 * at.t + c % 2;
                const float share = j < own.seen[c / 2] ? __expf(p[n][c] - top[c / 2]) : 0.0f;
                more[c / 2] += share;
                p[n][c] = j < own.seen[c / 2] ? share * eh_pair_factor(a, own.rows[c / 2], head, j) : 0.0f;
            }
#pragma unroll
        for (int r = 0; r < 2; r++) sum[r] = sum[r] * shrink[r] + eh_row_sum(more[r]);
#pragma unroll
        for (int n = 0; n < size / 8; n++)
#pragma unroll
            for (int c = 0; c < 4; c++) mixed[n][c] *= shrink[c / 2];
        add_times_tile<size, tile, bf16>(p, values_turned, at, mixed);
    }
    const float whole[2] = {sum[0] > 0 ? 1 / sum[0] : 1, sum[1] > 0 ? 1 / sum[1] : 1};
#pragma unroll
    for (int n = 0; n < size / 8; n++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int e = 8 * n + 2 * at.t;
            if (own.rows[r] >= 0 && e < a.head_size)
                eh_store_pair(a.output.data, start_of(a.output, own.rows[r], head) + e, mixed[n][2 * r] * whole[r],
                              mixed[n][2 * r + 1] * whole[r], e + 1 < a.head_size);
        }
    for (int r = 0; r < 2; r++)
        if (own.rows[r] >= 0 && at.t == 0 && a.log_sum_exp != nullptr)
            a.log_sum_exp[own.rows[r] * a.head_count + head] = own.seen[r] > 0 ? top[r] + logf(sum[r]) : -INFINITY;
}

// 6 flops a pair and element. Grid: blocks of queries, heads, segments.
template <int size, bool bf16>
__global__ void __launch_bounds__(threads, size <= 64 ? 3 : 2) tensor_query_kernel(eh_attention_view a)
{
    constexpr int tile = key_tile_rows;
    SHARED(uint4, key_tile, tile * row_stride<size> / 8);
    SHARED(uint4, value_tile, tile * row_stride<size> / 8);
    SHARED(uint4, turned_tile, size * turned_stride<tile> / 8);
    uint16_t *const keys_straight = reinterpret_cast<uint16_t *>(key_tile),
                    *const values_straight = reinterpret_cast<uint16_t *>(value_tile),
                    *const keys_turned = reinterpret_cast<uint16_t *>(turned_tile);
    const eh_segment_view s = eh_segment_at(a, blockIdx.z);
    const int first = first_query_of_block(a), head = static_cast<int>(blockIdx.y);
    if (first >= s.query_count)
        return;
    const lane_place at = place_of_lane();
    const lane_queries own = queries_of_lane(a, s, at, first);
    uint32_t q[size / 16][4], grad[size / 16][4];
    load_fragments<size>(a, a.query, head, own.rows, at.t, q);
    load_fragments<size>(a, a.grad_output, head, own.rows, at.t, grad);
    const eh_query_facts facts[2] = {eh_facts_of(a, s, head, own.i[0]), eh_facts_of(a, s, head, own.i[1])};
    float sums[size / 8][4] = {};
    const int keys = block_keys(a, s, first);
    for (int key = 0; key < keys; key += tile) {
        __syncthreads();
        load_tile<size, tile>(a, a.key, s, head, true, key, keys_straight, keys_turned);
        load_tile<size, tile>(a, a.value, s, head, true, key, values_straight, nullptr);
        __syncthreads();
        float p[tile / 8][4], grad_p[tile / 8][4];
        times_rows<size, tile, bf16>(q, keys_straight, at, p);
        times_rows<size, tile, bf16>(grad, values_straight, at, grad_p);
#pragma unroll
        for (int n = 0; n < tile / 8; n++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                const int j = key + 8 * n + 2 * at.t + c % 2;
                float dropped = 0, grad_score = 0;
                if (j < own.seen[c / 2])
                    eh_pair_gradient<true>(a, s, facts[c / 2], head, own.i[c / 2], j, p[n][c], grad_p[n][c], &dropped,
                                           &grad_score);
                p[n][c] = grad_score;
            }
        add_times_tile<size, tile, bf16>(p, keys_turned, at, sums);
    }
    add_rows<size>(a, a.grad_query, head, own.rows, at.t, a.scale, sums);
}

// 8 flops a pair and element. Own keys: grid blocks of keys, heads, segments. A prefix (prefix_count > 0): grid blocks
// of it, heads, 1; the block goes through all segments that share it, in order.
template <int size, bool bf16>
__global__ void __launch_bounds__(threads, 2) tensor_key_kernel(eh_attention_view a, int prefix_begin, int prefix_count)
{
    constexpr int tile = query_tile_rows<size>;
    SHARED(uint4, query_tile, tile * row_stride<size> / 8);
    SHARED(uint4, turned_query_tile, size * turned_stride<tile> / 8);
    SHARED(uint4, grad_tile, tile * row_stride<size> / 8);
    SHARED(uint4, turned_grad_tile, size * turned_stride<tile> / 8);
    SHARED(eh_query_facts, facts, tile);
    uint16_t *const queries = reinterpret_cast<uint16_t *>(query_tile),
                    *const queries_turned = reinterpret_cast<uint16_t *>(turned_query_tile),
                    *const grads = reinterpret_cast<uint16_t *>(grad_tile),
                    *const grads_turned = reinterpret_cast<uint16_t *>(turned_grad_tile);
    const bool shared_prefix = prefix_count > 0;
    const int head = static_cast<int>(blockIdx.y);
    const lane_place at = place_of_lane();
    const int64_t begin = shared_prefix ? 0 : blockIdx.z, end = shared_prefix ? a.segment_count : begin + 1;
    float key_sums[size / 8][4] = {}, value_sums[size / 8][4] = {};
    int rows[2] = {-1, -1};
    for (int64_t index = begin; index < end; index++) {
        const eh_segment_view s = eh_segment_at(a, index);
        if (shared_prefix && (s.prefix_begin != prefix_begin || s.prefix_count != prefix_count))
            continue;
        const int first_key = (shared_prefix ? 0 : s.prefix_count) + static_cast<int>(blockIdx.x) * block_rows;
        const int keys_end = shared_prefix ? prefix_count : s.total;
        if (first_key >= keys_end)
            return; // the same for the whole block, and for all segments of a prefix
        const int j[2] = {first_key + at.row, first_key + at.row + 8};
        for (int r = 0; r < 2; r++) {
            rows[r] = j[r] < keys_end ? static_cast<int>(eh_row_of_key(s, j[r])) : -1;
        }
        uint32_t k[size / 16][4], v[size / 16][4];
        load_fragments<size>(a, a.key, head, rows, at.t, k);
        if (size <= 64)
            load_fragments<size>(a, a.value, head, rows, at.t, v);
        for (int first = eh_first_query(a, s, first_key); first < s.query_count; first += tile) {
            __syncthreads();
            if (threadIdx.x < tile)
                facts[threadIdx.x] = eh_facts_of(a, s, head, first + static_cast<int>(threadIdx.x));
            load_tile<size, tile>(a, a.query, s, head, false, first, queries, queries_turned);
            load_tile<size, tile>(a, a.grad_output, s, head, false, first, grads, grads_turned);
            __syncthreads();
            float p[tile / 8][4], grad_p[tile / 8][4]; // [keys, queries]
            times_rows<size, tile, bf16>(k, queries, at, p);
            if (size <= 64)
                times_rows<size, tile, bf16>(v, grads, at, grad_p);
            else
                fetched_times_rows<size, tile, bf16>(a, a.value, head, rows, grads, at, grad_p);
#pragma unroll
            for (int n = 0; n < tile / 8; n++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    const int i = first + 8 * n + 2 * at.t + c % 2;
                    float dropped = 0, grad_score = 0;
                    if (rows[c / 2] >= 0 && i < s.query_count && j[c / 2] < eh_seen_keys(a, s, i))
                        eh_pair_gradient<true>(a, s, facts[i - first], head, i, j[c / 2], p[n][c], grad_p[n][c],
                                               &dropped, &grad_score);
                    p[n][c] = dropped;
                    grad_p[n][c] = grad_score;
                }
            add_times_tile<size, tile, bf16>(p, grads_turned, at, value_sums);
            add_times_tile<size, tile, bf16>(grad_p, queries_turned, at, key_sums);
        }
    }
    add_rows<size>(a, a.grad_key, head, rows, at.t, a.scale, key_sums);
    add_rows<size>(a, a.grad_value, head, rows, at.t, 1.0f, value_sums);
}

unsigned blocks_of(int rows)
{
    return static_cast<unsigned>((rows + block_rows - 1) / block_rows);
}

template <int size, bool bf16> eh_status forward(eh_backend *backend, eh_attention_view a, eh_attention_size longest)
{
    for (int64_t first = 0; first < a.segment_count; eh_next_segments(&a, &first)) {
        LAUNCH((tensor_forward_kernel<size, bf16>),
               dim3(blocks_of(longest.queries), static_cast<unsigned>(a.head_count), eh_segments_from(a, first)),
               dim3(threads), 0, eh_cuda(backend)->stream, a);
        EH_CUDA(cudaGetLastError());
    }
    return EH_OK;
}

template <int size, bool bf16>
eh_status backward(eh_backend *backend, const eh_attention_view &whole, const eh_attention *attention,
                   eh_attention_size longest)
{
    const cudaStream_t stream = eh_cuda(backend)->stream;
    const unsigned heads = static_cast<unsigned>(whole.head_count);
    eh_attention_view a = whole;
    for (int64_t first = 0; first < whole.segment_count; eh_next_segments(&a, &first)) {
        const unsigned segments = eh_segments_from(whole, first);
        LAUNCH((tensor_query_kernel<size, bf16>), dim3(blocks_of(longest.queries), heads, segments), dim3(threads), 0,
               stream, a);
        EH_CUDA(cudaGetLastError());
        if (longest.keys > 0)
            LAUNCH((tensor_key_kernel<size, bf16>), dim3(blocks_of(longest.keys), heads, segments), dim3(threads), 0,
                   stream, a, 0, 0);
        EH_CUDA(cudaGetLastError());
    }
    for (int64_t i = 0; i < attention->segment_count; i++) {
        const eh_segment *s = &attention->host_segments[i];
        if (!eh_prefix_is_new(attention, i))
            continue;
        LAUNCH((tensor_key_kernel<size, bf16>), dim3(blocks_of(s->prefix_count), heads, 1), dim3(threads), 0, stream,
               whole, static_cast<int>(s->prefix_begin), static_cast<int>(s->prefix_count));
        EH_CUDA(cudaGetLastError());
    }
    return EH_OK;
}

bool takes(const eh_backend *backend, const eh_attention_view &a)
{
    const int type = a.query.data.dtype, capability = static_cast<eh_cuda_state *>(backend->state)->capability;
    return a.head_size <= eh_largest_head && a.key.data.dtype == type && a.value.data.dtype == type &&
           ((type == EH_BF16 && capability >= 80) || (type == EH_F16 && capability >= 75));
}

} // namespace

eh_status eh_cuda_tensor_forward(eh_backend *backend, const eh_attention_view *a, eh_attention_size longest, bool *done)
{
    *done = takes(backend, *a);
    if (!*done)
        return EH_OK;
    const bool bf16 = a->query.data.dtype == EH_BF16;
    if (a->head_size <= 64)
        return bf16 ? forward<64, true>(backend, *a, longest) : forward<64, false>(backend, *a, longest);
    return bf16 ? forward<128, true>(backend, *a, longest) : forward<128, false>(backend, *a, longest);
}

eh_status eh_cuda_tensor_backward(eh_backend *backend, const eh_attention_view *a, const eh_attention *attention,
                                  eh_attention_size longest, bool *done)
{
    *done = takes(backend, *a) && a->grad_output.data.dtype == a->query.data.dtype;
    if (!*done)
        return EH_OK;
    const bool bf16 = a->query.data.dtype == EH_BF16;
    if (a->head_size <= 64)
        return bf16 ? backward<64, true>(backend, *a, attention, longest)
                    : backward<64, false>(backend, *a, attention, longest);
    return bf16 ? backward<128, true>(backend, *a, attention, longest)
                : backward<128, false>(backend, *a, attention, longest);
}
