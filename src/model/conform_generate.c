// Greedy texts, token by token, with prompts worked on together.
#include <string.h>

#include "core/memory.h"
#include "model/conform_internal.h"
#include "model/generate.h"

typedef struct {
    const eh_expected *expected;
    int32_t eos, pad;
    int64_t wrong, compared, texts;
} comparison;

static eh_status compare(void *context, const eh_generated *text)
{
    comparison *own = context;
    const int64_t width = own->expected->shape[1];
    const int32_t *row = own->expected->ints + text->item * width;
    own->texts++;
    for (int64_t i = 0; i < width; i++) {
        const int32_t found = i < text->count                          ? text->ids[i]
                              : i == text->count && text->ended_by_eos ? own->eos
                                                                       : own->pad;
        own->wrong += found != row[i];
        own->compared++;
    }
    return EH_OK;
}

static eh_status check_texts(eh_conform *conform, eh_model *model, const char *path, int64_t ngram, int32_t eos,
                             int64_t slots)
{
    eh_expected_rows prompts = {0};
    eh_expected expected = {0};
    eh_status status = EH_OK;
    int64_t *items = NULL;
    char name[128];
    EH_TRY_OR(done, eh_expected_read_rows(conform, "generate/prompts", &prompts));
    EH_TRY_OR(done, eh_expected_read(conform, path, &expected));
    EH_TRY_OR(done, EH_ALLOC(prompts.row_count, &items));
    for (int64_t i = 0; i < prompts.row_count; i++) items[i] = i;
    if (expected.dimension_count != 2 || expected.shape[0] != prompts.row_count || expected.ints == NULL) {
        status = eh_error(EH_INPUT, "%s: %s does not have one row per prompt", conform->name, path);
        goto done;
    }
    const int32_t pad = model->t.special.pad >= 0 ? model->t.special.pad : model->t.special.eos;
    comparison own = {.expected = &expected, .eos = eos, .pad = pad};
    const eh_generation settings = {.max_new_tokens = expected.shape[1],
                                    .samples = 1,
                                    .temperature = 1,
                                    .top_p = 1,
                                    .repetition_penalty = 1,
                                    .no_repeat_ngram = ngram,
                                    .eos = eos,
                                    .slots = slots};
    EH_TRY_OR(done, eh_generate(model, &settings, prompts.row_count, prompts.values.ints, prompts.offsets, items,
                                compare, &own));
    snprintf(name, sizeof name, "%s, %lld together", path, (long long)slots);
    eh_conform_report_exact(conform, name, own.wrong + (own.texts != prompts.row_count), own.compared);
done:
    eh_expected_rows_deinit(&prompts);
    eh_expected_deinit(&expected);
    eh_free(&items);
    return status;
}

eh_status eh_conform_generate(eh_conform *conform, eh_model *model)
{
    double eos = -1;
    if (!eh_expected_exists(conform, "generate"))
        return EH_OK;
    EH_TRY(eh_expected_attribute(conform, "generate/with_eos", "eos_token_id", &eos));
    const int32_t own = model->t.special.eos;
    for (int64_t slots = 1; slots <= 3; slots += 2) {
        EH_TRY(check_texts(conform, model, "generate/greedy", 0, own, slots));
        EH_TRY(check_texts(conform, model, "generate/no_repeat_ngram_2", 2, own, slots));
        EH_TRY(check_texts(conform, model, "generate/with_eos", 0, (int32_t)eos, slots));
    }
    return EH_OK;
}
