#include "dataset/inspect.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5.h"
#include "io/scores.h"
#include "io/shard.h"

enum { WIDEST = 100 };

// A text on one line: control characters as escapes, cut at WIDEST characters.
static void print_text(FILE *out, const char *text, size_t size)
{
    size_t shown = 0;
    fputc('"', out);
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)text[i];
        shown += (c & 0xc0) != 0x80; // continuation bytes belong to the character before
        if (shown > WIDEST) {
            fputs("...", out);
            break;
        }
        if (c == '\n')
            fputs("\\n", out);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static eh_status print_attribute(hid_t file, const char *name, FILE *out)
{
    hid_t attribute = -1, type = -1;
    EH_TRY(EH_HDF5(attribute = H5Aopen(file, name, H5P_DEFAULT)));
    eh_status status = EH_HDF5(type = H5Aget_type(attribute));
    const H5T_class_t class = status == EH_OK ? H5Tget_class(type) : H5T_NO_CLASS;
    eh_hdf5_close(&type);
    eh_hdf5_close(&attribute);
    EH_TRY(status);
    fprintf(out, "  %-18s ", name);
    if (class == H5T_INTEGER) {
        uint64_t number = 0;
        EH_TRY(eh_hdf5_read_number(file, name, &number));
        fprintf(out, "%" PRIu64 "\n", number);
        return EH_OK;
    }
    if (class != H5T_STRING) {
        fputs("(not shown)\n", out);
        return EH_OK;
    }
    char **texts = NULL;
    int64_t count = 0;
    EH_TRY(eh_hdf5_read_texts(file, name, &texts, &count));
    for (int64_t i = 0; i < count; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_text(out, texts[i], strlen(texts[i]));
    }
    fputc('\n', out);
    eh_hdf5_free_texts(&texts);
    return EH_OK;
}

static herr_t visit_attribute(hid_t file, const char *name, const H5A_info_t *info, void *out)
{
    (void)info;
    return print_attribute(file, name, out) == EH_OK ? 0 : 1;
}

static eh_status print_header(hid_t file, FILE *out)
{
    fputs("attributes\n", out);
    hsize_t at = 0;
    return H5Aiterate2(file, H5_INDEX_NAME, H5_ITER_INC, &at, visit_attribute, out) == 0
               ? EH_OK
               : eh_error(EH_INPUT, "an attribute can't be read");
}

static herr_t visit_object(hid_t root, const char *name, const H5O_info_t *info, void *out)
{
    int64_t count = 0;
    if (info->type != H5O_TYPE_DATASET)
        return 0;
    const H5T_class_t class = eh_hdf5_class(root, name);
    const char *kind = class == H5T_INTEGER ? "integers" : class == H5T_FLOAT ? "numbers" : "texts";
    if (eh_hdf5_count(root, name, &count) == EH_OK)
        fprintf(out, "  %-34s %10" PRId64 " %s\n", name, count, kind);
    else
        fprintf(out, "  %-34s (of several dimensions)\n", name);
    return 0;
}

// --- Shards
// -----------------------------------------------------------------------------------------------------------
static eh_status print_ids(FILE *out, const eh_inspect_options *options, const uint32_t *ids, uint64_t count)
{
    fprintf(out, "%" PRIu64 " tokens:", count);
    for (uint64_t i = 0; i < count && i < 64; i++) fprintf(out, " %" PRIu32, ids[i]);
    fputs(count > 64 ? " ...\n" : "\n", out);
    if (options->tokenizer == NULL)
        return EH_OK;
    eh_string text = {0};
    int32_t *copy = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC((int64_t)count, &copy));
    for (uint64_t i = 0; i < count; i++) copy[i] = (int32_t)ids[i];
    EH_TRY_OR(done, eh_tokenizer_decode(options->tokenizer, copy, (int64_t)count, false, &text));
    fprintf(out, "  %-18s ", "");
    print_text(out, text.bytes != NULL ? text.bytes : "", text.size);
    fputc('\n', out);
done:
    eh_free(&copy);
    eh_string_deinit(&text);
    return status;
}

static eh_status print_list(FILE *out, const char *name, const eh_inspect_options *options, const eh_ragged_ids *lists,
                            uint64_t i)
{
    fprintf(out, "  %-18s ", name);
    return print_ids(out, options, lists->values + lists->offsets[i], lists->offsets[i + 1] - lists->offsets[i]);
}

static eh_status print_example(const eh_examples *e, const eh_inspect_options *options, FILE *out)
{
    static const char *const splits[] = {"train", "holdout", "evaluate"};
    const int64_t i = options->row;
    if (i < 0 || i >= e->count)
        return eh_error(EH_INPUT, "there is no example %" PRId64 ", only %" PRId64 " in this file", i, e->count);
    fprintf(out, "example %" PRId64 " of %" PRId64 " in this file: row %" PRIu64 " of the data set, group %s, %s\n", i,
            e->count, e->source_rows[i], e->group_names[e->groups[i]], splits[e->splits[i]]);
    for (char **name = e->field_names; *name != NULL; name++) {
        const char *field = NULL;
        size_t size = 0;
        if (!eh_examples_field(e, i, *name, &field, &size))
            break;
        fprintf(out, "  %-18s ", *name);
        print_text(out, field, size);
        fputc('\n', out);
    }
    EH_TRY(print_list(out, "input", options, &e->inputs, (uint64_t)i));
    EH_TRY(print_list(out, "target", options, &e->targets, (uint64_t)i));
    for (uint64_t c = e->candidate_first[i]; c < e->candidate_first[i + 1]; c++) {
        char name[48];
        snprintf(name, sizeof name, "candidate (gold %d)", e->labels[c]);
        EH_TRY(print_list(out, name, options, &e->candidates, c));
    }
    return EH_OK;
}

static eh_status print_shard(const char *path, const eh_inspect_options *options, FILE *out)
{
    eh_examples examples = {0};
    eh_status status = eh_shard_read_file(path, &examples);
    if (status == EH_OK && (examples.count > 0 || options->row > 0))
        status = print_example(&examples, options, out);
    eh_examples_deinit(&examples);
    return status;
}

// --- Scores
// -----------------------------------------------------------------------------------------------------------
static void print_row(const eh_score_table *table, int64_t row, FILE *out)
{
    fprintf(out, "table %s: row %" PRId64 " of %" PRId64 "\n", table->name, row, table->row_count);
    for (int64_t c = 0; c < table->column_count; c++) {
        const eh_column *column = &table->columns[c];
        fprintf(out, "  %-34s ", column->name);
        if (column->type == EH_COLUMN_INTEGER)
            fprintf(out, "%" PRId64 "\n", column->integers[row]);
        else if (column->type == EH_COLUMN_NUMBER)
            fprintf(out, "%.9g\n", column->numbers[row]);
        else {
            print_text(out, column->texts[row], strlen(column->texts[row]));
            fputc('\n', out);
        }
    }
}

static eh_status print_scores(const char *path, const eh_inspect_options *options, FILE *out)
{
    eh_score_table *tables = NULL;
    int64_t count = 0, shown = 0;
    EH_TRY(eh_scores_read(path, &tables, &count));
    for (int64_t t = 0; t < count; t++) {
        if (options->row >= 0 && options->row < tables[t].row_count) {
            print_row(&tables[t], options->row, out);
            shown++;
        }
        eh_score_table_deinit(&tables[t]);
    }
    eh_free(&tables);
    if (shown == 0 && options->row > 0)
        return eh_error(EH_INPUT, "no table of %s has a row %" PRId64, path, options->row);
    return EH_OK;
}

eh_status eh_inspect_file(const char *path, const eh_inspect_options *options, FILE *out)
{
    hid_t file = -1;
    char *format = NULL;
    EH_TRY(eh_hdf5_open(path, &file));
    eh_status status = EH_OK;
    if (!eh_hdf5_has_attribute(file, "format")) {
        status = eh_error(EH_INPUT, "an HDF5 file, but not one of evenhand: it has no attribute 'format'");
        goto done;
    }
    EH_TRY_OR(done, eh_hdf5_read_text(file, "format", &format));
    fprintf(out, "%s: %s\n", path, format);
    EH_TRY_OR(done, print_header(file, out));
    fputs("datasets\n", out);
    if (H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, visit_object, out, H5O_INFO_BASIC) != 0) {
        status = eh_error(EH_INPUT, "the file is damaged");
        goto done;
    }
    eh_hdf5_close(&file);
    if (strcmp(format, "evenhand-shard") == 0)
        status = print_shard(path, options, out);
    else if (strcmp(format, "evenhand-scores") == 0)
        status = print_scores(path, options, out);
done:
    eh_free(&format);
    eh_hdf5_close(&file);
    return status == EH_OK ? EH_OK : eh_error_context(status, "%s", path);
}
