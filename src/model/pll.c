// Masked copies of sentences, packed until the reserved memory is full, then scored together.
#include "model/pll.h"

#include <string.h>

#include "core/memory.h"
#include "model/model_internal.h"

typedef struct {
    eh_model *model;
    int32_t *ids, *label_rows, *label_ids;
    int64_t *offsets;
    uint8_t *types;
    int64_t count; // sequences, and labels: one each
    float *into;   // where the next scores go
} copies;

static eh_status score_copies(copies *own)
{
    if (own->count == 0)
        return EH_OK;
    const eh_batch batch = {.sequence_count = own->count,
                            .input_ids = own->ids,
                            .input_offsets = own->offsets,
                            .type_ids = own->types,
                            .label_count = own->count,
                            .label_rows = own->label_rows,
                            .label_ids = own->label_ids};
    EH_TRY(eh_model_score(own->model, &batch, own->into));
    own->into += own->count;
    own->count = 0;
    return EH_OK;
}

static eh_status add_copy(copies *own, const int32_t *row, const uint8_t *types, int64_t length, int64_t position,
                          int32_t mask_id)
{
    const eh_batch_limits *limits = &own->model->work.limits;
    if (length > limits->tokens)
        return eh_error(EH_INPUT, "a sentence of %lld tokens: memory was reserved for %lld", (long long)length,
                        (long long)limits->tokens);
    if (own->offsets[own->count] + length > limits->tokens || own->count == limits->sequences ||
        own->count == limits->labels)
        EH_TRY(score_copies(own));
    const int64_t begin = own->offsets[own->count];
    memcpy(own->ids + begin, row, (size_t)length * sizeof *row);
    if (types != NULL)
        memcpy(own->types + begin, types, (size_t)length);
    own->label_rows[own->count] = (int32_t)(begin + position);
    own->label_ids[own->count] = row[position];
    own->ids[begin + position] = mask_id;
    own->offsets[++own->count] = begin + length;
    return EH_OK;
}

static eh_status copies_init(copies *own, bool has_types)
{
    const eh_batch_limits *limits = &own->model->work.limits;
    if (own->model->t.head != EH_HEAD_MASKED)
        return eh_error(EH_INPUT, "a pseudo-log-likelihood needs a masked model, this %s model is none",
                        own->model->arch->model_type);
    if (limits->sequences < 1 || limits->labels < 1)
        return eh_error(EH_INPUT, "no memory was reserved for sequences and labels");
    EH_TRY(EH_ALLOC(limits->tokens, &own->ids));
    EH_TRY(EH_ALLOC(limits->labels, &own->label_rows));
    EH_TRY(EH_ALLOC(limits->labels, &own->label_ids));
    EH_TRY(EH_ALLOC(limits->sequences + 1, &own->offsets));
    return has_types ? EH_ALLOC(limits->tokens, &own->types) : EH_OK;
}

eh_status eh_pseudo_log_likelihood(eh_model *model, int64_t row_count, const int32_t *ids, const int64_t *offsets,
                                   const uint8_t *type_ids, const int32_t *positions, const int64_t *position_offsets,
                                   int32_t mask_id, float *log_probabilities)
{
    copies own = {.model = model, .into = log_probabilities};
    eh_status status = copies_init(&own, type_ids != NULL);
    for (int64_t r = 0; status == EH_OK && r < row_count; r++) {
        const int64_t length = offsets[r + 1] - offsets[r];
        for (int64_t k = position_offsets[r]; status == EH_OK && k < position_offsets[r + 1]; k++) {
            EH_ASSERT(positions[k] >= 0 && positions[k] < length);
            status = add_copy(&own, ids + offsets[r], type_ids == NULL ? NULL : type_ids + offsets[r], length,
                              positions[k], mask_id);
        }
    }
    if (status == EH_OK)
        status = score_copies(&own);
    eh_free(&own.ids);
    eh_free(&own.label_rows);
    eh_free(&own.label_ids);
    eh_free(&own.offsets);
    eh_free(&own.types);
    return status;
}
