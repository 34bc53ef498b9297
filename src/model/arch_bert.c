// BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): encoders with norms behind the residual sum and learned
// positions. They differ in where positions start, in token types that are used, and in their heads' names.
#include <math.h>
#include <string.h>

#include "model/arch.h"

static int64_t count_labels(eh_config *config)
{
    const json_t *labels = json_object_get(config->root, "id2label");
    if (json_is_object(labels) && json_object_size(labels) > 0)
        return (int64_t)json_object_size(labels);
    return eh_config_count(config, "num_labels", 2, 1, 1 << 20);
}

static void read_head(eh_config *config, eh_transformer *t)
{
    t->head_dense = true;
    if (t->head == EH_HEAD_MASKED) {
        t->head_norm = t->output_bias = true;
        t->head_activation = t->activation;
        // Untied, transformers reads another bias than the one that its older versions wrote.
        eh_config_only_flag(config, "tie_word_embeddings", true);
    } else {
        t->tied = false;
        t->head_activation = EH_TANH;
        t->label_count = t->head == EH_HEAD_NEXT_SENTENCE ? 2 : count_labels(config);
        t->head_dropout = (float)eh_config_number(config, "classifier_dropout", t->hidden_dropout, 0, 0.99);
    }
}

static void bert_read_config(eh_config *config, eh_transformer *t)
{
    t->hidden_size = eh_config_count(config, "hidden_size", EH_CONFIG_REQUIRED, 1, 1 << 20);
    t->head_count = eh_config_count(config, "num_attention_heads", EH_CONFIG_REQUIRED, 1, 1 << 16);
    t->layer_count[EH_STACK_ENCODER] = eh_config_count(config, "num_hidden_layers", EH_CONFIG_REQUIRED, 1, 4096);
    if (t->hidden_size % t->head_count != 0)
        eh_config_fail(config, "num_attention_heads", "does not divide the hidden size");
    t->head_size = t->hidden_size / t->head_count;
    t->inner_size = eh_config_count(config, "intermediate_size", EH_CONFIG_REQUIRED, 1, 1 << 24);
    t->position_count = eh_config_count(config, "max_position_embeddings", 512, 1, 1 << 24);
    t->type_count = eh_config_count(config, "type_vocab_size", 2, 1, 256);
    t->norm = EH_LAYER_NORM;
    t->norm_eps = (float)eh_config_number(config, "layer_norm_eps", 1e-12, 0, 1);
    t->norm_first = false;
    t->embedding_norm = true;
    t->attention_scale = 1 / sqrtf((float)t->head_size);
    t->activation = eh_config_activation(config, eh_config_text(config, "hidden_act", "gelu"));
    t->qkv_layout = EH_QKV_SEPARATE;
    t->hidden_dropout = (float)eh_config_number(config, "hidden_dropout_prob", 0.1, 0, 0.99);
    t->embedding_dropout = t->hidden_dropout;
    t->attention_dropout = (float)eh_config_number(config, "attention_probs_dropout_prob", 0.1, 0, 0.99);
    eh_config_only_flag(config, "is_decoder", false);
    if (strcmp(eh_config_text(config, "position_embedding_type", "absolute"), "absolute") != 0)
        eh_config_fail(config, "position_embedding_type", "only \"absolute\" is supported");
    read_head(config, t);
}

static void roberta_read_config(eh_config *config, eh_transformer *t)
{
    bert_read_config(config, t);
    t->position_offset = (t->special.pad < 0 ? 1 : t->special.pad) + 1; // padding has the row before
    if (t->position_offset >= t->position_count)
        eh_config_fail(config, "max_position_embeddings", "leaves no positions behind that of padding");
}

static const char *encoder_tensor_name(eh_role role) // behind "bert." or "roberta."
{
    switch (role) {
    case EH_TOKEN_EMBEDDING:
        return "~embeddings.word_embeddings";
    case EH_POSITION_EMBEDDING:
        return "~embeddings.position_embeddings";
    case EH_TYPE_EMBEDDING:
        return "~embeddings.token_type_embeddings";
    case EH_EMBEDDING_NORM:
        return "~embeddings.LayerNorm";
    case EH_ATTENTION_QUERY:
        return "~encoder.layer.#.attention.self.query";
    case EH_ATTENTION_KEY:
        return "~encoder.layer.#.attention.self.key";
    case EH_ATTENTION_VALUE:
        return "~encoder.layer.#.attention.self.value";
    case EH_ATTENTION_OUTPUT:
        return "~encoder.layer.#.attention.output.dense";
    case EH_ATTENTION_NORM:
        return "~encoder.layer.#.attention.output.LayerNorm";
    case EH_FEED_INNER:
        return "~encoder.layer.#.intermediate.dense";
    case EH_FEED_OUTPUT:
        return "~encoder.layer.#.output.dense";
    case EH_FEED_NORM:
        return "~encoder.layer.#.output.LayerNorm";
    default:
        return NULL;
    }
}

static const char *bert_tensor_name(const eh_transformer *t, eh_stack stack, eh_role role)
{
    (void)stack;
    const bool masked = t->head == EH_HEAD_MASKED;
    switch (role) {
    case EH_HEAD_DENSE:
        return masked ? "cls.predictions.transform.dense" : "~pooler.dense";
    case EH_HEAD_NORM:
        return "cls.predictions.transform.LayerNorm";
    case EH_OUTPUT_BIAS:
        return "cls.predictions.bias";
    case EH_OUTPUT:
        return t->head == EH_HEAD_NEXT_SENTENCE ? "cls.seq_relationship" : "classifier";
    default:
        return encoder_tensor_name(role);
    }
}

static const char *roberta_tensor_name(const eh_transformer *t, eh_stack stack, eh_role role)
{
    (void)stack;
    const bool masked = t->head == EH_HEAD_MASKED;
    switch (role) {
    case EH_HEAD_DENSE:
        return masked ? "lm_head.dense" : "classifier.dense";
    case EH_HEAD_NORM:
        return "lm_head.layer_norm";
    case EH_OUTPUT_BIAS:
        return "lm_head.bias";
    case EH_OUTPUT:
        return "classifier.out_proj";
    default:
        return encoder_tensor_name(role);
    }
}

static const char *const bert_kept[] = {"~pooler.dense.weight", "~pooler.dense.bias", "cls.seq_relationship.weight",
                                        "cls.seq_relationship.bias", NULL};
static const eh_arch_class bert_classes[] = {{"BertForMaskedLM", EH_HEAD_MASKED, bert_kept},
                                             {"BertForPreTraining", EH_HEAD_MASKED, bert_kept},
                                             {"BertForNextSentencePrediction", EH_HEAD_NEXT_SENTENCE, NULL},
                                             {"BertForSequenceClassification", EH_HEAD_CLASSIFY, NULL},
                                             {0}};
static const char *const bert_ignored[] = {".position_ids",
                                           "pooler.dense.weight",
                                           "pooler.dense.bias",
                                           "cls.predictions.decoder.weight",
                                           "cls.predictions.decoder.bias",
                                           "cls.predictions.bias",
                                           "cls.predictions.transform.dense.weight",
                                           "cls.predictions.transform.dense.bias",
                                           "cls.predictions.transform.LayerNorm.weight",
                                           "cls.predictions.transform.LayerNorm.bias",
                                           "cls.seq_relationship.weight",
                                           "cls.seq_relationship.bias",
                                           NULL};
const eh_arch eh_arch_bert = {
    .model_type = "bert",
    .kind = EH_ENCODER,
    .classes = bert_classes,
    .read_config = bert_read_config,
    .tensor_name = bert_tensor_name,
    .prefix = "bert.",
    .ignored = bert_ignored,
    .lora_targets = "query,value",
};

static const eh_arch_class roberta_classes[] = {
    {"RobertaForMaskedLM", EH_HEAD_MASKED, NULL}, {"RobertaForSequenceClassification", EH_HEAD_CLASSIFY, NULL}, {0}};
static const char *const roberta_ignored[] = {".position_ids",          "pooler.dense.weight",  "pooler.dense.bias",
                                              "lm_head.decoder.weight", "lm_head.decoder.bias", NULL};
const eh_arch eh_arch_roberta = {
    .model_type = "roberta",
    .kind = EH_ENCODER,
    .classes = roberta_classes,
    .read_config = roberta_read_config,
    .tensor_name = roberta_tensor_name,
    .prefix = "roberta.",
    .ignored = roberta_ignored,
    .lora_targets = "query,value",
};
