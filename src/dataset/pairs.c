// A user's own pairs: CSV, TSV or JSONL with `more`, `less` and optionally `group`, `id`, `writer`, `direction`.
#include <string.h>

#include "core/memory.h"
#include "dataset/dataset.h"
#include "io/csv.h"
#include "io/json.h"
#include "io/lines.h"

enum { ID, MORE, LESS, DIRECTION, GROUP, WRITER, FIELDS };

static const char *const fields[] = {"id", "more", "less", "direction", "group", "writer", NULL};

static eh_status add_pair(const char *const *values, uint64_t row, int64_t line, eh_records *records)
{
    EH_TRY(eh_records_begin(records, row, line));
    for (int f = 0; f < FIELDS; f++) {
        const char *value = values[f] != NULL ? values[f] : f == DIRECTION ? "stereo" : f == GROUP ? "all" : "";
        EH_TRY(eh_records_field_text(records, value));
        if ((f == MORE || f == LESS) && *value == '\0')
            eh_records_problem(records, "a sentence of the pair is empty");
        if (f == DIRECTION && strcmp(value, "stereo") != 0 && strcmp(value, "antistereo") != 0)
            eh_records_problem(records, "direction is neither 'stereo' nor 'antistereo'");
    }
    return eh_records_end(records);
}

static eh_status read_csv(const char *path, char separator, eh_records *records)
{
    eh_csv *csv = NULL;
    int64_t needed[2], columns[FIELDS];
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_csv_open(path, separator, separator == ',' ? EH_CSV_QUOTED : EH_CSV_PLAIN, &csv));
    EH_TRY_OR(done, eh_csv_columns(csv, fields + MORE, 2, needed));
    for (int f = 0; f < FIELDS; f++) columns[f] = eh_csv_column(csv, fields[f]);
    for (bool more = true;;) {
        eh_csv_row row;
        const char *values[FIELDS] = {0};
        EH_TRY_OR(done, eh_csv_next(csv, &row, &more));
        if (!more || eh_records_full(records, (uint64_t)row.row))
            break;
        if (row.problem != NULL) {
            EH_TRY_OR(done, eh_records_reject(records, (uint64_t)row.row, row.line, row.problem));
            continue;
        }
        for (int f = 0; f < FIELDS; f++) values[f] = columns[f] >= 0 ? row.fields[columns[f]] : NULL;
        EH_TRY_OR(done, add_pair(values, (uint64_t)row.row, row.line, records));
    }
done:
    eh_csv_close(&csv);
    return status;
}

static eh_status add_json(const char *path, const char *text, size_t size, uint64_t row, int64_t line,
                          eh_records *records)
{
    json_t *value = NULL;
    const char *values[FIELDS] = {0};
    EH_TRY(eh_json_parse_line(path, line, text, size, &value));
    for (int f = 0; f < FIELDS; f++) values[f] = json_string_value(json_object_get(value, fields[f]));
    const eh_status status = values[MORE] != NULL && values[LESS] != NULL
                                 ? add_pair(values, row, line, records)
                                 : eh_records_reject(records, row, line, "lacks 'more' or 'less'");
    json_decref(value);
    return status;
}

static eh_status read_jsonl(const char *path, eh_records *records)
{
    eh_lines *lines = NULL;
    EH_TRY(eh_lines_open(path, &lines));
    eh_status status = EH_OK;
    for (uint64_t row = 0; !eh_records_full(records, row); row++) {
        const char *line = NULL;
        size_t size = 0;
        bool more = false;
        EH_TRY_OR(done, eh_lines_next(lines, &line, &size, &more));
        if (!more)
            break;
        EH_TRY_OR(done, add_json(path, line, size, row, eh_lines_number(lines), records));
    }
done:
    eh_lines_close(&lines);
    return status;
}

// The name without ".gz" ends in `ending`.
static bool ends_in(const char *path, const char *ending)
{
    size_t size = strlen(path);
    if (size > 3 && strcmp(path + size - 3, ".gz") == 0)
        size -= 3;
    const size_t length = strlen(ending);
    return size >= length && memcmp(path + size - length, ending, length) == 0;
}

static eh_status read_pairs(const char *path, eh_records *records)
{
    if (ends_in(path, ".jsonl") || ends_in(path, ".json"))
        return read_jsonl(path, records);
    return read_csv(path, ends_in(path, ".tsv") ? '\t' : ',', records);
}

const eh_data_format eh_format_pairs = {
    .name = "pairs",
    .kind = EH_RECORD_PAIR,
    .field_names = fields,
    .roles = {.id = ID,
              .more = MORE,
              .less = LESS,
              .direction = DIRECTION,
              .group = GROUP,
              .writer = WRITER,
              .context = -1,
              .sentence = -1,
              .prompt = -1,
              .completion = -1,
              .text = -1},
    .ids_are_unique = true,
    .read = read_pairs,
};
