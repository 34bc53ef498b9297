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

static eh_status copy_names(const char *const *names, int64_t count, char ***copy)
{
    EH_TRY(EH_ALLOC(count + 1, copy));
    for (int64_t i = 0; i < count; i++) EH_TRY(eh_copy_string(names[i], &(*copy)[i]));
    return EH_OK;
}

eh_status eh_own_items_begin(const char *const *fields, const char *const *groups, int64_t group_count,
                             eh_examples *examples)
{
    int64_t field_count = 0;
    while (fields[field_count] != NULL) field_count++;
    EH_TRY(copy_names(groups, group_count, &examples->group_names));
    return copy_names(fields, field_count, &examples->field_names);
}

eh_status eh_own_items_add(const char *text, size_t size, uint16_t group, eh_examples *examples)
{
    return eh_examples_add(examples, &(eh_example){.group = group,
                                                   .source_row = (uint64_t)examples->count,
                                                   .split = EH_SPLIT_EVALUATE,
                                                   .text = text,
                                                   .text_size = size});
}
