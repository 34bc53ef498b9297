// Logits of padded batches, which we compute packed: what stands at padding must not matter.
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "model/conform_internal.h"

// Brings packed logits to where the padded batch has them; padding is 0.
static void unpack(const eh_conform_batch *own, const float *logits, int64_t outputs, float *padded)
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

static eh_status check_logits(eh_conform *conform, eh_model *model, const char *group, const eh_conform_batch *own)
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
    eh_conform_batch own = {0};
    eh_status status = eh_conform_batch_read(conform, model, group, &own);
    if (status == EH_OK)
        status = check_logits(conform, model, group, &own);
    eh_conform_batch_deinit(&own);
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
