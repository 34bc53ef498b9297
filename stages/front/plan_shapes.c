// The shapes of published models, as their config.json gives them, so that a plan can be made before anything is
// downloaded. From the models' pages on the Hugging Face hub (bigscience, google, openai-community, google-bert,
// FacebookAI).
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "plan.h"

typedef struct {
    const char *name; // the last part of model.path
    const char *config;
} shape;

#define BLOOM(hidden, blocks, heads)                                                                          \
    "{\"model_type\": \"bloom\", \"vocab_size\": 250880, \"hidden_size\": " #hidden ", \"n_layer\": " #blocks \
    ", \"n_head\": " #heads "}"
#define FLAN_T5(width, key, inner, blocks, heads)                                                                    \
    "{\"model_type\": \"t5\", \"vocab_size\": 32128, \"d_model\": " #width ", \"d_kv\": " #key ", \"d_ff\": " #inner \
    ", \"num_layers\": " #blocks ", \"num_decoder_layers\": " #blocks ", \"num_heads\": " #heads                     \
    ", \"feed_forward_proj\": \"gated-gelu\", \"tie_word_embeddings\": false}"
#define GPT2(width, blocks, heads)                                                                 \
    "{\"model_type\": \"gpt2\", \"vocab_size\": 50257, \"n_positions\": 1024, \"n_embd\": " #width \
    ", \"n_layer\": " #blocks ", \"n_head\": " #heads "}"
#define BERT(type, words, positions, kinds, width, blocks, heads, inner)                                  \
    "{\"model_type\": \"" type "\", \"vocab_size\": " #words ", \"max_position_embeddings\": " #positions \
    ", \"type_vocab_size\": " #kinds ", \"hidden_size\": " #width ", \"num_hidden_layers\": " #blocks     \
    ", \"num_attention_heads\": " #heads ", \"intermediate_size\": " #inner "}"

static const shape shapes[] = {
    {"bloomz-560m", BLOOM(1024, 24, 16)},
    {"bloomz-1b1", BLOOM(1536, 24, 16)},
    {"bloomz-1b7", BLOOM(2048, 24, 16)},
    {"bloomz-3b", BLOOM(2560, 30, 32)},
    {"bloomz-7b1", BLOOM(4096, 30, 32)},
    {"bloomz", BLOOM(14336, 70, 112)},
    {"flan-t5-small", FLAN_T5(512, 64, 1024, 8, 6)},
    {"flan-t5-base", FLAN_T5(768, 64, 2048, 12, 12)},
    {"flan-t5-large", FLAN_T5(1024, 64, 2816, 24, 16)},
    {"flan-t5-xl", FLAN_T5(2048, 64, 5120, 24, 32)},
    {"flan-t5-xxl", FLAN_T5(4096, 64, 10240, 24, 64)},
    {"gpt2", GPT2(768, 12, 12)},
    {"gpt2-medium", GPT2(1024, 24, 16)},
    {"gpt2-large", GPT2(1280, 36, 20)},
    {"gpt2-xl", GPT2(1600, 48, 25)},
    {"bert-base-uncased", BERT("bert", 30522, 512, 2, 768, 12, 12, 3072)},
    {"bert-large-uncased", BERT("bert", 30522, 512, 2, 1024, 24, 16, 4096)},
    {"roberta-base", BERT("roberta", 50265, 514, 1, 768, 12, 12, 3072)},
    {"roberta-large", BERT("roberta", 50265, 514, 1, 1024, 24, 16, 4096)},
};

bool eh_plan_published_shape(const char *folder, const char **config)
{
    const char *slash = strrchr(folder, '/'), *name = slash == NULL ? folder : slash + 1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0) {
            *config = shapes[i].config;
            return true;
        }
    return false;
}
