// Noise on weights: its size relative to each parameter, the same draws at every strength, and back again.
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "model/noise.h"
#include "support/cmocka.h"

static const char *const bloom = "{\"model_type\":\"bloom\",\"vocab_size\":61,\"hidden_size\":20,\"n_head\":5,"
                                 "\"n_layer\":3,\"initializer_range\":0.5,\"bos_token_id\":1,\"eos_token_id\":2}";

typedef struct {
    eh_backend *backend;
    eh_model *model;
    eh_noise noise;
    int64_t count;
    float *values;
} bench;

static void open(bench *b, uint64_t seed)
{
    *b = (bench){0};
    assert_int_equal(eh_backend_open("cpu", 0, 1, &b->backend), EH_OK);
    assert_int_equal(eh_model_new(b->backend, bloom, 7, EH_F32, EH_FOR_TRAINING, &b->model), EH_OK);
    assert_int_equal(eh_noise_init(b->backend, b->model, seed, &b->noise), EH_OK);
    b->count = eh_model_weight_count(b->model);
    assert_int_equal(EH_ALLOC(b->count, &b->values), EH_OK);
}

static void apply_draw(bench *b, int64_t draw, double strength)
{
    const eh_tensor weights = eh_model_weights(b->model);
    assert_int_equal(eh_noise_apply(&b->noise, draw, strength), EH_OK);
    assert_int_equal(eh_backend_download(b->backend, &weights, b->values), EH_OK);
}

static void apply(bench *b, double strength)
{
    apply_draw(b, 0, strength);
}

static void close(bench *b)
{
    eh_free(&b->values);
    eh_noise_deinit(&b->noise);
    eh_model_close(&b->model);
    eh_backend_close(&b->backend);
}

// Root mean square of (noisy - clean) / root mean square of clean, of one parameter.
static double relative_change(const bench *b, const eh_parameter *parameter)
{
    double change = 0, size = 0;
    for (int64_t i = parameter->offset; i < parameter->offset + parameter->count; i++) {
        const double clean = b->noise.weights[i], noisy = b->values[i];
        change += (noisy - clean) * (noisy - clean);
        size += clean * clean;
    }
    return size > 0 ? sqrt(change / size) : change > 0 ? INFINITY : 0;
}

static void test_every_parameter_changes_by_the_same_share(void **state)
{
    (void)state;
    bench b;
    open(&b, 1);
    apply(&b, 0.25);
    int large = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(b.model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(b.model)[p];
        const double change = relative_change(&b, parameter);
        if (b.noise.weights[parameter->offset] == 0) // biases begin at 0, and stay there
            assert_true(change == 0);
        else // sampling error of a standard deviation: 1 / sqrt(2 n)
            assert_true(fabs(change / 0.25 - 1) < 4 / sqrt(2 * (double)parameter->count));
        large += parameter->count >= 400 && change > 0;
    }
    assert_true(large >= 10);
    close(&b);
}

static void test_a_stronger_noise_is_the_same_one_longer(void **state)
{
    (void)state;
    bench b;
    double worst = 0;
    float *weak = NULL;
    open(&b, 1);
    apply(&b, 0.125);
    assert_int_equal(EH_ALLOC(b.count, &weak), EH_OK);
    memcpy(weak, b.values, (size_t)b.count * sizeof *weak);
    apply(&b, 0.5);
    for (int64_t i = 0; i < b.count; i++) {
        const double clean = b.noise.weights[i];
        worst = fmax(worst, fabs((b.values[i] - clean) - 4 * (weak[i] - clean)));
    }
    assert_true(worst < 1e-5);
    apply(&b, 0);
    assert_memory_equal(b.values, b.noise.weights, (size_t)b.count * sizeof(float));
    eh_free(&weak);
    close(&b);
}

static void test_the_draws_depend_on_seed_and_name(void **state)
{
    (void)state;
    bench first, second;
    open(&first, 1);
    open(&second, 2);
    apply(&first, 0.1);
    apply(&second, 0.1);
    double product = 0, a = 0, b = 0;
    for (int64_t i = 0; i < first.count; i++) {
        const double x = first.values[i] - first.noise.weights[i], y = second.values[i] - second.noise.weights[i];
        product += x * y;
        a += x * x;
        b += y * y;
    }
    assert_true(a > 0 && fabs(product / sqrt(a * b)) < 0.05);
    close(&first);
    close(&second);
}

// The same noise the other way; another draw has nothing to do with it.
static void test_both_signs_and_several_draws(void **state)
{
    (void)state;
    bench b;
    float *up = NULL;
    double worst = 0, product = 0, squares = 0, others = 0;
    open(&b, 1);
    apply(&b, 0.25);
    assert_int_equal(EH_ALLOC(b.count, &up), EH_OK);
    for (int64_t i = 0; i < b.count; i++) up[i] = b.values[i] - b.noise.weights[i];
    apply(&b, -0.25);
    for (int64_t i = 0; i < b.count; i++)
        worst = fmax(worst, fabs((double)b.values[i] - (double)b.noise.weights[i] + (double)up[i]));
    assert_true(worst < 1e-6);
    apply_draw(&b, 1, 0.25);
    for (int64_t i = 0; i < b.count; i++) {
        const double other = b.values[i] - b.noise.weights[i];
        product += up[i] * other;
        squares += up[i] * up[i];
        others += other * other;
    }
    assert_true(fabs(others / squares - 1) < 0.05 && fabs(product / squares) < 0.05);
    eh_free(&up);
    close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_parameter_changes_by_the_same_share),
        cmocka_unit_test(test_a_stronger_noise_is_the_same_one_longer),
        cmocka_unit_test(test_the_draws_depend_on_seed_and_name),
        cmocka_unit_test(test_both_signs_and_several_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
