#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

#define CHUNK 4194304 // elements stepped at a time

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// The trained elements of a stretch of unit u. Parameters that follow each other with nothing but padding between them
// make one run; padding stays 0.
static eh_status find_runs(const eh_model *model, const eh_partition *partition, int64_t u, const eh_stretch *stretch,
                           int level, int64_t capacity[2], eh_optimizer *optimizer)
{
    const eh_unit *unit = &partition->units[u];
    const int64_t first_run = optimizer->run_count;
    bool follows = false; // the parameter before is the end of the last run
    for (int64_t p = 0; p < eh_model_parameter_count(model); p++) {
        const eh_parameter *parameter = &eh_model_parameters(model)[p];
        const int64_t begin = greatest(parameter->offset, stretch->first);
        const int64_t end = least(parameter->offset + parameter->count, stretch->first + stretch->count);
        if (begin >= end)
            continue;
        const int64_t last = optimizer->run_count - 1;
        if (!parameter->trains) {
            follows = false;
        } else if (last >= first_run && follows && optimizer->runs[last].decays == parameter->decays) {
            optimizer->runs[last].count = end - optimizer->run_first[last];
        } else {
            const int64_t inside = begin - stretch->first;
            const eh_adamw_run run = {.weights = level == 3 ? stretch->at + inside : begin,
                                      .gradient = level >= 2 ? stretch->sum_at + inside
                                                             : unit->gradient_first + begin - unit->first,
                                      .count = end - begin,
                                      .decays = parameter->decays};
            int64_t first_count = optimizer->run_count;
            EH_TRY(EH_APPEND(&optimizer->run_first, &first_count, &capacity[0], begin));
            EH_TRY(EH_APPEND(&optimizer->runs, &optimizer->run_count, &capacity[1], run));
            follows = true;
        }
    }
    return EH_OK;
}

static eh_status find_all_runs(const eh_model *model, const eh_partition *partition, int level, eh_optimizer *optimizer)
{
    int64_t capacity[2] = {0, 0}; // of run_first, runs
    for (int64_t u = 0; u < partition->unit_count; u++) {
        const eh_stretch whole = {.first = partition->units[u].first, .count = partition->units[u].count};
        if (!partition->units[u].frozen)
            EH_TRY(
                find_runs(model, partition, u, level == 0 ? &whole : &partition->own[u], level, capacity, optimizer));
    }
    for (int64_t r = 0; r < optimizer->run_count; r++) {
        optimizer->runs[r].moments = optimizer->state_count;
        optimizer->state_count += (optimizer->runs[r].count + 15) / 16 * 16;
    }
    return EH_OK;
}

static eh_status new_states(eh_backend *backend, int64_t count, const char *folder, const char *purpose,
                            eh_buffer **buffer, eh_tensor *tensor)
{
    const size_t bytes = (size_t)count * sizeof(float);
    EH_TRY(folder != NULL ? eh_buffer_new_in_file(backend, bytes, folder, purpose, buffer)
                          : eh_buffer_new(backend, bytes, purpose, buffer));
    *tensor = (eh_tensor){.buffer = *buffer, .dtype = EH_F32, .dimension_count = 1, .shape = {count}};
    return EH_OK;
}

// Moments: in the device's memory; offloaded, in files where that is the host's, else in the host's memory, from where
// they visit the device a piece at a time.
static eh_status make_moments(const char *folder, eh_optimizer *optimizer)
{
    const eh_tensor weights = eh_model_weights(optimizer->model);
    const int64_t count = optimizer->state_count, visit = least(CHUNK, count);
    eh_backend *home = optimizer->backend;
    if (folder != NULL && eh_tensor_host(&weights) == NULL) {
        EH_TRY(eh_backend_open("cpu", 0, 1, &optimizer->host));
        home = optimizer->host;
        folder = NULL;
        EH_TRY(new_states(optimizer->backend, visit, NULL, "visiting moments", &optimizer->visit_buffers[0],
                          &optimizer->visiting_m));
        EH_TRY(new_states(optimizer->backend, visit, NULL, "visiting moments", &optimizer->visit_buffers[1],
                          &optimizer->visiting_v));
    }
    EH_TRY(new_states(home, count, folder, "first moments", &optimizer->m_buffer, &optimizer->m));
    return new_states(home, count, folder, "second moments", &optimizer->v_buffer, &optimizer->v);
}

eh_status eh_optimizer_init(eh_backend *backend, eh_model *model, const eh_job_train *train,
                            const eh_partition *partition, int level, const char *folder, eh_optimizer *optimizer)
{
    *optimizer = (eh_optimizer){
        .backend = backend,
        .model = model,
        .weight_decay = (float)train->weight_decay,
        .visits = folder != NULL,
        .adamw = {.beta1 = (float)train->beta1,
                  .beta2 = (float)train->beta2,
                  .eps = (float)train->eps,
                  .hf_legacy = strcmp(train->optimizer, "adamw_hf") == 0},
    };
    EH_TRY(find_all_runs(model, partition, level, optimizer));
    return make_moments(folder, optimizer);
}

void eh_optimizer_deinit(eh_optimizer *optimizer)
{
    eh_free(&optimizer->runs);
    eh_free(&optimizer->run_first);
    eh_buffer_free(&optimizer->m_buffer);
    eh_buffer_free(&optimizer->v_buffer);
    for (int i = 0; i < 2; i++) eh_buffer_free(&optimizer->visit_buffers[i]);
    eh_backend_close(&optimizer->host);
}

static eh_status step_piece(const eh_optimizer *optimizer, const eh_tensor *w, const eh_tensor *g, const eh_tensor *m,
                            const eh_tensor *v, const eh_tensor *copy)
{
    eh_backend *backend = optimizer->backend;
    if (optimizer->host == NULL)
        return eh_adamw_step(backend, &optimizer->adamw, w, g, m, v, copy);
    const int64_t count = m->shape[0];
    const eh_tensor here_m = eh_tensor_rows(&optimizer->visiting_m, 0, count);
    const eh_tensor here_v = eh_tensor_rows(&optimizer->visiting_v, 0, count);
    EH_TRY(eh_backend_upload(backend, eh_tensor_host(m), &here_m));
    EH_TRY(eh_backend_upload(backend, eh_tensor_host(v), &here_v));
    EH_TRY(eh_adamw_step(backend, &optimizer->adamw, w, g, &here_m, &here_v, copy));
    EH_TRY(eh_backend_download(backend, &here_m, eh_tensor_host(m)));
    return eh_backend_download(backend, &here_v, eh_tensor_host(v));
}

eh_status eh_optimizer_step(eh_optimizer *optimizer, const eh_tensor *gradient, int64_t step, double learning_rate,
                            double gradient_scale)
{
    const eh_tensor weights = eh_model_weights(optimizer->model), copy = eh_model_weight_copy(optimizer->model);
    optimizer->adamw.step = step;
    optimizer->adamw.learning_rate = (float)learning_rate;
    optimizer->adamw.grad_scale = (float)gradient_scale;
    optimizer->adamw.weight_decay = optimizer->weight_decay;
    if (!optimizer->visits)
        return eh_adamw_runs(optimizer->backend, &optimizer->adamw, optimizer->runs, optimizer->run_count, &weights,
                             gradient, &optimizer->m, &optimizer->v, &copy);
    for (int64_t r = 0; r < optimizer->run_count; r++) {
        const eh_adamw_run *run = &optimizer->runs[r];
        optimizer->adamw.weight_decay = run->decays ? optimizer->weight_decay : 0;
        for (int64_t done = 0; done < run->count; done += CHUNK) {
            const int64_t count = least(CHUNK, run->count - done);
            const eh_tensor w = eh_tensor_rows(&weights, run->weights + done, count);
            const eh_tensor g = eh_tensor_rows(gradient, run->gradient + done, count);
            const eh_tensor m = eh_tensor_rows(&optimizer->m, run->moments + done, count);
            const eh_tensor v = eh_tensor_rows(&optimizer->v, run->moments + done, count);
            eh_tensor c = {0};
            if (eh_tensor_exists(&copy))
                c = eh_tensor_rows(&copy, run->weights + done, count);
            EH_TRY(step_piece(optimizer, &w, &g, &m, &v, &c));
            eh_tensor_release(&w);
            eh_tensor_release(&m);
            eh_tensor_release(&v);
        }
    }
    return EH_OK;
}

double eh_learning_rate(const eh_job_train *train, int64_t step, int64_t step_count)
{
    const double warmup = (double)train->warmup_steps, s = (double)step, total = (double)step_count;
    if (s < warmup)
        return train->lr * s / warmup;
    if (strcmp(train->schedule, "constant") == 0)
        return train->lr;
    const double rest = total > warmup ? total - warmup : 1;
    if (strcmp(train->schedule, "cosine") == 0)
        return train->lr * 0.5 * (1 + cos(3.14159265358979323846 * (s - warmup) / rest));
    return train->lr * (total - s > 0 ? total - s : 0) / rest;
}

double eh_clipping_scale(double clip, double norm)
{
    const double scale = clip > 0 ? clip / (norm + 1e-6) : 1;
    return scale < 1 ? scale : 1;
}

// --- The gradient's norm ----------------------------------------------------------------------------------

eh_status eh_norm_stretches(const eh_partition *partition, bool is_shard, double *sums, eh_norm_stretch **stretches,
                            int64_t *count)
{
    *count = 0;
    EH_TRY(EH_ALLOC(partition->unit_count, stretches));
    for (int64_t u = 0; u < partition->unit_count; u++) {
        const eh_unit *unit = &partition->units[u];
        const eh_stretch *own = &partition->own[u];
        const int64_t piece = eh_unit_piece(unit->count);
        if (!unit->frozen)
            (*stretches)[(*count)++] =
                (eh_norm_stretch){.first = is_shard ? own->sum_at : unit->gradient_first + own->first - unit->first,
                                  .count = own->count,
                                  .piece = piece,
                                  .sums = sums + partition->piece_first[u] + (own->first - unit->first) / piece};
    }
    return EH_OK;
}

double eh_norm_of_pieces(double *sums, int64_t piece_count)
{
    for (int64_t step = 1; step < piece_count; step *= 2)
        for (int64_t p = 0; p + step < piece_count; p += 2 * step) sums[p] += sums[p + step];
    return piece_count > 0 ? sqrt(sums[0]) : 0;
}
