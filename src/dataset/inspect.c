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
    fprintf(out, "example %" PRId64 " of %" PRId64 " in this file: row %" PRIu64 " of the data set, group %s, %s\n",
            i + 1, e->count, e->source_rows[i], e->group_names[e->groups[i]], splits[e->splits[i]]);
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

eh_status eh_inspect_example(const char *path, const eh_inspect_options *options, FILE *out)
{
    hid_t file = -1;
    char *format = NULL;
    EH_TRY(eh_hdf5_open(path, &file));
    eh_status status = eh_hdf5_read_text(file, "format", &format);
    eh_hdf5_close(&file);
    if (status == EH_OK && strcmp(format, "evenhand-shard") == 0)
        status = print_shard(path, options, out);
    else if (status == EH_OK && strcmp(format, "evenhand-scores") == 0)
        status = print_scores(path, options, out);
    else if (status == EH_OK)
        status = eh_error(EH_INPUT, "%s: neither a shard nor a score file, so it has no examples", path);
    eh_free(&format);
    return status;
}
