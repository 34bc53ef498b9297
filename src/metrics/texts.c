#include "metrics/texts_internal.h"

#include <string.h>

#include "core/memory.h"
#include "metrics/items_internal.h"

// The prompts of several items, as eh_generate wants them.
typedef struct {
    eh_asked *const *asked; // [count]
    int64_t count, prompt_count, samples;
    const eh_tokenizer *tokenizer;
    int64_t *item_ids; // [prompt_count] row of the data set and number of the prompt, in one
    int64_t *owners;   // [prompt_count] of the asked
    int64_t *offsets;  // [prompt_count + 1]
    int32_t *ids;
} prompts;

static eh_status make_room_for_texts(eh_asked *asked, int64_t count)
{
    EH_TRY(eh_reserve(count, &asked->text_capacity, sizeof *asked->texts, (void **)&asked->texts));
    if (count > 0)
        memset(asked->texts, 0, (size_t)count * sizeof *asked->texts);
    asked->text_count = count;
    return EH_OK;
}

static eh_status collect_prompts(prompts *p, int64_t new_tokens)
{
    int64_t ids = 0;
    for (int64_t i = 0; i < p->count; i++) {
        eh_requests *r = &p->asked[i]->requests;
        EH_ASSERT(r->prompt_count <= EH_PROMPTS_MOST);
        p->prompt_count += r->prompt_count;
        for (int64_t k = 0; k < r->prompt_count; k++) eh_request_cut_prompt(r, k, new_tokens);
        for (int64_t k = 0; k < r->prompt_count; k++) ids += r->prompts[2 * k + 1];
    }
    EH_TRY(EH_ALLOC(p->prompt_count, &p->item_ids));
    EH_TRY(EH_ALLOC(p->prompt_count, &p->owners));
    EH_TRY(EH_ALLOC(p->prompt_count + 1, &p->offsets));
    EH_TRY(EH_ALLOC(ids, &p->ids));
    int64_t n = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const eh_requests *r = &p->asked[i]->requests;
        EH_TRY(make_room_for_texts(p->asked[i], r->prompt_count * p->samples));
        for (int64_t k = 0; k < r->prompt_count; k++, n++) {
            const int64_t count = r->prompts[2 * k + 1];
            memcpy(p->ids + p->offsets[n], r->ids + r->prompts[2 * k], (size_t)count * sizeof(int32_t));
            p->offsets[n + 1] = p->offsets[n] + count;
            p->owners[n] = i;
            p->item_ids[n] = p->asked[i]->item * EH_PROMPTS_MOST + k;
        }
    }
    return EH_OK;
}

// A NUL character would end the text in a score row: it becomes U+FFFD before anything judges the text.
static eh_status replace_nul(const eh_string *from, eh_string *to)
{
    EH_TRY(eh_string_append(to, "", 0));
    for (size_t at = 0; at < from->size;) {
        const size_t length = strnlen(from->bytes + at, from->size - at);
        EH_TRY(eh_string_append(to, from->bytes + at, length));
        at += length;
        if (at < from->size)
            EH_TRY(eh_string_append_text(to, "\xEF\xBF\xBD"));
        at++;
    }
    return EH_OK;
}

eh_status eh_answer_text_set(const eh_tokenizer *tokenizer, const int32_t *ids, int64_t count, size_t size,
                             eh_answer_text *answer)
{
    eh_string text = {0}, decoded = {0};
    int32_t *copy = NULL;
    EH_TRY(EH_ALLOC(count, &copy));
    if (count > 0)
        memcpy(copy, ids, (size_t)count * sizeof *ids);
    answer->ids = copy;
    answer->count = count;
    eh_status status = eh_tokenizer_decode(tokenizer, ids, count, true, &decoded);
    if (size < decoded.size)
        decoded.size = size;
    if (status == EH_OK)
        status = replace_nul(&decoded, &text);
    eh_string_deinit(&decoded);
    answer->text = text.bytes;
    answer->size = text.size;
    return status;
}

static eh_status take_text(void *context, const eh_generated *generated)
{
    const prompts *p = context;
    int64_t n = 0;
    while (n < p->prompt_count && p->item_ids[n] != generated->item) n++;
    EH_ASSERT(n < p->prompt_count && generated->sample < p->samples);
    const int64_t prompt = generated->item % EH_PROMPTS_MOST;
    eh_asked *asked = p->asked[p->owners[n]];
    asked->is_broken = asked->is_broken || generated->is_broken;
    eh_answer_text *answer = &asked->texts[prompt * p->samples + generated->sample];
    *answer = (eh_answer_text){
        .prompt = prompt, .sample = generated->sample, .ended = generated->ended_by_eos || generated->ended_by_stop};
    return eh_answer_text_set(p->tokenizer, generated->ids, generated->count,
                              generated->ended_by_stop ? generated->text_size : SIZE_MAX, answer);
}

eh_status eh_texts_generate(eh_model *model, const eh_tokenizer *tokenizer, const eh_generation *generation,
                            eh_asked *const *asked, int64_t count)
{
    prompts p = {.asked = asked, .count = count, .samples = generation->samples, .tokenizer = tokenizer};
    eh_status status = collect_prompts(&p, generation->max_new_tokens);
    if (status == EH_OK && p.prompt_count > 0)
        status = eh_generate(model, generation, p.prompt_count, p.ids, p.offsets, p.item_ids, take_text, &p);
    for (int64_t i = 0; i < count; i++)
        if (asked[i]->is_broken) {
            eh_asked_forget_texts(asked[i]);
            asked[i]->is_broken = true;
        }
    eh_free(&p.item_ids);
    eh_free(&p.owners);
    eh_free(&p.offsets);
    eh_free(&p.ids);
    return status;
}
