// Prompts of one item are read in parts that several of them begin with; that changes no bit of their scores.
#include <string.h>

#include "core/memory.h"
#include "metrics/batch_internal.h"
#include "support/cmocka.h"

enum { SHARED = 6, PART = 5, TAIL = 4, ORDERS = 6, MOST = 32 };

static const char *const configs[] = {
    "{\"model_type\":\"bloom\",\"vocab_size\":60,\"hidden_size\":32,\"n_head\":4,\"n_layer\":3,"
    "\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2}",
    "{\"model_type\":\"gpt2\",\"vocab_size\":60,\"n_embd\":32,\"n_head\":4,\"n_layer\":3,\"n_positions\":64,"
    "\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2}"};

// What all begin with, three parts in the order of the prompt, and an end; another prompt begins like all others only.
static int64_t write_prompt(int order, int32_t *ids)
{
    static const int orders[ORDERS][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    int64_t count = 0;
    for (int32_t i = 0; i < SHARED; i++) ids[count++] = 3 + i;
    for (int part = 0; order < ORDERS && part < 3; part++)
        for (int32_t i = 0; i < PART; i++) ids[count++] = 10 + 10 * orders[order][part] + i;
    for (int32_t i = 0; i < TAIL; i++) ids[count++] = 50 + i + (order == ORDERS);
    return count;
}

// Scores of prompts [first, end) as one item.
static void score(eh_batcher *batcher, int first, int end, float *found)
{
    static const int32_t choices[] = {20, 30, 40};
    eh_asked asked = {.requests = {.decoder_start = -1}}, *list[] = {&asked};
    for (int order = first; order < end; order++) {
        int32_t ids[MOST];
        const int64_t count = write_prompt(order, ids);
        assert_int_equal(eh_request_next(&asked.requests, ids, count, choices, 3), EH_OK);
    }
    assert_int_equal(eh_batcher_score(batcher, list, 1), EH_OK);
    for (int s = 0; s < end - first; s++) {
        assert_int_equal(asked.label_first[s + 1] - asked.label_first[s], 3);
        memcpy(found + 3 * s, asked.log_probabilities + asked.label_first[s], 3 * sizeof *found);
    }
    eh_requests_deinit(&asked.requests);
    eh_free(&asked.label_first);
    eh_free(&asked.tags);
    eh_free(&asked.log_probabilities);
}

static void test_orders_of_one_question_score_as_each_alone(void **state)
{
    (void)state;
    const int64_t budgets[] = {4096, 60}; // in one batch; cut where the contexts must be read again
    for (int c = 0; c < 2; c++)
        for (int b = 0; b < 2; b++) {
            eh_backend *backend = NULL;
            eh_model *model = NULL;
            eh_batcher *batcher = NULL;
            float together[3 * (ORDERS + 1)], alone[3 * (ORDERS + 1)];
            assert_int_equal(eh_backend_open("cpu", 0, 1, &backend), EH_OK);
            assert_int_equal(eh_model_new(backend, configs[c], 4, EH_F32, EH_FOR_INFERENCE, &model), EH_OK);
            assert_int_equal(eh_batcher_new(model, budgets[b], &batcher), EH_OK);
            score(batcher, 0, ORDERS + 1, together);
            for (int order = 0; order <= ORDERS; order++) score(batcher, order, order + 1, alone + 3 * order);
            assert_memory_equal(together, alone, sizeof alone);
            assert_true(alone[0] < alone[3] || alone[0] > alone[3]); // the order matters
            eh_batcher_free(&batcher);
            eh_model_close(&model);
            eh_backend_close(&backend);
        }
}

static void test_a_part_that_several_begin_with_is_counted_once(void **state)
{
    (void)state;
    static const int32_t choices[] = {20, 30, 40};
    eh_requests requests = {.decoder_start = -1};
    int64_t all = 0;
    for (int order = 0; order <= ORDERS; order++) {
        int32_t ids[MOST];
        const int64_t count = write_prompt(order, ids);
        all += count;
        assert_int_equal(eh_request_next(&requests, ids, count, choices, 3), EH_OK);
    }
    assert_int_equal(eh_requests_read_count(&requests), all); // as they were asked
    eh_requests_find_prefixes(EH_ENCODER, &requests);
    assert_int_equal(eh_requests_read_count(&requests), all); // only a decoder can share
    eh_requests_find_prefixes(EH_DECODER, &requests);
    // The beginning, each of three parts behind it, what follows in six orders, and the seventh's end.
    assert_int_equal(eh_requests_read_count(&requests), SHARED + 3 * PART + ORDERS * (2 * PART + TAIL) + TAIL);
    eh_requests_deinit(&requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_of_one_question_score_as_each_alone),
        cmocka_unit_test(test_a_part_that_several_begin_with_is_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
