#include "text/post_processor.h"

#include <string.h>

#include "core/memory.h"
#include "text/tokenizer.h"

static eh_status add_item(eh_template *template, int source, int64_t id, int64_t type_id)
{
    if (id < 0 || id >= 1 << 27 || type_id < 0 || type_id > UINT8_MAX)
        return eh_error(EH_INPUT, "post_processor: id %lld or type_id %lld is out of range", (long long)id,
                        (long long)type_id);
    const eh_template_item item = {source, (int32_t)id, (uint8_t)type_id};
    return EH_APPEND(&template->items, &template->count, &template->capacity, item);
}

static void clear(eh_post_processor *processor)
{
    processor->single.count = processor->pair.count = 0;
}

// The texts one behind the other.
static eh_status add_plain(eh_post_processor *processor)
{
    EH_TRY(add_item(&processor->single, 0, 0, 0));
    EH_TRY(add_item(&processor->pair, 0, 0, 0));
    return add_item(&processor->pair, 1, 0, 1);
}

// --- TemplateProcessing ---

static eh_status add_special(const json_t *special_tokens, const char *name, int64_t type_id, eh_template *template)
{
    const json_t *ids = json_object_get(json_object_get(special_tokens, name), "ids");
    if (!json_is_array(ids))
        return eh_error(EH_INPUT, "post_processor: '%s' is not among its special_tokens", name);
    for (size_t i = 0; i < json_array_size(ids); i++)
        EH_TRY(add_item(template, EH_TOKEN_ADDED, json_integer_value(json_array_get(ids, i)), type_id));
    return EH_OK;
}

static eh_status read_template(const json_t *list, const json_t *special_tokens, eh_template *template)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const json_t *sequence = json_object_get(entry, "Sequence"), *token = json_object_get(entry, "SpecialToken");
        const json_t *item = sequence != NULL ? sequence : token;
        const char *id = json_string_value(json_object_get(item, "id"));
        const int64_t type_id = json_integer_value(json_object_get(item, "type_id"));
        if (id == NULL)
            return eh_error(EH_INPUT, "post_processor: entry %zu of a template is no Sequence and no SpecialToken", i);
        if (sequence == NULL)
            EH_TRY(add_special(special_tokens, id, type_id, template));
        else if (strcmp(id, "A") == 0 || strcmp(id, "B") == 0)
            EH_TRY(add_item(template, id[0] - 'A', 0, type_id));
        else
            return eh_error(EH_INPUT, "post_processor: a Sequence is A or B, not '%s'", id);
    }
    return EH_OK;
}

static bool uses(const eh_template *template, int source)
{
    for (int64_t i = 0; i < template->count; i++)
        if (template->items[i].source == source)
            return true;
    return false;
}

static eh_status read_templates(const json_t *description, eh_post_processor *processor)
{
    const json_t *special_tokens = json_object_get(description, "special_tokens");
    clear(processor);
    EH_TRY(read_template(json_object_get(description, "single"), special_tokens, &processor->single));
    EH_TRY(read_template(json_object_get(description, "pair"), special_tokens, &processor->pair));
    if (uses(&processor->single, 1))
        return eh_error(EH_INPUT, "post_processor: the template for single texts uses B");
    if (!uses(&processor->pair, 0) || !uses(&processor->pair, 1))
        return eh_error(EH_INPUT, "post_processor: the template for pairs must use A and B");
    return EH_OK;
}

// --- BertProcessing and RobertaProcessing ---

static eh_status read_token(const json_t *description, const char *key, int64_t *id)
{
    const json_t *value = json_array_get(json_object_get(description, key), 1);
    if (!json_is_integer(value))
        return eh_error(EH_INPUT, "post_processor: %s must be [\"token\", id]", key);
    *id = json_integer_value(value);
    return EH_OK;
}

// BERT: CLS A SEP B SEP with types 0 and 1. RoBERTa: CLS A SEP SEP B SEP, all of type 0.
static eh_status read_fixed(const json_t *description, bool roberta, eh_post_processor *processor)
{
    int64_t cls = 0, sep = 0;
    const int64_t second = roberta ? 0 : 1;
    EH_TRY(read_token(description, "cls", &cls));
    EH_TRY(read_token(description, "sep", &sep));
    clear(processor);
    eh_template *const templates[] = {&processor->single, &processor->pair};
    for (int i = 0; i < 2; i++) {
        EH_TRY(add_item(templates[i], EH_TOKEN_ADDED, cls, 0));
        EH_TRY(add_item(templates[i], 0, 0, 0));
        EH_TRY(add_item(templates[i], EH_TOKEN_ADDED, sep, 0));
    }
    if (roberta)
        EH_TRY(add_item(&processor->pair, EH_TOKEN_ADDED, sep, 0));
    EH_TRY(add_item(&processor->pair, 1, 0, second));
    return add_item(&processor->pair, EH_TOKEN_ADDED, sep, second);
}

static eh_status read_described(const json_t *description, int depth, eh_post_processor *processor)
{
    const char *type = json_string_value(json_object_get(description, "type"));
    if (type == NULL)
        return eh_error(EH_INPUT, "post_processor: there is no type");
    const bool roberta = strcmp(type, "RobertaProcessing") == 0, bytes = strcmp(type, "ByteLevel") == 0;
    if (roberta || bytes) {
        processor->trim_offsets = !json_is_false(json_object_get(description, "trim_offsets"));
        processor->prefix_space = !json_is_false(json_object_get(description, "add_prefix_space"));
    }
    if (bytes)
        return EH_OK;
    if (roberta || strcmp(type, "BertProcessing") == 0)
        return read_fixed(description, roberta, processor);
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_templates(description, processor);
    if (strcmp(type, "Sequence") == 0 && depth < 8) {
        const json_t *list = json_object_get(description, "processors");
        for (size_t i = 0; i < json_array_size(list); i++)
            EH_TRY(read_described(json_array_get(list, i), depth + 1, processor));
        return EH_OK;
    }
    return eh_error(EH_INPUT,
                    "post_processor: %s is not supported: TemplateProcessing, BertProcessing, RobertaProcessing, "
                    "ByteLevel and Sequence are",
                    type);
}

eh_status eh_post_processor_init(const json_t *description, eh_post_processor *processor)
{
    EH_TRY(add_plain(processor));
    if (description == NULL || json_is_null(description))
        return EH_OK;
    return read_described(description, 0, processor);
}

void eh_post_processor_deinit(eh_post_processor *processor)
{
    eh_free(&processor->single.items);
    eh_free(&processor->pair.items);
    *processor = (eh_post_processor){0};
}
