// GPT-2 (Radford et al. 2019): a decoder with learned positions; its matrices are stored [in, out].
#include <math.h>

#include "model/arch.h"

static void gpt2_read_config(eh_config *config, eh_transformer *t)
{
    t->hidden_size = eh_config_count(config, "n_embd|hidden_size", EH_CONFIG_REQUIRED, 1, 1 << 20);
    t->head_count = eh_config_count(config, "n_head|num_attention_heads", EH_CONFIG_REQUIRED, 1, 1 << 16);
    t->layer_count[EH_STACK_DECODER] =
        eh_config_count(config, "n_layer|num_hidden_layers", EH_CONFIG_REQUIRED, 1, 4096);
    if (t->hidden_size % t->head_count != 0)
        eh_config_fail(config, "n_head", "does not divide the hidden size");
    t->head_size = t->hidden_size / t->head_count;
    t->inner_size = eh_config_count(config, "n_inner", 4 * t->hidden_size, 1, 1 << 24);
    t->position_count = eh_config_count(config, "n_positions|max_position_embeddings", 1024, 1, 1 << 24);
    t->norm = EH_LAYER_NORM;
    t->norm_eps = (float)eh_config_number(config, "layer_norm_epsilon", 1e-5, 0, 1);
    t->attention_scale = eh_config_flag(config, "scale_attn_weights", true) ? 1 / sqrtf((float)t->head_size) : 1;
    t->activation = eh_config_activation(config, eh_config_text(config, "activation_function", "gelu_new"));
    t->qkv_layout = EH_QKV_SIDE_BY_SIDE;
    t->weights_in_out = true;
    t->tied = eh_config_flag(config, "tie_word_embeddings", true);
    t->embedding_dropout = (float)eh_config_number(config, "embd_pdrop", 0.1, 0, 0.99);
    t->hidden_dropout = (float)eh_config_number(config, "resid_pdrop", 0.1, 0, 0.99);
    t->attention_dropout = (float)eh_config_number(config, "attn_pdrop", 0.1, 0, 0.99);
    eh_config_only_flag(config, "add_cross_attention", false);
    eh_config_only_flag(config, "scale_attn_by_inverse_layer_idx", false);
}

static const char *gpt2_tensor_name(const eh_transformer *t, eh_stack stack, eh_role role)
{
    (void)t, (void)stack;
    switch (role) {
    case EH_TOKEN_EMBEDDING:
        return "transformer.wte";
    case EH_POSITION_EMBEDDING:
        return "transformer.wpe";
    case EH_ATTENTION_NORM:
        return "transformer.h.#.ln_1";
    case EH_ATTENTION_QKV:
        return "transformer.h.#.attn.c_attn";
    case EH_ATTENTION_OUTPUT:
        return "transformer.h.#.attn.c_proj";
    case EH_FEED_NORM:
        return "transformer.h.#.ln_2";
    case EH_FEED_INNER:
        return "transformer.h.#.mlp.c_fc";
    case EH_FEED_OUTPUT:
        return "transformer.h.#.mlp.c_proj";
    case EH_FINAL_NORM:
        return "transformer.ln_f";
    case EH_OUTPUT:
        return "lm_head";
    default:
        return NULL;
    }
}

// The layers that write into the residual stream start smaller, by the root of their number.
static float gpt2_initial_std(const eh_transformer *t, eh_role role)
{
    const bool writes = role == EH_ATTENTION_OUTPUT || role == EH_FEED_OUTPUT;
    return writes ? t->initial_std / sqrtf(2 * (float)t->layer_count[EH_STACK_DECODER]) : t->initial_std;
}

static const eh_arch_class classes[] = {{"GPT2LMHeadModel", EH_HEAD_CAUSAL, NULL}, {0}};
static const char *const ignored[] = {".attn.bias", ".attn.masked_bias", "lm_head.weight", NULL};

const eh_arch eh_arch_gpt2 = {
    .model_type = "gpt2",
    .kind = EH_DECODER,
    .classes = classes,
    .read_config = gpt2_read_config,
    .tensor_name = gpt2_tensor_name,
    .prefix = "transformer.",
    .ignored = ignored,
    .lora_targets = "c_attn",
    .initial_std = gpt2_initial_std,
};
