#include "text/normalizer_steps.h"

#include <stdlib.h>

#include "text/unicode_classes.h"

eh_status eh_characters_reserve(eh_normalizer_work *work, int64_t count)
{
    return eh_reserve(count, &work->character_capacity, sizeof(eh_character), &work->characters);
}

// While characters are decomposed, `origin` holds their place and whether they are the first that came of a character.
static int compare_marks(const void *left, const void *right)
{
    const eh_character *a = left, *b = right;
    const int order = (int)eh_combining_class(a->code_point) - (int)eh_combining_class(b->code_point);
    return order != 0 ? order : (a->origin.begin > b->origin.begin) - (a->origin.begin < b->origin.begin);
}

// Canonical order: marks that follow each other are sorted by class, stably.
static void order_marks(eh_character *characters, int64_t count)
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

// The reference remembers only who came first, and deals out origins in the new order: a first one takes the next
// character's, any other the last one's.
static void deal_origins(eh_character *characters, int64_t count, const eh_origin *origins)
{
    int64_t next = 0;
    for (int64_t i = 0; i < count; i++) {
        next += characters[i].origin.end;
        characters[i].origin = origins[next > 0 ? next - 1 : 0];
    }
}

eh_status eh_characters_decompose(eh_normalizer_work *work, int64_t from, int64_t *count)
{
    const int64_t old = *count - from;
    // Behind the characters: their decompositions, then their origins.
    EH_TRY(eh_characters_reserve(work, *count + EH_LONGEST_DECOMPOSITION * old + old));
    eh_character *characters = work->characters, *fresh = characters + *count;
    eh_origin *origins = (eh_origin *)(fresh + EH_LONGEST_DECOMPOSITION * old);
    int64_t made = 0;
    for (int64_t i = 0; i < old; i++) {
        uint32_t parts[EH_LONGEST_DECOMPOSITION];
        const int part_count = eh_decompose(characters[from + i].code_point, parts);
        origins[i] = characters[from + i].origin;
        for (int k = 0; k < part_count; k++, made++) fresh[made] = (eh_character){parts[k], {(uint32_t)made, k == 0}};
    }
    order_marks(fresh, made);
    deal_origins(fresh, made, origins);
    for (int64_t i = 0; i < made; i++) characters[from + i] = fresh[i];
    *count = from + made;
    return EH_OK;
}
