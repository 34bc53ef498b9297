// A table as Markdown that GitHub shows: sections are rows of one bold cell, column groups are part of the names.
#include <string.h>

#include "report/table.h"

static eh_status markdown_text(const char *field, eh_string *text)
{
    for (const char *c = field; *c != '\0'; c++) {
        if (strchr("|\\`*<", *c) != NULL)
            EH_TRY(eh_string_append(text, "\\", 1));
        EH_TRY(eh_string_append(text, *c == '\n' ? " " : c, 1));
    }
    return EH_OK;
}

static eh_status print_section(const eh_table *table, const char *heading, eh_string *text)
{
    EH_TRY(eh_string_append_text(text, "| **"));
    EH_TRY(markdown_text(heading, text));
    EH_TRY(eh_string_append_text(text, "** |"));
    for (int64_t c = 2; c < table->column_count; c++) EH_TRY(eh_string_append_text(text, " |"));
    return eh_string_append_text(text, "\n");
}

static eh_status print_row(const eh_table *table, int64_t row, eh_string *cell, eh_string *text)
{
    for (int64_t c = table->sections ? 1 : 0; c < table->column_count; c++) {
        const eh_cell *from = &table->cells[row * table->column_count + c];
        eh_string_clear(cell);
        EH_TRY(eh_string_append_text(cell, ""));
        EH_TRY(eh_cell_print(from, cell));
        EH_TRY(eh_string_append_text(text, from->best ? "| **" : "| "));
        EH_TRY(markdown_text(cell->bytes, text));
        EH_TRY(eh_string_append_text(text, from->best ? "**" : ""));
        EH_TRY(eh_string_append_text(text, from->grey ? " (not above its nulls) " : " "));
    }
    return eh_string_append_text(text, "|\n");
}

static eh_status print_header(const eh_table *table, eh_string *text)
{
    const int64_t begin = table->sections ? 1 : 0;
    for (int64_t c = begin; c < table->column_count; c++) {
        EH_TRY(eh_string_append_text(text, "| "));
        if (table->column_groups != NULL && table->column_groups[c][0] != '\0') {
            EH_TRY(markdown_text(table->column_groups[c], text));
            EH_TRY(eh_string_append_text(text, " "));
        }
        EH_TRY(markdown_text(table->columns[c], text));
        EH_TRY(eh_string_append_text(text, " "));
    }
    EH_TRY(eh_string_append_text(text, "|\n"));
    for (int64_t c = begin; c < table->column_count; c++)
        EH_TRY(eh_string_append_text(text, eh_table_column_is_numeric(table, c) ? "|---:" : "|---"));
    return eh_string_append_text(text, "|\n");
}

eh_status eh_table_to_markdown(const eh_table *table, eh_string *text)
{
    eh_string cell = {0};
    const char *heading;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(text, "**%s**\n\n", table->title));
    EH_TRY_OR(done, print_header(table, text));
    for (int64_t r = 0; r < table->row_count; r++) {
        if (eh_table_begins_section(table, r, &heading))
            EH_TRY_OR(done, print_section(table, heading, text));
        EH_TRY_OR(done, print_row(table, r, &cell, text));
    }
    EH_TRY_OR(done, eh_string_printf(text, "\n%s\n", table->note));
done:
    eh_string_deinit(&cell);
    return status;
}
