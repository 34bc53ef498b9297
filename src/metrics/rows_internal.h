// Rows of score tables as metrics write them.
#ifndef EH_METRICS_ROWS_INTERNAL_H
#define EH_METRICS_ROWS_INTERNAL_H

#include "metrics/metric.h"

#define EH_REASON_TOO_LONG "longer than the model's context"
#define EH_REASON_BROKEN "the model's output is not a finite number"

// Columns "item", "id", "group", "reason" and "cut", which every table has.
EH_CHECKED eh_status eh_rows_begin(eh_score_table *table);
// Adds a row of an item with its standard columns.
EH_CHECKED eh_status eh_rows_add(eh_score_table *table, const eh_item *item, int64_t *row);
// "reason": why the row has no score.
EH_CHECKED eh_status eh_rows_reason(eh_score_table *table, int64_t row, const char *reason);
// By column name; the column must be there (a metric's own).
void eh_rows_number(eh_score_table *table, int64_t row, const char *column, double value);
void eh_rows_integer(eh_score_table *table, int64_t row, const char *column, int64_t value);
EH_CHECKED eh_status eh_rows_text(eh_score_table *table, int64_t row, const char *column, const char *text);

// The first sequence with this tag, -1 if there is none.
int64_t eh_answer_find(const eh_answers *answers, int32_t tag);
// The sum and the number of the log-probabilities of all sequences with this tag; NaN if there are none.
double eh_answer_tagged(const eh_answers *answers, int32_t tag, int64_t *count);
// The sum of the log-probabilities of sequence `s` of the answers, in double and in order.
double eh_answer_sum(const eh_answers *answers, int64_t s);
int64_t eh_answer_count(const eh_answers *answers, int64_t s);

#endif
