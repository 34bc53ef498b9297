#include "sweep_table.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/atomic.h"

// A field of CSV (RFC 4180).
static eh_status add_field(const char *text, eh_string *csv)
{
    if (strpbrk(text, ",\"\r\n") == NULL)
        return eh_string_append_text(csv, text);
    EH_TRY(eh_string_append_text(csv, "\""));
    for (const char *at = text; *at != '\0'; at++) EH_TRY(eh_string_printf(csv, *at == '"' ? "\"\"" : "%c", *at));
    return eh_string_append_text(csv, "\"");
}

// "run,train.lr," for the header (run NULL), or a run's own name and values.
static eh_status add_prefix(const eh_sweep *sweep, const eh_run *run, eh_string *csv)
{
    EH_TRY(add_field(run != NULL ? run->name : "run", csv));
    for (int64_t i = 0; i < sweep->key_count; i++) {
        EH_TRY(eh_string_append_text(csv, ","));
        EH_TRY(add_field(run != NULL ? run->values[i] : sweep->keys[i], csv));
    }
    return EH_OK;
}

static eh_status read_table(const eh_run *run, const char *name, eh_string *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tables/%s", run->job.output, name);
    eh_string_clear(text);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return EH_OK; // this run has no such table
    char piece[4096];
    eh_status status = EH_OK;
    for (size_t size; status == EH_OK && (size = fread(piece, 1, sizeof piece, file)) > 0;)
        status = eh_string_append(text, piece, size);
    fclose(file);
    return status;
}

// The end of the CSV record that begins at `at`: line breaks inside quotes belong to it.
static const char *record_end(const char *at)
{
    bool quoted = false;
    for (; *at != '\0' && (quoted || *at != '\n'); at++)
        if (*at == '"')
            quoted = !quoted;
    return at;
}

// Behind the first field of the record at `at`.
static const char *behind_field(const char *at)
{
    bool quoted = false;
    for (; *at != '\0' && (quoted || *at != ','); at++)
        if (*at == '"')
            quoted = !quoted;
    return *at == ',' ? at + 1 : at;
}

static size_t field_size(const char *at)
{
    size_t size = 0;
    for (bool quoted = false; at[size] != '\0' && (quoted || (at[size] != ',' && at[size] != '\n')); size++)
        quoted = quoted != (at[size] == '"');
    return size;
}

// The index of a column in a header, by its name as it is written there, -1: there is none.
static int64_t column_of(const char *header, const char *name, size_t length)
{
    for (int64_t index = 0;; index++) {
        const size_t size = field_size(header);
        if (size == length && memcmp(header, name, size) == 0)
            return index;
        if (header[size] != ',')
            return -1;
        header += size + 1;
    }
}

// The record of a table whose columns are `own`, as one of the columns `header`: what it lacks is empty. A run that was
// refused a metric has fewer columns than the others.
static eh_status add_by_name(const char *header, const char *own, const char *record, eh_string *csv)
{
    for (const char *at = header;; at++) {
        const size_t size = field_size(at);
        const int64_t column = column_of(own, at, size);
        const char *field = record;
        for (int64_t c = 0; c < column; c++) field = behind_field(field);
        if (column >= 0)
            EH_TRY(eh_string_append(csv, field, field_size(field)));
        at += size;
        if (*at != ',')
            return EH_OK;
        EH_TRY(eh_string_append_text(csv, ","));
    }
}

static bool is_field_empty(const char *record, int64_t column)
{
    for (int64_t c = 0; c < column; c++) record = behind_field(record);
    return *record == ',' || *record == '\n' || *record == '\0';
}

// The header with most columns of all runs' tables of that name.
static eh_status widest_header(const eh_sweep *sweep, const char *name, eh_string *header)
{
    int64_t most = 0;
    eh_status status = EH_OK;
    for (int64_t i = 0; i < sweep->run_count && status == EH_OK; i++) {
        char path[4096], *line = NULL;
        size_t room = 0;
        int64_t columns = 1;
        snprintf(path, sizeof path, "%s/tables/%s", sweep->runs[i].job.output, name);
        FILE *file = fopen(path, "rb");
        if (file == NULL)
            continue;
        const bool is_there = getline(&line, &room, file) > 0;
        fclose(file);
        if (is_there) {
            line[strcspn(line, "\n")] = '\0';
            for (const char *at = line + field_size(line); *at == ','; at += 1 + field_size(at + 1)) columns++;
        }
        if (is_there && columns > most) {
            most = columns;
            eh_string_clear(header);
            status = eh_string_append_text(header, line);
        }
        free(line);
    }
    return status;
}

// Six of ten lines of figures.csv are what the null pickers would have scored; a third of a gigabyte of them in a sweep
// of 46 runs serves nobody, and each run's own file has them.
static eh_status merge_table(const eh_sweep *sweep, const char *name)
{
    eh_string merged = {0}, text = {0}, path = {0}, header = {0};
    bool has_run; // a column of the table's own, which says what the prefix says
    int64_t null_picker;
    eh_status status = EH_OK;
    EH_TRY_OR(done, widest_header(sweep, name, &header));
    if (header.size == 0)
        goto done;
    EH_TRY_OR(done, add_prefix(sweep, NULL, &merged));
    has_run = column_of(header.bytes, "run", strlen("run")) == 0;
    null_picker = column_of(header.bytes, "null_picker", strlen("null_picker"));
    EH_TRY_OR(done, eh_string_printf(&merged, ",%s\n", has_run ? behind_field(header.bytes) : header.bytes));
    for (int64_t i = 0; i < sweep->run_count; i++) {
        const eh_run *run = &sweep->runs[i];
        EH_TRY_OR(done, read_table(run, name, &text));
        if (text.size == 0)
            continue;
        const char *end = record_end(text.bytes);
        const bool same =
            header.size == (size_t)(end - text.bytes) && memcmp(header.bytes, text.bytes, header.size) == 0;
        for (const char *at = end; *at != '\0' && at[1] != '\0'; at = end) {
            end = record_end(at + 1);
            if (same && null_picker >= 0 && !is_field_empty(at + 1, null_picker))
                continue;
            EH_TRY_OR(done, add_prefix(sweep, run, &merged));
            EH_TRY_OR(done, eh_string_append_text(&merged, ","));
            const char *rest = has_run ? behind_field(at + 1) : at + 1;
            const char *columns = has_run ? behind_field(header.bytes) : header.bytes;
            EH_TRY_OR(done, same ? eh_string_append(&merged, rest, (size_t)(end - rest))
                                 : add_by_name(columns, text.bytes, at + 1, &merged));
            EH_TRY_OR(done, eh_string_append_text(&merged, "\n"));
        }
    }
    EH_TRY_OR(done, eh_string_printf(&path, "%s/tables/%s", sweep->output, name));
    EH_TRY_OR(done, eh_atomic_write(path.bytes, merged.bytes, merged.size));
done:
    eh_string_deinit(&merged);
    eh_string_deinit(&text);
    eh_string_deinit(&path);
    eh_string_deinit(&header);
    return status;
}

static int is_csv(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot != NULL && strcmp(dot, ".csv") == 0;
}

static bool has_table(const eh_run *run, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tables/%s", run->job.output, name);
    FILE *file = fopen(path, "rb");
    if (file != NULL)
        fclose(file);
    return file != NULL;
}

// The tables of run `index` that no earlier run has, each merged over all runs.
static eh_status merge_new_tables(const eh_sweep *sweep, int64_t index)
{
    char folder[4096];
    struct dirent **entries = NULL;
    snprintf(folder, sizeof folder, "%s/tables", sweep->runs[index].job.output);
    const int count = scandir(folder, &entries, is_csv, alphasort);
    eh_status status = EH_OK;
    for (int i = 0; i < count; i++) {
        bool seen = false;
        for (int64_t other = 0; other < index; other++)
            seen = seen || has_table(&sweep->runs[other], entries[i]->d_name);
        if (!seen && status == EH_OK)
            status = merge_table(sweep, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static eh_status write_runs(const eh_sweep *sweep, const int *exit_codes)
{
    eh_string csv = {0}, markdown = {0}, path = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, add_prefix(sweep, NULL, &csv));
    EH_TRY_OR(done, eh_string_append_text(&csv, ",exit_code,report\n"));
    EH_TRY_OR(done, eh_string_append_text(&markdown, "| run |"));
    for (int64_t k = 0; k < sweep->key_count; k++)
        EH_TRY_OR(done, eh_string_printf(&markdown, " %s |", sweep->keys[k]));
    EH_TRY_OR(done, eh_string_append_text(&markdown, " exit code | report |\n|---|"));
    for (int64_t k = 0; k < sweep->key_count + 2; k++) EH_TRY_OR(done, eh_string_append_text(&markdown, "---|"));
    EH_TRY_OR(done, eh_string_append_text(&markdown, "\n"));
    for (int64_t i = 0; i < sweep->run_count; i++) {
        const eh_run *run = &sweep->runs[i];
        EH_TRY_OR(done, add_prefix(sweep, run, &csv));
        EH_TRY_OR(done, eh_string_printf(&csv, ",%d,%s/report.html\n", exit_codes[i], run->name));
        EH_TRY_OR(done, eh_string_printf(&markdown, "| %s |", run->name));
        for (int64_t k = 0; k < sweep->key_count; k++)
            EH_TRY_OR(done, eh_string_printf(&markdown, " %s |", run->values[k]));
        EH_TRY_OR(done, eh_string_printf(&markdown, " %d | [%s](../%s/report.html) |\n", exit_codes[i],
                                         exit_codes[i] == 0 ? "page" : "-", run->name));
    }
    EH_TRY_OR(done, eh_string_printf(&path, "%s/tables/runs.csv", sweep->output));
    EH_TRY_OR(done, eh_atomic_write(path.bytes, csv.bytes, csv.size));
    eh_string_clear(&path);
    EH_TRY_OR(done, eh_string_printf(&path, "%s/tables/runs.md", sweep->output));
    EH_TRY_OR(done, eh_atomic_write(path.bytes, markdown.bytes, markdown.size));
done:
    eh_string_deinit(&csv);
    eh_string_deinit(&markdown);
    eh_string_deinit(&path);
    return status;
}

eh_status eh_front_write_sweep_tables(const eh_sweep *sweep, const int *exit_codes)
{
    EH_TRY(write_runs(sweep, exit_codes));
    for (int64_t i = 0; i < sweep->run_count; i++) EH_TRY(merge_new_tables(sweep, i));
    return EH_OK;
}
