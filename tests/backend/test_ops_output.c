// The output layer with cross-entropy on every device, and the reference's gradients by central differences.
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
    int64_t n, width, vocabulary;
    bool bias, keep, frozen;
    eh_dtype dtype;
    double spread; // of the hidden states: large logits
} output_case;

typedef struct {
    const float *log_probability, *log_sum_exp, *grad_hidden, *grad_weight, *grad_bias;
} output_result;

static output_result run_on(eh_backend *backend, const output_case *c, const float *hidden, const float *weight,
                            const float *bias, const int32_t *target, const float *row_weight)
{
    const eh_tensor none = {0};
    const eh_test_shape rows = {c->n, 0, EH_F32}, matrix = {c->vocabulary, c->width, c->dtype};
    eh_output_layer layer = {.hidden = eh_test_tensor(backend, (eh_test_shape){c->n, c->width, c->dtype}, hidden),
                             .weight = eh_test_tensor(backend, matrix, weight),
                             .target = eh_test_index(backend, c->n, target),
                             .scale = 0.7f,
                             .backward_follows = c->keep,
                             .gradient_is_fresh = c->keep && c->n > 0,
                             .log_probability = eh_test_tensor(backend, rows, NULL),
                             .log_sum_exp = eh_test_tensor(backend, rows, NULL)};
    if (c->bias)
        layer.bias = eh_test_tensor(backend, (eh_test_shape){c->vocabulary, 0, EH_F32}, bias);
    OK(eh_output_forward(backend, &layer));
    const eh_tensor weights = eh_test_tensor(backend, rows, row_weight);
    const eh_tensor grad_hidden = eh_test_tensor(backend, (eh_test_shape){c->n, c->width, EH_F32}, NULL);
    const eh_tensor grad_weight = eh_test_tensor(backend, (eh_test_shape){c->vocabulary, c->width, EH_F32}, weight);
    const eh_tensor grad_bias = eh_test_tensor(backend, (eh_test_shape){c->vocabulary, 0, EH_F32}, bias);
    OK(eh_output_backward(backend, &layer, &weights, &grad_hidden, c->frozen ? &none : &grad_weight,
                          c->bias && !c->frozen ? &grad_bias : &none));
    return (output_result){eh_test_values(&layer.log_probability), eh_test_values(&layer.log_sum_exp),
                           eh_test_values(&grad_hidden), eh_test_values(&grad_weight), eh_test_values(&grad_bias)};
}

static const int32_t *targets(int64_t n, int64_t vocabulary)
{
    int32_t *target = (int32_t *)(uintptr_t)(const void *)eh_test_random(77, n, 0, 0);
    for (int64_t i = 0; i < n; i++) target[i] = (int32_t)((i * 7919 + vocabulary - 1) % vocabulary);
    return target;
}

static double largest(const float *values, int64_t count)
{
    double found = 0;
    for (int64_t i = 0; i < count; i++) found = fmax(found, fabs((double)values[i]));
    return found;
}

// A logit is a sum of `width` products of size at most |h||w|; its error is the error of a log-probability, and
// relative of a probability, so of the gradients, which are sums over n rows or the vocabulary.
static void check_case(eh_backend *backend, eh_backend *reference, const output_case *c, uint64_t seed)
{
    const float *hidden = eh_test_random(20 + seed, c->n * c->width, 0, c->spread);
    const float *weight = eh_test_random(40 + seed, c->vocabulary * c->width, 0, 0.5);
    const float *bias = eh_test_random(60 + seed, c->vocabulary, 0, 1),
                *row_weight = eh_test_random(80 + seed, c->n, 1, 1);
    const int32_t *target = targets(c->n, c->vocabulary);
    const output_result found = run_on(backend, c, hidden, weight, bias, target, row_weight);
    const output_result expected = run_on(reference, c, hidden, weight, bias, target, row_weight);
    const double logit = 0x1p-24 * ((double)c->width + 8) * c->spread * sqrt((double)c->width) + 4e-6;
    assert_true(eh_test_all_close("log probability", found.log_probability, expected.log_probability, c->n, 4 * 0x1p-24,
                                  logit));
    assert_true(eh_test_all_close("log sum exp", found.log_sum_exp, expected.log_sum_exp, c->n, 4 * 0x1p-24, logit));
    // A GPU, and a CPU that multiplies bf16, multiplies the gradients of the logits, row_weight (p - hit), in the
    // weights' type: each is rounded to it. Of one row they add up to 2 |row_weight|; over the rows the roundings are
    // independent.
    const bool rounds =
        c->dtype != EH_F32 && (strcmp(eh_backend_name(backend), "cuda") == 0 || eh_backend_packs(backend, c->dtype));
    const double part = rounds ? eh_test_rounding(c->dtype) * largest(row_weight, c->n) : 0;
    assert_true(eh_test_all_close("output grad hidden", found.grad_hidden, expected.grad_hidden, c->n * c->width, 4e-6,
                                  8 * logit + 2 * part * largest(weight, c->vocabulary * c->width)));
    const double rows = (1 + sqrt((double)c->n)) * c->spread * 8, over_rows = part * (1 + sqrt((double)c->n) / 4);
    assert_true(eh_test_all_close("output grad weight", found.grad_weight, expected.grad_weight,
                                  c->vocabulary * c->width, 4e-6,
                                  rows * logit + over_rows * largest(hidden, c->n * c->width)));
    assert_true(eh_test_all_close("output grad bias", found.grad_bias, expected.grad_bias, c->vocabulary, 4e-6,
                                  rows * logit + over_rows));
    eh_test_free_tensors(backend);
    eh_test_free_tensors(reference);
    eh_test_free_random();
}

static void check_outputs(eh_backend *backend, eh_backend *reference)
{
    const output_case cases[] = {
        {1, 1, 1, false, false, false, EH_F32, 1},      {3, 8, 5, true, false, false, EH_F32, 1},
        {7, 33, 513, true, true, false, EH_F32, 1},     {38, 16, 2000, false, true, false, EH_F32, 40},
        {300, 20, 1100, true, false, false, EH_F32, 1}, {1030, 3, 40, false, false, false, EH_F32, 1},
        {5, 24, 700, true, false, true, EH_F32, 1},     {9, 32, 1025, true, true, false, EH_BF16, 1},
        {2, 4, 250880, false, true, false, EH_F32, 1},  {0, 4, 9, true, true, false, EH_F32, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(backend, reference, &cases[i], i);
    for (uint64_t i = 0; i < 20; i++) {
        const eh_philox_block r = eh_philox(9, EH_STREAM_TEST, i, 7);
        const output_case c = {.n = r.word[0] % 25,
                               .width = 1 + r.word[1] % 40,
                               .vocabulary = 1 + r.word[2] % 600,
                               .bias = r.word[3] & 1,
                               .keep = r.word[3] & 2,
                               .frozen = r.word[3] & 4,
                               .dtype = r.word[3] & 8 ? EH_BF16 : EH_F32,
                               .spread = 1};
        check_case(backend, reference, &c, 100 + i);
    }
}
static void test_output_layer(void **state)
{
    (void)state;
    eh_test_on_devices(check_outputs);
}

// The loss as a function of one number, in double, by the definition.
static double loss_of(const output_case *c, const double *hidden, const double *weight, const double *bias,
                      const int32_t *target, const float *row_weight)
{
    double loss = 0;
    for (int64_t i = 0; i < c->n; i++) {
        double sum = 0, of_target = 0;
        for (int64_t v = 0; v < c->vocabulary; v++) {
            double z = bias[v];
            for (int64_t e = 0; e < c->width; e++)
                z += (double)0.7f * hidden[i * c->width + e] * weight[v * c->width + e];
            sum += exp(z);
            of_target = v == target[i] ? z : of_target;
        }
        loss -= row_weight[i] * (of_target - log(sum));
    }
    return loss;
}

static void check_difference(const output_case *c, double *x, int64_t count, const float *gradient, const float *before,
                             const double *hidden, const double *weight, const double *bias, const int32_t *target,
                             const float *row_weight)
{
    for (int64_t i = 0; i < count; i++) {
        const double kept = x[i], h = 1e-5;
        x[i] = kept + h;
        const double above = loss_of(c, hidden, weight, bias, target, row_weight);
        x[i] = kept - h;
        const double below = loss_of(c, hidden, weight, bias, target, row_weight);
        x[i] = kept;
        assert_close((double)gradient[i] - (before ? before[i] : 0), (above - below) / (2 * h), 2e-6);
    }
}

static void test_the_references_gradients_are_the_losss_slopes(void **state)
{
    (void)state;
    const output_case c = {4, 5, 6, true, false, false, EH_F32, 1};
    const float *hidden = eh_test_random(1, 20, 0, 1), *weight = eh_test_random(2, 30, 0, 0.5),
                *bias = eh_test_random(3, 6, 0, 1);
    const float *row_weight = eh_test_random(4, 4, 1, 0.5);
    const int32_t *target = targets(4, 6);
    const output_result r = run_on(eh_test_reference(), &c, hidden, weight, bias, target, row_weight);
    double h[20], w[30], b[6];
    for (int i = 0; i < 20; i++) h[i] = hidden[i];
    for (int i = 0; i < 30; i++) w[i] = weight[i];
    for (int i = 0; i < 6; i++) b[i] = bias[i];
    check_difference(&c, h, 20, r.grad_hidden, NULL, h, w, b, target, row_weight);
    check_difference(&c, w, 30, r.grad_weight, weight, h, w, b, target, row_weight);
    check_difference(&c, b, 6, r.grad_bias, bias, h, w, b, target, row_weight);
    eh_test_free_tensors(eh_test_reference());
}

// A label's log-probability is the same bits alone or among others, on one thread or three.
static void test_a_label_does_not_depend_on_the_others(void **state)
{
    (void)state;
    for (int d = 0; d < eh_test_device_count; d++) {
        eh_backend *backend = eh_test_open(&eh_test_devices[d]);
        if (backend == NULL || strcmp(eh_test_devices[d].name, "cpu") != 0) {
            eh_backend_close(&backend);
            continue;
        }
        output_case c = {300, 48, 3000, false, false, true, EH_F32, 1};
        const float *hidden = eh_test_random(1, c.n * c.width, 0, 1),
                    *weight = eh_test_random(2, c.vocabulary * c.width, 0, 0.3);
        const float *row_weight = eh_test_random(3, c.n, 1, 0);
        const int32_t *target = targets(c.n, c.vocabulary);
        const output_result all = run_on(backend, &c, hidden, weight, weight, target, row_weight);
        const eh_test_device one = {"cpu", eh_test_devices[d].isa, 1};
        eh_backend *single = eh_test_open(&one);
        for (int64_t first = 0; first < 300; first += 59) {
            c.n = first % 2 ? 1 : 5;
            const output_result some =
                run_on(single, &c, hidden + first * c.width, weight, weight, target + first, row_weight);
            assert_memory_equal(some.log_probability, all.log_probability + first, (size_t)c.n * sizeof(float));
            assert_memory_equal(some.grad_hidden, all.grad_hidden + first * c.width,
                                (size_t)(c.n * c.width) * sizeof(float));
        }
        eh_test_free_random();
        eh_test_close_device(&single);
        eh_test_close_device(&backend);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_layer),
        cmocka_unit_test(test_the_references_gradients_are_the_losss_slopes),
        cmocka_unit_test(test_a_label_does_not_depend_on_the_others),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_test_print_worst();
    return failed;
}
