// From the text of config.json to a description: finds the architecture and checks what it says.
#include "model/arch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EH_ARCH(name) extern const eh_arch eh_arch_##name;
#include "model/arch_list.h"
#undef EH_ARCH

static const eh_arch *const arches[] = {
#define EH_ARCH(name) &eh_arch_##name,
#include "model/arch_list.h"
#undef EH_ARCH
};

const eh_arch *eh_arch_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof arches / sizeof *arches; i++)
        if (strcmp(arches[i]->model_type, model_type) == 0)
            return arches[i];
    return NULL;
}

void eh_arch_names(char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof arches / sizeof *arches && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", arches[i]->model_type);
}

void eh_config_fail(eh_config *config, const char *key, const char *problem)
{
    if (config->status == EH_OK)
        config->status = eh_error(EH_INPUT, "%s: \"%s\": %s", config->where, key, problem);
}

// The first of the spellings that is there and not null.
static const json_t *find_key(const eh_config *config, const char *keys, char key[64])
{
    while (*keys != '\0') {
        const size_t size = strcspn(keys, "|");
        snprintf(key, 64, "%.*s", (int)size, keys);
        const json_t *value = json_object_get(config->root, key);
        if (value != NULL && !json_is_null(value))
            return value;
        keys += size + (keys[size] == '|');
    }
    return NULL;
}

int64_t eh_config_count(eh_config *config, const char *keys, int64_t otherwise, int64_t least, int64_t most)
{
    char key[64], problem[128];
    const json_t *value = find_key(config, keys, key);
    if (value == NULL && otherwise == EH_CONFIG_REQUIRED)
        eh_config_fail(config, keys, "is missing");
    if (value == NULL)
        return otherwise == EH_CONFIG_REQUIRED ? least : otherwise;
    if (json_is_integer(value) && json_integer_value(value) >= least && json_integer_value(value) <= most)
        return json_integer_value(value);
    snprintf(problem, sizeof problem, "expected a whole number from %lld to %lld", (long long)least, (long long)most);
    eh_config_fail(config, key, problem);
    return least;
}

double eh_config_number(eh_config *config, const char *keys, double otherwise, double least, double most)
{
    char key[64], problem[128];
    const json_t *value = find_key(config, keys, key);
    if (value == NULL)
        return otherwise;
    if (json_is_number(value) && json_number_value(value) >= least && json_number_value(value) <= most)
        return json_number_value(value);
    snprintf(problem, sizeof problem, "expected a number from %g to %g", least, most);
    eh_config_fail(config, key, problem);
    return least;
}

bool eh_config_flag(eh_config *config, const char *keys, bool otherwise)
{
    char key[64];
    const json_t *value = find_key(config, keys, key);
    if (value == NULL)
        return otherwise;
    if (!json_is_boolean(value))
        eh_config_fail(config, key, "expected true or false");
    return json_is_true(value);
}

const char *eh_config_text(eh_config *config, const char *keys, const char *otherwise)
{
    char key[64];
    const json_t *value = find_key(config, keys, key);
    if (value != NULL && !json_is_string(value))
        eh_config_fail(config, key, "expected a text");
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

void eh_config_only_flag(eh_config *config, const char *key, bool supported)
{
    if (eh_config_flag(config, key, supported) != supported)
        eh_config_fail(config, key, supported ? "only true is supported" : "only false is supported");
}

eh_activation eh_config_activation(eh_config *config, const char *name)
{
    static const struct {
        const char *name;
        eh_activation kind;
    } known[] = {{"gelu", EH_GELU_ERF}, {"gelu_new", EH_GELU_TANH}, {"gelu_fast", EH_GELU_TANH},
                 {"relu", EH_RELU},     {"silu", EH_SILU},          {"gelu_pytorch_tanh", EH_GELU_TANH},
                 {"swish", EH_SILU},    {"tanh", EH_TANH}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].kind;
    eh_config_fail(config, name, "is not an activation function that evenhand has");
    return EH_RELU;
}

static int32_t special_id(eh_config *config, const char *key, int64_t vocab_size)
{
    const json_t *value = json_object_get(config->root, key);
    if (json_is_array(value)) // several; the first is the one that is written
        value = json_array_get(value, 0);
    if (value == NULL || json_is_null(value))
        return -1;
    if (!json_is_integer(value) || json_integer_value(value) < -1 || json_integer_value(value) >= vocab_size) {
        eh_config_fail(config, key, "is not a token id of this vocabulary");
        return -1;
    }
    return (int32_t)json_integer_value(value);
}

static const char *const head_names[] = {"causal", "seq2seq", "masked", "classify", "next-sentence"};

const char *eh_head_name(eh_head head)
{
    return head_names[head];
}

bool eh_head_find(const char *name, eh_head *head)
{
    for (size_t i = 0; i < sizeof head_names / sizeof *head_names; i++)
        if (strcmp(head_names[i], name) == 0) {
            *head = (eh_head)i;
            return true;
        }
    return false;
}

static eh_status find_head(const eh_config *config, const eh_arch *arch, const eh_head *wanted, eh_head *head)
{
    for (const eh_arch_class *class = arch->classes; wanted != NULL && class->name != NULL; class ++)
        if (class->head == *wanted) {
            *head = *wanted;
            return EH_OK;
        }
    if (wanted != NULL)
        return eh_error(EH_INPUT, "%s: a %s model has no head '%s'", config->where, arch->model_type,
                        eh_head_name(*wanted));
    const json_t *names = json_object_get(config->root, "architectures");
    const char *name = json_string_value(json_array_get(names, 0));
    for (const eh_arch_class *class = arch->classes; class->name != NULL; class ++)
        if (name == NULL || strcmp(class->name, name) == 0) {
            *head = class->head;
            return EH_OK;
        }
    return eh_error(EH_INPUT, "%s: architecture \"%s\" of model_type \"%s\" is not supported", config->where, name,
                    arch->model_type);
}

// Each size is bounded; all together could still be more than can be counted.
static eh_status check_shape(const eh_config *config, const eh_transformer *t)
{
    const double hidden = (double)t->hidden_size, width = (double)t->head_size * (double)t->head_count;
    const double layers = (double)(t->layer_count[EH_STACK_ENCODER] + t->layer_count[EH_STACK_DECODER]);
    const double rows = 2 * (double)t->vocab_size + (double)(t->position_count + t->type_count + t->label_count);
    const double weights = hidden * (rows + hidden + layers * (8 * width + 3 * (double)t->inner_size));
    if (width > INT32_MAX || weights > 1e15 || t->head_size < 1)
        return eh_error(EH_INPUT, "%s: %lld heads of %lld in a hidden size of %lld: these sizes make no model",
                        config->where, (long long)t->head_count, (long long)t->head_size, (long long)t->hidden_size);
    return EH_OK;
}

eh_status eh_arch_read(const char *where, const char *config_json, const eh_head *head, json_t **root,
                       const eh_arch **arch, eh_transformer *transformer)
{
    json_error_t problem;
    *root = json_loads(config_json, 0, &problem);
    if (!json_is_object(*root))
        return eh_error(EH_INPUT, "%s:%d: not a JSON object: %s", where, problem.line, problem.text);
    eh_config config = {.root = *root, .where = where};
    const char *type = eh_config_text(&config, "model_type", NULL);
    if (config.status == EH_OK && type == NULL)
        eh_config_fail(&config, "model_type", "is missing: is this the config.json of a Hugging Face model?");
    EH_TRY(config.status);
    *arch = eh_arch_find(type);
    if (*arch == NULL) {
        char names[256];
        eh_arch_names(names, sizeof names);
        return eh_error(EH_INPUT, "%s: model_type \"%s\" is not supported; evenhand has %s", where, type, names);
    }
    *transformer = (eh_transformer){.kind = (*arch)->kind,
                                    .biases = true,
                                    .norm_first = true,
                                    .tied = true,
                                    .output_scale = 1,
                                    .attention_scale = 1};
    EH_TRY(find_head(&config, *arch, head, &transformer->head));
    transformer->vocab_size = eh_config_count(&config, "vocab_size", EH_CONFIG_REQUIRED, 1, INT32_MAX);
    transformer->initial_std = (float)eh_config_number(&config, "initializer_range", 0.02, 0, 100);
    transformer->special =
        (eh_special_ids){.bos = special_id(&config, "bos_token_id", transformer->vocab_size),
                         .eos = special_id(&config, "eos_token_id", transformer->vocab_size),
                         .pad = special_id(&config, "pad_token_id", transformer->vocab_size),
                         .mask = special_id(&config, "mask_token_id", transformer->vocab_size),
                         .decoder_start = special_id(&config, "decoder_start_token_id", transformer->vocab_size)};
    (*arch)->read_config(&config, transformer);
    EH_TRY(config.status);
    return check_shape(&config, transformer);
}
