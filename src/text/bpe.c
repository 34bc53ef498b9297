// Byte pair encoding (Sennrich et al. 2016): of all neighbouring pairs in a word that have a merge, the one of lowest
// rank is merged, the leftmost first, until none is left.
#include "text/model.h"

#include <stdlib.h>
#include <string.h>

#include "text/byte_alphabet.h"
#include "text/hash.h"
#include "text/utf8.h"

typedef struct eh_merge_slot {
    int32_t left, right; // left -1: empty
    int32_t rank, id;
} merge_slot;

static inline uint64_t pair_slot(int32_t left, int32_t right, uint64_t mask)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return eh_hash_end(eh_hash_mix(0, pair)) & mask;
}

static inline const merge_slot *find_merge(const eh_model *model, int32_t left, int32_t right)
{
    uint64_t slot = pair_slot(left, right, model->merge_mask);
    for (;; slot = (slot + 1) & model->merge_mask) {
        const merge_slot *at = &model->merge_slots[slot];
        if (at->left == left && at->right == right)
            return at;
        if (at->left < 0)
            return NULL;
    }
}

// --- Reading the model ---

static eh_status resolve(const eh_model *model, int64_t rank, const char *text, uint32_t size, const char *what,
                         int32_t *id)
{
    *id = eh_vocabulary_find(&model->vocabulary, text, size);
    if (*id >= 0)
        return EH_OK;
    return eh_error(EH_INPUT, "merge %lld: its %s '%.*s' is not in the vocabulary", (long long)rank, what,
                    size < 80 ? (int)size : 80, text);
}

// Merges mostly make tokens in the order of their ids, so the one behind the last result is tried before the table.
static eh_status resolve_result(const eh_model *model, int64_t rank, const char *text, uint32_t size, int32_t *id)
{
    size_t next_size = 0;
    const char *next = eh_vocabulary_token(&model->vocabulary, (int64_t)*id + 1, &next_size);
    if (next == NULL || next_size != size || memcmp(next, text, size) != 0 || model->vocabulary.repeated > 0)
        return resolve(model, rank, text, size, "result", id);
    ++*id;
    return EH_OK;
}

static eh_status read_merges(const eh_tokenizer_file *file, eh_model *model)
{
    int64_t slots = 16;
    while (slots < 2 * file->merge_count) slots *= 2;
    EH_TRY(EH_ALLOC(slots, &model->merge_slots));
    for (int64_t i = 0; i < slots; i++) model->merge_slots[i].left = -1;
    model->merge_mask = (uint64_t)slots - 1;
    const char *text = file->merge_bytes;
    int32_t both = -1;
    for (int64_t rank = 0; rank < file->merge_count; rank++) {
        const uint32_t left_size = file->merges[rank][0], right_size = file->merges[rank][1];
        int32_t left = -1, right = -1;
        EH_TRY(resolve(model, rank, text, left_size, "left half", &left));
        EH_TRY(resolve(model, rank, text + left_size, right_size, "right half", &right));
        EH_TRY(resolve_result(model, rank, text, left_size + right_size, &both));
        text += left_size + right_size;
        uint64_t slot = pair_slot(left, right, model->merge_mask);
        while (model->merge_slots[slot].left >= 0 &&
               (model->merge_slots[slot].left != left || model->merge_slots[slot].right != right))
            slot = (slot + 1) & model->merge_mask;
        model->merge_slots[slot] = (merge_slot){left, right, (int32_t)rank, both}; // of equal pairs the last counts
    }
    return EH_OK;
}

static eh_status refuse_affix(const json_t *description, const char *key)
{
    const char *affix = json_string_value(json_object_get(description, key));
    if (affix != NULL && affix[0] != '\0')
        return eh_error(EH_INPUT, "model: %s '%s' is not supported", key, affix);
    return EH_OK;
}

eh_status eh_bpe_init(const eh_tokenizer_file *file, const json_t *description, eh_model *model)
{
    EH_TRY(refuse_affix(description, "continuing_subword_prefix"));
    EH_TRY(refuse_affix(description, "end_of_word_suffix"));
    if (json_number_value(json_object_get(description, "dropout")) > 0)
        return eh_error(EH_INPUT, "model: dropout is not supported: the same text must give the same tokens");
    if (file->scores != NULL || !file->has_merges)
        return eh_error(EH_INPUT, "model: BPE needs a vocab of {\"token\": id, ...} and merges");
    EH_TRY(eh_model_find_unknown(description, model));
    model->fuse_unknown = json_is_true(json_object_get(description, "fuse_unk"));
    model->ignore_merges = json_is_true(json_object_get(description, "ignore_merges"));
    if (model->over_bytes)
        for (int byte = 0; byte < 256; byte++) {
            char letter[4];
            const uint32_t size = eh_utf8_write(eh_byte_letter((uint8_t)byte), letter);
            model->byte_ids[byte] = eh_vocabulary_find(&model->vocabulary, letter, size);
        }
    else if (model->byte_fallback)
        eh_model_find_byte_tokens(model);
    return read_merges(file, model);
}

// --- Cutting a word ---

typedef struct {
    int32_t id;
    uint32_t end;
    int32_t previous, next; // indices of neighbours, -1: none
} symbol;

typedef struct {
    int32_t rank, at, id;
} candidate;

// The word's symbols before any merge, in work->tokens. A symbol that has no token becomes the unknown one (several in
// a row a single one if the model says so), or bytes; without either it is left out, as the reference does.
static eh_status first_symbols(const eh_model *model, eh_word_work *work, const char *word, uint32_t size)
{
    bool unknown_before = false;
    uint32_t end = 0; // counts only what is not left out, so offsets behind it shift: the reference's do
    for (uint32_t at = 0, length = 1; at < size; at += length) {
        int32_t id;
        if (model->over_bytes)
            id = model->byte_ids[(uint8_t)word[at]];
        else {
            (void)eh_utf8_read(word + at, &length);
            id = eh_vocabulary_find(&model->vocabulary, word + at, length);
        }
        if (id >= 0) {
            EH_TRY(eh_word_add(work, id, end += length));
            unknown_before = false;
            continue;
        }
        bool bytes = model->byte_fallback && !model->over_bytes;
        for (uint32_t i = 0; bytes && i < length; i++) bytes = model->byte_ids[(uint8_t)word[at + i]] >= 0;
        for (uint32_t i = 0; bytes && i < length; i++)
            EH_TRY(eh_word_add(work, model->byte_ids[(uint8_t)word[at + i]], ++end));
        if (bytes || model->unknown < 0)
            continue;
        end += length;
        if (unknown_before && model->fuse_unknown)
            work->tokens[work->count - 1].end = end;
        else
            EH_TRY(eh_word_add(work, model->unknown, end));
        unknown_before = true;
    }
    return EH_OK;
}

enum { SHORT_WORD = 64 };

// The lowest rank is looked for among all pairs each time: quickest for words of usual length.
static void merge_short(const eh_model *model, eh_word_work *work)
{
    eh_word_token *tokens = work->tokens;
    int64_t count = work->count;
    int32_t ranks[SHORT_WORD], ids[SHORT_WORD]; // of the pair that begins here
    for (int64_t i = 0; i + 1 < count; i++) {
        const merge_slot *merge = find_merge(model, tokens[i].id, tokens[i + 1].id);
        ranks[i] = merge != NULL ? merge->rank : INT32_MAX;
        ids[i] = merge != NULL ? merge->id : -1;
    }
    while (count > 1) {
        int64_t best = 0;
        for (int64_t i = 1; i + 1 < count; i++)
            if (ranks[i] < ranks[best])
                best = i;
        if (ranks[best] == INT32_MAX)
            break;
        tokens[best] = (eh_word_token){ids[best], tokens[best + 1].end};
        count--;
        for (int64_t i = best + 1; i < count; i++) {
            tokens[i] = tokens[i + 1];
            ranks[i] = ranks[i + 1]; // the one behind the last pair is never looked at
            ids[i] = ids[i + 1];
        }
        for (int64_t i = best > 0 ? best - 1 : 0; i <= best && i + 1 < count; i++) {
            const merge_slot *merge = find_merge(model, tokens[i].id, tokens[i + 1].id);
            ranks[i] = merge != NULL ? merge->rank : INT32_MAX;
            ids[i] = merge != NULL ? merge->id : -1;
        }
    }
    work->count = count;
}

static inline bool comes_before(candidate a, candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void heap_push(candidate *heap, int64_t *count, candidate added)
{
    int64_t at = (*count)++;
    for (; at > 0 && comes_before(added, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = added;
}

static candidate heap_pop(candidate *heap, int64_t *count)
{
    const candidate top = heap[0], moved = heap[--*count];
    int64_t at = 0;
    for (int64_t child = 1; child < *count; child = 2 * at + 1) {
        if (child + 1 < *count && comes_before(heap[child + 1], heap[child]))
            child++;
        if (!comes_before(heap[child], moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
    return top;
}

static void consider(const eh_model *model, const symbol *symbols, int32_t at, candidate *heap, int64_t *count)
{
    if (at < 0 || symbols[at].next < 0)
        return;
    const merge_slot *merge = find_merge(model, symbols[at].id, symbols[symbols[at].next].id);
    if (merge != NULL)
        heap_push(heap, count, (candidate){merge->rank, at, merge->id});
}

// A heap of candidates, so that a word of a million bytes takes n log n. Candidates that a merge has overtaken stay in
// it and are recognised by their result.
static eh_status merge_long(const eh_model *model, eh_word_work *work)
{
    const int64_t count = work->count;
    EH_TRY(eh_word_memory(work, (size_t)count * sizeof(symbol) + 3 * (size_t)count * sizeof(candidate)));
    symbol *symbols = work->memory;
    candidate *heap = (candidate *)(symbols + count); // each merge adds two at most, and takes one away
    int64_t waiting = 0;
    for (int64_t i = 0; i < count; i++)
        symbols[i] =
            (symbol){work->tokens[i].id, work->tokens[i].end, (int32_t)i - 1, i + 1 < count ? (int32_t)i + 1 : -1};
    for (int64_t i = 0; i + 1 < count; i++) consider(model, symbols, (int32_t)i, heap, &waiting);
    while (waiting > 0) {
        const candidate top = heap_pop(heap, &waiting);
        symbol *left = &symbols[top.at];
        if (left->id < 0 || left->next < 0)
            continue;
        symbol *right = &symbols[left->next];
        const merge_slot *merge = find_merge(model, left->id, right->id);
        if (merge == NULL || merge->id != top.id)
            continue;
        left->id = top.id;
        left->end = right->end;
        left->next = right->next;
        right->id = -1;
        if (right->next >= 0)
            symbols[right->next].previous = top.at;
        consider(model, symbols, left->previous, heap, &waiting);
        consider(model, symbols, top.at, heap, &waiting);
    }
    work->count = 0;
    for (int32_t at = count > 0 ? 0 : -1; at >= 0; at = symbols[at].next)
        work->tokens[work->count++] = (eh_word_token){symbols[at].id, symbols[at].end};
    return EH_OK;
}

// The id of a whole word that is a token, where the model says that it goes first; -1 otherwise.
static int32_t whole_word(const eh_model *model, const char *word, uint32_t size)
{
    if (!model->ignore_merges)
        return -1;
    if (!model->over_bytes)
        return eh_vocabulary_find(&model->vocabulary, word, size);
    char letters[512];
    if (size > sizeof letters / 2)
        return -1;
    uint32_t written = 0;
    for (uint32_t i = 0; i < size; i++) written += eh_utf8_write(eh_byte_letter((uint8_t)word[i]), letters + written);
    return eh_vocabulary_find(&model->vocabulary, letters, written);
}

eh_status eh_bpe_cut(const eh_model *model, eh_word_work *work, const char *word, uint32_t size)
{
    const int32_t whole = whole_word(model, word, size);
    if (whole >= 0)
        return eh_word_add(work, whole, size);
    EH_TRY(first_symbols(model, work, word, size));
    if (work->count > SHORT_WORD)
        return merge_long(model, work);
    merge_short(model, work);
    return EH_OK;
}
