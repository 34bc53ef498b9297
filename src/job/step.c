#include "job/step.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/sha256.h"
#include "core/version.h"
#include "io/atomic.h"
#include "io/shard.h"
#include "job/schema.h"
#include "job/yaml.h"

#define NONE EH_CONTROL_COUNT, false
#define TOKENIZE_OF(name, control)                                                 \
    {                                                                              \
        "tokenize-" name, "tokenize", "", "control-" name "/shards", control, true \
    }
#define FINETUNE_OF(name, control)                                                            \
    {                                                                                         \
        "finetune-" name, "finetune", "", "control-" name "/model/config.json", control, true \
    }
#define EVALUATE_OF(name, control)                                                                  \
    {                                                                                               \
        "evaluate-" name, "evaluate", "control-" name, "scores-control-" name ".h5", control, false \
    }
const eh_step_info eh_steps[EH_STEP_COUNT] = {
    [EH_STEP_TOKENIZE] = {"tokenize", "tokenize", "", "shards", NONE},
    [EH_STEP_EVALUATE_BEFORE] = {"evaluate-before", "evaluate", "before", "scores-before.h5", NONE},
    [EH_STEP_FINETUNE] = {"finetune", "finetune", "", "model/config.json", NONE},
    [EH_STEP_EVALUATE_AFTER] = {"evaluate-after", "evaluate", "after", "scores-after.h5", NONE},
    [EH_STEP_EVALUATE_STEPS] = {"evaluate-steps", "evaluate", "steps", "steps.csv", NONE},
    [EH_STEP_TOKENIZE_PLACEBO] = TOKENIZE_OF("placebo", EH_CONTROL_PLACEBO),
    [EH_STEP_FINETUNE_PLACEBO] = FINETUNE_OF("placebo", EH_CONTROL_PLACEBO),
    [EH_STEP_EVALUATE_PLACEBO] = EVALUATE_OF("placebo", EH_CONTROL_PLACEBO),
    [EH_STEP_TOKENIZE_REVERSED] = TOKENIZE_OF("reversed", EH_CONTROL_REVERSED),
    [EH_STEP_FINETUNE_REVERSED] = FINETUNE_OF("reversed", EH_CONTROL_REVERSED),
    [EH_STEP_EVALUATE_REVERSED] = EVALUATE_OF("reversed", EH_CONTROL_REVERSED),
    [EH_STEP_TOKENIZE_NEUTRAL] = TOKENIZE_OF("neutral", EH_CONTROL_NEUTRAL),
    [EH_STEP_FINETUNE_NEUTRAL] = FINETUNE_OF("neutral", EH_CONTROL_NEUTRAL),
    [EH_STEP_EVALUATE_NEUTRAL] = EVALUATE_OF("neutral", EH_CONTROL_NEUTRAL),
    [EH_STEP_DAMAGE] = {"damage", "damage", "", "control-damage/model-1a/config.json", EH_CONTROL_DAMAGE, false},
    [EH_STEP_EVALUATE_DAMAGE] = {"evaluate-damage", "evaluate", "control-damage", "scores-control-damage-1a.h5",
                                 EH_CONTROL_DAMAGE, false},
    [EH_STEP_EVALUATE_REPEAT] = EVALUATE_OF("repeat", EH_CONTROL_REPEAT),
    [EH_STEP_REPORT] = {"report", "report", "", "report.html", NONE},
};

static bool trains(const eh_job *job)
{
    for (int64_t i = 0; i < job->data_count; i++)
        if (eh_data_is_learnt(&job->data[i]))
            return true;
    return false;
}

void eh_damage_phase(int64_t index, char name[48])
{
    snprintf(name, 48, "control-damage-%lld%c", (long long)(index / 2 + 1), index % 2 == 0 ? 'a' : 'b');
}

bool eh_step_wanted(const eh_job *job, eh_step step)
{
    if (step < EH_STEP_COUNT && eh_steps[step].control != EH_CONTROL_COUNT)
        return (job->controls.which >> eh_steps[step].control & 1) != 0;
    switch (step) {
    case EH_STEP_TOKENIZE:
        return job->data_count > 0;
    case EH_STEP_EVALUATE_BEFORE:
        return job->evaluate_count > 0;
    case EH_STEP_FINETUNE:
        return trains(job);
    case EH_STEP_EVALUATE_AFTER:
        return job->evaluate_count > 0 && trains(job);
    case EH_STEP_EVALUATE_STEPS:
        return job->evaluate_count > 0 && trains(job) && job->train.keep_every > 0 &&
               strcmp(job->train.kept, "measure") == 0;
    case EH_STEP_REPORT:
        return job->evaluate_count > 0;
    default:
        break;
    }
    return false;
}

eh_step eh_step_find(const char *stage, const char *phase)
{
    int step = 0;
    while (step < EH_STEP_COUNT &&
           (strcmp(eh_steps[step].stage, stage) != 0 || strcmp(eh_steps[step].phase, phase) != 0))
        step++;
    return (eh_step)step;
}

// --- What a step depends on, gathered as text of one fact a line -----------------------------------------------------

// Files up to this size are known by their contents, bigger ones by size, date and both ends.
enum { WHOLE_BYTES = 64 << 20, END_BYTES = 1 << 20 };

static eh_status add_ends(const char *path, const struct stat *info, eh_string *facts)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    char *bytes = NULL, digest[EH_SHA256_TEXT];
    eh_status status = EH_ALLOC(2 * END_BYTES, &bytes);
    if (status == EH_OK) {
        size_t size = fread(bytes, 1, END_BYTES, file);
        if (fseek(file, -(long)END_BYTES, SEEK_END) == 0)
            size += fread(bytes + size, 1, END_BYTES, file);
        eh_sha256_text(bytes, size, digest);
        status = eh_string_printf(facts, "%lld %lld %s\n", (long long)info->st_size, (long long)info->st_mtime, digest);
    }
    eh_free(&bytes);
    fclose(file);
    return status;
}

static eh_status add_file(const char *path, eh_string *facts)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    if (info.st_size > WHOLE_BYTES)
        return add_ends(path, &info, facts);
    char digest[EH_SHA256_TEXT];
    EH_TRY(eh_sha256_file(path, digest));
    return eh_string_printf(facts, "%s\n", digest);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

// The files of a folder by name and contents, and of the folders in it (BOLD's prompts lie in one).
static eh_status add_path(const char *path, eh_string *facts)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return add_file(path, facts);
    struct dirent **entries = NULL;
    const int count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    eh_status status = EH_OK;
    for (int i = 0; i < count; i++) {
        eh_string below = {0};
        if (status == EH_OK)
            status = eh_string_printf(&below, "%s/%s", path, entries[i]->d_name);
        if (status == EH_OK)
            status = eh_string_printf(facts, "%s ", entries[i]->d_name);
        if (status == EH_OK)
            status = add_path(below.bytes, facts);
        eh_string_deinit(&below);
        free(entries[i]);
    }
    free(entries);
    return status;
}

// For what one metric needs and the others don't: the evaluation says that it is missing.
static eh_status add_path_if_there(const char *path, eh_string *facts)
{
    return access(path, F_OK) == 0 ? add_path(path, facts) : eh_string_printf(facts, "%s: not there\n", path);
}

static bool is_word_of(const char *word, const char *words)
{
    const size_t size = strlen(word);
    for (const char *at = words; *at != '\0';) {
        const size_t length = strcspn(at, " ");
        if (length == size && memcmp(at, word, size) == 0)
            return true;
        at += length;
        at += strspn(at, " ");
    }
    return false;
}

// Keys that one of `steps` depends on, but for the words of `skip`.
static eh_status add_keys(const eh_key_list *list, const void *base, unsigned steps, const char *skip, eh_string *facts)
{
    for (size_t i = 0; i < list->count; i++) {
        if ((list->keys[i].steps & steps) == 0 || is_word_of(list->keys[i].path, skip))
            continue;
        EH_TRY(eh_string_printf(facts, "%s%s=", list->prefix, list->keys[i].path));
        EH_TRY(eh_key_print(&list->keys[i], base, facts));
        EH_TRY(eh_string_append_text(facts, "\n"));
    }
    return EH_OK;
}

static eh_status add_tokenizer(const eh_job *job, eh_string *facts)
{
    const char *place = job->model.path != NULL ? job->model.path : job->model.tokenizer;
    struct stat info;
    if (stat(place, &info) == 0 && !S_ISDIR(info.st_mode))
        return add_file(place, facts);
    eh_string path = {0};
    eh_status status = eh_string_printf(&path, "%s/tokenizer.json", place);
    if (status == EH_OK)
        status = add_file(path.bytes, facts);
    eh_string_deinit(&path);
    return status;
}

// What a shard depends on beside the tokenizer: config.json's kind of model and greatest length. The model's size does
// not matter, so models of one family share shards.
static eh_status add_model_shape(const eh_job *job, eh_string *facts)
{
    static const char *const names[] = {"model_type",  "architectures",           "is_encoder_decoder",
                                        "n_positions", "max_position_embeddings", "seq_length"};
    eh_string text = {0}, path = {0};
    struct fy_document *document = NULL;
    eh_status status = EH_OK;
    if (job->model.path != NULL) {
        EH_TRY_OR(done, eh_string_printf(&path, "%s/config.json", job->model.path));
        EH_TRY_OR(done, eh_yaml_read_file(path.bytes, &text));
    } else {
        EH_TRY_OR(done, eh_string_append_text(&text, job->model.config));
    }
    EH_TRY_OR(done,
              eh_yaml_parse(job->model.path != NULL ? path.bytes : "model.config", text.bytes, text.size, &document));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fy_node *root = document != NULL ? fy_document_root(document) : NULL;
        struct fy_node *value =
            root != NULL && fy_node_is_mapping(root) ? fy_node_mapping_lookup_by_string(root, names[i], FY_NT) : NULL;
        EH_TRY_OR(done, eh_string_printf(facts, "%s=", names[i]));
        if (value != NULL)
            EH_TRY_OR(done, eh_yaml_to_json(value, names[i], facts));
        EH_TRY_OR(done, eh_string_append_text(facts, "\n"));
    }
done:
    fy_document_destroy(document);
    eh_string_deinit(&text);
    eh_string_deinit(&path);
    return status;
}

static eh_status add_model(const eh_job *job, eh_string *facts)
{
    if (job->model.path != NULL)
        return add_path(job->model.path, facts);
    return eh_string_printf(facts, "%s %s %" PRIu64 "\n", job->model.architecture, job->model.config, job->seed);
}

// Keys of a data set that say what is taught by it: what is measured on it does not depend on them.
static const char *const teaching_keys = "pair_order label_layout blank";
static const char *const teaching_keys_of_pairs = "pair_order label_layout blank task prompt use max_length";

static eh_status add_data(const eh_job *job, bool measured_only, eh_string *facts)
{
    const unsigned tokenize = 1u << EH_STEP_TOKENIZE;
    EH_TRY(add_tokenizer(job, facts));
    EH_TRY(add_model_shape(job, facts));
    EH_TRY(add_keys(&eh_job_keys, job, tokenize, "", facts));
    for (int64_t i = 0; i < job->data_count; i++) {
        const eh_job_data *data = &job->data[i];
        if (!eh_data_is_measured(data) && (measured_only || data->use == EH_USE_CONTROL))
            continue;
        const bool pairs = strcmp(data->format, "crows-pairs") == 0 || strcmp(data->format, "pairs") == 0;
        const char *skip = !measured_only ? "" : pairs ? teaching_keys_of_pairs : teaching_keys;
        EH_TRY(add_keys(&eh_data_keys, data, tokenize, skip, facts));
        const eh_status status = add_path(data->path, facts);
        if (status != EH_OK)
            return eh_error_context(status, "data set '%s'", data->name);
    }
    return EH_OK;
}

static eh_status add_step(const eh_job *job, eh_step step, eh_string *facts);

// What is measured and how.
static eh_status add_measuring(const eh_job *job, eh_string *facts)
{
    EH_TRY(add_data(job, true, facts));
    const unsigned evaluate = 1u << EH_STEP_EVALUATE_AFTER;
    EH_TRY(add_keys(&eh_job_keys, job, evaluate, "", facts));
    for (int64_t i = 0; i < job->evaluate_count; i++) {
        const eh_job_metric *metric = &job->evaluate[i];
        EH_TRY(add_keys(&eh_metric_keys, metric, evaluate, "classifier lexicon", facts));
        if (metric->classifier != NULL)
            EH_TRY(add_path_if_there(metric->classifier, facts));
        if (metric->lexicon != NULL)
            EH_TRY(add_path_if_there(metric->lexicon, facts));
    }
    return EH_OK;
}

// Each control's evaluation stands behind the step that makes its model.
static eh_status add_evaluation(const eh_job *job, eh_step step, eh_string *facts)
{
    EH_TRY(add_measuring(job, facts));
    if (step == EH_STEP_EVALUATE_REPEAT)
        EH_TRY(eh_string_append_text(facts, "once more\n"));
    if (step == EH_STEP_EVALUATE_BEFORE || step == EH_STEP_EVALUATE_REPEAT)
        return add_model(job, facts);
    return add_step(job, step == EH_STEP_EVALUATE_STEPS ? EH_STEP_FINETUNE : (eh_step)(step - 1), facts);
}

static eh_status add_damage(const eh_job *job, eh_string *facts)
{
    EH_TRY(add_measuring(job, facts));
    EH_TRY(add_keys(&eh_job_keys, job, 1u << EH_STEP_DAMAGE, "", facts));
    EH_TRY(add_model(job, facts));
    return add_step(job, EH_STEP_FINETUNE, facts);
}

static eh_status add_finetune(const eh_job *job, eh_string *facts)
{
    const unsigned finetune = 1u << EH_STEP_FINETUNE;
    EH_TRY(add_step(job, EH_STEP_TOKENIZE, facts));
    EH_TRY(add_keys(&eh_job_keys, job, finetune, "", facts));
    for (int64_t i = 0; i < job->data_count; i++) EH_TRY(add_keys(&eh_data_keys, &job->data[i], finetune, "", facts));
    return add_model(job, facts);
}

static eh_status add_report(const eh_job *job, eh_string *facts)
{
    EH_TRY(add_keys(&eh_job_keys, job, 1u << EH_STEP_REPORT, "", facts));
    if (job->verdict.planted != NULL) {
        char path[4096];
        snprintf(path, sizeof path, "%s/tables/truth.csv", job->verdict.planted);
        EH_TRY(add_path_if_there(path, facts));
    }
    if (job->report.reference != NULL)
        EH_TRY(add_path_if_there(job->report.reference, facts));
    for (int step = 0; step < EH_STEP_REPORT; step++)
        if (eh_step_wanted(job, (eh_step)step))
            EH_TRY(add_step(job, (eh_step)step, facts));
    return EH_OK;
}

static eh_status add_step(const eh_job *job, eh_step step, eh_string *facts)
{
    char key[EH_SHA256_TEXT];
    EH_TRY(eh_step_key(job, step, key));
    return eh_string_printf(facts, "%s %s\n", eh_steps[step].name, key);
}

// The key of the control's own job.
static eh_status derived_key(const eh_job *job, eh_step step, char key[65])
{
    eh_job derived;
    EH_TRY(eh_control_job(job, eh_steps[step].control, &derived));
    const eh_status status = eh_step_key(&derived, eh_step_find(eh_steps[step].stage, ""), key);
    eh_job_deinit(&derived);
    return status;
}

eh_status eh_step_key(const eh_job *job, eh_step step, char key[65])
{
    if (eh_steps[step].is_derived)
        return derived_key(job, step, key);
    eh_string facts = {0};
    eh_status status = eh_string_printf(&facts, "evenhand step keys, version 1, results %d, shards %d: %s\n",
                                        EH_RESULTS_VERSION, EH_SHARD_VERSION, eh_steps[step].stage);
    if (status == EH_OK) {
        switch (step) {
        case EH_STEP_TOKENIZE:
            status = add_data(job, false, &facts);
            break;
        case EH_STEP_FINETUNE:
            status = add_finetune(job, &facts);
            break;
        case EH_STEP_REPORT:
            status = add_report(job, &facts);
            break;
        case EH_STEP_DAMAGE:
            status = add_damage(job, &facts);
            break;
        default:
            status = add_evaluation(job, step, &facts);
            break;
        }
    }
    if (status == EH_OK)
        eh_sha256_text(facts.bytes, facts.size, key);
    eh_string_deinit(&facts);
    return status;
}

// --- Stamps --------------------------------------------------------------------------------------------------------

static eh_status stamp_path(const eh_job *job, eh_step step, eh_string *path)
{
    const eh_step_info *info = &eh_steps[step];
    if (info->is_derived)
        return eh_string_printf(path, "%s/control-%s/stamps/%s", job->output, eh_control_name(info->control),
                                info->stage);
    return eh_string_printf(path, "%s/stamps/%s", job->output, info->name);
}

#define PARTIAL "partial "

static eh_status has_stamp(const eh_job *job, eh_step step, const char *kind, const char *key, bool *has)
{
    eh_string path = {0};
    char found[sizeof PARTIAL + EH_SHA256_TEXT] = "", wanted[sizeof found];
    *has = false;
    snprintf(wanted, sizeof wanted, "%s%s", kind, key);
    eh_status status = stamp_path(job, step, &path);
    FILE *file = status == EH_OK ? fopen(path.bytes, "rb") : NULL;
    if (file != NULL) {
        const size_t size = fread(found, 1, sizeof found - 1, file);
        found[size] = '\0';
        found[strcspn(found, "\n")] = '\0';
        fclose(file);
        eh_string_clear(&path);
        status = eh_string_printf(&path, "%s/%s", job->output, eh_steps[step].result);
        *has = status == EH_OK && strcmp(found, wanted) == 0 && access(path.bytes, F_OK) == 0;
    }
    eh_string_deinit(&path);
    return status;
}

eh_status eh_step_is_fresh(const eh_job *job, eh_step step, const char *key, bool *fresh)
{
    return has_stamp(job, step, "", key, fresh);
}

eh_status eh_step_is_partial(const eh_job *job, eh_step step, const char *key, bool *partial)
{
    return has_stamp(job, step, PARTIAL, key, partial);
}

bool eh_step_has_stamp(const eh_job *job, eh_step step)
{
    eh_string path = {0};
    const bool found = stamp_path(job, step, &path) == EH_OK && access(path.bytes, F_OK) == 0;
    eh_string_deinit(&path);
    return found;
}

static eh_status mark(const eh_job *job, eh_step step, const char *kind, const char *key)
{
    eh_string path = {0}, text = {0};
    eh_status status = stamp_path(job, step, &path);
    if (status == EH_OK)
        status = eh_string_printf(&text, "%s%s\n", kind, key);
    if (status == EH_OK)
        status = eh_atomic_write(path.bytes, text.bytes, text.size);
    eh_string_deinit(&path);
    eh_string_deinit(&text);
    return status;
}

eh_status eh_step_mark(const eh_job *job, eh_step step, const char *key)
{
    return mark(job, step, "", key);
}

eh_status eh_step_mark_partial(const eh_job *job, eh_step step, const char *key)
{
    return mark(job, step, PARTIAL, key);
}

eh_status eh_step_unmark(const eh_job *job, eh_step step)
{
    eh_string path = {0};
    eh_status status = stamp_path(job, step, &path);
    if (status == EH_OK && unlink(path.bytes) != 0 && errno != ENOENT && errno != ENOTDIR)
        status = eh_error(EH_MACHINE, "%s: %s", path.bytes, strerror(errno));
    eh_string_deinit(&path);
    return status;
}
