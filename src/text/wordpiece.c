// WordPiece (Schuster & Nakajima 2012, as in BERT): the longest token at the start of the word, then the longest
// continuing one ("##..."), and so on; if that fails anywhere, the whole word is unknown.
#include "text/model.h"

#include <string.h>

#include "text/utf8.h"

eh_status eh_wordpiece_init(const json_t *description, eh_model *model)
{
    const json_t *prefix = json_object_get(description, "continuing_subword_prefix");
    const char *text = json_is_string(prefix) ? json_string_value(prefix) : "##";
    const json_t *longest = json_object_get(description, "max_input_chars_per_word");
    model->longest_word = json_is_integer(longest) ? json_integer_value(longest) : 100;
    EH_TRY(eh_model_find_unknown(description, model));
    EH_TRY(eh_model_build_trie(model));
    model->continuing = EH_TRIE_ROOT;
    for (; *text != '\0' && model->continuing != EH_TRIE_NOWHERE; text++)
        model->continuing = eh_trie_step(&model->trie, model->continuing, *text);
    return EH_OK;
}

static eh_status unknown_word(const eh_model *model, eh_word_work *work, const char *word, uint32_t size)
{
    if (model->unknown < 0)
        return eh_error(EH_INPUT, "'%.*s' is not in the vocabulary, and the tokenizer has no unknown token",
                        size < 80 ? (int)size : 80, word);
    work->count = 0;
    return eh_word_add(work, model->unknown, size);
}

eh_status eh_wordpiece_cut(const eh_model *model, eh_word_work *work, const char *word, uint32_t size)
{
    int64_t characters = 0;
    for (uint32_t i = 0; i < size; i++) characters += !eh_utf8_continues(word[i]);
    if (characters > model->longest_word)
        return unknown_word(model, work, word, size);
    for (uint32_t begin = 0; begin < size;) {
        uint32_t node = begin == 0 ? EH_TRIE_ROOT : model->continuing, best = begin;
        int32_t id = -1;
        for (uint32_t end = begin; node != EH_TRIE_NOWHERE && end < size;) {
            node = eh_trie_step(&model->trie, node, word[end++]);
            if (node != EH_TRIE_NOWHERE && model->trie.nodes[node].value >= 0) {
                id = model->trie.nodes[node].value;
                best = end;
            }
        }
        if (id < 0)
            return unknown_word(model, work, word, size);
        EH_TRY(eh_word_add(work, id, best));
        begin = best;
    }
    return EH_OK;
}
