// What a model would need, from its configuration alone: nothing is allocated and no weights are read. For plans.
#ifndef EH_MODEL_OUTLINE_H
#define EH_MODEL_OUTLINE_H

#include "model/model.h"

// How a training's memory is to be used.
typedef struct {
    int ranks, level; // memory.zero
    int64_t leaf_count;
    bool tree, recompute;
    const eh_adaptation *adaptation; // what learns; NULL: all
} eh_memory_use;

typedef struct {
    eh_model_kind kind;
    eh_head head;
    int64_t vocab_size, hidden_size, max_length, layer_count; // layer_count: of all stacks
    const char *model_type;                                   // static
    eh_special_ids special;
    int64_t parameter_count; // elements of all parameters
    int64_t block_count;     // with the padding between them, as eh_model_weight_count
    int64_t gradient_count;  // as eh_model_gradient_count
    int64_t matrix_count; // elements of the matrices that each token is multiplied with: no embeddings, no output layer
    int64_t trained_matrix_count; // of these, elements that have gradients
    size_t activation_bytes;
    size_t device_work_bytes; // what a GPU's operations work in (eh_device_work_bytes), and a merged matrix
    size_t packed_bytes;      // inference: copies of matrices that the CPU keeps beside the weights
    // Of training, of the rank that holds most:
    int64_t state_count;                  // elements of each of its moments
    int64_t sum_count;                    // elements of the gradients' sum that it owns
    size_t weight_bytes, copy_bytes;      // fp32 masters, and copies for products
    size_t gathered_bytes;                // level 3: what comes together, and vectors, which all ranks have
    size_t gradient_bytes, divided_bytes; // own gradients; level 2 and 3: sums of its stretches
    size_t layer_bytes;                   // level 3: what a pass brings together
} eh_model_outline;

// `where` begins messages; config_json as in eh_model_new. `memory` NULL: inference. Not collective.
EH_CHECKED eh_status eh_model_outline_of(const char *where, const char *config_json, eh_dtype compute,
                                         const eh_memory_use *memory, const eh_batch_limits *limits,
                                         eh_model_outline *outline);
// For how many labels logits are made at a time while a model stays near another (train.kl).
int64_t eh_near_labels_at_once(int64_t vocab_size, int64_t label_count);
// The text of FOLDER/config.json; eh_free.
EH_CHECKED eh_status eh_model_config_text(const char *folder, char **config_json);

#endif
