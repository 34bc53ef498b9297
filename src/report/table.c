#include "report/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "io/atomic.h"

// --- Building
// ---------------------------------------------------------------------------------------------------------
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

void eh_table_deinit(eh_table *table)
{
    for (int64_t c = 0; table->cells != NULL && c < table->row_count * table->column_count; c++)
        eh_free(&table->cells[c].text);
    for (int64_t c = 0; table->columns != NULL && c < table->column_count; c++) eh_free(&table->columns[c]);
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

// --- Cells as text
// ----------------------------------------------------------------------------------------------------
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

// --- CSV
// --------------------------------------------------------------------------------------------------------------
eh_status eh_csv_field(const char *field, eh_string *text)
{
    if (strpbrk(field, ",\"\r\n") == NULL)
        return eh_string_append_text(text, field);
    EH_TRY(eh_string_append(text, "\"", 1));
    for (const char *c = field; *c != '\0'; c++)
        EH_TRY(eh_string_append(text, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1));
    return eh_string_append(text, "\"", 1);
}

static bool column_has_estimates(const eh_table *table, int64_t column)
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
        const int count = column_has_estimates(table, c) ? 5 : 1;
        for (int i = 0; i < count; i++) {
            char name[256];
            snprintf(name, sizeof name, "%s%s", table->columns[c], endings[i]);
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
            if (column_has_estimates(table, c))
                EH_TRY(csv_estimate(cell, text));
            else
                EH_TRY(eh_csv_field(cell->text == NULL ? "" : cell->text, text));
        }
        EH_TRY(eh_string_append_text(text, "\n"));
    }
    return EH_OK;
}

// --- Markdown
// ---------------------------------------------------------------------------------------------------------
static eh_status markdown_text(const char *field, eh_string *text)
{
    for (const char *c = field; *c != '\0'; c++) {
        if (strchr("|\\`*<", *c) != NULL)
            EH_TRY(eh_string_append(text, "\\", 1));
        EH_TRY(eh_string_append(text, *c == '\n' ? " " : c, 1));
    }
    return EH_OK;
}

static eh_status markdown_row(const eh_table *table, int64_t row, eh_string *cell, eh_string *text)
{
    for (int64_t c = 0; c < table->column_count; c++) {
        const eh_cell *from = &table->cells[row * table->column_count + c];
        eh_string_clear(cell);
        EH_TRY(eh_string_append_text(cell, ""));
        EH_TRY(eh_cell_print(from, cell));
        EH_TRY(eh_string_append_text(text, "| "));
        EH_TRY(markdown_text(cell->bytes, text));
        EH_TRY(eh_string_append_text(text, from->grey ? " (not above its nulls) " : " "));
    }
    return eh_string_append_text(text, "|\n");
}

eh_status eh_table_to_markdown(const eh_table *table, eh_string *text)
{
    eh_string cell = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(text, "**%s**\n\n", table->title));
    for (int64_t c = 0; c < table->column_count; c++) {
        EH_TRY_OR(done, eh_string_append_text(text, "| "));
        EH_TRY_OR(done, markdown_text(table->columns[c], text));
        EH_TRY_OR(done, eh_string_append_text(text, " "));
    }
    EH_TRY_OR(done, eh_string_append_text(text, "|\n"));
    for (int64_t c = 0; c < table->column_count; c++)
        EH_TRY_OR(done, eh_string_append_text(text, column_has_estimates(table, c) ? "|---:" : "|---"));
    EH_TRY_OR(done, eh_string_append_text(text, "|\n"));
    for (int64_t r = 0; r < table->row_count; r++) EH_TRY_OR(done, markdown_row(table, r, &cell, text));
    EH_TRY_OR(done, eh_string_printf(text, "\n%s\n", table->note));
done:
    eh_string_deinit(&cell);
    return status;
}

// --- LaTeX
// ------------------------------------------------------------------------------------------------------------
static eh_status latex_text(const char *field, eh_string *text)
{
    for (const char *c = field; *c != '\0'; c++) {
        if (*c == '\\')
            EH_TRY(eh_string_append_text(text, "\\textbackslash{}"));
        else if (*c == '~')
            EH_TRY(eh_string_append_text(text, "\\textasciitilde{}"));
        else if (*c == '^')
            EH_TRY(eh_string_append_text(text, "\\textasciicircum{}"));
        else if (*c == '<')
            EH_TRY(eh_string_append_text(text, "\\textless{}"));
        else if (*c == '>')
            EH_TRY(eh_string_append_text(text, "\\textgreater{}"));
        else if (strchr("&%$#_{}", *c) != NULL)
            EH_TRY(eh_string_printf(text, "\\%c", *c));
        else
            EH_TRY(eh_string_append(text, c, 1));
    }
    return EH_OK;
}

static eh_status latex_cell(const eh_cell *cell, eh_string *scratch, eh_string *text)
{
    eh_string_clear(scratch);
    EH_TRY(eh_string_append_text(scratch, ""));
    EH_TRY(eh_cell_print(cell, scratch));
    if (cell->grey)
        EH_TRY(eh_string_append_text(text, "\\textcolor{gray}{"));
    // A cell must not begin with "[": after "\\" it would be an option.
    if (scratch->bytes[0] == '[')
        EH_TRY(eh_string_append_text(text, "{}"));
    EH_TRY(latex_text(scratch->bytes, text));
    return eh_string_append_text(text, cell->grey ? "}" : "");
}

eh_status eh_table_to_latex(const eh_table *table, eh_string *text)
{
    eh_string scratch = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_append_text(
                        text, "% needs \\usepackage{booktabs,xcolor,graphicx}\n\\begin{table}\n\\centering\n"
                              "\\caption{"));
    EH_TRY_OR(done, latex_text(table->title, text));
    EH_TRY_OR(done, eh_string_append_text(text, ". "));
    EH_TRY_OR(done, latex_text(table->note, text));
    EH_TRY_OR(done, eh_string_printf(text, "}\n\\label{tab:%s}\n\\resizebox{\\textwidth}{!}{%%\n\\begin{tabular}{",
                                     table->id));
    for (int64_t c = 0; c < table->column_count; c++)
        EH_TRY_OR(done, eh_string_append_text(text, column_has_estimates(table, c) ? "r" : "l"));
    EH_TRY_OR(done, eh_string_append_text(text, "}\n\\toprule\n"));
    for (int64_t c = 0; c < table->column_count; c++) {
        EH_TRY_OR(done, eh_string_append_text(text, c > 0 ? " & " : ""));
        EH_TRY_OR(done, latex_text(table->columns[c], text));
    }
    EH_TRY_OR(done, eh_string_append_text(text, " \\\\\n\\midrule\n"));
    for (int64_t r = 0; r < table->row_count; r++) {
        for (int64_t c = 0; c < table->column_count; c++) {
            EH_TRY_OR(done, eh_string_append_text(text, c > 0 ? " & " : ""));
            EH_TRY_OR(done, latex_cell(&table->cells[r * table->column_count + c], &scratch, text));
        }
        EH_TRY_OR(done, eh_string_append_text(text, " \\\\\n"));
    }
    EH_TRY_OR(done, eh_string_append_text(text, "\\bottomrule\n\\end{tabular}}\n\\end{table}\n"));
done:
    eh_string_deinit(&scratch);
    return status;
}

// --- Files
// ------------------------------------------------------------------------------------------------------------
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
