#include "train/freeze.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

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
    static const char *const parts[] = {".wpe.", "position_embeddings", "relative_attention_bias", NULL};
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
static int64_t block_count(const eh_model *model, const char *name)
{
    const bool decoder = strncmp(name, "decoder.", 8) == 0;
    int64_t count = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const char *other = eh_model_parameters(model)[p].name;
        if ((strncmp(other, "decoder.", 8) == 0) == decoder && block_of(other) >= count)
            count = block_of(other) + 1;
    }
    return count;
}

static bool fits(const eh_model *model, const char *word, const char *name)
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
        return block_of(name) >= 0 && block_of(name) >= block_count(model, name) - strtoll(word + 4, NULL, 10);
    return fnmatch(word, name, 0) == 0;
}

typedef struct {
    const eh_model *model;
    char *words; // NUL after each, an empty one at the end
} freeze_context;

static bool learns(void *context, const eh_parameter *parameter)
{
    const freeze_context *freeze = context;
    for (const char *word = freeze->words; *word; word += strlen(word) + 1)
        if (fits(freeze->model, word, parameter->name))
            return true;
    return false;
}

static eh_status check_words(const freeze_context *freeze)
{
    for (const char *word = freeze->words; *word; word += strlen(word) + 1) {
        bool found = false;
        for (int64_t p = 0; !found && p < eh_model_parameter_count(freeze->model); p++)
            found = fits(freeze->model, word, eh_model_parameters(freeze->model)[p].name);
        if (!found)
            return eh_error(
                EH_INPUT,
                "train.freeze: '%s' fits no weight of this model: norms, positions, embeddings, output, body, "
                "top-K, or a pattern such as '*.h.1.*', joined by '+'",
                word);
    }
    return EH_OK;
}

eh_status eh_freeze(const eh_job_train *train, eh_model *model)
{
    if (strcmp(train->method, "freeze") != 0)
        return EH_OK;
    if (train->freeze == NULL || train->freeze[0] == '\0')
        return eh_error(EH_INPUT,
                        "train.method is freeze: say in train.freeze which weights learn, such as norms+positions");
    freeze_context freeze = {.model = model};
    const size_t length = strlen(train->freeze);
    EH_TRY(EH_ALLOC((int64_t)length + 2, &freeze.words));
    for (size_t i = 0, end = 0; i < length; i++) // empty words, as in "norms++top-1", are left out
        if (train->freeze[i] != '+')
            freeze.words[end++] = train->freeze[i];
        else if (end > 0 && freeze.words[end - 1] != '\0')
            end++;
    eh_status status = check_words(&freeze);
    if (status == EH_OK)
        status = eh_model_train_only(model, learns, &freeze);
    eh_free(&freeze.words);
    return status;
}
