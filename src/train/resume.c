#include "train/resume.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/string.h"
#include "core/version.h"
#include "io/atomic.h"
#include "io/checkpoint.h"

enum { KEPT = 2, NOTES = 16 };

// --- Which checkpoints there are ----------------------------------------------------------------------------

static int descending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

// Steps that the folder has checkpoints of, newest first; none if there is no folder.
static eh_status list_steps(const char *folder, int64_t **steps, int64_t *count)
{
    *steps = NULL;
    *count = 0;
    int64_t capacity = 0;
    DIR *listing = opendir(folder);
    if (listing == NULL)
        return errno == ENOENT ? EH_OK : eh_error(EH_MACHINE, "%s: %s", folder, strerror(errno));
    eh_status status = EH_OK;
    for (struct dirent *entry; status == EH_OK && (entry = readdir(listing)) != NULL;) {
        long long step;
        int end = 0;
        if (sscanf(entry->d_name, "step-%8lld.safetensors%n", &step, &end) == 1 && end > 0 &&
            entry->d_name[end] == '\0')
            status = EH_APPEND(steps, count, &capacity, (int64_t)step);
    }
    closedir(listing);
    if (status == EH_OK && *count > 0)
        qsort(*steps, (size_t)*count, sizeof **steps, descending);
    return status;
}

static eh_status path_of(const char *folder, int64_t step, eh_string *path)
{
    eh_string_clear(path);
    return eh_string_printf(path, "%s/step-%08lld.safetensors", folder, (long long)step);
}

eh_status eh_training_newest(const char *folder, char **path)
{
    int64_t *steps = NULL, count = 0;
    eh_string text = {0};
    *path = NULL;
    eh_status status = list_steps(folder, &steps, &count);
    if (status == EH_OK && count > 0)
        status = path_of(folder, steps[0], &text);
    if (status == EH_OK)
        status = eh_copy_string(text.bytes ? text.bytes : "", path);
    eh_free(&steps);
    eh_string_deinit(&text);
    return status;
}

static eh_status remove_old(const char *folder)
{
    int64_t *steps = NULL, count = 0;
    eh_string path = {0};
    eh_status status = list_steps(folder, &steps, &count);
    for (int64_t i = KEPT; status == EH_OK && i < count; i++) {
        status = path_of(folder, steps[i], &path);
        if (status == EH_OK && unlink(path.bytes) != 0 && errno != ENOENT)
            status = eh_error(EH_MACHINE, "%s: %s", path.bytes, strerror(errno));
    }
    eh_free(&steps);
    eh_string_deinit(&path);
    return status;
}

// --- The table: three tensors of each trained parameter -----------------------------------------------------

static const char *const parts[] = {"weights/", "first_moment/", "second_moment/"};
enum { PART_COUNT = 3 };

typedef struct {
    eh_checkpoint_tensor *tensors; // part after part, in the order of the parameters
    int64_t tensor_count;
    int64_t *parameters; // [tensor_count / PART_COUNT] their numbers in the model's table
    int64_t trained_count;
} checkpoint_table;

static void deinit_table(checkpoint_table *table)
{
    for (int64_t t = 0; t < table->tensor_count; t++) eh_free(&table->tensors[t].name);
    eh_free(&table->tensors);
    eh_free(&table->parameters);
}

static eh_status init_table(const eh_model *model, checkpoint_table *table)
{
    const eh_parameter *parameters = eh_model_parameters(model);
    const int64_t count = eh_model_parameter_count(model);
    *table = (checkpoint_table){0};
    EH_TRY(EH_ALLOC(count, &table->parameters));
    EH_TRY(EH_ALLOC(PART_COUNT * count, &table->tensors));
    for (int64_t p = 0; p < count; p++)
        if (parameters[p].trains)
            table->parameters[table->trained_count++] = p;
    for (int part = 0; part < PART_COUNT; part++)
        for (int64_t i = 0; i < table->trained_count; i++) {
            const eh_parameter *parameter = &parameters[table->parameters[i]];
            eh_checkpoint_tensor *tensor = &table->tensors[table->tensor_count];
            eh_string name = {0};
            EH_TRY(eh_string_printf(&name, "%s%s", parts[part], parameter->name));
            *tensor = (eh_checkpoint_tensor){
                .name = name.bytes, .dimension_count = parameter->dimension_count, .count = parameter->count};
            memcpy(tensor->shape, parameter->shape, sizeof tensor->shape);
            table->tensor_count++;
        }
    return EH_OK;
}

// --- Pieces: stretches of the table that lie together in this rank's memory ----------------------------------

typedef struct {
    eh_checkpoint_piece *pieces;
    eh_tensor *where; // device memory of each
    int64_t count, capacity, where_count, where_capacity;
} piece_list;

static eh_status add_piece(piece_list *list, int64_t tensor, int64_t first, const eh_tensor *block, int64_t begin,
                           int64_t count)
{
    const eh_checkpoint_piece piece = {.tensor = tensor, .first = first, .count = count};
    EH_TRY(EH_APPEND(&list->where, &list->where_count, &list->where_capacity, eh_tensor_rows(block, begin, count)));
    return EH_APPEND(&list->pieces, &list->count, &list->capacity, piece);
}

static void narrow(int64_t *begin, int64_t *end, const eh_stretch *stretch)
{
    *begin = stretch->first > *begin ? stretch->first : *begin;
    *end = stretch->first + stretch->count < *end ? stretch->first + stretch->count : *end;
}

// Where the model's weights (part 0) and the optimizer's moments are: stretches of the block in `held`.
static eh_status list_held(const eh_trainer *trainer, int part, eh_tensor *held, eh_stretch **stretches, int64_t *count)
{
    const eh_optimizer *optimizer = &trainer->optimizer;
    int64_t capacity = 0;
    *stretches = NULL;
    *count = 0;
    *held = part == 0 ? eh_model_weights(trainer->model) : part == 1 ? optimizer->m : optimizer->v;
    for (int64_t r = 0; part > 0 && r < optimizer->run_count; r++) {
        const eh_adamw_run *run = &optimizer->runs[r];
        EH_TRY(EH_APPEND(stretches, count, &capacity,
                         ((eh_stretch){.first = optimizer->run_first[r], .count = run->count, .at = run->moments})));
    }
    for (int64_t u = 0; part == 0 && trainer->level == 3 && u < trainer->partition.unit_count; u++)
        EH_TRY(EH_APPEND(stretches, count, &capacity, trainer->partition.own[u]));
    if (part == 0 && trainer->level < 3)
        EH_TRY(EH_APPEND(stretches, count, &capacity, ((eh_stretch){.count = eh_model_weight_count(trainer->model)})));
    return EH_OK;
}

// What this rank holds of the part; `owned`: only what it writes for all.
static eh_status list_pieces(const eh_trainer *trainer, const checkpoint_table *table, int part, bool owned,
                             piece_list *list)
{
    const eh_parameter *parameters = eh_model_parameters(trainer->model);
    const eh_stretch everything = {.count = eh_model_weight_count(trainer->model)};
    const eh_stretch *windows = owned ? trainer->partition.own : &everything;
    const int64_t window_count = owned ? trainer->partition.unit_count : 1;
    eh_stretch *held = NULL;
    int64_t held_count;
    eh_tensor block;
    eh_status status = list_held(trainer, part, &block, &held, &held_count);
    for (int64_t i = 0; i < table->trained_count; i++) {
        const eh_parameter *parameter = &parameters[table->parameters[i]];
        const int64_t tensor = part * table->trained_count + i;
        for (int64_t h = 0; h < held_count; h++)
            for (int64_t w = 0; status == EH_OK && w < window_count; w++) {
                int64_t begin = parameter->offset, end = begin + parameter->count;
                narrow(&begin, &end, &held[h]);
                narrow(&begin, &end, &windows[w]);
                if (begin < end)
                    status = add_piece(list, tensor, begin - parameter->offset, &block,
                                       held[h].at + begin - held[h].first, end - begin);
            }
    }
    eh_free(&held);
    return status;
}

static void deinit_pieces(piece_list *list)
{
    eh_free(&list->pieces);
    eh_free(&list->where);
}

// Pieces in device memory pass through host memory, `host`, which is sized for all of them; others are used in place,
// or are to be copied like those.
static eh_status connect_pieces(piece_list *list, bool copies, float **host)
{
    int64_t total = 0;
    for (int64_t p = 0; p < list->count; p++) {
        list->pieces[p].values = copies ? NULL : eh_tensor_host(&list->where[p]);
        list->pieces[p].in_file = eh_tensor_in_file(&list->where[p]);
        total += list->pieces[p].values ? 0 : list->pieces[p].count;
    }
    EH_TRY(EH_ALLOC(total, host));
    float *next = *host;
    for (int64_t p = 0; p < list->count; p++)
        if (list->pieces[p].values == NULL) {
            list->pieces[p].values = next;
            next += list->pieces[p].count;
        }
    return EH_OK;
}

// --- Writing ------------------------------------------------------------------------------------------------

static eh_status gather_own_pieces(eh_trainer *trainer, bool copies, piece_list *list, float **host)
{
    EH_TRY(connect_pieces(list, copies, host));
    EH_TRY(eh_backend_wait(trainer->backend));
    for (int64_t p = 0; p < list->count; p++) {
        const void *here = eh_tensor_host(&list->where[p]);
        if (here == NULL)
            EH_TRY(eh_backend_download(trainer->backend, &list->where[p], list->pieces[p].values));
        else if (copies)
            memcpy(list->pieces[p].values, here, eh_tensor_bytes(&list->where[p]));
    }
    return EH_OK;
}

typedef struct {
    char step[24], best[40], best_step[24], start_general[40], stale[24], loss_scale[40], good_steps[24], skipped[24],
        seconds[40], tokens[40], seed[24];
} note_texts;

static int make_notes(const eh_trainer *trainer, const char *key, const eh_training_state *state, note_texts *texts,
                      eh_checkpoint_note notes[NOTES])
{
    snprintf(texts->step, sizeof texts->step, "%lld", (long long)state->step);
    snprintf(texts->best, sizeof texts->best, "%a", state->selection.best_loss);
    snprintf(texts->best_step, sizeof texts->best_step, "%lld", (long long)state->selection.best_step);
    snprintf(texts->start_general, sizeof texts->start_general, "%a", state->selection.start_general);
    snprintf(texts->stale, sizeof texts->stale, "%lld", (long long)state->selection.stale_count);
    const eh_loss_scale *scale = &trainer->loss_scale;
    snprintf(texts->loss_scale, sizeof texts->loss_scale, "%a", scale->scale);
    snprintf(texts->good_steps, sizeof texts->good_steps, "%lld", (long long)scale->good_steps);
    snprintf(texts->skipped, sizeof texts->skipped, "%lld", (long long)scale->skipped_count);
    snprintf(texts->seconds, sizeof texts->seconds, "%a", state->seconds);
    snprintf(texts->tokens, sizeof texts->tokens, "%a", state->tokens);
    snprintf(texts->seed, sizeof texts->seed, "%llu", (unsigned long long)trainer->job->seed);
    int count = 0;
    notes[count++] = (eh_checkpoint_note){"key", key};
    notes[count++] = (eh_checkpoint_note){"step", texts->step};
    notes[count++] = (eh_checkpoint_note){"best_holdout", texts->best};
    notes[count++] = (eh_checkpoint_note){"best_step", texts->best_step};
    notes[count++] = (eh_checkpoint_note){"start_general", texts->start_general};
    notes[count++] = (eh_checkpoint_note){"stale", texts->stale};
    notes[count++] = (eh_checkpoint_note){"loss_scale", texts->loss_scale};
    notes[count++] = (eh_checkpoint_note){"good_steps", texts->good_steps};
    notes[count++] = (eh_checkpoint_note){"skipped", texts->skipped};
    notes[count++] = (eh_checkpoint_note){"seconds", texts->seconds};
    notes[count++] = (eh_checkpoint_note){"tokens", texts->tokens};
    notes[count++] = (eh_checkpoint_note){"seed", texts->seed};
    notes[count++] = (eh_checkpoint_note){"program", eh_version()};
    notes[count++] = (eh_checkpoint_note){"revision", eh_git_revision()};
    return count;
}

struct eh_training_saving {
    eh_comm *comm;
    const eh_log *log; // borrowed
    checkpoint_table table;
    piece_list list;
    float *host;
    char *folder;
    note_texts texts;
    eh_checkpoint_note notes[NOTES];
    eh_checkpoint_writing *writing;
    int64_t step;
    double began, went_on; // when the first half ended
};

void eh_training_save_abandon(eh_training_saving **saving)
{
    eh_training_saving *old = *saving;
    if (old == NULL)
        return;
    eh_checkpoint_abandon(&old->writing);
    deinit_table(&old->table);
    deinit_pieces(&old->list);
    eh_free(&old->host);
    eh_free(&old->folder);
    eh_free(saving);
}

// No room for a copy on some rank: no rank copies.
static eh_status copy_or_not(eh_trainer *trainer, bool wanted, eh_training_saving *saving, bool *copied)
{
    eh_status status = EH_OK;
    for (int part = 0; status == EH_OK && part < PART_COUNT; part++)
        status = list_pieces(trainer, &saving->table, part, true, &saving->list);
    EH_TRY(eh_comm_agree(trainer->comm, status));
    int64_t failed = 0;
    if (wanted) {
        failed = gather_own_pieces(trainer, true, &saving->list, &saving->host) != EH_OK;
        EH_TRY(eh_comm_max_i64(trainer->comm, &failed, 1));
    }
    *copied = wanted && !failed;
    if (*copied)
        return EH_OK;
    eh_error_clear();
    eh_free(&saving->host);
    return eh_comm_agree(trainer->comm, gather_own_pieces(trainer, false, &saving->list, &saving->host));
}

eh_status eh_training_save_begin(eh_trainer *trainer, const char *folder, const char *key,
                                 const eh_training_state *state, bool beside, const eh_log *log,
                                 eh_training_saving **saving)
{
    const bool on_disk = eh_tensor_in_file(&trainer->optimizer.m);
    eh_string path = {0};
    bool copied = false;
    eh_status status = EH_ALLOC(1, saving);
    eh_training_saving *made = *saving;
    if (status == EH_OK) {
        made->comm = trainer->comm;
        made->log = log;
        made->step = state->step;
        made->began = eh_seconds();
        status = init_table(trainer->model, &made->table);
    }
    if (status == EH_OK)
        status = eh_copy_string(folder, &made->folder);
    if (status == EH_OK)
        status = path_of(folder, state->step, &path);
    if (status == EH_OK && eh_comm_rank(trainer->comm) == 0)
        status = eh_make_folders(folder);
    EH_TRY_OR(done, eh_comm_agree(trainer->comm, status));
    EH_TRY_OR(done, copy_or_not(trainer, beside && !on_disk, made, &copied));
    const int note_count = make_notes(trainer, key, state, &made->texts, made->notes);
    EH_TRY_OR(done, eh_checkpoint_begin(trainer->comm, path.bytes, made->table.tensors, made->table.tensor_count,
                                        made->notes, note_count, made->list.pieces, made->list.count, &made->writing));
    made->went_on = eh_seconds();
    if (!copied)
        status = eh_training_save_end(saving);
done:
    eh_string_deinit(&path);
    if (status != EH_OK)
        eh_training_save_abandon(saving);
    return status;
}

bool eh_training_is_saved(const eh_training_saving *saving)
{
    return eh_checkpoint_is_written(saving->writing);
}

eh_status eh_training_save_end(eh_training_saving **saving)
{
    eh_training_saving *own = *saving;
    if (own == NULL)
        return EH_OK;
    eh_status status = EH_OK;
    const double waits = eh_seconds();
    EH_TRY_OR(done, eh_checkpoint_end(&own->writing));
    int64_t bytes = 0;
    for (int64_t t = 0; t < own->table.tensor_count; t++) bytes += own->table.tensors[t].count * (int64_t)sizeof(float);
    const double seconds = eh_seconds() - own->began;
    eh_log_line(own->log, "checkpoint at step %lld: %.1f MB in %.2f s (%.2f GB/s), %.2f s of them beside the training",
                (long long)own->step, (double)bytes * 1e-6, seconds, (double)bytes * 1e-9 / seconds,
                waits - own->went_on);
    status = eh_comm_agree(own->comm, eh_comm_rank(own->comm) == 0 ? remove_old(own->folder) : EH_OK);
done:
    eh_training_save_abandon(saving);
    return status;
}

// --- Going on -----------------------------------------------------------------------------------------------

static eh_status read_state(const eh_checkpoint *checkpoint, const char *path, eh_trainer *trainer,
                            eh_training_state *state)
{
    static const char *const names[] = {"step",    "best_holdout", "best_step",  "start_general", "stale",
                                        "seconds", "tokens",       "loss_scale", "good_steps",    "skipped"};
    enum { STEP, BEST, BEST_STEP, START_GENERAL, STALE, SECONDS, TOKENS, LOSS_SCALE, GOOD_STEPS, SKIPPED, COUNT };
    const char *texts[COUNT];
    for (int i = 0; i < COUNT; i++) {
        texts[i] = eh_checkpoint_note_of(checkpoint, names[i]);
        if (texts[i] == NULL)
            return eh_error(EH_INPUT, "%s does not say where the training stood (%s)", path, names[i]);
    }
    *state = (eh_training_state){.step = strtoll(texts[STEP], NULL, 10),
                                 .selection = {.best_loss = strtod(texts[BEST], NULL),
                                               .start_general = strtod(texts[START_GENERAL], NULL),
                                               .best_step = strtoll(texts[BEST_STEP], NULL, 10),
                                               .stale_count = strtoll(texts[STALE], NULL, 10)},
                                 .seconds = strtod(texts[SECONDS], NULL),
                                 .tokens = strtod(texts[TOKENS], NULL)};
    trainer->loss_scale.scale = strtod(texts[LOSS_SCALE], NULL);
    trainer->loss_scale.good_steps = strtoll(texts[GOOD_STEPS], NULL, 10);
    trainer->loss_scale.skipped_count = strtoll(texts[SKIPPED], NULL, 10);
    return EH_OK;
}

static eh_status read_pieces(eh_trainer *trainer, const checkpoint_table *table, const eh_checkpoint *checkpoint,
                             const char *path)
{
    piece_list list = {0};
    float *host = NULL;
    eh_status status = EH_OK;
    for (int part = 0; part < PART_COUNT; part++) EH_TRY_OR(done, list_pieces(trainer, table, part, false, &list));
    EH_TRY_OR(done, connect_pieces(&list, false, &host));
    for (int64_t p = 0; p < list.count; p++) {
        eh_checkpoint_piece piece = list.pieces[p];
        const eh_checkpoint_tensor *tensor = &table->tensors[piece.tensor];
        piece.tensor = eh_checkpoint_find(checkpoint, tensor->name);
        if (piece.tensor < 0 || eh_checkpoint_count(checkpoint, piece.tensor) != tensor->count)
            EH_TRY_OR(done, eh_error(EH_INPUT, "%s: tensor %s is missing or of another size", path, tensor->name));
        EH_TRY_OR(done, eh_checkpoint_read(checkpoint, &piece));
        if (eh_tensor_host(&list.where[p]) == NULL)
            EH_TRY_OR(done, eh_backend_upload(trainer->backend, piece.values, &list.where[p]));
        eh_tensor_release(&list.where[p]);
    }
    EH_TRY_OR(done, eh_backend_wait(trainer->backend));
done:
    deinit_pieces(&list);
    eh_free(&host);
    return status;
}

// *found stays false if the checkpoint is another training's.
static eh_status try_checkpoint(eh_trainer *trainer, const char *path, const char *key, eh_training_state *state,
                                bool *found, const eh_log *log)
{
    eh_checkpoint *checkpoint = NULL;
    checkpoint_table table = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_checkpoint_open(trainer->comm, path, &checkpoint));
    const char *its_key = eh_checkpoint_note_of(checkpoint, "key");
    if (its_key == NULL || strcmp(its_key, key) != 0) {
        eh_log_warning(log, "%s belongs to a training with other data or settings: it is not used", path);
        goto done;
    }
    status = init_table(trainer->model, &table);
    if (status == EH_OK)
        status = read_state(checkpoint, path, trainer, state);
    if (status == EH_OK)
        status = read_pieces(trainer, &table, checkpoint, path);
    EH_TRY_OR(done, eh_comm_agree(trainer->comm, status));
    EH_TRY_OR(done, eh_model_weights_changed(trainer->model));
    *found = true;
done:
    eh_checkpoint_close(&checkpoint);
    deinit_table(&table);
    return status;
}

// Rank 0 lists, all follow: a file that appears meanwhile is not seen by some only.
static eh_status share_steps(eh_comm *comm, const char *folder, int64_t **steps, int64_t *count)
{
    eh_status status = eh_comm_rank(comm) == 0 ? list_steps(folder, steps, count) : EH_OK;
    EH_TRY(eh_comm_agree(comm, status));
    size_t bytes = (size_t)*count * sizeof **steps;
    EH_TRY(eh_comm_broadcast_block(comm, (void **)steps, &bytes, 0));
    *count = (int64_t)(bytes / sizeof **steps);
    return EH_OK;
}

eh_status eh_training_resume(eh_trainer *trainer, const char *folder, const char *key, eh_training_state *state,
                             bool *found, const eh_log *log)
{
    int64_t *steps = NULL, count = 0;
    eh_string path = {0};
    *state = (eh_training_state){.selection = EH_NO_SELECTION};
    *found = false;
    eh_status status = share_steps(trainer->comm, folder, &steps, &count);
    for (int64_t i = 0; status == EH_OK && !*found && i < count; i++) {
        EH_TRY_OR(done, path_of(folder, steps[i], &path));
        status = try_checkpoint(trainer, path.bytes, key, state, found, log);
        if (status == EH_INPUT) { // torn or damaged
            eh_log_warning(log, "%s: the checkpoint before it is used, if there is one", eh_error_message());
            eh_error_clear();
            status = EH_OK;
        }
    }
    if (status == EH_OK && *found)
        eh_log_line(log, "going on from %s", path.bytes);
done:
    eh_free(&steps);
    eh_string_deinit(&path);
    return status;
}
