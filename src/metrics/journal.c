#include "metrics/journal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/string.h"

struct eh_journal {
    FILE *file; // NULL: does nothing
    char *path;
    int64_t *done; // ascending
    int64_t done_count, done_capacity;
    eh_string line;
};

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

bool eh_journal_has(const eh_journal *journal, int64_t item)
{
    return journal->done_count > 0 &&
           bsearch(&item, journal->done, (size_t)journal->done_count, sizeof item, compare) != NULL;
}

// --- Writing ------------------------------------------------------------------------------------------------------

// Tabs, line feeds and backslashes are escaped, so that a row is a line and a tab ends a column.
static eh_status add_escaped(eh_string *line, const char *text)
{
    for (const char *c = text == NULL ? "" : text; *c != '\0'; c++) {
        const char *escape = *c == '\t' ? "\\t" : *c == '\n' ? "\\n" : *c == '\\' ? "\\\\" : NULL;
        EH_TRY(escape != NULL ? eh_string_append_text(line, escape) : eh_string_append(line, c, 1));
    }
    return EH_OK;
}

eh_status eh_journal_note(eh_journal *journal, const eh_score_table *table, int64_t first, int64_t item)
{
    if (journal->file == NULL)
        return EH_OK;
    eh_string *line = &journal->line;
    eh_string_clear(line);
    for (int64_t row = first; row < table->row_count; row++) {
        EH_TRY(eh_string_append_text(line, "row"));
        for (int64_t c = 0; c < table->column_count; c++) {
            const eh_column *column = &table->columns[c];
            EH_TRY(eh_string_append(line, "\t", 1));
            if (column->type == EH_COLUMN_INTEGER)
                EH_TRY(eh_string_printf(line, "%" PRId64, column->integers[row]));
            else if (column->type == EH_COLUMN_NUMBER)
                EH_TRY(eh_string_printf(line, "%a", column->numbers[row]));
            else
                EH_TRY(add_escaped(line, column->texts[row]));
        }
        EH_TRY(eh_string_append(line, "\n", 1));
    }
    EH_TRY(eh_string_printf(line, "done\t%" PRId64 "\n", item));
    if (fwrite(line->bytes, 1, line->size, journal->file) != line->size)
        return eh_error(EH_MACHINE, "can't write %s: %s", journal->path, strerror(errno));
    return EH_OK;
}

eh_status eh_journal_flush(eh_journal *journal)
{
    if (journal->file != NULL && fflush(journal->file) != 0)
        return eh_error(EH_MACHINE, "can't write %s: %s", journal->path, strerror(errno));
    return EH_OK;
}

// --- Reading ------------------------------------------------------------------------------------------------------

static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '\\') {
            *to++ = *from;
            continue;
        }
        from++;
        *to++ = *from == 't' ? '\t' : *from == 'n' ? '\n' : *from;
    }
    *to = '\0';
}

// Cuts off the next column, ended by a tab or by the end of the line.
static char *next_column(char **rest)
{
    char *column = *rest;
    if (column == NULL)
        return NULL;
    char *tab = strchr(column, '\t');
    *rest = tab == NULL ? NULL : tab + 1;
    if (tab != NULL)
        *tab = '\0';
    return column;
}

static eh_status read_row(char *line, eh_score_table *table, const char *path)
{
    const int64_t row = table->row_count;
    EH_TRY(eh_score_table_add_rows(table, 1));
    char *rest = line;
    for (int64_t c = 0; c < table->column_count; c++) {
        char *text = next_column(&rest);
        if (text == NULL)
            return eh_error(EH_INPUT, "%s: a row lacks columns; remove the file to evaluate its items again", path);
        if (table->columns[c].type == EH_COLUMN_INTEGER) {
            eh_score_set_integer(table, c, row, strtoll(text, NULL, 10));
        } else if (table->columns[c].type == EH_COLUMN_NUMBER) {
            eh_score_set_number(table, c, row, strtod(text, NULL));
        } else {
            unescape(text);
            EH_TRY(eh_score_set_text(table, c, row, text));
        }
    }
    return EH_OK;
}

// The first line of a journal: what its rows depend on, and the columns.
static eh_status header_of(const char *key, const eh_score_table *table, eh_string *header)
{
    EH_TRY(eh_string_printf(header, "evenhand-journal\t%s\t%s", key, table->name));
    for (int64_t c = 0; c < table->column_count; c++)
        EH_TRY(eh_string_printf(header, "\t%s:%d", table->columns[c].name, (int)table->columns[c].type));
    return eh_string_append(header, "\n", 1);
}

// Rows wait until their item is "done"; an item that another file has is left out.
static eh_status read_lines(eh_journal *journal, FILE *file, const char *path, eh_score_table *table)
{
    eh_status status = EH_OK;
    char *line = NULL;
    size_t capacity = 0;
    eh_string pending = {0};
    int64_t *fresh = NULL, fresh_count = 0, fresh_capacity = 0; // of this file: an item is in it once
    for (ssize_t size; status == EH_OK && (size = getline(&line, &capacity, file)) > 0;) {
        if (line[size - 1] != '\n')
            break; // torn by the kill
        if (strncmp(line, "row\t", 4) == 0) {
            EH_TRY_OR(done, eh_string_append(&pending, line + 4, (size_t)size - 4));
            continue;
        }
        const int64_t item = strncmp(line, "done\t", 5) == 0 ? strtoll(line + 5, NULL, 10) : -1;
        const bool known = item < 0 || eh_journal_has(journal, item);
        for (char *row = pending.bytes; !known && row != NULL && *row != '\0' && status == EH_OK;) {
            char *end = strchr(row, '\n');
            *end = '\0';
            status = read_row(row, table, path);
            row = end + 1;
        }
        if (status == EH_OK && !known)
            status = EH_APPEND(&fresh, &fresh_count, &fresh_capacity, item);
        eh_string_clear(&pending);
    }
    for (int64_t i = 0; i < fresh_count && status == EH_OK; i++)
        status = EH_APPEND(&journal->done, &journal->done_count, &journal->done_capacity, fresh[i]);
    if (journal->done_count > 0)
        qsort(journal->done, (size_t)journal->done_count, sizeof *journal->done, compare);
done:
    eh_free(&fresh);
    free(line);
    eh_string_deinit(&pending);
    return status;
}

// A journal of another model, data set or job is removed: its rows are of no use any more.
static eh_status read_journal(eh_journal *journal, const char *path, const eh_string *header, eh_score_table *table)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return eh_error(EH_MACHINE, "can't read %s: %s", path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    const ssize_t size = getline(&line, &capacity, file);
    const bool fits = size > 0 && strcmp(line, header->bytes) == 0;
    free(line);
    const eh_status status = fits ? read_lines(journal, file, path, table) : EH_OK;
    fclose(file);
    return status;
}

static void file_stem(const eh_score_table *table, char stem[96])
{
    snprintf(stem, 96, "%s", table->name);
    for (char *c = stem; *c != '\0'; c++)
        if (*c == '/')
            *c = '.';
}

static eh_status read_all(eh_journal *journal, const char *folder, const eh_string *header, eh_score_table *table)
{
    char stem[96];
    file_stem(table, stem);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return eh_error(EH_MACHINE, "can't make the folder %s: %s", folder, strerror(errno));
    DIR *list = opendir(folder);
    if (list == NULL)
        return eh_error(EH_MACHINE, "can't read the folder %s: %s", folder, strerror(errno));
    eh_status status = EH_OK;
    const size_t length = strlen(stem);
    for (struct dirent *entry; status == EH_OK && (entry = readdir(list)) != NULL;) {
        if (strncmp(entry->d_name, stem, length) != 0 || entry->d_name[length] != '-')
            continue;
        eh_string path = {0};
        status = eh_string_printf(&path, "%s/%s", folder, entry->d_name);
        if (status == EH_OK)
            status = read_journal(journal, path.bytes, header, table);
        eh_string_deinit(&path);
    }
    closedir(list);
    return status;
}

// A file name that no earlier run has used: its number is that of the files there are.
static eh_status begin_file(eh_comm *comm, eh_journal *journal, const char *folder, const eh_string *header,
                            const eh_score_table *table)
{
    char stem[96];
    file_stem(table, stem);
    for (int run = 0; journal->file == NULL; run++) {
        eh_string path = {0};
        EH_TRY(eh_string_printf(&path, "%s/%s-%d-%d.rows", folder, stem, eh_comm_rank(comm), run));
        journal->file = fopen(path.bytes, "wx");
        eh_free(&journal->path);
        journal->path = path.bytes;
        if (journal->file == NULL && errno != EEXIST)
            return eh_error(EH_MACHINE, "can't write %s: %s", path.bytes, strerror(errno));
    }
    if (fwrite(header->bytes, 1, header->size, journal->file) != header->size)
        return eh_error(EH_MACHINE, "can't write %s: %s", journal->path, strerror(errno));
    return EH_OK;
}

eh_status eh_journal_open(eh_comm *comm, const char *folder, const char *key, eh_score_table *table,
                          eh_journal **journal)
{
    eh_journal *fresh = NULL;
    eh_string header = {0};
    EH_TRY(EH_ALLOC(1, &fresh));
    *journal = fresh;
    if (folder == NULL)
        return EH_OK;
    eh_status status = header_of(key, table, &header);
    if (status == EH_OK && eh_comm_rank(comm) == 0)
        status = read_all(fresh, folder, &header, table);
    EH_TRY_OR(done, eh_comm_agree(comm, status));
    size_t size = (size_t)fresh->done_count * sizeof *fresh->done;
    void *block = fresh->done;
    EH_TRY_OR(done, eh_comm_broadcast_block(comm, &block, &size, 0));
    fresh->done = block;
    fresh->done_count = (int64_t)(size / sizeof *fresh->done);
    status = eh_comm_agree(comm, begin_file(comm, fresh, folder, &header, table));
done:
    eh_string_deinit(&header);
    return status;
}

void eh_journal_close(eh_journal **journal)
{
    if (*journal == NULL)
        return;
    if ((*journal)->file != NULL)
        fclose((*journal)->file);
    eh_free(&(*journal)->path);
    eh_free(&(*journal)->done);
    eh_string_deinit(&(*journal)->line);
    eh_free(journal);
}

static eh_status remove_all(const char *folder)
{
    DIR *list = opendir(folder);
    if (list == NULL)
        return errno == ENOENT ? EH_OK : eh_error(EH_MACHINE, "can't read the folder %s: %s", folder, strerror(errno));
    eh_status status = EH_OK;
    for (struct dirent *entry; status == EH_OK && (entry = readdir(list)) != NULL;) {
        const size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 5, ".rows") != 0)
            continue;
        eh_string path = {0};
        status = eh_string_printf(&path, "%s/%s", folder, entry->d_name);
        if (status == EH_OK && unlink(path.bytes) != 0)
            status = eh_error(EH_MACHINE, "can't remove %s: %s", path.bytes, strerror(errno));
        eh_string_deinit(&path);
    }
    closedir(list);
    if (status == EH_OK && rmdir(folder) != 0)
        status = eh_error(EH_MACHINE, "can't remove %s: %s", folder, strerror(errno));
    return status;
}

eh_status eh_journal_remove(eh_comm *comm, const char *folder)
{
    EH_TRY(eh_comm_barrier(comm)); // every rank has closed its own
    return eh_comm_agree(comm, eh_comm_rank(comm) == 0 ? remove_all(folder) : EH_OK);
}
