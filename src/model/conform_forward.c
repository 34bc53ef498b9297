// Logits of padded batches, which we compute packed: what stands at padding must not matter.
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "model/conform_internal.h"

// A batch of the file, packed, with every position of the output side labelled.
typedef struct {
    eh_expected ids, mask, types, decoder_ids, decoder_mask;
    int32_t *packed, *decoder_packed, *rows;
    int64_t *offsets, *decoder_offsets;
    int32_t *packed_types;
    uint8_t *bytes; // the types
    eh_batch batch;
} packed_batch;

static void packed_deinit(packed_batch *own)
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

static eh_status read_types(packed_batch *own)
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

static eh_status read_batch(eh_conform *conform, const eh_model *model, const char *group, packed_batch *own)
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
    return EH_OK;
}

// Brings packed logits to where the padded batch has them; padding is 0.
static void unpack(const packed_batch *own, const float *logits, int64_t outputs, float *padded)
{
    const eh_expected *mask = own->decoder_mask.ints != NULL ? &own->decoder_mask : &own->mask;
    int64_t used = 0;
    for (int64_t i = 0; i < mask->count; i++)
        if (mask->ints[i] != 0)
            memcpy(padded + i * outputs, logits + outputs * used++, (size_t)outputs * sizeof *padded);
}

static void softmax(float *rows, int64_t count, int64_t width)
{
    for (int64_t r = 0; r < count; r++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++) sum += exp(rows[r * width + i]);
        for (int64_t i = 0; i < width; i++) rows[r * width + i] = (float)(exp(rows[r * width + i]) / sum);
    }
}

static eh_status compare(eh_conform *conform, const char *group, const char *name, const float *found, int64_t skip)
{
    char path[256];
    eh_expected expected = {0};
    eh_ratio ratio = {0};
    snprintf(path, sizeof path, "%s/%s", group, name);
    EH_TRY(eh_expected_read(conform, path, &expected));
    const eh_status status =
        eh_ratio_add(&ratio, found + skip, expected.floats, expected.count, expected.noise, expected.noise99);
    if (status == EH_OK)
        eh_conform_report(conform, path, &ratio);
    eh_expected_deinit(&expected);
    return status;
}

static eh_status check_logits(eh_conform *conform, eh_model *model, const char *group, const packed_batch *own)
{
    const int64_t labels = own->batch.label_count;
    const int64_t outputs = model->t.label_count > 0 ? model->t.label_count : model->t.vocab_size;
    const int64_t positions = own->decoder_ids.ints != NULL ? own->decoder_ids.count : own->ids.count;
    char tail[256];
    float *logits = NULL, *padded = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_ALLOC(labels * outputs, &logits));
    EH_TRY_OR(done, EH_ALLOC(positions * outputs, &padded));
    EH_TRY_OR(done, eh_model_logits(model, &own->batch, logits));
    if (model->t.label_count > 0) {
        EH_TRY_OR(done, compare(conform, group, "logits", logits, 0));
        softmax(logits, labels, outputs);
        status = compare(conform, group, "probabilities", logits, 0);
        goto done;
    }
    unpack(own, logits, outputs, padded);
    snprintf(tail, sizeof tail, "%s/logits_tail", group);
    status = eh_expected_exists(conform, tail)
                 ? compare(conform, group, "logits_tail", padded, (positions - 2) * outputs)
                 : compare(conform, group, "logits", padded, 0);
done:
    eh_free(&logits);
    eh_free(&padded);
    return status;
}

static eh_status check_group(eh_conform *conform, eh_model *model, const char *group)
{
    packed_batch own = {0};
    eh_status status = read_batch(conform, model, group, &own);
    if (status == EH_OK) {
        const eh_batch_limits limits = {
            .tokens = own.offsets[own.batch.sequence_count],
            .decoder_tokens = own.decoder_offsets != NULL ? own.decoder_offsets[own.batch.sequence_count] : 0,
            .sequences = own.batch.sequence_count,
            .labels = own.batch.label_count};
        status = eh_model_reserve(model, &limits);
    }
    if (status == EH_OK)
        status = check_logits(conform, model, group, &own);
    packed_deinit(&own);
    return status;
}

eh_status eh_conform_forward(eh_conform *conform, eh_model *model)
{
    static const char *const groups[] = {"forward/single", "forward/batch", "forward/batch_left", "forward/long"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (eh_expected_exists(conform, groups[i]))
            EH_TRY(check_group(conform, model, groups[i]));
    return EH_OK;
}
