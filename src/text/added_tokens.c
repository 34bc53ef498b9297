#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode_classes.h"
#include "text/utf8.h"

static eh_status find_matched_text(eh_added_token *token, const eh_normalizer *normalizer)
{
    if (!token->normalized || normalizer->count == 0) {
        token->matched_size = token->size;
        return eh_copy_bytes(token->content, token->size, &token->matched);
    }
    eh_normalizer_work work = {0};
    eh_aligned text = {0};
    const eh_source source = {token->content, NULL};
    eh_status status = eh_normalizer_run(normalizer, &work, source, 0, (uint32_t)token->size, &text);
    if (status == EH_OK)
        status = eh_copy_bytes(text.bytes != NULL ? text.bytes : "", (size_t)text.size, &token->matched);
    token->matched_size = (size_t)text.size;
    eh_normalizer_work_deinit(&work);
    eh_aligned_deinit(&text);
    return status;
}

static eh_status read_token(const json_t *entry, const eh_vocabulary *vocabulary, const eh_normalizer *normalizer,
                            eh_added_tokens *added)
{
    eh_added_token *token = &added->tokens[added->count];
    const json_t *content = json_object_get(entry, "content"), *id = json_object_get(entry, "id");
    if (!json_is_string(content) || !json_is_integer(id))
        return eh_error(EH_INPUT, "added_tokens: entry %lld has no content or no id", (long long)added->count);
    if (json_string_length(content) == 0)
        return EH_OK; // the reference ignores it
    token->size = json_string_length(content);
    EH_TRY(eh_copy_bytes(json_string_value(content), token->size, &token->content));
    added->count++; // from here on it is freed with the others
    token->single_word = json_is_true(json_object_get(entry, "single_word"));
    token->strip_left = json_is_true(json_object_get(entry, "lstrip"));
    token->strip_right = json_is_true(json_object_get(entry, "rstrip"));
    token->normalized = json_is_true(json_object_get(entry, "normalized"));
    token->special = json_is_true(json_object_get(entry, "special"));

    const json_int_t claimed = json_integer_value(id);
    const int32_t known = eh_vocabulary_find(vocabulary, token->content, token->size);
    size_t other_size = 0;
    const char *other = eh_vocabulary_token(vocabulary, claimed, &other_size);
    if (claimed < 0 || claimed >= 1 << 27)
        return eh_error(EH_INPUT, "added_tokens: '%s' has id %lld", token->content, (long long)claimed);
    if (known >= 0 && known != claimed)
        return eh_error(EH_INPUT, "added_tokens: '%s' has id %lld, but %d in the vocabulary", token->content,
                        (long long)claimed, known);
    if (known < 0 && other != NULL)
        return eh_error(EH_INPUT, "added_tokens: '%s' has id %lld, which is '%s' in the vocabulary", token->content,
                        (long long)claimed, other);
    token->id = (int32_t)claimed;
    added->new_count += known < 0;
    return find_matched_text(token, normalizer);
}

static eh_status build_trie(const eh_added_tokens *added, bool normalized, eh_trie *trie, bool starts[256])
{
    eh_trie_key *keys = NULL;
    int64_t count = 0;
    EH_TRY(EH_ALLOC(added->count, &keys));
    for (int64_t i = 0; i < added->count; i++) {
        const eh_added_token *token = &added->tokens[i];
        if (token->normalized != normalized || token->matched_size == 0)
            continue;
        keys[count++] = (eh_trie_key){token->matched, (uint32_t)token->matched_size, (int32_t)i};
        starts[(uint8_t)token->matched[0]] = true;
    }
    const eh_status status = count > 0 ? eh_trie_build(keys, count, trie) : EH_OK;
    eh_free(&keys);
    return status;
}

static int compare_ids(const void *left, const void *right)
{
    const eh_added_token *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

eh_status eh_added_tokens_init(const json_t *list, const eh_vocabulary *vocabulary, const eh_normalizer *normalizer,
                               eh_added_tokens *added)
{
    EH_TRY(EH_ALLOC(json_array_size(list), &added->tokens));
    for (size_t i = 0; i < json_array_size(list); i++)
        EH_TRY(read_token(json_array_get(list, i), vocabulary, normalizer, added));
    if (added->count > 0)
        qsort(added->tokens, (size_t)added->count, sizeof *added->tokens, compare_ids);
    for (int64_t i = 1; i < added->count; i++)
        if (added->tokens[i - 1].id == added->tokens[i].id)
            return eh_error(EH_INPUT, "added_tokens: id %d is given twice, to '%s' and to '%s'", added->tokens[i].id,
                            added->tokens[i - 1].content, added->tokens[i].content);
    EH_TRY(build_trie(added, false, &added->raw, added->raw_starts));
    return build_trie(added, true, &added->normalized, added->normalized_starts);
}

void eh_added_tokens_deinit(eh_added_tokens *added)
{
    for (int64_t i = 0; i < added->count; i++) {
        eh_free(&added->tokens[i].content);
        eh_free(&added->tokens[i].matched);
    }
    eh_free(&added->tokens);
    eh_trie_deinit(&added->raw);
    eh_trie_deinit(&added->normalized);
    *added = (eh_added_tokens){0};
}

const eh_added_token *eh_added_tokens_by_id(const eh_added_tokens *added, int32_t id)
{
    if (added->count == 0)
        return NULL;
    const eh_added_token wanted = {.id = id};
    return bsearch(&wanted, added->tokens, (size_t)added->count, sizeof wanted, compare_ids);
}

// --- Finding them ---

static bool word_ends_at(const char *bytes, uint32_t begin, uint32_t at)
{
    if (at == begin)
        return false;
    uint32_t size;
    for (at--; at > begin && eh_utf8_continues(bytes[at]);) at--;
    return eh_is_word(eh_utf8_read(bytes + at, &size));
}

static bool word_begins_at(const char *bytes, uint32_t at, uint32_t end)
{
    uint32_t size;
    return at < end && eh_is_word(eh_utf8_read(bytes + at, &size));
}

// The start of the white space that ends at `at`, not before `begin`.
static uint32_t spaces_before(const char *bytes, uint32_t begin, uint32_t at)
{
    while (at > begin) {
        uint32_t before = at - 1, size;
        while (before > begin && eh_utf8_continues(bytes[before])) before--;
        if (!eh_is_space(eh_utf8_read(bytes + before, &size)))
            break;
        at = before;
    }
    return at;
}

static uint32_t spaces_behind(const char *bytes, uint32_t at, uint32_t end)
{
    for (uint32_t size; at < end && eh_is_space(eh_utf8_read(bytes + at, &size)); at += size) continue;
    return at;
}

eh_status eh_added_tokens_split(const eh_added_tokens *added, bool normalized, const char *bytes, uint32_t begin,
                                uint32_t end, eh_pieces *pieces)
{
    const eh_trie *trie = normalized ? &added->normalized : &added->raw;
    const bool *starts = normalized ? added->normalized_starts : added->raw_starts;
    if (trie->count == 0)
        return eh_pieces_add(pieces, begin, end, -1);
    uint32_t done = begin;
    for (uint32_t at = begin; at < end;) {
        size_t size = 0;
        int32_t index = -1;
        if (starts[(uint8_t)bytes[at]])
            index = eh_trie_longest(trie, bytes + at, end - at, &size);
        if (index < 0) {
            at++;
            continue;
        }
        const eh_added_token *token = &added->tokens[index];
        uint32_t first = at, last = at + (uint32_t)size;
        at = last;
        if (token->single_word && (word_ends_at(bytes, begin, first) || word_begins_at(bytes, last, end)))
            continue;
        if (token->strip_left)
            first = spaces_before(bytes, done > begin ? done : begin, first);
        if (token->strip_right)
            last = spaces_behind(bytes, last, end);
        if (done < first)
            EH_TRY(eh_pieces_add(pieces, done, first, -1));
        EH_TRY(eh_pieces_add(pieces, first, last, token->id));
        done = last;
    }
    return done < end ? eh_pieces_add(pieces, done, end, -1) : EH_OK;
}
