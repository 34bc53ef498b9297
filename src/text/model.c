#include "text/model.h"

#include <stdio.h>
#include <string.h>

const char *eh_model_kind_name(eh_model_kind kind)
{
    switch (kind) {
    case EH_MODEL_BPE:
        return "BPE";
    case EH_MODEL_UNIGRAM:
        return "Unigram";
    case EH_MODEL_WORDPIECE:
        return "WordPiece";
    }
    return "unknown";
}

// Older files don't name the model's type; its parts tell.
static eh_status find_kind(const eh_tokenizer_file *file, const json_t *description, eh_model_kind *kind)
{
    const json_t *type = json_object_get(description, "type");
    const char *name = json_string_value(type);
    if (name == NULL)
        name = file->scores != NULL ? "Unigram" : file->has_merges ? "BPE" : "WordPiece";
    for (int i = EH_MODEL_BPE; i <= EH_MODEL_WORDPIECE; i++)
        if (strcmp(name, eh_model_kind_name((eh_model_kind)i)) == 0) {
            *kind = (eh_model_kind)i;
            return EH_OK;
        }
    return eh_error(EH_INPUT, "model: type '%s' is not supported: BPE, Unigram and WordPiece are", name);
}

eh_status eh_model_init(eh_tokenizer_file *file, bool over_bytes, eh_model *model)
{
    const json_t *description = json_object_get(file->root, "model");
    if (!json_is_object(description))
        return eh_error(EH_INPUT, "there is no model");
    if (!file->has_vocabulary || file->vocabulary.count == 0)
        return eh_error(EH_INPUT, "model: there is no vocabulary");
    EH_TRY(find_kind(file, description, &model->kind));
    model->vocabulary = file->vocabulary;
    file->vocabulary = (eh_vocabulary){0};
    model->unknown = -1;
    model->over_bytes = over_bytes && model->kind == EH_MODEL_BPE;
    model->byte_fallback = json_is_true(json_object_get(description, "byte_fallback"));
    for (int i = 0; i < 256; i++) model->byte_ids[i] = -1;
    switch (model->kind) {
    case EH_MODEL_BPE:
        return eh_bpe_init(file, description, model);
    case EH_MODEL_UNIGRAM:
        return eh_unigram_init(file, description, model);
    case EH_MODEL_WORDPIECE:
        return eh_wordpiece_init(description, model);
    }
    return EH_OK;
}

void eh_model_deinit(eh_model *model)
{
    eh_vocabulary_deinit(&model->vocabulary);
    eh_trie_deinit(&model->trie);
    eh_free(&model->merge_slots);
    eh_free(&model->scores);
    *model = (eh_model){0};
}

eh_status eh_model_find_unknown(const json_t *description, eh_model *model)
{
    const json_t *token = json_object_get(description, "unk_token");
    if (!json_is_string(token))
        return EH_OK;
    model->unknown = eh_vocabulary_find(&model->vocabulary, json_string_value(token), json_string_length(token));
    if (model->unknown < 0)
        return eh_error(EH_INPUT, "model: the unk_token '%s' is not in the vocabulary", json_string_value(token));
    return EH_OK;
}

void eh_model_find_byte_tokens(eh_model *model)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[8];
        const int size = snprintf(name, sizeof name, "<0x%02X>", byte);
        model->byte_ids[byte] = eh_vocabulary_find(&model->vocabulary, name, (size_t)size);
    }
}

eh_status eh_model_build_trie(eh_model *model)
{
    const eh_vocabulary *vocabulary = &model->vocabulary;
    eh_trie_key *keys = NULL;
    int64_t count = 0;
    EH_TRY(EH_ALLOC(vocabulary->count, &keys));
    for (int64_t id = 0; id < vocabulary->size; id++) {
        size_t size = 0;
        const char *token = eh_vocabulary_token(vocabulary, id, &size);
        if (token != NULL)
            keys[count++] = (eh_trie_key){token, (uint32_t)size, (int32_t)id};
    }
    const eh_status status = eh_trie_build(keys, count, &model->trie);
    eh_free(&keys);
    return status;
}

eh_status eh_model_cut(const eh_model *model, eh_word_work *work, const char *word, uint32_t size)
{
    work->count = 0;
    work->uncacheable = false;
    switch (model->kind) {
    case EH_MODEL_BPE:
        return eh_bpe_cut(model, work, word, size);
    case EH_MODEL_UNIGRAM:
        return eh_unigram_cut(model, work, word, size);
    case EH_MODEL_WORDPIECE:
        return eh_wordpiece_cut(model, work, word, size);
    }
    return EH_OK;
}

eh_status eh_word_memory(eh_word_work *work, size_t bytes)
{
    return eh_reserve((int64_t)bytes, &work->memory_bytes, 1, &work->memory);
}

void eh_word_work_deinit(eh_word_work *work)
{
    eh_free(&work->tokens);
    eh_free(&work->memory);
    *work = (eh_word_work){0};
}
