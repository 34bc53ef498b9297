// Drawing tokens on every device: cases by hand, and the reference's tokens for random rows, ties, bans and penalties.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "core/philox.h"
#include "support/cmocka.h"
#include "support/device.h"

#define OK(call) assert_int_equal((call), EH_OK)

typedef struct {
    int64_t rows, vocab, top_k;
    double temperature, top_p, penalty;
    int32_t edits[8][3];
    int64_t edit_count;
    bool draws;
} sampling_case;

static eh_tensor draws_on(eh_backend *backend, int64_t rows, const double *draws)
{
    int32_t *bits = malloc((size_t)rows * 8 + 8);
    assert_non_null(bits);
    memcpy(bits, draws, (size_t)rows * 8);
    eh_tensor tensor = eh_test_index(backend, 2 * rows, bits);
    free(bits);
    return eh_tensor_reshape(&tensor, 2, (int64_t[]){rows, 2});
}

static const float *sample_on(eh_backend *backend, const sampling_case *c, const float *logits, const double *draws)
{
    eh_sampling sampling = {.logits = eh_test_tensor(backend, (eh_test_shape){c->rows, c->vocab, EH_F32}, logits),
                            .penalty = c->penalty,
                            .temperature = c->temperature,
                            .top_p = c->top_p,
                            .top_k = c->top_k,
                            .index = eh_test_index(backend, c->rows, NULL)};
    if (c->edit_count > 0) {
        const eh_tensor edits = eh_test_index(backend, 3 * c->edit_count, c->edits[0]);
        sampling.edits = eh_tensor_reshape(&edits, 2, (int64_t[]){c->edit_count, 3});
    }
    if (c->draws)
        sampling.draws = draws_on(backend, c->rows, draws);
    OK(eh_sample_rows(backend, &sampling));
    return eh_test_values(&sampling.index);
}

static void check_by_hand(eh_backend *backend, eh_backend *reference)
{
    (void)reference;
    // Probabilities 1/8, 1/2, 1/8, 1/4 by id; falling: 1, 3, 0, 2.
    const float logits[] = {logf(0.125f), logf(0.5f), logf(0.125f), logf(0.25f)};
    static const struct {
        int64_t top_k;
        double top_p, temperature, u;
        int32_t token;
    } cases[] = {
        {0, 1, 1, 0.0, 0},     {0, 1, 1, 0.12, 0},   {0, 1, 1, 0.13, 1},   {0, 1, 1, 0.64, 2},   {0, 1, 1, 0.999, 3},
        {1, 1, 1, 0.999, 1},   {2, 1, 1, 0.66, 1},   {2, 1, 1, 0.67, 3},   {3, 1, 1, 0.99, 0},   {4, 1, 1, 0.99, 3},
        {0, 0.4, 1, 0.99, 1},  {0, 0.7, 1, 0.67, 3}, {0, 0.8, 1, 0.99, 0}, {0, 0.9, 1, 0.99, 2}, {2, 0.6, 1, 0.99, 1},
        {2, 0.67, 1, 0.99, 3}, {3, 0.9, 1, 0.99, 0}, // top-p within what top-k left
        {2, 1, 0.5, 0.79, 1},  {2, 1, 0.5, 0.81, 3}, // squares: 4/5 and 1/5
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sampling_case c = {1, 4, cases[i].top_k, cases[i].temperature, cases[i].top_p, 1, {{0}}, 0, true};
        const int32_t found = (int32_t)*sample_on(backend, &c, logits, &cases[i].u);
        if (found != cases[i].token)
            fail_msg("case %zu: token %d, expected %d", i, (int)found, (int)cases[i].token);
    }
    // The likeliest token is banned, the next is penalised; of logits above 0, below 0.
    const float mixed[] = {2.0f, 3.0f, -1.0f, 1.5f};
    const sampling_case banned = {1, 4, 0, 1, 1, 2, {{0, 1, 1}, {0, 0, 0}}, 2, false};
    assert_int_equal((int)*sample_on(backend, &banned, mixed, NULL), 3);
    const float below[] = {-2.0f, -1.9f, -3.0f, -5.0f};
    const sampling_case penalised = {1, 4, 0, 1, 1, 2, {{0, 1, 0}}, 1, false};
    assert_int_equal((int)*sample_on(backend, &penalised, below, NULL), 0);
}

static void test_by_hand(void **state)
{
    (void)state;
    eh_test_on_devices(check_by_hand);
}

// A row that holds NaN has no token, wherever it is and however tokens are chosen; its neighbours have theirs.
static void check_nan(eh_backend *backend, eh_backend *reference)
{
    (void)reference;
    enum { VOCAB = 5000 };
    const int64_t places[] = {0, 1, 2500, VOCAB - 1};
    const double draws[3] = {0.5, 0.5, 0.5};
    for (int p = 0; p < 4; p++)
        for (int kind = 0; kind < 4; kind++) { // the likeliest, with an edit, drawn from all, from the best
            float *logits = (float *)(uintptr_t)eh_test_random(70, 3 * VOCAB, 0, 3);
            const sampling_case c = {3, VOCAB,       kind == 3 ? 50 : 0, 1,        kind == 3 ? 0.9 : 1,
                                     2, {{1, 7, 0}}, kind == 1,          kind >= 2};
            const float *whole = sample_on(backend, &c, logits, draws);
            const float first = whole[0], last = whole[2];
            logits[VOCAB + places[p]] = NAN;
            const float *found = sample_on(backend, &c, logits, draws);
            if (found[0] != first || found[1] != -1 || found[2] != last)
                fail_msg("NaN at %d, kind %d: tokens %g %g %g", (int)places[p], kind, found[0], found[1], found[2]);
        }
}

static void test_nan_has_no_token(void **state)
{
    (void)state;
    eh_test_on_devices(check_nan);
}

static void check_random(eh_backend *backend, eh_backend *reference)
{
    static const sampling_case cases[] = {
        {2, 1, 0, 1, 1, 1, {{0}}, 0, true},
        {3, 7, 3, 0.7, 1, 1, {{0}}, 0, true},
        {5, 257, 0, 1, 1, 1, {{0}}, 0, true},
        {5, 300, 40, 0.8, 0.9, 1, {{0}}, 0, true},
        {4, 1000, 0, 1.3, 0.6, 1, {{0}}, 0, true},
        {4, 999, 50, 1, 1, 1.2, {{0, 3, 0}, {3, 998, 1}, {1, 0, 0}}, 3, true},
        {3, 515, 0, 1, 1, 1, {{1, 7, 1}}, 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sampling_case *c = &cases[i];
        float *logits = (float *)(uintptr_t)eh_test_random(90 + i, c->rows * c->vocab, 0, 3);
        double draws[8];
        for (int64_t v = 0; v < c->rows * c->vocab && i % 2 == 1; v++) logits[v] = roundf(2 * logits[v]) / 2; // ties
        for (int64_t r = 0; r < c->rows; r++) draws[r] = eh_random_uniform(7 + i, EH_STREAM_TEST, (uint64_t)r);
        draws[0] = i % 3 == 0 ? 0 : i % 3 == 1 ? 0.99999999 : draws[0];
        const float *found = sample_on(backend, c, logits, draws), *expected = sample_on(reference, c, logits, draws);
        for (int64_t r = 0; r < c->rows; r++)
            if (found[r] != expected[r])
                fail_msg("case %zu, row %d: token %g, expected %g", i, (int)r, found[r], expected[r]);
    }
}

static void test_as_the_reference(void **state)
{
    (void)state;
    eh_test_on_devices(check_random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_nan_has_no_token),
        cmocka_unit_test(test_as_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
