// Greedy texts for scripts: tool_generate FOLDER PENALTY NGRAM LEAST MOST EOS < prompts, a line of ids each; prints the
// new tokens, a line per prompt, and "eos" where that ended it.
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "model/generate.h"

enum { IDS_MOST = 4096, PROMPTS_MOST = 64 };
typedef struct {
    int32_t *ids[PROMPTS_MOST];
    int64_t counts[PROMPTS_MOST];
    bool by_eos[PROMPTS_MOST];
} texts;

static eh_status keep(void *context, const eh_generated *text)
{
    texts *own = context;
    own->counts[text->item] = text->count;
    own->by_eos[text->item] = text->ended_by_eos;
    EH_TRY(EH_ALLOC(text->count, &own->ids[text->item]));
    for (int64_t i = 0; i < text->count; i++) own->ids[text->item][i] = text->ids[i];
    return EH_OK;
}

static int64_t read_prompts(int32_t *ids, int64_t *offsets)
{
    char line[1 << 14];
    int64_t prompts = 0, count = 0;
    while (prompts < PROMPTS_MOST && fgets(line, sizeof line, stdin) != NULL) {
        char *end = line;
        for (char *at = line;; at = end) {
            const long id = strtol(at, &end, 10);
            if (end == at || count == IDS_MOST)
                break;
            ids[count++] = (int32_t)id;
        }
        offsets[++prompts] = count;
    }
    return prompts;
}

static eh_status run(char **argv)
{
    static int32_t ids[IDS_MOST];
    int64_t offsets[PROMPTS_MOST + 1] = {0}, items[PROMPTS_MOST];
    texts found = {.counts = {0}};
    eh_backend *backend = NULL;
    eh_model *model = NULL;
    eh_status status = EH_OK;
    const int64_t prompts = read_prompts(ids, offsets);
    for (int64_t i = 0; i < prompts; i++) items[i] = i;
    const eh_generation settings = {.samples = 1,
                                    .temperature = 1,
                                    .top_p = 1,
                                    .repetition_penalty = strtod(argv[2], NULL),
                                    .no_repeat_ngram = atoi(argv[3]),
                                    .min_new_tokens = atoi(argv[4]),
                                    .max_new_tokens = atoi(argv[5]),
                                    .eos = atoi(argv[6])};
    EH_TRY_OR(done, eh_backend_open("cpu", 0, 1, &backend));
    EH_TRY_OR(done, eh_model_open(backend, argv[1], EH_F32, EH_FOR_INFERENCE, &model));
    EH_TRY_OR(done, eh_generate(model, &settings, prompts, ids, offsets, items, keep, &found));
    for (int64_t p = 0; p < prompts; p++) {
        for (int64_t i = 0; i < found.counts[p]; i++) printf("%d ", (int)found.ids[p][i]);
        printf("%s\n", found.by_eos[p] ? "eos" : "");
    }
done:
    for (int64_t p = 0; p < prompts; p++) eh_free(&found.ids[p]);
    eh_model_close(&model);
    eh_backend_close(&backend);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 7 || run(argv) != EH_OK) {
        fprintf(stderr, "%s\n", argc != 7 ? "usage: FOLDER PENALTY NGRAM LEAST MOST EOS" : eh_error_message());
        return 1;
    }
    return 0;
}
