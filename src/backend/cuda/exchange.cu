// Buckets between ranks. Three streams work at a time: kernels write the next layer's gradients, NCCL or MPI sums the
// last one's, and (staged) copies run in both directions. The links bound it; what hides behind the backward pass is
// free (src/job/README.md).
#include <sched.h>
#include <string.h>

#include <new>

#include "backend/cuda/device.cuh"

#if defined(EVENHAND_HAVE_NCCL)
#include <nccl.h>
#define EH_NCCL(call)                                                                                                \
    do {                                                                                                             \
        const ncclResult_t eh_nccl_result = (call);                                                                  \
        if (eh_nccl_result != ncclSuccess)                                                                           \
            return eh_error(EH_MACHINE, "NCCL: %s: %s (%s:%d)", ncclGetErrorString(eh_nccl_result), #call, __FILE__, \
                            __LINE__);                                                                               \
    } while (0)
#endif

struct eh_exchange {
    eh_backend *backend; // first: exchange.c looks for it here
    eh_exchange_way way;
    cudaStream_t communication; // NCCL; STAGED: copies out, for copies in take the copying stream
    cudaEvent_t summed;
    struct {
        cudaEvent_t computed, arrived, returned;
        float *host; // STAGED: pinned
        float *device;
        size_t bytes;
    } slots[EH_EXCHANGE_SLOTS];
#if defined(EVENHAND_HAVE_NCCL)
    ncclComm_t nccl;
#endif
};

namespace
{

int nccl_version()
{
#if defined(EVENHAND_HAVE_NCCL)
    int version = 0;
    return ncclGetVersion(&version) == ncclSuccess ? version : 0;
#else
    return 0;
#endif
}

eh_status make_id(eh_backend *, unsigned char *id)
{
#if defined(EVENHAND_HAVE_NCCL)
    ncclUniqueId unique;
    static_assert(sizeof unique == EH_EXCHANGE_ID_BYTES, "eh_exchange_make_id's array");
    EH_NCCL(ncclGetUniqueId(&unique));
    memcpy(id, &unique, sizeof unique);
    return EH_OK;
#else
    (void)id;
    return eh_error(EH_MACHINE, "NCCL was not found when evenhand was configured");
#endif
}

void destroy(eh_exchange *exchange)
{
    cudaStreamSynchronize(eh_cuda(exchange->backend)->copies);
    if (exchange->communication != NULL)
        cudaStreamSynchronize(exchange->communication);
#if defined(EVENHAND_HAVE_NCCL)
    if (exchange->nccl != NULL)
        ncclCommDestroy(exchange->nccl);
#endif
    for (auto &slot : exchange->slots) {
        for (cudaEvent_t event : {slot.computed, slot.arrived, slot.returned})
            if (event != NULL)
                cudaEventDestroy(event);
        if (slot.host != NULL)
            cudaFreeHost(slot.host);
    }
    if (exchange->summed != NULL)
        cudaEventDestroy(exchange->summed);
    if (exchange->communication != NULL)
        cudaStreamDestroy(exchange->communication);
    delete exchange;
}

eh_status fill(eh_exchange *exchange, const eh_exchange_plan *plan)
{
    EH_CUDA(cudaStreamCreateWithFlags(&exchange->communication, cudaStreamNonBlocking));
    EH_CUDA(cudaEventCreateWithFlags(&exchange->summed, cudaEventDisableTiming));
    for (auto &slot : exchange->slots) {
        EH_CUDA(cudaEventCreateWithFlags(&slot.computed, cudaEventDisableTiming));
        EH_CUDA(cudaEventCreateWithFlags(&slot.arrived, cudaEventDisableTiming));
        EH_CUDA(cudaEventCreateWithFlags(&slot.returned, cudaEventDisableTiming));
        if (exchange->way == EH_EXCHANGE_STAGED)
            EH_CUDA(cudaMallocHost(reinterpret_cast<void **>(&slot.host), plan->bucket_bytes));
    }
#if defined(EVENHAND_HAVE_NCCL)
    if (exchange->way == EH_EXCHANGE_NCCL) {
        ncclUniqueId unique;
        memcpy(&unique, plan->id, sizeof unique);
        EH_NCCL(ncclCommInitRank(&exchange->nccl, plan->size, unique, plan->rank));
    }
#endif
    return EH_OK;
}

eh_status make(eh_backend *backend, const eh_exchange_plan *plan, eh_exchange **exchange)
{
    eh_exchange *made = new (std::nothrow) eh_exchange();
    if (made == NULL)
        return eh_error(EH_MACHINE, "out of memory");
    made->backend = backend;
    made->way = plan->way;
    const eh_status status = fill(made, plan);
    if (status != EH_OK)
        destroy(made);
    else
        *exchange = made;
    return status;
}

eh_status send(eh_exchange *exchange, int number, const eh_tensor *bucket)
{
    auto &slot = exchange->slots[number];
    const cudaStream_t compute = eh_cuda(exchange->backend)->stream;
    slot.device = static_cast<float *>(eh_tensor_address(bucket));
    slot.bytes = eh_tensor_bytes(bucket);
    if (exchange->way == EH_EXCHANGE_MPI) {
        EH_CUDA(cudaEventRecord(slot.arrived, compute));
        return EH_OK;
    }
    EH_TRY(eh_cuda_order(compute, slot.computed, exchange->communication));
#if defined(EVENHAND_HAVE_NCCL)
    if (exchange->way == EH_EXCHANGE_NCCL) {
        EH_NCCL(ncclAllReduce(slot.device, slot.device, slot.bytes / sizeof(float), ncclFloat, ncclSum, exchange->nccl,
                              exchange->communication));
        return EH_OK;
    }
#endif
    EH_CUDA(cudaMemcpyAsync(slot.host, slot.device, slot.bytes, cudaMemcpyDeviceToHost, exchange->communication));
    EH_CUDA(cudaEventRecord(slot.arrived, exchange->communication));
    return EH_OK;
}

eh_status arrived(eh_exchange *exchange, int number, bool wait, bool *is_there)
{
    *is_there = true;
    if (exchange->way == EH_EXCHANGE_NCCL)
        return EH_OK;
    if (wait) {
        EH_CUDA(cudaEventSynchronize(exchange->slots[number].arrived));
        return EH_OK;
    }
    const cudaError_t error = cudaEventQuery(exchange->slots[number].arrived);
    *is_there = error == cudaSuccess;
    if (error != cudaErrorNotReady)
        EH_CUDA(error);
    else
        cudaGetLastError(); // it is remembered as if it were an error
    return EH_OK;
}

float *memory(const eh_exchange *exchange, int number)
{
    const auto &slot = exchange->slots[number];
    return exchange->way == EH_EXCHANGE_STAGED ? slot.host : slot.device;
}

eh_status receive(eh_exchange *exchange, int number)
{
    auto &slot = exchange->slots[number];
    if (exchange->way != EH_EXCHANGE_STAGED)
        return EH_OK;
    const cudaStream_t copies = eh_cuda(exchange->backend)->copies;
    EH_CUDA(cudaMemcpyAsync(slot.device, slot.host, slot.bytes, cudaMemcpyHostToDevice, copies));
    EH_CUDA(cudaEventRecord(slot.returned, copies));
    return EH_OK;
}

eh_status release(eh_exchange *exchange, int number)
{
    if (exchange->way == EH_EXCHANGE_STAGED)
        EH_CUDA(cudaEventSynchronize(exchange->slots[number].returned));
    return EH_OK;
}

// Waits for the sums, and for errors that NCCL meets on its way: its kernels never end where a link or a rank is gone,
// and a run that waited for their stream would sit there until its time is up.
eh_status watch_sums(eh_exchange *exchange)
{
#if defined(EVENHAND_HAVE_NCCL)
    EH_CUDA(cudaEventRecord(exchange->summed, exchange->communication));
    for (bool done = false; !done; sched_yield()) {
        ncclResult_t met = ncclSuccess;
        EH_NCCL(ncclCommGetAsyncError(exchange->nccl, &met));
        if (met != ncclSuccess && met != ncclInProgress) {
            ncclCommAbort(exchange->nccl);
            exchange->nccl = NULL;
            return eh_error(EH_MACHINE, "NCCL: %s while gradients were summed between the ranks",
                            ncclGetErrorString(met));
        }
        const cudaError_t error = cudaEventQuery(exchange->summed);
        done = error == cudaSuccess;
        if (error == cudaErrorNotReady)
            cudaGetLastError(); // it is remembered as if it were an error
        else
            EH_CUDA(error);
    }
#else
    (void)exchange;
#endif
    return EH_OK;
}

eh_status finish(eh_exchange *exchange)
{
    eh_cuda_state *state = eh_cuda(exchange->backend);
    if (exchange->way == EH_EXCHANGE_NCCL)
        EH_TRY(watch_sums(exchange));
    EH_TRY(eh_cuda_order(exchange->communication, exchange->summed, state->stream));
    return eh_cuda_order(state->copies, state->copied, state->stream);
}

} // namespace

const eh_exchange_table eh_cuda_exchange = {nccl_version, make_id, make,    destroy, send,
                                            arrived,      memory,  receive, release, finish};
