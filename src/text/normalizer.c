#include "text/normalizer.h"

struct eh_normalizer_step {
    int kind;
};

eh_status eh_normalizer_init(const json_t *description, eh_normalizer *normalizer)
{
    (void)normalizer;
    if (description == NULL || json_is_null(description))
        return EH_OK;
    const char *type = json_string_value(json_object_get(description, "type"));
    return eh_error(EH_INPUT, "normalizer: %s is not supported", type != NULL ? type : "(no type)");
}

void eh_normalizer_deinit(eh_normalizer *normalizer)
{
    eh_free(&normalizer->steps);
    *normalizer = (eh_normalizer){0};
}

eh_status eh_normalizer_run(const eh_normalizer *normalizer, eh_normalizer_work *work, eh_source source, uint32_t begin,
                            uint32_t end, eh_aligned *text)
{
    (void)normalizer;
    (void)work;
    (void)source;
    (void)begin;
    (void)end;
    (void)text;
    return EH_OK;
}

void eh_normalizer_work_deinit(eh_normalizer_work *work)
{
    *work = (eh_normalizer_work){0};
}
