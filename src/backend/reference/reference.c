#include "backend/reference/reference_internal.h"

#include <stdio.h>

#include "backend/list.h"

static eh_status reference_open(eh_backend *backend, int local_rank, int threads)
{
    (void)local_rank;
    (void)threads;
    snprintf(backend->description, sizeof backend->description, "plain loops, sums in double, 1 thread");
    backend->shares_host_memory = true;
    return EH_OK;
}

static void reference_close(eh_backend *backend)
{
    (void)backend;
}

// It is not made for speed.
eh_status eh_reference_limits(eh_backend *backend, eh_dtype dtype, double *flops, double *bytes)
{
    (void)backend;
    (void)dtype;
    *flops = *bytes = 0;
    return EH_OK;
}

const eh_backend_table eh_backend_reference = {
    .name = "reference",
    .open = reference_open,
    .close = reference_close,
    .buffer_new = eh_host_buffer_new,
    .buffer_view = eh_host_buffer_view,
    .buffer_free = eh_host_buffer_free,
    .upload = eh_host_upload,
    .download = eh_host_download,
    .wait = eh_host_wait,
    .reserve = eh_host_reserve,
    .fill = eh_reference_fill,
    .convert = eh_reference_convert,
    .add = eh_reference_add,
    .scale = eh_reference_scale,
    .dropout = eh_reference_dropout,
    .activation_forward = eh_reference_activation_forward,
    .activation_backward = eh_reference_activation_backward,
    .gather_rows = eh_reference_gather_rows,
    .scatter_add_rows = eh_reference_scatter_add_rows,
    .column_sum = eh_reference_column_sum,
    .norm_forward = eh_reference_norm_forward,
    .norm_backward = eh_reference_norm_backward,
    .multiply = eh_reference_multiply,
    .multiply_activate = eh_host_multiply_activate,
    .attention_forward = eh_reference_attention_forward,
    .attention_backward = eh_reference_attention_backward,
    .output_forward = eh_reference_output_forward,
    .output_backward = eh_reference_output_backward,
    .log_softmax_rows = eh_reference_log_softmax_rows,
    .divergence_rows = eh_reference_divergence_rows,
    .pull = eh_reference_pull,
    .argmax_rows = eh_reference_argmax_rows,
    .sample_rows = eh_host_sample_rows,
    .adamw_runs = eh_reference_adamw_runs,
    .squared_norms = eh_reference_squared_norms,
    .limits = eh_reference_limits,
};
