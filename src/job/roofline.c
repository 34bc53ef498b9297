#include "job/roofline.h"

#include <stddef.h>
#include <string.h>

// Data sheets: NVIDIA T4 (2018), V100 SXM2 (2017), A100 SXM4 80 GB (2020), H100 SXM5 (2022), H200 SXM (2023). Links:
// PCIe 3.0 x16 is 16 GB/s in a direction, 4.0 32, 5.0 64; NVLink 2, 3 and 4: 150, 300 and 450. Networks: 100 Gbit/s for
// a node of older cards, 200 and 400 Gbit/s a GPU in HGX nodes. Shares: what cuBLAS and kernels such as ours reach
// elsewhere; a T4 clocks down under load. Workspaces: one of cuBLAS's own and one for cublasLt (cuda/device.cu), 4 MiB
// each, 32 from Hopper on.
static const eh_roofline_device devices[] = {
    {"t4", 15, 8, 65, 8.1, 320, 16, 3, 16, false, 0.4, 0.8},
    {"v100", 16, 8, 125, 15.7, 900, 150, 3, 16, false, 0.55, 0.8},
    {"a100", 79, 8, 312, 19.5, 2039, 300, 25, 32, true, 0.6, 0.8},
    {"h100", 79, 64, 989, 66.9, 3350, 450, 50, 64, true, 0.55, 0.8},
    {"h200", 140, 64, 989, 66.9, 4800, 450, 50, 64, true, 0.55, 0.8},
};

const char *const eh_roofline_part_names[EH_ROOFLINE_PARTS] = {"products", "attention", "output layer", "pointwise",
                                                               "optimiser"};

const eh_roofline_device *eh_roofline_find(const char *name)
{
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (strcmp(devices[i].name, name) == 0)
            return &devices[i];
    return NULL;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

// Bytes of a rank in one direction, and the slowest link on their way.
static void communicate(const eh_roofline_device *device, const eh_roofline_step *step, eh_roofline *result)
{
    const double ranks = step->ranks, share = (ranks - 1) / ranks, trained = step->trained_count;
    if (step->ranks < 2)
        return;
    double link =
        step->ranks > step->ranks_of_node ? device->cluster_gigabytes_per_second : device->node_gigabytes_per_second;
    double bytes = 2 * share * 4 * trained; // a ring's all-reduce of fp32 gradients
    if (step->zero >= 2)                    // gradients are scattered in every round instead of summed once
        bytes = share * 4 * trained * step->micro_batches;
    if (step->zero == 1 || step->zero == 2) // then each rank's new weights go to all
        bytes += share * 4 * trained;
    if (step->zero == 3) // a layer's weights come for each pass
        bytes += 2 * share * step->element_bytes * step->weight_count * step->micro_batches;
    if (step->through_host) { // down and up, whatever the ranks do there
        bytes = 4 * trained * (step->zero >= 2 ? step->micro_batches : 2);
        link = device->host_gigabytes_per_second < link ? device->host_gigabytes_per_second : link;
    }
    result->communication_bytes = bytes;
    result->communication_seconds = bytes / (link * 1e9);
}

void eh_roofline_of(const eh_roofline_device *device, const eh_roofline_step *step, eh_roofline *result)
{
    const double element = step->element_bytes, tokens = step->tokens;
    const double length = step->sequences > 0 ? tokens / step->sequences : 0, pairs = tokens * (length + 1) / 2;
    const double table = step->vocab_size * step->hidden_size, forwards = step->recompute ? 2 : 1;
    const double owned = step->trained_count / (step->zero >= 1 ? step->ranks : 1);
    const double written = 4 * (2 * step->micro_batches - 1); // a gradient: first written, then read and written
    const double peak = (step->element_bytes == 2 ? device->half_tflops : device->single_tflops) * 1e12;
    *result = (eh_roofline){
        .parts = {
            [EH_ROOFLINE_PRODUCTS] = {((2 + 2 * forwards) * step->matrix_count + 2 * step->trained_matrix_count) *
                                          tokens,
                                      step->micro_batches * step->matrix_count * (1 + forwards) * element +
                                          step->trained_matrix_count * written,
                                      0},
            [EH_ROOFLINE_ATTENTION] = {(4 * forwards + 10) * pairs * step->hidden_size * step->layer_count,
                                       (4 * forwards + 8) * tokens * step->hidden_size * element * step->layer_count,
                                       0},
            [EH_ROOFLINE_OUTPUT] = {8 * table * step->labels, table * (step->micro_batches * 3 * element + written), 0},
            [EH_ROOFLINE_POINTWISE] = {0,
                                       (16 * forwards + 33) * tokens * step->hidden_size * element * step->layer_count,
                                       0},
            [EH_ROOFLINE_OPTIMISER] = {0, owned * (28 + (step->element_bytes == 2 ? 2 : 0)), 0},
        }};
    for (int p = 0; p < EH_ROOFLINE_PARTS; p++) {
        eh_roofline_part *part = &result->parts[p];
        part->seconds = larger(part->flops / (peak * device->product_share),
                               part->bytes / (device->gigabytes_per_second * 1e9 * device->kernel_share));
        result->seconds += part->seconds;
    }
    communicate(device, step, result);
    // Sums run behind the backward pass: two thirds of the layers' time (half with recomputation it is 5/8, still less
    // than all), but for the last bucket, which is counted as a sixteenth.
    const double behind = 2.0 / 3 * (result->seconds - result->parts[EH_ROOFLINE_OPTIMISER].seconds);
    result->exposed_seconds = larger(result->communication_seconds - behind, result->communication_seconds / 16);
    result->seconds += result->exposed_seconds;
    const double useful = (4 * step->matrix_count + 2 * step->trained_matrix_count) * tokens +
                          6 * table * step->labels + 12 * pairs * step->hidden_size * step->layer_count;
    result->utilisation = useful / (peak * result->seconds);
}
