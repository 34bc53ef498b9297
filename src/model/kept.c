// Tensors of a head that this model was not opened with, kept beside its weights so that saving loses nothing: BERT's
// pooler and next-sentence layer outlive fine-tuning as a masked model.
#include <stdio.h>

#include "core/memory.h"
#include "model/model_internal.h"

static const char *const *kept_names(const eh_model *model)
{
    for (const eh_arch_class *class = model->arch->classes; class->name != NULL; class ++)
        if (class->head == model->t.head)
            return class->kept;
    return NULL;
}

void eh_kept_name(const eh_model *model, int64_t kept, char name[256])
{
    const char *pattern = kept_names(model)[kept];
    const bool has_prefix = *pattern == '~';
    snprintf(name, 256, "%s%s", has_prefix ? model->arch->prefix : "", pattern + has_prefix);
}

eh_status eh_kept_find(eh_model *model)
{
    const char *const *names = kept_names(model);
    int64_t count = 0;
    while (names != NULL && names[count] != NULL) count++;
    EH_TRY(EH_ALLOC(count, &model->kept));
    for (int64_t k = 0; k < count; k++) {
        char name[256];
        eh_kept_name(model, k, name);
        model->kept[k] = eh_weights_find(model, name);
        if (model->kept[k] == NULL || model->kept[k]->dtype > EH_STORED_F16 || model->kept[k]->dimension_count > 2)
            return EH_OK;
    }
    model->kept_count = count;
    return EH_OK;
}
