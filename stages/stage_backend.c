// The device of a stage. Apart from stage.c, so that stages which compute nothing carry no backend.
#include <stdlib.h>
#include <string.h>

#include "stage.h"

static eh_dtype chosen_precision(const char *name, const eh_backend *backend)
{
    if (strcmp(name, "bf16") == 0)
        return EH_BF16;
    if (strcmp(name, "fp16") == 0)
        return EH_F16;
    if (strcmp(name, "fp32") == 0)
        return EH_F32;
    return eh_backend_prefers_bf16(backend) ? EH_BF16 : EH_F32;
}

eh_status eh_stage_backend(eh_stage *stage, eh_backend **backend, eh_dtype *compute)
{
    eh_status status = EH_OK;
    if (stage->backend == NULL) {
        status = eh_backend_open(stage->job.device, eh_comm_local_rank(stage->comm), 0, &stage->backend);
        stage->close_backend = eh_backend_close;
    }
    EH_TRY(eh_comm_agree(stage->comm, status));
    *backend = stage->backend;
    *compute = chosen_precision(stage->job.precision, stage->backend);
    eh_log_line(&stage->log, "%d rank%s, %s: %s, products in %s", eh_comm_size(stage->comm),
                eh_comm_size(stage->comm) == 1 ? "" : "s", eh_backend_name(stage->backend),
                eh_backend_description(stage->backend), eh_dtype_name(*compute));
    return EH_OK;
}
