#include "metrics/ask_internal.h"

#include <string.h>

#include "core/memory.h"

eh_status eh_ids_add(eh_ids *ids, int32_t id)
{
    return EH_APPEND(&ids->ids, &ids->count, &ids->capacity, id);
}

eh_status eh_ids_add_text(eh_ids *ids, const eh_metric_setup *setup, const char *text, eh_special special)
{
    EH_TRY(eh_tokenizer_encode(setup->tokenizer, text, strlen(text), special, setup->encoding));
    for (int64_t i = 0; i < setup->encoding->count; i++) EH_TRY(eh_ids_add(ids, setup->encoding->ids[i]));
    return EH_OK;
}

void eh_ids_deinit(eh_ids *ids)
{
    eh_free(&ids->ids);
    *ids = (eh_ids){0};
}

int32_t eh_start_id(const eh_metric_setup *setup)
{
    return setup->special.bos >= 0 ? setup->special.bos : setup->special.eos;
}
