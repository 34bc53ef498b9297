// Unigram language model (Kudo 2018): of all ways to cut a word into tokens, the one with the greatest sum of scores.
#include "text/model.h"

#include <math.h>
#include <string.h>

#include "text/utf8.h"

eh_status eh_unigram_init(eh_tokenizer_file *file, const json_t *description, eh_model *model)
{
    if (file->scores == NULL)
        return eh_error(EH_INPUT, "model: Unigram needs a vocab of [[\"token\", score], ...]");
    model->scores = file->scores;
    file->scores = NULL;
    const json_t *unknown = json_object_get(description, "unk_id");
    if (json_is_integer(unknown)) {
        const json_int_t id = json_integer_value(unknown);
        if (id < 0 || id >= model->vocabulary.count)
            return eh_error(EH_INPUT, "model: unk_id is %lld, the vocabulary has %lld tokens", (long long)id,
                            (long long)model->vocabulary.count);
        model->unknown = (int32_t)id;
    }
    double lowest = INFINITY;
    for (int64_t id = 0; id < model->vocabulary.count; id++) lowest = fmin(lowest, model->scores[id]);
    model->unknown_score = lowest - 10; // the reference's penalty
    if (model->byte_fallback)
        eh_model_find_byte_tokens(model);
    return eh_model_build_trie(model);
}

// The best way to reach a place of the word: by which token, from where.
typedef struct {
    double score;
    int32_t id; // -1: not reached; -2: an unknown character
    uint32_t begin;
} path;

enum { NOT_REACHED = -1, UNKNOWN = -2 };

static inline void reach(path *at, double score, int32_t id, uint32_t begin)
{
    if (at->id == NOT_REACHED || score > at->score)
        *at = (path){score, id, begin};
}

static void find_paths(const eh_model *model, path *paths, const char *word, uint32_t size)
{
    for (uint32_t i = 0; i <= size; i++) paths[i].id = NOT_REACHED;
    paths[0].score = 0;
    for (uint32_t begin = 0, length; begin < size; begin += length) {
        (void)eh_utf8_read(word + begin, &length);
        const double score = paths[begin].score;
        bool whole_character = false;
        uint32_t node = EH_TRIE_ROOT;
        for (uint32_t end = begin; end < size;) {
            node = eh_trie_step(&model->trie, node, word[end++]);
            if (node == EH_TRIE_NOWHERE)
                break;
            const int32_t id = model->trie.nodes[node].value;
            if (id < 0)
                continue;
            reach(&paths[end], model->scores[id] + score, id, begin);
            whole_character |= end - begin == length;
        }
        if (!whole_character)
            reach(&paths[begin + length], model->unknown_score + score, UNKNOWN, begin);
    }
}

// Text that no token covers: a token after all if neighbours together are one, bytes where the model has them, or
// unknown.
static eh_status add_unknown(const eh_model *model, eh_word_work *work, const char *word, uint32_t begin, uint32_t end)
{
    int32_t id = eh_vocabulary_find(&model->vocabulary, word + begin, end - begin);
    bool bytes = id < 0 && model->byte_fallback;
    for (uint32_t i = begin; bytes && i < end; i++) bytes = model->byte_ids[(uint8_t)word[i]] >= 0;
    if (bytes) {
        work->uncacheable = true; // all of them come from the whole text
        for (uint32_t i = begin; i < end; i++) EH_TRY(eh_word_add(work, model->byte_ids[(uint8_t)word[i]], end));
        return EH_OK;
    }
    id = id < 0 ? model->unknown : id;
    if (id < 0)
        return eh_error(EH_INPUT, "'%.*s' is not in the vocabulary, and the tokenizer has no unknown token",
                        end - begin < 80 ? (int)(end - begin) : 80, word + begin);
    return eh_word_add(work, id, end);
}

// Follows the best path back to the start and turns it round; neighbouring unknowns become one.
eh_status eh_unigram_cut(const eh_model *model, eh_word_work *work, const char *word, uint32_t size)
{
    path few[64];
    path *paths = few;
    if (size >= sizeof few / sizeof *few) {
        EH_TRY(eh_word_memory(work, ((size_t)size + 1) * sizeof *paths));
        paths = work->memory;
    }
    find_paths(model, paths, word, size);
    uint32_t next = UINT32_MAX; // each place remembers where its token ends, from here to the right
    for (uint32_t end = size; end > 0;) {
        const uint32_t begin = paths[end].begin;
        paths[end].begin = next;
        next = end;
        end = begin;
    }
    for (uint32_t begin = 0, end = next; end != UINT32_MAX; end = paths[end].begin) {
        const bool unknown = paths[end].id == UNKNOWN || paths[end].id == model->unknown;
        const uint32_t after = paths[end].begin;
        if (unknown && after != UINT32_MAX && (paths[after].id == UNKNOWN || paths[after].id == model->unknown))
            continue;
        if (unknown)
            EH_TRY(add_unknown(model, work, word, begin, end));
        else
            EH_TRY(eh_word_add(work, paths[end].id, end));
        begin = end;
    }
    return EH_OK;
}
