// Divergence from the base model on neutral text (PROTOCOL 4.9): KL(base || model) per token over the whole vocabulary,
// the most direct measure of how much a training changed. 0 for the base model itself, no upper bound, in nats.
//   capability/kl          mean over all tokens that are asked for (documents.c says which)
//   capability/kl-maximum  mean over documents of the worst token
// Of an encoder-decoder the tokens are those of the corrupted spans and their sentinels.
#include <math.h>

#include "metrics/documents_internal.h"
#include "metrics/grouped_internal.h"

static eh_status check(const eh_metric_setup *setup)
{
    return eh_document_check(setup, "capability/kl");
}

static eh_status columns(const eh_metric_setup *setup, eh_score_table *table)
{
    int64_t ignored;
    (void)setup;
    EH_TRY(eh_score_table_add_column(table, "tokens", EH_COLUMN_INTEGER, &ignored));
    EH_TRY(eh_score_table_add_column(table, "kl", EH_COLUMN_NUMBER, &ignored));
    return eh_score_table_add_column(table, "kl_maximum", EH_COLUMN_NUMBER, &ignored);
}

static eh_status score(const eh_metric_setup *setup, const eh_item *item, const eh_answers *answers,
                       eh_score_table *table)
{
    const int64_t tokens = answers->label_first[answers->sequence_count];
    double sum = 0, most = 0;
    int64_t row;
    (void)setup;
    EH_TRY(eh_rows_add(table, item, &row));
    for (int64_t i = 0; i < tokens; i++) {
        sum += answers->divergences[i];
        most = fmax(most, answers->divergences[i]);
    }
    eh_rows_integer(table, row, "tokens", tokens);
    if (tokens == 0)
        return eh_rows_reason(table, row, "an empty text");
    if (!isfinite(sum))
        return eh_rows_reason(table, row, "the divergence is not a finite number");
    eh_rows_number(table, row, "kl", sum);
    eh_rows_number(table, row, "kl_maximum", most);
    return EH_OK;
}

enum { SUM, TOKENS, MAXIMUM, VALUES };
enum { MEAN, MEAN_MAXIMUM, FIGURES };

static void summarise_scope(double items, const double *v, eh_figure *f)
{
    f[MEAN] = eh_figure_ratio(1, v[SUM], v[TOKENS]);
    f[MEAN_MAXIMUM] = eh_figure_ratio(1, v[MAXIMUM], items);
}

static bool fill(const eh_score_table *table, int64_t row, int64_t end, double *values)
{
    (void)end;
    values[SUM] = eh_named_number(table, "kl", row);
    values[TOKENS] = (double)eh_named_integer(table, "tokens", row);
    values[MAXIMUM] = eh_named_number(table, "kl_maximum", row);
    return isfinite(values[SUM]);
}

static const eh_figure_row figure_rows[FIGURES] = {
    [MEAN] = {"capability/kl", "nats/token", NULL, EH_FIGURE_RATIO, NAN, -1, true},
    [MEAN_MAXIMUM] = {"capability/kl-maximum", "nats", NULL, EH_FIGURE_MEAN, NAN, MAXIMUM, false},
};
static const eh_grouped grouped = {
    .value_count = VALUES, .fill = fill, .figures = figure_rows, .figure_count = FIGURES, .summarise = summarise_scope};

const eh_metric eh_metric_kl = {
    .name = "capability/kl",
    .metric = "capability",
    .protocol = "kl",
    .formats = "text",
    .answers = EH_DIVERGENCES,
    .unseen_only = true,
    .check = check,
    .columns = columns,
    .requests = eh_document_requests,
    .score = score,
    .pooled = true,
    .grouped = &grouped,
    .prepare = eh_grouped_prepare,
    .summarise = eh_grouped_summarise,
};
