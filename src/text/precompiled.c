// sentencepiece's compiled character map, applied as the reference does: cluster by cluster.
#include "text/normalizer_steps.h"

#include <string.h>

#include <utf8proc.h>

#include "text/utf8.h"

// --- Reading the map ---

static int base64_digit(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

static eh_status decode_base64(const char *text, size_t size, uint8_t *bytes, size_t *byte_count)
{
    uint32_t bits = 0;
    int bit_count = 0;
    *byte_count = 0;
    for (size_t i = 0; i < size && text[i] != '='; i++) {
        const int digit = base64_digit(text[i]);
        if (digit < 0)
            return eh_error(EH_INPUT, "normalizer: precompiled_charsmap is no base64 text");
        bits = bits << 6 | (uint32_t)digit;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            bytes[(*byte_count)++] = (uint8_t)(bits >> bit_count);
        }
    }
    return EH_OK;
}

// Four bytes with the size of the double array, the array, the replacements.
static eh_status read_map(const uint8_t *bytes, size_t size, eh_precompiled *map)
{
    const uint32_t array_bytes =
        size < 4 ? 0 : bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    if (array_bytes < 4 || array_bytes % 4 != 0 || array_bytes > size - 4)
        return eh_error(EH_INPUT, "normalizer: precompiled_charsmap: its table has %u bytes, the whole only %zu",
                        array_bytes, size);
    map->unit_count = array_bytes / 4;
    map->replacement_bytes = (uint32_t)(size - 4 - array_bytes);
    const uint8_t *replacements = bytes + 4 + array_bytes;
    if (eh_utf8_valid_prefix((const char *)replacements, map->replacement_bytes) < map->replacement_bytes)
        return eh_error(EH_INPUT, "normalizer: precompiled_charsmap: its replacements are not UTF-8");
    EH_TRY(EH_ALLOC(map->unit_count, &map->units));
    for (uint32_t i = 0; i < map->unit_count; i++) {
        const uint8_t *unit = bytes + 4 + 4 * (size_t)i;
        map->units[i] = unit[0] | (uint32_t)unit[1] << 8 | (uint32_t)unit[2] << 16 | (uint32_t)unit[3] << 24;
    }
    return eh_copy_bytes((const char *)replacements, map->replacement_bytes, &map->replacements);
}

// What the shortest prefix of `text` that the map knows becomes; NULL if it knows none.
static const char *look_up(const eh_precompiled *map, const char *text, uint32_t size)
{
    uint32_t node = 0, unit = map->units[0];
    for (uint32_t i = 0;; i++) {
        node ^= unit >> 10 << ((unit & 1u << 9) >> 6);
        if (i > 0 && (unit >> 8 & 1) != 0) {
            const uint32_t at = node < map->unit_count ? map->units[node] & 0x7FFFFFFFu : UINT32_MAX;
            return at < map->replacement_bytes ? map->replacements + at : NULL;
        }
        if (i == size || text[i] == '\0')
            return NULL;
        node ^= (uint8_t)text[i];
        if (node >= map->unit_count)
            return NULL;
        unit = map->units[node];
        if ((unit & (1u << 31 | 0xFF)) != (uint8_t)text[i])
            return NULL;
    }
}

eh_status eh_precompiled_init(const json_t *description, eh_precompiled *map)
{
    const json_t *text = json_object_get(description, "precompiled_charsmap");
    if (!json_is_string(text))
        return eh_error(EH_INPUT, "normalizer: Precompiled needs a precompiled_charsmap");
    uint8_t *bytes = NULL;
    size_t size = 0;
    EH_TRY(EH_ALLOC(json_string_length(text), &bytes));
    eh_status status = decode_base64(json_string_value(text), json_string_length(text), bytes, &size);
    if (status == EH_OK)
        status = read_map(bytes, size, map);
    eh_free(&bytes);
    EH_TRY(status);
    for (int c = 1; c < 128; c++) {
        const char letter = (char)c;
        const char *becomes = look_up(map, &letter, 1);
        if (becomes == NULL)
            map->ascii[c] = (uint8_t)c;
        else if ((uint8_t)becomes[0] < 0x80 && becomes[0] != '\0' && becomes[1] == '\0')
            map->ascii[c] = (uint8_t)becomes[0];
    }
    return EH_OK;
}

void eh_precompiled_deinit(eh_precompiled *map)
{
    eh_free(&map->units);
    eh_free(&map->replacements);
    *map = (eh_precompiled){0};
}

// --- Applying it ---

// The reference deals out origins from the characters in order, by how many each replacement takes away. If what was
// replaced by nothing stood at the very start, its characters are never skipped, and `next` stays behind for good.
typedef struct {
    eh_source source;
    uint32_t begin, end;
    uint32_t next;      // the character whose origin is dealt out next
    uint32_t last_size; // bytes of the last character in the text, 0: there is none
    bool last_added;    // it took the origin of the one before
    eh_aligned *text;
} origin_dealer;

static void skip(origin_dealer *dealer, int64_t characters)
{
    for (uint32_t size; characters > 0 && dealer->next < dealer->end; characters--, dealer->next += size)
        (void)eh_utf8_read(dealer->source.bytes + dealer->next, &size);
}

static void put(origin_dealer *dealer, const char *bytes, uint32_t size, bool added)
{
    eh_origin origin = eh_origin_at(dealer->source, dealer->next < dealer->end ? dealer->next : dealer->end - 1);
    if (added && dealer->next == dealer->begin)
        origin.end = origin.begin;
    else if (added)
        origin = eh_origin_at(dealer->source, dealer->next - 1);
    else
        skip(dealer, 1);
    eh_aligned_put(dealer->text, bytes, size, origin);
    dealer->last_size = size;
    dealer->last_added = added;
}

static eh_status replace(origin_dealer *dealer, int64_t old_count, const char *becomes)
{
    const uint32_t size = (uint32_t)strlen(becomes);
    EH_TRY(eh_aligned_reserve(dealer->text, (int64_t)size + (dealer->end - dealer->begin)));
    int64_t count = 0;
    for (uint32_t at = 0, length; at < size; at += length, count++) {
        (void)eh_utf8_read(becomes + at, &length);
        put(dealer, becomes + at, length, count >= old_count);
    }
    if (count >= old_count || dealer->last_size == 0)
        return EH_OK;
    if (count == 0 && dealer->last_added) { // it takes the place of what goes
        const eh_origin origin = eh_origin_at(dealer->source, dealer->next);
        for (uint32_t i = 1; i <= dealer->last_size; i++) dealer->text->origins[dealer->text->size - i] = origin;
        dealer->last_added = false;
    }
    skip(dealer, old_count - count);
    return EH_OK;
}

static uint32_t cluster_end(const char *bytes, uint32_t at, uint32_t end)
{
    uint32_t size;
    utf8proc_int32_t state = 0, before = (utf8proc_int32_t)eh_utf8_read(bytes + at, &size);
    for (at += size; at < end; at += size) {
        const utf8proc_int32_t here = (utf8proc_int32_t)eh_utf8_read(bytes + at, &size);
        if (utf8proc_grapheme_break_stateful(before, here, &state))
            break;
        before = here;
    }
    return at;
}

// A cluster of less than 6 bytes is replaced as a whole, if the map knows any prefix of it; else character by
// character.
static eh_status put_cluster(const eh_precompiled *map, origin_dealer *dealer, uint32_t begin, uint32_t end)
{
    const char *bytes = dealer->source.bytes;
    if (end - begin < 6) {
        const char *becomes = look_up(map, bytes + begin, end - begin);
        int64_t count = 0;
        for (uint32_t at = begin; at < end; at++) count += !eh_utf8_continues(bytes[at]);
        if (becomes != NULL)
            return replace(dealer, count, becomes);
    }
    for (uint32_t at = begin, size; at < end; at += size) {
        (void)eh_utf8_read(bytes + at, &size);
        const char *becomes = look_up(map, bytes + at, size);
        if (becomes != NULL)
            EH_TRY(replace(dealer, 1, becomes));
        else {
            EH_TRY(eh_aligned_reserve(dealer->text, 4 + (int64_t)(end - at)));
            put(dealer, bytes + at, size, false);
        }
    }
    return EH_OK;
}

// Whether the character at `at` is ASCII and a cluster of its own, and becomes an ASCII character.
static inline bool is_simple(const eh_precompiled *map, const char *bytes, uint32_t at, uint32_t end)
{
    const uint8_t byte = (uint8_t)bytes[at];
    if (byte >= 0x80 || map->ascii[byte] == 0)
        return false;
    if (at + 1 == end)
        return true;
    const uint8_t next = (uint8_t)bytes[at + 1];
    return next < 0x80 && !(byte == '\r' && next == '\n');
}

eh_status eh_precompiled_run(const eh_precompiled *map, eh_source source, uint32_t begin, uint32_t end,
                             eh_aligned *text)
{
    const char *bytes = source.bytes;
    origin_dealer dealer = {.source = source, .begin = begin, .end = end, .next = begin, .text = text};
    for (uint32_t at = begin; at < end;) {
        EH_TRY(eh_aligned_reserve(text, end - at));
        const uint32_t first = at;
        int64_t size = text->size;
        for (; dealer.next == first && at < end && is_simple(map, bytes, at, end); at++) {
            text->bytes[size] = (char)map->ascii[(uint8_t)bytes[at]];
            text->origins[size++] = source.origins != NULL ? source.origins[at] : (eh_origin){at, at + 1};
        }
        if (at > first) {
            text->size = size;
            dealer.next = at;
            dealer.last_size = 1;
            dealer.last_added = false;
            continue;
        }
        const uint32_t stop = cluster_end(bytes, at, end);
        EH_TRY(put_cluster(map, &dealer, at, stop));
        at = stop;
    }
    return EH_OK;
}
