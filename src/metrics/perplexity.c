// Perplexity and bits per byte on text that the user names (PROTOCOL 4.9). A document is read in windows of the model's
// length that overlap by half, and each token is scored once, with the most context that it can have.
//   decoder          every token after the start token
//   masked           pseudo-log-likelihood: each token masked by itself
//   encoder-decoder  span corruption (Raffel et al. 2020: 15 % of the tokens in spans of 3 on average), spans fixed by
//                    the seed; the tokens of the spans are scored, the sentinels between them are not
// bits per byte = NLL / (ln 2 x bytes scored): the main figure, comparable across tokenizers; lower is better.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"
#include "metrics/ask_internal.h"
#include "metrics/rows_internal.h"
#include "metrics/sample_internal.h"

#define WINDOW_MOST 2048 // of a model whose positions have no bound
#define SPAN_WINDOW 512  // tokens of a source that is corrupted
#define SPAN_SHARE 0.15
#define SPAN_LENGTH 3

static const char *text_of(const eh_item *item)
{
    const char *text = eh_item_field(item, "text");
    return text[0] != '\0' || item->field_count == 0 ? text : item->fields[item->field_count - 1];
}

// --- Decoders and masked models -----------------------------------------------------------------------------------

static eh_status ask_decoder(const eh_metric_setup *setup, const char *text, eh_requests *requests)
{
    const int64_t window = setup->max_length < WINDOW_MOST ? setup->max_length : WINDOW_MOST;
    eh_status status = EH_OK;
    eh_ids ids = {0};
    EH_TRY_OR(done, eh_ids_add(&ids, eh_start_id(setup)));
    EH_TRY_OR(done, eh_ids_add_text(&ids, setup, text, EH_WITHOUT_SPECIAL));
    // A window reads `window` ids and predicts one more; the first scores all of them, the others their second half.
    for (int64_t scored = 1; scored < ids.count;) {
        const int64_t first = scored == 1 ? 0 : scored - window / 2;
        const int64_t end = first + window + 1 < ids.count ? first + window + 1 : ids.count;
        EH_TRY_OR(done,
                  eh_request_continuation(requests, ids.ids + first, scored - first, ids.ids + scored, end - scored));
        scored = end;
    }
done:
    eh_ids_deinit(&ids);
    return status;
}

static eh_status ask_masked(const eh_metric_setup *setup, const char *text, eh_requests *requests)
{
    eh_status status = EH_OK;
    eh_ids bare = {0}, whole = {0}, window_ids = {0};
    EH_TRY_OR(done, eh_ids_add_text(&bare, setup, text, EH_WITHOUT_SPECIAL));
    EH_TRY_OR(done, eh_ids_add_text(&whole, setup, "", EH_WITH_SPECIAL)); // [CLS] [SEP]
    const int64_t before = whole.count / 2, after = whole.count - before;
    const int64_t room = setup->max_length - whole.count, half = room / 2 > 0 ? room / 2 : 1;
    for (int64_t scored = 0; scored < bare.count;) {
        const int64_t first = scored == 0 ? 0 : scored - half;
        const int64_t end = first + room < bare.count ? first + room : bare.count;
        window_ids.count = 0;
        for (int64_t i = 0; i < before; i++) EH_TRY_OR(done, eh_ids_add(&window_ids, whole.ids[i]));
        for (int64_t i = first; i < end; i++) EH_TRY_OR(done, eh_ids_add(&window_ids, bare.ids[i]));
        for (int64_t i = 0; i < after; i++) EH_TRY_OR(done, eh_ids_add(&window_ids, whole.ids[before + i]));
        for (; scored < end; scored++) {
            const int32_t position = (int32_t)(before + scored - first), gold = bare.ids[scored];
            window_ids.ids[position] = setup->special.mask;
            EH_TRY_OR(done, eh_request_masked(requests, window_ids.ids, NULL, window_ids.count, &position, &gold, 1));
            window_ids.ids[position] = gold;
        }
    }
done:
    eh_ids_deinit(&bare);
    eh_ids_deinit(&whole);
    eh_ids_deinit(&window_ids);
    return status;
}

// --- Span corruption ----------------------------------------------------------------------------------------------

// Whether token i of the document begins a span, and how long: 1, 3 or 5 tokens, so 3 on average.
static int64_t span_at(uint64_t seed, int64_t document, int64_t i)
{
    const uint64_t key = (uint64_t)document << 32 | (uint64_t)i;
    const double begins = SPAN_SHARE / (SPAN_LENGTH * (1 - SPAN_SHARE) + SPAN_SHARE); // among tokens not in a span
    if (eh_random_uniform(seed, EH_STREAM_SAMPLING, 2 * key) >= begins)
        return 0;
    return 1 + 2 * (int64_t)eh_random_below(seed, EH_STREAM_SAMPLING, 2 * key + 1, 3);
}

// Of one window: source with sentinels, target with sentinels and the spans; bytes of the spans are counted.
static eh_status corrupt(const eh_metric_setup *setup, int64_t document, int64_t first, int64_t end, eh_ids *source,
                         eh_ids *target, int64_t *span_tokens, int64_t *span_bytes)
{
    const eh_encoding *e = setup->encoding;
    char name[32];
    int sentinel = 0;
    source->count = target->count = *span_tokens = *span_bytes = 0;
    for (int64_t i = first; i < end;) {
        int64_t length = sentinel < 99 ? span_at(setup->seed, document, i) : 0;
        if (length == 0 && i + 1 == end && sentinel == 0)
            length = 1; // a short text has one span at least
        if (length == 0) {
            EH_TRY(eh_ids_add(source, e->ids[i++]));
            continue;
        }
        snprintf(name, sizeof name, "<extra_id_%d>", sentinel++);
        const int32_t id = eh_tokenizer_id(setup->tokenizer, name);
        EH_TRY(eh_ids_add(source, id));
        EH_TRY(eh_ids_add(target, id));
        for (const int64_t stop = i + length < end ? i + length : end; i < stop; i++) {
            EH_TRY(eh_ids_add(target, e->ids[i]));
            ++*span_tokens;
            *span_bytes += e->offsets[i][1] - e->offsets[i][0];
        }
        // Two spans never touch: they would be one.
        if (i < end)
            EH_TRY(eh_ids_add(source, e->ids[i++]));
    }
    return eh_ids_add(source, setup->special.eos);
}

static eh_status ask_spans(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    eh_status status = EH_OK;
    eh_ids source = {0}, target = {0};
    const char *text = text_of(item);
    EH_TRY(eh_tokenizer_encode(setup->tokenizer, text, strlen(text), EH_WITHOUT_SPECIAL, setup->encoding));
    for (int64_t first = 0; first < setup->encoding->count; first += SPAN_WINDOW) {
        const int64_t end = first + SPAN_WINDOW < setup->encoding->count ? first + SPAN_WINDOW : setup->encoding->count;
        int64_t tokens, bytes;
        EH_TRY_OR(done, corrupt(setup, item->index, first, end, &source, &target, &tokens, &bytes));
        EH_TRY_OR(done, eh_request_target(requests, source.ids, source.count, target.ids, target.count));
    }
done:
    eh_ids_deinit(&source);
    eh_ids_deinit(&target);
    return status;
}

// --- Asking and rows ----------------------------------------------------------------------------------------------

static eh_status check(const eh_metric_setup *setup)
{
    if (setup->kind == EH_ENCODER && setup->head != EH_HEAD_MASKED)
        return eh_error(EH_INPUT,
                        "metric 'perplexity' needs a language model: this model's head gives no probabilities "
                        "of tokens");
    if (setup->kind == EH_ENCODER_DECODER && eh_tokenizer_id(setup->tokenizer, "<extra_id_0>") < 0)
        return eh_error(EH_INPUT, "metric 'perplexity' of an encoder-decoder needs a tokenizer with <extra_id_0>");
    return EH_OK;
}

static eh_status columns(const eh_metric_setup *setup, eh_score_table *table)
{
    static const char *const integers[] = {"tokens", "bytes", "words"};
    (void)setup;
    int64_t ignored;
    EH_TRY(eh_score_table_add_column(table, "nll", EH_COLUMN_NUMBER, &ignored));
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        EH_TRY(eh_score_table_add_column(table, integers[i], EH_COLUMN_INTEGER, &ignored));
    return eh_score_table_add_column(table, "log_probabilities", EH_COLUMN_TEXT, &ignored);
}

static eh_status requests_of(const eh_metric_setup *setup, const eh_item *item, eh_requests *requests)
{
    if (setup->kind == EH_DECODER)
        return ask_decoder(setup, text_of(item), requests);
    return setup->kind == EH_ENCODER ? ask_masked(setup, text_of(item), requests) : ask_spans(setup, item, requests);
}

static int64_t count_words(const char *text)
{
    int64_t words = 0;
    for (const char *c = text; *c != '\0';) {
        c += strspn(c, " \t\r\n\v\f");
        words += *c != '\0';
        c += strcspn(c, " \t\r\n\v\f");
    }
    return words;
}

// The tokens of the spans alone, their bytes and log-probabilities: a second walk over the same corruption.
static eh_status score_spans(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                             eh_string *list, double *nll, int64_t *tokens, int64_t *bytes)
{
    eh_status status = EH_OK;
    eh_ids source = {0}, target = {0};
    const char *text = text_of(item);
    EH_TRY(eh_tokenizer_encode(setup->tokenizer, text, strlen(text), EH_WITHOUT_SPECIAL, setup->encoding));
    for (int64_t s = 0; s < answers->sequence_count; s++) {
        const int64_t first = s * SPAN_WINDOW, count = setup->encoding->count;
        int64_t span_tokens, span_bytes;
        EH_TRY_OR(done, corrupt(setup, item->index, first, first + SPAN_WINDOW < count ? first + SPAN_WINDOW : count,
                                &source, &target, &span_tokens, &span_bytes));
        *tokens += span_tokens;
        *bytes += span_bytes;
        for (int64_t i = 0; i < target.count; i++) {
            const double p = answers->log_probabilities[answers->label_first[s] + i];
            const char *token = eh_tokenizer_token(setup->tokenizer, target.ids[i]);
            if (token != NULL && strncmp(token, "<extra_id_", 10) == 0)
                continue;
            *nll -= p;
            EH_TRY_OR(done, eh_string_printf(list, "%s%.9g", list->size > 0 ? " " : "", p));
        }
    }
done:
    eh_ids_deinit(&source);
    eh_ids_deinit(&target);
    return status;
}

static eh_status score(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                       eh_score_table *table)
{
    const char *text = text_of(item);
    eh_status status = EH_OK;
    eh_string list = {0};
    double nll = 0;
    int64_t row, tokens = 0, bytes = 0;
    EH_TRY(eh_rows_add(table, item, &row));
    if (setup->kind == EH_ENCODER_DECODER) {
        EH_TRY_OR(done, score_spans(setup, item, answers, &list, &nll, &tokens, &bytes));
    } else {
        bytes = (int64_t)strlen(text);
        tokens = answers->label_first[answers->sequence_count];
        for (int64_t i = 0; i < tokens; i++) {
            nll -= (double)answers->log_probabilities[i];
            EH_TRY_OR(done, eh_string_printf(&list, "%s%.9g", i > 0 ? " " : "", (double)answers->log_probabilities[i]));
        }
    }
    if (tokens == 0)
        EH_TRY_OR(done, eh_rows_reason(table, row, "an empty text"));
    else if (!isfinite(nll))
        EH_TRY_OR(done, eh_rows_reason(table, row, "the model's log-likelihood is not a finite number"));
    eh_rows_number(table, row, "nll", tokens == 0 ? NAN : nll);
    eh_rows_integer(table, row, "tokens", tokens);
    eh_rows_integer(table, row, "bytes", bytes);
    eh_rows_integer(table, row, "words", count_words(text));
    EH_TRY_OR(done, eh_rows_text(table, row, "log_probabilities", list.bytes == NULL ? "" : list.bytes));
done:
    eh_string_deinit(&list);
    return status;
}

// --- Figures ------------------------------------------------------------------------------------------------------

enum { NLL, TOKENS, BYTES, WORDS, TEXT_PERPLEXITY, VALUES };
enum { BITS_PER_BYTE, CORPUS, WORD, MEAN_OF_TEXTS, FIGURES };

static eh_figure exponential(double nll, double count)
{
    return (eh_figure){.value = count > 0 ? exp(nll / count) : NAN, .n = (int64_t)count};
}

static void summarise(const eh_sample *sample, const double *totals, int64_t cluster_count, eh_figure *figures)
{
    for (int64_t scope = 0; scope < sample->scope_count; scope++) {
        double sums[1 + VALUES];
        eh_sample_scope_sums(sample, totals, cluster_count, scope, sums);
        const double *v = sums + 1;
        eh_figure *f = figures + scope * FIGURES;
        f[BITS_PER_BYTE] = eh_figure_ratio(1 / 0.693147180559945309417, v[NLL], v[BYTES]);
        f[CORPUS] = exponential(v[NLL], v[TOKENS]);
        f[WORD] = exponential(v[NLL], v[WORDS]);
        f[MEAN_OF_TEXTS] = eh_figure_ratio(1, v[TEXT_PERPLEXITY], sums[0]);
    }
}

static eh_status add_scope(eh_sample_builder *builder, const char *scope)
{
    static const struct {
        const char *name, *unit;
        eh_figure_kind kind;
        int value;
    } table[FIGURES] = {
        [BITS_PER_BYTE] = {"perplexity/bits-per-byte", "bits/byte", EH_FIGURE_RATIO, -1},
        [CORPUS] = {"perplexity/corpus", "", EH_FIGURE_RATIO, -1},
        [WORD] = {"perplexity/word", "", EH_FIGURE_RATIO, -1},
        [MEAN_OF_TEXTS] = {"perplexity/hf-mean-of-texts", "", EH_FIGURE_MEAN, TEXT_PERPLEXITY},
    };
    int64_t index;
    EH_TRY(eh_sample_scope(builder, scope, scope, &index));
    for (int i = 0; index >= 0 && i < FIGURES; i++) {
        eh_figure_info info = {.kind = table[i].kind,
                               .ideal = NAN,
                               .scope_index = index,
                               .item_value = table[i].value,
                               .main = i == BITS_PER_BYTE};
        snprintf(info.name, sizeof info.name, "%s", table[i].name);
        snprintf(info.unit, sizeof info.unit, "%s", table[i].unit);
        EH_TRY(eh_sample_figure(builder, &info));
    }
    return EH_OK;
}

static eh_status prepare(const eh_score_table *table, eh_sample *sample)
{
    int64_t item, group, nll, tokens, bytes, words;
    EH_TRY(eh_need_column(table, "item", &item));
    EH_TRY(eh_need_column(table, "group", &group));
    EH_TRY(eh_need_column(table, "nll", &nll));
    EH_TRY(eh_need_column(table, "tokens", &tokens));
    EH_TRY(eh_need_column(table, "bytes", &bytes));
    EH_TRY(eh_need_column(table, "words", &words));
    eh_status status = EH_OK;
    eh_sample_builder builder = eh_sample_begin(sample, VALUES);
    for (int64_t row = 0; row < table->row_count; row++) {
        const double sum = eh_row_number(table, nll, row), count = (double)eh_row_integer(table, tokens, row);
        char cluster[32];
        int32_t cluster_index, stratum_index;
        EH_TRY_OR(done, eh_sample_stratum(&builder, eh_row_text(table, group, row), &stratum_index));
        if (!isfinite(sum) || count == 0 || !isfinite(exp(sum / count))) {
            sample->missing_count++;
            continue;
        }
        const double values[VALUES] = {
            [NLL] = sum,
            [TOKENS] = count,
            [BYTES] = (double)eh_row_integer(table, bytes, row),
            [WORDS] = (double)eh_row_integer(table, words, row),
            [TEXT_PERPLEXITY] = exp(sum / count),
        };
        snprintf(cluster, sizeof cluster, "%lld", (long long)eh_row_integer(table, item, row));
        EH_TRY_OR(done, eh_sample_cluster(&builder, cluster, &cluster_index));
        EH_TRY_OR(done, eh_sample_item(&builder, row, eh_row_integer(table, item, row), cluster_index, stratum_index,
                                       values));
    }
    EH_TRY_OR(done, add_scope(&builder, "all"));
    for (int64_t s = 0; s < sample->stratum_count && sample->stratum_count > 1; s++)
        EH_TRY_OR(done, add_scope(&builder, sample->stratum_names[s]));
    EH_TRY_OR(done, eh_sample_finish(&builder));
done:
    eh_sample_builder_deinit(&builder);
    return status;
}

const eh_metric eh_metric_perplexity = {
    .name = "perplexity/held-out",
    .metric = "perplexity",
    .protocol = "held-out",
    .formats = "text",
    .answers = EH_LIKELIHOODS,
    .unseen_only = true,
    .check = check,
    .columns = columns,
    .requests = requests_of,
    .score = score,
    .prepare = prepare,
    .summarise = summarise,
};
