// Attention of packed sequences on every device against the reference, the reference against central differences, and
// the same bits for a sequence alone or packed, prefilled or decoded token by token, with or without a shared prefix.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "core/philox.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/device.h"

#define OK(call) assert_int_equal((call), EH_OK)
enum { SEGMENTS = 70 };

typedef struct {
    int64_t heads, size;
    bool causal, bidirectional;
    eh_position_bias bias;
    float dropout;
    eh_dtype dtype;
    bool interleaved; // one tensor of [rows, heads, 3, size]; else [rows, 3, heads, size]
    int64_t rows, segment_count;
    eh_segment segments[SEGMENTS];
    double before; // in the memory of fresh gradients
} attention_case;

typedef struct {
    const float *output, *log_sum_exp, *grads, *grad_bias;
} attention_result;

enum { BUCKETS = 8 };

static eh_heads part_of(const attention_case *c, const eh_tensor *qkv, int64_t part)
{
    eh_heads heads = {*qkv, 3 * c->heads * c->size, c->interleaved ? 3 * c->size : c->size};
    heads.tensor.offset +=
        (size_t)(part * (c->interleaved ? c->size : c->heads * c->size)) * eh_dtype_bytes(qkv->dtype);
    heads.tensor.dimension_count = 1; // what is left of the last row
    heads.tensor.shape[0] = eh_tensor_count(qkv) - part * (c->interleaved ? c->size : c->heads * c->size);
    return heads;
}

static eh_attention describe(eh_backend *backend, const attention_case *c, const float *slopes, const float *bias)
{
    eh_attention attention = {.head_count = c->heads,
                              .head_size = c->size,
                              .scale = 0.6f,
                              .causal = c->causal,
                              .position_bias = c->bias,
                              .bucket_count = BUCKETS,
                              .bucket_max_distance = 20,
                              .bidirectional_buckets = c->bidirectional,
                              .host_segments = c->segments,
                              .segment_count = c->segment_count,
                              .dropout = c->dropout,
                              .dropout_seed = 11};
    int32_t flat[SEGMENTS * EH_SEGMENT_WORDS];
    memcpy(flat, c->segments, sizeof flat);
    attention.segments = eh_test_index(backend, c->segment_count * EH_SEGMENT_WORDS, flat);
    if (c->bias == EH_ALIBI)
        attention.alibi_slopes = eh_test_tensor(backend, (eh_test_shape){c->heads, 0, EH_F32}, slopes);
    if (c->bias == EH_RELATIVE_BUCKETS)
        attention.relative_bias = eh_test_tensor(backend, (eh_test_shape){BUCKETS, c->heads, EH_F32}, bias);
    return attention;
}

static bool has_queries(const attention_case *c)
{
    for (int64_t s = 0; s < c->segment_count; s++)
        if (c->segments[s].query_count > 0)
            return true;
    return false;
}

// Fresh gradients take the place of what was there; then they may be of the inputs' type, which the reference, who adds
// them up pair by pair, would round too often.
static attention_result run_on(eh_backend *backend, const attention_case *c, const float *qkv, const float *slopes,
                               const float *bias, const float *grad, bool backward)
{
    attention_result result = {0};
    const eh_attention attention = describe(backend, c, slopes, bias);
    const int64_t wide = c->heads * c->size;
    const eh_test_shape shape = {c->rows, 3 * wide, c->dtype};
    const eh_tensor all = eh_test_tensor(backend, shape, qkv);
    const float *zero = eh_test_random(0, c->rows * 3 * wide + BUCKETS * c->heads, 0, 0);
    const eh_heads query = part_of(c, &all, 0), key = part_of(c, &all, 1), value = part_of(c, &all, 2);
    const eh_heads output = {eh_test_tensor(backend, (eh_test_shape){c->rows, wide, c->dtype}, zero), wide, c->size};
    const eh_tensor log_sum_exp = eh_test_tensor(backend, (eh_test_shape){c->rows, c->heads, EH_F32}, zero);
    OK(eh_attention_forward(backend, &attention, &query, &key, &value, &output, &log_sum_exp));
    result.output = eh_test_values(&output.tensor);
    result.log_sum_exp = eh_test_values(&log_sum_exp);
    if (!backward)
        return result;
    const bool fresh = !eh_attention_shares_keys(&attention) && has_queries(c);
    const float *before = eh_test_random(0, c->rows * 3 * wide, fresh ? c->before : 0, 0);
    const eh_dtype type = fresh && backend != eh_test_reference() ? c->dtype : EH_F32;
    const eh_tensor grads = eh_test_tensor(backend, (eh_test_shape){c->rows, 3 * wide, type}, before);
    eh_attention_grads g = {query,
                            key,
                            value,
                            output,
                            output,
                            log_sum_exp,
                            part_of(c, &grads, 0),
                            part_of(c, &grads, 1),
                            part_of(c, &grads, 2),
                            {0},
                            fresh};
    g.grad_output.tensor = eh_test_tensor(backend, (eh_test_shape){c->rows, wide, c->dtype}, grad);
    const eh_tensor grad_bias = eh_test_tensor(backend, (eh_test_shape){BUCKETS, c->heads, EH_F32}, zero);
    if (c->bias == EH_RELATIVE_BUCKETS)
        g.grad_relative_bias = grad_bias;
    OK(eh_attention_backward(backend, &attention, &g));
    result.grads = eh_test_values(&grads);
    result.grad_bias = eh_test_values(&grad_bias);
    return result;
}

static void compare_grads(const attention_case *c, const attention_result *found, const attention_result *expected,
                          double slope)
{
    const int64_t wide = c->heads * c->size;
    const double relative = 1e-5 + (c->dtype == EH_F32 ? 0 : eh_test_rounding(c->dtype));
    assert_true(
        eh_test_all_close("attention grads", found->grads, expected->grads, c->rows * 3 * wide, relative, slope));
    assert_true(eh_test_all_close("attention grad bias", found->grad_bias, expected->grad_bias, BUCKETS * c->heads,
                                  1e-5, slope * (double)c->rows / 4));
}

static bool host_is_device(eh_backend *backend)
{
    const eh_tensor any = eh_test_tensor(backend, (eh_test_shape){1, 0, EH_F32}, (float[]){0});
    return eh_tensor_host(&any) != NULL;
}

// Scores of size about size * scale, their error 16 + size / 2 half units of that; it is the relative error of a
// probability.
static void compare(eh_backend *backend, eh_backend *reference, const attention_case *of, uint64_t seed)
{
    attention_case changed = *of;
    const attention_case *c = &changed;
    changed.before = 7;
    const int64_t wide = c->heads * c->size;
    const float *qkv = eh_test_random(seed, c->rows * 3 * wide, 0, 1),
                *slopes = eh_test_random(seed + 1, c->heads, 0.3, 0.2);
    const float *bias = eh_test_random(seed + 2, BUCKETS * c->heads, 0, 1),
                *grad = eh_test_random(seed + 3, c->rows * wide, 0, 1);
    const bool backward = c->segments[c->segment_count - 1].middle_count == 0 || host_is_device(backend);
    const attention_result found = run_on(backend, c, qkv, slopes, bias, grad, backward);
    const attention_result expected = run_on(reference, c, qkv, slopes, bias, grad, backward);
    const double score = 0x1p-24 * (16 + (double)c->size) * (4 * sqrt((double)c->size) + 20),
                 out = 3 * eh_test_rounding(c->dtype);
    const double half = c->dtype == EH_F32 ? 0 : eh_test_rounding(c->dtype); // `output` is read back rounded
    assert_true(eh_test_all_close("attention", found.output, expected.output, c->rows * wide, out, 4 * score + half));
    assert_true(eh_test_all_close("attention log sum exp", found.log_sum_exp, expected.log_sum_exp, c->rows * c->heads,
                                  4 * 0x1p-24, score));
    const double slope = (16 * score + 4 * half) * sqrt((double)c->size) * (1 + sqrt((double)c->rows) / 4);
    if (backward)
        compare_grads(c, &found, &expected, slope);
    eh_test_free_tensors(backend);
    eh_test_free_tensors(reference);
    eh_test_free_random();
}

// {query_begin, query_count, key_begin, key_count, prefix_begin, prefix_count, middle_begin, middle_count}
static const attention_case cases[] = {
    {.heads = 1, .size = 1, .rows = 1, .segment_count = 1, .segments = {{0, 1, 0, 1, 0, 0, 0, 0}}, .causal = true},
    {.heads = 3,
     .size = 5,
     .rows = 20,
     .segment_count = 3,
     .causal = true,
     .bias = EH_ALIBI,
     .interleaved = true,
     .segments = {{0, 7, 0, 7, 0, 0, 0, 0}, {7, 0, 7, 0, 0, 0, 0, 0}, {7, 13, 7, 13, 0, 0, 0, 0}}},
    {.heads = 2,
     .size = 64,
     .rows = 150,
     .segment_count = 2,
     .causal = true,
     .segments = {{0, 20, 0, 20, 0, 0, 0, 0}, {20, 130, 20, 130, 0, 0, 0, 0}}},
    {.heads = 2,
     .size = 16,
     .rows = 40,
     .segment_count = 3,
     .causal = true,
     .bias = EH_ALIBI, // a shared prefix
     .segments = {{0, 9, 0, 9, 0, 0, 0, 0}, {9, 12, 9, 12, 0, 9, 0, 0}, {21, 19, 21, 19, 0, 9, 0, 0}}},
    {.heads = 2,
     .size = 16,
     .rows = 70,
     .segment_count = 5,
     .causal = true,
     .bias = EH_ALIBI, // one of 9 rows, one of 12 behind it, which two read; and one that reads the first alone
     .segments = {{0, 9, 0, 9, 0, 0, 0, 0},
                  {9, 12, 9, 12, 0, 9, 0, 0},
                  {51, 19, 51, 19, 0, 9, 0, 0},
                  {21, 19, 21, 19, 0, 9, 9, 12},
                  {40, 11, 40, 11, 0, 9, 9, 12}}},
    {.heads = 4,
     .size = 8,
     .rows = 33,
     .segment_count = 2,
     .bias = EH_RELATIVE_BUCKETS,
     .bidirectional = true,
     .segments = {{0, 30, 0, 30, 0, 0, 0, 0}, {30, 3, 30, 3, 0, 0, 0, 0}}},
    {.heads = 2,
     .size = 12,
     .rows = 33,
     .segment_count = 2,
     .bias = EH_RELATIVE_BUCKETS,
     .causal = true,
     .segments = {{0, 20, 0, 20, 0, 0, 0, 0}, {25, 3, 20, 13, 0, 0, 0, 0}}}, // a cache: 3 queries, 13 keys
    {.heads = 2,
     .size = 10,
     .rows = 30,
     .segment_count = 2,
     .segments = {{0, 5, 10, 20, 0, 0, 0, 0}, {5, 5, 0, 10, 0, 0, 0, 0}}}, // cross
    {.heads = 2,
     .size = 10,
     .rows = 30,
     .segment_count = 1,
     .causal = true,
     .segments = {{0, 9, 0, 4, 0, 0, 0, 0}}}, // sees
                                              // none
    {.heads = 2,
     .size = 9,
     .rows = 30,
     .segment_count = 1,
     .causal = true,
     .dropout = 0.2f,
     .segments = {{0, 30, 0, 30, 0, 0, 0, 0}}},
    {.heads = 3,
     .size = 24,
     .rows = 70,
     .segment_count = 1,
     .dtype = EH_BF16,
     .interleaved = true,
     .segments = {{0, 70, 0, 70, 0, 0, 0, 0}}},
    {.heads = 2,
     .size = 64,
     .rows = 520,
     .segment_count = 1,
     .causal = true,
     .bias = EH_ALIBI,
     .segments = {{0, 520, 0, 520, 0, 0, 0, 0}}},
    {.heads = 2,
     .size = 128, // needs more shared memory than a block has unasked
     .rows = 68,
     .segment_count = 2,
     .causal = true,
     .segments = {{0, 34, 0, 34, 0, 0, 0, 0}, {34, 34, 34, 34, 0, 34, 0, 0}}},
    {.heads = 2,
     .size = 128,
     .rows = 110,
     .segment_count = 2,
     .causal = true,
     .bias = EH_ALIBI,
     .dtype = EH_BF16,
     .segments = {{0, 40, 0, 40, 0, 0, 0, 0}, {40, 70, 40, 70, 0, 40, 0, 0}}},
    {.heads = 3,
     .size = 80,
     .rows = 70,
     .segment_count = 1,
     .dtype = EH_F16,
     .dropout = 0.2f,
     .segments = {{0, 70, 0, 70, 0, 0, 0, 0}}},
};

// More sequences than a grid of the emulated device has places for: several launches.
static void check_many(eh_backend *backend, eh_backend *reference)
{
    for (eh_dtype dtype = EH_F32; dtype <= EH_F16; dtype++) {
        attention_case c = {.heads = 2, .size = 4, .bias = EH_RELATIVE_BUCKETS, .causal = true, .dtype = dtype};
        for (int32_t s = 0; s < SEGMENTS; s++, c.rows += 2)
            c.segments[c.segment_count++] = (eh_segment){2 * s, 2, 2 * s, 2, 0, 0, 0, 0};
        compare(backend, reference, &c, 900 + (uint64_t)dtype);
    }
}
static void test_attention_of_many_sequences(void **state)
{
    (void)state;
    eh_test_on_devices(check_many);
}

static void check_cases(eh_backend *backend, eh_backend *reference)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) compare(backend, reference, &cases[i], 10 * i);
}
static void test_attention(void **state)
{
    (void)state;
    eh_test_on_devices(check_cases);
}

static void check_random(eh_backend *backend, eh_backend *reference)
{
    for (uint64_t i = 0; i < 30; i++) {
        const eh_philox_block r = eh_philox(6, EH_STREAM_TEST, i, 7), q = eh_philox(6, EH_STREAM_TEST, i, 8);
        attention_case c = {.heads = 1 + r.word[0] % 3, .size = 1 + r.word[1] % 128, .causal = r.word[2] & 1};
        c.bidirectional = r.word[2] & 2;
        c.interleaved = r.word[2] & 4;
        c.bias = (eh_position_bias)(r.word[2] / 8 % 3);
        c.dtype = (eh_dtype)(r.word[2] / 32 % 3);
        c.dropout = r.word[2] & 1024 ? 0.3f : 0;
        c.segment_count = 1 + r.word[3] % 4;
        for (int64_t s = 0; s < c.segment_count; s++) {
            const int32_t length = (int32_t)(q.word[s] % 35);
            const int32_t prefix = s > 0 && (r.word[2] & 2048) ? c.segments[0].key_count : 0; // the first one's rows
            c.segments[s] = (eh_segment){(int32_t)c.rows, length, (int32_t)c.rows, length, 0, prefix, 0, 0};
            c.rows += length;
        }
        if (c.rows == 0)
            c.rows = 1;
        compare(backend, reference, &c, 1000 + i);
    }
}
static void test_attention_of_random_shapes(void **state)
{
    (void)state;
    eh_test_on_devices(check_random);
}

// The loss sum(grad * output), as the reference computes it, at one changed input; its output is fp32, so h is large
// and the bound is what rounding the outputs allows.
static void test_the_references_gradients_are_the_losss_slopes(void **state)
{
    (void)state;
    eh_backend *reference = eh_test_reference();
    for (size_t i = 1; i < 9; i++) {
        attention_case c = cases[i];
        if (c.size * c.heads * c.rows > 1000)
            continue;
        const int64_t wide = c.heads * c.size, count = c.rows * 3 * wide;
        float *qkv = (float *)(uintptr_t)eh_test_random(5, count, 0, 1),
              *bias = (float *)(uintptr_t)eh_test_random(6, BUCKETS * c.heads, 0, 1);
        const float *slopes = eh_test_random(7, c.heads, 0.3, 0.2), *grad = eh_test_random(8, c.rows * wide, 0, 1);
        const attention_result r = run_on(reference, &c, qkv, slopes, bias, grad, true);
        float *grads =
            (float *)(uintptr_t)eh_test_random(0, count + BUCKETS * c.heads, 0, 0); // r goes with its tensors
        memcpy(grads, r.grads, (size_t)count * sizeof *grads);
        if (c.bias == EH_RELATIVE_BUCKETS)
            memcpy(grads + count, r.grad_bias, (size_t)(BUCKETS * c.heads) * sizeof *grads);
        for (int64_t j = 0; j < count + BUCKETS * c.heads; j += j < count ? 37 : 5) {
            float *x = j < count ? &qkv[j] : &bias[j - count];
            const float kept = *x;
            double loss[2], h[2];
            for (int side = 0; side < 2; side++) {
                *x = kept + (side ? 0x1p-7f : -0x1p-7f);
                h[side] = *x;
                const attention_result at = run_on(reference, &c, qkv, slopes, bias, grad, false);
                loss[side] = 0;
                for (int64_t o = 0; o < c.rows * wide; o++) loss[side] += (double)grad[o] * at.output[o];
            }
            *x = kept;
            const double rounding = 0x1p-24 * 3 * (double)(c.rows * wide) / 0x1p-6;
            assert_close(grads[j], (loss[1] - loss[0]) / (h[1] - h[0]), 3e-3 + rounding);
            eh_test_free_tensors(reference);
        }
        eh_test_free_random();
    }
}

// What a query gives must not depend on who else is in the call, on threads, or on how the keys came to be where they
// are.
static void test_a_sequence_does_not_depend_on_the_others(void **state)
{
    (void)state;
    for (int d = 0; d < eh_test_device_count; d++) {
        eh_backend *backend = eh_test_open(&eh_test_devices[d]);
        if (backend == NULL || strcmp(eh_test_devices[d].name, "cpu") != 0) {
            eh_backend_close(&backend);
            continue;
        }
        attention_case c = {
            .heads = 3,
            .size = 20,
            .rows = 400,
            .causal = true,
            .bias = EH_ALIBI,
            .segment_count = 3,
            .segments = {{0, 50, 0, 50, 0, 0, 0, 0}, {50, 300, 50, 300, 0, 0, 0, 0}, {350, 50, 350, 50, 0, 0, 0, 0}}};
        const int64_t wide = c.heads * c.size;
        const float *qkv = eh_test_random(1, c.rows * 3 * wide, 0, 1), *slopes = eh_test_random(2, c.heads, 0.1, 0.05);
        const attention_result packed = run_on(backend, &c, qkv, slopes, NULL, NULL, false);
        const eh_test_device one = {"cpu", eh_test_devices[d].isa, 1};
        eh_backend *single = eh_test_open(&one);
        const eh_segment views[] = {
            {50, 300, 50, 300, 0, 0, 0, 0},    // alone
            {349, 1, 50, 300, 0, 0, 0, 0},     // the last token against a cache
            {200, 150, 70, 280, 50, 20, 0, 0}, // the second half of it, the first 20 keys as a prefix
            {100, 3, 100, 3, 50, 50, 0, 0},
            {200, 150, 120, 230, 50, 20, 70, 50}, // what follows the first 20 is shared too
        };
        for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
            c.segment_count = 1;
            c.segments[0] = views[v];
            const attention_result part = run_on(single, &c, qkv, slopes, NULL, NULL, false);
            assert_memory_equal(part.output + views[v].query_begin * wide, packed.output + views[v].query_begin * wide,
                                (size_t)(views[v].query_count * wide) * sizeof(float));
        }
        eh_test_free_random();
        eh_test_close_device(&single);
        eh_test_close_device(&backend);
    }
}

// transformers' T5Attention._relative_position_bucket, worked out with torch.
static void test_buckets_are_those_of_transformers(void **state)
{
    (void)state;
    const int distances[] = {-200, -128, -127, -64, -20, -16, -15, -8, -7, -1, 0, 1, 7, 8, 16, 50, 127, 128, 500};
    const int both[] = {15, 15, 15, 14, 10, 10, 9, 8, 7, 1, 0, 17, 23, 24, 26, 29, 31, 31, 31};
    const int past[] = {31, 31, 31, 26, 17, 16, 15, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++) {
        assert_int_equal(eh_relative_bucket(distances[i], true, 32, 128), both[i]);
        assert_int_equal(eh_relative_bucket(distances[i], false, 32, 128), past[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_of_many_sequences),
        cmocka_unit_test(test_attention_of_random_shapes),
        cmocka_unit_test(test_the_references_gradients_are_the_losss_slopes),
        cmocka_unit_test(test_a_sequence_does_not_depend_on_the_others),
        cmocka_unit_test(test_buckets_are_those_of_transformers),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_test_print_worst();
    return failed;
}
