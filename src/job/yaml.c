#include "job/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static eh_status syntax_error(const char *name, const struct fy_diag_error *error)
{
    return eh_error(EH_INPUT, "%s:%d: this is not YAML: %s", name, error->line + 1, error->msg);
}

// libfyaml would say that a key is there twice, but not where first.
static eh_status refuse_keys_twice(const char *name, struct fy_node *node)
{
    void *place = NULL;
    if (node != NULL && fy_node_is_sequence(node))
        for (struct fy_node *item; (item = fy_node_sequence_iterate(node, &place)) != NULL;)
            EH_TRY(refuse_keys_twice(name, item));
    if (node == NULL || !fy_node_is_mapping(node))
        return EH_OK;
    for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(node, &place)) != NULL;) {
        struct fy_node *key = fy_node_pair_key(pair);
        const char *word = key != NULL ? fy_node_get_scalar0(key) : NULL;
        void *earlier = NULL;
        for (struct fy_node_pair *other;
             word != NULL && (other = fy_node_mapping_iterate(node, &earlier)) != NULL && other != pair;) {
            const char *other_word = fy_node_get_scalar0(fy_node_pair_key(other));
            if (other_word != NULL && strcmp(other_word, word) == 0)
                return eh_error(EH_INPUT, "%s:%d: key '%s' is there twice, first in line %d", name, eh_yaml_line(key),
                                word, eh_yaml_line(fy_node_pair_key(other)));
        }
        EH_TRY(refuse_keys_twice(name, fy_node_pair_value(pair)));
    }
    return EH_OK;
}

eh_status eh_yaml_parse(const char *name, const char *text, size_t size, struct fy_document **document)
{
    *document = NULL;
    if (size == 0)
        return EH_OK;
    if (memchr(text, '\0', size) != NULL)
        return eh_error(EH_INPUT, "%s: this is not YAML: it holds NUL bytes", name);
    struct fy_diag_cfg settings;
    fy_diag_cfg_default(&settings);
    settings.fp = NULL;
    settings.colorize = false;
    struct fy_diag *diagnosis = fy_diag_create(&settings);
    if (diagnosis == NULL)
        return eh_error(EH_MACHINE, "out of memory while reading %s", name);
    fy_diag_set_collect_errors(diagnosis, true);
    const struct fy_parse_cfg config = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_ALLOW_DUPLICATE_KEYS,
        .diag = diagnosis,
    };
    *document = fy_document_build_from_string(&config, text, size);
    eh_status status = EH_OK;
    void *place = NULL;
    const struct fy_diag_error *error = fy_diag_errors_iterate(diagnosis, &place);
    if (*document != NULL)
        status = refuse_keys_twice(name, fy_document_root(*document));
    if (status == EH_OK && *document != NULL && fy_document_resolve(*document) != 0) // aliases and merged keys
        error = fy_diag_errors_iterate(diagnosis, &place);
    if (status == EH_OK && error != NULL)
        status = syntax_error(name, error);
    if (status != EH_OK) {
        fy_document_destroy(*document);
        *document = NULL;
    }
    fy_diag_destroy(diagnosis);
    return status;
}

int eh_yaml_line(struct fy_node *node)
{
    struct fy_token *token = NULL;
    void *place = NULL;
    // A mapping or list has no token of its own here: take that of its first part.
    while (node != NULL && token == NULL) {
        if (fy_node_is_scalar(node)) {
            token = fy_node_get_scalar_token(node);
            break;
        }
        place = NULL;
        if (fy_node_is_mapping(node)) {
            struct fy_node_pair *pair = fy_node_mapping_iterate(node, &place);
            node = pair != NULL ? fy_node_pair_key(pair) : NULL;
        } else {
            node = fy_node_sequence_iterate(node, &place);
        }
    }
    const struct fy_mark *mark = token != NULL ? fy_token_start_mark(token) : NULL;
    return mark != NULL ? mark->line + 1 : 0;
}

const char *eh_yaml_kind(struct fy_node *node)
{
    if (node != NULL && fy_node_is_mapping(node))
        return "mapping";
    return node != NULL && fy_node_is_sequence(node) ? "list" : "value";
}

// A bare number as JSON writes them.
static json_t *number_value(const char *text)
{
    json_t *value = NULL;
    if (isdigit((unsigned char)text[0]) || text[0] == '-')
        value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (value == NULL && (isdigit((unsigned char)text[0]) || strchr("+-.", text[0]) != NULL)) { // 1.e-5, +3, .5
        char *end = NULL;
        const double number = strtod(text, &end);
        if (end != text && *end == '\0' && strpbrk(text, "xXnN") == NULL)
            value = json_real(number);
    }
    return value;
}

static json_t *scalar_value(struct fy_node *node)
{
    const char *text = fy_node_get_scalar0(node);
    if (text == NULL)
        return NULL;
    if (fy_node_get_style(node) == FYNS_PLAIN) {
        if (fy_node_is_null(node) || strcmp(text, "null") == 0 || strcmp(text, "~") == 0)
            return json_null();
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
            return json_boolean(text[0] == 't');
        json_t *number = text[0] != '\0' ? number_value(text) : NULL;
        if (number != NULL)
            return number;
    }
    return json_string(text);
}

static json_t *node_value(struct fy_node *node)
{
    void *place = NULL;
    if (node == NULL)
        return json_null();
    if (fy_node_is_mapping(node)) {
        json_t *object = json_object();
        for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(node, &place)) != NULL;) {
            const char *key = fy_node_get_scalar0(fy_node_pair_key(pair));
            if (key == NULL || json_object_set_new(object, key, node_value(fy_node_pair_value(pair))) != 0) {
                json_decref(object);
                return NULL;
            }
        }
        return object;
    }
    if (fy_node_is_sequence(node)) {
        json_t *array = json_array();
        for (struct fy_node *item; (item = fy_node_sequence_iterate(node, &place)) != NULL;)
            if (json_array_append_new(array, node_value(item)) != 0) {
                json_decref(array);
                return NULL;
            }
        return array;
    }
    return scalar_value(node);
}

eh_status eh_yaml_to_json(struct fy_node *node, const char *where, eh_string *json)
{
    json_t *value = node_value(node);
    char *text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    if (text == NULL)
        return eh_error(EH_INPUT, "%s: this can't be written as JSON: keys must be words, texts UTF-8", where);
    const eh_status status = eh_string_append_text(json, text);
    free(text);
    return status;
}

eh_status eh_yaml_read_file(const char *path, eh_string *text)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return eh_error(EH_INPUT, "%s: %s", path, strerror(errno));
    struct stat info;
    eh_status status = EH_OK;
    if (fstat(fileno(file), &info) == 0 && S_ISDIR(info.st_mode)) {
        status = eh_error(EH_INPUT, "%s: this is a folder, not a job file", path);
    } else {
        char piece[4096];
        for (size_t size; status == EH_OK && (size = fread(piece, 1, sizeof piece, file)) > 0;)
            status = eh_string_append(text, piece, size);
        if (status == EH_OK && ferror(file))
            status = eh_error(EH_INPUT, "%s: reading failed: %s", path, strerror(errno));
    }
    fclose(file);
    if (status == EH_OK)
        status = eh_string_append(text, "", 0);
    return status;
}
