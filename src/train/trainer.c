#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"

eh_model_facts eh_model_facts_of(const eh_model *model)
{
    return (eh_model_facts){.kind = eh_model_kind_of(model),
                            .head = eh_model_head(model),
                            .vocab_size = eh_model_vocab_size(model),
                            .max_length = eh_model_max_length(model),
                            .special = eh_model_special_ids(model)};
}

// --- Set-up -----------------------------------------------------------------------------------------------

static int64_t longest_unit(const eh_partition *partition)
{
    int64_t longest = 0;
    for (int64_t u = 0; u < partition->unit_count; u++)
        if (!partition->units[u].frozen && partition->units[u].count > longest)
            longest = partition->units[u].count;
    return longest;
}

// The ranks' gradients meet in host memory. Where the device's memory is the host's, nothing is copied on the way.
static eh_status connect_gradients(eh_trainer *trainer)
{
    const eh_tensor own = eh_model_gradients(trainer->model), weights = eh_model_weights(trainer->model);
    const int64_t count = eh_model_gradient_count(trainer->model);
    trainer->is_apart = eh_tensor_host(&weights) == NULL;
    if (trainer->is_apart && (trainer->level == 1 || trainer->level == 2))
        EH_TRY(EH_ALLOC(longest_unit(&trainer->partition), &trainer->host_weights));
    if (trainer->level >= 2) {
        trainer->gradient = (eh_tensor){.dtype = EH_F32, .dimension_count = 1, .shape = {trainer->partition.sum_count}};
        const float *sum = eh_split_reducer_result(eh_model_gradient_sum(trainer->model));
        const size_t bytes = eh_tensor_bytes(&trainer->gradient);
        EH_TRY(trainer->is_apart ? eh_buffer_new(trainer->backend, bytes, "the gradients' sum", &trainer->sum_view)
                                 : eh_buffer_view(trainer->backend, sum, bytes, &trainer->sum_view));
        trainer->gradient.buffer = trainer->sum_view;
        return EH_OK;
    }
    trainer->gradient = own;
    if (trainer->reducer == NULL)
        return EH_OK;
    if (trainer->is_apart)
        return EH_ALLOC(count, &trainer->staging);
    EH_TRY(eh_buffer_view(trainer->backend, eh_tree_reducer_result(trainer->reducer), (size_t)count * sizeof(float),
                          &trainer->sum_view));
    trainer->gradient.buffer = trainer->sum_view;
    trainer->gradient.offset = 0;
    return EH_OK;
}

static eh_status init_local(eh_trainer *trainer)
{
    const eh_job_train *train = &trainer->job->train;
    EH_TRY(eh_batches_init(trainer->set, train, trainer->job->seed, &trainer->batches));
    const eh_batch_limits *limits = &trainer->batches.limits;
    EH_TRY(eh_packed_batch_init(limits, &trainer->packed));
    const char *recompute = trainer->job->memory.recompute; // NULL in tests that make a job by hand
    eh_model_set_recompute(trainer->model, recompute != NULL && strcmp(recompute, "blocks") == 0);
    EH_TRY(eh_model_reserve(trainer->model, limits));
    EH_TRY(EH_ALLOC(limits->labels, &trainer->log_probabilities));
    const int64_t chunks = trainer->batches.chunk_count;
    const int64_t told = 2 * train->micro_batches + 1; // losses, divergences, `ask`
    trainer->exchange_count = told > chunks ? told : chunks;
    EH_TRY(EH_ALLOC(trainer->exchange_count, &trainer->exchange));
    eh_unit *units;
    int64_t unit_count;
    EH_TRY(eh_model_units(trainer->model, &units, &unit_count));
    EH_TRY(eh_partition_init(units, unit_count, eh_comm_rank(trainer->comm), eh_comm_size(trainer->comm),
                             &trainer->partition));
    EH_TRY(eh_gathering_init(eh_comm_size(trainer->comm), &trainer->gathering));
    EH_TRY(EH_ALLOC(trainer->partition.piece_first[unit_count], &trainer->norm_sums));
    trainer->level = eh_model_sharing_level(trainer->model);
    if (trainer->level == 0 && trainer->job->memory.zero > 0) // level 1 is all the optimizer's
        trainer->level = 1;
    EH_TRY(eh_norm_stretches(&trainer->partition, trainer->level >= 2, trainer->norm_sums, &trainer->norm_stretches,
                             &trainer->norm_stretch_count));
    const char *offload = trainer->job->memory.offload;
    const bool offloads = offload != NULL && strcmp(offload, "optimizer") == 0;
    return eh_optimizer_init(trainer->backend, trainer->model, train, &trainer->partition, trainer->level,
                             offloads ? trainer->job->output : NULL, &trainer->optimizer);
}

eh_status eh_trainer_init(eh_comm *comm, eh_backend *backend, eh_model *model, const eh_job *job,
                          const eh_training_set *set, eh_trainer *trainer)
{
    *trainer = (eh_trainer){.comm = comm, .backend = backend, .model = model, .job = job, .set = set};
    trainer->loss_scale = eh_loss_scale_begin(eh_model_compute_dtype(model) == EH_F16,
                                              job->train.loss_scale > 0 ? job->train.loss_scale : 1);
    EH_TRY(eh_comm_agree(comm, init_local(trainer)));
    trainer->tree = strcmp(job->train.reduction, "tree") == 0;
    const int64_t leaves = trainer->tree ? job->train.micro_batches : eh_comm_size(comm);
    if (trainer->level >= 2)
        return eh_comm_agree(comm, connect_gradients(trainer));
    const eh_tensor own = eh_model_gradients(model);
    const bool is_sum = eh_comm_size(comm) == 1 && leaves == 1; // there is but one gradient
    if (!trainer->tree && trainer->level == 0 && eh_tensor_host(&own) == NULL)
        EH_TRY(eh_device_sum_new(comm, backend, &own, 0, &trainer->device_sum));
    else if (!is_sum)
        EH_TRY(eh_tree_reducer_new(comm, eh_model_gradient_count(model), leaves, &trainer->reducer));
    if (trainer->tree && !is_sum)
        eh_tree_reducer_leaves(trainer->reducer, &trainer->first_micro, &trainer->own_micro_count);
    else
        eh_comm_slice(comm, job->train.micro_batches, &trainer->first_micro, &trainer->own_micro_count);
    return eh_comm_agree(comm, connect_gradients(trainer));
}

eh_status eh_trainer_stay_near(eh_trainer *trainer, eh_model *start)
{
    const eh_batch_limits *limits = &trainer->batches.limits;
    EH_TRY(eh_model_reserve(start, limits));
    EH_TRY(eh_near_reserve(trainer->model, start, limits->labels));
    EH_TRY(EH_ALLOC(limits->labels, &trainer->near.divergences));
    trainer->near.start = start;
    trainer->near.weight = (float)trainer->job->train.kl;
    return EH_OK;
}

void eh_trainer_deinit(eh_trainer *trainer)
{
    eh_anchor_deinit(&trainer->anchor);
    eh_free(&trainer->near.divergences);
    eh_optimizer_deinit(&trainer->optimizer);
    eh_buffer_free(&trainer->sum_view);
    eh_tree_reducer_free(&trainer->reducer);
    eh_device_sum_free(&trainer->device_sum);
    eh_partition_deinit(&trainer->partition);
    eh_gathering_deinit(&trainer->gathering);
    eh_packed_batch_deinit(&trainer->packed);
    eh_batches_deinit(&trainer->batches);
    eh_free(&trainer->staging);
    eh_free(&trainer->host_weights);
    eh_free(&trainer->log_probabilities);
    eh_free(&trainer->exchange);
    eh_free(&trainer->norm_sums);
    eh_free(&trainer->norm_stretches);
    *trainer = (eh_trainer){0};
}

int64_t eh_trainer_trained_count(const eh_trainer *trainer)
{
    const eh_parameter *parameters = eh_model_parameters(trainer->model);
    int64_t count = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(trainer->model); p++)
        count += parameters[p].trains ? parameters[p].count : 0;
    return count;
}

// --- A step -----------------------------------------------------------------------------------------------

static double sum_of_losses(const float *log_probabilities, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum -= (double)log_probabilities[i];
    return sum;
}

static eh_status add_to_reducer(eh_trainer *trainer)
{
    const eh_tensor own = eh_model_gradients(trainer->model);
    if (trainer->staging) {
        EH_TRY(eh_backend_download(trainer->backend, &own, trainer->staging));
        return eh_tree_reducer_add(trainer->reducer, trainer->staging);
    }
    EH_TRY(eh_backend_wait(trainer->backend));
    return eh_tree_reducer_add(trainer->reducer, eh_tensor_host(&own));
}

// On a GPU the gradient of a prefix's keys is the work of one block for all that read it: there nothing is shared.
static bool shares_prefixes(const eh_trainer *trainer, float dropout)
{
    return !trainer->is_apart && !eh_model_drops(trainer->model, dropout);
}

static eh_status micro_batch_gradient(eh_trainer *trainer, int64_t micro)
{
    double *loss = &trainer->exchange[micro], *divergence = &trainer->exchange[trainer->batches.micro_count + micro];
    const eh_nearness *near = trainer->near.start != NULL ? &trainer->near : NULL;
    eh_batches *batches = &trainer->batches;
    const int64_t first = batches->micro_first[micro], count = batches->micro_first[micro + 1] - first;
    trainer->packed.shares = shares_prefixes(trainer, (float)trainer->job->train.dropout);
    eh_packed_batch_fill(&trainer->packed, trainer->set, batches->seed, batches->pass, batches->examples + first, count,
                         (float)trainer->loss_scale.scale / (float)batches->label_count);
    *loss = *divergence = 0;
    if (trainer->packed.batch.label_count == 0)
        return eh_model_pass_by(trainer->model, true);
    const uint64_t dropout_seed = eh_random_u64(
        batches->seed, EH_STREAM_DROPOUT, (uint64_t)batches->step * (uint64_t)batches->micro_count + (uint64_t)micro);
    EH_TRY(eh_model_backward_near(trainer->model, near, &trainer->packed.batch, (float)trainer->job->train.dropout,
                                  dropout_seed, trainer->log_probabilities));
    *loss = sum_of_losses(trainer->log_probabilities, trainer->packed.batch.label_count);
    for (int64_t i = 0; near != NULL && i < trainer->packed.batch.label_count; i++)
        *divergence += (double)near->divergences[i];
    return EH_OK;
}

// The model adds gradients up as it goes; all ranks have a micro-batch in a round, but for the last one.
static eh_status divided_gradients(eh_trainer *trainer)
{
    const eh_split_reducer *reducer = eh_model_gradient_sum(trainer->model);
    const int64_t rounds = eh_split_reducer_rounds(reducer);
    for (int64_t round = 0; round < rounds; round++) {
        const int64_t micro = eh_split_reducer_leaf(reducer);
        EH_TRY(micro >= 0 ? micro_batch_gradient(trainer, micro) : eh_model_pass_by(trainer->model, true));
    }
    return EH_OK;
}

static eh_status layer_is_ready(void *context, int64_t first, int64_t count)
{
    const eh_trainer *trainer = context;
    if (trainer->device_sum != NULL)
        return eh_device_sum_ready(trainer->device_sum, first, count);
    const eh_tensor own = eh_model_gradients(trainer->model);
    EH_TRY(eh_backend_wait(trainer->backend));
    return eh_tree_reducer_add_stretch(trainer->reducer, first, count, (const float *)eh_tensor_host(&own) + first);
}

// The last micro-batch's backward pass tells which layers' gradients are done, and their sums begin behind it. Not
// where the sum is the host's and the gradients are a device's: to fetch a layer would hold up what is queued there.
static eh_status last_gradient(eh_trainer *trainer, int64_t micro)
{
    if (trainer->device_sum != NULL || (trainer->reducer != NULL && !trainer->is_apart))
        eh_model_tell_gradients(trainer->model, layer_is_ready, trainer);
    const eh_status status = micro_batch_gradient(trainer, micro);
    eh_model_tell_gradients(trainer->model, NULL, NULL);
    return status;
}

static eh_status own_gradients(eh_trainer *trainer)
{
    const eh_tensor own = eh_model_gradients(trainer->model);
    for (int64_t i = 0; i < trainer->own_micro_count; i++) {
        const int64_t micro = trainer->first_micro + i;
        if (trainer->tree || i == 0)
            EH_TRY(eh_model_clear_gradients(trainer->model));
        EH_TRY(i + 1 < trainer->own_micro_count ? micro_batch_gradient(trainer, micro) : last_gradient(trainer, micro));
        if (trainer->tree && trainer->reducer != NULL)
            EH_TRY(add_to_reducer(trainer));
    }
    if (trainer->tree)
        return EH_OK;
    if (trainer->own_micro_count == 0)
        EH_TRY(eh_fill(trainer->backend, 0, &own));
    return trainer->reducer == NULL ? EH_OK : add_to_reducer(trainer);
}

// Of the sum in host memory, what this rank steps with.
static eh_status bring_to_device(eh_trainer *trainer, const float *sum)
{
    const eh_partition *partition = &trainer->partition;
    if (trainer->level == 0)
        return eh_backend_upload(trainer->backend, sum, &trainer->gradient);
    for (int64_t u = 0; u < partition->unit_count; u++) {
        const eh_unit *unit = &partition->units[u];
        const int64_t first = unit->gradient_first + partition->own[u].first - unit->first;
        if (unit->frozen)
            continue;
        const eh_tensor own = eh_tensor_rows(&trainer->gradient, first, partition->own[u].count);
        EH_TRY(eh_backend_upload(trainer->backend, sum + first, &own));
    }
    return EH_OK;
}

static eh_status sum_gradients(eh_trainer *trainer)
{
    const float *sum;
    EH_TRY(own_gradients(trainer));
    if (trainer->reducer == NULL)
        return trainer->device_sum != NULL ? eh_device_sum_finish(trainer->device_sum) : EH_OK;
    EH_TRY(eh_tree_reducer_finish_view(trainer->reducer, &sum));
    return trainer->is_apart ? bring_to_device(trainer, sum) : EH_OK;
}

static eh_status sum_divided_gradients(eh_trainer *trainer)
{
    EH_TRY(divided_gradients(trainer));
    const float *sum = eh_split_reducer_result(eh_model_gradient_sum(trainer->model));
    return trainer->is_apart ? eh_backend_upload(trainer->backend, sum, &trainer->gradient) : EH_OK;
}

static eh_status pull(eh_trainer *trainer)
{
    EH_TRY(eh_anchor_pull(&trainer->anchor, trainer->model, (float)trainer->loss_scale.scale, &trainer->gradient));
    const bool is_shared = trainer->level == 0 && !trainer->is_apart;
    if (trainer->job->train.l2 == 0 || !is_shared)
        return EH_OK;
    EH_TRY(eh_backend_wait(trainer->backend));
    return eh_comm_barrier(trainer->comm); // each has pulled a slice of what all read
}

// Each rank takes its share of the pieces; the sum over pieces has one order.
static eh_status gradient_norm(eh_trainer *trainer, double *norm)
{
    const eh_partition *partition = &trainer->partition;
    const int64_t count = partition->piece_first[partition->unit_count];
    memset(trainer->norm_sums, 0, (size_t)count * sizeof *trainer->norm_sums);
    EH_TRY(
        eh_squared_norms(trainer->backend, &trainer->gradient, trainer->norm_stretches, trainer->norm_stretch_count));
    EH_TRY(eh_comm_sum_double(trainer->comm, trainer->norm_sums, (int)count));
    *norm = eh_norm_of_pieces(trainer->norm_sums, count);
    return EH_OK;
}

eh_status eh_trainer_gradients(eh_trainer *trainer, bool ask, eh_step_outcome *outcome)
{
    const eh_batches *batches = &trainer->batches;
    const int64_t micro_count = batches->micro_count;
    const int64_t told = 2 * micro_count + 1;
    memset(trainer->exchange, 0, (size_t)told * sizeof *trainer->exchange);
    trainer->exchange[told - 1] = ask;
    if (trainer->reducer != NULL)
        eh_tree_reducer_release(trainer->reducer); // the last step is done
    EH_TRY(trainer->level >= 2 ? sum_divided_gradients(trainer) : sum_gradients(trainer));
    EH_TRY(pull(trainer));
    EH_TRY(eh_comm_sum_double(trainer->comm, trainer->exchange, (int)told));
    *outcome = (eh_step_outcome){.label_count = batches->label_count, .asked = trainer->exchange[told - 1] > 0};
    for (int64_t micro = 0; micro < micro_count; micro++) {
        outcome->loss += trainer->exchange[micro];
        outcome->divergence += trainer->exchange[micro_count + micro];
    }
    outcome->loss /= (double)batches->label_count;
    outcome->divergence = trainer->near.start != NULL ? outcome->divergence / (double)batches->label_count : NAN;
    for (int64_t i = 0; i < batches->example_count; i++) {
        const int64_t e = batches->examples[i];
        outcome->token_count += trainer->set->id_offsets[e + 1] - trainer->set->id_offsets[e] +
                                trainer->set->decoder_offsets[e + 1] - trainer->set->decoder_offsets[e];
    }
    outcome->learning_rate = eh_learning_rate(&trainer->job->train, batches->step, batches->step_count);
    EH_TRY(gradient_norm(trainer, &outcome->gradient_norm));
    outcome->gradient_norm /= trainer->loss_scale.scale;
    return EH_OK;
}

// Each rank has stepped its stretches of the weights; all get all of them.
static eh_status share_weights(eh_trainer *trainer)
{
    const eh_partition *partition = &trainer->partition;
    const eh_tensor block = eh_model_weights(trainer->model);
    float *weights = eh_tensor_host(&block);
    EH_TRY(eh_backend_wait(trainer->backend));
    for (int64_t u = 0; u < partition->unit_count; u++) {
        const eh_unit *unit = &partition->units[u];
        const eh_stretch *own = &partition->own[u];
        if (unit->frozen)
            continue;
        float *whole = trainer->is_apart ? trainer->host_weights : weights + unit->first;
        float *part = whole + (own->first - unit->first);
        const eh_tensor device_part = eh_tensor_rows(&block, own->first, own->count);
        const eh_tensor device_whole = eh_tensor_rows(&block, unit->first, unit->count);
        if (trainer->is_apart)
            EH_TRY(eh_backend_download(trainer->backend, &device_part, part));
        EH_TRY(eh_gathering_begin(trainer->comm, partition, u, sizeof *weights, part, whole, &trainer->gathering));
        EH_TRY(eh_gathering_end(&trainer->gathering));
        if (trainer->is_apart)
            EH_TRY(eh_backend_upload(trainer->backend, whole, &device_whole));
    }
    return eh_model_weights_changed(trainer->model);
}

eh_status eh_trainer_update(eh_trainer *trainer, const eh_step_outcome *outcome)
{
    const int64_t step = trainer->batches.step + 1 - trainer->loss_scale.skipped_count; // of those that were made
    const double clipping = eh_clipping_scale(trainer->job->train.clip, outcome->gradient_norm);
    EH_TRY(eh_optimizer_step(&trainer->optimizer, &trainer->gradient, step, outcome->learning_rate,
                             clipping / trainer->loss_scale.scale));
    return trainer->level == 1 || trainer->level == 2 ? share_weights(trainer)
                                                      : eh_model_weights_stepped(trainer->model);
}

// --- Held-out loss ----------------------------------------------------------------------------------------

eh_status eh_trainer_holdout(eh_trainer *trainer, double *loss, double *general)
{
    const eh_batches *batches = &trainer->batches;
    *loss = *general = NAN;
    if (batches->chunk_count == 0)
        return EH_OK;
    memset(trainer->exchange, 0, (size_t)batches->chunk_count * sizeof *trainer->exchange);
    for (int64_t c = eh_comm_rank(trainer->comm), round = 0; round < batches->chunk_count;
         c += eh_comm_size(trainer->comm), round += eh_comm_size(trainer->comm)) {
        if (c >= batches->chunk_count) {
            EH_TRY(eh_model_pass_by(trainer->model, false));
            continue;
        }
        const int64_t first = batches->chunk_first[c];
        trainer->packed.shares = shares_prefixes(trainer, 0);
        eh_packed_batch_fill(&trainer->packed, trainer->set, batches->seed, EH_HOLDOUT_PASS, batches->holdout + first,
                             batches->chunk_first[c + 1] - first, 0);
        eh_batch batch = trainer->packed.batch;
        batch.label_weights = NULL;
        EH_TRY(eh_model_score(trainer->model, &batch, trainer->log_probabilities));
        trainer->exchange[c] = sum_of_losses(trainer->log_probabilities, batch.label_count);
    }
    EH_TRY(eh_comm_sum_double(trainer->comm, trainer->exchange, (int)batches->chunk_count));
    double sums[2] = {0, 0};
    for (int64_t c = 0; c < batches->chunk_count; c++) sums[c >= batches->general_chunk] += trainer->exchange[c];
    if (batches->holdout_label_count > 0)
        *loss = sums[0] / (double)batches->holdout_label_count;
    if (batches->general_label_count > 0)
        *general = sums[1] / (double)batches->general_label_count;
    return EH_OK;
}
