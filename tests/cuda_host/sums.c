// The sum of gradients between ranks with a GPU each (comm/device_sum.h), every way there is: buckets of odd sizes that
// are told in pieces, from the end and out of order, while the device still computes; small integers, so that sums are
// exact.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "comm/device_sum.h"

enum { COUNT = 10007, BUCKET = 1000, STEPS = 3, PIECE = 777 };
static int failures;

static void check(const char *what, bool right)
{
    if (!right) {
        fprintf(stderr, "FAILED: %s: %s\n", what, eh_error_message());
        failures++;
    }
}

static float value(int rank, int step, int64_t i)
{
    return (float)((i * 7 + rank * 31 + step * 5) % 101);
}

// Gradients that kernels write: uploaded halves, doubled on the device piece by piece, each told as soon as it is
// queued.
static void run_step(eh_comm *comm, eh_backend *backend, const eh_tensor *gradients, eh_device_sum *sum, int step,
                     float *host)
{
    const int rank = eh_comm_rank(comm), size = eh_comm_size(comm);
    for (int64_t i = 0; i < COUNT; i++) host[i] = value(rank, step, i) / 2;
    check("upload", eh_backend_upload(backend, host, gradients) == EH_OK);
    const bool tells = !(step == 1 && rank == 0); // a rank without a micro-batch tells nothing
    for (int64_t end = COUNT; end > 0; end -= PIECE) {
        const int64_t first = end > PIECE ? end - PIECE : 0;
        const eh_tensor piece = eh_tensor_rows(gradients, first, end - first);
        check("scale", eh_scale(backend, 2, &piece) == EH_OK);
        if (tells && first > 0) // the first piece is left to the end of the step
            check("ready", eh_device_sum_ready(sum, first, end - first) == EH_OK);
    }
    check("finish", eh_device_sum_finish(sum) == EH_OK);
    check("half", eh_scale(backend, 0.5f, gradients) == EH_OK); // queued behind the sums
    check("download", eh_backend_download(backend, gradients, host) == EH_OK);
    int64_t wrong = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        float expected = 0;
        for (int r = 0; r < size; r++) expected += value(r, step, i);
        wrong += !(host[i] == expected / 2);
    }
    if (wrong > 0)
        fprintf(stderr, "step %d: %lld of %d sums are wrong\n", step, (long long)wrong, COUNT);
    check("sums", wrong == 0);
}

static void run_way(eh_comm *comm, eh_backend *backend, const char *way, const char *name, float *host)
{
    eh_tensor gradients = {.dtype = EH_F32, .dimension_count = 1, .shape = {COUNT}};
    eh_device_sum *sum = NULL;
    setenv("EVENHAND_GPU_SUM", way, 1);
    check("buffer", eh_buffer_new(backend, COUNT * sizeof(float), "gradients", &gradients.buffer) == EH_OK);
    check(way, eh_device_sum_new(comm, backend, &gradients, BUCKET, &sum) == EH_OK);
    if (sum != NULL) {
        check(way, strncmp(eh_device_sum_way(sum), name, strlen(name)) == 0);
        for (int step = 0; step < STEPS; step++) run_step(comm, backend, &gradients, sum, step, host);
    }
    eh_device_sum_free(&sum);
    eh_buffer_free(&gradients.buffer);
}

// A link that breaks ends the step with a message; NCCL's own waiting would never end.
static void run_lost(eh_comm *comm, eh_backend *backend)
{
    eh_tensor gradients = {.dtype = EH_F32, .dimension_count = 1, .shape = {COUNT}};
    eh_device_sum *sum = NULL;
    setenv("EVENHAND_GPU_SUM", "nccl", 1);
    check("buffer", eh_buffer_new(backend, COUNT * sizeof(float), "gradients", &gradients.buffer) == EH_OK);
    check("a sum to lose", eh_device_sum_new(comm, backend, &gradients, BUCKET, &sum) == EH_OK);
    setenv("CUDAEMU_NCCL_LOST", "1", 1);
    check("a lost rank", sum != NULL && eh_device_sum_finish(sum) == EH_MACHINE &&
                             strstr(eh_error_message(), "NCCL: remote process exited") != NULL);
    unsetenv("CUDAEMU_NCCL_LOST");
    eh_device_sum_free(&sum);
    eh_buffer_free(&gradients.buffer);
}

int main(int argc, char **argv)
{
    eh_comm *comm = NULL;
    eh_backend *backend = NULL;
    if (eh_comm_begin(&argc, &argv, &comm) != EH_OK ||
        eh_backend_open("cuda", eh_comm_local_rank(comm), 1, &backend) != EH_OK) {
        fprintf(stderr, "%s\n", eh_error_message());
        return 1;
    }
    float *host = malloc(COUNT * sizeof *host);
    run_way(comm, backend, "staged", "pinned host memory", host);
    run_way(comm, backend, "mpi", "CUDA-aware MPI", host); // the emulated device's memory is the host's to MPI
    run_way(comm, backend, "nccl", "NCCL 2.", host);
    run_way(comm, backend, "", "NCCL 2.", host); // what is chosen where all can be
    run_lost(comm, backend);
    eh_device_sum *none = NULL;
    eh_tensor any = {.dtype = EH_F32, .dimension_count = 1, .shape = {1}};
    check("buffer", eh_buffer_new(backend, 4, "gradients", &any.buffer) == EH_OK);
    setenv("EVENHAND_GPU_SUM", "pigeon", 1);
    check("an unknown way", eh_device_sum_new(comm, backend, &any, 0, &none) == EH_INPUT && none == NULL);
    eh_buffer_free(&any.buffer);
    free(host);
    eh_backend_close(&backend);
    int64_t all = failures;
    if (eh_comm_sum_i64(comm, &all, 1) != EH_OK)
        return 1;
    if (eh_comm_rank(comm) == 0)
        printf("%lld failed\n", (long long)all);
    eh_comm_end(&comm);
    return all != 0;
}
