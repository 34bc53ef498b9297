#include "train/batches.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "support/cmocka.h"

static const eh_model_facts decoder = {.kind = EH_DECODER,
                                       .vocab_size = 1000,
                                       .max_length = 64,
                                       .special = {.bos = -1, .eos = 2, .pad = 3, .decoder_start = -1, .mask = -1}};
static const eh_model_facts translator = {.kind = EH_ENCODER_DECODER,
                                          .vocab_size = 1000,
                                          .max_length = 64,
                                          .special = {.bos = -1, .eos = 1, .pad = 0, .decoder_start = 0, .mask = -1}};
static const eh_model_facts masked = {.kind = EH_ENCODER,
                                      .vocab_size = 1000,
                                      .max_length = 64,
                                      .special = {.bos = -1, .eos = -1, .pad = 0, .decoder_start = -1, .mask = 103}};

static void add(eh_training_set *set, const char *layout, double replay, int64_t count, const int32_t *input,
                int64_t input_count, const int32_t *target, int64_t target_count, eh_split split)
{
    eh_examples examples = {0};
    for (int64_t i = 0; i < count; i++) {
        const eh_example example = {.input = input,
                                    .target = target,
                                    .input_count = input_count,
                                    .target_count = target_count,
                                    .source_row = (uint64_t)i,
                                    .split = split,
                                    .text = ""};
        assert_int_equal(eh_examples_add(&examples, &example), EH_OK);
    }
    const eh_job_data data = {.name = "test", .replay = replay};
    assert_int_equal(eh_training_set_add(set, &data, layout, &examples), EH_OK);
    eh_examples_deinit(&examples);
}

static void assert_list(const int32_t *found, const int32_t *expected, int64_t count)
{
    for (int64_t i = 0; i < count; i++) assert_int_equal(found[i], expected[i]);
}

static void check_layout(const eh_model_facts *facts, const char *layout, const int32_t *ids, int64_t id_count,
                         const int32_t *rows, const int32_t *labels, int64_t label_count, const int32_t *input,
                         int64_t input_count, const int32_t *target, int64_t target_count)
{
    eh_training_set set;
    assert_int_equal(eh_training_set_init(facts, &set), EH_OK);
    add(&set, layout, 0, 1, input, input_count, target, target_count, EH_SPLIT_TRAIN);
    assert_int_equal(set.count, 1);
    assert_int_equal(set.id_offsets[1], id_count);
    assert_int_equal(set.label_offsets[1], label_count);
    assert_list(set.ids, ids, id_count);
    assert_list(set.label_rows, rows, label_count);
    assert_list(set.label_ids, labels, label_count);
    eh_training_set_deinit(&set);
}

#define LIST(...) (const int32_t[]){__VA_ARGS__}, (int64_t)(sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t))
#define VALUES(...)   \
    (const int32_t[]) \
    {                 \
        __VA_ARGS__   \
    }

static void test_append_learns_the_completion_from_the_prompt(void **state)
{
    (void)state;
    check_layout(&decoder, "append", LIST(10, 11, 12, 20), VALUES(2, 3), LIST(20, 2), LIST(10, 11, 12), LIST(20, 2));
}

static void test_text_learns_every_next_token(void **state)
{
    (void)state;
    check_layout(&decoder, "append", LIST(10, 11, 12), VALUES(0, 1, 2), LIST(11, 12, 13), LIST(10, 11, 12, 13), NULL,
                 0);
}

// PROTOCOL 3.2: of the left-padded vectors position j holds both; the model shifts labels by one.
static void test_overlay_is_the_studys(void **state)
{
    (void)state;
    check_layout(&decoder, "overlay", LIST(10, 11, 12, 13, 14), VALUES(2, 3), LIST(20, 21), LIST(10, 11, 12, 13, 14),
                 LIST(20, 21));
}

static void test_masks_take_the_targets_in_order(void **state)
{
    (void)state;
    check_layout(&masked, "masked", LIST(101, 103, 12, 103, 102), VALUES(1, 3), LIST(20, 21),
                 LIST(101, 103, 12, 103, 102), LIST(20, 21));
}

static void test_decoder_begins_with_its_start_token(void **state)
{
    (void)state;
    eh_training_set set;
    assert_int_equal(eh_training_set_init(&translator, &set), EH_OK);
    add(&set, "seq2seq", 0, 1, LIST(10, 11, 1), LIST(20, 21, 1), EH_SPLIT_TRAIN);
    assert_list(set.decoder_ids, VALUES(0, 20, 21), 3);
    assert_list(set.label_rows, VALUES(0, 1, 2), 3);
    assert_list(set.label_ids, VALUES(20, 21, 1), 3);
    eh_training_set_deinit(&set);
}

static void test_refuses_what_the_model_does_not_have(void **state)
{
    (void)state;
    eh_training_set set;
    eh_examples examples = {0};
    const eh_job_data data = {.name = "mine"};
    const eh_example example = {.input = VALUES(5, 1000), .input_count = 2, .source_row = 41, .text = ""};
    assert_int_equal(eh_examples_add(&examples, &example), EH_OK);
    assert_int_equal(eh_training_set_init(&decoder, &set), EH_OK);
    assert_int_equal(eh_training_set_add(&set, &data, "append", &examples), EH_INPUT);
    assert_non_null(strstr(eh_error_message(), "'mine', source row 41"));
    assert_non_null(strstr(eh_error_message(), "1000"));
    assert_int_equal(eh_training_set_add(&set, &data, "masked", &examples), EH_INPUT);
    eh_training_set_deinit(&set);
    eh_examples_deinit(&examples);
}

// Sets of 23 and 10 examples, of lengths 2 .. 11, a tenth replayed set of 7, and 9 held out.
static void fill(eh_training_set *set)
{
    int32_t text[12];
    for (int32_t i = 0; i < 12; i++) text[i] = 100 + i;
    assert_int_equal(eh_training_set_init(&decoder, set), EH_OK);
    for (int64_t i = 0; i < 23; i++) add(set, "append", 0, 1, text, 2 + i % 10, NULL, 0, EH_SPLIT_TRAIN);
    add(set, "append", 0, 10, text, 3, LIST(7, 2), EH_SPLIT_TRAIN);
    add(set, "append", 0.25, 7, text, 4, NULL, 0, EH_SPLIT_TRAIN);
    add(set, "append", 0, 9, text, 6, NULL, 0, EH_SPLIT_HOLDOUT);
}

static void test_an_epoch_takes_every_example_once(void **state)
{
    (void)state;
    eh_training_set set;
    fill(&set);
    const eh_job_train train = {.epochs = 3, .batch = 8, .micro_batches = 3};
    eh_batches batches;
    assert_int_equal(eh_batches_init(&set, &train, 11, &batches), EH_OK);
    assert_int_equal(batches.steps_per_epoch, 6); // 33 examples, 6 of each 8 from these sets, 2 replayed
    assert_int_equal(batches.step_count, 18);
    const int64_t allocations = eh_allocation_count();
    int first_orders[33], same_order = 0;
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int times[64] = {0}, seen = 0;
        for (int64_t step = epoch * 6; step < epoch * 6 + 6; step++) {
            eh_batches_plan(&batches, step);
            int64_t replayed = 0, labels = 0;
            assert_int_equal(batches.micro_first[0], 0);
            assert_int_equal(batches.micro_first[3], batches.example_count);
            for (int64_t i = 0; i < batches.example_count; i++) {
                const int64_t e = batches.examples[i];
                assert_int_equal(set.splits[e], EH_SPLIT_TRAIN);
                labels += set.label_offsets[e + 1] - set.label_offsets[e];
                if (set.replay[set.source[e]] > 0) {
                    replayed++;
                    continue;
                }
                times[e]++;
                if (epoch == 0)
                    first_orders[seen] = (int)e;
                else
                    same_order += first_orders[seen] == (int)e;
                seen++;
            }
            assert_int_equal(replayed, 2);
            assert_int_equal(labels, batches.label_count);
        }
        assert_int_equal(seen, 33);
        for (int e = 0; e < 33; e++) assert_int_equal(times[e], 1);
    }
    assert_true(same_order < 33); // each epoch is shuffled anew
    assert_int_equal(eh_allocation_count(), allocations);
    assert_int_equal(batches.holdout_count, 9);
    assert_int_equal(batches.holdout_label_count, 45);
    eh_batches_deinit(&batches);
    eh_training_set_deinit(&set);
}

static void test_micro_batches_are_of_like_size(void **state)
{
    (void)state;
    eh_training_set set;
    fill(&set);
    const eh_job_train train = {.epochs = 1, .batch = 16, .micro_batches = 4};
    eh_batches batches;
    assert_int_equal(eh_batches_init(&set, &train, 5, &batches), EH_OK);
    eh_batches_plan(&batches, 0);
    int64_t least = INT64_MAX, most = 0;
    for (int64_t m = 0; m < 4; m++) {
        int64_t tokens = 0;
        for (int64_t i = batches.micro_first[m]; i < batches.micro_first[m + 1]; i++)
            tokens += set.id_offsets[batches.examples[i] + 1] - set.id_offsets[batches.examples[i]];
        least = tokens < least ? tokens : least;
        most = tokens > most ? tokens : most;
        assert_true(tokens <= batches.limits.tokens);
    }
    assert_true(most - least <= 10); // no more than the longest example
    eh_batches_deinit(&batches);
    eh_training_set_deinit(&set);
}

static void test_packs_end_to_end(void **state)
{
    (void)state;
    eh_training_set set;
    fill(&set);
    const eh_batch_limits limits = {.tokens = 64, .sequences = 4, .labels = 64};
    eh_packed_batch packed;
    assert_int_equal(eh_packed_batch_init(&limits, &packed), EH_OK);
    const int64_t examples[] = {3, 25, 0};
    eh_packed_batch_fill(&packed, &set, 1, 0, examples, 3, 0.5f);
    assert_int_equal(packed.batch.sequence_count, 3);
    const int64_t offsets[] = {0, 4, 8, 9};
    for (int i = 0; i < 4; i++) assert_int_equal(packed.batch.input_offsets[i], offsets[i]);
    assert_list(packed.batch.input_ids, VALUES(100, 101, 102, 103, 100, 101, 102, 7, 100), 9);
    assert_int_equal(packed.batch.label_count, 7);
    assert_list(packed.batch.label_rows, VALUES(0, 1, 2, 3, 6, 7, 8), 7);
    assert_list(packed.batch.label_ids, VALUES(101, 102, 103, 104, 7, 2, 101), 7);
    assert_true(packed.batch.label_weights[6] >= 0.5f && packed.batch.label_weights[6] <= 0.5f);
    eh_packed_batch_deinit(&packed);
    eh_training_set_deinit(&set);
}

// Prompts of three templates: what a group of them begins with alike is packed once, before them; labels keep their
// order and their ids.
static void test_packs_what_examples_begin_with_once(void **state)
{
    (void)state;
    eh_training_set set;
    assert_int_equal(eh_training_set_init(&decoder, &set), EH_OK);
    add(&set, "append", 0, 1, LIST(10, 11, 12, 13, 14, 20), LIST(7, 2), EH_SPLIT_TRAIN); // 0
    add(&set, "append", 0, 1, LIST(50, 51, 52, 53, 54), LIST(8, 2), EH_SPLIT_TRAIN);     // 1: all that 3 begins with
    add(&set, "append", 0, 1, LIST(10, 11, 12, 13, 14, 21, 22), LIST(9, 2), EH_SPLIT_TRAIN); // 2
    add(&set, "append", 0, 1, LIST(50, 51, 52, 53, 54, 55), LIST(6, 2), EH_SPLIT_TRAIN);     // 3
    add(&set, "append", 0, 1, LIST(10, 11, 12, 30), LIST(5, 2), EH_SPLIT_TRAIN);      // 4: begins with too little
    add(&set, "append", 0, 1, LIST(10, 11, 12, 13, 14, 21), NULL, 0, EH_SPLIT_TRAIN); // 5: learns from its start
    const int64_t examples[] = {0, 1, 2, 3, 4, 5};
    const eh_batch_limits limits = {.tokens = 64, .sequences = 9, .labels = 64};
    eh_packed_batch packed;
    assert_int_equal(eh_packed_batch_init(&limits, &packed), EH_OK);
    packed.shares = true;
    eh_packed_batch_fill(&packed, &set, 1, 0, examples, 6, 1);
    const eh_batch *batch = &packed.batch;
    assert_int_equal(batch->sequence_count, 8);
    // The prefixes stand in the order of the search; the one of the fifties is found first.
    assert_list(batch->input_ids, VALUES(50, 51, 52, 53, 10, 11, 12, 13, 14), 9);
    const int64_t offsets[] = {0, 4, 9, 11, 13, 16, 19, 24, 29};
    for (int i = 0; i < 9; i++) assert_int_equal(batch->input_offsets[i], offsets[i]);
    assert_list(batch->prefix, VALUES(-1, -1, 1, 0, 1, 0, -1, -1), 8);
    assert_list(batch->input_ids + 9, VALUES(20, 7, 54, 8, 21, 22, 9, 54, 55, 6, 10, 11, 12, 30, 5, 10, 11), 17);
    assert_list(batch->label_rows, VALUES(9, 10, 11, 12, 14, 15, 17, 18, 22, 23, 24, 25, 26, 27, 28), 15);
    assert_list(batch->label_ids, VALUES(7, 2, 8, 2, 9, 2, 6, 2, 5, 2, 11, 12, 13, 14, 21), 15);
    packed.shares = false;
    eh_packed_batch_fill(&packed, &set, 1, 0, examples, 6, 1);
    assert_int_equal(batch->sequence_count, 6);
    assert_null(batch->prefix);
    set.facts.kind = EH_ENCODER; // sees what comes behind
    packed.shares = true;
    eh_packed_batch_fill(&packed, &set, 1, 0, examples, 6, 1);
    assert_null(batch->prefix);
    eh_packed_batch_deinit(&packed);
    eh_training_set_deinit(&set);
}

static bool may_share(const eh_training_set *set, int64_t example, int64_t other, int64_t length)
{
    for (int64_t i = 0; i < length; i++)
        if (set->ids[set->id_offsets[example] + i] != set->ids[set->id_offsets[other] + i])
            return false;
    return length < set->id_offsets[example + 1] - set->id_offsets[example] &&
           length <= set->label_rows[set->label_offsets[example]];
}

// Of random prompts over two words every label still sees the tokens that it saw, every prefix has two readers, and of
// what is left whole no two begin alike.
static void test_sharing_loses_no_token(void **state)
{
    (void)state;
    eh_training_set set;
    enum { COUNT = 40 };
    int64_t examples[COUNT], whole = 0;
    assert_int_equal(eh_training_set_init(&decoder, &set), EH_OK);
    srand(7);
    for (int64_t e = 0; e < COUNT; e++) {
        int32_t text[12];
        const int64_t length = 1 + rand() % 12;
        for (int64_t i = 0; i < length; i++) text[i] = 10 + rand() % 4 / 3;
        add(&set, "append", 0, 1, text, length, LIST(7, 2), EH_SPLIT_TRAIN);
        examples[e] = e;
        whole += set.id_offsets[e + 1] - set.id_offsets[e];
    }
    const eh_batch_limits limits = {.tokens = whole, .sequences = COUNT + COUNT / 2, .labels = 2 * COUNT};
    eh_packed_batch packed;
    assert_int_equal(eh_packed_batch_init(&limits, &packed), EH_OK);
    packed.shares = true;
    const int64_t allocations = eh_allocation_count();
    eh_packed_batch_fill(&packed, &set, 1, 0, examples, COUNT, 1);
    assert_int_equal(eh_allocation_count(), allocations);
    const eh_batch *batch = &packed.batch;
    const int64_t prefixes = batch->sequence_count - COUNT;
    int64_t readers[COUNT] = {0};
    assert_true(prefixes > 0 && prefixes <= COUNT / 2);
    assert_true(batch->input_offsets[batch->sequence_count] < whole);
    for (int64_t e = 0; e < COUNT; e++) {
        const int64_t s = prefixes + e, first = set.id_offsets[e], tokens = set.id_offsets[e + 1] - first;
        const int32_t p = batch->prefix[s];
        const int64_t left_out = p < 0 ? 0 : batch->input_offsets[p + 1] - batch->input_offsets[p];
        assert_int_equal(left_out + batch->input_offsets[s + 1] - batch->input_offsets[s], tokens);
        if (p >= 0) {
            assert_true(p < prefixes && left_out >= 4);
            readers[p]++;
            assert_list(batch->input_ids + batch->input_offsets[p], set.ids + first, left_out);
        }
        assert_list(batch->input_ids + batch->input_offsets[s], set.ids + first + left_out, tokens - left_out);
        for (int64_t l = set.label_offsets[e]; l < set.label_offsets[e + 1]; l++) {
            assert_int_equal(batch->label_rows[l], batch->input_offsets[s] + set.label_rows[l] - left_out);
            assert_true(batch->label_rows[l] >= batch->input_offsets[s]);
            assert_int_equal(batch->label_ids[l], set.label_ids[l]);
        }
        for (int64_t other = 0; other < e; other++) // two that are whole have nothing worth sharing
            assert_false(p < 0 && batch->prefix[prefixes + other] < 0 && may_share(&set, e, other, 4) &&
                         may_share(&set, other, e, 4));
    }
    for (int64_t p = 0; p < prefixes; p++) assert_true(readers[p] >= 2);
    eh_packed_batch_deinit(&packed);
    eh_training_set_deinit(&set);
}

// Masked language modelling: about 15 % of the tokens, other ones in each pass, never the special tokens at the ends.
static void test_draws_masks_anew_in_each_pass(void **state)
{
    (void)state;
    int32_t text[52];
    for (int32_t i = 0; i < 52; i++) text[i] = i == 0 ? 101 : i == 51 ? 102 : 200 + i;
    eh_training_set set;
    assert_int_equal(eh_training_set_init(&masked, &set), EH_OK);
    add(&set, "masked", 0, 40, text, 52, NULL, 0, EH_SPLIT_TRAIN);
    const eh_batch_limits limits = {.tokens = 52, .sequences = 1, .labels = 50};
    eh_packed_batch packed;
    assert_int_equal(eh_packed_batch_init(&limits, &packed), EH_OK);
    int64_t learnt = 0, hidden = 0, in_both = 0;
    for (int64_t e = 0; e < 40; e++) {
        int previous[52] = {0};
        for (int64_t pass = 0; pass < 2; pass++) {
            eh_packed_batch_fill(&packed, &set, 9, pass, &e, 1, 1);
            assert_int_equal(packed.batch.label_count, eh_example_label_count(&set, 9, pass, e));
            assert_int_equal(packed.ids[0], 101);
            assert_int_equal(packed.ids[51], 102);
            learnt += packed.batch.label_count;
            for (int64_t l = 0; l < packed.batch.label_count; l++) {
                const int32_t row = packed.label_rows[l];
                assert_int_equal(packed.label_ids[l], 200 + row);
                hidden += packed.ids[row] == 103;
                in_both += previous[row];
                previous[row] = 1;
            }
        }
    }
    const double share = (double)learnt / (40 * 2 * 50), masks = (double)hidden / (double)learnt;
    assert_true(share > 0.13 && share < 0.19); // 15 %, and a token at least of each
    assert_true(masks > 0.74 && masks < 0.86);
    assert_true(in_both < learnt / 4);
    eh_packed_batch_deinit(&packed);
    eh_training_set_deinit(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_learns_the_completion_from_the_prompt),
        cmocka_unit_test(test_text_learns_every_next_token),
        cmocka_unit_test(test_overlay_is_the_studys),
        cmocka_unit_test(test_masks_take_the_targets_in_order),
        cmocka_unit_test(test_decoder_begins_with_its_start_token),
        cmocka_unit_test(test_refuses_what_the_model_does_not_have),
        cmocka_unit_test(test_an_epoch_takes_every_example_once),
        cmocka_unit_test(test_micro_batches_are_of_like_size),
        cmocka_unit_test(test_packs_end_to_end),
        cmocka_unit_test(test_packs_what_examples_begin_with_once),
        cmocka_unit_test(test_sharing_loses_no_token),
        cmocka_unit_test(test_draws_masks_anew_in_each_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
