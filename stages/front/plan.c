// evenhand plan: what the training of a job needs in memory, part by part, whether that fits, and how long it will
// take, before anything runs. Memory is computed as the programs lay it out; time is a roofline: products at a share of
// the device's peak, AdamW and sums of gradients at a share of its bandwidth.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "comm/comm.h"
#include "core/clock.h"
#include "core/memory.h"
#include "front.h"
#include "io/shard.h"
#include "model/outline.h"
#include "stage_model.h"
#include "train/batches.h"

// Published peaks without sparsity, and the share of them that a training reaches.
typedef struct {
    const char *name;
    double memory_gib, tflops, gigabytes_per_second, share;
    eh_dtype compute;
} planned_device;
static const planned_device devices[] = {
    {"t4", 15, 65, 320, 0.35, EH_F16},
    {"v100", 16, 112, 900, 0.4, EH_F16},
    {"a100", 80, 312, 2039, 0.4, EH_BF16},
    {"h100", 80, 989, 3350, 0.35, EH_BF16},
};

// What is known of the training's batches: from the shards once they are there, else assumed.
typedef struct {
    eh_batch_limits limits; // of one micro-batch
    int64_t steps, examples;
    double tokens, labels; // of a step, mean
    bool measured;
} training_size;

typedef struct {
    const char *name;
    double bytes;
} memory_part;

// --- How large the batches are -------------------------------------------------------------------------------------

static eh_status add_data_set(const eh_job *job, const eh_job_data *data, eh_training_set *set)
{
    eh_examples examples = {0};
    char folder[4096], *layout = NULL;
    snprintf(folder, sizeof folder, "%s/shards", job->output);
    eh_status status = eh_shards_attribute(folder, data->name, "layout", &layout);
    if (status == EH_OK)
        status = eh_shards_read(folder, data->name, &examples);
    if (status == EH_OK)
        status = eh_training_set_add(set, data, layout, &examples);
    eh_examples_deinit(&examples);
    eh_free(&layout);
    return status;
}

static eh_status measure_batches(const eh_job *job, const eh_training_set *set, training_size *size)
{
    eh_batches batches = {0};
    eh_status status = eh_batches_init(set, &job->train, job->seed, &batches);
    if (status == EH_OK) {
        size->limits = batches.limits;
        size->steps = batches.step_count;
        size->examples = set->count;
        size->measured = true;
        const int64_t tokens = set->id_offsets[set->count] + set->decoder_offsets[set->count];
        size->tokens = (double)tokens / (double)set->count * (double)job->train.batch;
        size->labels = (double)set->label_offsets[set->count] / (double)set->count * (double)job->train.batch;
    }
    eh_batches_deinit(&batches);
    return status;
}

static eh_status read_size(const eh_job *job, const eh_model_outline *outline, training_size *size)
{
    const eh_model_facts facts = {outline->kind, outline->head, outline->vocab_size, outline->max_length,
                                  outline->special};
    eh_training_set set = {0};
    EH_TRY(eh_training_set_init(&facts, &set));
    eh_status status = EH_OK;
    for (int64_t d = 0; status == EH_OK && d < job->data_count; d++)
        if (eh_data_is_learnt(&job->data[d]))
            status = add_data_set(job, &job->data[d], &set);
    if (status == EH_OK)
        status = measure_batches(job, &set, size);
    eh_training_set_deinit(&set);
    return status;
}

// CrowS-Pairs by gap-fill: 1508 examples of about 28 tokens, 3 of them labelled.
static void assume_size(const eh_job *job, bool has_decoder, training_size *size)
{
    enum { EXAMPLES = 1508, TOKENS = 28, LONGEST = 60, LABELS = 3 };
    const int64_t batch = job->train.batch, micro = (batch + job->train.micro_batches - 1) / job->train.micro_batches;
    *size = (training_size){
        .limits = {.tokens = micro * LONGEST, .sequences = micro, .labels = micro * 2 * LABELS},
        .steps = job->train.epochs * ((EXAMPLES + batch - 1) / batch),
        .examples = EXAMPLES,
        .tokens = (double)(batch * TOKENS),
        .labels = (double)(batch * LABELS),
    };
    if (has_decoder)
        size->limits.decoder_tokens = size->limits.tokens;
    if (job->train.max_steps > 0 && size->steps > job->train.max_steps)
        size->steps = job->train.max_steps;
}

// --- The device ----------------------------------------------------------------------------------------------------

static double available_gib(void)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/meminfo", "rb");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %lf", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib / 1048576;
}

// Half a second of products of a training's shape on this machine's device.
static eh_status measure_products(eh_backend *backend, eh_dtype compute, double *tflops)
{
    enum { TOKENS = 512, WIDTH = 1024 };
    eh_buffer *buffer = NULL;
    const size_t element = eh_dtype_bytes(compute);
    eh_status status = eh_buffer_new(backend, (2 * TOKENS + WIDTH) * (size_t)WIDTH * element, "trial", &buffer);
    if (status != EH_OK)
        return status;
    const eh_product product = {
        .a = {buffer, 0, compute, 2, {TOKENS, WIDTH}},
        .b = {buffer, (size_t)TOKENS * WIDTH * element, compute, 2, {WIDTH, WIDTH}},
        .y = {buffer, (size_t)(TOKENS + WIDTH) * WIDTH * element, compute, 2, {TOKENS, WIDTH}},
        .transpose_b = true,
    };
    int64_t count = 0;
    status = eh_multiply(backend, &product);
    if (status == EH_OK)
        status = eh_backend_wait(backend);
    const double began = eh_seconds();
    for (; status == EH_OK && eh_seconds() - began < 0.5; count++) {
        status = eh_multiply(backend, &product);
        if (status == EH_OK)
            status = eh_backend_wait(backend);
    }
    *tflops = 2e-12 * TOKENS * WIDTH * WIDTH * (double)count / (eh_seconds() - began);
    eh_buffer_free(&buffer);
    return status;
}

// This machine: all its cores together, as the ranks share them.
static eh_status measure_device(const eh_job *job, planned_device *found)
{
    eh_backend *backend = NULL;
    EH_TRY(eh_backend_open(job->device, 0, 0, &backend));
    const bool bf16 = strcmp(job->precision, "bf16") == 0 ||
                      (strcmp(job->precision, "auto") == 0 && eh_backend_prefers_bf16(backend));
    *found = (planned_device){.name = "this machine",
                              .memory_gib = available_gib(),
                              .share = 0.5,
                              .compute = bf16 ? EH_BF16 : EH_F32,
                              .gigabytes_per_second = 15};
    const eh_status status = measure_products(backend, found->compute, &found->tflops);
    eh_backend_close(&backend);
    return status;
}

static eh_status find_device(const eh_front_options *options, const eh_job *job, planned_device *found)
{
    if (options->gpu == NULL || strcmp(options->gpu, "measured") == 0)
        return measure_device(job, found);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (strcmp(devices[i].name, options->gpu) == 0) {
            *found = devices[i];
            if (strcmp(job->precision, "fp32") == 0)
                found->compute = EH_F32;
            return EH_OK;
        }
    return eh_error(EH_INPUT, "--gpu %s: choose t4, v100, a100, h100 or measured", options->gpu);
}

// --- The plan ------------------------------------------------------------------------------------------------------

enum { PARTIAL_SUMS = 3, PART_COUNT = 7 };

// Bytes of the buffers for sums of gradients of all ranks; those of one node share them.
static double shared_sums(const eh_job *job, const eh_model_outline *outline, int64_t ranks)
{
    const bool tree = strcmp(job->train.reduction, "tree") == 0;
    int64_t buffers = 0;
    for (int rank = 0; rank < ranks; rank++)
        buffers += eh_tree_reducer_buffers(tree ? job->train.micro_batches : ranks, rank, (int)ranks);
    return 4 * (double)outline->block_count * (double)buffers;
}

// The rank with the most buffers for sums of gradients: rank 0.
static void lay_out_memory(const eh_job *job, const eh_model_outline *outline, const planned_device *device,
                           int64_t ranks, memory_part parts[PART_COUNT])
{
    const double block = (double)outline->block_count;
    const bool tree = strcmp(job->train.reduction, "tree") == 0;
    const int buffers = eh_tree_reducer_buffers(tree ? job->train.micro_batches : ranks, 0, (int)ranks);
    const memory_part laid_out[PART_COUNT] = {
        {"weights", 4 * block},
        {"weights for products", device->compute == EH_F32 ? 0 : 2 * block},
        {"gradients", 4 * block},
        {"partial sums of gradients", 4 * block * buffers},
        {"AdamW's two moments", 8 * (double)outline->parameter_count},
        {"activations", (double)outline->activation_bytes},
        {"program, MPI, HDF5", 28.0 * 1048576},
    };
    memcpy(parts, laid_out, sizeof laid_out);
}

static double step_seconds(const eh_model_outline *outline, const training_size *size, const planned_device *device,
                           int64_t ranks, bool shares_device)
{
    const double layers = 6 * (double)outline->matrix_count * size->tokens;
    const double head = 6 * (double)outline->vocab_size * (double)outline->hidden_size * size->labels;
    const double products = (layers + head) / (device->tflops * 1e12 * device->share);
    // AdamW reads four blocks and writes three on every rank; each sum reads two and writes one.
    const double update = 40 * (double)outline->block_count / (device->gigabytes_per_second * 1e9);
    return shares_device ? products + update * (double)ranks : products / (double)ranks + update;
}

static void print_plan(const eh_job *job, const eh_model_outline *outline, const training_size *size,
                       const planned_device *device, int64_t ranks, bool shares_device)
{
    memory_part parts[PART_COUNT];
    double total = 0;
    lay_out_memory(job, outline, device, ranks, parts);
    printf("%s: %lld weights; %lld steps of %lld examples, %.0f tokens and %.0f labels each (%s)\n", job->name,
           (long long)outline->parameter_count, (long long)size->steps, (long long)job->train.batch, size->tokens,
           size->labels, size->measured ? "from the shards" : "assumed: not tokenized yet");
    printf("  finetune, the fullest of %lld rank%s, products in %s:\n", (long long)ranks, ranks == 1 ? "" : "s",
           eh_dtype_name(device->compute));
    for (int i = 0; i < PART_COUNT; i++) {
        printf("    %-28s %12.1f MiB\n", parts[i].name, parts[i].bytes / 1048576);
        total += parts[i].bytes;
    }
    const double needed = shares_device ? total * (double)ranks : total, there = device->memory_gib * 1073741824;
    printf("    %-28s %12.1f MiB\n", "together", total / 1048576);
    const double others = shared_sums(job, outline, ranks) - parts[PARTIAL_SUMS].bytes;
    if (shares_device && others > 0)
        printf("    %-28s %12.1f MiB, as its resident size shows, with the other ranks' sums that it reads\n", "",
               (total + others) / 1048576);
    printf("  %s: %.1f GiB; %s\n", device->name, device->memory_gib, needed <= there ? "it fits" : "IT DOES NOT FIT");
    const double seconds = step_seconds(outline, size, device, ranks, shares_device);
    printf("  about %.3g s a step, %.3g min in all (%.2f TFLOP/s x %.2f, %.0f GB/s)\n", seconds,
           seconds * (double)size->steps / 60, device->tflops, device->share, device->gigabytes_per_second);
}

static eh_status outline_of(const eh_job *job, eh_dtype compute, const eh_batch_limits *limits,
                            eh_model_outline *outline)
{
    char *config = NULL;
    if (job->model.path != NULL)
        EH_TRY(eh_model_config_text(job->model.path, &config));
    else
        EH_TRY(eh_starting_config(job, &config));
    const eh_status status = eh_model_outline_of(job->model.path != NULL ? job->model.path : job->path, config, compute,
                                                 EH_FOR_TRAINING, limits, outline);
    eh_free(&config);
    return status;
}

static eh_status plan_run(const eh_front_options *options, const eh_job *job)
{
    planned_device device = {0};
    eh_model_outline outline;
    training_size size;
    const bool shares_device = options->gpu == NULL || strcmp(options->gpu, "measured") == 0;
    const int64_t ranks = eh_front_rank_count(options, job);
    EH_TRY(find_device(options, job, &device));
    EH_TRY(outline_of(job, device.compute, &(eh_batch_limits){1, 1, 1, 1}, &outline));
    if (read_size(job, &outline, &size) != EH_OK)
        assume_size(job, outline.kind == EH_ENCODER_DECODER, &size);
    EH_TRY(outline_of(job, device.compute, &size.limits, &outline));
    print_plan(job, &outline, &size, &device, ranks, shares_device);
    return EH_OK;
}

eh_status eh_front_plan(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    (void)log;
    *exit_code = 0;
    const char *path = NULL;
    eh_sweep sweep;
    EH_TRY(eh_front_one_word(options, "job file", &path));
    EH_TRY(eh_sweep_read(path, options->overrides, options->override_count, &sweep));
    eh_status status = EH_OK;
    for (int64_t i = 0; i < sweep.run_count && status == EH_OK; i++)
        if (eh_step_wanted(&sweep.runs[i].job, EH_STEP_FINETUNE))
            status = plan_run(options, &sweep.runs[i].job);
    eh_sweep_deinit(&sweep);
    return status;
}
