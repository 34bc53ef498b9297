// Small CSV files that evenhand itself writes (truth.csv, metrics.csv): a header, then rows of fields without quotes.
#ifndef EH_REPORT_COLUMNS_H
#define EH_REPORT_COLUMNS_H

#include <stdint.h>

#include "core/status.h"

typedef struct {
    char *text;     // the file, cut into fields
    char **headers; // [column_count]
    char **fields;  // [row_count, column_count]
    int64_t column_count, row_count;
} eh_columns;

// EH_INPUT with file and line if it can't be read or a row has another number of fields.
EH_CHECKED eh_status eh_columns_read(const char *path, eh_columns *columns);
// FOLDER/NAME, a file that a run need not have: no rows without it.
EH_CHECKED eh_status eh_columns_read_if_there(const char *folder, const char *name, eh_columns *columns);
void eh_columns_deinit(eh_columns *columns);
int64_t eh_columns_find(const eh_columns *columns, const char *header); // -1 if there is none
const char *eh_columns_text(const eh_columns *columns, int64_t row, int64_t column);
double eh_columns_number(const eh_columns *columns, int64_t row, int64_t column); // NaN if it is no number

#endif
