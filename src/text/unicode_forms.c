// The normal forms of Unicode as the reference makes them, with its bookkeeping of where characters come from.
#include <stdlib.h>

#include "text/normalizer_steps.h"
#include "text/unicode_classes.h"
#include "text/utf8.h"

enum { CHUNK_BYTES = 1 << 16 };

eh_status eh_characters_reserve(eh_normalizer_work *work, int64_t count)
{
    return eh_reserve(count, &work->character_capacity, sizeof(eh_character), &work->characters);
}

// A character while it is decomposed, ordered and composed. The reference knows no more of where it comes from than
// `change`: 0 replaces one character of the text, 1 is one more, -n replaces 1 + n.
typedef struct {
    uint32_t code_point;
    int32_t change;
    uint32_t place;
} moving;

static int compare_marks(const void *left, const void *right)
{
    const moving *a = left, *b = right;
    const int order = (int)eh_combining_class(a->code_point) - (int)eh_combining_class(b->code_point);
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

// Canonical order: marks that follow each other are sorted by class, stably.
static void order_marks(moving *characters, int64_t count)
{
    for (int64_t first = 0; first < count;) {
        int64_t last = first;
        bool ordered = true;
        for (uint8_t before = 0; last < count; last++) {
            const uint8_t class = eh_combining_class(characters[last].code_point);
            if (class == 0)
                break;
            ordered = ordered && class >= before;
            before = class;
        }
        if (!ordered)
            qsort(characters + first, (size_t)(last - first), sizeof *characters, compare_marks);
        first = last + 1;
    }
}

// Canonical composition in place (Unicode Standard Annex 15): each starter takes what follows it and is not blocked.
static int64_t compose(moving *characters, int64_t count)
{
    int64_t made = 0, starter = -1; // starter: where the last one is, among those made
    uint8_t last_class = 0;
    for (int64_t i = 0; i < count; i++) {
        const moving next = characters[i];
        const uint8_t class = eh_combining_class(next.code_point);
        const bool blocked = starter < 0 || (made > starter + 1 && last_class >= class);
        const uint32_t composed = blocked ? 0 : eh_compose(characters[starter].code_point, next.code_point);
        if (composed != 0) {
            characters[starter].code_point = composed;
            characters[starter].change += next.change - 1;
            continue;
        }
        if (class == 0)
            starter = made;
        last_class = class;
        characters[made++] = next;
    }
    return made;
}

// A new one shares the origin of the character before it in the text.
static void deal_origins(const moving *moved, int64_t count, const eh_origin *origins, int64_t origin_count,
                         eh_character *characters)
{
    int64_t next = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = moved[i].change > 0 ? next - 1 : next;
        characters[i].code_point = moved[i].code_point;
        characters[i].origin = origins[at < 0 ? 0 : at < origin_count ? at : origin_count - 1];
        if (moved[i].change <= 0)
            next += 1 - moved[i].change;
    }
}

eh_status eh_characters_normalize(eh_normalizer_work *work, int64_t *count, eh_form form)
{
    const int64_t old = *count;
    const bool compatible = form == EH_NFKD || form == EH_NFKC;
    int64_t made = 0;
    EH_TRY(eh_reserve(old, &work->origin_capacity, sizeof *work->origins, (void **)&work->origins));
    for (int64_t i = 0; i < old; i++) {
        const eh_character character = ((const eh_character *)work->characters)[i];
        uint32_t parts[EH_LONGEST_DECOMPOSITION];
        const int part_count = eh_decompose(character.code_point, compatible, parts);
        work->origins[i] = character.origin;
        EH_TRY(eh_reserve(made + part_count, &work->moved_capacity, sizeof(moving), &work->moved));
        for (int k = 0; k < part_count; k++, made++)
            ((moving *)work->moved)[made] = (moving){parts[k], k > 0, (uint32_t)made};
    }
    order_marks(work->moved, made);
    if (form == EH_NFC || form == EH_NFKC)
        made = compose(work->moved, made);
    EH_TRY(eh_characters_reserve(work, made));
    deal_origins(work->moved, made, work->origins, old, work->characters);
    *count = made;
    return EH_OK;
}

// The end of a chunk that begins at `begin`: before an ASCII character, which neither moves nor composes with what is
// before it.
static uint32_t chunk_end(const char *bytes, uint32_t begin, uint32_t end)
{
    uint32_t at = end - begin > CHUNK_BYTES ? begin + CHUNK_BYTES : end;
    while (at < end && (uint8_t)bytes[at] >= 0x80) at++;
    return at;
}

eh_status eh_form_run(eh_form form, eh_normalizer_work *work, eh_source source, uint32_t begin, uint32_t end,
                      eh_aligned *text)
{
    for (uint32_t at = begin, stop; at < end; at = stop) {
        int64_t count = 0;
        stop = chunk_end(source.bytes, at, end);
        EH_TRY(eh_characters_reserve(work, stop - at));
        for (uint32_t size; at < stop; at += size) {
            const uint32_t code_point = eh_utf8_read(source.bytes + at, &size);
            ((eh_character *)work->characters)[count++] = (eh_character){code_point, eh_origin_at(source, at)};
        }
        EH_TRY(eh_characters_normalize(work, &count, form));
        EH_TRY(eh_aligned_reserve(text, 4 * count));
        for (int64_t i = 0; i < count; i++) {
            const eh_character character = ((const eh_character *)work->characters)[i];
            char bytes[4];
            eh_aligned_put(text, bytes, eh_utf8_write(character.code_point, bytes), character.origin);
        }
    }
    return EH_OK;
}
