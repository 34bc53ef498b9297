#include "comm/partition.h"

#include "comm/comm_internal.h"
#include "core/memory.h"

int64_t eh_unit_piece(int64_t count)
{
    int64_t length = 4096;
    while (count / length >= 1024) length *= 2;
    return length;
}

static int64_t piece_count(int64_t count)
{
    return (count + eh_unit_piece(count) - 1) / eh_unit_piece(count);
}

eh_stretch eh_unit_stretch(const eh_unit *unit, int rank, int size)
{
    const int64_t length = eh_unit_piece(unit->count);
    int64_t first, count;
    eh_comm_slice_of(rank, size, piece_count(unit->count), &first, &count);
    const int64_t begin = first * length < unit->count ? first * length : unit->count;
    const int64_t end = (first + count) * length < unit->count ? (first + count) * length : unit->count;
    return (eh_stretch){.first = unit->first + begin, .count = end - begin};
}

eh_status eh_partition_init(eh_unit *units, int64_t unit_count, int rank, int size, eh_partition *partition)
{
    *partition = (eh_partition){.units = units, .unit_count = unit_count, .rank = rank, .size = size};
    EH_TRY(EH_ALLOC(unit_count, &partition->own));
    EH_TRY(EH_ALLOC(unit_count + 1, &partition->piece_first));
    for (int64_t u = 0; u < unit_count; u++) {
        EH_ASSERT(units[u].first % EH_GRAIN == 0 && units[u].count % EH_GRAIN == 0);
        EH_ASSERT(u == 0 || units[u].first == units[u - 1].first + units[u - 1].count);
        partition->own[u] = eh_unit_stretch(&units[u], rank, size);
        partition->own[u].at = partition->shard_count;
        partition->shard_count += partition->own[u].count;
        partition->piece_first[u + 1] = partition->piece_first[u];
        if (units[u].frozen)
            continue;
        partition->piece_first[u + 1] += piece_count(units[u].count);
        units[u].gradient_first = partition->gradient_count;
        partition->gradient_count += units[u].count;
        partition->own[u].sum_at = partition->sum_count;
        partition->sum_count += partition->own[u].count;
    }
    return EH_OK;
}

void eh_partition_deinit(eh_partition *partition)
{
    eh_free(&partition->units);
    eh_free(&partition->own);
    eh_free(&partition->piece_first);
    *partition = (eh_partition){0};
}

// --- Bringing a unit together ------------------------------------------------------------------------------

eh_status eh_gathering_init(int size, eh_gathering *gathering)
{
    *gathering = (eh_gathering){0};
    EH_TRY(EH_ALLOC(size, &gathering->counts));
    return EH_ALLOC(size, &gathering->places);
}

void eh_gathering_deinit(eh_gathering *gathering)
{
    eh_free(&gathering->counts);
    eh_free(&gathering->places);
}

eh_status eh_gathering_begin(eh_comm *comm, const eh_partition *partition, int64_t unit, size_t element_bytes,
                             const void *own, void *unit_values, eh_gathering *gathering)
{
    const eh_unit *whole = &partition->units[unit];
    const eh_stretch *mine = &partition->own[unit];
    EH_ASSERT(!gathering->running);
    for (int rank = 0; rank < partition->size; rank++) { // in grains: an embedding may have more than INT_MAX elements
        const eh_stretch stretch = eh_unit_stretch(whole, rank, partition->size);
        gathering->counts[rank] = (int)(stretch.count / EH_GRAIN);
        gathering->places[rank] = (int)((stretch.first - whole->first) / EH_GRAIN);
    }
    EH_TRY(EH_MPI(MPI_Type_contiguous((int)(EH_GRAIN * element_bytes), MPI_BYTE, &gathering->grain)));
    EH_TRY(EH_MPI(MPI_Type_commit(&gathering->grain)));
    const char *place = (const char *)unit_values + (size_t)(mine->first - whole->first) * element_bytes;
    const bool is_there = own == (const void *)place;
    EH_TRY(EH_MPI(MPI_Iallgatherv(is_there ? MPI_IN_PLACE : own, is_there ? 0 : gathering->counts[partition->rank],
                                  gathering->grain, unit_values, gathering->counts, gathering->places, gathering->grain,
                                  eh_comm_mpi(comm), &gathering->request)));
    gathering->running = true;
    return EH_OK;
}

eh_status eh_gathering_end(eh_gathering *gathering)
{
    if (!gathering->running)
        return EH_OK;
    gathering->running = false;
    EH_TRY(eh_comm_wait_all(&gathering->request, 1));
    return EH_MPI(MPI_Type_free(&gathering->grain));
}
