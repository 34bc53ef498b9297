#include "dataset/prepare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/sha256.h"
#include "dataset/dataset.h"
#include "dataset/groups.h"
#include "dataset/rejected.h"
#include "dataset/split.h"
#include "dataset/task.h"
#include "dataset/unique_ids.h"
#include "io/lines.h"
#include "io/shard.h"

enum { CONTENTS_VERSION = 2, BLOCK_BYTES = 8 << 20 }; // version: of what these files make of a data set

typedef struct {
    const eh_prepare_settings *settings;
    const eh_job_data *data;
    const eh_data_format *format;
    eh_task_maker maker;
    eh_shard_writer *writer;
    eh_groups groups;
    eh_rejected_list rejected; // of this rank
    eh_unique_ids ids;         // of this rank, where they must be unique
    int64_t rows, examples;    // of this rank
    int64_t *counts;           // [groups][3 splits] of this rank
    int64_t counts_capacity;
} preparation;

// --- What the contents depend on
// -----------------------------------------------------------------------------------------
static eh_status make_key(const preparation *p, const char *source_sha256, char key[EH_SHA256_TEXT])
{
    const eh_job_data *d = p->data;
    const eh_text_model *m = p->settings->model;
    eh_string text = {0};
    eh_status status = eh_string_printf(
        &text,
        "contents %d, layout %d, source %s, tokenizer %s, family %d, start %d, end %d, mask %d, length %" PRId64
        ", format %s, use %d, task %d, holdout %.17g, order %d, labels %d, blank %d, limit %" PRId64 ", max %" PRId64
        ", split %d, preset %s, seed %" PRIu64 ", shard %" PRIu64 ", prompt ",
        CONTENTS_VERSION, EH_SHARD_VERSION, source_sha256, eh_tokenizer_sha256(m->tokenizer), (int)m->family, m->start,
        m->end, m->mask, p->maker.max_input, d->format, (int)d->use, (int)d->task, d->holdout, (int)d->pair_order,
        (int)d->label_layout, (int)d->blank, d->limit, d->max_length, (int)p->settings->job->switches.split,
        p->settings->job->preset, p->settings->job->seed, p->settings->shard_bytes);
    if (status == EH_OK)
        status = eh_string_append_text(&text, p->maker.prompt);
    if (status == EH_OK && d->train_on != NULL)
        status = eh_string_printf(&text, ", train on %s", d->train_on);
    if (status == EH_OK)
        eh_sha256_text(text.bytes, text.size, key);
    eh_string_deinit(&text);
    return status;
}

// --- Examples from records
// -----------------------------------------------------------------------------------------------
static eh_status count_example(preparation *p, uint16_t group, eh_split split, int64_t count)
{
    const int64_t at = (int64_t)group * 3 + (int64_t)split, had = p->counts_capacity;
    EH_TRY(eh_reserve(at + 1, &p->counts_capacity, sizeof *p->counts, (void **)&p->counts));
    for (int64_t i = had; i < p->counts_capacity; i++) p->counts[i] = 0;
    p->counts[at] += count;
    return EH_OK;
}

// The records [first, first + count) become examples. splits: of all records, or NULL where the text's hash decides.
static eh_status make_examples(preparation *p, const eh_records *records, int64_t first, int64_t count,
                               const uint8_t *splits, eh_examples *examples)
{
    const eh_field_roles *roles = &p->format->roles;
    for (int64_t i = first; i < first + count; i++) {
        const eh_record *record = &records->records[i];
        const char *reason = NULL;
        uint16_t group = 0;
        eh_split split = EH_SPLIT_EVALUATE;
        if (p->data->use != EH_USE_EVALUATE)
            split =
                splits != NULL
                    ? (eh_split)splits[i]
                    : eh_split_text(eh_record_field(records, record, roles->text >= 0 ? roles->text : roles->prompt),
                                    p->data->holdout, p->settings->job->seed);
        const eh_text group_name = eh_record_field(records, record, roles->group);
        if (split == EH_SPLIT_TRAIN && !eh_group_is_listed(p->data->train_on, group_name))
            split = EH_SPLIT_HOLDOUT;
        EH_TRY(eh_groups_find(&p->groups, group_name, &group));
        const int64_t before = examples->count;
        EH_TRY(eh_task_make(&p->maker, records, record, group, split, examples, &reason));
        if (reason != NULL)
            EH_TRY(eh_rejected_add(&p->rejected, record->row, record->line, reason));
        EH_TRY(count_example(p, group, split, examples->count - before));
    }
    p->rows += count;
    return EH_OK;
}

// --- A whole file: every rank reads it, each makes the examples of a slice
// ------------------------------------------------- The study cut its sources to the length of the longest bare text
// (PROTOCOL 2.3).
static eh_status apply_study_length(preparation *p, const eh_records *records)
{
    if (strcmp(p->settings->job->preset, "study") != 0 || p->data->task != EH_TASK_REWRITE ||
        p->format->kind != EH_RECORD_PAIR || p->settings->model->family != EH_FAMILY_ENCODER_DECODER ||
        p->data->max_length > 0)
        return EH_OK;
    int64_t first = 0, count = 0, longest[2] = {0, 0};
    eh_status status = EH_OK;
    eh_comm_slice(p->settings->comm, records->count, &first, &count);
    for (int64_t i = first; i < first + count && status == EH_OK; i++) {
        int64_t text = 0, answer = 0;
        status = eh_task_bare_length(&p->maker, records, &records->records[i], &text, &answer);
        longest[0] = text > longest[0] ? text : longest[0];
        longest[1] = answer > longest[1] ? answer : longest[1];
    }
    EH_TRY(eh_comm_agree(p->settings->comm, status));
    EH_TRY(eh_comm_max_i64(p->settings->comm, longest, 2));
    p->maker.max_input = longest[0];
    p->maker.max_target = longest[1];
    return EH_OK;
}

static eh_status add_rejected(preparation *p, const eh_records *records, uint64_t from, uint64_t to)
{
    for (int64_t i = 0; i < records->rejected_count; i++) {
        const eh_rejected_row *rejected = &records->rejected[i];
        if (rejected->row >= from && rejected->row < to)
            EH_TRY(eh_rejected_add(&p->rejected, rejected->row, rejected->line, rejected->reason));
    }
    return EH_OK;
}

// Where the rows of record `index` on begin, with the unusable ones before the first and behind the last.
static uint64_t row_bound(const eh_records *records, int64_t index)
{
    return index == 0 ? 0 : index < records->count ? records->records[index].row : UINT64_MAX;
}

static eh_status prepare_whole(preparation *p)
{
    eh_comm *comm = p->settings->comm;
    eh_records records = {0};
    eh_examples examples = {0};
    uint8_t *splits = NULL;
    int64_t clusters = 0, first = 0, count = 0;
    eh_status status = eh_records_read(p->format, p->data->path, p->data->limit, &records);
    if (status == EH_OK)
        status = eh_split_records(p->format, &records, p->data->use == EH_USE_EVALUATE ? 0 : p->data->holdout,
                                  p->settings->job->seed, p->settings->job->switches.split, &splits, &clusters);
    for (int64_t i = 0; status == EH_OK && i < records.count; i++)
        status = eh_groups_add(&p->groups, eh_record_field(&records, &records.records[i], p->format->roles.group));
    EH_TRY_OR(done, eh_comm_agree(comm, status));
    EH_TRY_OR(done, apply_study_length(p, &records));
    eh_comm_slice(comm, records.count, &first, &count);
    status = make_examples(p, &records, first, count, splits, &examples);
    if (status == EH_OK) // every rank found the same rows unusable: each takes those before its own next record
        status = add_rejected(p, &records, row_bound(&records, first), row_bound(&records, first + count));
    p->examples = examples.count;
    EH_TRY_OR(done, eh_comm_agree(comm, status));
    EH_TRY_OR(done, eh_rejected_flush(comm, &p->rejected, p->settings->folder, p->data->name));
    EH_TRY_OR(done, eh_shard_writer_add(p->writer, &examples));
    if (p->data->holdout > 0 && p->data->use != EH_USE_EVALUATE)
        eh_log_line(p->settings->log, "%s: %" PRId64 " clusters of rows that belong together", p->data->name, clusters);
done:
    eh_free(&splits);
    eh_examples_deinit(&examples);
    eh_records_deinit(&records);
    return status;
}

// --- A file of lines: ranks read blocks of it in turn
// ------------------------------------------------------------------------- The lines that begin in [from, to). Rows
// are numbered from 0 here; the caller knows how many came before.
static eh_status read_block(const preparation *p, eh_lines *lines, int64_t from, int64_t to, eh_records *records,
                            int64_t *row_count, bool *at_end)
{
    *row_count = 0;
    EH_TRY(eh_lines_skip_to(lines, from));
    for (;;) {
        const char *line = NULL;
        size_t size = 0;
        bool more = false;
        EH_TRY(eh_lines_next_before(lines, to, &line, &size, &more, at_end));
        if (!more)
            return EH_OK;
        const uint64_t row = (uint64_t)*row_count;
        eh_status status = p->format->read_line(line, size, row, (int64_t)row + 1, records);
        if (status == EH_INPUT) // again, with the line's number in the file: finding that is slow
            status = p->format->read_line(line, size, row, eh_lines_number(lines), records);
        EH_TRY(status);
        ++*row_count;
    }
}

// Rows of this block get their numbers in the file; those past the limit go.
static void number_rows(eh_records *records, int64_t before, int64_t limit)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < records->count; i++) {
        eh_record *record = &records->records[i];
        record->row += (uint64_t)before;
        record->line += before;
        if (limit == 0 || record->row < (uint64_t)limit)
            records->records[kept++] = *record;
    }
    records->count = kept;
    kept = 0;
    for (int64_t i = 0; i < records->rejected_count; i++) {
        eh_rejected_row *rejected = &records->rejected[i];
        rejected->row += (uint64_t)before;
        rejected->line += before;
        if (limit == 0 || rejected->row < (uint64_t)limit)
            records->rejected[kept++] = *rejected;
    }
    records->rejected_count = kept;
}

// One round: as many blocks as ranks.
static eh_status prepare_round(preparation *p, eh_lines *lines, int64_t from, int64_t to, eh_records *records,
                               eh_examples *examples, int64_t *rows_before, bool *at_end)
{
    eh_comm *comm = p->settings->comm;
    int64_t row_count = 0, before = 0, total = 0;
    eh_records_clear(records);
    eh_examples_clear(examples);
    eh_status status = read_block(p, lines, from, to, records, &row_count, at_end);
    EH_TRY(eh_comm_agree(comm, status));
    EH_TRY(eh_comm_scan_i64(comm, row_count, &before, &total));
    number_rows(records, *rows_before + before, p->data->limit);
    *rows_before += total;
    EH_TRY(eh_groups_agree(comm, p->format, records, &p->groups));
    status = make_examples(p, records, 0, records->count, NULL, examples);
    if (status == EH_OK)
        status = add_rejected(p, records, 0, UINT64_MAX);
    if (status == EH_OK && p->format->ids_are_unique)
        status = eh_unique_ids_add(&p->ids, comm, p->settings->folder, p->data->name, p->format, records);
    p->examples += examples->count;
    EH_TRY(eh_comm_agree(comm, status));
    EH_TRY(eh_rejected_flush(comm, &p->rejected, p->settings->folder, p->data->name));
    return eh_shard_writer_add(p->writer, examples);
}

// Blocks of equal size, as many for every rank, of at most BLOCK_BYTES; of a packed file the size is not known. Rank 0
// says, because the file may be growing.
static int64_t choose_block(const preparation *p, const eh_lines *lines)
{
    if (p->settings->block_bytes > 0)
        return p->settings->block_bytes;
    const int64_t ranks = eh_comm_size(p->settings->comm),
                  file = eh_lines_packed(lines) ? 0 : eh_lines_file_size(lines);
    const int64_t rounds = (file + BLOCK_BYTES * ranks - 1) / (BLOCK_BYTES * ranks);
    return rounds > 0 ? (file + rounds * ranks - 1) / (rounds * ranks) : BLOCK_BYTES;
}

static eh_status prepare_lines(preparation *p)
{
    eh_comm *comm = p->settings->comm;
    const int64_t size = eh_comm_size(comm), rank = eh_comm_rank(comm);
    eh_lines *lines = NULL;
    eh_records records = {.path = p->data->path};
    eh_examples examples = {0};
    int64_t rows = 0, at_end = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_comm_agree(comm, eh_lines_open(p->data->path, &lines)));
    int64_t block = choose_block(p, lines);
    EH_TRY_OR(done, eh_comm_broadcast(comm, &block, sizeof block, 0));
    for (int64_t round = 0; at_end == 0 && (p->data->limit == 0 || rows < p->data->limit); round++) {
        const int64_t from = (round * size + rank) * block;
        bool mine = false;
        EH_TRY_OR(done, prepare_round(p, lines, from, from + block, &records, &examples, &rows, &mine));
        at_end = mine;
        EH_TRY_OR(done, eh_comm_max_i64(comm, &at_end, 1));
    }
    if (rows == 0)
        status = eh_error(EH_INPUT, "%s: the file is empty", p->data->path);
    if (status == EH_OK && p->format->ids_are_unique)
        status = eh_unique_ids_check(comm, &p->ids, p->settings->folder, p->data->name, p->data->path);
done:
    eh_examples_deinit(&examples);
    eh_records_deinit(&records);
    eh_lines_close(&lines);
    return status;
}

// --- The report
// -----------------------------------------------------------------------------------------------------------
static eh_status log_counts(preparation *p, int64_t shard_count, double seconds)
{
    eh_comm *comm = p->settings->comm;
    int64_t totals[4] = {p->rows, p->examples, p->maker.truncated, p->rejected.total};
    EH_TRY(eh_comm_sum_i64(comm, totals, 4));
    EH_TRY(eh_comm_agree(
        comm, count_example(p, (uint16_t)(p->groups.count > 0 ? p->groups.count - 1 : 0), EH_SPLIT_EVALUATE, 0)));
    EH_TRY(eh_comm_sum_i64(comm, p->counts, (int)p->groups.count * 3));
    const eh_log *log = p->settings->log;
    eh_log_line(log,
                "%s: %" PRId64 " rows gave %" PRId64 " examples in %" PRId64 " shards (%.1f s); %" PRId64
                " rejected, %" PRId64 " truncated to %" PRId64 " tokens",
                p->data->name, totals[0], totals[1], shard_count, seconds, totals[3], totals[2], p->maker.max_input);
    if (totals[3] > 0)
        eh_log_line(log, "%s: the rejected rows and why: %s/%s-rejected.csv", p->data->name, p->settings->folder,
                    p->data->name);
    if (p->data->use == EH_USE_EVALUATE)
        return EH_OK;
    if (p->data->task == EH_TASK_LM && p->format->roles.completion >= 0 &&
        p->settings->model->family == EH_FAMILY_ENCODER_DECODER)
        eh_log_warning(log,
                       "%s: task lm makes one target of prompt and completion, before an empty source: the model does "
                       "not learn to read the prompt; task rewrite gives it as the source",
                       p->data->name);
    for (int64_t g = 0; g < p->groups.count; g++) {
        const int64_t *counts = p->counts + 3 * g;
        const int64_t all = counts[0] + counts[1];
        eh_log_line(log, "%s:   %-24s %8" PRId64 " to train on, %7" PRId64 " held out (%.1f %%)", p->data->name,
                    p->groups.names[g], counts[0], counts[1], all > 0 ? 100.0 * (double)counts[1] / (double)all : 0.0);
    }
    return EH_OK;
}

// --- All together
// -----------------------------------------------------------------------------------------------------------
static eh_status digest_source(const preparation *p, char sha256[EH_SHA256_TEXT])
{
    eh_comm *comm = p->settings->comm;
    eh_status status = eh_comm_rank(comm) == 0 ? eh_sha256_file(p->data->path, sha256) : EH_OK;
    EH_TRY(eh_comm_agree(comm, status));
    return eh_comm_broadcast(comm, sha256, EH_SHA256_TEXT, 0);
}

static eh_status is_fresh(const preparation *p, const char *key, bool *fresh)
{
    eh_comm *comm = p->settings->comm;
    eh_status status = EH_OK;
    if (eh_comm_rank(comm) == 0)
        status = eh_shards_are_fresh(p->settings->folder, p->data->name, key, fresh);
    EH_TRY(eh_comm_agree(comm, status));
    return eh_comm_broadcast(comm, fresh, sizeof *fresh, 0);
}

static eh_status write_data_set(preparation *p, const eh_shard_origin *origin)
{
    const double began = eh_seconds();
    int64_t shard_count = 0;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_shard_writer_open(p->settings->comm, p->settings->folder, origin, p->format->field_names,
                                         p->settings->shard_bytes, &p->writer));
    EH_TRY_OR(done, p->format->read != NULL ? prepare_whole(p) : prepare_lines(p));
    EH_TRY_OR(done, eh_groups_check_list(&p->groups, p->data->train_on, p->data->name));
    EH_TRY_OR(done, eh_rejected_finish(p->settings->comm, &p->rejected, p->settings->folder, p->data->name));
    EH_TRY_OR(done, eh_groups_terminate(&p->groups));
    EH_TRY_OR(done, eh_shard_writer_finish(p->writer, (const char *const *)p->groups.names, &shard_count));
    EH_TRY_OR(done, log_counts(p, shard_count, eh_seconds() - began));
done:
    eh_shard_writer_close(&p->writer);
    return status;
}

eh_status eh_prepare_data_set(const eh_prepare_settings *settings, const eh_job_data *data)
{
    preparation p = {.settings = settings, .data = data};
    char source[EH_SHA256_TEXT] = "", key[EH_SHA256_TEXT] = "";
    eh_string yaml = {0};
    bool fresh = false;
    eh_status status = eh_data_format_find(data->format, &p.format);
    if (status == EH_OK)
        status = eh_task_maker_init(p.format, data, settings->model, settings->job->seed, &p.maker);
    if (status == EH_OK)
        status = eh_job_to_yaml(settings->job, &yaml);
    EH_TRY_OR(done, eh_comm_agree(settings->comm, status));
    EH_TRY_OR(done, digest_source(&p, source));
    EH_TRY_OR(done, make_key(&p, source, key));
    EH_TRY_OR(done, is_fresh(&p, key, &fresh));
    if (fresh) {
        eh_log_line(settings->log, "%s: up to date", data->name);
        goto done;
    }
    const eh_shard_origin origin = {
        .name = data->name,
        .data_format = data->format,
        .task = eh_task_name(data->task),
        .template_text = p.maker.prompt,
        .layout = eh_task_layout(&p.maker),
        .tokenizer_sha256 = eh_tokenizer_sha256(settings->model->tokenizer),
        .source_sha256 = source,
        .job = yaml.bytes,
        .key = key,
        .seed = settings->job->seed,
    };
    EH_TRY_OR(done, write_data_set(&p, &origin));
done:
    eh_task_maker_deinit(&p.maker);
    eh_groups_deinit(&p.groups);
    eh_rejected_deinit(&p.rejected);
    eh_unique_ids_deinit(&p.ids);
    eh_free(&p.counts);
    eh_string_deinit(&yaml);
    return status == EH_OK ? EH_OK : eh_error_context(status, "data set '%s'", data->name);
}
