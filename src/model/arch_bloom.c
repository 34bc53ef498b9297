// BLOOM and BLOOMZ (Scao et al. 2022): a decoder with ALiBi, a norm behind the embedding, and queries, keys and values
// side by side for each head.
#include <math.h>

#include "model/arch.h"

static void bloom_read_config(eh_config *config, eh_transformer *t)
{
    t->hidden_size = eh_config_count(config, "n_embed|hidden_size", EH_CONFIG_REQUIRED, 1, 1 << 20);
    t->head_count = eh_config_count(config, "n_head|num_attention_heads", EH_CONFIG_REQUIRED, 1, 1 << 16);
    t->layer_count[EH_STACK_DECODER] =
        eh_config_count(config, "n_layer|num_hidden_layers", EH_CONFIG_REQUIRED, 1, 4096);
    if (t->hidden_size % t->head_count != 0)
        eh_config_fail(config, "n_head", "does not divide the hidden size");
    t->head_size = t->hidden_size / t->head_count;
    t->inner_size = 4 * t->hidden_size;
    t->norm = EH_LAYER_NORM;
    t->norm_eps = (float)eh_config_number(config, "layer_norm_epsilon", 1e-5, 0, 1);
    t->embedding_norm = true;
    t->position_bias = EH_ALIBI;
    t->attention_scale = 1 / sqrtf((float)t->head_size);
    t->activation = EH_GELU_TANH;
    t->qkv_layout = EH_QKV_PER_HEAD;
    t->tied = eh_config_flag(config, "tie_word_embeddings", true);
    t->hidden_dropout = (float)eh_config_number(config, "hidden_dropout", 0, 0, 0.99);
    t->attention_dropout = (float)eh_config_number(config, "attention_dropout", 0, 0, 0.99);
    eh_config_only_flag(config, "apply_residual_connection_post_layernorm", false);
}

static const char *bloom_tensor_name(const eh_transformer *t, eh_stack stack, eh_role role)
{
    (void)t, (void)stack;
    switch (role) {
    case EH_TOKEN_EMBEDDING:
        return "transformer.word_embeddings";
    case EH_EMBEDDING_NORM:
        return "transformer.word_embeddings_layernorm";
    case EH_ATTENTION_NORM:
        return "transformer.h.#.input_layernorm";
    case EH_ATTENTION_QKV:
        return "transformer.h.#.self_attention.query_key_value";
    case EH_ATTENTION_OUTPUT:
        return "transformer.h.#.self_attention.dense";
    case EH_FEED_NORM:
        return "transformer.h.#.post_attention_layernorm";
    case EH_FEED_INNER:
        return "transformer.h.#.mlp.dense_h_to_4h";
    case EH_FEED_OUTPUT:
        return "transformer.h.#.mlp.dense_4h_to_h";
    case EH_FINAL_NORM:
        return "transformer.ln_f";
    case EH_OUTPUT:
        return "lm_head";
    default:
        return NULL;
    }
}

static const eh_arch_class classes[] = {{"BloomForCausalLM", EH_HEAD_CAUSAL, NULL}, {0}};
static const char *const ignored[] = {"lm_head.weight", NULL};

const eh_arch eh_arch_bloom = {
    .model_type = "bloom",
    .kind = EH_DECODER,
    .classes = classes,
    .read_config = bloom_read_config,
    .tensor_name = bloom_tensor_name,
    .prefix = "transformer.",
    .ignored = ignored,
    .lora_targets = "query_key_value",
};
