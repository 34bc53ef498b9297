// Keys and values of tokens that were already read, so that the next token needs one row of everything.
#ifndef EH_MODEL_CACHE_H
#define EH_MODEL_CACHE_H

#include "model/model_internal.h"

// New tokens of one slot: rows of the batch that become rows of the cache.
typedef struct {
    int64_t batch_row, cache_row, count;
} eh_cache_run;

struct eh_cache {
    eh_model *model;
    int64_t slots, slot_rows; // rows of a slot lie together
    int64_t source_rows;      // of a slot, encoder-decoders
    eh_buffer *buffer;
    eh_tensor tokens;  // [layers * slots * slot_rows, 2 heads head_size], compute dtype: keys, then values
    eh_tensor sources; // [layers * slots * source_rows, 2 heads head_size]
    eh_tensor pieces;  // I32 [batch rows * pieces of a row]: where keys and values lie in the rows of a layer's product
    eh_cache_run *runs; // of the current batch, [slots]
    int64_t run_count;
};

// batch_rows: rows of the largest batch whose keys and values are stored.
EH_CHECKED eh_status eh_cache_init(eh_cache *cache, eh_model *model, int64_t slots, int64_t slot_rows,
                                   int64_t source_rows, int64_t batch_rows);
// What it takes on the device.
size_t eh_cache_bytes(const eh_model *model, int64_t slots, int64_t slot_rows, int64_t source_rows, int64_t batch_rows);
void eh_cache_deinit(eh_cache *cache);
// Copies the keys and values of a layer's new rows to where the runs say; *all is the layer's whole cache, which
// eh_cross_view looks into.
EH_CHECKED eh_status eh_cache_store(eh_cache *cache, int64_t layer, const eh_tensor *qkv, eh_tensor *all);
// The encoder's keys and values of all slots, for one layer.
eh_tensor eh_cache_source(const eh_cache *cache, int64_t layer);
// Computes them for one slot from the encoder's result [rows, hidden], or no tensor.
EH_CHECKED eh_status eh_cache_fill_source(eh_cache *cache, int64_t slot, const eh_tensor *source);

#endif
