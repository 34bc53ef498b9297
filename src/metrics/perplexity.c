// Perplexity and bits per byte on text that the user names (PROTOCOL 4.9); documents.c says how it is read. Of an
// encoder-decoder the tokens of the corrupted spans are scored, the sentinels between them are not.
// bits per byte = NLL / (ln 2 x bytes scored): the main figure, comparable across tokenizers; lower is better.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/documents_internal.h"
#include "metrics/rows_internal.h"
#include "metrics/sample_internal.h"

// --- Asking and rows ----------------------------------------------------------------------------------------------

static eh_status check(const eh_metric_setup *setup)
{
    return eh_document_check(setup, "perplexity");
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
    const char *text = eh_document_text(item);
    EH_TRY(eh_tokenizer_encode(setup->tokenizer, text, strlen(text), EH_WITHOUT_SPECIAL, setup->encoding));
    for (int64_t s = 0; s < answers->sequence_count; s++) {
        const int64_t first = s * EH_SPAN_WINDOW, count = setup->encoding->count;
        int64_t span_tokens, span_bytes;
        EH_TRY_OR(done, eh_document_corrupt(setup, item->index, first,
                                            first + EH_SPAN_WINDOW < count ? first + EH_SPAN_WINDOW : count, &source,
                                            &target, &span_tokens, &span_bytes));
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
    const char *text = eh_document_text(item);
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
    .requests = eh_document_requests,
    .score = score,
    .prepare = prepare,
    .summarise = summarise,
    .pooled = true,
};
