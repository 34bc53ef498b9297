// Matrix products on every device: against the reference, exact on small integers, and the same bits for a row whatever
// the other rows and the number of threads are.
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

typedef struct {
    int64_t m, n, k;
    bool transpose_a, transpose_b, bias, constant;
    eh_output_mode mode;
    float alpha;
    eh_dtype a, b, y;
} product_case;

static const float *absolute(const float *x, int64_t count)
{
    float *y = (float *)(uintptr_t)eh_test_random(1, count, 0, 0);
    for (int64_t i = 0; i < count; i++) y[i] = fabsf(x[i]);
    return y;
}

static const float *multiply_on(eh_backend *backend, const product_case *c, const float *a, const float *b,
                                const float *bias, const float *y, bool as_floats)
{
    const eh_dtype out = as_floats ? EH_F32 : c->y;
    // A matrix without elements has no values, though the shapes below take [n, 0] for a vector of n.
    a = c->m * c->k > 0 ? a : NULL;
    b = c->n * c->k > 0 ? b : NULL;
    y = c->m * c->n > 0 ? y : NULL;
    eh_product product = {
        .a = eh_test_tensor(backend,
                            c->transpose_a ? (eh_test_shape){c->k, c->m, c->a} : (eh_test_shape){c->m, c->k, c->a}, a),
        .b = eh_test_tensor(backend,
                            c->transpose_b ? (eh_test_shape){c->n, c->k, c->b} : (eh_test_shape){c->k, c->n, c->b}, b),
        .y = eh_test_tensor(backend, (eh_test_shape){c->m, c->n, out}, c->mode == EH_ADD ? y : NULL),
        .transpose_a = c->transpose_a,
        .transpose_b = c->transpose_b,
        .alpha = c->alpha,
        .mode = c->mode,
        .b_is_constant = c->constant,
    };
    if (c->k == 0 || c->m == 0) { // a matrix without elements still has two dimensions
        product.a.dimension_count = 2;
        product.b.dimension_count = 2;
    }
    if (c->bias)
        product.bias = eh_test_tensor(backend, (eh_test_shape){c->n, 0, EH_F32}, bias);
    OK(eh_multiply(backend, &product));
    return eh_test_values(&product.y);
}

// |error| <= (depth of the longest chain of roundings) half units of sum |a||b|, worked out by the reference on |a|,
// |b|.
static void check_case(eh_backend *backend, eh_backend *reference, const product_case *c, uint64_t seed)
{
    const float *a = eh_test_random(seed, c->m * c->k, 0, 1), *b = eh_test_random(seed + 1, c->n * c->k, 0, 1);
    const float *bias = eh_test_random(seed + 2, c->n, 0, 1), *y = eh_test_random(seed + 3, c->m * c->n, 0, 1);
    const float *found = multiply_on(backend, c, a, b, bias, y, false);
    const float *expected = multiply_on(reference, c, a, b, bias, y, false);
    product_case size_case = *c;
    size_case.alpha = fabsf(c->alpha);
    const float *size = multiply_on(reference, &size_case, absolute(a, c->m * c->k), absolute(b, c->n * c->k),
                                    absolute(bias, c->n), absolute(y, c->m * c->n), true);
    const double chain = (double)(c->k < 256 ? c->k : 256) + (double)c->k / 256 + 4;
    const bool rounds_bias = c->bias && strcmp(eh_backend_name(backend), "cuda") == 0; // backend.h
    for (int64_t i = 0; i < c->m * c->n; i++)
        assert_true(eh_test_all_close("product", found + i, expected + i, 1, 2 * eh_test_rounding(c->y),
                                      chain * 0x1p-24 * (double)size[i] + (c->y == EH_F16 ? 0x1p-24 : 0) +
                                          (rounds_bias ? eh_test_rounding(c->y) * fabs((double)bias[i % c->n]) : 0)));
    eh_test_free_tensors(backend);
    eh_test_free_tensors(reference);
    eh_test_free_random();
}

static void check_products(eh_backend *backend, eh_backend *reference)
{
    const int64_t shapes[][3] = {{1, 1, 1},    {1, 17, 9},   {2, 33, 64},   {7, 15, 257}, {13, 100, 300}, {65, 40, 31},
                                 {300, 20, 8}, {5, 600, 10}, {29, 31, 513}, {3, 4, 0},    {0, 4, 3}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int mode = 0; mode < 16; mode++) {
            product_case c = {.m = shapes[s][0], .n = shapes[s][1], .k = shapes[s][2], .transpose_a = mode & 1};
            c.transpose_b = mode & 2;
            c.bias = mode & 4;
            c.mode = mode & 8 ? EH_ADD : EH_WRITE;
            c.alpha = mode & 1 ? -0.5f : 0;
            c.constant = (mode >> 2 & 1) != (mode >> 1 & 1);
            check_case(backend, reference, &c, 100 + s);
            c.a = mode & 4 ? EH_BF16 : EH_F16;
            c.b = mode & 8 ? EH_BF16 : c.a;
            c.y = mode & 1 ? c.a : EH_F32;
            check_case(backend, reference, &c, 200 + s);
        }
}

static void check_random_shapes(eh_backend *backend, eh_backend *reference)
{
    for (uint64_t i = 0; i < 40; i++) {
        const eh_philox_block r = eh_philox(5, EH_STREAM_TEST, i, 7);
        const product_case c = {.m = r.word[0] % 70,
                                .n = 1 + r.word[1] % 90,
                                .k = 1 + r.word[2] % 600,
                                .transpose_a = r.word[3] & 1,
                                .transpose_b = r.word[3] & 2,
                                .bias = r.word[3] & 4,
                                .constant = r.word[3] & 8,
                                .mode = r.word[3] & 16 ? EH_ADD : EH_WRITE,
                                .a = (eh_dtype)(r.word[3] / 32 % 3),
                                .b = (eh_dtype)(r.word[3] / 128 % 3)};
        check_case(backend, reference, &c, 300 + i);
    }
}

// Sums of small integers are exact in any order.
static void check_integers(eh_backend *backend, eh_backend *reference)
{
    const product_case c = {.m = 37, .n = 45, .k = 700, .transpose_b = true};
    float *a = (float *)(uintptr_t)eh_test_random(1, c.m * c.k, 0, 3),
          *b = (float *)(uintptr_t)eh_test_random(2, c.n * c.k, 0, 3);
    for (int64_t i = 0; i < c.m * c.k; i++) a[i] = rintf(a[i]);
    for (int64_t i = 0; i < c.n * c.k; i++) b[i] = rintf(b[i]);
    const float *found = multiply_on(backend, &c, a, b, NULL, NULL, false);
    const float *expected = multiply_on(reference, &c, a, b, NULL, NULL, false);
    assert_memory_equal(found, expected, (size_t)(c.m * c.n) * sizeof(float));
}

static void test_products(void **state)
{
    (void)state;
    eh_test_on_devices(check_products);
}
static void test_products_of_random_shapes(void **state)
{
    (void)state;
    eh_test_on_devices(check_random_shapes);
}
static void test_products_of_integers_are_exact(void **state)
{
    (void)state;
    eh_test_on_devices(check_integers);
}

// Batch 1 = batch 64 to the bit; any number of threads; packed once or each time.
static void test_a_row_does_not_depend_on_the_others(void **state)
{
    (void)state;
    enum { ROWS = 300, N = 300, K = 700 };
    for (int d = 0; d < eh_test_device_count; d += 1) {
        eh_backend *backend = eh_test_open(&eh_test_devices[d]);
        if (backend == NULL || strcmp(eh_test_devices[d].name, "cpu") != 0) {
            eh_test_free_tensors(backend);
            eh_backend_close(&backend);
            continue;
        }
        const eh_test_device one = {"cpu", eh_test_devices[d].isa, 1};
        eh_backend *single = eh_test_open(&one);
        const float *a = eh_test_random(1, ROWS * K, 0, 1), *b = eh_test_random(2, N * K, 0, 1);
        for (int transposed = 0; transposed < 2; transposed++) {
            product_case c = {.m = ROWS, .n = N, .k = K, .transpose_b = transposed};
            const float *all = multiply_on(backend, &c, a, b, NULL, NULL, false);
            const int64_t parts[][2] = {{0, 1}, {299, 1}, {17, 2}, {100, 64}, {3, 255}, {0, 13}};
            for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
                c.m = parts[p][1];
                c.constant = p & 1;
                const float *some = multiply_on(single, &c, a + parts[p][0] * K, b, NULL, NULL, false);
                assert_memory_equal(some, all + parts[p][0] * N, (size_t)(c.m * N) * sizeof(float));
            }
        }
        eh_test_free_random();
        eh_test_close_device(&single);
        eh_test_close_device(&backend);
    }
}

static void check_stale_copy(eh_backend *backend, eh_backend *reference)
{
    (void)reference;
    const float one[] = {1, 2}, two[] = {3, 5};
    eh_product product = {.a = eh_test_tensor(backend, (eh_test_shape){1, 2, EH_F32}, one),
                          .b = eh_test_tensor(backend, (eh_test_shape){2, 1, EH_F32}, one),
                          .y = eh_test_tensor(backend, (eh_test_shape){1, 1, EH_F32}, NULL),
                          .b_is_constant = true};
    OK(eh_multiply(backend, &product));
    assert_true(eh_test_values(&product.y)[0] == 5);
    OK(eh_backend_upload(backend, two, &product.b));
    OK(eh_multiply(backend, &product));
    assert_true(eh_test_values(&product.y)[0] == 13);
}
static void test_a_packed_copy_follows_its_matrix(void **state)
{
    (void)state;
    eh_test_on_devices(check_stale_copy);
}

// y as eh_multiply writes it, and its activation: by one call as by two.
static void check_activated(eh_backend *backend, eh_backend *reference)
{
    static const eh_dtype types[] = {EH_F32, EH_BF16, EH_F16};
    static const struct {
        int64_t m, n, k;
        bool transpose_b, bias;
        eh_activation kind;
    } cases[] = {
        {5, 24, 40, true, true, EH_GELU_TANH},     {1, 8, 16, false, true, EH_GELU_TANH},
        {9, 64, 3, true, false, EH_GELU_TANH},     {4, 13, 40, true, true, EH_GELU_TANH},
        {4, 16, 24, true, true, EH_GELU_ERF},      {4, 16, 24, false, false, EH_RELU},
        {70, 264, 100, false, true, EH_GELU_TANH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int t = 0; t < 3; t++) {
            const int64_t m = cases[i].m, n = cases[i].n, k = cases[i].k;
            const float *a = eh_test_random(300 + i, m * k, 0, 1), *b = eh_test_random(400 + i, n * k, 0, 0.3),
                        *bias = eh_test_random(500 + i, n, 0, 1), *y[2], *activated[2];
            for (int side = 0; side < 2; side++) {
                eh_backend *at = side == 0 ? backend : reference;
                const eh_dtype out = side == 0 ? types[t] : EH_F32; // the reference unrounded
                eh_product product = {.a = eh_test_tensor(at, (eh_test_shape){m, k, types[t]}, a),
                                      .b = eh_test_tensor(at,
                                                          cases[i].transpose_b ? (eh_test_shape){n, k, types[t]}
                                                                               : (eh_test_shape){k, n, types[t]},
                                                          b),
                                      .y = eh_test_tensor(at, (eh_test_shape){m, n, out}, NULL),
                                      .transpose_b = cases[i].transpose_b};
                if (cases[i].bias)
                    product.bias = eh_test_tensor(at, (eh_test_shape){n, 0, EH_F32}, bias);
                const eh_tensor act = eh_test_tensor(at, (eh_test_shape){m, n, out}, NULL);
                OK(eh_multiply_activate(at, &product, cases[i].kind, &act));
                y[side] = eh_test_values(&product.y);
                activated[side] = eh_test_values(&act);
            }
            // Rounded: the bias, y, then its activation, whose slope is at most 1.13.
            const double unit = eh_test_rounding(types[t]), sums = (double)(k + 8) * 0x1p-24 * 2 * sqrt((double)k);
            for (int64_t j = 0; j < m * n; j++) {
                const double own = (cases[i].bias ? unit * fabs((double)bias[j % n]) : 0) + sums;
                assert_true(eh_test_all_close("kept", y[0] + j, y[1] + j, 1, unit, own));
                assert_true(eh_test_all_close("activated", activated[0] + j, activated[1] + j, 1, unit,
                                              1.13 * (own + unit * fabs((double)y[1][j])) + 1e-6));
            }
            eh_test_free_tensors(backend);
        }
}

static void test_product_and_activation(void **state)
{
    (void)state;
    eh_test_on_devices(check_activated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product_and_activation),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_products_of_random_shapes),
        cmocka_unit_test(test_products_of_integers_are_exact),
        cmocka_unit_test(test_a_row_does_not_depend_on_the_others),
        cmocka_unit_test(test_a_packed_copy_follows_its_matrix),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_test_print_worst();
    return failed;
}
