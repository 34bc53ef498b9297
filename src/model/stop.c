// The whole text is decoded again after each token: what a token's text is may depend on its neighbours (a leading
// space, a character of several tokens), and next to a pass through the model it is nothing.
#include "model/stop.h"

#include <string.h>

#include "core/string.h"

// Where `string` is first complete in `text`: its end; SIZE_MAX if it is not there.
static size_t end_of(const char *string, const eh_string *text)
{
    const size_t size = strlen(string);
    for (size_t at = 0; at + size <= text->size; at++)
        if (memcmp(text->bytes + at, string, size) == 0)
            return at + size;
    return SIZE_MAX;
}

// The fewest ids whose text begins with `size` bytes of `text`.
static eh_status count_needed(const eh_stops *stops, const int32_t *ids, const eh_string *text, size_t size,
                              int64_t *count)
{
    eh_status status = EH_OK;
    eh_string part = {0};
    int64_t needed = 0;
    for (; needed < *count; needed++) {
        EH_TRY_OR(done, eh_tokenizer_decode(stops->tokenizer, ids, needed, true, &part));
        if (part.size >= size && (size == 0 || memcmp(part.bytes, text->bytes, size) == 0))
            break;
    }
    *count = needed;
done:
    eh_string_deinit(&part);
    return status;
}

eh_status eh_stops_find(const eh_stops *stops, const int32_t *ids, int64_t *count, size_t *size, bool *found)
{
    eh_status status = EH_OK;
    eh_string text = {0};
    size_t first_end = SIZE_MAX;
    *found = false;
    if (stops->count == 0)
        return EH_OK;
    EH_TRY_OR(done, eh_tokenizer_decode(stops->tokenizer, ids, *count, true, &text));
    for (int64_t s = 0; s < stops->count; s++) {
        const size_t end = end_of(stops->strings[s], &text);
        if (end == SIZE_MAX || end > first_end)
            continue;
        const size_t begin = end - strlen(stops->strings[s]);
        *size = end < first_end || begin < *size ? begin : *size;
        first_end = end;
    }
    *found = first_end != SIZE_MAX;
    if (*found)
        status = count_needed(stops, ids, &text, *size, count);
done:
    eh_string_deinit(&text);
    return status;
}
