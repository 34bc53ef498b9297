#include "io/csv.h"

#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/lines.h"

struct eh_csv {
    eh_lines *lines;
    char separator;
    eh_csv_quoting quoting;
    char **header;
    int64_t column_count, row_count;
    eh_string text;   // the fields of the row, NUL behind each
    int64_t *offsets; // [field_count]
    int64_t field_count, offset_capacity;
    const char **fields; // [field_count]
    int64_t pointer_capacity;
};

static const char stray_quote[] = "text behind a closing quote";

static eh_status begin_field(eh_csv *csv)
{
    return EH_APPEND(&csv->offsets, &csv->field_count, &csv->offset_capacity, (int64_t)csv->text.size);
}

static eh_status end_field(eh_csv *csv)
{
    return eh_string_append(&csv->text, "", 1);
}

// Goes to the next line inside a quoted field, keeping the line break as it stands in the file.
static eh_status next_line(eh_csv *csv, size_t line_size, const char **at, const char **end, int64_t first_line)
{
    const size_t raw = eh_lines_raw_size(csv->lines);
    bool more = true;
    size_t size = 0;
    EH_TRY(eh_string_append_text(&csv->text, raw == line_size + 2 ? "\r\n" : "\n"));
    if (raw > line_size)
        EH_TRY(eh_lines_next(csv->lines, at, &size, &more));
    if (raw == line_size || !more)
        return eh_error(EH_INPUT, "%s:%lld: a quote in this row is never closed", eh_lines_path(csv->lines),
                        (long long)first_line);
    if (csv->text.size > EH_LINE_LIMIT)
        return eh_error(EH_INPUT, "%s:%lld: a row of more than %zu MiB: is a quote never closed?",
                        eh_lines_path(csv->lines), (long long)first_line, EH_LINE_LIMIT >> 20);
    *end = *at + size;
    return EH_OK;
}

// Splits the line at hand, and those that quoted fields continue on, into csv->text and csv->offsets.
static eh_status split_row(eh_csv *csv, const char *line, size_t size, int64_t first_line, const char **problem)
{
    const char *at = line, *end = line + size;
    size_t line_size = size;
    for (;;) {
        EH_TRY(begin_field(csv));
        if (csv->quoting == EH_CSV_QUOTED && at < end && *at == '"') {
            for (at++;;) {
                const char *quote = at < end ? memchr(at, '"', (size_t)(end - at)) : NULL;
                EH_TRY(eh_string_append(&csv->text, at, (size_t)((quote != NULL ? quote : end) - at)));
                if (quote == NULL) {
                    EH_TRY(next_line(csv, line_size, &at, &end, first_line));
                    line_size = (size_t)(end - at);
                } else if (quote + 1 < end && quote[1] == '"') {
                    EH_TRY(eh_string_append(&csv->text, "\"", 1));
                    at = quote + 2;
                } else {
                    at = quote + 1;
                    break;
                }
            }
            if (at < end && *at != csv->separator)
                *problem = stray_quote;
        }
        const char *stop = at < end ? memchr(at, csv->separator, (size_t)(end - at)) : NULL;
        const char *until = stop != NULL ? stop : end;
        EH_TRY(eh_string_append(&csv->text, at, (size_t)(until - at)));
        EH_TRY(end_field(csv));
        if (stop == NULL)
            return EH_OK;
        at = stop + 1;
    }
}

// Reads one row, skipping empty lines.
static eh_status read_row(eh_csv *csv, int64_t *first_line, const char **problem, bool *more)
{
    const char *line = NULL;
    size_t size = 0;
    *problem = NULL;
    do {
        EH_TRY(eh_lines_next(csv->lines, &line, &size, more));
        if (!*more)
            return EH_OK;
    } while (size == 0);
    *first_line = eh_lines_number(csv->lines);
    csv->text.size = 0;
    csv->field_count = 0;
    EH_TRY(split_row(csv, line, size, *first_line, problem));
    EH_TRY(eh_reserve(csv->field_count, &csv->pointer_capacity, sizeof *csv->fields, (void **)&csv->fields));
    for (int64_t i = 0; i < csv->field_count; i++) csv->fields[i] = csv->text.bytes + csv->offsets[i];
    return EH_OK;
}

static eh_status read_header(eh_csv *csv)
{
    int64_t line = 0;
    const char *problem = NULL;
    bool more = false;
    EH_TRY(read_row(csv, &line, &problem, &more));
    if (!more)
        return eh_error(EH_INPUT, "%s: the file is empty: expected a header with the names of the columns",
                        eh_lines_path(csv->lines));
    EH_TRY(EH_ALLOC(csv->field_count, &csv->header));
    csv->column_count = csv->field_count;
    for (int64_t i = 0; i < csv->field_count; i++) EH_TRY(eh_copy_string(csv->fields[i], &csv->header[i]));
    return EH_OK;
}

eh_status eh_csv_open(const char *path, char separator, eh_csv_quoting quoting, eh_csv **csv)
{
    eh_csv *fresh = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(1, &fresh));
    fresh->separator = separator;
    fresh->quoting = quoting;
    EH_TRY_OR(done, eh_lines_open(path, &fresh->lines));
    EH_TRY_OR(done, read_header(fresh));
done:
    if (status != EH_OK)
        eh_csv_close(&fresh);
    *csv = fresh;
    return status;
}

void eh_csv_close(eh_csv **csv)
{
    if (*csv == NULL)
        return;
    eh_csv *old = *csv;
    for (int64_t i = 0; old->header != NULL && i < old->column_count; i++) eh_free(&old->header[i]);
    eh_free(&old->header);
    eh_free(&old->offsets);
    eh_free(&old->fields);
    eh_string_deinit(&old->text);
    eh_lines_close(&old->lines);
    eh_free(csv);
}

int64_t eh_csv_column(const eh_csv *csv, const char *name)
{
    for (int64_t i = 0; i < csv->column_count; i++) {
        if (strcmp(csv->header[i], name) == 0)
            return i;
    }
    return -1;
}

eh_status eh_csv_columns(const eh_csv *csv, const char *const *names, int64_t count, int64_t *columns)
{
    for (int64_t n = 0; n < count; n++) {
        columns[n] = eh_csv_column(csv, names[n]);
        if (columns[n] >= 0)
            continue;
        eh_string found = {0};
        eh_status status = EH_OK;
        for (int64_t i = 0; i < csv->column_count && i < 20 && status == EH_OK; i++)
            status = eh_string_printf(&found, "%s%.40s", i > 0 ? ", " : "", csv->header[i]);
        if (status == EH_OK)
            status = eh_error(EH_INPUT, "%s:1: there is no column '%s'; the header has: %s", eh_lines_path(csv->lines),
                              names[n], found.bytes != NULL ? found.bytes : "");
        eh_string_deinit(&found);
        return status;
    }
    return EH_OK;
}

eh_status eh_csv_next(eh_csv *csv, eh_csv_row *row, bool *more)
{
    *row = (eh_csv_row){0};
    EH_TRY(read_row(csv, &row->line, &row->problem, more));
    if (!*more)
        return EH_OK;
    row->row = csv->row_count++;
    row->fields = csv->fields;
    row->field_count = csv->field_count;
    if (row->problem == NULL && row->field_count != csv->column_count)
        row->problem = row->field_count < csv->column_count ? "too few columns" : "too many columns";
    return EH_OK;
}
