#include "text/utf8.h"

#include <string.h>

// The allowed range of the second byte depends on the first (Unicode, table 3-7): no overlong forms, no surrogates.
// Returns the length of the sequence that the first byte announces, 0 if it announces none.
static size_t second_byte_range(uint8_t first, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF) {
        *low = first == 0xE0 ? 0xA0 : 0x80;
        *high = first == 0xED ? 0x9F : 0xBF;
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        *low = first == 0xF0 ? 0x90 : 0x80;
        *high = first == 0xF4 ? 0x8F : 0xBF;
        return 4;
    }
    return 0;
}

// The bytes of the sequence at text[0] that are well formed; *complete says whether that is all of it.
static size_t well_formed(const char *text, size_t size, bool *complete)
{
    const uint8_t *byte = (const uint8_t *)text;
    uint8_t low = 0, high = 0;
    const size_t length = second_byte_range(byte[0], &low, &high);
    *complete = false;
    if (length == 0)
        return 0;
    size_t good = 1;
    while (good < length && good < size && byte[good] >= low && byte[good] <= high) {
        good++;
        low = 0x80;
        high = 0xBF;
    }
    *complete = good == length;
    return good;
}

size_t eh_utf8_valid_prefix(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint64_t eight;
        if (size - at >= sizeof eight) { // mostly ASCII: eight bytes at a time
            memcpy(&eight, text + at, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        if ((uint8_t)text[at] < 0x80) {
            at++;
            continue;
        }
        bool complete = false;
        const size_t good = well_formed(text + at, size - at, &complete);
        if (!complete)
            return at;
        at += good;
    }
    return at;
}

size_t eh_utf8_malformed(const char *text, size_t size)
{
    bool complete = false;
    const size_t good = well_formed(text, size, &complete);
    return good > 0 ? good : 1;
}
