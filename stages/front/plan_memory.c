// What a choice of memory.* costs: bytes part by part as the programs lay them out, and the time: of a published device
// by job/roofline.h; of this machine, products at what they were measured at, AdamW, sums and gathered weights at its
// bandwidth.
#include <string.h>

#include "comm/comm.h"
#include "plan.h"
#include "stage_model.h"

#define MIB 1048576.0
#define DISK 8 // so many times slower than memory

// Buffers for sums of gradients that all ranks of a node share (levels 0 and 1).
typedef struct {
    double own, all; // rank 0's; of all ranks together
} shared_sums;

static shared_sums count_sums(const eh_planned_run *run)
{
    const bool tree = strcmp(run->job->train.reduction, "tree") == 0;
    const int64_t leaves = tree ? run->job->train.micro_batches : run->ranks;
    shared_sums sums = {0};
    if (run->ranks == 1 && leaves == 1) // the only gradient is the sum
        return sums;
    for (int rank = 0; rank < run->ranks; rank++) {
        const int buffers = eh_tree_reducer_buffers(leaves, rank, run->ranks);
        sums.all += buffers;
        sums.own += rank == 0 ? buffers : 0;
    }
    return sums;
}

// What the CPU's output layer keeps of a forward pass for the backward pass: logits, if they are few.
static double kept_logits(const eh_planned_run *run, const eh_model_outline *outline)
{
    const double bytes = 4.0 * (double)run->size.limits.labels * (double)outline->vocab_size;
    return run->device.is_here && bytes <= 256 * MIB ? bytes : 0;
}

// The model that train.kl stays near to: weights as inference holds them, activations, and logits of both models.
static eh_status count_start(const eh_planned_run *run, double *bytes, double *layer_products)
{
    eh_model_outline outline;
    *bytes = *layer_products = 0;
    if (run->job->train.kl == 0)
        return EH_OK;
    EH_TRY(eh_model_outline_of(run->job->path, run->config, run->device.compute, NULL, &run->size.limits, &outline));
    const double logits =
        4.0 * (double)outline.vocab_size * (double)eh_near_labels_at_once(outline.vocab_size, run->size.limits.labels);
    *bytes = (double)outline.parameter_count * (double)eh_dtype_bytes(run->device.compute) +
             (double)outline.activation_bytes + (run->device.is_here ? (double)outline.packed_bytes : 0) + 2 * logits;
    *layer_products = 2 * (double)outline.matrix_count;
    return EH_OK;
}

// Starting weights, and what they weigh; the sums of squares, of which the host holds two blocks, are gone by then.
static double count_anchor(const eh_planned_run *run, const eh_model_outline *outline, int level)
{
    const eh_job_train *train = &run->job->train;
    const double held = level > 0             ? (double)outline->sum_count
                        : run->device.is_here ? (double)outline->gradient_count / run->ranks
                                              : (double)outline->gradient_count;
    return train->l2 == 0 ? 0 : 4 * held * (train->fisher > 0 ? 2 : 1);
}

// A step on a GPU for each rank.
static eh_roofline roofline_of(const eh_planned_run *run, const eh_model_outline *outline,
                               const eh_memory_choice *choice)
{
    enum { NODE = 8 }; // GPUs of a node, as HGX boards have them
    const double ranks = run->ranks, micro = (double)run->job->train.micro_batches;
    const eh_roofline_step step = {.tokens = run->size.tokens / ranks,
                                   .labels = run->size.labels / ranks,
                                   .sequences = (double)run->job->train.batch / ranks,
                                   .matrix_count = (double)outline->matrix_count,
                                   .trained_matrix_count = (double)outline->trained_matrix_count,
                                   .weight_count = (double)outline->block_count,
                                   .trained_count = (double)outline->gradient_count,
                                   .vocab_size = (double)outline->vocab_size,
                                   .hidden_size = (double)outline->hidden_size,
                                   .layer_count = (double)outline->layer_count,
                                   .micro_batches = micro / ranks < 1 ? 1 : micro / ranks,
                                   .element_bytes = (int)eh_dtype_bytes(run->device.compute),
                                   .recompute = choice->recompute,
                                   .ranks = run->ranks,
                                   .ranks_of_node = run->ranks < NODE ? run->ranks : NODE,
                                   .zero = choice->zero,
                                   .through_host = strcmp(run->job->train.reduction, "tree") == 0};
    eh_roofline result;
    eh_roofline_of(run->device.published, &step, &result);
    return result;
}

static double seconds_here(const eh_planned_run *run, const eh_model_outline *outline, const eh_memory_choice *choice,
                           double start_products)
{
    const eh_planned_device *device = &run->device;
    const double layers = ((choice->recompute ? 6 : 4) * (double)outline->matrix_count +
                           2 * (double)outline->trained_matrix_count + start_products) *
                          run->size.tokens;
    const double head = 6 * (double)outline->vocab_size * (double)outline->hidden_size * run->size.labels;
    const double products = (layers + head) / (device->tflops * 1e12 * device->share);
    const double block = (double)outline->gradient_count, shard = block / run->ranks;
    const double micro = (double)run->job->train.micro_batches,
                 rounds = micro / run->ranks < 1 ? 1 : micro / run->ranks;
    const bool divides = choice->zero >= 2;
    // AdamW reads four blocks and writes three, of what a rank owns; sums read two and write one for each micro-batch.
    double bytes = 28 * (choice->zero == 0 ? block : shard) + 12 * (divides ? shard * run->ranks : block) * rounds;
    if (choice->offload && device->is_here) // moments come from the disk and go back
        bytes += 16 * shard * DISK;
    // Gradients go to those who add them up, in every round where they are divided, and come back where they are not;
    // then weights do, or a layer's weights in each pass.
    double link = divides ? 4 * block * rounds : 8 * block;
    link += choice->zero == 1 || choice->zero == 2 ? 4 * block : 0;
    link += choice->zero == 3 ? 2 * (double)outline->layer_bytes * rounds : 0;
    link *= run->ranks > 1;
    return products + (bytes + link) / (device->gigabytes_per_second * 1e9) * run->ranks;
}

eh_status eh_plan_memory(const eh_planned_run *run, const eh_memory_choice *choice, eh_plan_of_memory *plan)
{
    const eh_job *job = run->job;
    const bool tree = strcmp(job->train.reduction, "tree") == 0;
    eh_adaptation adaptation;
    const eh_memory_use use = {.ranks = run->ranks,
                               .level = choice->zero,
                               .leaf_count = job->train.micro_batches,
                               .tree = tree,
                               .recompute = choice->recompute,
                               .adaptation = eh_stage_adaptation(job, &adaptation)};
    eh_model_outline outline;
    double start_bytes, start_products;
    EH_TRY(count_start(run, &start_bytes, &start_products));
    EH_TRY(eh_model_outline_of(job->path, run->config, run->device.compute, &use, &run->size.limits, &outline));
    const shared_sums sums = choice->zero < 2 ? count_sums(run) : (shared_sums){0};
    const double block = 4 * (double)outline.gradient_count;
    const bool here = run->device.is_here;
    const bool masters_on_disk = here && choice->offload && choice->zero == 3 && run->device.compute != EH_F32;
    // Ranks add up in host memory; a device gets the sum: in its own gradients' place at levels 0 and 1.
    const double sums_bytes = block * sums.own + (double)outline.divided_bytes;
    const double moments = 8 * (double)outline.state_count, visiting = 2 * 16 * MIB;
    const eh_memory_part parts[EH_MEMORY_PARTS] = {
        {"weights", masters_on_disk ? 0 : (double)outline.weight_bytes},
        {"weights for products", (double)outline.copy_bytes},
        {"gathered weights", (double)outline.gathered_bytes},
        {"gradients", (double)outline.gradient_bytes},
        {here ? "partial sums of gradients" : "the gradients' sum", here                ? sums_bytes
                                                                    : choice->zero >= 2 ? 4 * (double)outline.sum_count
                                                                                        : 0},
        {"AdamW's two moments", choice->offload ? 0 : moments},
        {"activations", (double)outline.activation_bytes},
        {"starting model (kl)", start_bytes},
        {"starting weights (l2)", count_anchor(run, &outline, choice->zero)},
        {"logits kept", kept_logits(run, &outline)},
        {here ? "pieces of what is on disk" : "pieces of moments", !choice->offload     ? 0
                                                                   : here               ? 3 * 16 * MIB
                                                                   : visiting < moments ? visiting
                                                                                        : moments},
        {here ? "program, MPI, HDF5" : "scratch of operations", here ? 28 * MIB : (double)outline.device_work_bytes},
        {"cuBLAS", here ? 0 : run->device.published->workspace_mib * MIB},
    };
    *plan = (eh_plan_of_memory){0};
    if (run->device.is_here)
        plan->step_seconds = seconds_here(run, &outline, choice, start_products);
    else
        plan->roofline = roofline_of(run, &outline, choice);
    plan->step_seconds += plan->roofline.seconds;
    memcpy(plan->parts, parts, sizeof parts);
    for (int i = 0; i < EH_MEMORY_PARTS; i++) plan->rank_bytes += parts[i].bytes;
    // The fullest of a node is a rank that reads all of the result, which lies in rank 0's memory, or of it what it
    // adds up and what it owns, and of the other buffers its part.
    plan->resident_bytes = plan->rank_bytes;
    if (choice->zero < 2 && run->ranks > 1 && here)
        plan->resident_bytes += block * (choice->zero == 0 ? 1 : 1.5 / run->ranks);
    plan->needed_bytes =
        here ? (plan->rank_bytes - block * sums.own) * run->ranks + block * sums.all : plan->rank_bytes;
    // Beside a device: gradients on their way, their sums, and weights that come together.
    plan->host_bytes = here ? 0
                            : (double)outline.gradient_bytes + sums_bytes + (double)outline.gathered_bytes +
                                  (choice->offload ? moments : 0);
    plan->fits = plan->needed_bytes <= run->device.memory_gib * 1073741824;
    return EH_OK;
}

eh_status eh_plan_cheapest(const eh_planned_run *run, eh_memory_choice *choice, eh_plan_of_memory *plan, bool *found)
{
    *found = false;
    for (int option = 0; option < 16; option++) {
        const eh_memory_choice tried = {option % 4, option / 4 % 2 == 1, option / 8 == 1};
        eh_plan_of_memory its;
        EH_TRY(eh_plan_memory(run, &tried, &its));
        if (!its.fits || (*found && its.step_seconds >= plan->step_seconds))
            continue;
        *found = true;
        *choice = tried;
        *plan = its;
    }
    return EH_OK;
}

eh_status eh_plan_more_ranks(const eh_planned_run *run, int *ranks, eh_memory_choice *choice, eh_plan_of_memory *plan,
                             bool *found)
{
    eh_planned_run more = *run;
    *found = false;
    while (!*found && !run->device.is_here && more.ranks < 8192) {
        more.ranks *= 2;
        EH_TRY(eh_plan_cheapest(&more, choice, plan, found));
    }
    *ranks = more.ranks;
    return EH_OK;
}
