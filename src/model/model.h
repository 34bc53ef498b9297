// A transformer with weights: forward, backward, scoring, generation. One implementation for decoders (BLOOM, GPT-2),
// encoders (BERT, RoBERTa) and both (T5), driven by a description that src/model/arch_<name>.c reads from config.json.
#ifndef EH_MODEL_MODEL_H
#define EH_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "comm/partition.h"
#include "core/status.h"

typedef struct eh_model eh_model;

typedef enum { EH_DECODER, EH_ENCODER, EH_ENCODER_DECODER } eh_model_kind;
typedef enum { EH_HEAD_CAUSAL, EH_HEAD_SEQ2SEQ, EH_HEAD_MASKED, EH_HEAD_CLASSIFY, EH_HEAD_NEXT_SENTENCE } eh_head;
typedef enum { EH_FOR_INFERENCE, EH_FOR_TRAINING } eh_model_use;

// Opens a Hugging Face folder. EH_INPUT names file and tensor of what is wrong.
EH_CHECKED eh_status eh_model_open(eh_backend *backend, const char *folder, eh_dtype compute, eh_model_use use,
                                   eh_model **model);
// The same with another of the architecture's heads than the one that config.json names: BERT's next-sentence head
// beside the masked one. The file must hold its weights, as those of BERT's pre-training do.
EH_CHECKED eh_status eh_model_open_head(eh_backend *backend, const char *folder, eh_head head, eh_dtype compute,
                                        eh_model_use use, eh_model **model);
// Random initialisation as the architecture's own (normal, config's initializer_range; norms 1, biases 0), a function
// of the seed and the parameter's name alone. config_json: the text of a config.json with model_type.
EH_CHECKED eh_status eh_model_new(eh_backend *backend, const char *config_json, uint64_t seed, eh_dtype compute,
                                  eh_model_use use, eh_model **model);
// What the ranks of a training divide among them (ZeRO, Rajbhandari et al. 2020): nothing of the model (level 0, 1: the
// optimizer's states are not its), gradients (2), weights too (3). Divided gradients are added up during the backward
// pass; divided weights come together in the compute dtype, embeddings and head to stay, the layers one after another.
typedef struct {
    eh_comm *comm; // borrowed
    int level;
    int64_t leaf_count; // gradients that make a step's sum: its micro-batches
    bool tree;          // see eh_split_reducer_new
    const char *folder; // where fp32 masters beside low precision copies lie on disk (level 3), NULL: in memory
} eh_sharing;
// What of a model learns, if not all of it. `freeze`: the groups and patterns of names that do, joined by '+' (see
// train.freeze), NULL: all. Or, with a rank above 0, low-rank adapters (Hu et al. 2021, eq. 3) beside linear layers:
// y += alpha / rank x A^T B^T with A [rank, inputs] and B [outputs, rank]. They alone train then. A begins uniform in
// +-1/sqrt(inputs), a function of seed and name, B as 0: as PEFT does. targets: words joined by ',' or '+', each a
// layer's name, its end ("query_key_value", "mlp.dense_h_to_4h"), a pattern of fnmatch, or "all-linear"; NULL: PEFT's
// choice for the architecture.
typedef struct {
    int64_t rank;
    double alpha;
    const char *targets;
    uint64_t seed;
    const char *freeze;
} eh_adaptation;
// As eh_model_open and eh_model_new, for training with other ranks; `adaptation` may be NULL, and so may `sharing`:
// this rank alone. EH_INPUT if a word of the targets fits no linear layer, or one of `freeze` no weight. Collective; of
// what follows, these are collective with level 3: eh_model_save and its kin, eh_model_save_adapter, eh_model_digest,
// eh_model_weights_changed, and with eh_model_pass_by, passes.
EH_CHECKED eh_status eh_model_open_shared(eh_backend *backend, const char *folder, eh_dtype compute,
                                          const eh_sharing *sharing, const eh_adaptation *adaptation, eh_model **model);
EH_CHECKED eh_status eh_model_new_shared(eh_backend *backend, const char *config_json, uint64_t seed, eh_dtype compute,
                                         const eh_sharing *sharing, const eh_adaptation *adaptation, eh_model **model);
void eh_model_close(eh_model **model);
// Writes config.json, generation_config.json and model.safetensors (sharded above 5 GB), beside and renamed; tokenizer
// files are copied from `tokenizer_folder` (may be NULL). transformers loads it with equal logits. Adapters are merged
// into the weights that are written, not into those in memory.
EH_CHECKED eh_status eh_model_save(eh_model *model, const char *folder, const char *tokenizer_folder);
// The same with another bound on a shard's size, in bytes.
EH_CHECKED eh_status eh_model_save_shards(eh_model *model, const char *folder, const char *tokenizer_folder,
                                          uint64_t shard_bytes);
// Writes adapter_config.json and adapter_model.safetensors as PEFT does; `base` names the model that they adapt.
EH_CHECKED eh_status eh_model_save_adapter(eh_model *model, const char *folder, const char *base);
// The same beside config.json and the tokenizer's files: a folder that eh_model_open opens as the merged model, with
// the bits that eh_model_save would have written. Weights of an earlier eh_model_save in it are removed. EH_INPUT if it
// is the base's own folder.
EH_CHECKED eh_status eh_model_save_unmerged(eh_model *model, const char *folder, const char *base,
                                            const char *tokenizer_folder);
// What opening found strange but bearable (NaN weights, tensors that nothing uses), one line each; "" if nothing.
const char *eh_model_warning(const eh_model *model);

eh_model_kind eh_model_kind_of(const eh_model *model);
eh_head eh_model_head(const eh_model *model);
const char *eh_head_name(eh_head head); // "causal", "seq2seq", "masked", "classify", "next-sentence"
bool eh_head_find(const char *name, eh_head *head);
const char *eh_model_type(const eh_model *model);       // "bloom", "t5", ...
eh_dtype eh_model_compute_dtype(const eh_model *model); // of products
int64_t eh_model_vocab_size(const eh_model *model);
int64_t eh_model_max_length(const eh_model *model); // positions, INT64_MAX where there is no bound
int64_t eh_model_label_count(const eh_model *model);
const char *eh_model_label_name(const eh_model *model, int64_t label); // config's id2label; NULL if it has none
// Special ids of config.json, -1 if it has none.
typedef struct {
    int32_t bos, eos, pad, decoder_start, mask;
} eh_special_ids;
eh_special_ids eh_model_special_ids(const eh_model *model);
// SHA-256 over names, shapes and values of all weights in name order, hex, 65 bytes: equal models, equal digests.
EH_CHECKED eh_status eh_model_digest(eh_model *model, char text[65]);

// --- Parameters: one block each for weights and gradients, laid out by this table --------------------------------
// The block of gradients holds trained parameters alone (and frozen ones that make one matrix with them, as 0).
typedef struct {
    const char *name; // as named_parameters() in transformers
    int64_t shape[4];
    int dimension_count;
    int64_t count, offset; // elements, from the start of the block
    int64_t gradient;      // where the gradient begins in the block of gradients; -1: it has none
    bool decays;           // weight decay applies (no norms, no "bias" in the name)
    bool trains;           // false: frozen, no gradient
} eh_parameter;
int64_t eh_model_parameter_count(const eh_model *model);
const eh_parameter *eh_model_parameters(const eh_model *model);
int64_t eh_model_weight_count(const eh_model *model);   // elements of the block, with padding between parameters
eh_tensor eh_model_weights(const eh_model *model);      // fp32 master block [weight_count], or this rank's shard of it
int64_t eh_model_gradient_count(const eh_model *model); // elements of the block of gradients
eh_tensor eh_model_gradients(const eh_model *model);    // that, fp32, EH_FOR_TRAINING only; none where they are divided
eh_tensor eh_model_weight_copy(const eh_model *model);  // bf16/fp16 block (or shard) used in products, or no tensor
// The block of gradients is 0 for what follows; not where they are divided. Where this saves time, memory is written by
// the next backward pass alone (or eh_model_pass_by): what is read between the two is anything.
EH_CHECKED eh_status eh_model_clear_gradients(eh_model *model);
// The units in which the block is divided: layers, and what lies before, between and behind the stacks, each cut into
// what has gradients and what has none, where it has both; eh_free.
EH_CHECKED eh_status eh_model_units(const eh_model *model, eh_unit **units, int64_t *unit_count);
int eh_model_sharing_level(const eh_model *model);
// During the next backward passes, `ready` is told of stretches of the gradient block that nothing queued later in the
// pass adds to: from the block's end, layer by layer, to the first layer; never of embeddings and adapters, which many
// layers add to. NULL: nobody is. Not with divided gradients.
typedef eh_status (*eh_gradients_ready)(void *context, int64_t first, int64_t count);
void eh_model_tell_gradients(eh_model *model, eh_gradients_ready ready, void *context);
eh_split_reducer *eh_model_gradient_sum(const eh_model *model); // of divided gradients, else NULL
// After the weights were changed from outside (noise, a checkpoint): refreshes what was derived from them.
EH_CHECKED eh_status eh_model_weights_changed(eh_model *model);
// The same after an optimizer's step that wrote weight_copy too.
EH_CHECKED eh_status eh_model_weights_stepped(eh_model *model);

// --- Batches ------------------------------------------------------------------------------------------------------
// Packed sequences on the host. Sequence s has ids input_ids[input_offsets[s] .. input_offsets[s + 1]). For
// encoder-decoder models these are the sources and decoder_* the decoder's inputs. A sequence may begin after a shared
// prefix sequence: prefix[s] is the index of another sequence of this batch, or -1. Decoders attend to it, and to a
// prefix that it has itself (which has none); in
// encoder-decoder models it is the sequence whose source is used, and the own source must be empty.
// Labels: label_rows are rows (packed positions of the decoder, or of the encoder for masked models; sequence numbers
// for classifiers) whose output is held against label_ids; label_weights their weight in the loss.
typedef struct {
    int64_t sequence_count;
    const int32_t *input_ids;
    const int64_t *input_offsets; // [sequence_count + 1]
    const uint8_t *type_ids;      // [tokens] or NULL: all 0
    const int32_t *decoder_ids;   // encoder-decoder only
    const int64_t *decoder_offsets;
    const int32_t *prefix; // [sequence_count] or NULL
    int64_t label_count;
    const int32_t *label_rows, *label_ids;
    const float *label_weights; // NULL: forward only
} eh_batch;

// Reserves activations, caches and scratch for batches up to this size, once; prints nothing.
typedef struct {
    int64_t tokens, decoder_tokens, sequences, labels;
} eh_batch_limits;
// Training keeps no more of a layer than its input and computes the rest again in the backward pass, with the same
// bits. Before eh_model_reserve.
void eh_model_set_recompute(eh_model *model, bool recompute);
EH_CHECKED eh_status eh_model_reserve(eh_model *model, const eh_batch_limits *limits);
// Bytes that eh_model_reserve would take for activations (planning), without reserving.
size_t eh_model_activation_bytes(const eh_model *model, const eh_batch_limits *limits);

// log P(label_ids[i]) at label_rows[i] for every label, to host memory [label_count].
EH_CHECKED eh_status eh_model_score(eh_model *model, const eh_batch *batch, float *log_probabilities);
// The same, then gradients of -sum_i label_weights[i] log_probability[i] added to the gradient block. dropout < 0: the
// model's own rate, 0: off; its masks are a function of dropout_seed.
EH_CHECKED eh_status eh_model_backward(eh_model *model, const eh_batch *batch, float dropout, uint64_t dropout_seed,
                                       float *log_probabilities);
// Whether a pass with this rate drops anything.
bool eh_model_drops(const eh_model *model, float dropout);
// A model to stay near to: the loss gets weight KL(start || model) at each label, times the label's weight. The
// divergence goes from the starting model's distribution (its mean is what forgetting is measured by), over the whole
// vocabulary.
typedef struct {
    eh_model *start; // on the same backend, for inference, reserved as large; dropout is off in it
    float weight;
    float *divergences; // [label_count] host memory: written, nats
} eh_nearness;
// Memory for steps of up to so many labels, once.
EH_CHECKED eh_status eh_near_reserve(eh_model *model, eh_model *start, int64_t label_count);
// eh_model_backward with that; `near` may be NULL.
EH_CHECKED eh_status eh_model_backward_near(eh_model *model, const eh_nearness *near, const eh_batch *batch,
                                            float dropout, uint64_t dropout_seed, float *log_probabilities);
// What a rank does while the others pass a batch forward (and backward) and it has none: it takes part in bringing
// weights together and in adding gradients up. Nothing where nothing is divided.
EH_CHECKED eh_status eh_model_pass_by(eh_model *model, bool backward);
// Full logits [label_count, vocab or labels] of the rows in label_rows (classifiers: sequences), to host memory.
EH_CHECKED eh_status eh_model_logits(eh_model *model, const eh_batch *batch, float *logits);

#endif
