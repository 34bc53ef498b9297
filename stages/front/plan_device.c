// What a plan knows of devices: published figures, or a measurement of this machine.
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "plan.h"

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
static eh_status measure_device(const eh_job *job, eh_planned_device *found)
{
    eh_backend *backend = NULL;
    EH_TRY(eh_backend_open(job->device, 0, 0, &backend));
    *found = (eh_planned_device){.name = "this machine",
                                 .is_here = true,
                                 .memory_gib = available_gib(),
                                 .share = 0.5,
                                 .compute = eh_backend_precision(backend, job->precision),
                                 .gigabytes_per_second = 15};
    found->packs = eh_backend_packs(backend, found->compute);
    const eh_status status = measure_products(backend, found->compute, &found->tflops);
    eh_backend_close(&backend);
    return status;
}

eh_status eh_plan_find_device(const eh_front_options *options, const eh_job *job, eh_planned_device *found)
{
    if (options->gpu == NULL || strcmp(options->gpu, "measured") == 0)
        return measure_device(job, found);
    const eh_roofline_device *published = eh_roofline_find(options->gpu);
    if (published == NULL)
        return eh_error(EH_INPUT, "--gpu %s: choose t4, v100, a100, h100, h200 or measured", options->gpu);
    *found = (eh_planned_device){.name = published->name,
                                 .published = published,
                                 .memory_gib = published->memory_gib,
                                 .compute = published->has_bf16 ? EH_BF16 : EH_F16};
    if (strcmp(job->precision, "fp32") == 0)
        found->compute = EH_F32;
    if (strcmp(job->precision, "fp16") == 0)
        found->compute = EH_F16;
    return EH_OK;
}
