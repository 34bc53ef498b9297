// Rows of a CSV or TSV file as RFC 4180 has them: quoted fields with separators, doubled quotes and line breaks; on
// top of io/lines.h, so plain or .gz, with or without a byte order mark.
#ifndef EH_IO_CSV_H
#define EH_IO_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct eh_csv eh_csv;

typedef enum { EH_CSV_QUOTED, EH_CSV_PLAIN } eh_csv_quoting; // PLAIN: a quote is a character like any other

// Borrowed until the next row.
typedef struct {
    int64_t field_count;
    const char *const *fields; // NUL-terminated
    int64_t line;              // where the row begins, from 1
    int64_t row;               // from 0, without the header
    const char *problem;       // NULL, or why the row can't be used (too few fields, text behind a closing quote)
} eh_csv_row;

// Opens the file and reads its header. EH_INPUT if it has none.
EH_CHECKED eh_status eh_csv_open(const char *path, char separator, eh_csv_quoting quoting, eh_csv **csv);
void eh_csv_close(eh_csv **csv);
// The column of that name, or -1.
int64_t eh_csv_column(const eh_csv *csv, const char *name);
// The columns of these names, in this order; EH_INPUT with those that the file has if one is missing.
EH_CHECKED eh_status eh_csv_columns(const eh_csv *csv, const char *const *names, int64_t count, int64_t *columns);
// EH_INPUT with file and line for what no row can be made of (a quote that is never closed).
EH_CHECKED eh_status eh_csv_next(eh_csv *csv, eh_csv_row *row, bool *more);

#endif
