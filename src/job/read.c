// A job file through the schema. Values are taken in this order, later ones win: defaults, the preset's, the file's,
// --set. Entries of data: and evaluate: come last, since their defaults may be switches.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "job/check.h"
#include "job/job.h"
#include "job/schema.h"
#include "job/yaml.h"

typedef struct {
    char *key;                    // "train.lr"
    struct fy_document *document; // of the value
    struct fy_node *value;        // NULL: empty
    char where[160];              // "--set train.lr=1e-4"
} job_override;

typedef struct {
    const char *path; // of the job file
    eh_job *job;
    struct fy_node *root;
    job_override *overrides;
    int64_t override_count;
} job_reader;

static void where_text(const job_reader *reader, struct fy_node *node, char where[512])
{
    snprintf(where, 512, "%s:%d", reader->path, eh_yaml_line(node));
}

static eh_status unknown_key(const eh_key_list *list, const char *section, const char *name, const char *where)
{
    eh_string advice = {0};
    EH_TRY(eh_key_suggest(list, section, name, &advice));
    const eh_status status =
        eh_error(EH_INPUT, "%s: unknown key '%s%s%s': %s", where, list->prefix, section, name, advice.bytes);
    eh_string_deinit(&advice);
    return status;
}

static bool is_section(const eh_key_list *list, const char *path)
{
    const size_t size = strlen(path);
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->keys[i].path, path, size) == 0 && list->keys[i].path[size] == '.')
            return true;
    return false;
}

static eh_status set_words(const eh_key *key, void *base, struct fy_node *list, const char *where)
{
    eh_string words = {0};
    eh_status status = eh_string_append_text(&words, "");
    void *place = NULL;
    for (struct fy_node *item; status == EH_OK && (item = fy_node_sequence_iterate(list, &place)) != NULL;) {
        const char *word = fy_node_is_scalar(item) ? fy_node_get_scalar0(item) : NULL;
        status = word != NULL ? eh_string_printf(&words, "%s ", word)
                              : eh_error(EH_INPUT, "%s: '%s' needs a list of words, found a %s in it", where, key->path,
                                         eh_yaml_kind(item));
    }
    if (status == EH_OK)
        status = eh_key_set(key, base, words.bytes, where);
    eh_string_deinit(&words);
    return status;
}

static eh_status set_texts(const eh_key *key, void *base, struct fy_node *node, const char *where)
{
    EH_TRY(eh_key_set(key, base, NULL, where));
    if (fy_node_is_scalar(node))
        return eh_key_set(key, base, fy_node_get_scalar0(node), where);
    void *place = NULL;
    for (struct fy_node *item; (item = fy_node_sequence_iterate(node, &place)) != NULL;) {
        if (!fy_node_is_scalar(item))
            return eh_error(EH_INPUT, "%s: '%s' needs a list of texts, found a %s in it", where, key->path,
                            eh_yaml_kind(item));
        EH_TRY(eh_key_set(key, base, fy_node_get_scalar0(item), where));
    }
    return EH_OK;
}

static eh_status set_value(const eh_key *key, void *base, struct fy_node *node, const char *where)
{
    if (node == NULL || (fy_node_is_scalar(node) && fy_node_is_null(node)))
        return EH_OK; // null: the default
    if (fy_node_is_scalar(node) && fy_node_get_style(node) == FYNS_PLAIN &&
        (fy_node_get_scalar_length(node) == 0 || strcmp(fy_node_get_scalar0(node), "null") == 0))
        return EH_OK;
    if (key->type == EH_KEY_MAPPING) {
        if (!fy_node_is_mapping(node))
            return eh_error(EH_INPUT, "%s: '%s' needs a mapping, found a %s", where, key->path, eh_yaml_kind(node));
        eh_string json = {0};
        eh_status status = eh_yaml_to_json(node, where, &json);
        if (status == EH_OK)
            status = eh_key_set(key, base, json.bytes, where);
        eh_string_deinit(&json);
        return status;
    }
    if (key->type == EH_KEY_FLAGS && fy_node_is_sequence(node))
        return set_words(key, base, node, where);
    if (key->type == EH_KEY_TEXTS && (fy_node_is_scalar(node) || fy_node_is_sequence(node)))
        return set_texts(key, base, node, where);
    if (!fy_node_is_scalar(node))
        return eh_error(EH_INPUT, "%s: '%s' needs one value, found a %s", where, key->path, eh_yaml_kind(node));
    return eh_key_set(key, base, fy_node_get_scalar0(node), where);
}

static bool is_list_key(const char *path)
{
    return strcmp(path, "data") == 0 || strcmp(path, "evaluate") == 0 || strcmp(path, "sweep") == 0;
}

// One level: keys of `section` ("" or "train.") of `base`. `where` is NULL for nodes of the job file, which know their
// lines. Lists are read later.
static eh_status read_mapping(const job_reader *reader, const eh_key_list *list, void *base, const char *section,
                              struct fy_node *mapping, const char *where)
{
    void *place = NULL;
    for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(mapping, &place)) != NULL;) {
        struct fy_node *key_node = fy_node_pair_key(pair), *value = fy_node_pair_value(pair);
        char line[512], path[256];
        where_text(reader, key_node, line);
        const char *at = where != NULL ? where : line;
        const char *name = fy_node_get_scalar0(key_node);
        if (name == NULL)
            return eh_error(EH_INPUT, "%s: a key must be one word", at);
        snprintf(path, sizeof path, "%s%s", section, name);
        const eh_key *key = eh_key_find(list, path);
        if (key != NULL) {
            EH_TRY(set_value(key, base, value, at));
        } else if (list == &eh_job_keys && is_list_key(path)) {
            continue; // read_lists
        } else if (is_section(list, path)) {
            if (value == NULL || (fy_node_is_scalar(value) && fy_node_get_scalar_length(value) == 0))
                continue; // "train:" with nothing below
            if (!fy_node_is_mapping(value))
                return eh_error(EH_INPUT, "%s: '%s' needs keys below it, found a %s", at, path, eh_yaml_kind(value));
            snprintf(path, sizeof path, "%s%s.", section, name);
            EH_TRY(read_mapping(reader, list, base, path, value, where));
        } else {
            return unknown_key(list, section, name, at);
        }
    }
    return EH_OK;
}

static struct fy_node *lookup(struct fy_node *mapping, const char *name)
{
    void *place = NULL;
    if (mapping == NULL)
        return NULL;
    for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(mapping, &place)) != NULL;) {
        const char *key = fy_node_get_scalar0(fy_node_pair_key(pair));
        if (key != NULL && strcmp(key, name) == 0)
            return fy_node_pair_value(pair);
    }
    return NULL;
}

// --- --set -------------------------------------------------------------------------------------------------------

static eh_status parse_override(const char *text, job_override *override)
{
    snprintf(override->where, sizeof override->where, "--set %s", text);
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text)
        return eh_error(EH_INPUT, "%s: this must be KEY=VALUE, such as train.lr=1e-4", override->where);
    EH_TRY(eh_copy_bytes(text, (size_t)(equals - text), &override->key));
    EH_TRY(eh_yaml_parse(override->where, equals + 1, strlen(equals + 1), &override->document));
    override->value = override->document != NULL ? fy_document_root(override->document) : NULL;
    return EH_OK;
}

static eh_status apply_job_override(const job_reader *reader, const job_override *override)
{
    const eh_key *key = eh_key_find(&eh_job_keys, override->key);
    if (key != NULL)
        return set_value(key, reader->job, override->value, override->where);
    if (is_section(&eh_job_keys, override->key)) {
        if (override->value == NULL || !fy_node_is_mapping(override->value))
            return eh_error(EH_INPUT, "%s: '%s' needs keys below it", override->where, override->key);
        char section[256];
        snprintf(section, sizeof section, "%s.", override->key);
        return read_mapping(reader, &eh_job_keys, reader->job, section, override->value, override->where);
    }
    char section[256];
    snprintf(section, sizeof section, "%s", override->key);
    char *dot = strrchr(section, '.');
    const char *name = dot != NULL ? override->key + (dot - section) + 1 : override->key;
    if (dot != NULL)
        dot[1] = '\0';
    else
        section[0] = '\0';
    if (section[0] != '\0') {
        *dot = '\0';
        const bool known = is_section(&eh_job_keys, section);
        *dot = '.';
        if (!known)
            return unknown_key(&eh_job_keys, "", override->key, override->where);
    }
    return unknown_key(&eh_job_keys, section, name, override->where);
}

// "data.crows.task" -> the entry's name "crows" and its key "task"; false if the override is not below `list`.
static bool entry_override(const job_override *override, const char *list, char entry[128], const char **key)
{
    const size_t size = strlen(list);
    if (strncmp(override->key, list, size) != 0 || override->key[size] != '.')
        return false;
    const char *name = override->key + size + 1, *dot = strrchr(name, '.');
    if (dot == NULL) {
        snprintf(entry, 128, "%s", name);
        *key = "";
        return true;
    }
    snprintf(entry, 128, "%.*s", (int)(dot - name), name);
    *key = dot + 1;
    return true;
}

static bool data_is_named(const eh_job *job, int64_t index, const char *entry)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)index);
    const char *name = job->data[index].name;
    return (name != NULL && strcmp(name, entry) == 0) || strcmp(number, entry) == 0;
}

static bool metric_is_named(const eh_job *job, int64_t index, const char *entry)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)index);
    const char *name = job->evaluate[index].metric;
    return (name != NULL && strcmp(name, entry) == 0) || strcmp(number, entry) == 0;
}

typedef struct {
    const char *name; // "data"
    const eh_key_list *keys;
    bool (*is_named)(const eh_job *job, int64_t index, const char *entry);
} list_kind;
static const list_kind data_list = {"data", &eh_data_keys, data_is_named};
static const list_kind metric_list = {"evaluate", &eh_metric_keys, metric_is_named};

static eh_status apply_entry_override(const job_reader *reader, const list_kind *kind, void *entries,
                                      size_t entry_bytes, int64_t count, const job_override *override)
{
    char entry[128];
    const char *name = NULL;
    if (!entry_override(override, kind->name, entry, &name))
        return EH_OK;
    const eh_key *key = eh_key_find(kind->keys, name);
    bool found = false;
    for (int64_t i = 0; i < count; i++) {
        if (!kind->is_named(reader->job, i, entry))
            continue;
        found = true;
        if (key == NULL)
            return unknown_key(kind->keys, "", name, override->where);
        EH_TRY(set_value(key, (char *)entries + (size_t)i * entry_bytes, override->value, override->where));
    }
    if (!found)
        return eh_error(EH_INPUT, "%s: '%s' has no entry '%s'", override->where, kind->name, entry);
    return EH_OK;
}

// --- Lists -------------------------------------------------------------------------------------------------------

// The node of a list: the last --set of it, else the job file's. *where is NULL for the latter.
static struct fy_node *list_node(const job_reader *reader, const char *name, const char **where)
{
    *where = NULL;
    for (int64_t i = reader->override_count - 1; i >= 0; i--)
        if (strcmp(reader->overrides[i].key, name) == 0) {
            *where = reader->overrides[i].where;
            return reader->overrides[i].value;
        }
    return lookup(reader->root, name);
}

// Reads a list of mappings: allocates *entries, each with defaults, then its own keys.
static eh_status read_list(const job_reader *reader, const list_kind *kind, size_t entry_bytes, void **entries,
                           int64_t *count)
{
    const char *where = NULL;
    struct fy_node *node = list_node(reader, kind->name, &where);
    if (node == NULL || (fy_node_is_scalar(node) && fy_node_get_scalar_length(node) == 0))
        return EH_OK;
    char line[512];
    where_text(reader, node, line);
    if (!fy_node_is_sequence(node))
        return eh_error(EH_INPUT, "%s: '%s' needs a list, found a %s", where != NULL ? where : line, kind->name,
                        eh_yaml_kind(node));
    const int entry_count = fy_node_sequence_item_count(node);
    EH_TRY(eh_alloc(entry_count, entry_bytes, entries));
    void *place = NULL;
    for (struct fy_node *item; (item = fy_node_sequence_iterate(node, &place)) != NULL;) {
        where_text(reader, item, line);
        if (!fy_node_is_mapping(item))
            return eh_error(EH_INPUT, "%s: an entry of '%s' needs keys, found a %s", where != NULL ? where : line,
                            kind->name, eh_yaml_kind(item));
        if (kind == &metric_list && lookup(item, "controls") != NULL) { // of the job, though it stands in the list
            EH_TRY(read_mapping(reader, &eh_job_keys, reader->job, "evaluate.", item, where));
            continue;
        }
        void *entry = (char *)*entries + (size_t)*count * entry_bytes;
        (*count)++;
        EH_TRY(eh_keys_set_defaults(kind->keys, entry, reader->job, false));
        EH_TRY(read_mapping(reader, kind->keys, entry, "", item, where));
    }
    return EH_OK;
}

static bool below_a_list(const char *key)
{
    return is_list_key(key) || strncmp(key, "data.", 5) == 0 || strncmp(key, "evaluate.", 9) == 0;
}

static eh_status read_lists(const job_reader *reader)
{
    eh_job *job = reader->job;
    EH_TRY(read_list(reader, &data_list, sizeof *job->data, (void **)&job->data, &job->data_count));
    EH_TRY(read_list(reader, &metric_list, sizeof *job->evaluate, (void **)&job->evaluate, &job->evaluate_count));
    for (int64_t i = 0; i < reader->override_count; i++) {
        const eh_key *key = eh_key_find(&eh_job_keys, reader->overrides[i].key);
        if (key != NULL && below_a_list(key->path)) {
            EH_TRY(set_value(key, job, reader->overrides[i].value, reader->overrides[i].where));
            continue;
        }
        EH_TRY(apply_entry_override(reader, &data_list, job->data, sizeof *job->data, job->data_count,
                                    &reader->overrides[i]));
        EH_TRY(apply_entry_override(reader, &metric_list, job->evaluate, sizeof *job->evaluate, job->evaluate_count,
                                    &reader->overrides[i]));
    }
    return EH_OK;
}

// --- The whole ---------------------------------------------------------------------------------------------------

// preset must be known before the rest: it sets the defaults.
static eh_status read_preset(const job_reader *reader)
{
    const eh_key *key = eh_key_find(&eh_job_keys, "preset");
    EH_TRY(eh_key_set(key, reader->job, key->fallback, "default"));
    struct fy_node *node = lookup(reader->root, "preset");
    char where[512];
    where_text(reader, node, where);
    EH_TRY(set_value(key, reader->job, node, where));
    for (int64_t i = 0; i < reader->override_count; i++)
        if (strcmp(reader->overrides[i].key, "preset") == 0)
            EH_TRY(set_value(key, reader->job, reader->overrides[i].value, reader->overrides[i].where));
    const bool study = strcmp(reader->job->preset, "study") == 0;
    return eh_keys_set_defaults(&eh_job_keys, reader->job, reader->job, study);
}

static eh_status read_all(const job_reader *reader)
{
    EH_TRY(read_preset(reader));
    if (reader->root != NULL)
        EH_TRY(read_mapping(reader, &eh_job_keys, reader->job, "", reader->root, NULL));
    for (int64_t i = 0; i < reader->override_count; i++)
        if (!below_a_list(reader->overrides[i].key))
            EH_TRY(apply_job_override(reader, &reader->overrides[i]));
    EH_TRY(read_lists(reader));
    const char *where = NULL;
    struct fy_node *sweep = list_node(reader, "sweep", &where);
    if (sweep != NULL && !(fy_node_is_scalar(sweep) && fy_node_get_scalar_length(sweep) == 0))
        return eh_error(EH_INPUT, "%s:%d: this job has a sweep, so it is several runs: 'evenhand run' starts each",
                        reader->path, eh_yaml_line(sweep));
    return eh_job_complete(reader->job);
}

eh_status eh_job_parse(const char *path, const char *text, size_t size, const char *const *overrides,
                       int64_t override_count, eh_job *job)
{
    eh_status status = EH_OK;
    struct fy_document *document = NULL;
    job_reader reader = {.path = path, .job = job};
    memset(job, 0, sizeof *job);
    EH_TRY_OR(done, eh_copy_string(path, &job->path));
    EH_TRY_OR(done, eh_yaml_parse(path, text, size, &document));
    reader.root = document != NULL ? fy_document_root(document) : NULL;
    if (reader.root == NULL || fy_node_is_null(reader.root))
        reader.root = NULL;
    else if (!fy_node_is_mapping(reader.root))
        EH_TRY_OR(done, eh_error(EH_INPUT, "%s: a job is a list of 'key: value', found a %s", path,
                                 eh_yaml_kind(reader.root)));
    EH_TRY_OR(done, EH_ALLOC(override_count, &reader.overrides));
    for (; reader.override_count < override_count; reader.override_count++)
        EH_TRY_OR(done, parse_override(overrides[reader.override_count], &reader.overrides[reader.override_count]));
    EH_TRY_OR(done, read_all(&reader));
done:
    for (int64_t i = 0; reader.overrides != NULL && i < override_count; i++) {
        fy_document_destroy(reader.overrides[i].document);
        eh_free(&reader.overrides[i].key);
    }
    eh_free(&reader.overrides);
    fy_document_destroy(document);
    if (status != EH_OK)
        eh_job_deinit(job);
    return status;
}

eh_status eh_job_read(const char *path, const char *const *overrides, int64_t override_count, eh_job *job)
{
    eh_string text = {0};
    memset(job, 0, sizeof *job);
    eh_status status = eh_yaml_read_file(path, &text);
    if (status == EH_OK)
        status = eh_job_parse(path, text.bytes, text.size, overrides, override_count, job);
    eh_string_deinit(&text);
    return status;
}

void eh_job_free_data(eh_job *job, int64_t count)
{
    for (int64_t i = count; i < job->data_count; i++) eh_keys_free(&eh_data_keys, &job->data[i]);
    job->data_count = count;
}

void eh_job_deinit(eh_job *job)
{
    eh_job_free_data(job, 0);
    for (int64_t i = 0; i < job->evaluate_count; i++) eh_keys_free(&eh_metric_keys, &job->evaluate[i]);
    eh_free(&job->data);
    eh_free(&job->evaluate);
    eh_keys_free(&eh_job_keys, job);
    eh_free(&job->path);
    memset(job, 0, sizeof *job);
}
