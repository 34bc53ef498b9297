// What a model is inside: the table of its parameters, the weights as the transformer's code wants them (linear layers,
// norms), and the memory that a batch works in.
#ifndef EH_MODEL_MODEL_INTERNAL_H
#define EH_MODEL_MODEL_INTERNAL_H

#include "core/string.h"
#include "io/safetensors.h"
#include "model/arch.h"

#define EH_LAYERLESS (-1)

// What the table of parameters does not tell its readers.
typedef struct {
    eh_role role;
    eh_stack stack;
    int64_t layer; // or EH_LAYERLESS
    bool is_bias;
    bool joined;                // lies right behind the one before, as one matrix
    eh_tensor value;            // fp32 master, or what inference keeps
    eh_tensor matrix;           // what products read: the copy in the compute dtype where there is one
    eh_tensor gradient;         // no tensor: not training, or frozen
    const eh_stored_tensor *in; // in the file, while loading
    int64_t bad;                // values that are not finite, of those that this rank loaded
    int64_t unit;               // of the layout's
    int64_t adapts;             // adapters: the number of their layer's weight
} eh_slot;

typedef struct {
    eh_parameter *parameters;
    eh_slot *slots;
    char **names; // owned; parameters[i].name
    int64_t count, capacity, slot_capacity, name_capacity;
    int64_t own_count;      // the model's own parameters; adapters follow them
    int64_t weight_count;   // elements of the block
    int64_t gradient_count; // of the block of gradients
    eh_unit *units;         // see eh_model_units
    int64_t unit_count, unit_capacity;
    bool has_muted; // a frozen parameter has a gradient, as it makes one matrix with a trained one
} eh_layout;
EH_CHECKED eh_status eh_layout_make(const eh_arch *arch, const eh_transformer *transformer,
                                    const eh_adaptation *adaptation, eh_layout *layout);
// A parameter behind the others; `joined`: without a gap.
EH_CHECKED eh_status eh_layout_add(eh_layout *layout, const eh_parameter *parameter, const eh_slot *slot);
void eh_layout_deinit(eh_layout *layout);
// Says which parameters of the table train. EH_INPUT if a word fits none.
EH_CHECKED eh_status eh_layout_freeze(const char *learning, eh_layout *layout);
// The weight (no bias) of a linear layer but the output layer, which may be the embedding.
bool eh_slot_is_linear(const eh_slot *slot);
// Elements of the matrices that each token is multiplied with: no embeddings, no output layer; or of those of them that
// have gradients.
int64_t eh_layout_matrix_count(const eh_layout *layout, bool trained);

// Memory of adapters, shared by all of them.
typedef struct {
    eh_tensor low, grad_low; // compute [rows, parts rank]: x A^T, and its gradient
    eh_tensor joined;        // compute [outputs, parts rank]: the B of a product that several layers share
    eh_tensor grad_joined;   // fp32
} eh_adapter_work;
// The adapters of one product. Where several layers share it (query, key and value), each adapted one is a part; their
// A lie one behind the other, and so do their B, of which `index` tells the place in the joined matrix.
typedef struct {
    int64_t part_count, rank, outputs; // 0 parts: no adapter; outputs of the whole product
    float scale;
    eh_tensor a, b, grad_a, grad_b; // [parts rank, inputs], [part outputs, rank]
    eh_tensor index;                // I32 [part outputs], only where the product is shared
    const eh_adapter_work *work;
} eh_adapter;

// y = x W^T + bias, or x W + bias where the matrix is stored [in, out].
typedef struct {
    eh_tensor weight, bias, grad_weight, grad_bias;
    bool in_out;
    bool constant;     // inference: the backend may keep a packed copy
    const bool *fresh; // its weight's gradient is written by the next backward pass, not added to
    eh_adapter adapter;
} eh_linear;
typedef struct {
    eh_norm norm;
    eh_tensor grad_weight, grad_bias;
} eh_norm_layer;
typedef struct {
    eh_norm_layer attention_norm, cross_norm, feed_norm;
    eh_linear qkv, attention_output, cross_query, cross_key_value, cross_output, inner, gate, feed_output;
} eh_layer;
typedef struct {
    eh_layer *layers;
    eh_tensor relative_bias, grad_relative_bias;
    eh_norm_layer final_norm;
} eh_stack_weights;
typedef struct {
    eh_tensor tokens, positions, types, grad_tokens, grad_positions, grad_types;
    eh_norm_layer embedding_norm;
    eh_stack_weights stacks[EH_STACK_COUNT];
    eh_linear head_dense, output; // output.weight is the token embedding where they are tied
    eh_norm_layer head_norm;
} eh_weights;

// What a norm's forward pass leaves for its backward pass: what was normalised, its statistics, and the result.
typedef struct {
    eh_tensor sum, mean, scale, y;
} eh_norm_work;
// One layer's activations, [rows, ...]. In inference all layers share one; where they are computed again, all but the
// layer's input (norm_first: attention_norm.sum).
typedef struct {
    eh_norm_work attention_norm, cross_norm, feed_norm;
    eh_tensor input; // of the layer's first product: attention_norm.y, or the layer before's result (norm_first false)
    eh_tensor qkv, attended, log_sum_exp;
    eh_tensor cross_query, cross_key_value, cross_attended, cross_log_sum_exp;
    eh_tensor inner, gate, activated;
} eh_layer_work;
typedef struct {
    eh_layer_work *layers;
    eh_norm_work final_norm; // of all rows: the encoder of an encoder-decoder
    eh_tensor output;        // post-norm stacks: the last layer's result, in the compute dtype
} eh_stack_work;

// A batch on the device.
typedef struct {
    eh_tensor ids, positions, types; // I32 [rows]
    eh_tensor segments;              // I32 [sequences, 6]
    eh_segment *host_segments;
    int64_t rows, segment_count;
} eh_stack_batch;

typedef struct {
    eh_buffer *buffer;
    size_t bytes;
    eh_batch_limits limits;
    eh_stack_work stacks[EH_STACK_COUNT];
    eh_stack_batch batch[EH_STACK_COUNT];
    eh_segment *host_cross_segments;
    eh_tensor cross_segments;
    eh_tensor stream;                             // fp32 [rows, hidden]: the residual stream that nothing keeps
    eh_tensor branch;                             // [rows, hidden] compute dtype: what a sublayer adds
    eh_norm_work embedding_norm;                  // its y is the first layer's input
    eh_tensor top_stream;                         // a view: the residual stream without the last branch
    eh_tensor gathered;                           // fp32 [labels, hidden]: the sum at the rows that have labels
    eh_norm_work head_final_norm, head_norm;      // of those
    eh_tensor head_dense, head_activated;         // [labels, hidden]
    eh_tensor label_rows, label_ids, row_weights; // [labels]
    eh_tensor log_probability, log_sum_exp;       // fp32 [labels]
    // Backward only.
    eh_tensor grad_stream[EH_STACK_COUNT]; // fp32 [rows, hidden]
    eh_tensor grad_branch;                 // compute [rows, hidden]
    eh_tensor grad_input;                  // compute [rows, hidden]: of a product's input
    eh_tensor grad_qkv;                    // fp32 [rows, 3 heads head_size]
    eh_tensor grad_key_value;              // fp32 [source rows, 2 heads head_size], encoder-decoders
    eh_tensor grad_products;               // compute: the same, rounded; unused in fp32
    eh_tensor grad_inner, grad_gate;       // compute [rows, inner]
    eh_tensor grad_attended;               // compute [rows, heads head_size]
    eh_tensor grad_hidden, grad_head;      // compute [labels, hidden]
    eh_tensor grad_gathered;               // fp32 [labels, hidden]
    eh_adapter_work adapter;
    // Host staging.
    int32_t *host_ids[EH_STACK_COUNT], *host_positions[EH_STACK_COUNT], *host_types, *host_rows;
    eh_tensor logits; // fp32 [logit_rows, outputs], made at the first use
    eh_buffer *logits_buffer;
} eh_work;

// A layer of a stack: one unit, or two, what has gradients and what has none.
typedef struct {
    int64_t units[2], unit_count;
} eh_passing_layer;

// What a training shares with other ranks, sharing.c. Embeddings, head and final norms are kept together for good; the
// layers pass, one after another, through two windows, the next one coming in while one is used. Vectors (biases,
// norms), which are small, are with every rank in fp32.
typedef struct {
    eh_sharing how; // comm NULL: nothing is divided
    eh_partition partition;
    int64_t *layer_of;               // [unit_count] the number of its layer; -1: it is kept
    int64_t *place, *gradient_place; // [unit_count] where it begins in its window, or in what is kept
    eh_passing_layer *layers;        // encoder before decoder
    int64_t layer_count;
    int64_t first_layer[EH_STACK_COUNT]; // number of a stack's first layer
    int64_t kept_count, window_count;    // elements of weights
    int64_t kept_gradient_count, gradient_window_count;
    int64_t vector_count, *vector_place;    // [parameters] in `vectors`, -1: a matrix
    eh_buffer *kept, *windows[2], *vectors; // level 3
    eh_buffer *kept_gradients, *gradient_windows[2];
    eh_gathering gatherings[2][2]; // of each window, the layer's units
    bool is_apart;                 // device memory is not the host's: what ranks exchange passes through these
    char *host_windows[2], *host_kept;
    float *host_vectors, *host_gradients;
    int64_t held[2]; // the layer whose weights a window holds, or that are on their way; -1: none
    eh_split_reducer *reducer;
} eh_shared;
typedef enum { EH_FORWARD, EH_BACKWARD } eh_direction;

// Generation's memory, src/model/cache.h.
typedef struct eh_cache eh_cache;

struct eh_model {
    eh_backend *backend;
    const eh_arch *arch;
    eh_transformer t;
    json_t *config;
    char *folder; // opened from, or NULL
    eh_dtype compute;
    eh_model_use use;
    bool recompute; // of all layers but a stack's last, see eh_layer_recompute
    eh_layout layout;
    eh_shared shared;
    eh_stored_tensors stored;      // open as long as weights are views of it, or tensors of it are kept
    const eh_stored_tensor **kept; // of another head, for saving; names in t's class
    int64_t kept_count;
    eh_buffer *weights, *copy, *gradients, *slopes, *adapter_index;
    void *merged; // matrices of an adapter's folder, merged when it was opened, on the host
    size_t merged_bytes;
    eh_adaptation adaptation; // rank 0: no adapters; its words are not kept
    eh_buffer **views;
    int64_t view_count, view_capacity;
    eh_weights w;
    eh_tensor alibi_slopes;
    eh_string warning;
    eh_work work;
    bool fresh;                         // eh_model_clear_gradients was the last to write to the gradients
    eh_gradients_ready gradients_ready; // may be NULL
    void *gradients_ready_context;
};

// weights.c
EH_CHECKED eh_status eh_weights_load(eh_model *model); // from model->stored
EH_CHECKED eh_status eh_weights_warn(eh_model *model); // of values that are not finite; collective where shared
eh_tensor eh_parameter_view(eh_buffer *buffer, const eh_parameter *parameter, eh_dtype dtype, int64_t offset);
bool eh_is_matrix(const eh_model *model, int64_t p); // of those in the compute dtype
eh_dtype eh_branch_dtype(const eh_model *model);     // of what sublayers add, and of the last product of feed-forwards
// A parameter, with or without the architecture's prefix, or in an older spelling; NULL if the file has none.
const eh_stored_tensor *eh_weights_find(const eh_model *model, const char *name);
EH_CHECKED eh_status eh_weights_random(eh_model *model, uint64_t seed);
uint64_t eh_name_key(const char *name);                // picks a parameter's random numbers, whatever the others' sizes
EH_CHECKED eh_status eh_weights_bind(eh_model *model); // model->w from the slots; again when `trains` changes
bool eh_weights_packed(const eh_model *model);         // the backend may keep copies of matrices
int64_t eh_weights_packable(const eh_model *model);    // their elements, if the backend packs; 0: too many

// sharing.c
EH_CHECKED eh_status eh_sharing_init(eh_model *model,
                                     const eh_sharing *sharing); // after the layout; sharing may be NULL
void eh_sharing_deinit(eh_model *model);
EH_CHECKED eh_status eh_sharing_outline(eh_model *model, int ranks); // as rank 0 of so many would, for plans
EH_CHECKED eh_status eh_sharing_make_gradients(eh_model *model);     // levels 2 and 3
EH_CHECKED eh_status eh_sharing_make_weights(eh_model *model);       // level 3
eh_tensor eh_sharing_gradient(const eh_model *model, int64_t p);
// What this rank holds of a parameter's master values: elements [*first, *first + *count) of it, flat.
eh_tensor eh_sharing_own_part(const eh_model *model, int64_t p, int64_t *first, int64_t *count);
// Master values [first, first + count) of a parameter to all ranks' host memory. Collective, level 3.
EH_CHECKED eh_status eh_sharing_read(eh_model *model, int64_t p, int64_t first, int64_t count, float *values);
EH_CHECKED eh_status eh_sharing_refresh(eh_model *model); // kept units and vectors, from the shards
// Around the use of a layer: its weights are there, and the next one's, in this direction, on their way; in the
// backward pass, its gradients begin at 0 and are then added to the other ranks'.
EH_CHECKED eh_status eh_sharing_begin_layer(eh_model *model, eh_stack stack, int64_t l, eh_direction direction);
EH_CHECKED eh_status eh_sharing_end_layer(eh_model *model, eh_stack stack, int64_t l);
EH_CHECKED eh_status eh_sharing_skip_stack(eh_model *model, eh_stack stack, eh_direction direction);
// Around a backward pass: the gradients of kept units.
EH_CHECKED eh_status eh_sharing_begin_backward(eh_model *model);
EH_CHECKED eh_status eh_sharing_end_backward(eh_model *model);
bool eh_weights_mapped(const eh_model *model); // inference reads the file in place: there is no block

// kept.c: finds what the class keeps beside its own weights; and the full name of one.
EH_CHECKED eh_status eh_kept_find(eh_model *model);
void eh_kept_name(const eh_model *model, int64_t kept, char name[256]);

// adapter.c
EH_CHECKED eh_status eh_adapters_add(const eh_arch *arch, const eh_transformer *t, const eh_adaptation *adaptation,
                                     eh_layout *layout);
EH_CHECKED eh_status eh_adapters_init(eh_model *model); // first values and the joined products' index
void eh_adapters_bind(const eh_model *model, int64_t weight, int64_t joined, eh_linear *linear);
int64_t eh_adapters_width(const eh_model *model); // widest parts x rank of a product
int64_t eh_adapters_joined_count(const eh_model *model);
bool eh_adapters_change(const eh_model *model, int64_t parameter); // a matrix that has an adapter
// Memory for merging, made when needed; all zero: none.
typedef struct {
    eh_buffer *value, *a, *b;
} eh_merging;
void eh_merging_deinit(eh_merging *merging);
// The parameter's values with its adapter merged in, in `merging`, or the values themselves. Collective at level 3,
// where it is for matrices that have an adapter alone.
EH_CHECKED eh_status eh_adapters_merge(eh_model *model, int64_t parameter, eh_merging *merging, eh_tensor *value);

// adapter_file.c: is this a folder of PEFT's? Then *base (eh_free) is the model that it adapts, else NULL. EH_INPUT for
// what is not plain LoRA.
EH_CHECKED eh_status eh_adapter_find_base(const char *folder, char **base);
// Adds the folder's adapters to the weights that were found for model->stored, which then lie in model->merged as fp32.
EH_CHECKED eh_status eh_adapter_merge_stored(eh_model *model, const char *folder);

// save.c
EH_CHECKED eh_status eh_save_json(const char *folder, const char *name, const json_t *value);
EH_CHECKED eh_status eh_save_tensors(eh_model *model, const char *path, const eh_safetensors_entry *entries,
                                     int64_t count);
// The other ranks' part in writing parameters [first, first + count) of a model whose weights are divided.
EH_CHECKED eh_status eh_save_attend(eh_model *model, int64_t first, int64_t count);

// activations.c
void eh_work_deinit(eh_model *model);

// batch.c: checks a batch (EH_INPUT) and brings it to the device.
EH_CHECKED eh_status eh_batch_stage(eh_model *model, const eh_batch *batch);

// gradients.c: before a backward pass adds to them.
EH_CHECKED eh_status eh_gradients_begin(eh_model *model);
EH_CHECKED eh_status eh_gradients_pass_by(eh_model *model); // no backward pass comes

// linear.c
EH_CHECKED eh_status eh_linear_forward(eh_backend *backend, const eh_linear *linear, const eh_tensor *x,
                                       eh_output_mode mode, const eh_tensor *y);
// y as eh_linear_forward writes it, and activated = act(y).
EH_CHECKED eh_status eh_linear_activate(eh_backend *backend, const eh_linear *linear, const eh_tensor *x,
                                        eh_activation kind, const eh_tensor *y, const eh_tensor *activated);
// The gradients of the parameters are added to; grad_x is written or added to, and may be missing.
EH_CHECKED eh_status eh_linear_backward(eh_backend *backend, const eh_linear *linear, const eh_tensor *x,
                                        const eh_tensor *grad_y, eh_output_mode mode, const eh_tensor *grad_x);
EH_CHECKED eh_status eh_norm_layer_forward(eh_backend *backend, const eh_norm_layer *layer, const eh_tensor *x,
                                           const eh_tensor *residual, const eh_norm_work *work);
EH_CHECKED eh_status eh_norm_layer_backward(eh_backend *backend, const eh_norm_layer *layer, const eh_norm_work *work,
                                            const eh_tensor *grad_y, eh_output_mode mode, const eh_tensor *grad_x);

// Dropout of a training pass: each place has masks of its own.
typedef struct {
    bool on;
    float rate; // < 0: the description's own
    uint64_t seed;
} eh_dropout_plan;
static inline float eh_dropout_rate(const eh_dropout_plan *plan, float own)
{
    return !plan->on ? 0 : plan->rate >= 0 ? plan->rate : own;
}
typedef enum {
    EH_SITE_EMBEDDING,
    EH_SITE_ATTENTION,
    EH_SITE_ATTENDED,
    EH_SITE_CROSS,
    EH_SITE_CROSSED,
    EH_SITE_INNER,
    EH_SITE_FEED,
    EH_SITE_FINAL,
    EH_SITE_HEAD,
    EH_SITE_COUNT
} eh_dropout_site;
static inline uint64_t eh_dropout_seed(const eh_dropout_plan *plan, eh_stack stack, int64_t layer, eh_dropout_site site)
{
    const uint64_t place = ((uint64_t)(layer + 1) * EH_STACK_COUNT + stack) * EH_SITE_COUNT + site;
    return plan->seed ^ (place + 1) * 0x9E3779B97F4A7C15u;
}
// y = dropout(y) in place, if the rate is not 0.
EH_CHECKED eh_status eh_drop(eh_model *model, const eh_dropout_plan *plan, float own_rate, eh_stack stack,
                             int64_t layer, eh_dropout_site site, const eh_tensor *y);

// forward.c, backward.c: the stacks; head.c: what is behind them.
EH_CHECKED eh_status eh_encoder_forward(eh_model *model, const eh_dropout_plan *dropout, eh_tensor *source);
EH_CHECKED eh_status eh_stacks_forward(eh_model *model, const eh_dropout_plan *dropout, eh_cache *cache);
// A layer's activations again, from its input.
EH_CHECKED eh_status eh_layer_recompute(eh_model *model, const eh_dropout_plan *dropout, eh_stack stack, int64_t l,
                                        const eh_tensor *source);
EH_CHECKED eh_status eh_stacks_backward(eh_model *model, const eh_dropout_plan *dropout);
// Rows with labels -> model->work's hidden rows, which the output layer reads.
EH_CHECKED eh_status eh_head_forward(eh_model *model, const eh_dropout_plan *dropout, int64_t label_count,
                                     eh_tensor *hidden);
// `near` and the starting model's hidden rows may be missing.
EH_CHECKED eh_status eh_head_backward(eh_model *model, const eh_dropout_plan *dropout, int64_t label_count,
                                      const eh_tensor *hidden, const eh_nearness *near, const eh_tensor *start_hidden);
// near.c: a starting model's hidden rows for a batch; the divergence's gradients, added to those of the labels.
EH_CHECKED eh_status eh_near_forward(eh_model *start, const eh_batch *batch, eh_tensor *hidden);
EH_CHECKED eh_status eh_near_backward(eh_model *model, const eh_nearness *near, const eh_tensor *hidden,
                                      const eh_tensor *start_hidden, const eh_tensor *grad_hidden);
EH_CHECKED eh_status eh_head_logits(eh_model *model, const eh_tensor *hidden, const eh_tensor *logits);
int64_t eh_output_count(const eh_model *model); // words, or a classifier's labels
// For what the backend's operations work in.
eh_work_sizes eh_model_work_sizes(const eh_model *model, const eh_batch_limits *limits);
EH_CHECKED eh_status eh_logits_reserve(eh_model *model, int64_t rows); // work->logits
// The stack whose rows have labels, and views of a layer's heads.
eh_stack eh_top_stack(const eh_transformer *t);
eh_attention eh_self_attention(const eh_model *model, eh_stack stack, int64_t layer, const eh_dropout_plan *dropout);
eh_attention eh_cross_attention(const eh_model *model, int64_t layer, const eh_dropout_plan *dropout);
typedef enum { EH_QUERY, EH_KEY, EH_VALUE } eh_qkv_part;
eh_heads eh_qkv_view(const eh_transformer *t, const eh_tensor *qkv, eh_qkv_part part);
eh_heads eh_cross_view(const eh_transformer *t, const eh_tensor *key_value, int64_t part); // 0: keys, 1: values
eh_heads eh_plain_view(const eh_transformer *t, const eh_tensor *rows);                    // [rows, heads head_size]
// First `rows` rows of work memory, as a matrix.
static inline eh_tensor eh_first_rows(const eh_tensor *tensor, int64_t rows)
{
    return eh_tensor_exists(tensor) ? eh_tensor_rows(tensor, 0, rows) : (eh_tensor){0};
}
eh_norm_work eh_norm_rows(const eh_norm_work *work, int64_t rows);

#endif
