// Reading score files: every group that has the attribute "columns" is a table.
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5.h"
#include "io/scores.h"

typedef struct {
    eh_score_table *tables;
    int64_t count, capacity;
    eh_status status;
} table_list;

static eh_status read_column(hid_t group, const char *name, bool first, eh_score_table *table)
{
    const H5T_class_t class = eh_hdf5_class(group, name);
    int64_t count = 0, index = 0;
    EH_TRY(eh_hdf5_count(group, name, &count));
    if (first)
        EH_TRY(eh_score_table_add_rows(table, count));
    if (count != table->row_count)
        return eh_error(EH_INPUT, "column '%s' has %lld rows, expected %lld", name, (long long)count,
                        (long long)table->row_count);
    const eh_column_type type = class == H5T_INTEGER ? EH_COLUMN_INTEGER
                                : class == H5T_FLOAT ? EH_COLUMN_NUMBER
                                                     : EH_COLUMN_TEXT;
    if (eh_score_column(table, name) >= 0)
        return eh_error(EH_INPUT, "column '%s' is named twice", name);
    EH_TRY(eh_score_table_add_column(table, name, type, &index));
    eh_column *column = &table->columns[index];
    if (type == EH_COLUMN_INTEGER)
        return eh_hdf5_read(group, name, H5T_NATIVE_INT64, 0, count, column->integers);
    if (type == EH_COLUMN_NUMBER)
        return eh_hdf5_read(group, name, H5T_NATIVE_DOUBLE, 0, count, column->numbers);
    char **texts = NULL;
    EH_TRY(eh_hdf5_read_text_column(group, name, &texts, &count));
    for (int64_t r = 0; r < count; r++) {
        eh_free(&column->texts[r]);
        column->texts[r] = texts[r];
    }
    eh_free(&texts);
    return EH_OK;
}

static eh_status read_table(hid_t root, const char *name, eh_score_table *table)
{
    hid_t group = -1;
    char **columns = NULL;
    int64_t count = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_HDF5(group = H5Gopen2(root, name, H5P_DEFAULT)));
    EH_TRY_OR(done, eh_score_table_init(name, table));
    EH_TRY_OR(done, eh_hdf5_read_texts(group, "columns", &columns, &count));
    for (int64_t c = 0; c < count; c++) EH_TRY_OR(done, read_column(group, columns[c], c == 0, table));
    if (eh_hdf5_has_attribute(group, "refusal"))
        EH_TRY_OR(done, eh_hdf5_read_text(group, "refusal", &table->refusal));
done:
    eh_hdf5_free_texts(&columns);
    eh_hdf5_close(&group);
    return status == EH_OK ? EH_OK : eh_error_context(status, "table '%s'", name);
}

static herr_t visit(hid_t root, const char *name, const H5O_info_t *info, void *data)
{
    table_list *list = data;
    if (info->type != H5O_TYPE_GROUP || H5Aexists_by_name(root, name, "columns", H5P_DEFAULT) <= 0)
        return 0;
    eh_score_table table = {0};
    list->status = read_table(root, name, &table);
    if (list->status == EH_OK)
        list->status = EH_APPEND(&list->tables, &list->count, &list->capacity, table);
    if (list->status != EH_OK)
        eh_score_table_deinit(&table);
    return list->status == EH_OK ? 0 : 1;
}

static eh_status open_scores(const char *path, hid_t *file)
{
    EH_TRY(eh_hdf5_open(path, file));
    char *format = NULL;
    eh_status status = eh_hdf5_read_text(*file, "format", &format);
    if (status == EH_OK && strcmp(format, "evenhand-scores") != 0)
        status = eh_error(EH_INPUT, "not a score file of evenhand");
    eh_free(&format);
    if (status != EH_OK)
        eh_hdf5_close(file);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s", path);
}

eh_status eh_scores_read(const char *path, eh_score_table **tables, int64_t *table_count)
{
    hid_t file = -1;
    table_list list = {0};
    EH_TRY(open_scores(path, &file));
    const herr_t visited = H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, visit, &list, H5O_INFO_BASIC);
    eh_status status = list.status;
    if (status == EH_OK && visited < 0)
        status = eh_error(EH_INPUT, "the file is damaged");
    H5Eclear2(H5E_DEFAULT);
    eh_hdf5_close(&file);
    if (status != EH_OK) {
        for (int64_t t = 0; t < list.count; t++) eh_score_table_deinit(&list.tables[t]);
        eh_free(&list.tables);
        return eh_error_context(status, "%s", path);
    }
    *tables = list.tables;
    *table_count = list.count;
    return EH_OK;
}

eh_status eh_scores_attribute(const char *path, const char *name, char **value)
{
    hid_t file = -1;
    EH_TRY(open_scores(path, &file));
    eh_status status = EH_OK;
    uint64_t number = 0;
    char digits[24];
    if (eh_hdf5_has_attribute(file, name) && eh_hdf5_read_number(file, name, &number) == EH_OK) {
        snprintf(digits, sizeof digits, "%" PRIu64, number);
        status = eh_copy_string(digits, value);
    } else if (eh_hdf5_has_attribute(file, name))
        status = eh_hdf5_read_text(file, name, value);
    else
        status = eh_copy_string("", value);
    eh_hdf5_close(&file);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s", path);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

eh_status eh_scores_phases(const char *folder, char ***phases, int64_t *count)
{
    static const char begin[] = "scores-", end[] = ".h5";
    const size_t first = strlen(begin), around = first + strlen(end);
    int64_t capacity = 0;
    eh_status status = EH_OK;
    *phases = NULL;
    *count = 0;
    DIR *entries = opendir(folder);
    if (entries == NULL)
        return errno == ENOENT ? EH_OK : eh_error(EH_MACHINE, "can't read the folder %s: %s", folder, strerror(errno));
    for (struct dirent *entry; status == EH_OK && (entry = readdir(entries)) != NULL;) {
        const char *name = entry->d_name;
        const size_t size = strlen(name);
        char *phase = NULL;
        if (size <= around || strncmp(name, begin, first) != 0 || strcmp(name + size - strlen(end), end) != 0)
            continue;
        status = eh_copy_bytes(name + first, size - around, &phase);
        if (status == EH_OK)
            status = EH_APPEND(phases, count, &capacity, phase);
    }
    closedir(entries);
    if (*count > 0)
        qsort(*phases, (size_t)*count, sizeof **phases, by_name);
    return status;
}
