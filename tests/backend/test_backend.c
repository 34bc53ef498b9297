// What holds for a backend as a whole: no gaps in its table, clear refusals, no allocation once warm, profiling; and
// the slopes of the reference's norms and activations.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend_internal.h"
#include "backend/list.h"
#include "backend/profile.h"
#include "core/memory.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/device.h"
#include "support/folder.h"

#define OK(call) assert_int_equal((call), EH_OK)

// The formatter would break this list anew each time.
// clang-format off
#define FUNCTIONS(X)                                                                              \
    X(open) X(close) X(buffer_new) X(buffer_view) X(buffer_free) X(upload) X(download) X(wait)    \
    X(reserve) X(multiply_activate) X(sample_rows)                                                \
    X(fill) X(convert) X(add) X(scale) X(dropout) X(activation_forward) X(activation_backward)    \
    X(gather_rows) X(scatter_add_rows) X(column_sum) X(norm_forward) X(norm_backward) X(multiply) \
    X(attention_forward) X(attention_backward) X(output_forward) X(output_backward)               \
    X(log_softmax_rows) X(divergence_rows) X(argmax_rows) X(adamw_runs) X(pull) X(squared_norms)  \
    X(limits)
// clang-format on
#define ONE(name) +1
_Static_assert(sizeof(eh_backend_table) == sizeof(char *) + (FUNCTIONS(ONE)) * sizeof(void (*)(void)),
               "a function of the table is missing in this test");

static void test_no_table_has_a_gap(void **state)
{
    (void)state;
    const eh_backend_table *tables[] = {&eh_backend_reference, &eh_backend_cpu, &eh_backend_cuda};
    for (int t = 0; t < 3; t++) {
        if (t == 2 && eh_backend_cuda.fill == NULL)
            continue; // not built: its stub only explains
#define REFUSE_NULL(function)        \
    if (tables[t]->function == NULL) \
        fail_msg("%s has no function for %s", tables[t]->name, #function);
        FUNCTIONS(REFUSE_NULL)
    }
}

static void test_unknown_devices_are_refused(void **state)
{
    (void)state;
    eh_backend *backend = NULL;
    assert_int_equal(eh_backend_open("gpu", 0, 1, &backend), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "'gpu'"));
    assert_null(backend);
    setenv("EVENHAND_CPU_ISA", "mmx", 1);
    assert_int_equal(eh_backend_open("cpu", 0, 1, &backend), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "mmx"));
    unsetenv("EVENHAND_CPU_ISA");
    OK(eh_backend_open("auto", 0, 1, &backend));
    assert_string_not_equal(eh_backend_name(backend), "reference");
    assert_true(strlen(eh_backend_description(backend)) > 0);
    eh_backend_close(&backend);
    assert_null(backend);
}

static void test_impossible_memory_is_refused_by_name(void **state)
{
    (void)state;
    eh_buffer *buffer = NULL;
    assert_int_equal(eh_buffer_new(eh_test_reference(), (size_t)1 << 60, "activations", &buffer), EH_MACHINE);
    assert_non_null(strstr(eh_error_message(), "activations"));
    assert_null(buffer);
}

// A step's worth of operations, twice to warm up, then again: nothing may be allocated.
static void check_steady_state(eh_backend *backend, eh_backend *reference)
{
    (void)reference;
    if (strcmp(eh_backend_name(backend), "cpu") != 0)
        return;
    enum { ROWS = 40, WIDTH = 48 };
    const eh_test_shape shape = {ROWS, WIDTH, EH_BF16}, square = {WIDTH, WIDTH, EH_F32}, vector = {WIDTH, 0, EH_F32};
    const float *values = eh_test_random(1, WIDTH * WIDTH, 0, 1);
    const eh_tensor x = eh_test_tensor(backend, shape, values), y = eh_test_tensor(backend, shape, values), none = {0};
    const eh_tensor w = eh_test_tensor(backend, square, values),
                    stat = eh_test_tensor(backend, (eh_test_shape){ROWS, 0, EH_F32}, NULL);
    const eh_tensor mean = eh_test_tensor(backend, (eh_test_shape){ROWS, 0, EH_F32}, NULL);
    const eh_tensor logits = eh_test_tensor(backend, (eh_test_shape){ROWS, 0, EH_F32}, NULL);
    const eh_norm norm = {EH_LAYER_NORM, 1e-5f, eh_test_tensor(backend, vector, values),
                          eh_test_tensor(backend, vector, values)};
    int32_t words[ROWS];
    for (int i = 0; i < ROWS; i++) words[i] = i % WIDTH;
    const eh_tensor target = eh_test_index(backend, ROWS, words);
    const eh_output_layer layer = {.hidden = x,
                                   .weight = w,
                                   .target = target,
                                   .scale = 1,
                                   .backward_follows = true,
                                   .log_probability = logits,
                                   .log_sum_exp = stat};
    const eh_product product = {.a = x, .b = w, .y = y, .transpose_b = true, .b_is_constant = true};
    const eh_segment segment = {0, ROWS, 0, ROWS, 0, 0, 0, 0};
    const eh_attention attention = {.head_count = 4,
                                    .head_size = WIDTH / 4,
                                    .scale = 1,
                                    .causal = true,
                                    .host_segments = &segment,
                                    .segment_count = 1};
    const eh_heads heads = {x, WIDTH, WIDTH / 4}, out = {y, WIDTH, WIDTH / 4};
    int64_t before = 0;
    double sum = 0;
    for (int round = 0; round < 4; round++) {
        if (round == 2)
            before = eh_allocation_count();
        OK(eh_norm_forward(backend, &norm, &x, &none, &none, &y, &mean, &stat));
        OK(eh_multiply(backend, &product));
        OK(eh_attention_forward(backend, &attention, &heads, &heads, &heads, &out, &none));
        OK(eh_activation_forward(backend, EH_GELU_TANH, &x, &none, &y));
        OK(eh_output_forward(backend, &layer));
        OK(eh_output_backward(backend, &layer, &logits, &y, &w, &none));
        OK(eh_squared_norm(backend, &w, &sum));
    }
    assert_int_equal(eh_allocation_count(), before);
}
static long resident_pages(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "rb");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident;
}

// What leaves resident memory comes back as it was; no file is left, not even while it is in use; a full disk says so.
static void test_a_buffer_on_disk_keeps_its_values(void **state)
{
    (void)state;
    enum { COUNT = 4 << 20 };
    eh_backend *backend = NULL;
    eh_buffer *buffer = NULL;
    char *folder = eh_test_folder_new();
    assert_int_equal(eh_backend_open("cpu", 0, 1, &backend), EH_OK);
    assert_int_equal(eh_buffer_new_in_file(backend, COUNT * 4, folder, "moments", &buffer), EH_OK);
    const eh_tensor all = {.buffer = buffer, .dtype = EH_F32, .dimension_count = 1, .shape = {COUNT}};
    const eh_tensor end = eh_tensor_rows(&all, COUNT - 2, 2);
    float last[2] = {1, 1};
    assert_int_equal(eh_backend_download(backend, &end, last), EH_OK);
    assert_close(last[1], 0, 0);
    assert_int_equal(eh_fill(backend, 3, &all), EH_OK);
    const long before = resident_pages();
    eh_tensor_release(&all);
    assert_true(before - resident_pages() > COUNT / 1024 / 2);
    assert_int_equal(eh_backend_download(backend, &end, last), EH_OK);
    assert_close(last[0], 3, 0);
    assert_int_equal(rmdir(folder), 0); // empty
    eh_buffer_free(&buffer);
    assert_int_equal(eh_buffer_new_in_file(backend, 64, folder, "moments", &buffer), EH_MACHINE);
    assert_non_null(strstr(eh_error_message(), "no file for moments"));
    eh_backend_close(&backend);
    free(folder);
}

static void test_nothing_is_allocated_once_warm(void **state)
{
    (void)state;
    eh_test_on_devices(check_steady_state);
}

// The share is that of the scarcer of the two: operations, or bytes.
static void test_share_of_the_limit(void **state)
{
    (void)state;
    const eh_profile_row product = {.seconds = 2, .flops = 150, .bytes = 10},
                         copy = {.seconds = 2, .flops = 1, .bytes = 16};
    assert_true(eh_test_close(eh_profile_share(&product, 100, 10), 0.75, 1e-12));
    assert_true(eh_test_close(eh_profile_share(&copy, 100, 10), 0.8, 1e-12));
    assert_true(eh_profile_share(&copy, 0, 0) == 0); // not known
}

static void check_limits(eh_backend *backend, eh_backend *unused)
{
    (void)unused;
    double flops = -1, bytes = -1;
    OK(eh_backend_limits(backend, EH_BF16, &flops, &bytes));
    if (strcmp(eh_backend_name(backend), "cpu") != 0) {
        assert_true(flops == 0 && bytes == 0);
        return;
    }
    assert_true(flops > 1e8 && flops < 1e14 && bytes > 1e7 && bytes < 1e13); // a unit mistaken shows
}
static void test_limits_are_measured(void **state)
{
    (void)state;
    eh_test_on_devices(check_limits);
}

static void test_profile_counts_calls_and_writes_a_trace(void **state)
{
    (void)state;
    char *folder = eh_test_folder_new();
    eh_backend *backend = eh_test_reference();
    const eh_product product = {.a = eh_test_tensor(backend, (eh_test_shape){3, 4, EH_F32}, NULL),
                                .b = eh_test_tensor(backend, (eh_test_shape){4, 5, EH_F32}, NULL),
                                .y = eh_test_tensor(backend, (eh_test_shape){3, 5, EH_F32}, NULL)};
    const eh_profile_row *rows = NULL;
    int64_t count = 0;
    OK(eh_backend_profile_begin(backend, eh_test_path(folder, "trace.json")));
    OK(eh_multiply(backend, &product));
    OK(eh_multiply(backend, &product));
    OK(eh_fill(backend, 1, &product.y));
    OK(eh_backend_profile_report(backend, &rows, &count));
    assert_int_equal(count, 2);
    const eh_profile_row *of_multiply = strcmp(rows[0].operation, "multiply") == 0 ? &rows[0] : &rows[1];
    assert_true(rows[0].seconds >= rows[1].seconds);
    assert_int_equal(of_multiply->calls, 2);
    assert_true(of_multiply->flops == 2 * 2.0 * 3 * 4 * 5);
    assert_true(of_multiply->bytes == 2 * 4.0 * (3 * 4 + 4 * 5 + 3 * 5));
    OK(eh_backend_profile_end(backend));
    json_error_t error;
    json_t *trace = json_load_file(eh_test_path(folder, "trace.json"), 0, &error),
           *events = json_object_get(trace, "traceEvents");
    assert_int_equal(json_array_size(events), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, 0), "name")), "multiply");
    assert_true(json_number_value(json_object_get(json_array_get(events, 0), "dur")) > 0);
    json_decref(trace);
    OK(eh_multiply(backend, &product)); // off again
    OK(eh_backend_profile_begin(backend, eh_test_path(folder, "no/such/folder/trace.json")));
    assert_int_equal(eh_backend_profile_end(backend), EH_MACHINE);
    assert_non_null(strstr(eh_error_message(), "trace.json"));
    eh_test_free_tensors(backend);
    eh_test_folder_remove(&folder);
}

static double activation_by_definition(eh_activation kind, double x)
{
    switch (kind) {
    case EH_GELU_ERF:
        return x * 0.5 * (1 + erf(x / sqrt(2)));
    case EH_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case EH_RELU:
        return x > 0 ? x : 0;
    case EH_SILU:
        return x / (1 + exp(-x));
    case EH_TANH:
        return tanh(x);
    }
    return NAN;
}

static void test_the_references_activations_and_slopes(void **state)
{
    (void)state;
    eh_backend *reference = eh_test_reference();
    const float *x = eh_test_random(1, 200, 0, 2), *gate = eh_test_random(2, 200, 0, 1),
                *grad = eh_test_random(3, 200, 0, 1);
    for (int kind = 0; kind < 5; kind++) {
        const eh_test_shape shape = {200, 0, EH_F32};
        const eh_tensor tx = eh_test_tensor(reference, shape, x), tgate = eh_test_tensor(reference, shape, gate);
        const eh_tensor tgrad = eh_test_tensor(reference, shape, grad), y = eh_test_tensor(reference, shape, NULL);
        const eh_tensor gx = eh_test_tensor(reference, shape, NULL), gg = eh_test_tensor(reference, shape, NULL);
        OK(eh_activation_forward(reference, (eh_activation)kind, &tx, &tgate, &y));
        OK(eh_activation_backward(reference, (eh_activation)kind, &tx, &tgate, &tgrad, &gx, &gg));
        for (int i = 0; i < 200; i++) {
            const double h = 1e-5, act = activation_by_definition((eh_activation)kind, x[i]);
            const double slope = (activation_by_definition((eh_activation)kind, x[i] + h) -
                                  activation_by_definition((eh_activation)kind, x[i] - h)) /
                                 (2 * h);
            assert_close(eh_test_values(&y)[i], act * gate[i], 1e-6);
            assert_close(eh_test_values(&gx)[i], slope * gate[i] * grad[i], 1e-6 + 1e-6 * fabs(grad[i]));
            assert_close(eh_test_values(&gg)[i], act * grad[i], 1e-6);
        }
        eh_test_free_tensors(reference);
    }
}

// loss = sum(grad * norm(x)) by the definition, in double.
static double norm_loss(eh_norm_kind kind, const double *x, const double *weight, const double *bias, const float *grad,
                        int rows, int n)
{
    double loss = 0;
    for (int r = 0; r < rows; r++) {
        double mean = 0, square = 0;
        for (int i = 0; i < n && kind == EH_LAYER_NORM; i++) mean += x[r * n + i] / n;
        for (int i = 0; i < n; i++) square += (x[r * n + i] - mean) * (x[r * n + i] - mean) / n;
        for (int i = 0; i < n; i++)
            loss += grad[r * n + i] * (weight[i] * (x[r * n + i] - mean) / sqrt(square + (double)1e-5f) + bias[i]);
    }
    return loss;
}

static void test_the_references_norm_gradients_are_slopes(void **state)
{
    (void)state;
    enum { ROWS = 3, N = 7 };
    eh_backend *reference = eh_test_reference();
    const eh_tensor none = {0};
    const float *x = eh_test_random(1, ROWS * N, 1, 1), *w = eh_test_random(2, N, 1, 0.5),
                *b = eh_test_random(3, N, 0, 1);
    const float *grad = eh_test_random(4, ROWS * N, 0, 1), *zero = eh_test_random(5, N, 0, 0);
    for (int kind = 0; kind < 2; kind++) {
        const eh_test_shape shape = {ROWS, N, EH_F32}, vector = {N, 0, EH_F32}, stat = {ROWS, 0, EH_F32};
        const eh_norm norm = {(eh_norm_kind)kind, 1e-5f, eh_test_tensor(reference, vector, w),
                              eh_test_tensor(reference, vector, b)};
        const eh_tensor tx = eh_test_tensor(reference, shape, x), y = eh_test_tensor(reference, shape, NULL);
        const eh_tensor mean = eh_test_tensor(reference, stat, NULL), scale = eh_test_tensor(reference, stat, NULL);
        const eh_tensor tg = eh_test_tensor(reference, shape, grad), gx = eh_test_tensor(reference, shape, NULL);
        const eh_tensor gw = eh_test_tensor(reference, vector, zero), gb = eh_test_tensor(reference, vector, zero);
        OK(eh_norm_forward(reference, &norm, &tx, &none, &none, &y, &mean, &scale));
        OK(eh_norm_backward(reference, &norm, &tx, &mean, &scale, &tg, EH_WRITE, &gx, &gw, &gb));
        double at[ROWS * N + 2 * N];
        for (int i = 0; i < ROWS * N; i++) at[i] = x[i];
        for (int i = 0; i < N; i++) {
            at[ROWS * N + i] = w[i];
            at[ROWS * N + N + i] = b[i];
        }
        for (int i = 0; i < ROWS * N + 2 * N; i++) {
            const double kept = at[i], h = 1e-5;
            double loss[2];
            for (int side = 0; side < 2; side++) {
                at[i] = kept + (side ? h : -h);
                loss[side] = norm_loss((eh_norm_kind)kind, at, at + ROWS * N, at + ROWS * N + N, grad, ROWS, N);
            }
            at[i] = kept;
            const float found = i < ROWS * N       ? eh_test_values(&gx)[i]
                                : i < ROWS * N + N ? eh_test_values(&gw)[i - ROWS * N]
                                                   : eh_test_values(&gb)[i - ROWS * N - N];
            assert_close(found, (loss[1] - loss[0]) / (2 * h), 5e-6);
        }
        eh_test_free_tensors(reference);
    }
}

// The divergence in double, by the definition, of logits z of p.
static double divergence_loss(const double *z, const float *log_q, const float *row_weight, int rows, int n)
{
    double loss = 0;
    for (int r = 0; r < rows; r++) {
        double sum = 0;
        for (int v = 0; v < n; v++) sum += exp(z[r * n + v]);
        for (int v = 0; v < n; v++) {
            const double log_p = z[r * n + v] - log(sum), of_q = log_q[r * n + v];
            loss += row_weight[r] * exp(of_q) * (of_q - log_p);
        }
    }
    return loss;
}

static void test_the_references_divergence_gradient_is_the_slope(void **state)
{
    (void)state;
    enum { ROWS = 3, N = 7 };
    eh_backend *reference = eh_test_reference();
    const float *z = eh_test_random(1, ROWS * N, 0, 2), weights[] = {1, 0.25f, 2}, strength = 0.5f;
    const eh_test_shape shape = {ROWS, N, EH_F32}, vector = {ROWS, 0, EH_F32};
    const eh_tensor log_p = eh_test_tensor(reference, shape, z);
    const eh_tensor log_q = eh_test_tensor(reference, shape, eh_test_random(2, ROWS * N, 0, 2));
    const eh_tensor row_weight = eh_test_tensor(reference, vector, weights),
                    value = eh_test_tensor(reference, vector, NULL);
    OK(eh_log_softmax_rows(reference, &log_p));
    OK(eh_log_softmax_rows(reference, &log_q));
    float q[ROWS * N];
    memcpy(q, eh_test_values(&log_q), sizeof q);
    OK(eh_divergence_rows(reference, &log_p, &log_q, &row_weight, strength, &value));
    double at[ROWS * N];
    for (int i = 0; i < ROWS * N; i++) at[i] = z[i];
    for (int i = 0; i < ROWS * N; i++) {
        const double kept = at[i], h = 1e-5;
        at[i] = kept + h;
        const double above = divergence_loss(at, q, weights, ROWS, N);
        at[i] = kept - h;
        const double below = divergence_loss(at, q, weights, ROWS, N);
        at[i] = kept;
        assert_close(eh_test_values(&log_q)[i], (double)strength * (above - below) / (2 * h), 2e-6);
    }
    eh_test_free_tensors(reference);
}

// A linear operation L and its gradient L': <y, L x> = <L' y, x> for every x and y.
static double inner(const eh_tensor *a, const eh_tensor *b)
{
    const float *x = eh_test_values(a), *y = eh_test_values(b);
    double sum = 0;
    for (int64_t i = 0; i < eh_tensor_count(a); i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static void test_gradients_of_linear_operations_are_their_adjoints(void **state)
{
    (void)state;
    enum { ROWS = 6, N = 5, K = 4, TABLE = 9 };
    eh_backend *reference = eh_test_reference();
    const int32_t places[ROWS] = {3, 0, 8, 3, 3, 1};
    const eh_test_shape of_y = {ROWS, N, EH_F32}, of_x = {ROWS, K, EH_F32}, of_w = {N, K, EH_F32},
                        of_table = {TABLE, N, EH_F32}, of_bias = {N, 0, EH_F32};
    const eh_tensor index = eh_test_index(reference, ROWS, places), none = {0};
    const eh_tensor y = eh_test_tensor(reference, of_y, eh_test_random(1, ROWS * N, 0, 1));
    const eh_tensor x = eh_test_tensor(reference, of_x, eh_test_random(2, ROWS * K, 0, 1));
    const eh_tensor w = eh_test_tensor(reference, of_w, eh_test_random(3, N * K, 0, 1));
    const eh_tensor table = eh_test_tensor(reference, of_table, eh_test_random(4, TABLE * N, 0, 1));
    const eh_tensor bias = eh_test_tensor(reference, of_bias, eh_test_random(5, N, 0, 1));
    const float *zero = eh_test_random(6, TABLE * N, 0, 0);
    const eh_tensor looked_up = eh_test_tensor(reference, of_y, NULL), out = eh_test_tensor(reference, of_y, NULL),
                    only_bias = eh_test_tensor(reference, of_y, NULL);
    const eh_tensor grad_table = eh_test_tensor(reference, of_table, zero),
                    grad_x = eh_test_tensor(reference, of_x, NULL), grad_w = eh_test_tensor(reference, of_w, NULL),
                    grad_bias = eh_test_tensor(reference, of_bias, zero);
    const eh_tensor dropped = eh_test_tensor(reference, of_y, NULL),
                    grad_dropped = eh_test_tensor(reference, of_y, NULL);
    const eh_tensor nothing = eh_test_tensor(reference, of_x, zero);

    OK(eh_gather_rows(reference, &table, &index, EH_WRITE, &looked_up));
    OK(eh_scatter_add_rows(reference, &y, &index, &grad_table));
    assert_close(inner(&y, &looked_up), inner(&grad_table, &table), 1e-5);

    // y = x w^T as a torch Linear has it: the gradients of x and of w, and of the bias.
    OK(eh_multiply(reference, &(eh_product){.a = x, .b = w, .bias = none, .y = out, .transpose_b = true}));
    OK(eh_multiply(reference, &(eh_product){.a = y, .b = w, .bias = none, .y = grad_x}));
    OK(eh_multiply(reference, &(eh_product){.a = y, .b = x, .bias = none, .y = grad_w, .transpose_a = true}));
    assert_close(inner(&y, &out), inner(&grad_x, &x), 1e-5);
    assert_close(inner(&y, &out), inner(&grad_w, &w), 1e-5);
    OK(eh_multiply(reference, &(eh_product){.a = nothing, .b = w, .bias = bias, .y = only_bias, .transpose_b = true}));
    OK(eh_column_sum(reference, &y, &grad_bias));
    assert_close(inner(&y, &only_bias), inner(&grad_bias, &bias), 1e-5);

    OK(eh_dropout(reference, &looked_up, 0.3f, 99, 5, &dropped));
    OK(eh_dropout(reference, &y, 0.3f, 99, 5, &grad_dropped));
    assert_close(inner(&y, &dropped), inner(&grad_dropped, &looked_up), 1e-5);
    assert_true(inner(&dropped, &dropped) <
                0.99 * inner(&looked_up, &looked_up) / (0.7 * 0.7)); // something was dropped
    eh_test_free_tensors(reference);
    eh_test_free_random();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_table_has_a_gap),
        cmocka_unit_test(test_unknown_devices_are_refused),
        cmocka_unit_test(test_impossible_memory_is_refused_by_name),
        cmocka_unit_test(test_a_buffer_on_disk_keeps_its_values),
        cmocka_unit_test(test_nothing_is_allocated_once_warm),
        cmocka_unit_test(test_share_of_the_limit),
        cmocka_unit_test(test_limits_are_measured),
        cmocka_unit_test(test_profile_counts_calls_and_writes_a_trace),
        cmocka_unit_test(test_the_references_activations_and_slopes),
        cmocka_unit_test(test_the_references_norm_gradients_are_slopes),
        cmocka_unit_test(test_the_references_divergence_gradient_is_the_slope),
        cmocka_unit_test(test_gradients_of_linear_operations_are_their_adjoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
