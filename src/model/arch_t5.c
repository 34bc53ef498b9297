// T5 and FLAN-T5 (Raffel et al. 2020; Chung et al. 2022): encoder and decoder, relative position buckets, RMS norms, no
// biases, attention scores that are not scaled; original T5 ties its output to the embedding and uses relu, version 1.1
// does not and has a gated gelu.
#include <math.h>
#include <string.h>

#include "model/arch.h"

static void read_feed_forward(eh_config *config, eh_transformer *t)
{
    const char *kind = eh_config_text(config, "feed_forward_proj", "relu");
    t->gated = strncmp(kind, "gated-", 6) == 0;
    t->wide_feed_output = true; // as transformers keeps `wo` in fp32
    const char *activation = t->gated ? kind + 6 : kind;
    // "gated-gelu" has always meant the tanh form.
    t->activation =
        t->gated && strcmp(activation, "gelu") == 0 ? EH_GELU_TANH : eh_config_activation(config, activation);
}

static void t5_read_config(eh_config *config, eh_transformer *t)
{
    t->hidden_size = eh_config_count(config, "d_model|hidden_size", EH_CONFIG_REQUIRED, 1, 1 << 20);
    t->head_count = eh_config_count(config, "num_heads|num_attention_heads", EH_CONFIG_REQUIRED, 1, 1 << 16);
    t->head_size = eh_config_count(config, "d_kv", EH_CONFIG_REQUIRED, 1, 1 << 16);
    t->inner_size = eh_config_count(config, "d_ff", EH_CONFIG_REQUIRED, 1, 1 << 24);
    t->layer_count[EH_STACK_ENCODER] =
        eh_config_count(config, "num_layers|num_hidden_layers", EH_CONFIG_REQUIRED, 1, 4096);
    t->layer_count[EH_STACK_DECODER] =
        eh_config_count(config, "num_decoder_layers", t->layer_count[EH_STACK_ENCODER], 1, 4096);
    t->norm = EH_RMS_NORM;
    t->norm_eps = (float)eh_config_number(config, "layer_norm_epsilon", 1e-6, 0, 1);
    t->biases = false;
    t->position_bias = EH_RELATIVE_BUCKETS;
    t->bucket_count = (int)eh_config_count(config, "relative_attention_num_buckets", 32, 4, 1 << 16);
    t->bucket_max_distance = (int)eh_config_count(config, "relative_attention_max_distance", 128, 2, 1 << 24);
    t->qkv_layout = EH_QKV_SEPARATE;
    read_feed_forward(config, t);
    t->tied = eh_config_flag(config, "tie_word_embeddings", true);
    t->tied_by_file = true;
    if (t->tied && eh_config_flag(config, "scale_decoder_outputs", true))
        t->output_scale = 1 / sqrtf((float)t->hidden_size);
    const float dropout = (float)eh_config_number(config, "dropout_rate", 0.1, 0, 0.99);
    t->embedding_dropout = t->attention_dropout = t->hidden_dropout = t->inner_dropout = t->final_dropout = dropout;
    t->initial_std = (float)eh_config_number(config, "initializer_factor", 1, 0, 100);
    if (t->special.decoder_start < 0)
        t->special.decoder_start = t->special.pad;
}

static const char *stack_tensor_name(eh_stack stack, eh_role role)
{
    const bool decodes = stack == EH_STACK_DECODER;
    switch (role) {
    case EH_RELATIVE_BIAS:
        return decodes ? "decoder.block.0.layer.0.SelfAttention.relative_attention_bias"
                       : "encoder.block.0.layer.0.SelfAttention.relative_attention_bias";
    case EH_ATTENTION_NORM:
        return decodes ? "decoder.block.#.layer.0.layer_norm" : "encoder.block.#.layer.0.layer_norm";
    case EH_ATTENTION_QUERY:
        return decodes ? "decoder.block.#.layer.0.SelfAttention.q" : "encoder.block.#.layer.0.SelfAttention.q";
    case EH_ATTENTION_KEY:
        return decodes ? "decoder.block.#.layer.0.SelfAttention.k" : "encoder.block.#.layer.0.SelfAttention.k";
    case EH_ATTENTION_VALUE:
        return decodes ? "decoder.block.#.layer.0.SelfAttention.v" : "encoder.block.#.layer.0.SelfAttention.v";
    case EH_ATTENTION_OUTPUT:
        return decodes ? "decoder.block.#.layer.0.SelfAttention.o" : "encoder.block.#.layer.0.SelfAttention.o";
    case EH_FEED_NORM:
        return decodes ? "decoder.block.#.layer.2.layer_norm" : "encoder.block.#.layer.1.layer_norm";
    case EH_FEED_OUTPUT:
        return decodes ? "decoder.block.#.layer.2.DenseReluDense.wo" : "encoder.block.#.layer.1.DenseReluDense.wo";
    case EH_FEED_GATE:
        return decodes ? "decoder.block.#.layer.2.DenseReluDense.wi_1" : "encoder.block.#.layer.1.DenseReluDense.wi_1";
    case EH_FINAL_NORM:
        return decodes ? "decoder.final_layer_norm" : "encoder.final_layer_norm";
    default:
        return NULL;
    }
}

static const char *inner_tensor_name(const eh_transformer *t, eh_stack stack)
{
    if (stack == EH_STACK_DECODER)
        return t->gated ? "decoder.block.#.layer.2.DenseReluDense.wi_0" : "decoder.block.#.layer.2.DenseReluDense.wi";
    return t->gated ? "encoder.block.#.layer.1.DenseReluDense.wi_0" : "encoder.block.#.layer.1.DenseReluDense.wi";
}

static const char *t5_tensor_name(const eh_transformer *t, eh_stack stack, eh_role role)
{
    switch (role) {
    case EH_TOKEN_EMBEDDING:
        return "shared";
    case EH_CROSS_NORM:
        return "decoder.block.#.layer.1.layer_norm";
    case EH_CROSS_QUERY:
        return "decoder.block.#.layer.1.EncDecAttention.q";
    case EH_CROSS_KEY:
        return "decoder.block.#.layer.1.EncDecAttention.k";
    case EH_CROSS_VALUE:
        return "decoder.block.#.layer.1.EncDecAttention.v";
    case EH_CROSS_OUTPUT:
        return "decoder.block.#.layer.1.EncDecAttention.o";
    case EH_FEED_INNER:
        return inner_tensor_name(t, stack);
    case EH_OUTPUT:
        return "lm_head";
    default:
        return stack_tensor_name(stack, role);
    }
}

static float t5_initial_std(const eh_transformer *t, eh_role role)
{
    const float hidden = (float)t->hidden_size, heads = (float)(t->head_count * t->head_size);
    switch (role) {
    case EH_TOKEN_EMBEDDING:
    case EH_OUTPUT:
        return t->initial_std;
    case EH_ATTENTION_QUERY:
    case EH_CROSS_QUERY:
        return t->initial_std / sqrtf(hidden * (float)t->head_size);
    case EH_ATTENTION_OUTPUT:
    case EH_CROSS_OUTPUT:
        return t->initial_std / sqrtf(heads);
    case EH_FEED_OUTPUT:
        return t->initial_std / sqrtf((float)t->inner_size);
    default:
        return t->initial_std / sqrtf(hidden);
    }
}

static const eh_arch_class classes[] = {
    {"T5ForConditionalGeneration", EH_HEAD_SEQ2SEQ, NULL}, {"T5WithLMHeadModel", EH_HEAD_SEQ2SEQ, NULL}, {0}};
static const char *const ignored[] = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight",
                                      "EncDecAttention.relative_attention_bias.weight", NULL};

const eh_arch eh_arch_t5 = {
    .model_type = "t5",
    .kind = EH_ENCODER_DECODER,
    .classes = classes,
    .read_config = t5_read_config,
    .tensor_name = t5_tensor_name,
    .prefix = "",
    .ignored = ignored,
    .lora_targets = "q,v",
    .initial_std = t5_initial_std,
};
