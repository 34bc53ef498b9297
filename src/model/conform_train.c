// Ten steps of training: losses, gradient norms, the first step's gradients, and parameters after one step and after
// ten, as transformers.Trainer makes them (AdamW, linear schedule, clipping to norm 1; dropout off).
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "model/conform_internal.h"

typedef struct {
    eh_model *model;
    eh_expected ids, mask, types, labels;
    eh_buffer *m, *v;
    float *block;           // host copy of weights or gradients
    float *first_gradients; // of step 0
    // One step's batch.
    int32_t *packed, *decoder_ids, *rows, *targets;
    int64_t *offsets, *decoder_offsets;
    uint8_t *packed_types;
    float *weights, *log_probabilities;
    eh_batch batch;
} training;

static void training_deinit(training *t)
{
    eh_model_close(&t->model);
    eh_expected_deinit(&t->ids);
    eh_expected_deinit(&t->mask);
    eh_expected_deinit(&t->types);
    eh_expected_deinit(&t->labels);
    eh_buffer_free(&t->m);
    eh_buffer_free(&t->v);
    eh_free(&t->block);
    eh_free(&t->first_gradients);
    eh_free(&t->packed);
    eh_free(&t->decoder_ids);
    eh_free(&t->rows);
    eh_free(&t->targets);
    eh_free(&t->offsets);
    eh_free(&t->decoder_offsets);
    eh_free(&t->packed_types);
    eh_free(&t->weights);
    eh_free(&t->log_probabilities);
}

static eh_status training_init(eh_conform *conform, training *t)
{
    EH_TRY(eh_model_open(conform->backend, conform->folder, EH_F32, EH_FOR_TRAINING, &t->model));
    EH_TRY(eh_expected_read(conform, "train/batches/input_ids", &t->ids));
    EH_TRY(eh_expected_read(conform, "train/batches/attention_mask", &t->mask));
    EH_TRY(eh_expected_read(conform, "train/batches/labels", &t->labels));
    if (eh_expected_exists(conform, "train/batches/token_type_ids"))
        EH_TRY(eh_expected_read(conform, "train/batches/token_type_ids", &t->types));
    const int64_t rows = t->ids.shape[1], tokens = rows * t->ids.shape[2];
    const int64_t labels = t->labels.count / t->labels.shape[0], count = eh_model_weight_count(t->model);
    const size_t bytes = (size_t)count * sizeof(float);
    EH_TRY(eh_buffer_new(conform->backend, bytes, "optimiser state", &t->m));
    EH_TRY(eh_buffer_new(conform->backend, bytes, "optimiser state", &t->v));
    EH_TRY(EH_ALLOC(count, &t->block));
    EH_TRY(EH_ALLOC(count, &t->first_gradients));
    EH_TRY(EH_ALLOC(tokens, &t->packed));
    EH_TRY(EH_ALLOC(tokens, &t->packed_types));
    EH_TRY(EH_ALLOC(labels, &t->decoder_ids));
    EH_TRY(EH_ALLOC(labels, &t->rows));
    EH_TRY(EH_ALLOC(labels, &t->targets));
    EH_TRY(EH_ALLOC(labels, &t->weights));
    EH_TRY(EH_ALLOC(labels, &t->log_probabilities));
    EH_TRY(EH_ALLOC(rows + 1, &t->offsets));
    EH_TRY(EH_ALLOC(rows + 1, &t->decoder_offsets));
    return eh_model_reserve(t->model, &(eh_batch_limits){tokens, labels, rows, labels});
}

static void add_label(training *t, int64_t row, int32_t id)
{
    t->rows[t->batch.label_count] = (int32_t)row;
    t->targets[t->batch.label_count++] = id;
}

// T5: the decoder reads the labels, one place to the right behind its start token.
static void pack_target(training *t, const int32_t *labels, int64_t width, int64_t r)
{
    int64_t used = t->decoder_offsets[r], length = width;
    while (length > 0 && labels[length - 1] < 0) length--; // padding
    for (int64_t i = 0; i < length; i++) {
        t->decoder_ids[used] = i == 0 ? t->model->t.special.decoder_start : labels[i - 1];
        add_label(t, used++, labels[i]);
    }
    t->decoder_offsets[r + 1] = used;
}

static void pack_step(training *t, int64_t step)
{
    const int64_t rows = t->ids.shape[1], width = t->ids.shape[2],
                  label_width = t->labels.count / t->labels.shape[0] / rows;
    const bool causal = t->model->t.head == EH_HEAD_CAUSAL, seq2seq = t->model->t.head == EH_HEAD_SEQ2SEQ;
    int64_t used = 0;
    t->batch = (eh_batch){.sequence_count = rows};
    for (int64_t r = 0; r < rows; r++) {
        const int64_t from = (step * rows + r) * width;
        const int32_t *labels = t->labels.ints + (step * rows + r) * label_width;
        const int64_t begin = used;
        for (int64_t i = 0; i < width; i++) {
            if (t->mask.ints[from + i] == 0)
                continue;
            t->packed[used] = t->ids.ints[from + i];
            t->packed_types[used] = t->types.ints != NULL ? (uint8_t)t->types.ints[from + i] : 0;
            if (!seq2seq && label_width == width && labels[i] >= 0 && (!causal || used > begin))
                add_label(t, causal ? used - 1 : used, labels[i]);
            used++;
        }
        t->offsets[r + 1] = used;
        if (seq2seq)
            pack_target(t, labels, label_width, r);
        if (t->model->t.label_count > 0)
            add_label(t, r, labels[0]);
    }
    for (int64_t i = 0; i < t->batch.label_count; i++) t->weights[i] = 1 / (float)t->batch.label_count;
    t->batch.input_ids = t->packed;
    t->batch.input_offsets = t->offsets;
    t->batch.type_ids = t->types.ints != NULL ? t->packed_types : NULL;
    t->batch.decoder_ids = t->decoder_ids;
    t->batch.decoder_offsets = t->decoder_offsets;
    t->batch.label_rows = t->rows;
    t->batch.label_ids = t->targets;
    t->batch.label_weights = t->weights;
}

static eh_tensor part(const eh_tensor *block, int64_t first, int64_t count)
{
    return eh_tensor_rows(block, first, count);
}

// Clips, then AdamW for each parameter, with weight decay where the reference has it.
static eh_status optimise(training *t, int64_t step, double learning_rate, double norm)
{
    const eh_tensor weights = eh_model_weights(t->model), gradients = eh_model_gradients(t->model);
    eh_tensor m = gradients, v = gradients;
    m.buffer = t->m;
    v.buffer = t->v;
    const double factor = 1 / (norm + 1e-6);
    for (int64_t p = 0; p < eh_model_parameter_count(t->model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(t->model)[p];
        const eh_adamw adamw = {.learning_rate = (float)learning_rate,
                                .beta1 = 0.9f,
                                .beta2 = 0.999f,
                                .eps = 1e-8f,
                                .weight_decay = parameter->decays ? 0.01f : 0,
                                .grad_scale = factor < 1 ? (float)factor : 1,
                                .step = step + 1};
        const eh_tensor w = part(&weights, parameter->offset, parameter->count);
        const eh_tensor g = part(&gradients, parameter->offset, parameter->count);
        const eh_tensor own_m = part(&m, parameter->offset, parameter->count);
        const eh_tensor own_v = part(&v, parameter->offset, parameter->count);
        EH_TRY(eh_adamw_step(t->model->backend, &adamw, &w, &g, &own_m, &own_v, NULL));
    }
    return eh_model_weights_changed(t->model);
}

// The bias of attention's keys has no gradient (it adds the same to all scores of a row, which the softmax takes away);
// what one computes is rounding, which Adam turns into steps of any size up to the learning rate. The oracle says to
// leave it out; here it may be off by as much as two such walks can be apart, so that a wrong start or a wild step is
// seen.
static bool is_key_bias(const eh_model *model, const eh_slot *slot, int64_t i)
{
    const eh_transformer *t = &model->t;
    if (!slot->is_bias)
        return false;
    if (slot->role == EH_ATTENTION_KEY)
        return true;
    if (slot->role != EH_ATTENTION_QKV)
        return false;
    const int64_t width = t->head_count * t->head_size;
    return t->qkv_layout == EH_QKV_PER_HEAD ? i / t->head_size % 3 == 1 : i / width == 1;
}

// AdamW's first step, for a learning rate of 1.
static double first_step(double gradient)
{
    return gradient / (fabs(gradient) + 1e-8);
}

// Adam divides by the gradient's size, so where a gradient is next to nothing its rounding is not: in a vector whose
// largest is 0.11 roberta-toxic has one of -1.2e-6, terms that cancel (PyTorch's own error there may be 6.6e-8, ours on
// the CPU is 3.8e-8); clipped to -9.4e-8, beside an eps of 1e-8, that moves the first step by 2.8e-6. No order of the
// sum mends it, for the terms come rounded. So the found value may be off by as much as the first step differs between
// the gradient that was found, which has been held against its own bound, and the one expected: by no more than that.
// After more steps than one the same is allowed: that of the first, whose rate is the largest. So a parameter whose
// gradient is not next to nothing (one of 1e-3 that is off by 1e-5 of itself moves the step by 1e-10) is held to the
// oracle's own bound.
static eh_status allow_for_rounding(eh_conform *conform, const training *t, int64_t p, int64_t steps, float *found,
                                    const eh_expected *expected)
{
    const eh_parameter *parameter = &eh_model_parameters(t->model)[p];
    const float *own = t->first_gradients + parameter->offset;
    eh_expected gradient = {0}, norm = {0}, rate = {0};
    char path[320];
    eh_status status = EH_OK;
    snprintf(path, sizeof path, "train/grads/%s", parameter->name);
    EH_TRY_OR(done, eh_expected_read(conform, path, &gradient));
    EH_TRY_OR(done, eh_expected_read(conform, "train/grad_norm", &norm));
    EH_TRY_OR(done, eh_expected_read(conform, "train/learning_rate", &rate));
    const double clip = 1 / fmax((double)norm.floats[0] + 1e-6, 1);
    double walk = 0; // two walks may be so far apart; a step of Adam's first ten is at most 1.05 times its rate
    for (int64_t s = 0; s < steps && s < rate.count; s++) walk += 2 * 1.05 * (double)rate.floats[s];
    for (int64_t i = 0; i < parameter->count && gradient.count == parameter->count; i++) {
        const double off = (double)found[i] - (double)expected->floats[i];
        double allowed = (double)rate.floats[0] *
                         fabs(first_step((double)own[i] * clip) - first_step((double)gradient.floats[i] * clip));
        const bool walks = is_key_bias(t->model, &t->model->layout.slots[p], i);
        if (walks)
            allowed = walk;
        if (walks ||
            gradient.floats[i] != 0) // one that is exactly 0 (an unused embedding) leaves the parameter as it is
            found[i] = (float)((double)expected->floats[i] + copysign(fmax(fabs(off) - allowed, 0), off));
        if (isnan(off))
            found[i] = NAN;
    }
done:
    eh_expected_deinit(&gradient);
    eh_expected_deinit(&norm);
    eh_expected_deinit(&rate);
    return status;
}

// All parameters of train/<group> against the weights after so many steps; steps 0: the gradients.
static eh_status compare_block(eh_conform *conform, training *t, const char *group, int64_t steps)
{
    const bool is_weights = steps > 0;
    const eh_tensor block = is_weights ? eh_model_weights(t->model) : eh_model_gradients(t->model);
    eh_ratio ratio = {0};
    char path[320];
    EH_TRY(eh_backend_download(conform->backend, &block, t->block));
    for (int64_t p = 0; p < eh_model_parameter_count(t->model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(t->model)[p];
        eh_expected expected = {0};
        snprintf(path, sizeof path, "%s/%s", group, parameter->name);
        EH_TRY(eh_expected_read(conform, path, &expected));
        eh_status status = EH_OK;
        if (expected.count != parameter->count)
            status = eh_error(EH_INPUT, "%s: %s has %lld values, the model has %lld", conform->name, path,
                              (long long)expected.count, (long long)parameter->count);
        if (status == EH_OK && is_weights)
            status = allow_for_rounding(conform, t, p, steps, t->block + parameter->offset, &expected);
        if (status == EH_OK)
            status = eh_ratio_add(&ratio, t->block + parameter->offset, expected.floats, expected.count, expected.noise,
                                  expected.noise99);
        eh_expected_deinit(&expected);
        EH_TRY(status);
    }
    eh_conform_report(conform, group, &ratio);
    return EH_OK;
}

static eh_status run_steps(eh_conform *conform, training *t, float *losses, float *norms, const float *rates)
{
    const eh_tensor gradients = eh_model_gradients(t->model);
    for (int64_t step = 0; step < t->ids.shape[0]; step++) {
        double square = 0, loss = 0;
        pack_step(t, step);
        EH_TRY(eh_fill(conform->backend, 0, &gradients));
        EH_TRY(eh_model_backward(t->model, &t->batch, 0, 0, t->log_probabilities));
        for (int64_t i = 0; i < t->batch.label_count; i++)
            loss -= (double)t->weights[i] * (double)t->log_probabilities[i];
        EH_TRY(eh_squared_norm(conform->backend, &gradients, &square));
        losses[step] = (float)loss;
        norms[step] = (float)sqrt(square);
        if (step == 0) {
            EH_TRY(eh_backend_download(conform->backend, &gradients, t->first_gradients));
            EH_TRY(compare_block(conform, t, "train/grads", 0));
        }
        EH_TRY(optimise(t, step, rates[step], sqrt(square)));
        if (step == 0)
            EH_TRY(compare_block(conform, t, "train/params_1", 1));
    }
    return compare_block(conform, t, "train/params_10", t->ids.shape[0]);
}

static eh_status compare_curve(eh_conform *conform, const char *path, const float *found)
{
    eh_expected expected = {0};
    eh_ratio ratio = {0};
    EH_TRY(eh_expected_read(conform, path, &expected));
    const eh_status status =
        eh_ratio_add(&ratio, found, expected.floats, expected.count, expected.noise, expected.noise99);
    if (status == EH_OK)
        eh_conform_report(conform, path, &ratio);
    eh_expected_deinit(&expected);
    return status;
}

eh_status eh_conform_train(eh_conform *conform)
{
    training t = {0};
    eh_expected rates = {0};
    float *losses = NULL, *norms = NULL;
    eh_status status = EH_OK;
    if (!eh_expected_exists(conform, "train/batches"))
        return EH_OK;
    EH_TRY_OR(done, training_init(conform, &t));
    EH_TRY_OR(done, eh_expected_read(conform, "train/learning_rate", &rates));
    if (rates.count != t.ids.shape[0]) {
        status = eh_error(EH_INPUT, "%s: train/learning_rate does not have one value per step", conform->name);
        goto done;
    }
    EH_TRY_OR(done, EH_ALLOC(rates.count, &losses));
    EH_TRY_OR(done, EH_ALLOC(rates.count, &norms));
    EH_TRY_OR(done, run_steps(conform, &t, losses, norms, rates.floats));
    EH_TRY_OR(done, compare_curve(conform, "train/loss", losses));
    status = compare_curve(conform, "train/grad_norm", norms);
done:
    eh_expected_deinit(&rates);
    eh_free(&losses);
    eh_free(&norms);
    training_deinit(&t);
    return status;
}
