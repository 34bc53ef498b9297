// A result table as people read it, and its three written forms: CSV (numbers, a column for each end of an interval),
// Markdown and LaTeX (booktabs). Cells are texts or estimates.
#ifndef EH_REPORT_TABLE_H
#define EH_REPORT_TABLE_H

#include <stdbool.h>

#include "core/string.h"
#include "report/bootstrap.h"

typedef struct {
    char *text;        // owned; shown where there is no estimate, or why there is none
    bool has_estimate; // value, interval and n
    bool change;       // shown with its sign, and its p-value
    bool grey;         // not better than answering without reading (below its null pickers)
    bool best;         // of its section: set in bold
    int decimals;
    double p;             // adjusted; NaN: none
    eh_estimate estimate; // value and interval
} eh_cell;

typedef struct {
    char *id; // file name without its ending
    char *title;
    char *note; // what the figures are called and how they were computed
    int64_t column_count, row_count;
    char **columns;
    char **column_groups; // a title over neighbouring columns, "" for none; NULL: no such line
    bool sections;        // the first column's texts are headings over the rows that share them
    bool heat;            // estimates are tinted by their size: green above 0, orange below
    bool long_list;       // many rows for looking up, not for reading: folded on the page
    eh_cell *cells;       // [row_count, column_count]
} eh_table;

EH_CHECKED eh_status eh_table_init(const char *id, const char *title, const char *note, const char *const *columns,
                                   int64_t column_count, eh_table *table);
// Lays the columns out under group titles [column_count]; what is read by itself says "GROUP COLUMN".
EH_CHECKED eh_status eh_table_set_groups(eh_table *table, const char *const *groups);
// Whether a row begins a section, and the heading.
bool eh_table_begins_section(const eh_table *table, int64_t row, const char **heading);
bool eh_table_column_is_numeric(const eh_table *table, int64_t column);
void eh_table_deinit(eh_table *table);
// Appends an empty row; *cells is valid until the next row.
EH_CHECKED eh_status eh_table_add_row(eh_table *table, eh_cell **cells);
EH_CHECKED eh_status eh_cell_set_text(eh_cell *cell, const char *format, ...) EH_PRINTF(2, 3);
// estimate may be NULL: the cell then says "-".
EH_CHECKED eh_status eh_cell_set_estimate(eh_cell *cell, const eh_estimate *estimate, int decimals);

// "61.93 [58.91, 65.02]", "+1.20 [0.10, 2.30], p = 0.031", "-", or the text.
EH_CHECKED eh_status eh_cell_print(const eh_cell *cell, eh_string *text);
// "p < 0.001", "p = 0.031"; nothing for NaN.
EH_CHECKED eh_status eh_print_p(double p, eh_string *text);

EH_CHECKED eh_status eh_table_to_csv(const eh_table *table, eh_string *text);
EH_CHECKED eh_status eh_table_to_markdown(const eh_table *table, eh_string *text);
EH_CHECKED eh_status eh_table_to_latex(const eh_table *table, eh_string *text);
// FOLDER/<id>.csv, .md, .tex.
EH_CHECKED eh_status eh_table_write(const eh_table *table, const char *folder);

// One field of a CSV file, quoted where it must be (RFC 4180).
EH_CHECKED eh_status eh_csv_field(const char *field, eh_string *text);

#endif
