// A padded batch of the expected file as a packed one of ours.
#include "core/memory.h"
#include "model/conform_internal.h"

void eh_conform_batch_deinit(eh_conform_batch *own)
{
    eh_expected_deinit(&own->ids);
    eh_expected_deinit(&own->mask);
    eh_expected_deinit(&own->types);
    eh_expected_deinit(&own->decoder_ids);
    eh_expected_deinit(&own->decoder_mask);
    eh_free(&own->packed);
    eh_free(&own->decoder_packed);
    eh_free(&own->rows);
    eh_free(&own->offsets);
    eh_free(&own->decoder_offsets);
    eh_free(&own->packed_types);
    eh_free(&own->bytes);
}

static eh_status read_part(eh_conform *conform, const char *group, const char *name, eh_expected *expected)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", group, name);
    return eh_expected_exists(conform, path) ? eh_expected_read(conform, path, expected) : EH_OK;
}

static eh_status read_types(eh_conform_batch *own)
{
    int64_t *offsets = NULL;
    eh_status status = eh_conform_pack(own->types.ints, own->mask.ints, own->ids.shape[0], own->ids.shape[1],
                                       &own->packed_types, &offsets);
    if (status == EH_OK)
        status = EH_ALLOC(own->ids.count, &own->bytes);
    for (int64_t i = 0; status == EH_OK && i < own->ids.count; i++) own->bytes[i] = (uint8_t)own->packed_types[i];
    eh_free(&offsets);
    own->batch.type_ids = own->bytes;
    return status;
}

eh_status eh_conform_batch_read(eh_conform *conform, eh_model *model, const char *group, eh_conform_batch *own)
{
    EH_TRY(read_part(conform, group, "input_ids", &own->ids));
    EH_TRY(read_part(conform, group, "attention_mask", &own->mask));
    EH_TRY(read_part(conform, group, "token_type_ids", &own->types));
    EH_TRY(read_part(conform, group, "decoder_input_ids", &own->decoder_ids));
    EH_TRY(read_part(conform, group, "decoder_attention_mask", &own->decoder_mask));
    const int64_t count = own->ids.shape[0];
    EH_TRY(eh_conform_pack(own->ids.ints, own->mask.ints, count, own->ids.shape[1], &own->packed, &own->offsets));
    if (own->types.count > 0 && own->types.ints != NULL)
        EH_TRY(read_types(own));
    int64_t labels = model->t.label_count > 0 ? count : own->offsets[count];
    if (own->decoder_ids.ints != NULL) {
        EH_TRY(eh_conform_pack(own->decoder_ids.ints, own->decoder_mask.ints, count, own->decoder_ids.shape[1],
                               &own->decoder_packed, &own->decoder_offsets));
        labels = own->decoder_offsets[count];
    }
    EH_TRY(EH_ALLOC(labels, &own->rows));
    for (int64_t i = 0; i < labels; i++) own->rows[i] = (int32_t)i;
    own->batch.sequence_count = count;
    own->batch.input_ids = own->packed;
    own->batch.input_offsets = own->offsets;
    own->batch.decoder_ids = own->decoder_packed;
    own->batch.decoder_offsets = own->decoder_offsets;
    own->batch.label_count = labels;
    own->batch.label_rows = own->rows;
    return eh_model_reserve(
        model, &(eh_batch_limits){.tokens = own->offsets[count],
                                  .decoder_tokens = own->decoder_offsets != NULL ? own->decoder_offsets[count] : 0,
                                  .sequences = count,
                                  .labels = labels});
}
