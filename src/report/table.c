#include "report/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "io/atomic.h"

// --- Building ---
eh_status eh_table_init(const char *id, const char *title, const char *note, const char *const *columns,
                        int64_t column_count, eh_table *table)
{
    *table = (eh_table){.column_count = column_count};
    EH_TRY(eh_copy_string(id, &table->id));
    EH_TRY(eh_copy_string(title, &table->title));
    EH_TRY(eh_copy_string(note, &table->note));
    EH_TRY(EH_ALLOC(column_count, &table->columns));
    for (int64_t c = 0; c < column_count; c++) EH_TRY(eh_copy_string(columns[c], &table->columns[c]));
    return EH_OK;
}

eh_status eh_table_set_groups(eh_table *table, const char *const *groups)
{
    EH_TRY(EH_ALLOC(table->column_count, &table->column_groups));
    for (int64_t c = 0; c < table->column_count; c++) EH_TRY(eh_copy_string(groups[c], &table->column_groups[c]));
    return EH_OK;
}

bool eh_table_begins_section(const eh_table *table, int64_t row, const char **heading)
{
    if (!table->sections)
        return false;
    *heading = table->cells[row * table->column_count].text;
    return row == 0 || strcmp(*heading, table->cells[(row - 1) * table->column_count].text) != 0;
}

void eh_table_deinit(eh_table *table)
{
    for (int64_t c = 0; table->cells != NULL && c < table->row_count * table->column_count; c++)
        eh_free(&table->cells[c].text);
    for (int64_t c = 0; table->columns != NULL && c < table->column_count; c++) eh_free(&table->columns[c]);
    for (int64_t c = 0; table->column_groups != NULL && c < table->column_count; c++) eh_free(&table->column_groups[c]);
    eh_free(&table->column_groups);
    eh_free(&table->cells);
    eh_free(&table->columns);
    eh_free(&table->id);
    eh_free(&table->title);
    eh_free(&table->note);
    *table = (eh_table){0};
}

eh_status eh_table_add_row(eh_table *table, eh_cell **cells)
{
    const int64_t count = table->row_count * table->column_count;
    EH_TRY(EH_RESIZE(count, count + table->column_count, &table->cells));
    *cells = table->cells + count;
    for (int64_t c = 0; c < table->column_count; c++) (*cells)[c].p = NAN;
    table->row_count++;
    return EH_OK;
}

eh_status eh_cell_set_text(eh_cell *cell, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    eh_free(&cell->text);
    return eh_copy_string(text, &cell->text);
}

eh_status eh_cell_set_estimate(eh_cell *cell, const eh_estimate *estimate, int decimals)
{
    if (estimate == NULL)
        return eh_cell_set_text(cell, "-");
    cell->has_estimate = true;
    cell->estimate = *estimate;
    cell->decimals = decimals;
    if (!isfinite(estimate->value))
        return eh_cell_set_text(cell, "undefined (n = %lld)", (long long)estimate->n);
    return EH_OK;
}

// --- Cells as text ---
eh_status eh_print_p(double p, eh_string *text)
{
    if (isnan(p))
        return EH_OK;
    if (p < 0.001)
        return eh_string_append_text(text, "p < 0.001");
    return eh_string_printf(text, "p = %.3f", p);
}

eh_status eh_cell_print(const eh_cell *cell, eh_string *text)
{
    if (!cell->has_estimate || !isfinite(cell->estimate.value))
        return eh_string_append_text(text, cell->text == NULL ? "" : cell->text);
    const eh_estimate *e = &cell->estimate;
    EH_TRY(eh_string_printf(text, cell->change ? "%+.*f" : "%.*f", cell->decimals, e->value));
    if (isfinite(e->interval.low))
        EH_TRY(eh_string_printf(text, cell->change ? " [%+.*f, %+.*f]" : " [%.*f, %.*f]", cell->decimals,
                                e->interval.low, cell->decimals, e->interval.high));
    if (isnan(cell->p))
        return EH_OK;
    EH_TRY(eh_string_append_text(text, ", "));
    return eh_print_p(cell->p, text);
}

// --- CSV ---
eh_status eh_csv_field(const char *field, eh_string *text)
{
    if (strpbrk(field, ",\"\r\n") == NULL)
        return eh_string_append_text(text, field);
    EH_TRY(eh_string_append(text, "\"", 1));
    for (const char *c = field; *c != '\0'; c++)
        EH_TRY(eh_string_append(text, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1));
    return eh_string_append(text, "\"", 1);
}

bool eh_table_column_is_numeric(const eh_table *table, int64_t column)
{
    for (int64_t r = 0; r < table->row_count; r++)
        if (table->cells[r * table->column_count + column].has_estimate)
            return true;
    return false;
}

static eh_status csv_number(double value, eh_string *text)
{
    return isfinite(value) ? eh_string_printf(text, "%.10g", value) : EH_OK;
}

static eh_status csv_header(const eh_table *table, eh_string *text)
{
    static const char *const endings[] = {"", " low", " high", " n", " p"};
    for (int64_t c = 0; c < table->column_count; c++) {
        const int count = eh_table_column_is_numeric(table, c) ? 5 : 1;
        for (int i = 0; i < count; i++) {
            char name[256];
            const char *group = table->column_groups == NULL ? "" : table->column_groups[c];
            snprintf(name, sizeof name, "%s%s%s%s", group, group[0] == '\0' ? "" : " ", table->columns[c], endings[i]);
            EH_TRY(eh_string_append_text(text, c + i > 0 ? "," : ""));
            EH_TRY(eh_csv_field(name, text));
        }
    }
    return eh_string_append_text(text, "\n");
}

static eh_status csv_estimate(const eh_cell *cell, eh_string *text)
{
    const eh_estimate *e = &cell->estimate;
    if (!cell->has_estimate)
        return eh_string_append_text(text, ",,,,");
    EH_TRY(csv_number(e->value, text));
    EH_TRY(eh_string_append_text(text, ","));
    EH_TRY(csv_number(e->interval.low, text));
    EH_TRY(eh_string_append_text(text, ","));
    EH_TRY(csv_number(e->interval.high, text));
    EH_TRY(eh_string_printf(text, ",%lld,", (long long)e->n));
    return csv_number(cell->p, text);
}

eh_status eh_table_to_csv(const eh_table *table, eh_string *text)
{
    EH_TRY(csv_header(table, text));
    for (int64_t r = 0; r < table->row_count; r++) {
        for (int64_t c = 0; c < table->column_count; c++) {
            const eh_cell *cell = &table->cells[r * table->column_count + c];
            EH_TRY(eh_string_append_text(text, c > 0 ? "," : ""));
            if (eh_table_column_is_numeric(table, c))
                EH_TRY(csv_estimate(cell, text));
            else
                EH_TRY(eh_csv_field(cell->text == NULL ? "" : cell->text, text));
        }
        EH_TRY(eh_string_append_text(text, "\n"));
    }
    return EH_OK;
}

// --- Files ---
eh_status eh_table_write(const eh_table *table, const char *folder)
{
    static const struct {
        const char *ending;
        eh_status (*print)(const eh_table *table, eh_string *text);
    } forms[] = {{"csv", eh_table_to_csv}, {"md", eh_table_to_markdown}, {"tex", eh_table_to_latex}};
    eh_string path = {0}, text = {0};
    eh_status status = EH_OK;
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        eh_string_clear(&path);
        eh_string_clear(&text);
        EH_TRY_OR(done, eh_string_printf(&path, "%s/%s.%s", folder, table->id, forms[f].ending));
        EH_TRY_OR(done, forms[f].print(table, &text));
        EH_TRY_OR(done, eh_atomic_write(path.bytes, text.bytes, text.size));
    }
done:
    eh_string_deinit(&path);
    eh_string_deinit(&text);
    return status;
}
