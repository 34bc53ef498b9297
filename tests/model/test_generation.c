// Generation on random models: each setting against a plain account of what it means, computed from the model's logits
// without a cache; sampled distributions by Pearson's test.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "model/generate.h"
#include "support/close.h"
#include "support/cmocka.h"

enum { VOCABULARY = 13, ROOM = 48 };
static const char *const bloom = "{\"model_type\":\"bloom\",\"vocab_size\":13,\"hidden_size\":20,\"n_head\":5,"
                                 "\"n_layer\":3,\"initializer_range\":0.5}";
static const char *const gpt2 = "{\"model_type\":\"gpt2\",\"vocab_size\":13,\"n_embd\":20,\"n_head\":5,"
                                "\"n_layer\":2,\"n_positions\":32,\"initializer_range\":0.5}";
static const char *const t5 = "{\"model_type\":\"t5\",\"vocab_size\":13,\"d_model\":20,\"d_kv\":6,\"d_ff\":24,"
                              "\"num_heads\":5,\"num_layers\":2,\"pad_token_id\":0,\"eos_token_id\":1}";
static const char *const bert = "{\"model_type\":\"bert\",\"vocab_size\":13,\"hidden_size\":20,"
                                "\"num_attention_heads\":5,\"num_hidden_layers\":2,\"intermediate_size\":24}";

typedef struct {
    eh_backend *backend;
    eh_model *model;
} opened;

static opened open_new(const char *config)
{
    opened own = {0};
    assert_int_equal(eh_backend_open("cpu", 0, 1, &own.backend), EH_OK);
    if (eh_model_new(own.backend, config, 5, EH_F32, EH_FOR_INFERENCE, &own.model) != EH_OK)
        fail_msg("%s", eh_error_message());
    return own;
}

static void close_all(opened *own)
{
    eh_model_close(&own->model);
    eh_backend_close(&own->backend);
}

static eh_generation greedy(int64_t max_new_tokens)
{
    return (eh_generation){.max_new_tokens = max_new_tokens,
                           .samples = 1,
                           .temperature = 1,
                           .top_p = 1,
                           .repetition_penalty = 1,
                           .eos = -1,
                           .seed = 11};
}

static eh_generation sampling(int64_t max_new_tokens, int64_t samples)
{
    eh_generation settings = greedy(max_new_tokens);
    settings.sample = true;
    settings.samples = samples;
    return settings;
}

// --- What is generated --------------------------------------------------------------------------------------------
typedef struct {
    int32_t ids[6][4][ROOM]; // [item][sample]
    int64_t counts[6][4], texts;
    bool by_eos[6][4];
} texts;

static eh_status keep(void *context, const eh_generated *text)
{
    texts *own = context;
    own->texts++;
    own->counts[text->item][text->sample] = text->count;
    own->by_eos[text->item][text->sample] = text->ended_by_eos;
    memcpy(own->ids[text->item][text->sample], text->ids, (size_t)text->count * sizeof *text->ids);
    return EH_OK;
}

// Prompts of 1, 3, 30, 2, 7 and 4 tokens.
enum { PROMPTS = 6 };
static const int64_t prompt_offsets[PROMPTS + 1] = {0, 1, 4, 34, 36, 43, 47};
static const int64_t prompt_items[PROMPTS] = {0, 1, 2, 3, 4, 5};

static void make_prompts(int32_t ids[47])
{
    for (int i = 0; i < 47; i++) ids[i] = 2 + i * 7 % 11;
}

static void generate(opened *own, const eh_generation *settings, int64_t first, int64_t count, texts *found)
{
    int32_t ids[47];
    int64_t offsets[PROMPTS + 1];
    make_prompts(ids);
    for (int64_t i = 0; i <= count; i++) offsets[i] = prompt_offsets[first + i] - prompt_offsets[first];
    if (eh_generate(own->model, settings, count, ids + prompt_offsets[first], offsets, prompt_items + first, keep,
                    found) != EH_OK)
        fail_msg("%s", eh_error_message());
}

// --- The same by the model's logits, without a cache --------------------------------------------------------------
static void next_logits(opened *own, const int32_t *prompt, int64_t prompt_count, const int32_t *ids, int64_t count,
                        float logits[VOCABULARY])
{
    const bool has_source = eh_model_kind_of(own->model) == EH_ENCODER_DECODER;
    const int64_t offsets[] = {0, has_source ? prompt_count : count}, decoder_offsets[] = {0, count};
    const int32_t row = (int32_t)count - 1;
    const eh_batch batch = {.sequence_count = 1,
                            .input_ids = has_source ? prompt : ids,
                            .input_offsets = offsets,
                            .decoder_ids = ids,
                            .decoder_offsets = decoder_offsets,
                            .label_count = 1,
                            .label_rows = &row};
    assert_int_equal(eh_model_reserve(own->model, &(eh_batch_limits){96, 96, 1, 1}), EH_OK);
    assert_int_equal(eh_model_logits(own->model, &batch, logits), EH_OK);
}

static bool completes_repeat(const int32_t *ids, int64_t count, int64_t n, int32_t next)
{
    for (int64_t i = 0; i + n <= count; i++) {
        bool equal = ids[i + n - 1] == next;
        for (int64_t k = 0; k + 1 < n; k++) equal = equal && ids[i + k] == ids[count - (n - 1) + k];
        if (equal)
            return true;
    }
    return false;
}

static int32_t best_token(const eh_generation *settings, const int32_t *ids, int64_t count, int64_t made,
                          const float *logits)
{
    int32_t best = -1;
    double best_score = 0;
    for (int32_t v = 0; v < VOCABULARY; v++) {
        double score = logits[v];
        bool seen = false;
        for (int64_t i = 0; i < count; i++) seen = seen || ids[i] == v;
        if (seen)
            score = score > 0 ? score / settings->repetition_penalty : score * settings->repetition_penalty;
        if ((settings->no_repeat_ngram > 0 && count + 1 >= settings->no_repeat_ngram &&
             completes_repeat(ids, count, settings->no_repeat_ngram, v)) ||
            (v == settings->eos && made < settings->min_new_tokens))
            continue;
        if (best < 0 || score > best_score) {
            best = v;
            best_score = score;
        }
    }
    return best;
}

static void expect_as_without_cache(opened *own, const eh_generation *settings)
{
    texts found = {.texts = 0};
    int32_t prompts[47];
    const bool has_source = eh_model_kind_of(own->model) == EH_ENCODER_DECODER;
    make_prompts(prompts);
    generate(own, settings, 0, PROMPTS, &found);
    assert_int_equal(found.texts, PROMPTS);
    for (int p = 0; p < PROMPTS; p++) {
        const int32_t *prompt = prompts + prompt_offsets[p];
        const int64_t length = prompt_offsets[p + 1] - prompt_offsets[p], given = has_source ? 1 : length;
        int32_t ids[2 * ROOM] = {0};
        int64_t count = given;
        bool by_eos = false;
        if (!has_source)
            memcpy(ids, prompt, (size_t)length * sizeof *ids);
        while (!by_eos && count - given < settings->max_new_tokens && count < eh_model_max_length(own->model)) {
            float logits[VOCABULARY];
            next_logits(own, prompt, length, ids, count, logits);
            const int32_t next = best_token(settings, ids, count, count - given, logits);
            by_eos = next == settings->eos;
            if (!by_eos)
                ids[count++] = next;
        }
        assert_int_equal(found.counts[p][0], count - given);
        assert_int_equal(found.by_eos[p][0], by_eos);
        assert_memory_equal(found.ids[p][0], ids + given, (size_t)(count - given) * sizeof *ids);
    }
}

static void test_greedy_texts_are_those_without_a_cache(void **state)
{
    (void)state;
    const char *configs[] = {bloom, gpt2, t5};
    for (int c = 0; c < 3; c++) {
        opened own = open_new(configs[c]);
        eh_generation settings = greedy(20); // GPT-2's positions end before the third text
        for (int64_t slots = 1; slots <= 4; slots += 3) {
            settings.slots = slots;
            expect_as_without_cache(&own, &settings);
        }
        close_all(&own);
    }
}

static void test_penalties_and_bans_do_what_they_say(void **state)
{
    (void)state;
    const char *configs[] = {bloom, t5};
    for (int c = 0; c < 2; c++) {
        opened own = open_new(configs[c]);
        eh_generation settings[5];
        for (int s = 0; s < 5; s++) settings[s] = greedy(20);
        settings[0].repetition_penalty = 1.7;
        settings[1].no_repeat_ngram = 2;
        settings[2].no_repeat_ngram = 1; // no token twice: the vocabulary is larger than the text is long
        settings[2].max_new_tokens = 6;
        settings[3].eos = 4;
        settings[3].min_new_tokens = 9;
        settings[4] = settings[3];
        settings[4].repetition_penalty = 0.8;
        settings[4].no_repeat_ngram = 3;
        for (int s = c == 0 ? 0 : 1; s < 5; s++)
            if (s != 2 || c == 1) // BLOOM's third prompt has every token already
                expect_as_without_cache(&own, &settings[s]);
        close_all(&own);
    }
}

// eos is what the greedy text has at its third place: with and without a least length.
static void test_texts_end_by_eos_between_least_and_greatest_length(void **state)
{
    (void)state;
    opened own = open_new(bloom);
    texts free_text = {.texts = 0}, ended = {.texts = 0}, longer = {.texts = 0};
    eh_generation settings = greedy(12);
    generate(&own, &settings, 1, 1, &free_text);
    assert_int_equal(free_text.counts[1][0], 12);
    assert_false(free_text.by_eos[1][0]);
    int at = 0;
    settings.eos = free_text.ids[1][0][2];
    while (free_text.ids[1][0][at] != settings.eos) at++;
    generate(&own, &settings, 1, 1, &ended);
    assert_int_equal(ended.counts[1][0], at);
    assert_true(ended.by_eos[1][0]);
    settings.min_new_tokens = at + 2;
    generate(&own, &settings, 1, 1, &longer);
    assert_true(longer.counts[1][0] >= at + 2);
    for (int i = 0; i < at + 2; i++) assert_int_not_equal(longer.ids[1][0][i], settings.eos);
    close_all(&own);
}

// --- Sampling -----------------------------------------------------------------------------------------------------
// What temperature, top-k and top-p leave of the logits, by sorting.
static void expected_distribution(const float *logits, const eh_generation *settings, double p[VOCABULARY])
{
    int order[VOCABULARY];
    double sum = 0, before = 0, kept = 0;
    for (int v = 0; v < VOCABULARY; v++) order[v] = v;
    for (int i = 1; i < VOCABULARY; i++)
        for (int j = i; j > 0 && logits[order[j]] > logits[order[j - 1]]; j--) {
            const int swap = order[j];
            order[j] = order[j - 1];
            order[j - 1] = swap;
        }
    const int most = settings->top_k > 0 ? (int)settings->top_k : VOCABULARY;
    for (int i = 0; i < VOCABULARY; i++)
        p[order[i]] = i < most ? exp((logits[order[i]] - logits[order[0]]) / settings->temperature) : 0;
    for (int v = 0; v < VOCABULARY; v++) sum += p[v];
    for (int i = 0; i < VOCABULARY; i++) {
        const double own = p[order[i]] / sum;
        if (before >= settings->top_p) // what came before is enough
            p[order[i]] = 0;
        before += own;
    }
    for (int v = 0; v < VOCABULARY; v++) kept += p[v];
    for (int v = 0; v < VOCABULARY; v++) p[v] /= kept;
}

// Pearson's statistic must lie below the 99.9 % quantile for its degrees of freedom; impossible tokens never come.
static void expect_distribution(const int64_t counts[VOCABULARY], const double p[VOCABULARY])
{
    static const double quantiles[] = {0,     10.83, 13.82, 16.27, 18.47, 20.52, 22.46,
                                       24.32, 26.12, 27.88, 29.59, 31.26, 32.91};
    double statistic = 0, rare = 0;
    int64_t total = 0, rare_count = 0;
    int cells = 0;
    for (int v = 0; v < VOCABULARY; v++) total += counts[v];
    for (int v = 0; v < VOCABULARY; v++) {
        const double expected = p[v] * (double)total;
        if (p[v] == 0) {
            assert_int_equal(counts[v], 0);
        } else if (expected < 5) { // too rare for the approximation by themselves: one cell
            rare += expected;
            rare_count += counts[v];
        } else {
            statistic += ((double)counts[v] - expected) * ((double)counts[v] - expected) / expected;
            cells++;
        }
    }
    if (rare >= 1) {
        statistic += ((double)rare_count - rare) * ((double)rare_count - rare) / rare;
        cells++;
    }
    assert_true(cells > 1);
    if (!(statistic < quantiles[cells - 1]))
        fail_msg("chi-square %g with %d degrees of freedom", statistic, cells - 1);
}

typedef struct {
    int64_t first[VOCABULARY], second[VOCABULARY]; // second: of those that began with `given`
    int32_t given;
    int64_t texts;
} histogram;

static eh_status count_tokens(void *context, const eh_generated *text)
{
    histogram *own = context;
    own->texts++;
    own->first[text->ids[0]]++;
    if (text->ids[0] == own->given)
        own->second[text->ids[1]]++;
    return EH_OK;
}

static void test_samples_follow_the_models_probabilities(void **state)
{
    (void)state;
    static const struct {
        double temperature, top_p;
        int64_t top_k;
    } cases[] = {{1, 1, 0}, {0.7, 1, 0}, {2, 1, 0}, {1.5, 1, 4}, {1, 0.8, 0}, {1.5, 0.6, 0}, {1.3, 0.7, 6}};
    const char *configs[] = {bloom, t5};
    for (int c = 0; c < 2; c++) {
        opened own = open_new(configs[c]);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            eh_generation settings = sampling(2, 3000);
            int32_t prompts[47], ids[8] = {0};
            float logits[VOCABULARY];
            double p[VOCABULARY];
            settings.temperature = cases[i].temperature;
            settings.top_k = cases[i].top_k;
            settings.top_p = cases[i].top_p;
            settings.slots = 16;
            make_prompts(prompts);
            const int32_t *prompt = prompts + 1;
            const int64_t offsets[] = {0, 3}, item[] = {(int64_t)i}, given = c == 0 ? 3 : 1;
            if (c == 0)
                memcpy(ids, prompt, 3 * sizeof *ids);
            next_logits(&own, prompt, 3, ids, given, logits);
            histogram found = {.given = 0};
            for (int v = 1; v < VOCABULARY; v++) found.given = logits[v] > logits[found.given] ? v : found.given;
            assert_int_equal(eh_generate(own.model, &settings, 1, prompt, offsets, item, count_tokens, &found), EH_OK);
            assert_int_equal(found.texts, 3000);
            expected_distribution(logits, &settings, p);
            if (p[found.given] < 1)
                expect_distribution(found.first, p);
            ids[given] = found.given; // the next token, whose keys come from the cache
            next_logits(&own, prompt, 3, ids, given + 1, logits);
            expected_distribution(logits, &settings, p);
            double largest = 0;
            for (int v = 0; v < VOCABULARY; v++) largest = fmax(largest, p[v]);
            if (largest < 0.99)
                expect_distribution(found.second, p);
        }
        close_all(&own);
    }
}

static void test_a_text_is_a_function_of_seed_item_and_sample(void **state)
{
    (void)state;
    opened own = open_new(bloom);
    texts all = {.texts = 0}, fewer = {.texts = 0}, halves = {.texts = 0}, other = {.texts = 0};
    eh_generation settings = sampling(15, 4);
    generate(&own, &settings, 0, PROMPTS, &all);
    assert_int_equal(all.texts, 4 * PROMPTS);
    for (int p = 0; p < PROMPTS; p++)
        for (int s = 1; s < 4; s++) assert_true(memcmp(all.ids[p][0], all.ids[p][s], 15 * sizeof(int32_t)) != 0);
    settings.samples = 2; // fewer samples are the first ones
    generate(&own, &settings, 0, PROMPTS, &fewer);
    for (int p = 0; p < PROMPTS; p++) assert_memory_equal(fewer.ids[p], all.ids[p], 2 * sizeof all.ids[p][0]);
    settings.samples = 4; // as two ranks share them out, with other batches
    settings.slots = 3;
    generate(&own, &settings, 3, 3, &halves);
    generate(&own, &settings, 0, 3, &halves);
    assert_memory_equal(halves.ids, all.ids, sizeof all.ids);
    settings.seed++;
    generate(&own, &settings, 0, PROMPTS, &other);
    assert_true(memcmp(other.ids[0][0], all.ids[0][0], 15 * sizeof(int32_t)) != 0);

    const int32_t same[] = {3, 4, 3, 4}; // equal prompts are two items
    const int64_t offsets[] = {0, 2, 4}, items[] = {0, 1};
    assert_int_equal(eh_generate(own.model, &settings, 2, same, offsets, items, keep, &other), EH_OK);
    assert_true(memcmp(other.ids[0][0], other.ids[1][0], 15 * sizeof(int32_t)) != 0);
    close_all(&own);
}

// --- Refusals -----------------------------------------------------------------------------------------------------
static void expect_refused(const char *config, const eh_generation *settings, const int32_t *ids, int64_t count,
                           const char *words)
{
    opened own = open_new(config);
    texts found = {.texts = 0};
    const int64_t offsets[] = {0, count}, item[] = {0};
    assert_int_equal(eh_generate(own.model, settings, 1, ids, offsets, item, keep, &found), EH_INPUT);
    assert_int_equal(found.texts, 0);
    if (strstr(eh_error_message(), words) == NULL)
        fail_msg("expected '%s' in '%s'", words, eh_error_message());
    close_all(&own);
}

static void test_refuses_what_cannot_be_generated(void **state)
{
    (void)state;
    int32_t ids[40];
    for (int i = 0; i < 40; i++) ids[i] = 3;
    eh_generation settings = greedy(4);
    expect_refused(bert, &settings, ids, 3, "can't generate text");
    expect_refused(bloom, &settings, ids, 0, "prompt 0 is empty");
    expect_refused(gpt2, &settings, ids, 32, "the model's positions end at 32");
    const int32_t unknown[] = {3, VOCABULARY};
    expect_refused(bloom, &settings, unknown, 2, "token id 13 is not in the model's vocabulary");
    settings.stops = (eh_stops){.strings = (const char *const[]){"a", ""}, .count = 2};
    expect_refused(bloom, &settings, ids, 3, "a stop string is empty");
    for (int bad = 0; bad < 6; bad++) {
        settings = sampling(4, 1);
        settings.top_p = bad == 0 ? 0 : bad == 1 ? 1.5 : 1;
        settings.temperature = bad == 2 ? 0 : bad == 3 ? NAN : 1;
        settings.samples = bad == 4 ? 0 : 1;
        settings.repetition_penalty = bad == 5 ? 0 : 1;
        expect_refused(bloom, &settings, ids, 3, "generation:");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_texts_are_those_without_a_cache),
        cmocka_unit_test(test_penalties_and_bans_do_what_they_say),
        cmocka_unit_test(test_texts_end_by_eos_between_least_and_greatest_length),
        cmocka_unit_test(test_samples_follow_the_models_probabilities),
        cmocka_unit_test(test_a_text_is_a_function_of_seed_item_and_sample),
        cmocka_unit_test(test_refuses_what_cannot_be_generated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
