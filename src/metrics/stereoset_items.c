// StereoSet's items as the metrics see them.
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/philox.h"

#include "metrics/stereoset_internal.h"

bool eh_stereoset_read(const eh_item *item, eh_stereoset_item *stereoset)
{
    *stereoset = (eh_stereoset_item){.intrasentence = strncmp(eh_item_field(item, "task"), "intra", 5) == 0,
                                     .target = eh_item_field(item, "target"),
                                     .context = eh_item_field(item, "context"),
                                     .position = {-1, -1, -1}};
    for (int c = 0; c < EH_STEREOSET_LABELS && c < item->candidate_count; c++) {
        static const char *const names[] = {"sentence1", "sentence2", "sentence3"};
        const int8_t label = item->labels[c];
        if (label < 0 || label >= EH_STEREOSET_LABELS || stereoset->position[label] >= 0)
            return false;
        stereoset->position[label] = c;
        stereoset->sentences[label] = eh_item_field(item, names[c]);
    }
    return item->candidate_count == EH_STEREOSET_LABELS;
}

static bool same_without_case(const char *a, const char *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i]))
            return false;
    return true;
}

#define BLANK "BLANK"
#define BLANK_SIZE (sizeof BLANK - 1)

bool eh_stereoset_fill(const char *context, const char *sentence, size_t *first, size_t *size)
{
    size_t blanks = 0;
    for (const char *c = strstr(context, BLANK); c != NULL; c = strstr(c + BLANK_SIZE, BLANK)) blanks++;
    const size_t fixed = strlen(context) - blanks * BLANK_SIZE, length = strlen(sentence);
    if (blanks == 0 || length <= fixed || (length - fixed) % blanks != 0)
        return false;
    *size = (length - fixed) / blanks;
    size_t at = 0;
    for (const char *c = context;;) {
        const char *blank = strstr(c, BLANK);
        const size_t part = blank == NULL ? strlen(c) : (size_t)(blank - c);
        if (!same_without_case(c, sentence + at, part))
            return false;
        at += part;
        if (blank == NULL)
            return true;
        *first = at;
        at += *size;
        c = blank + BLANK_SIZE;
    }
}

// --- Without the context --------------------------------------------------------------------------------------------

static bool asks(const eh_metric_setup *setup, const char *word)
{
    const char *wanted = setup->settings->context_nulls;
    return wanted != NULL && (strcmp(wanted, "both") == 0 || strcmp(wanted, word) == 0);
}

bool eh_stereoset_asks_left_out(const eh_metric_setup *setup)
{
    return asks(setup, "left-out");
}

bool eh_stereoset_asks_shuffled(const eh_metric_setup *setup)
{
    return asks(setup, "shuffled");
}

eh_status eh_stereoset_shuffle(const eh_metric_setup *setup, int64_t item, const char *context, eh_string *shuffled)
{
    const char **words = NULL;
    int64_t *order = NULL, count = 0, capacity = 0;
    eh_status status = EH_OK;
    eh_string_clear(shuffled);
    EH_TRY_OR(done, eh_string_append(shuffled, "", 0));
    for (const char *c = context + strspn(context, " "); *c != '\0'; c += strspn(c, " ")) {
        EH_TRY_OR(done, EH_APPEND(&words, &count, &capacity, c));
        c += strcspn(c, " ");
    }
    EH_TRY_OR(done, EH_ALLOC(count, &order));
    eh_random_permutation(setup->seed, EH_STREAM_CONTEXT, (uint64_t)item, count, order);
    for (int64_t i = 0; i < count; i++) {
        EH_TRY_OR(done, eh_string_append_text(shuffled, i > 0 ? " " : ""));
        EH_TRY_OR(done, eh_string_append(shuffled, words[order[i]], strcspn(words[order[i]], " ")));
    }
done:
    eh_free(&words);
    eh_free(&order);
    return status;
}
