// Which of a model's own parameters learn (train.freeze), by groups and patterns of their names.
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "model/model_internal.h"

static bool contains_any(const char *name, const char *const *parts)
{
    for (; *parts; parts++)
        if (strstr(name, *parts))
            return true;
    return false;
}

static bool is_norm(const char *name)
{
    static const char *const parts[] = {"layernorm", "layer_norm", "LayerNorm", ".ln_", NULL};
    return contains_any(name, parts);
}

static bool is_position(const char *name)
{
    static const char *const parts[] = {".wpe.", "position_embeddings", "embed_positions", "relative_attention_bias",
                                        NULL};
    return contains_any(name, parts);
}

static bool is_embedding(const char *name)
{
    static const char *const parts[] = {"word_embeddings.",      ".wte.", "shared.", "embed_tokens.",
                                        "token_type_embeddings", NULL};
    return contains_any(name, parts) && !is_norm(name);
}

static bool is_output(const char *name)
{
    static const char *const parts[] = {"lm_head.", "cls.", "classifier.", "score.", NULL};
    return contains_any(name, parts) && !is_norm(name);
}

// The number of the block that a weight belongs to, from the first number in its name; -1 if it is in none.
static int64_t block_of(const char *name)
{
    static const char *const lists[] = {".h.", ".block.", ".layer.", ".layers."};
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        const char *at = strstr(name, lists[l]);
        if (at && at[strlen(lists[l])] >= '0' && at[strlen(lists[l])] <= '9')
            return strtoll(at + strlen(lists[l]), NULL, 10);
    }
    return -1;
}

// Blocks of an encoder and a decoder are counted apart.
static int64_t block_count(const eh_layout *layout, const char *name)
{
    const bool decoder = strncmp(name, "decoder.", 8) == 0;
    int64_t count = 0;
    for (int64_t p = 0; p < layout->count; p++) {
        const char *other = layout->parameters[p].name;
        if ((strncmp(other, "decoder.", 8) == 0) == decoder && block_of(other) >= count)
            count = block_of(other) + 1;
    }
    return count;
}

static bool fits(const eh_layout *layout, const char *word, const char *name)
{
    if (strcmp(word, "norms") == 0)
        return is_norm(name);
    if (strcmp(word, "positions") == 0)
        return is_position(name);
    if (strcmp(word, "embeddings") == 0)
        return is_embedding(name);
    if (strcmp(word, "output") == 0)
        return is_output(name);
    if (strcmp(word, "body") == 0)
        return !is_embedding(name) && !is_position(name) && !is_output(name);
    if (strncmp(word, "top-", 4) == 0 && word[4] >= '0' && word[4] <= '9')
        return block_of(name) >= 0 && block_of(name) >= block_count(layout, name) - strtoll(word + 4, NULL, 10);
    return fnmatch(word, name, 0) == 0;
}

// `words`: NUL after each, an empty one at the end.
static bool learns(const eh_layout *layout, const char *words, const char *name)
{
    for (const char *word = words; *word; word += strlen(word) + 1)
        if (fits(layout, word, name))
            return true;
    return false;
}

static eh_status check_words(const eh_layout *layout, const char *words)
{
    for (const char *word = words; *word; word += strlen(word) + 1) {
        bool found = false;
        for (int64_t p = 0; !found && p < layout->count; p++) found = fits(layout, word, layout->parameters[p].name);
        if (!found)
            return eh_error(
                EH_INPUT,
                "train.freeze: '%s' fits no weight of this model: norms, positions, embeddings, output, body, "
                "top-K, or a pattern such as '*.h.1.*', joined by '+'",
                word);
    }
    return EH_OK;
}

eh_status eh_layout_freeze(const char *learning, eh_layout *layout)
{
    char *words = NULL;
    const size_t length = strlen(learning);
    EH_TRY(EH_ALLOC((int64_t)length + 2, &words));
    for (size_t i = 0, end = 0; i < length; i++) // empty words, as in "norms++top-1", are left out
        if (learning[i] != '+')
            words[end++] = learning[i];
        else if (end > 0 && words[end - 1] != '\0')
            end++;
    const eh_status status = check_words(layout, words);
    for (int64_t p = 0; status == EH_OK && p < layout->count; p++)
        layout->parameters[p].trains = learns(layout, words, layout->parameters[p].name);
    eh_free(&words);
    return status;
}
