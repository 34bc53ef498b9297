// OPT (Zhang et al. 2022): a decoder with learned positions, of which the first two rows are not used, and relu. The
// 350m's norms behind the sum and its narrower embeddings are refused.
#include <math.h>

#include "model/arch.h"

#define UNUSED_POSITIONS 2

static void opt_read_config(eh_config *config, eh_transformer *t)
{
    t->hidden_size = eh_config_count(config, "hidden_size", EH_CONFIG_REQUIRED, 1, 1 << 20);
    t->head_count = eh_config_count(config, "num_attention_heads", EH_CONFIG_REQUIRED, 1, 1 << 16);
    t->layer_count[EH_STACK_DECODER] = eh_config_count(config, "num_hidden_layers", EH_CONFIG_REQUIRED, 1, 4096);
    if (t->hidden_size % t->head_count != 0)
        eh_config_fail(config, "num_attention_heads", "does not divide the hidden size");
    t->head_size = t->hidden_size / t->head_count;
    t->inner_size = eh_config_count(config, "ffn_dim", EH_CONFIG_REQUIRED, 1, 1 << 24);
    t->position_offset = UNUSED_POSITIONS;
    t->position_count = UNUSED_POSITIONS + eh_config_count(config, "max_position_embeddings", 2048, 1, 1 << 24);
    t->norm = EH_LAYER_NORM;
    t->norm_eps = 1e-5f;
    t->attention_scale = 1 / sqrtf((float)t->head_size);
    t->activation = eh_config_activation(config, eh_config_text(config, "activation_function", "relu"));
    t->qkv_layout = EH_QKV_SEPARATE;
    t->biases = eh_config_flag(config, "enable_bias", true);
    t->tied = eh_config_flag(config, "tie_word_embeddings", true);
    t->hidden_dropout = (float)eh_config_number(config, "dropout", 0.1, 0, 0.99);
    t->attention_dropout = (float)eh_config_number(config, "attention_dropout", 0, 0, 0.99);
    t->initial_std = (float)eh_config_number(config, "init_std", 0.02, 0, 100);
    if (eh_config_count(config, "word_embed_proj_dim", t->hidden_size, 1, 1 << 20) != t->hidden_size)
        eh_config_fail(config, "word_embed_proj_dim", "only the hidden size is supported");
    if (eh_config_number(config, "layerdrop", 0, 0, 1) != 0)
        eh_config_fail(config, "layerdrop", "only 0 is supported");
    eh_config_only_flag(config, "do_layer_norm_before", true);
    eh_config_only_flag(config, "_remove_final_layer_norm", false);
    eh_config_only_flag(config, "layer_norm_elementwise_affine", true);
}

static const char *opt_tensor_name(const eh_transformer *t, eh_stack stack, eh_role role)
{
    (void)t, (void)stack;
    switch (role) {
    case EH_TOKEN_EMBEDDING:
        return "model.decoder.embed_tokens";
    case EH_POSITION_EMBEDDING:
        return "model.decoder.embed_positions";
    case EH_ATTENTION_NORM:
        return "model.decoder.layers.#.self_attn_layer_norm";
    case EH_ATTENTION_QUERY:
        return "model.decoder.layers.#.self_attn.q_proj";
    case EH_ATTENTION_KEY:
        return "model.decoder.layers.#.self_attn.k_proj";
    case EH_ATTENTION_VALUE:
        return "model.decoder.layers.#.self_attn.v_proj";
    case EH_ATTENTION_OUTPUT:
        return "model.decoder.layers.#.self_attn.out_proj";
    case EH_FEED_NORM:
        return "model.decoder.layers.#.final_layer_norm";
    case EH_FEED_INNER:
        return "model.decoder.layers.#.fc1";
    case EH_FEED_OUTPUT:
        return "model.decoder.layers.#.fc2";
    case EH_FINAL_NORM:
        return "model.decoder.final_layer_norm";
    case EH_OUTPUT:
        return "lm_head";
    default:
        return NULL;
    }
}

static const eh_arch_class classes[] = {{"OPTForCausalLM", EH_HEAD_CAUSAL, NULL}, {0}};
static const char *const ignored[] = {"lm_head.weight", NULL};

const eh_arch eh_arch_opt = {
    .model_type = "opt",
    .kind = EH_DECODER,
    .classes = classes,
    .read_config = opt_read_config,
    .tensor_name = opt_tensor_name,
    .prefix = "model.",
    .ignored = ignored,
    .lora_targets = "q_proj,v_proj",
};
