// A table as LaTeX with booktabs: one float as wide as the text or, where that would be higher than a page, a
// longtable.
#include <string.h>
#include <utf8proc.h>

#include "report/table.h"

#define MOST_ROWS_OF_A_FLOAT 30 // beside headings of sections and a note of some lines

static eh_status print_point(utf8proc_int32_t point, const char *bytes, size_t size, eh_string *text)
{
    static const struct {
        utf8proc_int32_t point;
        const char *latex;
    } special[] = {{'\\', "\\textbackslash{}"},
                   {'~', "\\textasciitilde{}"},
                   {'^', "\\textasciicircum{}"},
                   {'<', "\\textless{}"},
                   {'>', "\\textgreater{}"},
                   {'"', "\\textquotedbl{}"},
                   {'&', "\\&"},
                   {'%', "\\%"},
                   {'$', "\\$"},
                   {'#', "\\#"},
                   {'_', "\\_"},
                   {'{', "\\{"},
                   {'}', "\\}"},
                   {'\n', " "}};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (special[i].point == point)
            return eh_string_append_text(text, special[i].latex);
    // pdflatex's fonts have Latin letters; another script's would end the run.
    const bool known = (point >= 0x20 && point < 0x7F) || (point >= 0xA0 && point < 0x180);
    return known ? eh_string_append(text, bytes, size) : eh_string_append_text(text, "?");
}

static eh_status latex_text(const char *field, eh_string *text)
{
    for (size_t at = 0, size = strlen(field); at < size;) {
        utf8proc_int32_t point;
        const utf8proc_ssize_t length =
            utf8proc_iterate((const utf8proc_uint8_t *)field + at, (utf8proc_ssize_t)(size - at), &point);
        const size_t step = length > 0 ? (size_t)length : 1;
        EH_TRY(print_point(length > 0 ? point : -1, field + at, step, text));
        at += step;
    }
    return EH_OK;
}

static eh_status print_cell(const eh_cell *cell, eh_string *scratch, eh_string *text)
{
    eh_string_clear(scratch);
    EH_TRY(eh_string_append_text(scratch, ""));
    EH_TRY(eh_cell_print(cell, scratch));
    EH_TRY(eh_string_append_text(text, cell->grey ? "\\textcolor{gray}{" : cell->best ? "\\textbf{" : ""));
    // A cell must not begin with "[": after "\\" it would be an option.
    if (scratch->bytes[0] == '[')
        EH_TRY(eh_string_append_text(text, "{}"));
    EH_TRY(latex_text(scratch->bytes, text));
    return eh_string_append_text(text, cell->grey || cell->best ? "}" : "");
}

// "\multicolumn{3}{c}{before}", then rules under the titles.
static eh_status print_groups(const eh_table *table, int64_t begin, eh_string *text)
{
    eh_string rules = {0};
    eh_status status = eh_string_append_text(&rules, "");
    for (int64_t c = begin, next; status == EH_OK && c < table->column_count; c = next) {
        const char *group = table->column_groups[c];
        for (next = c + 1; next < table->column_count && strcmp(table->column_groups[next], group) == 0;) next++;
        EH_TRY_OR(done,
                  eh_string_printf(text, "%s\\multicolumn{%lld}{c}{", c > begin ? " & " : "", (long long)(next - c)));
        EH_TRY_OR(done, latex_text(group, text));
        EH_TRY_OR(done, eh_string_append_text(text, "}"));
        if (group[0] != '\0')
            EH_TRY_OR(done, eh_string_printf(&rules, "\\cmidrule(lr){%lld-%lld}", (long long)(c - begin + 1),
                                             (long long)(next - begin)));
    }
    EH_TRY_OR(done, eh_string_printf(text, " \\\\\n%s\n", rules.bytes));
done:
    eh_string_deinit(&rules);
    return status;
}

static eh_status print_header(const eh_table *table, eh_string *text)
{
    const int64_t begin = table->sections ? 1 : 0;
    EH_TRY(eh_string_append_text(text, "\\toprule\n"));
    if (table->column_groups != NULL)
        EH_TRY(print_groups(table, begin, text));
    for (int64_t c = begin; c < table->column_count; c++) {
        EH_TRY(eh_string_append_text(text, c > begin ? " & " : ""));
        EH_TRY(latex_text(table->columns[c], text));
    }
    return eh_string_append_text(text, " \\\\\n\\midrule\n");
}

static eh_status print_rows(const eh_table *table, eh_string *scratch, eh_string *text)
{
    const int64_t begin = table->sections ? 1 : 0;
    const char *heading;
    for (int64_t r = 0; r < table->row_count; r++) {
        if (eh_table_begins_section(table, r, &heading)) {
            EH_TRY(eh_string_printf(text, "%s\\multicolumn{%lld}{c}{\\textbf{", r > 0 ? "\\midrule\n" : "",
                                    (long long)(table->column_count - begin)));
            EH_TRY(latex_text(heading, text));
            EH_TRY(eh_string_append_text(text, "}} \\\\\n\\midrule\n"));
        }
        for (int64_t c = begin; c < table->column_count; c++) {
            EH_TRY(eh_string_append_text(text, c > begin ? " & " : ""));
            EH_TRY(print_cell(&table->cells[r * table->column_count + c], scratch, text));
        }
        EH_TRY(eh_string_append_text(text, " \\\\\n"));
    }
    return eh_string_append_text(text, "\\bottomrule\n");
}

static eh_status print_caption(const eh_table *table, eh_string *text)
{
    EH_TRY(eh_string_append_text(text, "\\caption{"));
    EH_TRY(latex_text(table->title, text));
    EH_TRY(eh_string_append_text(text, ". "));
    EH_TRY(latex_text(table->note, text));
    return eh_string_printf(text, "}\\label{tab:%s}", table->id);
}

// Numbers to the right; texts that are sentences in paragraphs.
static eh_status print_columns(const eh_table *table, eh_string *text)
{
    for (int64_t c = table->sections ? 1 : 0; c < table->column_count; c++) {
        size_t longest = 0;
        for (int64_t r = 0; r < table->row_count; r++) {
            const char *cell = table->cells[r * table->column_count + c].text;
            longest = cell != NULL && strlen(cell) > longest ? strlen(cell) : longest;
        }
        EH_TRY(eh_string_append_text(text, eh_table_column_is_numeric(table, c) ? "r" : longest > 40 ? "p{5cm}" : "l"));
    }
    return EH_OK;
}

static eh_status print_float(const eh_table *table, eh_string *scratch, eh_string *text)
{
    EH_TRY(eh_string_append_text(text, "\\begin{table}\n\\centering\n"));
    EH_TRY(print_caption(table, text));
    EH_TRY(eh_string_append_text(text, "\n\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}{"));
    EH_TRY(print_columns(table, text));
    EH_TRY(eh_string_append_text(text, "}\n"));
    EH_TRY(print_header(table, text));
    EH_TRY(print_rows(table, scratch, text));
    return eh_string_append_text(text, "\\end{tabular}}\n\\end{table}\n");
}

static eh_status print_long(const eh_table *table, eh_string *scratch, eh_string *text)
{
    EH_TRY(eh_string_append_text(text, "\\begingroup\\tiny\\setlength{\\tabcolsep}{2pt}\n\\begin{longtable}{"));
    EH_TRY(print_columns(table, text));
    EH_TRY(eh_string_append_text(text, "}\n"));
    EH_TRY(print_caption(table, text));
    EH_TRY(eh_string_append_text(text, " \\\\\n"));
    EH_TRY(print_header(table, text));
    EH_TRY(eh_string_append_text(text, "\\endfirsthead\n"));
    EH_TRY(print_header(table, text));
    EH_TRY(eh_string_append_text(text, "\\endhead\n"));
    EH_TRY(print_rows(table, scratch, text));
    return eh_string_append_text(text, "\\end{longtable}\n\\endgroup\n");
}

eh_status eh_table_to_latex(const eh_table *table, eh_string *text)
{
    eh_string scratch = {0};
    const bool is_long = table->row_count > MOST_ROWS_OF_A_FLOAT;
    eh_status status = eh_string_printf(text, "%% needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs,%s}\n",
                                        is_long ? "longtable,xcolor" : "graphicx,xcolor");
    if (status == EH_OK)
        status = is_long ? print_long(table, &scratch, text) : print_float(table, &scratch, text);
    eh_string_deinit(&scratch);
    return status;
}
