#include "dataset/text_model.h"

#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/json.h"

static const struct {
    const char *model_type;
    eh_family family;
} families[] = {
    {"bloom", EH_FAMILY_DECODER},       {"gpt2", EH_FAMILY_DECODER},  {"gpt_neox", EH_FAMILY_DECODER},
    {"opt", EH_FAMILY_DECODER},         {"llama", EH_FAMILY_DECODER}, {"t5", EH_FAMILY_ENCODER_DECODER},
    {"mt5", EH_FAMILY_ENCODER_DECODER}, {"bert", EH_FAMILY_MASKED},   {"roberta", EH_FAMILY_MASKED},
};

static eh_status find_family(const char *where, const char *type, eh_family *family)
{
    eh_string known = {0};
    eh_status status = EH_OK;
    for (size_t i = 0; i < sizeof families / sizeof *families && status == EH_OK; i++) {
        if (type != NULL && strcmp(families[i].model_type, type) == 0) {
            *family = families[i].family;
            eh_string_deinit(&known);
            return EH_OK;
        }
        status = eh_string_printf(&known, "%s%s", i > 0 ? ", " : "", families[i].model_type);
    }
    if (status == EH_OK)
        status = eh_error(EH_INPUT, "%s: model_type '%s' is not known; there are: %s", where, type != NULL ? type : "",
                          known.bytes);
    eh_string_deinit(&known);
    return status;
}

static int32_t first_token(const eh_tokenizer *tokenizer, const char *const *names)
{
    for (; *names != NULL; names++) {
        const int32_t id = eh_tokenizer_id(tokenizer, *names);
        if (id >= 0)
            return id;
    }
    return -1;
}

// The id in the configuration, or else the token that usually has this role.
static eh_status special_id(const char *where, const json_t *config, const char *key, const char *const *names,
                            const eh_tokenizer *tokenizer, int32_t *id)
{
    const json_t *value = json_object_get(config, key);
    *id = json_is_integer(value) ? (int32_t)json_integer_value(value) : first_token(tokenizer, names);
    if (*id >= eh_tokenizer_vocab_size(tokenizer))
        return eh_error(EH_INPUT, "%s: %s is %d, but the tokenizer has %lld tokens: do they belong together?", where,
                        key, *id, (long long)eh_tokenizer_vocab_size(tokenizer));
    return EH_OK;
}

static eh_status read_special(const char *where, const json_t *config, eh_text_model *model)
{
    static const char *const starts[] = {"<s>", "<|endoftext|>", "[CLS]", NULL};
    static const char *const ends[] = {"</s>", "<|endoftext|>", "[SEP]", NULL};
    EH_TRY(special_id(where, config, "bos_token_id", starts, model->tokenizer, &model->start));
    EH_TRY(special_id(where, config, "eos_token_id", ends, model->tokenizer, &model->end));
    model->mask = eh_tokenizer_mask(model->tokenizer);
    if (model->start < 0)
        model->start = model->end;
    if (model->family != EH_FAMILY_MASKED && model->end < 0)
        return eh_error(EH_INPUT, "%s: neither eos_token_id nor a token '</s>' or '<|endoftext|>' in the tokenizer",
                        where);
    if (model->family == EH_FAMILY_MASKED && model->mask < 0)
        return eh_error(EH_INPUT, "%s: a masked model, but its tokenizer has neither '[MASK]' nor '<mask>'", where);
    return EH_OK;
}

static void read_length(const json_t *config, eh_text_model *model)
{
    static const char *const keys[] = {"n_positions", "max_position_embeddings", "seq_length", "n_ctx"};
    model->max_length = EH_DEFAULT_LENGTH;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_int_t value = json_integer_value(json_object_get(config, keys[i]));
        if (value > 0) {
            model->max_length = value;
            break;
        }
    }
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (type != NULL && strcmp(type, "roberta") == 0)
        model->max_length -= 2; // its positions begin behind the padding's
}

static eh_status open_config(const eh_job_model *settings, eh_string *where, json_t **config)
{
    if (settings->path != NULL) {
        EH_TRY(eh_string_printf(where, "%s/config.json", settings->path));
        return eh_json_read(where->bytes, config);
    }
    if (settings->architecture == NULL)
        return eh_error(EH_INPUT, "the job has neither model.path nor model.architecture");
    EH_TRY(eh_string_append_text(where, "model.config"));
    json_error_t error;
    *config = json_loads(settings->config != NULL ? settings->config : "{}", 0, &error);
    if (*config == NULL)
        return eh_error(EH_INPUT, "model.config: %s", error.text);
    return EH_OK;
}

static eh_status open_tokenizer(const eh_job_model *settings, eh_tokenizer **tokenizer)
{
    const char *place = settings->tokenizer != NULL ? settings->tokenizer : settings->path;
    if (place == NULL)
        return eh_error(EH_INPUT, "model.architecture needs model.tokenizer: the path of a tokenizer.json");
    struct stat info;
    const bool folder = stat(place, &info) == 0 && S_ISDIR(info.st_mode);
    eh_string path = {0};
    eh_status status = eh_string_printf(&path, folder ? "%s/tokenizer.json" : "%s", place);
    if (status == EH_OK)
        status = eh_tokenizer_open(path.bytes, tokenizer);
    eh_string_deinit(&path);
    return status;
}

eh_status eh_text_model_open(const eh_job_model *settings, eh_text_model *model)
{
    eh_string where = {0};
    json_t *config = NULL;
    eh_status status = EH_OK;
    *model = (eh_text_model){0};
    EH_TRY_OR(done, open_config(settings, &where, &config));
    const char *type = json_string_value(json_object_get(config, "model_type"));
    EH_TRY_OR(done, find_family(where.bytes, settings->path == NULL ? settings->architecture : type, &model->family));
    EH_TRY_OR(done, open_tokenizer(settings, &model->tokenizer));
    EH_TRY_OR(done, read_special(where.bytes, config, model));
    read_length(config, model);
done:
    json_decref(config);
    eh_string_deinit(&where);
    if (status != EH_OK)
        eh_text_model_close(model);
    return status;
}

void eh_text_model_close(eh_text_model *model)
{
    eh_tokenizer_close(&model->tokenizer);
    *model = (eh_text_model){0};
}
