#include "text/tokenizer.h"

#include <string.h>

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/hash.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/unicode_classes.h"
#include "text/utf8.h"

struct eh_tokenizer {
    eh_normalizer normalizer;
    eh_pre_tokenizer pre_tokenizer;
    eh_model model;
    eh_added_tokens added;
    eh_post_processor post_processor;
    eh_decoder decoder;
    char sha256[EH_SHA256_TEXT];
};

// --- Opening ---

static eh_status open_parts(eh_tokenizer_file *file, eh_tokenizer *tokenizer)
{
    const json_t *root = file->root;
    EH_TRY(eh_normalizer_init(json_object_get(root, "normalizer"), &tokenizer->normalizer));
    EH_TRY(eh_pre_tokenizer_init(json_object_get(root, "pre_tokenizer"), &tokenizer->pre_tokenizer));
    EH_TRY(eh_model_init(file, tokenizer->pre_tokenizer.over_bytes, &tokenizer->model));
    EH_TRY(eh_added_tokens_init(json_object_get(root, "added_tokens"), &tokenizer->model.vocabulary,
                                &tokenizer->normalizer, &tokenizer->added));
    EH_TRY(eh_post_processor_init(json_object_get(root, "post_processor"), &tokenizer->post_processor));
    return eh_decoder_init(json_object_get(root, "decoder"), &tokenizer->decoder);
}

eh_status eh_tokenizer_open(const char *path, eh_tokenizer **tokenizer)
{
    eh_status status = EH_OK;
    eh_tokenizer_file file = {0};
    eh_tokenizer *fresh = NULL;
    EH_TRY_OR(done, EH_ALLOC(1, &fresh));
    EH_TRY_OR(done, eh_tokenizer_file_read(path, &file));
    memcpy(fresh->sha256, file.sha256, sizeof fresh->sha256);
    status = open_parts(&file, fresh);
    if (status != EH_OK)
        status = eh_error_context(status, "%s", path);
done:
    if (status == EH_OK)
        *tokenizer = fresh;
    else
        eh_tokenizer_close(&fresh);
    eh_tokenizer_file_deinit(&file);
    return status;
}

void eh_tokenizer_close(eh_tokenizer **tokenizer)
{
    if (*tokenizer == NULL)
        return;
    eh_normalizer_deinit(&(*tokenizer)->normalizer);
    eh_pre_tokenizer_deinit(&(*tokenizer)->pre_tokenizer);
    eh_model_deinit(&(*tokenizer)->model);
    eh_added_tokens_deinit(&(*tokenizer)->added);
    eh_post_processor_deinit(&(*tokenizer)->post_processor);
    eh_decoder_deinit(&(*tokenizer)->decoder);
    eh_free(tokenizer);
}

// --- What an encoding keeps from text to text ---

enum { CACHED_BYTES = 24, CACHED_TOKENS = 6, CACHE_SIZE = 1 << 15 };

// One cache line: a word and its tokens. A word that hashes to the same place takes it over.
typedef struct {
    uint64_t key[CACHED_BYTES / 8];
    int32_t ids[CACHED_TOKENS];
    uint8_t ends[CACHED_TOKENS];
    uint8_t size; // bytes of the word, 0: empty
    uint8_t count;
} cached_word;

struct eh_encoding_work {
    char sha256[EH_SHA256_TEXT]; // of the tokenizer that the cache belongs to
    cached_word *cache;
    eh_word_work word;
    eh_aligned repaired, normalized;
    eh_pieces raw, pieces;
    eh_normalizer_work normalizer;
    eh_pre_tokenizer_work pre_tokenizer;
};

static eh_status prepare_work(const eh_tokenizer *tokenizer, eh_encoding *encoding)
{
    if (encoding->work == NULL)
        EH_TRY(EH_ALLOC(1, &encoding->work));
    struct eh_encoding_work *work = encoding->work;
    if (work->cache == NULL)
        EH_TRY(EH_ALLOC(CACHE_SIZE, &work->cache));
    else if (strcmp(work->sha256, tokenizer->sha256) != 0)
        memset(work->cache, 0, CACHE_SIZE * sizeof *work->cache);
    memcpy(work->sha256, tokenizer->sha256, sizeof work->sha256);
    return EH_OK;
}

void eh_encoding_deinit(eh_encoding *encoding)
{
    struct eh_encoding_work *work = encoding->work;
    if (work != NULL) {
        eh_free(&work->cache);
        eh_word_work_deinit(&work->word);
        eh_aligned_deinit(&work->repaired);
        eh_aligned_deinit(&work->normalized);
        eh_free(&work->raw.pieces);
        eh_free(&work->pieces.pieces);
        eh_normalizer_work_deinit(&work->normalizer);
        eh_pre_tokenizer_work_deinit(&work->pre_tokenizer);
        eh_free(&encoding->work);
    }
    eh_free(&encoding->ids);
    eh_free(&encoding->offsets);
    eh_free(&encoding->type_ids);
    eh_free(&encoding->sources);
    *encoding = (eh_encoding){0};
}

// --- Tokens into the encoding ---

static eh_status make_room(eh_encoding *encoding, int64_t more)
{
    const int64_t count = encoding->count + more;
    if (count <= encoding->capacity)
        return EH_OK;
    int64_t capacity[4] = {encoding->capacity, encoding->capacity, encoding->capacity, encoding->capacity};
    EH_TRY(eh_reserve(count, &capacity[0], sizeof *encoding->ids, (void **)&encoding->ids));
    EH_TRY(eh_reserve(count, &capacity[1], sizeof *encoding->offsets, (void **)&encoding->offsets));
    EH_TRY(eh_reserve(count, &capacity[2], sizeof *encoding->type_ids, (void **)&encoding->type_ids));
    EH_TRY(eh_reserve(count, &capacity[3], sizeof *encoding->sources, (void **)&encoding->sources));
    encoding->capacity = capacity[0];
    return EH_OK;
}

static inline void put(eh_encoding *encoding, int32_t id, eh_origin origin)
{
    encoding->ids[encoding->count] = id;
    encoding->offsets[encoding->count][0] = origin.begin;
    encoding->offsets[encoding->count++][1] = origin.end;
}

// What is the same for all words of a text.
typedef struct {
    const eh_tokenizer *tokenizer;
    struct eh_encoding_work *work;
    eh_source source;
    const char *text; // the original
    uint32_t text_size;
    int64_t first; // index in the encoding of the text's first token
    eh_encoding *encoding;
} text_run;

// Where bytes [begin, end) of the source come from; pieces of a character come from all of it.
static inline eh_origin origin_of(const text_run *run, uint32_t begin, uint32_t end)
{
    const eh_origin *origins = run->source.origins;
    if (origins != NULL)
        return (eh_origin){origins[begin].begin, origins[end - 1].end};
    eh_origin origin = {begin, end};
    if (eh_utf8_continues(run->text[begin]))
        origin.begin = eh_origin_at(run->source, begin).begin;
    if (end < run->text_size && eh_utf8_continues(run->text[end]))
        origin.end = eh_origin_at(run->source, end - 1).end;
    return origin;
}

// Leaves white space out of a token's offsets, as the reference counts it: characters of the token, steps in the text.
static eh_origin trim(const text_run *run, uint32_t begin, uint32_t end, bool added, eh_origin origin)
{
    const char *bytes = run->source.bytes, *text = run->text;
    int64_t leading = 0, trailing = 0;
    uint32_t at = begin, size;
    for (; at < end; at += size, leading++) {
        size = 1;
        if (bytes[at] != ' ' && !(added && eh_is_space(eh_utf8_read(bytes + at, &size))))
            break;
    }
    for (uint32_t back = end; back > begin; trailing++) {
        uint32_t before = back - 1;
        while (added && before > begin && eh_utf8_continues(bytes[before])) before--;
        if (bytes[before] != ' ' && !(added && eh_is_space(eh_utf8_read(bytes + before, &size))))
            break;
        back = before;
    }
    const bool first = run->encoding->count == run->first || origin.begin == 0;
    if (first && run->tokenizer->post_processor.prefix_space && leading == 1)
        leading = 0;
    for (; leading > 0 && origin.begin < origin.end; leading--) {
        origin.begin++;
        while (origin.begin < origin.end && eh_utf8_continues(text[origin.begin])) origin.begin++;
    }
    for (; trailing > 0 && origin.end > origin.begin; trailing--) {
        origin.end--;
        while (origin.end > origin.begin && eh_utf8_continues(text[origin.end])) origin.end--;
    }
    return origin;
}

static inline void put_token(const text_run *run, int32_t id, uint32_t begin, uint32_t end)
{
    eh_encoding *encoding = run->encoding;
    if (begin == end) { // one more byte of a character that the vocabulary lacks: it comes from where the last did
        const uint32_t *last = encoding->offsets[encoding->count - 1];
        put(encoding, id, (eh_origin){last[0], last[1]});
        return;
    }
    eh_origin origin = origin_of(run, begin, end);
    if (run->tokenizer->post_processor.trim_offsets && run->tokenizer->model.over_bytes &&
        (run->source.bytes[begin] == ' ' || run->source.bytes[end - 1] == ' '))
        origin = trim(run, begin, end, false, origin);
    put(encoding, id, origin);
}

// The word's bytes as three numbers that, with its size, tell it from every other.
static inline void load_key(const char *word, uint32_t size, uint64_t key[3])
{
    key[1] = key[2] = 0;
    if (size >= 8) {
        memcpy(&key[0], word, 8);
        memcpy(&key[2], word + size - 8, 8);
        if (size > 16)
            memcpy(&key[1], word + 8, 8);
        return;
    }
    key[0] = 0;
    if (size >= 4) {
        uint32_t low, high;
        memcpy(&low, word, 4);
        memcpy(&high, word + size - 4, 4);
        key[0] = (uint64_t)high << 32 | low;
        return;
    }
    key[0] = (uint64_t)(uint8_t)word[0] << 16 | (uint64_t)(uint8_t)word[size / 2] << 8 | (uint8_t)word[size - 1];
}

static eh_status put_long_word(const text_run *run, uint32_t begin, uint32_t size)
{
    eh_word_work *word = &run->work->word;
    EH_TRY(eh_model_cut(&run->tokenizer->model, word, run->source.bytes + begin, size));
    EH_TRY(make_room(run->encoding, word->count));
    for (int64_t i = 0; i < word->count; i++)
        put_token(run, word->tokens[i].id, i > 0 ? begin + word->tokens[i - 1].end : begin,
                  begin + word->tokens[i].end);
    return EH_OK;
}

static eh_status put_word(const text_run *run, uint32_t begin, uint32_t size)
{
    if (size > CACHED_BYTES)
        return put_long_word(run, begin, size);
    uint64_t key[3];
    load_key(run->source.bytes + begin, size, key);
    const uint64_t hash = eh_hash_end(eh_hash_mix(eh_hash_mix(eh_hash_mix(size, key[0]), key[1]), key[2]));
    cached_word *cached = &run->work->cache[hash % CACHE_SIZE];
    if (cached->size != size || cached->key[0] != key[0] || cached->key[1] != key[1] || cached->key[2] != key[2]) {
        eh_word_work *word = &run->work->word;
        EH_TRY(eh_model_cut(&run->tokenizer->model, word, run->source.bytes + begin, size));
        if (word->count > CACHED_TOKENS || word->uncacheable) {
            EH_TRY(make_room(run->encoding, word->count));
            for (int64_t i = 0; i < word->count; i++)
                put_token(run, word->tokens[i].id, i > 0 ? begin + word->tokens[i - 1].end : begin,
                          begin + word->tokens[i].end);
            return EH_OK;
        }
        memcpy(cached->key, key, sizeof key);
        cached->size = (uint8_t)size;
        cached->count = (uint8_t)word->count;
        for (int64_t i = 0; i < word->count; i++) {
            cached->ids[i] = word->tokens[i].id;
            cached->ends[i] = (uint8_t)word->tokens[i].end;
        }
    }
    EH_TRY(make_room(run->encoding, CACHED_TOKENS));
    uint32_t from = begin;
    for (int i = 0; i < cached->count; i++) {
        const uint32_t end = begin + cached->ends[i];
        put_token(run, cached->ids[i], from, end);
        from = end;
    }
    return EH_OK;
}

static eh_status put_pieces(const text_run *run, const eh_pieces *pieces)
{
    for (int64_t i = 0; i < pieces->count; i++) {
        const eh_piece piece = pieces->pieces[i];
        if (piece.token < 0) {
            EH_TRY(put_word(run, piece.begin, piece.end - piece.begin));
            continue;
        }
        EH_TRY(make_room(run->encoding, 1));
        eh_origin origin = origin_of(run, piece.begin, piece.end);
        if (run->tokenizer->post_processor.trim_offsets)
            origin = trim(run, piece.begin, piece.end, true, origin);
        put(run->encoding, piece.token, origin);
    }
    return EH_OK;
}

// --- A text through the pipeline ---

// Replaces malformed sequences by U+FFFD, each coming from the bytes it stands for.
static eh_status repair(const char *text, uint32_t size, eh_aligned *repaired, int64_t *replaced)
{
    repaired->size = 0;
    for (uint32_t at = 0; at < size;) {
        const uint32_t good = (uint32_t)eh_utf8_valid_prefix(text + at, size - at);
        EH_TRY(eh_aligned_reserve(repaired, (int64_t)good + 3));
        for (uint32_t end = at + good, length; at < end; at += length) {
            (void)eh_utf8_read(text + at, &length);
            eh_aligned_put(repaired, text + at, length, (eh_origin){at, at + length});
        }
        if (at == size)
            break;
        const uint32_t bad = (uint32_t)eh_utf8_malformed(text + at, size - at);
        eh_aligned_put(repaired, "\xEF\xBF\xBD", 3, (eh_origin){at, at + bad});
        at += bad;
        ++*replaced;
    }
    return EH_OK;
}

// Added tokens are cut out of the raw text, what lies between is normalized, and others are cut out of that.
static eh_status normalize(const eh_tokenizer *tokenizer, struct eh_encoding_work *work, eh_source *source,
                           uint32_t size)
{
    work->raw.count = work->pieces.count = 0;
    work->normalized.size = 0;
    EH_TRY(eh_added_tokens_split(&tokenizer->added, false, source->bytes, 0, size, &work->raw));
    const bool normalizes = tokenizer->normalizer.count > 0;
    eh_aligned *text = &work->normalized;
    for (int64_t i = 0; i < work->raw.count; i++) {
        const eh_piece piece = work->raw.pieces[i];
        const uint32_t begin = normalizes ? (uint32_t)text->size : piece.begin;
        if (normalizes && piece.token >= 0) { // it keeps its bytes
            EH_TRY(eh_aligned_reserve(text, piece.end - piece.begin));
            for (uint32_t at = piece.begin; at < piece.end; at++)
                eh_aligned_put(text, source->bytes + at, 1, eh_origin_at(*source, at));
        } else if (normalizes)
            EH_TRY(eh_normalizer_run(&tokenizer->normalizer, &work->normalizer, *source, piece.begin, piece.end, text));
        const uint32_t end = normalizes ? (uint32_t)text->size : piece.end;
        if (piece.token >= 0)
            EH_TRY(eh_pieces_add(&work->pieces, begin, end, piece.token));
        else
            EH_TRY(eh_added_tokens_split(&tokenizer->added, true, normalizes ? text->bytes : source->bytes, begin, end,
                                         &work->pieces));
    }
    if (normalizes)
        *source = (eh_source){text->bytes, text->origins};
    return EH_OK;
}

static eh_status put_text(const eh_tokenizer *tokenizer, const char *text, size_t size, eh_encoding *encoding)
{
    if (size == 0)
        return EH_OK;
    if (size >= INT32_MAX)
        return eh_error(EH_INPUT, "a text of %zu bytes is too long to be tokenized at once: split it into lines", size);
    struct eh_encoding_work *work = encoding->work;
    text_run run = {.tokenizer = tokenizer, .work = work, .first = encoding->count, .encoding = encoding};
    run.text = text;
    run.text_size = (uint32_t)size;
    run.source = (eh_source){text, NULL};
    uint32_t source_size = (uint32_t)size;
    if (eh_utf8_valid_prefix(text, size) < size) {
        EH_TRY(repair(text, source_size, &work->repaired, &encoding->replaced));
        run.source = (eh_source){work->repaired.bytes, work->repaired.origins};
        source_size = (uint32_t)work->repaired.size;
    }
    EH_TRY(normalize(tokenizer, work, &run.source, source_size));
    const eh_pieces *pieces = &work->pieces;
    EH_TRY(eh_pre_tokenizer_run(&tokenizer->pre_tokenizer, &work->pre_tokenizer, &run.source, &pieces));
    return put_pieces(&run, pieces);
}

static eh_status encode(const eh_tokenizer *tokenizer, const eh_template *template, const char *const texts[2],
                        const size_t sizes[2], eh_special special, eh_encoding *encoding)
{
    encoding->count = encoding->replaced = encoding->cut = 0;
    EH_TRY(prepare_work(tokenizer, encoding));
    for (int64_t i = 0; i < template->count; i++) {
        const eh_template_item *item = &template->items[i];
        const int64_t first = encoding->count;
        if (item->source != EH_TOKEN_ADDED)
            EH_TRY(put_text(tokenizer, texts[item->source], sizes[item->source], encoding));
        else if (special == EH_WITH_SPECIAL) {
            EH_TRY(make_room(encoding, 1));
            put(encoding, item->id, (eh_origin){0, 0});
        }
        if (encoding->count > first) {
            memset(encoding->type_ids + first, item->type_id, (size_t)(encoding->count - first));
            memset(encoding->sources + first, item->source, (size_t)(encoding->count - first));
        }
    }
    return EH_OK;
}

eh_status eh_tokenizer_encode(const eh_tokenizer *tokenizer, const char *text, size_t size, eh_special special,
                              eh_encoding *encoding)
{
    const char *const texts[2] = {text, NULL};
    const size_t sizes[2] = {size, 0};
    const eh_status status = encode(tokenizer, &tokenizer->post_processor.single, texts, sizes, special, encoding);
    if (status != EH_OK)
        encoding->count = 0;
    return status;
}

eh_status eh_tokenizer_encode_pair(const eh_tokenizer *tokenizer, const char *first, size_t first_size,
                                   const char *second, size_t second_size, eh_encoding *encoding)
{
    const char *const texts[2] = {first, second};
    const size_t sizes[2] = {first_size, second_size};
    const eh_status status =
        encode(tokenizer, &tokenizer->post_processor.pair, texts, sizes, EH_WITH_SPECIAL, encoding);
    if (status != EH_OK)
        encoding->count = 0;
    return status;
}

// --- Truncation ---

// How many tokens of each text stay within `budget`: the reference's "longest_first".
static void longest_first(int64_t counts[2], int64_t budget)
{
    const int shorter = counts[0] <= counts[1] ? 0 : 1, longer = 1 - shorter;
    counts[longer] = counts[shorter] > budget ? counts[shorter] : budget - counts[shorter];
    if (counts[longer] < counts[shorter])
        counts[longer] = counts[shorter];
    if (counts[0] + counts[1] <= budget)
        return;
    counts[shorter] = budget / 2;
    counts[longer] = counts[shorter] + budget % 2;
}

eh_status eh_encoding_truncate(eh_encoding *encoding, int64_t max_length)
{
    if (encoding->count <= max_length)
        return EH_OK;
    int64_t counts[2] = {0, 0};
    for (int64_t i = 0; i < encoding->count; i++)
        if (encoding->sources[i] != EH_TOKEN_ADDED)
            counts[encoding->sources[i]]++;
    const int64_t added = encoding->count - counts[0] - counts[1];
    if (added > max_length)
        return eh_error(EH_INPUT, "a maximum of %lld tokens leaves no room for the %lld that the tokenizer adds",
                        (long long)max_length, (long long)added);
    if (counts[1] == 0)
        counts[0] = max_length - added;
    else
        longest_first(counts, max_length - added);
    int64_t kept = 0;
    for (int64_t i = 0; i < encoding->count; i++) {
        const uint8_t source = encoding->sources[i];
        if (source != EH_TOKEN_ADDED && counts[source]-- <= 0)
            continue;
        encoding->ids[kept] = encoding->ids[i];
        memcpy(encoding->offsets[kept], encoding->offsets[i], sizeof encoding->offsets[i]);
        encoding->type_ids[kept] = encoding->type_ids[i];
        encoding->sources[kept++] = source;
    }
    encoding->cut += encoding->count - kept;
    encoding->count = kept;
    return EH_OK;
}

// --- Decoding ---

static eh_status add_texts(const eh_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special,
                           eh_token_texts *texts)
{
    for (int64_t i = 0; i < count; i++) {
        size_t size = 0;
        const eh_added_token *added = eh_added_tokens_by_id(&tokenizer->added, ids[i]);
        const char *token = eh_vocabulary_token(&tokenizer->model.vocabulary, ids[i], &size);
        if (added != NULL) {
            token = added->matched;
            size = added->matched_size;
        }
        if (token != NULL && !(skip_special && added != NULL && added->special))
            EH_TRY(eh_token_texts_add(texts, token, size));
    }
    return EH_OK;
}

eh_status eh_tokenizer_decode(const eh_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special,
                              eh_string *text)
{
    eh_token_texts texts = {0};
    eh_status status = add_texts(tokenizer, ids, count, skip_special, &texts);
    if (status == EH_OK)
        status = eh_decoder_run(&tokenizer->decoder, &texts, text);
    eh_token_texts_deinit(&texts);
    return status;
}

// --- The vocabulary ---

int64_t eh_tokenizer_vocab_size(const eh_tokenizer *tokenizer)
{
    return tokenizer->model.vocabulary.count + tokenizer->added.new_count;
}

int32_t eh_tokenizer_id(const eh_tokenizer *tokenizer, const char *token)
{
    const size_t size = strlen(token);
    for (int64_t i = 0; i < tokenizer->added.count; i++)
        if (tokenizer->added.tokens[i].size == size && memcmp(tokenizer->added.tokens[i].content, token, size) == 0)
            return tokenizer->added.tokens[i].id;
    return eh_vocabulary_find(&tokenizer->model.vocabulary, token, size);
}

int32_t eh_tokenizer_mask(const eh_tokenizer *tokenizer)
{
    const int32_t id = eh_tokenizer_id(tokenizer, "[MASK]");
    return id >= 0 ? id : eh_tokenizer_id(tokenizer, "<mask>");
}

const char *eh_tokenizer_token(const eh_tokenizer *tokenizer, int32_t id)
{
    size_t size = 0;
    const eh_added_token *added = eh_added_tokens_by_id(&tokenizer->added, id);
    return added != NULL ? added->content : eh_vocabulary_token(&tokenizer->model.vocabulary, id, &size);
}

bool eh_tokenizer_is_special(const eh_tokenizer *tokenizer, int32_t id)
{
    const eh_added_token *added = eh_added_tokens_by_id(&tokenizer->added, id);
    return added != NULL && added->special;
}

const char *eh_tokenizer_sha256(const eh_tokenizer *tokenizer)
{
    return tokenizer->sha256;
}

const char *eh_tokenizer_kind(const eh_tokenizer *tokenizer)
{
    return eh_model_kind_name(tokenizer->model.kind);
}
