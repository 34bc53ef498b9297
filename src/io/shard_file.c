// One shard as an HDF5 file: what it holds is a claim when it is read, so every offset and size is checked.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/version.h"
#include "io/hdf5.h"
#include "io/shard_internal.h"

#define FORMAT "evenhand-shard"

static eh_status write_origin(hid_t file, const eh_shard_origin *origin, int64_t shard, const char *const *field_names)
{
    const struct {
        const char *name, *text;
    } texts[] = {
        {"format", FORMAT},
        {"name", origin->name},
        {"data_format", origin->data_format},
        {"task", origin->task},
        {"template", origin->template_text},
        {"layout", origin->layout},
        {"tokenizer_sha256", origin->tokenizer_sha256},
        {"source_sha256", origin->source_sha256},
        {"job", origin->job},
        {"key", origin->key},
        {"evenhand", eh_version()},
        {"revision", eh_git_revision()},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        EH_TRY(eh_hdf5_write_text(file, texts[i].name, texts[i].text != NULL ? texts[i].text : ""));
    int64_t field_count = 0;
    while (field_names != NULL && field_names[field_count] != NULL) field_count++;
    EH_TRY(eh_hdf5_write_texts(file, "fields", field_names, field_count));
    EH_TRY(eh_hdf5_write_number(file, "version", EH_SHARD_VERSION));
    EH_TRY(eh_hdf5_write_number(file, "seed", origin->seed));
    return eh_hdf5_write_number(file, "shard", (uint64_t)shard);
}

static eh_status write_lists(hid_t file, const char *ids, const char *offsets, const eh_ragged_ids *lists,
                             int64_t count)
{
    EH_TRY(eh_hdf5_write(file, ids, H5T_NATIVE_UINT32, (int64_t)lists->offsets[count], lists->values));
    return eh_hdf5_write(file, offsets, H5T_NATIVE_UINT64, count + 1, lists->offsets);
}

static eh_status write_datasets(hid_t file, const eh_examples *e)
{
    const int64_t n = e->count, candidates = (int64_t)e->candidate_first[n];
    EH_TRY(write_lists(file, "input_ids", "input_offsets", &e->inputs, n));
    EH_TRY(write_lists(file, "target_ids", "target_offsets", &e->targets, n));
    EH_TRY(write_lists(file, "candidate_ids", "candidate_offsets", &e->candidates, candidates));
    EH_TRY(eh_hdf5_write(file, "candidate_first", H5T_NATIVE_UINT64, n + 1, e->candidate_first));
    EH_TRY(eh_hdf5_write(file, "label", H5T_NATIVE_INT8, candidates, e->labels));
    EH_TRY(eh_hdf5_write(file, "group", H5T_NATIVE_UINT16, n, e->groups));
    EH_TRY(eh_hdf5_write(file, "source_row", H5T_NATIVE_UINT64, n, e->source_rows));
    EH_TRY(eh_hdf5_write(file, "split", H5T_NATIVE_UINT8, n, e->splits));
    EH_TRY(eh_hdf5_write(file, "text", H5T_NATIVE_UINT8, (int64_t)e->text_offsets[n], e->text));
    return eh_hdf5_write(file, "text_offsets", H5T_NATIVE_UINT64, n + 1, e->text_offsets);
}

eh_status eh_shard_file_write(const char *path, const eh_shard_origin *origin, const char *const *field_names,
                              int64_t shard, const eh_examples *examples)
{
    hid_t file = -1;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_hdf5_create(path, &file));
    EH_TRY_OR(done, write_origin(file, origin, shard, field_names));
    EH_TRY_OR(done, write_datasets(file, examples));
    EH_TRY_OR(done, eh_hdf5_save_draft(&file, path));
done:
    eh_hdf5_close(&file);
    return status;
}

eh_status eh_shard_file_complete(const char *path, const char *const *group_names, int64_t shard_count)
{
    int64_t group_count = 0;
    while (group_names != NULL && group_names[group_count] != NULL) group_count++;
    hid_t file = -1;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_hdf5_edit(path, &file));
    EH_TRY_OR(done, eh_hdf5_write_texts(file, "groups", group_names, group_count));
    EH_TRY_OR(done, eh_hdf5_write_number(file, "shard_count", (uint64_t)shard_count));
    EH_TRY_OR(done, eh_hdf5_save(&file, path));
done:
    eh_hdf5_close(&file);
    return status;
}

// --- Reading ------------------------------------------------------------------------------------------------------
// Offsets must begin at 0, ascend, and end at the number of values.
static eh_status read_offsets(hid_t file, const char *name, int64_t count, const char *values_name, uint64_t **offsets)
{
    int64_t found = 0, values = 0;
    EH_TRY(eh_hdf5_count(file, name, &found));
    if (found != count + 1)
        return eh_error(EH_INPUT, "'%s' has %" PRId64 " entries, expected %" PRId64, name, found, count + 1);
    EH_TRY(EH_ALLOC(found, offsets));
    EH_TRY(eh_hdf5_read(file, name, H5T_NATIVE_UINT64, 0, found, *offsets));
    for (int64_t i = 0; i < count; i++) {
        if ((*offsets)[i] > (*offsets)[i + 1])
            return eh_error(EH_INPUT, "'%s' does not ascend at %" PRId64, name, i);
    }
    if (values_name == NULL)
        return EH_OK;
    EH_TRY(eh_hdf5_count(file, values_name, &values));
    if ((*offsets)[0] != 0 || (*offsets)[count] != (uint64_t)values)
        return eh_error(EH_INPUT, "'%s' covers [%" PRIu64 ", %" PRIu64 ") of %" PRId64 " '%s'", name, (*offsets)[0],
                        (*offsets)[count], values, values_name);
    return EH_OK;
}

static eh_status read_lists(hid_t file, const char *ids, const char *offsets, int64_t count, eh_ragged_ids *lists)
{
    EH_TRY(read_offsets(file, offsets, count, ids, &lists->offsets));
    const int64_t total = (int64_t)lists->offsets[count];
    EH_TRY(EH_ALLOC(total, &lists->values));
    return eh_hdf5_read(file, ids, H5T_NATIVE_UINT32, 0, total, lists->values);
}

static eh_status read_column(hid_t file, const char *name, hid_t type, int64_t count, void *values)
{
    int64_t found = 0;
    EH_TRY(eh_hdf5_count(file, name, &found));
    if (found != count)
        return eh_error(EH_INPUT, "'%s' has %" PRId64 " entries, expected %" PRId64, name, found, count);
    return eh_hdf5_read(file, name, type, 0, count, values);
}

static eh_status read_datasets(hid_t file, int64_t group_count, eh_examples *e)
{
    EH_TRY(eh_hdf5_count(file, "source_row", &e->count));
    const int64_t n = e->count;
    EH_TRY(read_lists(file, "input_ids", "input_offsets", n, &e->inputs));
    EH_TRY(read_lists(file, "target_ids", "target_offsets", n, &e->targets));
    EH_TRY(read_offsets(file, "candidate_first", n, "label", &e->candidate_first));
    const int64_t candidates = (int64_t)e->candidate_first[n];
    EH_TRY(read_lists(file, "candidate_ids", "candidate_offsets", candidates, &e->candidates));
    EH_TRY(EH_ALLOC(candidates, &e->labels));
    EH_TRY(read_column(file, "label", H5T_NATIVE_INT8, candidates, e->labels));
    EH_TRY(EH_ALLOC(n, &e->groups));
    EH_TRY(read_column(file, "group", H5T_NATIVE_UINT16, n, e->groups));
    EH_TRY(EH_ALLOC(n, &e->source_rows));
    EH_TRY(read_column(file, "source_row", H5T_NATIVE_UINT64, n, e->source_rows));
    EH_TRY(EH_ALLOC(n, &e->splits));
    EH_TRY(read_column(file, "split", H5T_NATIVE_UINT8, n, e->splits));
    EH_TRY(read_offsets(file, "text_offsets", n, "text", &e->text_offsets));
    EH_TRY(EH_ALLOC((int64_t)e->text_offsets[n], &e->text));
    EH_TRY(eh_hdf5_read(file, "text", H5T_NATIVE_UINT8, 0, (int64_t)e->text_offsets[n], e->text));
    for (int64_t i = 0; i < n; i++) {
        if (e->groups[i] >= group_count || e->splits[i] > EH_SPLIT_EVALUATE)
            return eh_error(EH_INPUT, "example %" PRId64 " is of group %d of %" PRId64 " and of split %d", i,
                            e->groups[i], group_count, e->splits[i]);
    }
    return EH_OK;
}

static eh_status check_version(hid_t file)
{
    char *format = NULL;
    uint64_t version = 0;
    EH_TRY(eh_hdf5_read_text(file, "format", &format));
    const bool ours = strcmp(format, FORMAT) == 0;
    eh_free(&format);
    if (!ours)
        return eh_error(EH_INPUT, "not a shard of evenhand");
    EH_TRY(eh_hdf5_read_number(file, "version", &version));
    if (version != EH_SHARD_VERSION)
        return eh_error(EH_INPUT, "layout version %" PRIu64 ", this program reads version %d: run tokenize again",
                        version, EH_SHARD_VERSION);
    return EH_OK;
}

static bool equal_lists(char **a, char **b)
{
    for (; *a != NULL && *b != NULL; a++, b++) {
        if (strcmp(*a, *b) != 0)
            return false;
    }
    return *a == NULL && *b == NULL;
}

eh_status eh_shard_file_read(const char *path, eh_examples *examples)
{
    hid_t file = -1;
    eh_examples mine = {0};
    int64_t group_count = 0, field_count = 0;
    eh_status status = EH_OK;
    EH_TRY(eh_hdf5_open(path, &file)); // its message has the path
    EH_TRY_OR(done, check_version(file));
    EH_TRY_OR(done, eh_hdf5_read_texts(file, "groups", &mine.group_names, &group_count));
    EH_TRY_OR(done, eh_hdf5_read_texts(file, "fields", &mine.field_names, &field_count));
    EH_TRY_OR(done, read_datasets(file, group_count, &mine));
    if (examples->group_names == NULL) {
        examples->group_names = mine.group_names;
        examples->field_names = mine.field_names;
        mine.group_names = mine.field_names = NULL;
    } else if (!equal_lists(examples->group_names, mine.group_names) ||
               !equal_lists(examples->field_names, mine.field_names)) {
        status = eh_error(EH_INPUT, "its groups or fields are not those of the other shards: run tokenize again");
        goto done;
    }
    EH_TRY_OR(done, eh_examples_add_range(examples, &mine, 0, mine.count));
done:
    eh_examples_deinit(&mine);
    eh_hdf5_close(&file);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s", path);
}

// --- Names --------------------------------------------------------------------------------------------------------
static bool parse_digits(const char **at, int64_t *number)
{
    *number = 0;
    const char *begin = *at;
    for (; **at >= '0' && **at <= '9' && *at - begin < 12; ++*at) *number = *number * 10 + (**at - '0');
    return *at - begin >= 5;
}

bool eh_shard_name_parse(const char *file, const char *name, int64_t *shard, int64_t *count)
{
    const size_t length = strlen(name);
    if (strncmp(file, name, length) != 0 || file[length] != '-')
        return false;
    const char *at = file + length + 1;
    if (!parse_digits(&at, shard) || strncmp(at, "-of-", 4) != 0)
        return false;
    at += 4;
    return parse_digits(&at, count) && strcmp(at, ".h5") == 0 && *shard < *count;
}

eh_status eh_shard_path(const char *folder, const char *name, int64_t shard, int64_t count, eh_string *path)
{
    eh_string_clear(path);
    return eh_string_printf(path, "%s/%s-%05" PRId64 "-of-%05" PRId64 ".h5", folder, name, shard, count);
}
