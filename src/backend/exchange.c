#include "backend/exchange.h"

#include "backend/backend_internal.h"

// Only a device with memory of its own has the table.
struct eh_exchange {
    eh_backend *backend;
};

bool eh_exchange_is_needed(const eh_backend *backend)
{
    return backend->exchange != NULL;
}

int eh_exchange_nccl_version(const eh_backend *backend)
{
    return backend->exchange->nccl_version();
}

eh_status eh_exchange_make_id(eh_backend *backend, unsigned char id[EH_EXCHANGE_ID_BYTES])
{
    return backend->exchange->make_id(backend, id);
}

eh_status eh_exchange_new(eh_backend *backend, const eh_exchange_plan *plan, eh_exchange **exchange)
{
    return backend->exchange->make(backend, plan, exchange);
}

void eh_exchange_free(eh_exchange **exchange)
{
    if (*exchange != NULL)
        (*exchange)->backend->exchange->destroy(*exchange);
    *exchange = NULL;
}

eh_status eh_exchange_send(eh_exchange *exchange, int slot, const eh_tensor *bucket)
{
    EH_ASSERT(slot >= 0 && slot < EH_EXCHANGE_SLOTS && bucket->dtype == EH_F32 &&
              bucket->offset + eh_tensor_bytes(bucket) <= bucket->buffer->bytes);
    bucket->buffer->write_count++;
    return exchange->backend->exchange->send(exchange, slot, bucket);
}

eh_status eh_exchange_arrived(eh_exchange *exchange, int slot, bool wait, bool *arrived)
{
    return exchange->backend->exchange->arrived(exchange, slot, wait, arrived);
}

float *eh_exchange_memory(const eh_exchange *exchange, int slot)
{
    return exchange->backend->exchange->memory(exchange, slot);
}

eh_status eh_exchange_receive(eh_exchange *exchange, int slot)
{
    return exchange->backend->exchange->receive(exchange, slot);
}

eh_status eh_exchange_release(eh_exchange *exchange, int slot)
{
    return exchange->backend->exchange->release(exchange, slot);
}

eh_status eh_exchange_finish(eh_exchange *exchange)
{
    return exchange->backend->exchange->finish(exchange);
}
