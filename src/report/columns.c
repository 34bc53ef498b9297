#include "report/columns.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/string.h"

eh_status eh_columns_read_if_there(const char *folder, const char *name, eh_columns *columns)
{
    eh_string path = {0};
    *columns = (eh_columns){0};
    eh_status status = eh_string_printf(&path, "%s/%s", folder, name);
    if (status == EH_OK && access(path.bytes, R_OK) == 0)
        status = eh_columns_read(path.bytes, columns);
    eh_string_deinit(&path);
    return status;
}

void eh_columns_deinit(eh_columns *columns)
{
    eh_free(&columns->text);
    eh_free(&columns->headers);
    eh_free(&columns->fields);
    *columns = (eh_columns){0};
}

static eh_status read_text(const char *path, char **text)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    eh_status status = EH_OK;
    int64_t count = 0, capacity = 0;
    for (int c; status == EH_OK && (c = fgetc(file)) != EOF;) status = EH_APPEND(text, &count, &capacity, (char)c);
    if (status == EH_OK)
        status = EH_APPEND(text, &count, &capacity, '\0');
    if (status == EH_OK && ferror(file))
        status = eh_error(EH_INPUT, "%s: can't be read: %s", path, strerror(errno));
    fclose(file);
    return status;
}

// Cuts the line at *next; appends its fields.
static eh_status cut_line(char **next, char ***fields, int64_t *count, int64_t *capacity)
{
    char *line = *next, *end = line + strcspn(line, "\r\n");
    *next = end + strspn(end, "\r\n");
    *end = '\0';
    for (char *field = line;; field++) {
        EH_TRY(EH_APPEND(fields, count, capacity, field));
        field += strcspn(field, ",");
        if (*field == '\0')
            return EH_OK;
        *field = '\0';
    }
}

eh_status eh_columns_read(const char *path, eh_columns *columns)
{
    eh_status status = EH_OK;
    *columns = (eh_columns){0};
    int64_t header_capacity = 0, count = 0, capacity = 0;
    EH_TRY_OR(failed, read_text(path, &columns->text));
    char *next = columns->text;
    EH_TRY_OR(failed, cut_line(&next, &columns->headers, &columns->column_count, &header_capacity));
    for (; *next != '\0'; columns->row_count++) {
        EH_TRY_OR(failed, cut_line(&next, &columns->fields, &count, &capacity));
        if (count == (columns->row_count + 1) * columns->column_count)
            continue;
        status = eh_error(
            EH_INPUT, "%s:%lld: %lld fields, expected %lld as in the header", path, (long long)columns->row_count + 2,
            (long long)(count - columns->row_count * columns->column_count), (long long)columns->column_count);
        goto failed;
    }
    return EH_OK;
failed:
    eh_columns_deinit(columns);
    return status;
}

int64_t eh_columns_find(const eh_columns *columns, const char *header)
{
    for (int64_t c = 0; c < columns->column_count; c++)
        if (strcmp(columns->headers[c], header) == 0)
            return c;
    return -1;
}

const char *eh_columns_text(const eh_columns *columns, int64_t row, int64_t column)
{
    return column < 0 ? "" : columns->fields[row * columns->column_count + column];
}

double eh_columns_number(const eh_columns *columns, int64_t row, int64_t column)
{
    const char *text = eh_columns_text(columns, row, column);
    char *end = NULL;
    const double number = strtod(text, &end);
    return end == text || *end != '\0' ? NAN : number;
}
