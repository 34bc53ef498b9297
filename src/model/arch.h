// What tells one transformer from another: a description that src/model/arch_<name>.c fills in from config.json, and
// the names of its tensors. Nothing here knows how attention works, and transformer code never asks which model it is.
#ifndef EH_MODEL_ARCH_H
#define EH_MODEL_ARCH_H

#include <jansson.h>

#include "model/model.h"

typedef enum { EH_STACK_ENCODER, EH_STACK_DECODER } eh_stack;
#define EH_STACK_COUNT 2

// What a parameter is for. Each has a weight and, where the description says so, a bias.
typedef enum {
    EH_TOKEN_EMBEDDING,
    EH_POSITION_EMBEDDING,
    EH_TYPE_EMBEDDING,
    EH_EMBEDDING_NORM,
    EH_RELATIVE_BIAS, // of the stack's first layer, used by all of its layers
    EH_ATTENTION_NORM,
    EH_ATTENTION_QKV, // one product; or these three
    EH_ATTENTION_QUERY,
    EH_ATTENTION_KEY,
    EH_ATTENTION_VALUE,
    EH_ATTENTION_OUTPUT,
    EH_CROSS_NORM,
    EH_CROSS_QUERY,
    EH_CROSS_KEY,
    EH_CROSS_VALUE,
    EH_CROSS_OUTPUT,
    EH_FEED_NORM,
    EH_FEED_INNER,
    EH_FEED_GATE,
    EH_FEED_OUTPUT,
    EH_FINAL_NORM,
    EH_HEAD_DENSE, // masked models' transform, classifiers' pooler
    EH_HEAD_NORM,
    EH_OUTPUT,      // untied output layer, classifier
    EH_OUTPUT_BIAS, // of a tied output layer; its name is complete
    EH_ADAPTER_A,   // of a linear layer, [rank, inputs]; no architecture names them
    EH_ADAPTER_B,   // [outputs, rank]
    EH_ROLE_COUNT
} eh_role;

// How the columns of a token's queries, keys and values lie beside each other.
typedef enum {
    EH_QKV_PER_HEAD,     // [heads, 3, head_size], one weight (BLOOM)
    EH_QKV_SIDE_BY_SIDE, // [3, heads, head_size], one weight (GPT-2)
    EH_QKV_SEPARATE      // the same, three weights (BERT, T5)
} eh_qkv_layout;

typedef struct {
    eh_model_kind kind;
    eh_head head;
    int64_t vocab_size, hidden_size, head_count, head_size, inner_size;
    int64_t layer_count[EH_STACK_COUNT];     // 0: the model has no such stack
    int64_t position_count, position_offset; // rows of the learned positions (0: none); the first token's row
    int64_t type_count;                      // token types, 0: none
    int64_t label_count;                     // of classifiers
    eh_norm_kind norm;
    float norm_eps;
    bool norm_first; // x + f(norm(x)) with a final norm; false: norm(x + f(x))
    bool embedding_norm, biases;
    eh_position_bias position_bias;
    int bucket_count, bucket_max_distance;
    eh_activation activation;
    bool gated;
    bool wide_feed_output; // its input and sums pass fp16's range: the product stays fp32 there
    float attention_scale;
    eh_qkv_layout qkv_layout;
    bool weights_in_out; // matrices are stored [in, out]
    bool tied;           // the output layer is the token embedding
    bool tied_by_file;   // a weight file that has an output layer of its own unties it, one that lacks it ties it
    float output_scale;  // of the logits
    bool head_dense, head_norm, output_bias;
    eh_activation head_activation;
    float embedding_dropout, attention_dropout, hidden_dropout, inner_dropout, final_dropout; // training rates
    float head_dropout;                                                                       // before a classifier
    float initial_std;
    eh_special_ids special;
} eh_transformer;

// Reads keys of config.json. Several spellings of a key are separated by '|'; the first that is there counts. The first
// problem is kept in `status`, and reading goes on with harmless values.
typedef struct {
    const json_t *root;
    const char *where; // path, for messages
    eh_status status;
} eh_config;
#define EH_CONFIG_REQUIRED INT64_MIN
int64_t eh_config_count(eh_config *config, const char *keys, int64_t otherwise, int64_t least, int64_t most);
double eh_config_number(eh_config *config, const char *keys, double otherwise, double least, double most);
bool eh_config_flag(eh_config *config, const char *keys, bool otherwise);
const char *eh_config_text(eh_config *config, const char *keys, const char *otherwise); // NULL only if `otherwise` is
// EH_INPUT unless the key is missing or has this value: "only false is supported".
void eh_config_only_flag(eh_config *config, const char *key, bool supported);
eh_activation eh_config_activation(eh_config *config, const char *name);
void eh_config_fail(eh_config *config, const char *key, const char *problem);

typedef struct {
    const char *name; // in config.json's "architectures"
    eh_head head;
    // Tensors of another head that one may want of this model later: saving writes them as they came, if they all came.
    // Full names, a '~' in front for `prefix`; ends with NULL; or NULL.
    const char *const *kept;
} eh_arch_class;

typedef struct {
    const char *model_type; // in config.json
    eh_model_kind kind;
    const eh_arch_class *classes; // the first is taken where config.json names none; ends with name NULL
    // Fills the description; kind, head and special ids are set, norm_first, biases and scales have common values.
    void (*read_config)(eh_config *config, eh_transformer *transformer);
    // The name without ".weight" or ".bias"; '#' stands for the layer, a '~' in front for `prefix`. NULL: there is
    // none.
    const char *(*tensor_name)(const eh_transformer *transformer, eh_stack stack, eh_role role);
    const char *prefix;         // of names, that a file may lack; "" if there is none
    const char *const *ignored; // ends of names that files carry without use; ends with NULL
    const char *lora_targets;   // PEFT's choice of adapted layers (peft/utils/constants.py); NULL: "all-linear"
    // Standard deviation of random weights; NULL: config's initializer_range for all.
    float (*initial_std)(const eh_transformer *transformer, eh_role role);
} eh_arch;

// By config.json's model_type; NULL if there is none.
const eh_arch *eh_arch_find(const char *model_type);
void eh_arch_names(char *text, size_t size); // "bloom, t5, ..."
// Reads config.json's text, for the head that it names or for `head` (may be NULL). *root is the caller's to
// json_decref.
EH_CHECKED eh_status eh_arch_read(const char *where, const char *config_json, const eh_head *head, json_t **root,
                                  const eh_arch **arch, eh_transformer *transformer);

#endif
