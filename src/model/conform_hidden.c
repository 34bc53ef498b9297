// The residual stream between the layers, which a model that was opened for training keeps: the input of the first
// layer, then each layer's output; the last has the final norm applied where there is one.
#include "core/memory.h"
#include "model/conform_internal.h"

// The stream before layer l, or behind the last one.
static eh_tensor stream_at(const eh_model *model, eh_stack stack, int64_t l)
{
    const eh_stack_work *work = &model->work.stacks[stack];
    const int64_t layers = model->t.layer_count[stack];
    const bool labelled = stack == eh_top_stack(&model->t); // every row has a label
    if (l < layers)
        return model->t.norm_first ? work->layers[l].attention_norm.sum : work->layers[l].input;
    if (!model->t.norm_first)
        return work->output;
    return labelled ? model->work.head_final_norm.y : work->final_norm.y;
}

static eh_status compare(eh_conform *conform, const eh_model *model, eh_stack stack, const char *path)
{
    eh_expected expected = {0};
    eh_ratio ratio = {0};
    float *found = NULL;
    const int64_t layers = model->t.layer_count[stack], rows = model->work.batch[stack].rows;
    const int64_t count = rows * model->t.hidden_size;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_expected_read(conform, path, &expected));
    if (expected.floats == NULL || expected.count != (layers + 1) * count) {
        status = eh_error(EH_INPUT, "%s: %s does not have %lld layers of %lld rows", conform->name, path,
                          (long long)layers + 1, (long long)rows);
        goto done;
    }
    EH_TRY_OR(done, EH_ALLOC(expected.count, &found));
    for (int64_t l = 0; l <= layers; l++) {
        const eh_tensor whole = stream_at(model, stack, l), stream = eh_first_rows(&whole, rows);
        EH_TRY_OR(done, eh_backend_download(conform->backend, &stream, found + l * count));
    }
    EH_TRY_OR(done, eh_ratio_add(&ratio, found, expected.floats, expected.count, expected.noise, expected.noise99));
    eh_conform_report(conform, path, &ratio);
done:
    eh_free(&found);
    eh_expected_deinit(&expected);
    return status;
}

static eh_status run(eh_conform *conform, eh_model *model)
{
    eh_conform_batch own = {0};
    float *logits = NULL;
    const int64_t outputs = model->t.label_count > 0 ? model->t.label_count : model->t.vocab_size;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_conform_batch_read(conform, model, "forward/single", &own));
    EH_TRY_OR(done, EH_ALLOC(own.batch.label_count * outputs, &logits));
    EH_TRY_OR(done, eh_model_logits(model, &own.batch, logits));
    if (model->t.kind != EH_ENCODER_DECODER) {
        status = compare(conform, model, eh_top_stack(&model->t), "forward/single/hidden_states");
        goto done;
    }
    EH_TRY_OR(done, compare(conform, model, EH_STACK_ENCODER, "forward/single/encoder_hidden_states"));
    status = compare(conform, model, EH_STACK_DECODER, "forward/single/decoder_hidden_states");
done:
    eh_free(&logits);
    eh_conform_batch_deinit(&own);
    return status;
}

eh_status eh_conform_hidden(eh_conform *conform)
{
    eh_model *model = NULL;
    if (!eh_expected_exists(conform, "forward/single/hidden_states") &&
        !eh_expected_exists(conform, "forward/single/decoder_hidden_states"))
        return EH_OK;
    EH_TRY(eh_model_open(conform->backend, conform->folder, EH_F32, EH_FOR_TRAINING, &model));
    const eh_status status = run(conform, model);
    eh_model_close(&model);
    return status;
}
