// Byte-level BPE (Sennrich et al. 2016) trained on the planted corpus and written as a Hugging Face tokenizer.json. The
// world has few words, so the plain algorithm will do: count all neighbouring pairs, merge the most frequent, again.
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "dataset/plant_internal.h"

#define SPECIAL_COUNT 4
static const char *const special_tokens[SPECIAL_COUNT] = {"<unk>", "<s>", "</s>", "<pad>"}; // BLOOM's ids 0 to 3
#define LATE_COUNT (1 + EH_PLANT_SENTINELS) // behind the merges: <mask> for masked models, T5's sentinels
static const char pattern[] = " ?[^(\\s|[.,!?…。，、।۔،])]+"; // BLOOM's pre-tokenizer

// A distinct piece of the text (a word with the space before it, or a full stop) as token ids.
typedef struct {
    char text[32];
    int64_t count, size;
    int32_t ids[32];
} piece;

typedef struct {
    int32_t first, second;
} merge;

typedef struct {
    piece *pieces;
    int64_t piece_count, piece_capacity;
    merge *merges;
    int64_t merge_count;
} trainer;

static bool ends_piece(char c)
{
    return strchr(" .,!?()|\n", c) != NULL;
}

static eh_status count_piece(trainer *bpe, const char *text, size_t size)
{
    EH_ASSERT(size < sizeof bpe->pieces->text);
    for (int64_t i = 0; i < bpe->piece_count; i++)
        if (strncmp(bpe->pieces[i].text, text, size) == 0 && bpe->pieces[i].text[size] == '\0') {
            bpe->pieces[i].count++;
            return EH_OK;
        }
    piece fresh = {.count = 1, .size = (int64_t)size};
    memcpy(fresh.text, text, size);
    for (size_t i = 0; i < size; i++) fresh.ids[i] = SPECIAL_COUNT + (unsigned char)text[i];
    return EH_APPEND(&bpe->pieces, &bpe->piece_count, &bpe->piece_capacity, fresh);
}

static eh_status count_pieces(trainer *bpe, const eh_string *text)
{
    for (size_t at = 0; at < text->size;) {
        size_t end = at + (text->bytes[at] == ' ');
        while (end < text->size && !ends_piece(text->bytes[end])) end++;
        if (end == at)
            end = at + 1;
        if (text->bytes[at] != '\n')
            EH_TRY(count_piece(bpe, text->bytes + at, end - at));
        at = end;
    }
    return EH_OK;
}

// The most frequent pair, the smallest ids among equals; its count, 0 if every piece is one token. counts
// [vocab, vocab] is all zero before and after.
static int64_t best_pair(const trainer *bpe, int32_t *counts, int64_t vocab_size, merge *best)
{
    int64_t most = 0, best_index = 0;
    for (int64_t p = 0; p < bpe->piece_count; p++)
        for (int64_t i = 0; i + 1 < bpe->pieces[p].size; i++) {
            const int64_t index = bpe->pieces[p].ids[i] * vocab_size + bpe->pieces[p].ids[i + 1];
            counts[index] += (int32_t)bpe->pieces[p].count;
            if (counts[index] > most || (counts[index] == most && index < best_index)) {
                most = counts[index];
                best_index = index;
            }
        }
    for (int64_t p = 0; p < bpe->piece_count; p++)
        for (int64_t i = 0; i + 1 < bpe->pieces[p].size; i++)
            counts[bpe->pieces[p].ids[i] * vocab_size + bpe->pieces[p].ids[i + 1]] = 0;
    *best = (merge){(int32_t)(best_index / vocab_size), (int32_t)(best_index % vocab_size)};
    return most;
}

static void apply_merge(trainer *bpe, merge pair, int32_t id)
{
    for (int64_t p = 0; p < bpe->piece_count; p++) {
        piece *word = &bpe->pieces[p];
        int64_t kept = 0;
        for (int64_t i = 0; i < word->size; i++) {
            const bool merges = i + 1 < word->size && word->ids[i] == pair.first && word->ids[i + 1] == pair.second;
            word->ids[kept++] = merges ? id : word->ids[i];
            i += merges;
        }
        word->size = kept;
    }
}

static eh_status train(trainer *bpe, int64_t vocab_size)
{
    const int64_t first_id = SPECIAL_COUNT + 256;
    EH_TRY(EH_ALLOC(vocab_size - first_id, &bpe->merges));
    int32_t *counts = NULL;
    EH_TRY(EH_ALLOC(vocab_size * vocab_size, &counts));
    merge best = {0};
    while (first_id + bpe->merge_count < vocab_size && best_pair(bpe, counts, vocab_size, &best) > 0) {
        apply_merge(bpe, best, (int32_t)(first_id + bpe->merge_count));
        bpe->merges[bpe->merge_count++] = best;
    }
    eh_free(&counts);
    return EH_OK;
}

// GPT-2's printable stand-in for a byte, as UTF-8: printable Latin-1 stays, the others are U+0100 and up in order.
static void byte_symbol(int byte, char symbol[4])
{
    int code = byte, spare = 0;
    for (int b = 0; b <= byte; b++) {
        const bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        code = printable ? b : 0x100 + spare++;
    }
    const int size = code < 0x80 ? 1 : 2;
    symbol[0] = (char)(size == 1 ? code : 0xc0 | code >> 6);
    symbol[1] = (char)(size == 1 ? 0 : 0x80 | (code & 0x3f));
    symbol[2] = '\0';
}

static void token_text(const trainer *bpe, int32_t id, eh_string *text, eh_status *status)
{
    if (*status != EH_OK)
        return;
    if (id >= SPECIAL_COUNT + 256) {
        token_text(bpe, bpe->merges[id - SPECIAL_COUNT - 256].first, text, status);
        token_text(bpe, bpe->merges[id - SPECIAL_COUNT - 256].second, text, status);
        return;
    }
    char symbol[4] = "";
    if (id < SPECIAL_COUNT)
        *status = eh_string_append_text(text, special_tokens[id]);
    else {
        byte_symbol(id - SPECIAL_COUNT, symbol);
        *status = eh_string_append_text(text, symbol);
    }
}

static eh_status describe_model(const trainer *bpe, json_t *vocab, json_t *merges)
{
    eh_string texts[3] = {0};
    eh_status status = EH_OK;
    for (int32_t id = 0; id < SPECIAL_COUNT + 256 + bpe->merge_count && status == EH_OK; id++) {
        for (int i = 0; i < 3; i++) eh_string_clear(&texts[i]);
        token_text(bpe, id, &texts[0], &status);
        if (status != EH_OK)
            break;
        json_object_set_new(vocab, texts[0].bytes, json_integer(id));
        if (id < SPECIAL_COUNT + 256)
            continue;
        token_text(bpe, bpe->merges[id - SPECIAL_COUNT - 256].first, &texts[1], &status);
        token_text(bpe, bpe->merges[id - SPECIAL_COUNT - 256].second, &texts[2], &status);
        if (status == EH_OK)
            json_array_append_new(merges, json_pack("[ss]", texts[1].bytes, texts[2].bytes));
    }
    for (int i = 0; i < 3; i++) eh_string_deinit(&texts[i]);
    return status;
}

static void add_special(json_t *added, int64_t id, const char *text)
{
    json_array_append_new(added, json_pack("{sI ss sb sb sb sb sb}", "id", (json_int_t)id, "content", text,
                                           "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
}

static void describe_added(const trainer *bpe, json_t *added, json_t *vocab)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) add_special(added, i, special_tokens[i]);
    for (int i = 0; i < LATE_COUNT; i++) {
        const int64_t id = SPECIAL_COUNT + 256 + bpe->merge_count + i;
        char text[32] = "<mask>";
        if (i > 0)
            snprintf(text, sizeof text, "<extra_id_%d>", i - 1);
        add_special(added, id, text);
        json_object_set_new(vocab, text, json_integer(id));
    }
}

static eh_status write_json(const trainer *bpe, const char *path)
{
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array();
    eh_status status = describe_model(bpe, vocab, merges);
    describe_added(bpe, added, vocab);
    json_t *root =
        json_pack("{ss sn sn so sn s{ss s[{ss s{ss} ss sb} {ss sb sb sb}]} s{ss sb sb sb} s{ss sb sb sb} s{ss sn sn sn "
                  "sn sb sb sb "
                  "so so}}",
                  "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer", "pre_tokenizer",
                  "type", "Sequence", "pretokenizers", "type", "Split", "pattern", "Regex", pattern, "behavior",
                  "Isolated", "invert", 0, "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
                  0, "post_processor", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 0, "use_regex", 0,
                  "decoder", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 0, "model",
                  "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                  0, "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merges);
    EH_ASSERT(root != NULL);
    if (status == EH_OK && json_dump_file(root, path, JSON_INDENT(1)) != 0)
        status = eh_error(EH_MACHINE, "%s: writing failed: %s", path, strerror(errno));
    json_decref(root);
    return status;
}

eh_status eh_plant_write_tokenizer(const char *path, const eh_string *text, int64_t vocab_size)
{
    trainer bpe = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, count_pieces(&bpe, text));
    EH_TRY_OR(done, train(&bpe, vocab_size));
    EH_TRY_OR(done, write_json(&bpe, path));
done:
    eh_free(&bpe.pieces);
    eh_free(&bpe.merges);
    return status;
}
