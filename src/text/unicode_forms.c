#include "text/normalizer_steps.h"

#include <stdlib.h>

#include <utf8proc.h>

eh_status eh_characters_reserve(eh_normalizer_work *work, int64_t count)
{
    return eh_reserve(count, &work->character_capacity, sizeof(eh_character), &work->characters);
}

enum { LONGEST_DECOMPOSITION = 8 };

static uint8_t combining_class(uint32_t code_point)
{
    return (uint8_t)utf8proc_get_property((utf8proc_int32_t)code_point)->combining_class;
}

// While characters are decomposed, `origin` holds their place and whether they are the first that came of a character.
static int compare_marks(const void *left, const void *right)
{
    const eh_character *a = left, *b = right;
    const int order = (int)combining_class(a->code_point) - (int)combining_class(b->code_point);
    return order != 0 ? order : (a->origin.begin > b->origin.begin) - (a->origin.begin < b->origin.begin);
}

// Canonical order: marks that follow each other are sorted by class, stably.
static void order_marks(eh_character *characters, int64_t count)
{
    for (int64_t first = 0; first < count;) {
        int64_t last = first;
        bool ordered = true;
        for (uint8_t before = 0; last < count; last++) {
            const uint8_t class = combining_class(characters[last].code_point);
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
    EH_TRY(eh_characters_reserve(work, *count + LONGEST_DECOMPOSITION * old + old));
    eh_character *characters = work->characters, *fresh = characters + *count;
    eh_origin *origins = (eh_origin *)(fresh + LONGEST_DECOMPOSITION * old);
    int64_t made = 0;
    for (int64_t i = 0; i < old; i++) {
        utf8proc_int32_t parts[LONGEST_DECOMPOSITION];
        int boundary = 0;
        const utf8proc_int32_t code_point = (utf8proc_int32_t)characters[from + i].code_point;
        utf8proc_ssize_t part_count =
            utf8proc_decompose_char(code_point, parts, LONGEST_DECOMPOSITION, UTF8PROC_DECOMPOSE, &boundary);
        if (part_count < 1 || part_count > LONGEST_DECOMPOSITION) {
            parts[0] = code_point;
            part_count = 1;
        }
        origins[i] = characters[from + i].origin;
        for (utf8proc_ssize_t k = 0; k < part_count; k++, made++)
            fresh[made] = (eh_character){(uint32_t)parts[k], {(uint32_t)made, k == 0}};
    }
    order_marks(fresh, made);
    deal_origins(fresh, made, origins);
    for (int64_t i = 0; i < made; i++) characters[from + i] = fresh[i];
    *count = from + made;
    return EH_OK;
}

int eh_lower_case(uint32_t code_point, uint32_t lower[2])
{
    lower[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code_point);
    if (code_point != 0x130)
        return 1;
    lower[0] = 'i'; // the one character whose lower case are two
    lower[1] = 0x307;
    return 2;
}
