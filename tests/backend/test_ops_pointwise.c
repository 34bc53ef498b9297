// Element-wise operations, rows, norms and the optimiser, on every device against the reference.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "core/philox.h"
#include "support/close.h"
#include "support/cmocka.h"
#include "support/device.h"

#define OK(call) assert_int_equal((call), EH_OK)

static const int64_t counts[] = {1, 7, 17, 63, 2049, 40000};
static const eh_dtype dtypes[] = {EH_F32, EH_BF16, EH_F16};
enum { COUNTS = sizeof counts / sizeof *counts, DTYPES = 3, ACTIVATIONS = 5 };
static const eh_tensor none;

static void check_equal_ops(eh_backend *backend, eh_backend *reference)
{
    for (int c = 0; c < COUNTS; c++)
        for (int d = 0; d < DTYPES; d++) {
            eh_backend *on[2] = {backend, reference};
            const float *x = eh_test_random(1, counts[c], 0, 3), *y = eh_test_random(2, counts[c], 0, 3), *got[2][5];
            for (int b = 0; b < 2; b++) {
                const eh_test_shape shape = {counts[c], 0, dtypes[d]};
                const eh_tensor from = eh_test_tensor(on[b], shape, x), sum = eh_test_tensor(on[b], shape, y);
                const eh_tensor filled = eh_test_tensor(on[b], shape, NULL), scaled = eh_test_tensor(on[b], shape, x);
                const eh_tensor cast = eh_test_tensor(on[b], (eh_test_shape){counts[c], 0, dtypes[(d + 1) % 3]}, NULL);
                const eh_tensor dropped = eh_test_tensor(on[b], shape, NULL);
                OK(eh_fill(on[b], 1.25f, &filled));
                OK(eh_add(on[b], &from, &sum));
                OK(eh_scale(on[b], -0.7f, &scaled));
                OK(eh_convert(on[b], &from, &cast));
                OK(eh_dropout(on[b], &from, 0.3f, 99, 5, &dropped));
                const eh_tensor *outputs[] = {&filled, &sum, &scaled, &cast, &dropped};
                for (int o = 0; o < 5; o++) got[b][o] = eh_test_values(outputs[o]);
            }
            for (int o = 0; o < 4; o++) // one rounding each: the same bits
                assert_memory_equal(got[0][o], got[1][o], (size_t)counts[c] * sizeof(float));
            assert_true(
                eh_test_all_close("dropout", got[0][4], got[1][4], counts[c], 2 * eh_test_rounding(dtypes[d]), 0));
            eh_test_free_tensors(backend);
            eh_test_free_tensors(reference);
        }
}

// Relative to the result's scale |x| (a value) or 1 (a slope): the polynomials' bound of 2e-6, plus the output's
// rounding.
static void check_activations(eh_backend *backend, eh_backend *reference)
{
    for (int kind = 0; kind < ACTIVATIONS; kind++)
        for (int c = 0; c < COUNTS; c++)
            for (int gated = 0; gated < 2; gated++)
                for (int d = 0; d < DTYPES; d++) {
                    eh_backend *on[2] = {backend, reference};
                    const int64_t n = counts[c];
                    float *x = (float *)(uintptr_t)eh_test_random(3, n, 0, 3);
                    if (n > 100) { // far tails
                        const float far[] = {-1e4f, -100, -20,  -9, -5.5f, 5.5f,  9,
                                             20,    100,  1e4f, 0,  -0.0f, 1e-6f, -1e-6f};
                        memcpy(x, far, sizeof far);
                    }
                    const float *gate = eh_test_random(4, n, 0, 1), *grad = eh_test_random(5, n, 0, 1), *got[2][3];
                    for (int b = 0; b < 2; b++) {
                        const eh_test_shape shape = {n, 0, dtypes[d]};
                        const eh_tensor tx = eh_test_tensor(on[b], shape, x), ty = eh_test_tensor(on[b], shape, NULL);
                        const eh_tensor tg = eh_test_tensor(on[b], shape, gate),
                                        tgy = eh_test_tensor(on[b], shape, grad);
                        const eh_tensor tgx = eh_test_tensor(on[b], shape, NULL),
                                        tgg = eh_test_tensor(on[b], shape, NULL);
                        OK(eh_activation_forward(on[b], (eh_activation)kind, &tx, gated ? &tg : &none, &ty));
                        OK(eh_activation_backward(on[b], (eh_activation)kind, &tx, gated ? &tg : &none, &tgy, &tgx,
                                                  gated ? &tgg : &none));
                        got[b][0] = eh_test_values(&ty);
                        got[b][1] = eh_test_values(&tgx);
                        got[b][2] = gated ? eh_test_values(&tgg) : got[b][0];
                    }
                    const double rounding = 2 * eh_test_rounding(dtypes[d]) + 2e-6, tiny = 3e-7 + (d == 2 ? 1e-7 : 0);
                    assert_true(eh_test_all_close("activation", got[0][0], got[1][0], n, rounding, 4 * tiny));
                    assert_true(eh_test_all_close("activation slope", got[0][1], got[1][1], n, rounding, 12 * tiny));
                    assert_true(eh_test_all_close("gate", got[0][2], got[1][2], n, rounding, 12 * tiny));
                    eh_test_free_tensors(backend);
                    eh_test_free_tensors(reference);
                    eh_test_free_random();
                }
}

// Rows of a table looked up and added up again, and the sum of a matrix's rows. `index` may be empty.
static void check_rows_of(eh_backend *backend, eh_backend *reference, int64_t table_rows, int64_t n, eh_dtype dtype,
                          int64_t count, const int32_t *index)
{
    eh_backend *on[2] = {backend, reference};
    const int64_t less = count - count / 4;
    const float *table = eh_test_random(6, table_rows * n, 0, 1), *x = eh_test_random(7, count * n, 2, 1), *got[2][4];
    for (int b = 0; b < 2; b++) {
        const eh_tensor t = eh_test_tensor(on[b], (eh_test_shape){table_rows, n, dtype}, table);
        const eh_tensor i = eh_test_index(on[b], count, index), few = eh_test_index(on[b], less, index);
        const eh_tensor y = eh_test_tensor(on[b], (eh_test_shape){count, n, dtype}, NULL);
        const eh_tensor more = eh_test_tensor(on[b], (eh_test_shape){less, n, EH_F32}, x);
        const eh_tensor sum = eh_test_tensor(on[b], (eh_test_shape){table_rows, n, EH_F32}, table);
        const eh_tensor tx = eh_test_tensor(on[b], (eh_test_shape){count, n, dtype}, x);
        const eh_tensor column = eh_test_tensor(on[b], (eh_test_shape){n, 0, EH_F32}, table);
        OK(eh_gather_rows(on[b], &t, &i, EH_WRITE, &y));
        OK(eh_gather_rows(on[b], &t, &few, EH_ADD, &more));
        OK(eh_scatter_add_rows(on[b], &tx, &i, &sum));
        OK(eh_column_sum(on[b], &tx, &column));
        const eh_tensor *outputs[] = {&y, &more, &sum, &column};
        for (int o = 0; o < 4; o++) got[b][o] = eh_test_values(outputs[o]);
    }
    const double sums = (double)(count + 16) * 0x1p-24 * 6; // |x| below 6
    assert_memory_equal(got[0][0], got[1][0], (size_t)(count * n) * sizeof(float));
    assert_memory_equal(got[0][1], got[1][1], (size_t)(less * n) * sizeof(float));
    // A GPU adds to a table of a few rows in chunks, as in a column sum.
    assert_true(
        eh_test_all_close("scatter", got[0][2], got[1][2], table_rows * n, 0, table_rows > 4 ? sums : sums * 66));
    assert_true(eh_test_all_close("column sum", got[0][3], got[1][3], n, 0, sums * 66)); // 64-row sums
    eh_test_free_tensors(backend);
    eh_test_free_tensors(reference);
    eh_test_free_random();
}

static void check_rows(eh_backend *backend, eh_backend *reference)
{
    const int64_t widths[] = {1, 9, 64, 300};
    int32_t index[600] = {3, 0, 6, 3, 3, 1, 6};
    for (int i = 7; i < 600; i++) index[i] = index[i - 7];
    for (int w = 0; w < 4; w++)
        for (int d = 0; d < DTYPES; d++) {
            check_rows_of(backend, reference, 7, widths[w], dtypes[d], 7, index);
            check_rows_of(backend, reference, 7, widths[w], dtypes[d], 150, index);
        }
    check_rows_of(backend, reference, 7, 24, EH_F32, 600, index); // more than a block of a GPU looks at together
    for (int i = 0; i < 600; i++) index[i] = i % 3 == 0;
    check_rows_of(backend, reference, 2, 300, EH_F32, 600, index); // token types
    check_rows_of(backend, reference, 40, 300, EH_BF16, 600, index);
}

static void check_random_rows(eh_backend *backend, eh_backend *reference)
{
    for (uint64_t i = 0; i < 40; i++) {
        const eh_philox_block r = eh_philox(7, EH_STREAM_TEST, i, 7);
        const int64_t table_rows = 1 + r.word[0] % 90, count = r.word[1] % 200;
        int32_t index[200];
        for (int64_t j = 0; j < count; j++)
            index[j] = (int32_t)(eh_philox(8, EH_STREAM_TEST, i, (uint32_t)j).word[0] % (uint64_t)table_rows);
        check_rows_of(backend, reference, table_rows, 1 + r.word[2] % 130, dtypes[r.word[3] % 3], count, index);
    }
}

typedef struct {
    int64_t rows, n;
    double mean, spread;
} norm_case;

// mode: RMS norm 1, with a residual 2, bf16 4, added to the gradient of x 8.
static void check_norm(eh_backend *backend, eh_backend *reference, const norm_case *c, unsigned mode)
{
    const eh_norm_kind kind = mode & 1 ? EH_RMS_NORM : EH_LAYER_NORM;
    const bool residual = mode & 2;
    const eh_dtype dtype = mode & 4 ? EH_BF16 : EH_F32;
    const eh_output_mode add = mode & 8 ? EH_ADD : EH_WRITE;
    const int64_t rows = c->rows, n = c->n;
    eh_backend *on[2] = {backend, reference};
    const float *x = eh_test_random(8, rows * n, c->mean, c->spread);
    const float *r = eh_test_random(9, rows * n, 0, c->spread), *w = eh_test_random(10, n, 1, 0.3);
    const float *bias = eh_test_random(11, n, 0, 1), *g = eh_test_random(12, rows * n, 0, 1), *got[2][7];
    for (int b = 0; b < 2; b++) {
        const eh_test_shape shape = {rows, n, dtype}, stat = {rows, 0, EH_F32}, vector = {n, 0, EH_F32};
        const eh_tensor tx = eh_test_tensor(on[b], shape, x), tr = eh_test_tensor(on[b], shape, r);
        const eh_tensor sum = eh_test_tensor(on[b], shape, NULL), y = eh_test_tensor(on[b], shape, NULL);
        const eh_tensor mean = eh_test_tensor(on[b], stat, NULL), scale = eh_test_tensor(on[b], stat, NULL);
        const eh_norm norm = {kind, 1e-5f, eh_test_tensor(on[b], vector, w),
                              mode & 1 ? none : eh_test_tensor(on[b], vector, bias)};
        OK(eh_norm_forward(on[b], &norm, &tx, residual ? &tr : &none, residual ? &sum : &none, &y, &mean, &scale));
        const eh_tensor gy = eh_test_tensor(on[b], shape, g), gx = eh_test_tensor(on[b], shape, add ? r : NULL);
        const eh_tensor gw = eh_test_tensor(on[b], vector, w), gb = eh_test_tensor(on[b], vector, bias);
        OK(eh_norm_backward(on[b], &norm, residual ? &sum : &tx, &mean, &scale, &gy, add, &gx, &gw, &gb));
        const eh_tensor *outputs[] = {&y,  &scale, kind == EH_LAYER_NORM ? &mean : &scale, residual ? &sum : &tx, &gx,
                                      &gw, &gb};
        for (int o = 0; o < 7; o++) got[b][o] = eh_test_values(outputs[o]);
    }
    const double unit = 0x1p-24, size = 1 + fabs(c->mean) / c->spread; // of x over its spread
    const double out = 3 * eh_test_rounding(dtype);
    assert_memory_equal(got[0][3], got[1][3], (size_t)(rows * n) * sizeof(float));
    assert_true(eh_test_all_close("norm y", got[0][0], got[1][0], rows * n, out + 16 * unit, 16 * unit * size));
    assert_true(eh_test_all_close("norm scale", got[0][1], got[1][1], rows, (16 + (double)n / 64) * unit * size, 0));
    assert_true(eh_test_all_close("norm mean", got[0][2], got[1][2], rows, 4 * unit + 1e-6, 16 * unit * size));
    const double slope = 40 * unit * size / fmax(c->spread, 1e-3) * (n == 1 ? 400 : 1);
    assert_true(eh_test_all_close("norm grad x", got[0][4], got[1][4], rows * n, out + 16 * unit, slope));
    const double sums = (double)(rows + 16) * unit * size * 20;
    assert_true(eh_test_all_close("norm grad weight", got[0][5], got[1][5], n, 16 * unit, sums));
    assert_true(eh_test_all_close("norm grad bias", got[0][6], got[1][6], n, 16 * unit, sums));
    eh_test_free_tensors(backend);
    eh_test_free_tensors(reference);
    eh_test_free_random();
}

// Mean 1000 with spread 1 is what a one-pass variance fails at. Each y carries the rounding of x - mean, 1000 units.
static void check_norms(eh_backend *backend, eh_backend *reference)
{
    const norm_case cases[] = {{1, 1, 0, 1},       {3, 7, 0, 1},    {5, 65, 1000, 1},
                               {33, 768, 0, 1e-3}, {2, 5000, 0, 1}, {0, 8, 0, 1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (unsigned mode = 0; mode < 16; mode++) check_norm(backend, reference, &cases[c], mode);
}

static void check_random_norms(eh_backend *backend, eh_backend *reference)
{
    for (uint64_t i = 0; i < 40; i++) {
        const eh_philox_block r = eh_philox(6, EH_STREAM_TEST, i, 7);
        const norm_case c = {.rows = r.word[0] % 25, .n = 2 + r.word[1] % 300, .mean = 0, .spread = 1};
        check_norm(backend, reference, &c, r.word[2] % 16);
    }
}

static void check_softmax_rows(eh_backend *backend, eh_backend *reference)
{
    const int64_t widths[] = {1, 5, 257, 5000};
    for (int w = 0; w < 4; w++) {
        eh_backend *on[2] = {backend, reference};
        const int64_t n = widths[w], rows = 3;
        float *z = (float *)(uintptr_t)eh_test_random(13, rows * n, 0, 30);
        if (n > 100) {
            z[50] = z[99] = 300; // equal maxima: the first counts
            for (int64_t j = 0; j < n; j++) z[n + j] = j % 3 == 0 ? -INFINITY : z[n + j];
        }
        if (n > 2048) // equal maxima again: a GPU's first thread has the later one, in its second round
            z[2 * n + 8] = z[2 * n + 2048] = 300;
        const float *got[2][2];
        for (int b = 0; b < 2; b++) {
            const eh_tensor logits = eh_test_tensor(on[b], (eh_test_shape){rows, n, EH_F32}, z);
            const eh_tensor index = eh_test_index(on[b], rows, NULL);
            OK(eh_argmax_rows(on[b], &logits, &index));
            OK(eh_log_softmax_rows(on[b], &logits));
            got[b][0] = eh_test_values(&logits);
            got[b][1] = eh_test_values(&index);
        }
        assert_true(eh_test_all_close("log softmax", got[0][0], got[1][0], rows * n, 2 * 0x1p-24, 2e-5));
        assert_memory_equal(got[0][1], got[1][1], (size_t)rows * sizeof(float));
        if (n > 100)
            assert_true(got[0][1][0] == 50);
        if (n > 2048)
            assert_true(got[0][1][2] == 8);
    }
}

// KL(q || p) of each row and its gradient, where log_q was.
static void check_divergence(eh_backend *backend, eh_backend *reference)
{
    const int64_t widths[] = {1, 5, 257, 5000};
    for (int w = 0; w < 4; w++) {
        eh_backend *on[2] = {backend, reference};
        const int64_t n = widths[w], rows = 3;
        float *p = (float *)(uintptr_t)eh_test_random(21, rows * n, 0, 3);
        float *q = (float *)(uintptr_t)eh_test_random(22, rows * n, 0, 3);
        for (int64_t j = 0; j < n; j++) { // of the first row: equal; of the last: some words are impossible
            q[j] = p[j];
            q[2 * n + j] = j % 3 == 1 ? -INFINITY : q[2 * n + j];
        }
        const float weights[] = {1, 0.25f, 2};
        const float *got[2][2];
        for (int b = 0; b < 2; b++) {
            const eh_tensor log_p = eh_test_tensor(on[b], (eh_test_shape){rows, n, EH_F32}, p);
            const eh_tensor log_q = eh_test_tensor(on[b], (eh_test_shape){rows, n, EH_F32}, q);
            const eh_tensor row_weight = eh_test_tensor(on[b], (eh_test_shape){rows, 0, EH_F32}, weights);
            const eh_tensor divergence = eh_test_tensor(on[b], (eh_test_shape){rows, 0, EH_F32}, NULL);
            OK(eh_log_softmax_rows(on[b], &log_p));
            OK(eh_log_softmax_rows(on[b], &log_q));
            OK(eh_divergence_rows(on[b], &log_p, &log_q, &row_weight, 0.5f, &divergence));
            got[b][0] = eh_test_values(&divergence);
            got[b][1] = eh_test_values(&log_q);
        }
        assert_true(eh_test_all_close("divergence", got[0][0], got[1][0], rows, 1e-4, 2e-5));
        assert_true(eh_test_all_close("divergence gradient", got[0][1], got[1][1], rows * n, 1e-4, 1e-6));
        assert_close(got[1][0][0], 0, 1e-6);
        assert_true(n == 1 || got[1][0][1] > 0.1f);
        double sum = 0; // each row's gradient adds up to 0
        for (int64_t j = 0; j < n; j++) sum += (double)got[1][1][n + j];
        assert_close(sum, 0, 1e-5);
    }
}

static void check_pull(eh_backend *backend, eh_backend *reference)
{
    for (int c = 0; c < COUNTS; c++)
        for (int has_importance = 0; has_importance < 2; has_importance++) {
            eh_backend *on[2] = {backend, reference};
            const int64_t n = counts[c];
            const float *w = eh_test_random(23, n, 0, 1), *a = eh_test_random(24, n, 0, 1);
            const float *f = eh_test_random(25, n, 1, 0.2), *g = eh_test_random(26, n, 0, 1), *got[2];
            for (int b = 0; b < 2; b++) {
                const eh_test_shape shape = {n, 0, EH_F32};
                const eh_tensor weights = eh_test_tensor(on[b], shape, w), anchor = eh_test_tensor(on[b], shape, a);
                const eh_tensor importance = eh_test_tensor(on[b], shape, f),
                                gradient = eh_test_tensor(on[b], shape, g);
                OK(eh_pull(on[b], 0.3f, &weights, &anchor, has_importance ? &importance : NULL, &gradient));
                got[b] = eh_test_values(&gradient);
            }
            assert_true(eh_test_all_close("pull", got[0], got[1], n, 4 * 0x1p-24, 8 * 0x1p-24));
            for (int64_t i = 0; i < n; i++) // the formula itself
                assert_close(got[1][i], g[i] + 0.3f * (has_importance ? f[i] : 1) * (w[i] - a[i]), 1e-5);
        }
}

static void check_optimiser(eh_backend *backend, eh_backend *reference)
{
    for (int c = 0; c < COUNTS; c++)
        for (int legacy = 0; legacy < 2; legacy++) {
            eh_backend *on[2] = {backend, reference};
            const int64_t n = counts[c];
            const float *w = eh_test_random(14, n, 0, 1), *g = eh_test_random(15, n, 0, 1),
                        *zero = eh_test_random(1, n, 0, 0);
            const float *got[2][4];
            double norm[2];
            for (int b = 0; b < 2; b++) {
                const eh_test_shape shape = {n, 0, EH_F32};
                const eh_tensor weights = eh_test_tensor(on[b], shape, w), gradient = eh_test_tensor(on[b], shape, g);
                const eh_tensor m = eh_test_tensor(on[b], shape, zero), v = eh_test_tensor(on[b], shape, zero);
                const eh_tensor copy = eh_test_tensor(on[b], (eh_test_shape){n, 0, EH_BF16}, NULL);
                for (int64_t step = 1; step <= 3; step++) {
                    const eh_adamw adamw = {1e-2f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, step, legacy == 1};
                    OK(eh_adamw_step(on[b], &adamw, &weights, &gradient, &m, &v, &copy));
                }
                OK(eh_squared_norm(on[b], &gradient, &norm[b]));
                const eh_tensor *outputs[] = {&weights, &m, &v, &copy};
                for (int o = 0; o < 4; o++) got[b][o] = eh_test_values(outputs[o]);
            }
            const double unit = 0x1p-24;
            assert_true(eh_test_all_close("adamw weights", got[0][0], got[1][0], n, 12 * unit, 3 * 1e-2 * 12 * unit));
            assert_true(eh_test_all_close("adamw m", got[0][1], got[1][1], n, 12 * unit, 0));
            assert_true(eh_test_all_close("adamw v", got[0][2], got[1][2], n, 12 * unit, 0));
            assert_true(eh_test_all_close("adamw copy", got[0][3], got[0][0], n, 0x1p-8, 0));
            assert_close(norm[0], norm[1], 1e-12 * norm[1]);
        }
}

// Runs at other places of each block, some where no vector begins, one longer than a block of a GPU takes, one empty.
static void check_runs(eh_backend *backend, eh_backend *reference)
{
    enum { N = 30000, HERE = 20000 };
    const eh_adamw_run runs[] = {{16, 0, 32, 9000, true},
                                 {9100, 9003, 9033, 7, false},
                                 {9200, 9100, 9200, 0, true},
                                 {9204, 9108, 9300, 501, true},
                                 {10000, 10000, 10000, 9999, false}};
    const int64_t count = sizeof runs / sizeof *runs;
    const float *w = eh_test_random(31, N, 0, 1), *g = eh_test_random(32, HERE, 0, 1), *m = eh_test_random(33, N, 0, 1);
    const float *v = eh_test_random(34, N, 1, 0), *got[2][4];
    eh_backend *on[2] = {backend, reference};
    for (int b = 0; b < 2; b++) {
        const eh_tensor weights = eh_test_tensor(on[b], (eh_test_shape){N, 0, EH_F32}, w);
        const eh_tensor gradient = eh_test_tensor(on[b], (eh_test_shape){HERE, 0, EH_F32}, g);
        const eh_tensor own_m = eh_test_tensor(on[b], (eh_test_shape){N, 0, EH_F32}, m);
        const eh_tensor own_v = eh_test_tensor(on[b], (eh_test_shape){N, 0, EH_F32}, v);
        const eh_tensor copy = eh_test_tensor(on[b], (eh_test_shape){N, 0, EH_F16}, w);
        for (int64_t step = 1; step <= 3; step++) { // the third one with fewer runs
            const eh_adamw adamw = {1e-2f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, step, false};
            OK(eh_adamw_runs(on[b], &adamw, runs, step < 3 ? count : 2, &weights, &gradient, &own_m, &own_v, &copy));
        }
        const eh_tensor *outputs[] = {&weights, &own_m, &own_v, &copy};
        for (int o = 0; o < 4; o++) got[b][o] = eh_test_values(outputs[o]);
    }
    const double unit = 0x1p-24;
    assert_true(eh_test_all_close("adamw runs, weights", got[0][0], got[1][0], N, 12 * unit, 3 * 1e-2 * 12 * unit));
    assert_true(eh_test_all_close("adamw runs, m", got[0][1], got[1][1], N, 12 * unit, 12 * unit));
    assert_true(eh_test_all_close("adamw runs, v", got[0][2], got[1][2], N, 12 * unit, 0));
    assert_true(eh_test_all_close("adamw runs, copy", got[0][3], got[1][3], N, 0x1p-10, 1e-7));
    assert_memory_equal(got[0][0], w, 16 * sizeof(float)); // before, between and behind runs nothing changes
    assert_memory_equal(got[0][0] + 9016, w + 9016, 84 * sizeof(float));
    assert_memory_equal(got[0][0] + 19999, w + 19999, (N - 19999) * sizeof(float));
}

// Pieces of stretches, some of several blocks of a GPU, beside the same in double.
static void check_norm_pieces(eh_backend *backend, eh_backend *reference)
{
    enum { N = 90000 };
    eh_backend *on[2] = {backend, reference};
    const float *x = eh_test_random(35, N, 0, 1);
    for (int b = 0; b < 2; b++) {
        const eh_tensor all = eh_test_tensor(on[b], (eh_test_shape){N, 0, EH_F32}, x);
        double sums[64];
        for (int i = 0; i < 64; i++) sums[i] = -1;
        const eh_norm_stretch stretches[] = {{16, 70001, 32768, sums},
                                             {0, 0, 4096, sums + 3},
                                             {3, 100, 7, sums + 3},
                                             {N - 8192, 8192, 4096, sums + 18},
                                             {5, 50000, 50000, sums + 20}};
        OK(eh_squared_norms(on[b], &all, stretches, 5));
        for (int s = 0; s < 5; s++)
            for (int64_t done = 0, piece = 0; done < stretches[s].count; done += stretches[s].piece, piece++) {
                double expected = 0;
                for (int64_t i = done; i < done + stretches[s].piece && i < stretches[s].count; i++)
                    expected += (double)x[stretches[s].first + i] * x[stretches[s].first + i];
                assert_close(stretches[s].sums[piece], expected, 1e-11 * expected);
            }
        assert_true(sums[21] == -1); // nothing behind them is written
    }
}

static void test_simple_operations_agree_to_the_bit(void **state)
{
    (void)state;
    eh_test_on_devices(check_equal_ops);
}
static void test_activations(void **state)
{
    (void)state;
    eh_test_on_devices(check_activations);
}
static void test_rows(void **state)
{
    (void)state;
    eh_test_on_devices(check_rows);
    eh_test_on_devices(check_random_rows);
}
static void test_norms(void **state)
{
    (void)state;
    eh_test_on_devices(check_norms);
    eh_test_on_devices(check_random_norms);
}
static void test_softmax_and_argmax(void **state)
{
    (void)state;
    eh_test_on_devices(check_softmax_rows);
}
static void test_optimiser(void **state)
{
    (void)state;
    eh_test_on_devices(check_optimiser);
    eh_test_on_devices(check_runs);
    eh_test_on_devices(check_norm_pieces);
}
static void test_divergence(void **state)
{
    (void)state;
    eh_test_on_devices(check_divergence);
}
static void test_pull(void **state)
{
    (void)state;
    eh_test_on_devices(check_pull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_operations_agree_to_the_bit),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_softmax_and_argmax),
        cmocka_unit_test(test_optimiser),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_pull),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    eh_test_print_worst();
    return failed;
}
