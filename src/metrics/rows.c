#include "metrics/rows_internal.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

const char *eh_item_field(const eh_item *item, const char *name)
{
    for (int64_t f = 0; f < item->field_count; f++)
        if (strcmp(item->names[f], name) == 0)
            return item->fields[f];
    return "";
}

eh_status eh_rows_begin(eh_score_table *table)
{
    int64_t column;
    EH_TRY(eh_score_table_add_column(table, "item", EH_COLUMN_INTEGER, &column));
    EH_TRY(eh_score_table_add_column(table, "id", EH_COLUMN_TEXT, &column));
    EH_TRY(eh_score_table_add_column(table, "group", EH_COLUMN_TEXT, &column));
    EH_TRY(eh_score_table_add_column(table, "reason", EH_COLUMN_TEXT, &column));
    return eh_score_table_add_column(table, "cut", EH_COLUMN_INTEGER, &column);
}

eh_status eh_score_table_refuse(const char *reason, eh_score_table *table)
{
    EH_TRY(eh_rows_begin(table));
    return eh_copy_string(reason, &table->refusal);
}

eh_status eh_rows_add(eh_score_table *table, const eh_item *item, int64_t *row)
{
    *row = table->row_count;
    EH_TRY(eh_score_table_add_rows(table, 1));
    eh_rows_integer(table, *row, "item", item->index);
    EH_TRY(eh_rows_text(table, *row, "id", eh_item_field(item, "id")));
    return eh_rows_text(table, *row, "group", item->group);
}

eh_status eh_rows_reason(eh_score_table *table, int64_t row, const char *reason)
{
    return eh_rows_text(table, row, "reason", reason);
}

static int64_t own_column(const eh_score_table *table, const char *name)
{
    const int64_t column = eh_score_column(table, name);
    EH_ASSERT(column >= 0);
    return column;
}

void eh_rows_number(eh_score_table *table, int64_t row, const char *column, double value)
{
    eh_score_set_number(table, own_column(table, column), row, value);
}

void eh_rows_integer(eh_score_table *table, int64_t row, const char *column, int64_t value)
{
    eh_score_set_integer(table, own_column(table, column), row, value);
}

eh_status eh_rows_text(eh_score_table *table, int64_t row, const char *column, const char *text)
{
    return eh_score_set_text(table, own_column(table, column), row, text);
}

double eh_answer_sum(const eh_answers *answers, int64_t s)
{
    double sum = 0;
    for (int64_t i = answers->label_first[s]; i < answers->label_first[s + 1]; i++)
        sum += answers->log_probabilities[i];
    return sum;
}

int64_t eh_answer_count(const eh_answers *answers, int64_t s)
{
    return answers->label_first[s + 1] - answers->label_first[s];
}

int64_t eh_answer_find(const eh_answers *answers, int32_t tag)
{
    for (int64_t s = 0; s < answers->sequence_count; s++)
        if (answers->tags[s] == tag)
            return s;
    return -1;
}

double eh_answer_tagged(const eh_answers *answers, int32_t tag, int64_t *count)
{
    double sum = 0;
    *count = 0;
    for (int64_t s = 0; s < answers->sequence_count; s++)
        if (answers->tags[s] == tag) {
            sum += eh_answer_sum(answers, s);
            *count += eh_answer_count(answers, s);
        }
    return *count > 0 ? sum : NAN;
}
