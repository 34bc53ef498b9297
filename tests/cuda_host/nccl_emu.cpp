// NCCL's sum over ranks by MPI, run when its stream gets to it. As NCCL does, it refuses two ranks on one device and an id
// that is not the others'; unlike NCCL, a rank that never waits for its stream keeps the others waiting.
#define OMPI_SKIP_MPICXX 1 // its C++ classes, which need another library
#include <mpi.h>
#include <nccl.h>

#include <cuda_runtime.h>

#include <climits>
#include <cstring>
#include <random>
#include <vector>

struct ncclComm { MPI_Comm ranks; };

extern "C" {
// Open MPI's does not know device memory.
int MPI_Iallreduce(const void *from, void *to, int count, MPI_Datatype type, MPI_Op operation, MPI_Comm comm,
                   MPI_Request *request)
{
    if (cudaemu::is_device_pointer(to) || (from != MPI_IN_PLACE && cudaemu::is_device_pointer(from)))
        cudaemu::fail("MPI_Iallreduce is given memory of the device: Open MPI would read it as if it were the host's");
    return PMPI_Iallreduce(from, to, count, type, operation, comm, request);
}
const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclSuccess           ? "no error"
           : result == ncclInvalidArgument ? "invalid argument"
           : result == ncclRemoteError     ? "remote process exited or there was a network error"
                                           : "invalid usage (two ranks on one device, or another's id)";
}
ncclResult_t ncclGetVersion(int *version)
{
    *version = 20000; // that of the calls above
    return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    std::random_device random;
    for (char &byte : id->internal) byte = static_cast<char>(random());
    return ncclSuccess;
}
ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank)
{
    int ranks = 0, mine = -1, device = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_rank(MPI_COMM_WORLD, &mine);
    if (size != ranks || rank != mine || cudaGetDevice(&device) != cudaSuccess)
        return ncclInvalidArgument;
    char place[16] = "";
    cudaDeviceGetPCIBusId(place, sizeof place, device);
    std::vector<ncclUniqueId> ids(static_cast<size_t>(size));
    std::vector<char> places(static_cast<size_t>(size) * sizeof place);
    MPI_Allgather(&id, sizeof id, MPI_CHAR, ids.data(), sizeof id, MPI_CHAR, MPI_COMM_WORLD);
    MPI_Allgather(place, sizeof place, MPI_CHAR, places.data(), sizeof place, MPI_CHAR, MPI_COMM_WORLD);
    for (int i = 0; i < size; i++)
        if (memcmp(&ids[static_cast<size_t>(i)], &id, sizeof id) != 0 ||
            (i != rank && strcmp(&places[static_cast<size_t>(i) * sizeof place], place) == 0))
            return ncclInvalidUsage;
    *comm = new ncclComm();
    MPI_Comm_dup(MPI_COMM_WORLD, &(*comm)->ranks);
    return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    MPI_Comm_free(&comm->ranks);
    delete comm;
    return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) { return ncclCommDestroy(comm); }
// CUDAEMU_NCCL_LOST=1: the other ranks are gone after the communicator was made.
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t *error)
{
    *error = cudaemu::option("CUDAEMU_NCCL_LOST", 0) ? ncclRemoteError : ncclSuccess;
    return ncclSuccess;
}
ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operation,
                           ncclComm_t comm, cudaStream_t stream)
{
    if (type != ncclFloat || operation != ncclSum || count > INT_MAX || from != to)
        return ncclInvalidArgument;
    if (!cudaemu::is_device_pointer(from))
        cudaemu::fail("NCCL is given memory that is not the device's");
    if (cudaemu::option("CUDAEMU_NCCL_LOST", 0))
        return ncclSuccess; // queued, and never done
    cudaemu::enqueue(stream, [=] {
        MPI_Allreduce(MPI_IN_PLACE, to, static_cast<int>(count), MPI_FLOAT, MPI_SUM, comm->ranks);
    });
    return ncclSuccess;
}
}
