// A table on the page. On a phone each row becomes a block whose cells say what they are; without colours, the words
// remain.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html.h"
#include "report/page.h"

static eh_status open_cell(const eh_table *table, int64_t column, const char *classes, const char *title,
                           eh_string *html)
{
    const char *group = table->column_groups == NULL ? "" : table->column_groups[column];
    EH_TRY(eh_string_append_text(html, "<td role=\"cell\" data-label=\""));
    EH_TRY(eh_html_text(group, html));
    EH_TRY(eh_string_append_text(html, group[0] == '\0' ? "" : " "));
    EH_TRY(eh_html_text(table->columns[column], html));
    EH_TRY(eh_string_append_text(html, "\""));
    if (classes[0] != '\0')
        EH_TRY(eh_string_printf(html, " class=\"%s\"", classes));
    if (title != NULL)
        EH_TRY(eh_string_printf(html, " title=\"%s\"", title));
    return eh_string_append_text(html, ">");
}

// How deep a cell of a heat map is tinted, 0 to 4, as a share of the table's greatest value.
static int heat_of(const eh_table *table, const eh_cell *cell)
{
    double most = 0;
    for (int64_t c = 0; c < table->row_count * table->column_count; c++)
        if (table->cells[c].has_estimate && isfinite(table->cells[c].estimate.value))
            most = fmax(most, fabs(table->cells[c].estimate.value));
    return most > 0 ? (int)ceil(4 * fabs(cell->estimate.value) / most - 1e-9) : 0;
}

static eh_status print_text_cell(const eh_table *table, const eh_cell *cell, int64_t column, eh_string *html)
{
    const bool sentence = cell->text != NULL && strlen(cell->text) > 40;
    EH_TRY(open_cell(table, column,
                     sentence                                    ? "wide"
                     : eh_table_column_is_numeric(table, column) ? "num"
                                                                 : "",
                     NULL, html));
    // The names of figures may break after their slashes.
    for (const char *at = cell->text == NULL ? "" : cell->text; *at != '\0';) {
        const size_t length = strcspn(at, "/") + (at[strcspn(at, "/")] == '/');
        EH_TRY(eh_html_text_sized(at, length, html));
        at += length;
        if (*at != '\0')
            EH_TRY(eh_string_append_text(html, "<wbr>"));
    }
    return eh_string_append_text(html, "</td>");
}

static eh_status print_cell(const eh_table *table, const eh_cell *cell, int64_t column, eh_string *html)
{
    if (!cell->has_estimate || !isfinite(cell->estimate.value))
        return print_text_cell(table, cell, column, html);
    const eh_estimate *e = &cell->estimate;
    char classes[48], title[96];
    snprintf(classes, sizeof classes, "num%s%s", cell->grey ? " grey" : "", cell->best ? " best" : "");
    if (table->heat)
        snprintf(classes, sizeof classes, "num tint %c%d", e->value < 0 ? 'c' : 'h', heat_of(table, cell));
    snprintf(title, sizeof title, "n = %lld%s", (long long)e->n,
             cell->grey ? "; not better than a rule that does not read" : "");
    EH_TRY(open_cell(table, column, classes, title, html));
    EH_TRY(eh_string_printf(html, cell->change ? "%+.*f" : "%.*f", cell->decimals, e->value));
    if (isfinite(e->interval.low))
        EH_TRY(eh_string_printf(html,
                                cell->change ? " <span class=\"ci\">[%+.*f, %+.*f]</span>"
                                             : " <span class=\"ci\">[%.*f, %.*f]</span>",
                                cell->decimals, e->interval.low, cell->decimals, e->interval.high));
    if (!isnan(cell->p))
        EH_TRY(cell->p < 0.001 ? eh_string_append_text(html, " <span class=\"ci\">p &lt; 0.001</span>")
                               : eh_string_printf(html, " <span class=\"ci\">p = %.3f</span>", cell->p));
    if (cell->grey)
        EH_TRY(eh_string_append_text(html, " <span class=\"ci\">below null</span>"));
    return eh_string_append_text(html, "</td>");
}

// --- Head ---
static eh_status print_groups(const eh_table *table, int64_t begin, eh_string *html)
{
    EH_TRY(eh_string_append_text(html, "<tr role=\"row\">"));
    for (int64_t c = begin, next; c < table->column_count; c = next) {
        const char *group = table->column_groups[c];
        for (next = c + 1; next < table->column_count && strcmp(table->column_groups[next], group) == 0;) next++;
        EH_TRY(
            eh_string_printf(html, "<th scope=\"colgroup\" class=\"group\" colspan=\"%lld\">", (long long)(next - c)));
        EH_TRY(eh_html_text(group, html));
        EH_TRY(eh_string_append_text(html, "</th>"));
    }
    return eh_string_append_text(html, "</tr>");
}

static eh_status print_head(const eh_table *table, int64_t begin, eh_string *html)
{
    EH_TRY(eh_string_append_text(html, "<thead role=\"rowgroup\">"));
    if (table->column_groups != NULL)
        EH_TRY(print_groups(table, begin, html));
    EH_TRY(eh_string_append_text(html, "<tr role=\"row\">"));
    for (int64_t c = begin; c < table->column_count; c++) {
        EH_TRY(eh_string_append_text(html, eh_table_column_is_numeric(table, c)
                                               ? "<th role=\"columnheader\" scope=\"col\" class=\"num\">"
                                               : "<th role=\"columnheader\" scope=\"col\">"));
        EH_TRY(eh_html_text(table->columns[c], html));
        EH_TRY(eh_string_append_text(html, "</th>"));
    }
    return eh_string_append_text(html, "</tr></thead>");
}

// --- Rows ---
static bool text_is(const eh_cell *cell, const char *text)
{
    return cell->text != NULL && strcmp(cell->text, text) == 0;
}

static const char *class_of_row(const eh_table *table, int64_t row)
{
    const eh_cell *cells = table->cells + row * table->column_count;
    for (int64_t c = 0; c < table->column_count; c++)
        if (text_is(&cells[c], "change"))
            return " class=\"change\"";
    const bool first = !table->sections && table->column_count > 2 && text_is(&cells[2], "before") && row > 0;
    return first ? " class=\"first\"" : "";
}

static eh_status print_rows(const eh_table *table, int64_t begin, eh_string *html)
{
    const char *heading;
    for (int64_t r = 0; r < table->row_count; r++) {
        if (begin > 0 && eh_table_begins_section(table, r, &heading)) {
            EH_TRY(eh_string_printf(html,
                                    "<tr role=\"row\" class=\"section\"><th role=\"rowheader\" scope=\"rowgroup\" "
                                    "colspan=\"%lld\">",
                                    (long long)(table->column_count - begin)));
            EH_TRY(eh_html_text(heading, html));
            EH_TRY(eh_string_append_text(html, "</th></tr>\n"));
        }
        EH_TRY(eh_string_printf(html, "<tr role=\"row\"%s>", class_of_row(table, r)));
        for (int64_t c = begin; c < table->column_count; c++)
            EH_TRY(print_cell(table, &table->cells[r * table->column_count + c], c, html));
        EH_TRY(eh_string_append_text(html, "</tr>\n"));
    }
    return EH_OK;
}

// --- The whole ---
static eh_status print_files(const eh_table *table, eh_string *html)
{
    static const char *const endings[] = {"csv", "md", "tex"};
    EH_TRY(eh_string_append_text(html, " Files: "));
    for (int i = 0; i < 3; i++) {
        EH_TRY(eh_string_append_text(html, "<a href=\"tables/"));
        EH_TRY(eh_html_text(table->id, html));
        EH_TRY(eh_string_printf(html, ".%s\">%s</a>%s", endings[i], endings[i], i < 2 ? ", " : "."));
    }
    return EH_OK;
}

static eh_status print_body(const eh_table *table, int64_t begin, eh_string *html)
{
    EH_TRY(eh_string_append_text(html, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\""));
    EH_TRY(eh_html_text(table->title, html));
    EH_TRY(eh_string_append_text(html, "\"><table role=\"table\" class=\"stack\">"));
    EH_TRY(print_head(table, begin, html));
    EH_TRY(eh_string_append_text(html, "<tbody role=\"rowgroup\">\n"));
    EH_TRY(print_rows(table, begin, html));
    return eh_string_append_text(html, "</tbody></table></div>");
}

// The first column names the run, or the section: a page of one run does without the first, the second are headings. Of
// several runs the page would be mostly the longest tables, which are one row after the other of the runs' own pages:
// their files are named instead.
eh_status eh_page_table(const eh_table *table, bool several_runs, eh_string *html)
{
    enum { MOST_ROWS = 400 };
    const int64_t begin = table->sections || !several_runs ? 1 : 0;
    const bool left_out = several_runs && table->row_count > MOST_ROWS, folded = table->long_list && !left_out;
    EH_TRY(eh_string_append_text(html,
                                 folded ? "<details class=\"table\" id=\"table-" : "<div class=\"table\" id=\"table-"));
    EH_TRY(eh_html_text(table->id, html));
    EH_TRY(eh_string_append_text(html, folded ? "\"><summary>" : "\"><h3>"));
    EH_TRY(eh_html_text(table->title, html));
    if (folded || left_out)
        EH_TRY(eh_string_printf(html, " (%lld rows%s)", (long long)table->row_count, left_out ? ", in its files" : ""));
    EH_TRY(eh_string_append_text(html, folded ? "</summary>" : "</h3>"));
    if (!left_out)
        EH_TRY(print_body(table, begin, html));
    EH_TRY(eh_string_append_text(html, "<p class=\"note\">"));
    EH_TRY(eh_html_text(table->note, html));
    EH_TRY(print_files(table, html));
    return eh_string_append_text(html, folded ? "</p></details>\n" : "</p></div>\n");
}
