// Records as formats make them, with the checks that all formats share.
#include <string.h>
#include <utf8proc.h>

#include <stdlib.h>

#include "core/memory.h"
#include "dataset/dataset.h"
#include "io/lines.h"

void eh_records_clear(eh_records *records)
{
    eh_string_clear(&records->text);
    records->count = records->rejected_count = 0;
}

void eh_records_deinit(eh_records *records)
{
    eh_string_deinit(&records->text);
    eh_free(&records->records);
    eh_free(&records->rejected);
    *records = (eh_records){0};
}

bool eh_records_full(const eh_records *records, uint64_t row)
{
    return records->limit > 0 && row >= (uint64_t)records->limit;
}

eh_status eh_records_reject(eh_records *records, uint64_t row, int64_t line, const char *reason)
{
    eh_rejected_row rejected = {.row = row, .line = line};
    strncpy(rejected.reason, reason, sizeof rejected.reason - 1);
    return EH_APPEND(&records->rejected, &records->rejected_count, &records->rejected_capacity, rejected);
}

eh_status eh_records_begin(eh_records *records, uint64_t row, int64_t line)
{
    const eh_record record = {.row = row, .line = line, .text_begin = (int64_t)records->text.size};
    records->problem = NULL;
    records->field_count = 0;
    EH_TRY(EH_APPEND(&records->records, &records->count, &records->capacity, record));
    records->count--; // it counts from eh_records_end on
    return EH_OK;
}

void eh_records_problem(eh_records *records, const char *reason)
{
    if (records->problem == NULL)
        records->problem = reason;
}

static bool is_utf8(const char *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        if ((unsigned char)bytes[at] < 0x80) {
            at++;
            continue;
        }
        utf8proc_int32_t point = 0;
        const utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)bytes + at, (utf8proc_ssize_t)(size - at), &point);
        if (used <= 0)
            return false;
        at += (size_t)used;
    }
    return true;
}

eh_status eh_records_field(eh_records *records, const char *bytes, size_t size)
{
    const char separator = EH_FIELD_SEPARATOR;
    if (size > 0 && memchr(bytes, separator, size) != NULL)
        eh_records_problem(records, "holds the control character U+001F");
    if (size > 0 && memchr(bytes, '\0', size) != NULL)
        eh_records_problem(records, "holds a NUL character");
    if (!is_utf8(bytes, size))
        eh_records_problem(records, "not UTF-8");
    if (records->field_count++ > 0)
        EH_TRY(eh_string_append(&records->text, &separator, 1));
    return eh_string_append(&records->text, bytes, size);
}

eh_status eh_records_field_text(eh_records *records, const char *text)
{
    return eh_records_field(records, text, strlen(text));
}

void eh_records_label(eh_records *records, int8_t label)
{
    eh_record *record = &records->records[records->count];
    EH_ASSERT(record->label_count < EH_RECORD_LABELS);
    record->labels[record->label_count++] = label;
}

eh_status eh_records_end(eh_records *records)
{
    eh_record *record = &records->records[records->count];
    record->text_size = (int64_t)records->text.size - record->text_begin;
    if (records->problem == NULL) {
        records->count++;
        return EH_OK;
    }
    records->text.size = (size_t)record->text_begin;
    return eh_records_reject(records, record->row, record->line, records->problem);
}

eh_text eh_joined_field(const char *text, size_t size, int index)
{
    const char *at = text, *end = text + size;
    for (int i = 0; index >= 0 && at != NULL; i++) {
        const char *stop = at < end ? memchr(at, EH_FIELD_SEPARATOR, (size_t)(end - at)) : NULL;
        if (i == index)
            return (eh_text){.bytes = at, .size = (size_t)((stop != NULL ? stop : end) - at)};
        at = stop != NULL ? stop + 1 : NULL;
    }
    return (eh_text){.bytes = "", .size = 0};
}

eh_text eh_record_field(const eh_records *records, const eh_record *record, int index)
{
    return eh_joined_field(records->text.bytes + record->text_begin, (size_t)record->text_size, index);
}

// --- A whole file ---------------------------------------------------------------------------------------------------
static eh_status read_lines(const eh_data_format *format, const char *path, eh_records *records)
{
    eh_lines *lines = NULL;
    EH_TRY(eh_lines_open(path, &lines));
    eh_status status = EH_OK;
    for (uint64_t row = 0; status == EH_OK && !eh_records_full(records, row); row++) {
        const char *line = NULL;
        size_t size = 0;
        bool more = false;
        status = eh_lines_next(lines, &line, &size, &more);
        if (status != EH_OK || !more)
            break;
        status = format->read_line(line, size, row, eh_lines_number(lines), records);
    }
    eh_lines_close(&lines);
    return status;
}

typedef struct {
    eh_text id;
    int64_t line;
} id_entry;

static int compare_ids(const void *a, const void *b)
{
    const id_entry *x = a, *y = b;
    const size_t size = x->id.size < y->id.size ? x->id.size : y->id.size;
    const int order = memcmp(x->id.bytes, y->id.bytes, size);
    if (order != 0)
        return order;
    if (x->id.size != y->id.size)
        return x->id.size < y->id.size ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static eh_status refuse_duplicate_ids(const eh_data_format *format, const eh_records *records)
{
    id_entry *entries = NULL;
    EH_TRY(EH_ALLOC(records->count, &entries));
    int64_t count = 0;
    for (int64_t i = 0; i < records->count; i++) {
        const eh_text id = eh_record_field(records, &records->records[i], format->roles.id);
        if (id.size > 0)
            entries[count++] = (id_entry){.id = id, .line = records->records[i].line};
    }
    qsort(entries, (size_t)count, sizeof *entries, compare_ids);
    eh_status status = EH_OK;
    for (int64_t i = 1; i < count && status == EH_OK; i++) {
        const eh_text a = entries[i - 1].id, b = entries[i].id;
        if (a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0)
            status = eh_error(EH_INPUT, "%s:%lld: the id '%.*s' was used before, in line %lld", records->path,
                              (long long)entries[i].line, (int)(a.size < 80 ? a.size : 80), a.bytes,
                              (long long)entries[i - 1].line);
    }
    eh_free(&entries);
    return status;
}

eh_status eh_records_read(const eh_data_format *format, const char *path, int64_t limit, eh_records *records)
{
    records->path = path;
    records->limit = limit;
    eh_records_clear(records);
    if (format->read != NULL)
        EH_TRY(format->read(path, records));
    else
        EH_TRY(read_lines(format, path, records));
    if (records->count == 0 && records->rejected_count > 0)
        return eh_error(EH_INPUT, "%s:%lld: no row of the file can be used as '%s'; the first: %s", path,
                        (long long)records->rejected[0].line, format->name, records->rejected[0].reason);
    if (records->count == 0)
        return eh_error(EH_INPUT, "%s: no rows in the file", path);
    return format->ids_are_unique ? refuse_duplicate_ids(format, records) : EH_OK;
}
