// The device of a stage. Apart from stage.c, so that stages which compute nothing carry no backend.
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/profile.h"
#include "core/memory.h"
#include "core/string.h"
#include "io/atomic.h"
#include "stage.h"

// OUTPUT/profile/finetune-rank0.json; the folder is made.
static eh_status trace_path(const eh_stage *stage, eh_string *path)
{
    EH_TRY(eh_string_printf(path, "%s/profile", stage->job.output));
    EH_TRY(eh_make_folders(path->bytes));
    return eh_string_printf(path, "/%s%s%s-rank%d.json", stage->name, stage->phase[0] != '\0' ? "-" : "", stage->phase,
                            eh_comm_rank(stage->comm));
}

// Ranks of a node that are not bound to cores of their own share them evenly: more threads than cores would wait for
// each other (2 ranks of 2 threads on 2 cores trained 15x slower). OMP_NUM_THREADS decides where it is set.
static int threads_of_rank(const eh_comm *comm)
{
    if (getenv("OMP_NUM_THREADS"))
        return 0;
    const int allowed = omp_get_num_procs(), share = (int)sysconf(_SC_NPROCESSORS_ONLN) / eh_comm_local_size(comm);
    const int threads = share < allowed ? share : allowed;
    return threads > 1 ? threads : 1;
}

static eh_status open_backend(eh_stage *stage)
{
    const int threads = threads_of_rank(stage->comm);
    if (threads > 0) // loops outside the backend, too
        omp_set_num_threads(threads);
    EH_TRY(eh_backend_open(stage->job.device, eh_comm_local_rank(stage->comm), threads, &stage->backend));
    if (!stage->profile)
        return EH_OK;
    eh_string path = {0};
    eh_status status = trace_path(stage, &path);
    if (status == EH_OK)
        status = eh_backend_profile_begin(stage->backend, path.bytes);
    eh_string_deinit(&path);
    return status;
}

static void log_profile(const eh_stage *stage)
{
    const eh_profile_row *rows = NULL;
    int64_t count = 0;
    double flops = 0, bytes = 0;
    const eh_dtype dtype = eh_backend_precision(stage->backend, stage->job.precision);
    if (eh_backend_profile_report(stage->backend, &rows, &count) != EH_OK ||
        eh_backend_limits(stage->backend, dtype, &flops, &bytes) != EH_OK)
        return;
    if (flops > 0)
        eh_log_line(&stage->log, "limit: %.1f Gflop/s in %s, %.1f GB/s read, as measured now", flops / 1e9,
                    eh_dtype_name(dtype), bytes / 1e9);
    eh_log_line(&stage->log, "%-28s %10s %10s %10s %8s %8s", "operation", "calls", "seconds", "Gflop/s", "GB/s",
                "of limit");
    for (int64_t i = 0; i < count; i++) {
        const double seconds = rows[i].seconds > 0 ? rows[i].seconds : 1e-9;
        eh_log_line(&stage->log, "%-28s %10lld %10.3f %10.1f %8.1f %7.0f%%", rows[i].operation,
                    (long long)rows[i].calls, rows[i].seconds, rows[i].flops / seconds / 1e9,
                    rows[i].bytes / seconds / 1e9, 100 * eh_profile_share(&rows[i], flops, bytes));
    }
}

static void close_backend(eh_stage *stage)
{
    if (stage->profile) {
        log_profile(stage);
        if (eh_backend_profile_end(stage->backend) != EH_OK)
            eh_log_warning(&stage->log, "no profile: %s", eh_error_message());
    }
    eh_backend_close(&stage->backend);
}

// Which GPU the first ranks have: `all` [ranks][size], each the GPU's address on its bus, a space and its host.
static void log_gpus(eh_stage *stage, const char *all, size_t size)
{
    enum { TOLD = 8 };
    char text[TOLD * 160] = "";
    size_t used = 0;
    const int ranks = eh_comm_size(stage->comm);
    for (int rank = 0; rank < ranks && rank < TOLD; rank++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s", rank > 0 ? ", " : "", all + size * (size_t)rank);
    eh_log_line(&stage->log, "GPU of each rank: %s%s", text, ranks > TOLD ? ", ..." : "");
}

// Two ranks on one GPU are slower than one; somebody who wants that for a test says so. Collective.
static eh_status check_sharing(eh_stage *stage)
{
    char own[128] = "", host[64] = "", *all = NULL;
    size_t total = 0;
    const int rank = eh_comm_rank(stage->comm);
    const char *gpu = eh_backend_identity(stage->backend);
    gethostname(host, sizeof host - 1);
    snprintf(own, sizeof own, "%s %s", gpu, host);
    EH_TRY(eh_comm_gather(stage->comm, own, sizeof own, -1, (void **)&all, &total, NULL));
    int other = 0;
    while (other < rank && (*gpu == '\0' || memcmp(all + sizeof own * (size_t)other, own, sizeof own) != 0)) other++;
    if (*gpu != '\0' && eh_comm_size(stage->comm) > 1)
        log_gpus(stage, all, sizeof own);
    eh_free(&all);
    if (other == rank || getenv("EVENHAND_SHARE_GPU") != NULL)
        return EH_OK;
    return eh_error(
        EH_MACHINE,
        "rank %d has no GPU of its own: it shares %s of %s with rank %d; start as many ranks a node as it has "
        "GPUs (Slurm: --gpus-per-task=1 or --gres=gpu:N for N tasks a node), or set EVENHAND_SHARE_GPU=1",
        rank, gpu, host, other);
}

eh_status eh_stage_backend(eh_stage *stage, eh_backend **backend, eh_dtype *compute)
{
    eh_status status = EH_OK;
    if (stage->backend == NULL) {
        status = open_backend(stage);
        stage->close_backend = close_backend;
    }
    EH_TRY(eh_comm_agree(stage->comm, status));
    EH_TRY(eh_comm_agree(stage->comm, check_sharing(stage)));
    *backend = stage->backend;
    *compute = eh_backend_precision(stage->backend, stage->job.precision);
    const char *passed_over = eh_backend_passed_over(stage->backend);
    if (*passed_over != '\0')
        eh_log_line(&stage->log, "device: auto: %s; the %s computes", passed_over, eh_backend_name(stage->backend));
    eh_log_line(&stage->log, "%d rank%s, %s: %s, products in %s", eh_comm_size(stage->comm),
                eh_comm_size(stage->comm) == 1 ? "" : "s", eh_backend_name(stage->backend),
                eh_backend_description(stage->backend), eh_dtype_name(*compute));
    return EH_OK;
}
