// Score tables in memory, and as groups of an HDF5 file: a dataset per column, the columns' order in an attribute.
#include "io/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "core/version.h"
#include "io/atomic.h"
#include "io/hdf5.h"

#define FORMAT "evenhand-scores"
enum { VERSION = 1 };

// --- In memory ------------------------------------------------------------------------------------------------------
eh_status eh_score_table_init(const char *name, eh_score_table *table)
{
    *table = (eh_score_table){0};
    return eh_copy_string(name, &table->name);
}

void eh_score_table_deinit(eh_score_table *table)
{
    for (int64_t c = 0; c < table->column_count; c++) {
        eh_column *column = &table->columns[c];
        for (int64_t r = 0; column->texts != NULL && r < table->row_count; r++) eh_free(&column->texts[r]);
        eh_free(&column->texts);
        eh_free(&column->integers);
        eh_free(&column->numbers);
        eh_free(&column->name);
    }
    eh_free(&table->columns);
    eh_free(&table->refusal);
    eh_free(&table->name);
    *table = (eh_score_table){0};
}

int64_t eh_score_column(const eh_score_table *table, const char *name)
{
    for (int64_t c = 0; c < table->column_count; c++) {
        if (strcmp(table->columns[c].name, name) == 0)
            return c;
    }
    return -1;
}

// Makes room for `count` rows in a column whose rows from `first` on are new. Fresh texts are NULL: read as "".
static eh_status extend_column(eh_column *column, int64_t first, int64_t count)
{
    switch (column->type) {
    case EH_COLUMN_INTEGER:
        EH_TRY(eh_reserve(count, &column->capacity, sizeof(int64_t), (void **)&column->integers));
        for (int64_t r = first; r < count; r++) column->integers[r] = 0;
        break;
    case EH_COLUMN_NUMBER:
        EH_TRY(eh_reserve(count, &column->capacity, sizeof(double), (void **)&column->numbers));
        for (int64_t r = first; r < count; r++) column->numbers[r] = (double)NAN;
        break;
    case EH_COLUMN_TEXT:
        EH_TRY(eh_reserve(count, &column->capacity, sizeof(char *), (void **)&column->texts));
        for (int64_t r = first; r < count; r++) column->texts[r] = NULL;
        for (int64_t r = first; r < count; r++) EH_TRY(eh_copy_string("", &column->texts[r]));
        break;
    }
    return EH_OK;
}

eh_status eh_score_table_add_column(eh_score_table *table, const char *name, eh_column_type type, int64_t *column)
{
    *column = eh_score_column(table, name);
    if (*column >= 0) {
        EH_ASSERT(table->columns[*column].type == type);
        return EH_OK;
    }
    EH_TRY(EH_RESIZE(table->column_count, table->column_count + 1, &table->columns));
    eh_column *fresh = &table->columns[table->column_count];
    fresh->type = type;
    EH_TRY(eh_copy_string(name, &fresh->name));
    *column = table->column_count++;
    return extend_column(fresh, 0, table->row_count);
}

eh_status eh_score_table_add_rows(eh_score_table *table, int64_t count)
{
    const int64_t first = table->row_count;
    for (int64_t c = 0; c < table->column_count; c++) EH_TRY(extend_column(&table->columns[c], first, first + count));
    table->row_count = first + count;
    return EH_OK;
}

static eh_column *column_of(eh_score_table *table, int64_t column, int64_t row, eh_column_type type)
{
    EH_ASSERT(column >= 0 && column < table->column_count && row >= 0 && row < table->row_count);
    EH_ASSERT(table->columns[column].type == type);
    return &table->columns[column];
}

void eh_score_set_integer(eh_score_table *table, int64_t column, int64_t row, int64_t value)
{
    column_of(table, column, row, EH_COLUMN_INTEGER)->integers[row] = value;
}

void eh_score_set_number(eh_score_table *table, int64_t column, int64_t row, double value)
{
    column_of(table, column, row, EH_COLUMN_NUMBER)->numbers[row] = value;
}

eh_status eh_score_set_text(eh_score_table *table, int64_t column, int64_t row, const char *text)
{
    char **cell = &column_of(table, column, row, EH_COLUMN_TEXT)->texts[row];
    char *copy = NULL;
    EH_TRY(eh_copy_string(text, &copy));
    eh_free(cell);
    *cell = copy;
    return EH_OK;
}

// --- From all ranks to rank 0 ---------------------------------------------------------------------------------------
static eh_status pack_table(const eh_score_table *table, eh_string *bytes)
{
    EH_TRY(eh_string_append(bytes, (const char *)&table->row_count, sizeof table->row_count));
    EH_TRY(eh_string_append(bytes, (const char *)&table->column_count, sizeof table->column_count));
    const size_t row_count = (size_t)table->row_count;
    for (int64_t c = 0; c < table->column_count; c++) {
        const eh_column *column = &table->columns[c];
        const int64_t type = column->type;
        EH_TRY(eh_string_append(bytes, (const char *)&type, sizeof type));
        EH_TRY(eh_string_append(bytes, column->name, strlen(column->name) + 1));
        if (column->type == EH_COLUMN_INTEGER)
            EH_TRY(eh_string_append(bytes, (const char *)column->integers, row_count * sizeof(int64_t)));
        else if (column->type == EH_COLUMN_NUMBER)
            EH_TRY(eh_string_append(bytes, (const char *)column->numbers, row_count * sizeof(double)));
        else
            for (size_t r = 0; r < row_count; r++)
                EH_TRY(eh_string_append(bytes, column->texts[r], strlen(column->texts[r]) + 1));
    }
    return EH_OK;
}

static int64_t take_i64(const char **at)
{
    int64_t value = 0;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return value;
}

// Adds a rank's rows below those that `table` has.
static eh_status unpack_table(const char *at, eh_score_table *table)
{
    const int64_t row_count = take_i64(&at), column_count = take_i64(&at), first = table->row_count;
    if (table->column_count > 0 && table->column_count != column_count)
        return eh_error(EH_MACHINE, "table '%s' has other columns on another rank: a bug", table->name);
    EH_TRY(eh_score_table_add_rows(table, row_count));
    for (int64_t c = 0; c < column_count; c++) {
        const eh_column_type type = (eh_column_type)take_i64(&at);
        const char *name = at;
        at += strlen(name) + 1;
        int64_t found = 0;
        EH_TRY(eh_score_table_add_column(table, name, type, &found));
        if (found != c)
            return eh_error(EH_MACHINE, "table '%s' has its columns in another order on another rank: a bug",
                            table->name);
        eh_column *column = &table->columns[c];
        for (int64_t r = first; r < first + row_count; r++) {
            if (type == EH_COLUMN_INTEGER) {
                column->integers[r] = take_i64(&at);
            } else if (type == EH_COLUMN_NUMBER) {
                memcpy(&column->numbers[r], at, sizeof(double));
                at += sizeof(double);
            } else {
                EH_TRY(eh_score_set_text(table, c, r, at));
                at += strlen(at) + 1;
            }
        }
    }
    return EH_OK;
}

static eh_status gather_table(eh_comm *comm, const eh_score_table *mine, eh_score_table *all)
{
    const int size = eh_comm_size(comm);
    eh_string bytes = {0};
    void *blocks = NULL;
    size_t *sizes = NULL, total = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(packed, EH_ALLOC(size, &sizes));
    EH_TRY_OR(packed, pack_table(mine, &bytes));
packed:
    EH_TRY_OR(done, eh_comm_agree(comm, status));
    EH_TRY_OR(done, eh_comm_gather(comm, bytes.bytes, bytes.size, 0, &blocks, &total, sizes));
    if (eh_comm_rank(comm) == 0) {
        const char *at = blocks;
        for (int r = 0; r < size && status == EH_OK; at += sizes[r], r++) status = unpack_table(at, all);
    }
    status = eh_comm_agree(comm, status);
done:
    eh_free(&blocks);
    eh_free(&sizes);
    eh_string_deinit(&bytes);
    return status;
}

// --- The order of the rows ------------------------------------------------------------------------------------------
typedef struct {
    int64_t item, sample, row;
} row_key;

static int compare_keys(const void *a, const void *b)
{
    const row_key *x = a, *y = b;
    if (x->item != y->item)
        return x->item < y->item ? -1 : 1;
    if (x->sample != y->sample)
        return x->sample < y->sample ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static eh_status sorted_rows(const eh_score_table *table, row_key **keys)
{
    const int64_t item = eh_score_column(table, "item"), sample = eh_score_column(table, "sample");
    EH_ASSERT(item >= 0 && table->columns[item].type == EH_COLUMN_INTEGER);
    EH_TRY(EH_ALLOC(table->row_count, keys));
    for (int64_t r = 0; r < table->row_count; r++)
        (*keys)[r] = (row_key){.item = table->columns[item].integers[r],
                               .sample = sample >= 0 ? table->columns[sample].integers[r] : 0,
                               .row = r};
    qsort(*keys, (size_t)table->row_count, sizeof **keys, compare_keys);
    return EH_OK;
}

static eh_status write_column(hid_t group, const eh_column *column, const row_key *keys, int64_t count)
{
    void *sorted = NULL;
    EH_TRY(eh_alloc(count, sizeof(int64_t) > sizeof(char *) ? sizeof(int64_t) : sizeof(char *), &sorted));
    eh_status status = EH_OK;
    if (column->type == EH_COLUMN_INTEGER) {
        for (int64_t r = 0; r < count; r++) ((int64_t *)sorted)[r] = column->integers[keys[r].row];
        status = eh_hdf5_write(group, column->name, H5T_NATIVE_INT64, count, sorted);
    } else if (column->type == EH_COLUMN_NUMBER) {
        for (int64_t r = 0; r < count; r++) ((double *)sorted)[r] = column->numbers[keys[r].row];
        status = eh_hdf5_write(group, column->name, H5T_NATIVE_DOUBLE, count, sorted);
    } else {
        for (int64_t r = 0; r < count; r++) ((const char **)sorted)[r] = column->texts[keys[r].row];
        status = eh_hdf5_write_text_column(group, column->name, count, sorted);
    }
    eh_free(&sorted);
    return status;
}

static eh_status make_group(hid_t file, const char *name, hid_t *group)
{
    hid_t links = -1, creation = -1;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_HDF5(links = H5Pcreate(H5P_LINK_CREATE)));
    EH_TRY_OR(done, EH_HDF5(H5Pset_create_intermediate_group(links, 1)));
    EH_TRY_OR(done, EH_HDF5(creation = H5Pcreate(H5P_GROUP_CREATE)));
    EH_TRY_OR(done, EH_HDF5(H5Pset_obj_track_times(creation, false)));
    EH_TRY_OR(done, EH_HDF5(*group = H5Gcreate2(file, name, links, creation, H5P_DEFAULT)));
done:
    eh_hdf5_close(&creation);
    eh_hdf5_close(&links);
    return status;
}

static eh_status write_table(hid_t file, const eh_score_table *table)
{
    hid_t group = -1;
    row_key *keys = NULL;
    const char **names = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, make_group(file, table->name, &group));
    EH_TRY_OR(done, sorted_rows(table, &keys));
    EH_TRY_OR(done, EH_ALLOC(table->column_count, &names));
    for (int64_t c = 0; c < table->column_count; c++) {
        names[c] = table->columns[c].name;
        EH_TRY_OR(done, write_column(group, &table->columns[c], keys, table->row_count));
    }
    EH_TRY_OR(done, eh_hdf5_write_texts(group, "columns", names, table->column_count));
    if (table->refusal != NULL)
        EH_TRY_OR(done, eh_hdf5_write_text(group, "refusal", table->refusal));
done:
    eh_free(&names);
    eh_free(&keys);
    eh_hdf5_close(&group);
    return status == EH_OK ? EH_OK : eh_error_context(status, "table '%s'", table->name);
}

static eh_status write_origin(hid_t file, const eh_scores_origin *origin)
{
    const char *const texts[][2] = {
        {"format", FORMAT},
        {"phase", origin->phase},
        {"model_path", origin->model_path},
        {"model_sha256", origin->model_sha256},
        {"architecture", origin->architecture},
        {"job", origin->job},
        {"evenhand", eh_version()},
        {"revision", eh_git_revision()},
        {"build", eh_build_options()},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        EH_TRY(eh_hdf5_write_text(file, texts[i][0], texts[i][1] != NULL ? texts[i][1] : ""));
    EH_TRY(eh_hdf5_write_number(file, "version", VERSION));
    EH_TRY(eh_hdf5_write_number(file, "parameters", (uint64_t)origin->parameter_count));
    return eh_hdf5_write_number(file, "seed", origin->seed);
}

static eh_status write_file(const char *path, const eh_scores_origin *origin, const eh_score_table *tables,
                            int64_t table_count)
{
    hid_t file = -1;
    eh_string beside = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&beside, "%s.part", path));
    EH_TRY_OR(done, eh_make_parent_folders(path));
    EH_TRY_OR(done, eh_hdf5_create(path, &file));
    EH_TRY_OR(done, write_origin(file, origin));
    for (int64_t t = 0; t < table_count; t++) EH_TRY_OR(done, write_table(file, &tables[t]));
    EH_TRY_OR(done, eh_hdf5_save(&file, beside.bytes));
    EH_TRY_OR(done, eh_atomic_rename(beside.bytes, path));
done:
    eh_hdf5_close(&file);
    eh_string_deinit(&beside);
    return status == EH_OK ? EH_OK : eh_error_context(status, "scores");
}

eh_status eh_scores_write(eh_comm *comm, const char *path, const eh_scores_origin *origin, const eh_score_table *tables,
                          int64_t table_count)
{
    eh_score_table *all = NULL;
    eh_status status = EH_OK;
    EH_TRY(eh_comm_agree(comm, EH_ALLOC(table_count, &all)));
    for (int64_t t = 0; t < table_count; t++) {
        status = eh_comm_agree(comm, eh_score_table_init(tables[t].name, &all[t]));
        if (status == EH_OK)
            status = gather_table(comm, &tables[t], &all[t]);
        if (status == EH_OK && tables[t].refusal != NULL)
            status = eh_comm_agree(comm, eh_copy_string(tables[t].refusal, &all[t].refusal));
        if (status != EH_OK)
            goto done;
    }
    if (eh_comm_rank(comm) == 0)
        status = write_file(path, origin, all, table_count);
    status = eh_comm_agree(comm, status);
done:
    for (int64_t t = 0; t < table_count; t++) eh_score_table_deinit(&all[t]);
    eh_free(&all);
    return status;
}
