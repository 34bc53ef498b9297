// Fuzz target: any bytes as a config.json. What is not refused describes a model whose table of parameters adds up.
#include <stdlib.h>
#include <string.h>

#include "model/model_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Of adapter.c, which would bring the backends with it; a plain model has no adapters.
eh_status eh_adapters_add(const eh_arch *arch, const eh_transformer *t, const eh_adaptation *adaptation,
                          eh_layout *layout)
{
    (void)arch, (void)t, (void)adaptation, (void)layout;
    abort();
}

static void check_layout(const eh_arch *arch, const eh_transformer *t)
{
    eh_layout layout = {0};
    EH_ASSERT(eh_layout_make(arch, t, NULL, &layout) == EH_OK);
    int64_t end = 0;
    for (int64_t p = 0; p < layout.count; p++) {
        const eh_parameter *parameter = &layout.parameters[p];
        EH_ASSERT(parameter->count > 0 && parameter->offset >= end && parameter->offset - end < 64);
        end = parameter->offset + parameter->count;
    }
    EH_ASSERT(end <= layout.weight_count && layout.weight_count < INT64_MAX / 64);
    eh_layout_deinit(&layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    json_t *root = NULL;
    const eh_arch *arch = NULL;
    eh_transformer t;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    const eh_status status = eh_arch_read("fuzz", text, NULL, &root, &arch, &t);
    EH_ASSERT(status == EH_OK || status == EH_INPUT);
    if (status == EH_OK)
        check_layout(arch, &t);
    json_decref(root);
    free(text);
    return 0;
}
