// How long a training step must take on a device: for each part of it the longer of its arithmetic and its traffic, and
// what of the communication doesn't hide behind the backward pass. README.md in this folder has the formulas.
#ifndef EH_JOB_ROOFLINE_H
#define EH_JOB_ROOFLINE_H

#include <stdbool.h>
#include <stdint.h>

// A device's published peaks, without sparsity.
typedef struct {
    const char *name;                    // "h100"
    double memory_gib;                   // as nvidia-smi shows it, less what a context takes: what a job can have
    double workspace_mib;                // what cuBLAS takes of it
    double half_tflops, single_tflops;   // products of 16-bit numbers; of fp32 (no TF32)
    double gigabytes_per_second;         // of its memory
    double node_gigabytes_per_second;    // to a GPU of the same node, one direction: NVLink, else PCIe
    double cluster_gigabytes_per_second; // between nodes, of a GPU's share of the network
    double host_gigabytes_per_second;    // to the host's memory, one direction
    bool has_bf16;                       // tensor cores for bf16; fp16 they all have
    double product_share, kernel_share;  // what of the peaks large products and our kernels are expected to reach
} eh_roofline_device;
// t4, v100, a100, h100, h200; NULL: not known.
const eh_roofline_device *eh_roofline_find(const char *name);

// What a step of one rank does. Counts are elements; tokens and labels of all its micro-batches together.
typedef struct {
    double tokens, labels, sequences;
    double matrix_count, trained_matrix_count; // weights of the layers' products; those that learn
    double weight_count, trained_count;        // all weights; those that learn
    double vocab_size, hidden_size, layer_count;
    double micro_batches; // of this rank
    int element_bytes;    // 2 or 4: of activations and of weights in products
    bool recompute;       // forward passes of the layers run twice
    int ranks, ranks_of_node;
    int zero;          // memory.zero
    bool through_host; // gradients meet in host memory (train.reduction: tree), else on the GPUs' own links
} eh_roofline_step;

typedef struct {
    double flops, bytes, seconds;
} eh_roofline_part;

enum {
    EH_ROOFLINE_PRODUCTS,
    EH_ROOFLINE_ATTENTION,
    EH_ROOFLINE_OUTPUT, // output layer and cross-entropy
    EH_ROOFLINE_POINTWISE,
    EH_ROOFLINE_OPTIMISER,
    EH_ROOFLINE_PARTS
};
typedef struct {
    eh_roofline_part parts[EH_ROOFLINE_PARTS];
    double communication_bytes, communication_seconds; // of a rank, one direction
    double exposed_seconds;                            // of the communication: not behind the backward pass
    double seconds;                                    // of the step
    double utilisation;                                // model FLOP: of the device's peak, recomputation not counted
} eh_roofline;
extern const char *const eh_roofline_part_names[EH_ROOFLINE_PARTS];
void eh_roofline_of(const eh_roofline_device *device, const eh_roofline_step *step, eh_roofline *result);

#endif
