// What a model takes in memory when it is not trained: known before it runs.
#ifndef EH_MODEL_MEMORY_H
#define EH_MODEL_MEMORY_H

#include "core/string.h"
#include "model/model.h"

// What is asked of a model at a time; all 0: nothing.
typedef struct {
    eh_batch_limits batch,
        prompts;              // scored; read by a generation, which puts its own activations in the place of those
    int64_t slots, slot_rows; // texts that are generated together; tokens of the longest, prompt included
    int64_t source_rows;      // of the longest source, encoder-decoders
    int64_t logit_rows;       // rows whose whole logits are computed
    bool greedy;              // a generation of the likeliest tokens: their logits don't come to the host
} eh_inference_use;

typedef struct {
    size_t weights, packed; // as they lie in memory; the CPU's copies of them, in the order in which products read them
    size_t activations, cache, logits;
    size_t scratch; // of the CPU's products and sums
} eh_inference_memory;
size_t eh_inference_memory_sum(const eh_inference_memory *memory);
void eh_inference_memory_add(const eh_inference_memory *more, eh_inference_memory *memory);
// "weights 44.0, packed copies 28.1, activations 60.2, keys and values 3.1, logits 4.0, scratch 10.0 MiB".
EH_CHECKED eh_status eh_inference_memory_print(const eh_inference_memory *memory, eh_string *text);

// Of a model that was opened or made for inference; on_cpu: its backend is "cpu".
eh_inference_memory eh_model_inference_memory(const eh_model *model, bool on_cpu, const eh_inference_use *use);
// The same from a configuration alone, as of a model that is opened from a folder; packs: eh_backend_packs of
// `compute`. `where` begins messages.
EH_CHECKED eh_status eh_config_inference_memory(const char *where, const char *config_json, eh_dtype compute,
                                                bool on_cpu, bool packs, const eh_inference_use *use,
                                                eh_inference_memory *memory);

#endif
