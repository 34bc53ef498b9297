#include "job/sweep.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "job/yaml.h"

enum { MOST_RUNS = 10000 };

// One swept key and its values as YAML text for --set and as text for people.
typedef struct {
    char *key;
    char **texts;
    int64_t count;
} sweep_axis;

// Axes whose product is taken; a sweep is one or more of them, one after the other.
typedef struct {
    const char *path;
    sweep_axis *axes;
    int64_t axis_count;
} axis_list;

typedef struct {
    axis_list *lists;
    int64_t count;
} axis_lists;

static void free_texts(char ***texts, int64_t count)
{
    for (int64_t i = 0; *texts != NULL && i < count; i++) eh_free(&(*texts)[i]);
    eh_free(texts);
}

static eh_status read_axis(const axis_list *list, struct fy_node_pair *pair, sweep_axis *axis)
{
    struct fy_node *key = fy_node_pair_key(pair), *values = fy_node_pair_value(pair);
    const char *name = fy_node_get_scalar0(key);
    const int line = eh_yaml_line(key);
    if (name == NULL || values == NULL || !fy_node_is_sequence(values) || fy_node_sequence_item_count(values) == 0)
        return eh_error(EH_INPUT, "%s:%d: 'sweep' maps keys to lists of values, such as 'train.lr: [1e-5, 1e-4]'",
                        list->path, line);
    if (strcmp(name, "output") == 0 || strcmp(name, "name") == 0 || strcmp(name, "sweep") == 0)
        return eh_error(EH_INPUT, "%s:%d: '%s' can't be swept: each run gets a folder and a name of its own",
                        list->path, line, name);
    EH_TRY(eh_copy_string(name, &axis->key));
    EH_TRY(EH_ALLOC(fy_node_sequence_item_count(values), &axis->texts));
    void *place = NULL;
    for (struct fy_node *item; (item = fy_node_sequence_iterate(values, &place)) != NULL;) {
        eh_string text = {0};
        if (fy_node_is_scalar(item) && fy_node_get_style(item) == FYNS_PLAIN)
            EH_TRY(eh_string_append_text(&text, fy_node_get_scalar0(item)));
        else // JSON is YAML
            EH_TRY(eh_yaml_to_json(item, list->path, &text));
        axis->texts[axis->count++] = text.bytes;
    }
    return EH_OK;
}

static eh_status read_axes(axis_list *list, struct fy_node *node)
{
    if (!fy_node_is_mapping(node))
        return eh_error(EH_INPUT, "%s:%d: 'sweep' maps keys to lists of values, or is a list of such; found a %s",
                        list->path, eh_yaml_line(node), eh_yaml_kind(node));
    EH_TRY(EH_ALLOC(fy_node_mapping_item_count(node), &list->axes));
    void *place = NULL;
    for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(node, &place)) != NULL;)
        EH_TRY(read_axis(list, pair, &list->axes[list->axis_count++]));
    return EH_OK;
}

static eh_status read_lists(const char *path, struct fy_node *node, axis_lists *lists)
{
    const bool several = fy_node_is_sequence(node);
    if (several && fy_node_sequence_item_count(node) == 0)
        return eh_error(EH_INPUT, "%s: 'sweep' is an empty list", path);
    EH_TRY(EH_ALLOC(several ? fy_node_sequence_item_count(node) : 1, &lists->lists));
    void *place = NULL;
    struct fy_node *item = several ? fy_node_sequence_iterate(node, &place) : node;
    for (; item != NULL; item = several ? fy_node_sequence_iterate(node, &place) : NULL) {
        axis_list *list = &lists->lists[lists->count++];
        list->path = path;
        EH_TRY(read_axes(list, item));
    }
    return EH_OK;
}

static void free_lists(axis_lists *lists)
{
    for (int64_t l = 0; l < lists->count; l++) {
        axis_list *list = &lists->lists[l];
        for (int64_t i = 0; i < list->axis_count; i++) {
            eh_free(&list->axes[i].key);
            free_texts(&list->axes[i].texts, list->axes[i].count);
        }
        eh_free(&list->axes);
    }
    eh_free(&lists->lists);
}

// Where the value's last part begins; of "results/base/model", which another run has made, "base/model".
static const char *last_part(const char *value)
{
    const char *slash = strrchr(value, '/');
    if (slash == NULL)
        return value;
    if (strcmp(slash, "/model") != 0)
        return slash + 1;
    while (slash > value && slash[-1] != '/') slash--;
    return slash;
}

// Appends "lr-0.0001" for key train.lr and value 0.0001: the key's last part and the value's, in characters that are
// safe in the name of a folder.
static eh_status append_name(const sweep_axis *axis, const char *value, eh_string *name)
{
    const char *dot = strrchr(axis->key, '.'), *end = last_part(value);
    EH_TRY(eh_string_printf(name, "%s%s-", name->size > 0 ? "_" : "", dot != NULL ? dot + 1 : axis->key));
    for (const char *at = end; *at != '\0' && at - end < 48; at++)
        EH_TRY(eh_string_append(name, isalnum((unsigned char)*at) || strchr("._-", *at) != NULL ? at : "-", 1));
    return EH_OK;
}

static bool is_taken(const eh_sweep *sweep, const char *name)
{
    for (int64_t i = 0; i < sweep->run_count; i++)
        if (strcmp(sweep->runs[i].name, name) == 0)
            return true;
    return false;
}

static eh_status name_run(const eh_sweep *sweep, const axis_list *list, const int64_t *choice, eh_string *name)
{
    if (list->axis_count == 0)
        EH_TRY(eh_string_append_text(name, "plain"));
    for (int64_t a = 0; a < list->axis_count; a++)
        EH_TRY(append_name(&list->axes[a], list->axes[a].texts[choice[a]], name));
    if (!is_taken(sweep, name->bytes))
        return EH_OK;
    return eh_string_printf(name, "_%lld", (long long)sweep->run_count + 1); // two values with one safe form
}

static eh_status add_override(eh_run *run, int64_t *capacity, const char *key, const char *value)
{
    eh_string text = {0};
    EH_TRY(eh_string_printf(&text, "%s=%s", key, value));
    return EH_APPEND(&run->overrides, &run->override_count, capacity, text.bytes);
}

typedef struct {
    const char *path, *text;
    size_t size;
    const char *const *overrides;
    int64_t override_count;
} job_text;

// Text as a double-quoted YAML value.
static eh_status quote(const char *text, eh_string *quoted)
{
    EH_TRY(eh_string_append_text(quoted, "\""));
    for (const char *at = text; *at != '\0'; at++)
        EH_TRY(eh_string_printf(quoted, *at == '"' || *at == '\\' ? "\\%c" : "%c", *at));
    return eh_string_append_text(quoted, "\"");
}

static eh_status add_place(const eh_job *whole, eh_run *run, int64_t *capacity)
{
    eh_string place = {0}, name = {0}, quoted = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&place, "%s/%s", whole->output, run->name));
    EH_TRY_OR(done, quote(place.bytes, &quoted));
    EH_TRY_OR(done, add_override(run, capacity, "output", quoted.bytes));
    EH_TRY_OR(done, eh_string_printf(&name, "%s/%s", whole->name, run->name));
    eh_string_clear(&quoted);
    EH_TRY_OR(done, quote(name.bytes, &quoted));
    EH_TRY_OR(done, add_override(run, capacity, "name", quoted.bytes));
done:
    eh_string_deinit(&place);
    eh_string_deinit(&name);
    eh_string_deinit(&quoted);
    return status;
}

// What a combination sets a key to; "" where it leaves the key alone.
static const char *value_of(const axis_list *list, const int64_t *choice, const char *key)
{
    for (int64_t a = 0; a < list->axis_count; a++)
        if (strcmp(list->axes[a].key, key) == 0)
            return list->axes[a].texts[choice[a]];
    return "";
}

// Whether an earlier part of the sweep has this very combination: one run is enough.
static bool is_made(const eh_sweep *sweep, const axis_list *list, const int64_t *choice)
{
    for (int64_t i = 0; i < sweep->run_count; i++) {
        bool same = true;
        for (int64_t k = 0; k < sweep->key_count && same; k++)
            same = strcmp(sweep->runs[i].values[k], value_of(list, choice, sweep->keys[k])) == 0;
        if (same)
            return true;
    }
    return false;
}

// Fills in one run: its name, overrides and job.
static eh_status make_run(const job_text *source, const axis_list *list, const int64_t *choice, const eh_job *whole,
                          const eh_sweep *sweep, eh_run *run)
{
    int64_t capacity = 0;
    eh_string name = {0};
    EH_TRY(eh_string_append_text(&name, ""));
    if (whole != NULL)
        EH_TRY(name_run(sweep, list, choice, &name));
    EH_TRY(eh_copy_string(name.bytes != NULL ? name.bytes : "", &run->name));
    eh_string_deinit(&name);
    for (int64_t i = 0; i < source->override_count; i++) {
        char *copy = NULL;
        EH_TRY(eh_copy_string(source->overrides[i], &copy));
        EH_TRY(EH_APPEND(&run->overrides, &run->override_count, &capacity, copy));
    }
    if (whole != NULL) {
        EH_TRY(add_override(run, &capacity, "sweep", ""));
        EH_TRY(EH_ALLOC(sweep->key_count, &run->values));
        for (int64_t k = 0; k < sweep->key_count; k++)
            EH_TRY(eh_copy_string(value_of(list, choice, sweep->keys[k]), &run->values[k]));
        for (int64_t a = 0; a < list->axis_count; a++)
            EH_TRY(add_override(run, &capacity, list->axes[a].key, list->axes[a].texts[choice[a]]));
        EH_TRY(add_place(whole, run, &capacity));
    }
    return eh_job_parse(source->path, source->text, source->size, (const char *const *)run->overrides,
                        run->override_count, &run->job);
}

// The last axis turns fastest; false after the last combination.
static bool next_choice(const axis_list *list, int64_t *choice)
{
    for (int64_t a = list->axis_count - 1; a >= 0; a--) {
        if (++choice[a] < list->axes[a].count)
            return true;
        choice[a] = 0;
    }
    return false;
}

static eh_status count_runs(const axis_list *list, int64_t *count)
{
    *count = 1;
    for (int64_t a = 0; a < list->axis_count; a++)
        if (__builtin_mul_overflow(*count, list->axes[a].count, count) || *count > MOST_RUNS)
            return eh_error(EH_INPUT, "%s: the sweep has more than %d runs", list->path, MOST_RUNS);
    return EH_OK;
}

// All keys that any part sweeps, each once, in the order of the file.
static eh_status collect_keys(const axis_lists *lists, eh_sweep *sweep)
{
    int64_t capacity = 0;
    for (int64_t l = 0; l < lists->count; l++)
        for (int64_t a = 0; a < lists->lists[l].axis_count; a++) {
            const char *key = lists->lists[l].axes[a].key;
            bool known = false;
            for (int64_t k = 0; k < sweep->key_count; k++) known = known || strcmp(sweep->keys[k], key) == 0;
            char *copy = NULL;
            if (!known) {
                EH_TRY(eh_copy_string(key, &copy));
                EH_TRY(EH_APPEND(&sweep->keys, &sweep->key_count, &capacity, copy));
            }
        }
    return EH_OK;
}

static eh_status make_product(const job_text *source, const axis_list *list, const eh_job *whole, eh_sweep *sweep)
{
    int64_t *choice = NULL;
    eh_status status = EH_ALLOC(list->axis_count, &choice);
    if (status != EH_OK)
        return status;
    do {
        if (whole != NULL && is_made(sweep, list, choice))
            continue;
        // Counted before it is made, so that a half-made run is freed too.
        eh_run *run = &sweep->runs[sweep->run_count];
        status = make_run(source, list, choice, whole, sweep, run);
        sweep->run_count++;
    } while (status == EH_OK && next_choice(list, choice));
    eh_free(&choice);
    return status;
}

static eh_status make_runs(const job_text *source, const axis_lists *lists, eh_sweep *sweep)
{
    int64_t count = 0;
    eh_job whole = {0};
    eh_status status = EH_OK;
    const char **overrides = NULL;
    for (int64_t l = 0, product; l < lists->count; l++, count += product)
        EH_TRY_OR(done, count_runs(&lists->lists[l], &product));
    EH_TRY_OR(done, EH_ALLOC(count, &sweep->runs));
    EH_TRY_OR(done, collect_keys(lists, sweep));
    EH_TRY_OR(done, EH_ALLOC(source->override_count + 1, &overrides));
    for (int64_t i = 0; i < source->override_count; i++) overrides[i] = source->overrides[i];
    overrides[source->override_count] = "sweep=";
    EH_TRY_OR(done,
              eh_job_parse(source->path, source->text, source->size, overrides, source->override_count + 1, &whole));
    EH_TRY_OR(done, eh_copy_string(whole.output, &sweep->output));
    for (int64_t l = 0; l < lists->count && status == EH_OK; l++)
        status = make_product(source, &lists->lists[l], sweep->key_count > 0 ? &whole : NULL, sweep);
done:
    eh_free(&overrides);
    eh_job_deinit(&whole);
    return status;
}

eh_status eh_sweep_read(const char *path, const char *const *overrides, int64_t override_count, eh_sweep *sweep)
{
    eh_status status = EH_OK;
    eh_string text = {0};
    struct fy_document *document = NULL;
    axis_list single = {.path = path}; // of a job without sweep: one run
    axis_lists lists = {0};
    *sweep = (eh_sweep){0};
    EH_TRY_OR(done, eh_yaml_read_file(path, &text));
    EH_TRY_OR(done, eh_yaml_parse(path, text.bytes, text.size, &document));
    struct fy_node *root = document != NULL ? fy_document_root(document) : NULL;
    struct fy_node *node =
        root != NULL && fy_node_is_mapping(root) ? fy_node_mapping_lookup_by_string(root, "sweep", FY_NT) : NULL;
    if (node != NULL && !(fy_node_is_scalar(node) && fy_node_get_scalar_length(node) == 0))
        EH_TRY_OR(done, read_lists(path, node, &lists));
    const axis_lists one = {&single, 1};
    const job_text source = {path, text.bytes, text.size, overrides, override_count};
    EH_TRY_OR(done, make_runs(&source, lists.count > 0 ? &lists : &one, sweep));
done:
    free_lists(&lists);
    fy_document_destroy(document);
    eh_string_deinit(&text);
    if (status != EH_OK)
        eh_sweep_deinit(sweep);
    return status;
}

void eh_sweep_deinit(eh_sweep *sweep)
{
    for (int64_t i = 0; i < sweep->run_count; i++) {
        eh_run *run = &sweep->runs[i];
        eh_free(&run->name);
        free_texts(&run->overrides, run->override_count);
        free_texts(&run->values, run->values != NULL ? sweep->key_count : 0);
        eh_job_deinit(&run->job);
    }
    eh_free(&sweep->runs);
    free_texts(&sweep->keys, sweep->key_count);
    eh_free(&sweep->output);
    *sweep = (eh_sweep){0};
}
