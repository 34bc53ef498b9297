#include "text/unicode_classes.h"

#include <stddef.h>

#include <utf8proc.h>

typedef struct {
    uint32_t first, last;
} range;

static bool in_ranges(const range *ranges, size_t count, uint32_t code_point)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (code_point > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && code_point >= ranges[low].first;
}
#define IN(ranges, code_point) in_ranges((ranges), sizeof(ranges) / sizeof *(ranges), (code_point))

// Assigned in Unicode 15.1 and 16, later than Debian 12's utf8proc.
static const range new_letters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3}, {0x10D4A, 0x10D65},
    {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E},
    {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0},
    {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D},
};
static const range new_numbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139},
    {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA},
};
// Word characters beside letters, marks, digits and connectors: circled letters, and marks and digits of Unicode 15
// and 16.
static const range more_word[] = {
    {0x897, 0x897},     {0xCF3, 0xCF3},     {0xECE, 0xECE},     {0x24B6, 0x24E9},   {0x10D40, 0x10D49},
    {0x10D69, 0x10D6D}, {0x10EFC, 0x10EFF}, {0x1123F, 0x11241}, {0x113B8, 0x113C0}, {0x113C2, 0x113C2},
    {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2},
    {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x11F00, 0x11F10}, {0x11F12, 0x11F3A}, {0x11F3E, 0x11F42},
    {0x11F50, 0x11F5A}, {0x1342F, 0x1342F}, {0x13440, 0x13455}, {0x1611E, 0x16139}, {0x16D70, 0x16D79},
    {0x1B132, 0x1B132}, {0x1B155, 0x1B155}, {0x1CCF0, 0x1CCF9}, {0x1DF25, 0x1DF2A}, {0x1E030, 0x1E06D},
    {0x1E08F, 0x1E08F}, {0x1E4D0, 0x1E4F9}, {0x1E5EE, 0x1E5EF}, {0x1E5F1, 0x1E5FA}, {0x1F130, 0x1F149},
    {0x1F150, 0x1F169}, {0x1F170, 0x1F189}, {0x2B739, 0x2B739}, {0x31350, 0x323AF}};
// Punctuation that is newer than Unicode 8.
static const range new_punctuation[] = {
    {0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},     {0xC84, 0xC84},
    {0x1B7D, 0x1B7E},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},   {0x10EAD, 0x10EAD}, {0x10F55, 0x10F59},
    {0x10F86, 0x10F89}, {0x1144B, 0x1144F}, {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C},
    {0x116B9, 0x116B9}, {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
    {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71},
    {0x11EF7, 0x11EF8}, {0x11F43, 0x11F4F}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16E97, 0x16E9A},
    {0x16FE2, 0x16FE2}, {0x1E95E, 0x1E95F},
};
// Format characters that are newer than Unicode 8.
static const range new_formats[] = {
    {0x890, 0x891},
    {0x8E2, 0x8E2},
    {0x110CD, 0x110CD},
    {0x13430, 0x1343F},
};

// Accents that are newer than Unicode 8 (or became accents since).
static const range new_accents[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8E1},     {0x9FE, 0x9FE},     {0xAFA, 0xAFF},
    {0xB55, 0xB55},     {0xC04, 0xC04},     {0xC3C, 0xC3C},     {0xD00, 0xD00},     {0xD3B, 0xD3C},
    {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},     {0x180F, 0x180F},   {0x1885, 0x1886},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFB},   {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},
    {0xA9BD, 0xA9BD},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110C2, 0x110C2}, {0x111C9, 0x111C9},
    {0x111CF, 0x111CF}, {0x1123E, 0x1123E}, {0x11241, 0x11241}, {0x1133B, 0x1133B}, {0x11438, 0x1143F},
    {0x11442, 0x11444}, {0x11446, 0x11446}, {0x1145E, 0x1145E}, {0x1182F, 0x11837}, {0x11839, 0x1183A},
    {0x1193B, 0x1193C}, {0x1193E, 0x1193E}, {0x11943, 0x11943}, {0x119D4, 0x119D7}, {0x119DA, 0x119DB},
    {0x119E0, 0x119E0}, {0x11A01, 0x11A0A}, {0x11A33, 0x11A38}, {0x11A3B, 0x11A3E}, {0x11A47, 0x11A47},
    {0x11A51, 0x11A56}, {0x11A59, 0x11A5B}, {0x11A8A, 0x11A96}, {0x11A98, 0x11A99}, {0x11C30, 0x11C36},
    {0x11C38, 0x11C3D}, {0x11C3F, 0x11C3F}, {0x11C92, 0x11CA7}, {0x11CAA, 0x11CB0}, {0x11CB2, 0x11CB3},
    {0x11CB5, 0x11CB6}, {0x11D31, 0x11D36}, {0x11D3A, 0x11D3A}, {0x11D3C, 0x11D3D}, {0x11D3F, 0x11D45},
    {0x11D47, 0x11D47}, {0x11D90, 0x11D91}, {0x11D95, 0x11D95}, {0x11D97, 0x11D97}, {0x11EF3, 0x11EF4},
    {0x11F00, 0x11F01}, {0x11F36, 0x11F3A}, {0x11F40, 0x11F40}, {0x11F42, 0x11F42}, {0x13440, 0x13440},
    {0x13447, 0x13455}, {0x16F4F, 0x16F4F}, {0x16FE4, 0x16FE4}, {0x1CF00, 0x1CF2D}, {0x1CF30, 0x1CF46},
    {0x1E000, 0x1E006}, {0x1E008, 0x1E018}, {0x1E01B, 0x1E021}, {0x1E023, 0x1E024}, {0x1E026, 0x1E02A},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
    {0x1E944, 0x1E94A},
};
// Marks that have a combining class in utf8proc, but none in the reference's older tables (Unicode 9).
static const range new_combining[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47},
    {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF},
};

// Combining marks, compatibility decompositions and compositions that came after Unicode 9, the version of the
// reference's normal forms.
static const range new_marks[] = {
    {0x7FD, 0x7FD},     {0x897, 0x8D3},     {0x9FE, 0x9FE},     {0xAFA, 0xAFF},     {0xB55, 0xB55},
    {0xC04, 0xC04},     {0xC3C, 0xC3C},     {0xCF3, 0xD00},     {0xD3B, 0xD3C},     {0xD81, 0xD81},
    {0xEBA, 0xEBA},     {0xECE, 0xECE},     {0x1715, 0x1715},   {0x180F, 0x180F},   {0x1ABF, 0x1ACE},
    {0x1CF7, 0x1CF7},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0xA8FF, 0xA8FF},   {0x10D24, 0x10D27},
    {0x10D69, 0x10D6D}, {0x10EAB, 0x10EAC}, {0x10EFC, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11074}, {0x110C2, 0x110C2}, {0x11145, 0x11146}, {0x111C9, 0x111C9}, {0x111CE, 0x111CF},
    {0x11241, 0x11241}, {0x1133B, 0x1133B}, {0x113B8, 0x113E2}, {0x1145E, 0x1145E}, {0x1182C, 0x1183A},
    {0x11930, 0x11943}, {0x119D1, 0x11A99}, {0x11D31, 0x11D47}, {0x11D8A, 0x11D97}, {0x11EF3, 0x11F03},
    {0x11F34, 0x11F5A}, {0x13440, 0x13455}, {0x1611E, 0x1612F}, {0x16F4F, 0x16F4F}, {0x16F7F, 0x16F87},
    {0x16FE4, 0x16FF1}, {0x1CF00, 0x1CF46}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF}};
static const range new_compatible[] = {
    {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xAB69, 0xAB69},   {0x10781, 0x107BA},
    {0x1CCD6, 0x1CCF9}, {0x1E030, 0x1E06D}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9},
};
static const range new_canonical[] = {
    {0x105C9, 0x105E4}, {0x11383, 0x113C8}, {0x11938, 0x11938}, {0x16121, 0x16128}, {0x16D68, 0x16D6A},
};

static utf8proc_category_t category(uint32_t code_point)
{
    return utf8proc_category((utf8proc_int32_t)code_point);
}

bool eh_is_letter(uint32_t code_point)
{
    const utf8proc_category_t of = category(code_point);
    return (of >= UTF8PROC_CATEGORY_LU && of <= UTF8PROC_CATEGORY_LO) || IN(new_letters, code_point);
}

bool eh_is_number(uint32_t code_point)
{
    const utf8proc_category_t of = category(code_point);
    return (of >= UTF8PROC_CATEGORY_ND && of <= UTF8PROC_CATEGORY_NO) || IN(new_numbers, code_point);
}

bool eh_is_numeric(uint32_t code_point)
{
    return eh_is_number(code_point) || (code_point >= 0x11DE0 && code_point <= 0x11DE9) ||
           (code_point >= 0x16FF4 && code_point <= 0x16FF6);
}

bool eh_is_space(uint32_t code_point)
{
    if (code_point < 0x80)
        return code_point == ' ' || (code_point >= '\t' && code_point <= '\r');
    return code_point == 0x85 || code_point == 0xA0 || code_point == 0x1680 ||
           (code_point >= 0x2000 && code_point <= 0x200A) || code_point == 0x2028 || code_point == 0x2029 ||
           code_point == 0x202F || code_point == 0x205F || code_point == 0x3000;
}

bool eh_is_word(uint32_t code_point)
{
    const utf8proc_category_t of = category(code_point);
    return eh_is_letter(code_point) || (of >= UTF8PROC_CATEGORY_MN && of <= UTF8PROC_CATEGORY_NL) ||
           of == UTF8PROC_CATEGORY_PC || code_point == 0x200C || code_point == 0x200D || IN(more_word, code_point);
}

bool eh_is_bloom_break(uint32_t code_point)
{
    switch (code_point) {
    case '!':
    case '(':
    case ')':
    case ',':
    case '.':
    case '?':
    case '|':
    case 0x60C:
    case 0x6D4:
    case 0x964:
    case 0x2026:
    case 0x3001:
    case 0x3002:
    case 0xFF0C:
        return true;
    default:
        return eh_is_space(code_point);
    }
}

bool eh_is_bert_punctuation(uint32_t code_point)
{
    if (code_point < 0x80)
        return (eh_ascii_classes[code_point] & EH_ASCII_PUNCTUATION) != 0;
    const utf8proc_category_t of = category(code_point);
    if (of < UTF8PROC_CATEGORY_PC || of > UTF8PROC_CATEGORY_PO)
        return code_point == 0x166D || code_point == 0x111C9; // were punctuation in Unicode 8
    return !IN(new_punctuation, code_point);
}

bool eh_is_bert_control(uint32_t code_point)
{
    if (code_point == '\t' || code_point == '\n' || code_point == '\r')
        return false;
    const utf8proc_category_t of = category(code_point);
    return of == UTF8PROC_CATEGORY_CC || of == UTF8PROC_CATEGORY_CO ||
           (of == UTF8PROC_CATEGORY_CF && !IN(new_formats, code_point));
}

bool eh_is_bert_chinese(uint32_t code_point)
{
    static const range chinese[] = {
        {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
        {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F},
    };
    return IN(chinese, code_point);
}

bool eh_is_bert_accent(uint32_t code_point)
{
    if (category(code_point) != UTF8PROC_CATEGORY_MN)
        return code_point == 0x1734; // was one in Unicode 8
    return !IN(new_accents, code_point);
}

uint8_t eh_combining_class(uint32_t code_point)
{
    const uint8_t class = (uint8_t)utf8proc_get_property((utf8proc_int32_t)code_point)->combining_class;
    return class != 0 && IN(new_combining, code_point) ? 0 : class;
}

bool eh_is_mark(uint32_t code_point)
{
    const utf8proc_category_t of = category(code_point);
    if (of < UTF8PROC_CATEGORY_MN || of > UTF8PROC_CATEGORY_ME)
        return code_point == 0x1CF2 || code_point == 0x1CF3; // were marks
    return !IN(new_marks, code_point);
}

int eh_decompose(uint32_t code_point, bool compatible, uint32_t parts[EH_LONGEST_DECOMPOSITION])
{
    utf8proc_int32_t found[EH_LONGEST_DECOMPOSITION];
    int boundary = 0;
    utf8proc_ssize_t count = 0;
    const utf8proc_option_t options = compatible ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE;
    if (code_point >= 0x80 && !IN(new_canonical, code_point) && !(compatible && IN(new_compatible, code_point)))
        count =
            utf8proc_decompose_char((utf8proc_int32_t)code_point, found, EH_LONGEST_DECOMPOSITION, options, &boundary);
    if (count < 1 || count > EH_LONGEST_DECOMPOSITION) {
        parts[0] = code_point;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < count; i++) parts[i] = (uint32_t)found[i];
    return (int)count;
}

uint32_t eh_compose(uint32_t first, uint32_t second)
{
    if (second < 0x300) // none of these composes with what is before it
        return 0;
    utf8proc_int32_t pair[3] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second, 0};
    const utf8proc_ssize_t count = utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const uint32_t composed = (uint32_t)pair[0];
    return count == 1 && !IN(new_canonical, composed) ? composed : 0;
}

int eh_lower_case(uint32_t code_point, uint32_t lower[2])
{
    static const struct {
        uint32_t first, last, lower_first;
    } newer[] = {
        // since Unicode 16 and 17
        {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x264},     {0xA7CC, 0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CE, 0xA7CF},
        {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},    {0xA7DA, 0xA7DA, 0xA7DB}, {0xA7DC, 0xA7DC, 0x19B},
        {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB},
    };
    lower[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code_point);
    if (code_point == 0x130) { // the one character whose lower case are two
        lower[0] = 'i';
        lower[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; code_point >= newer[0].first && i < sizeof newer / sizeof *newer; i++)
        if (code_point >= newer[i].first && code_point <= newer[i].last)
            lower[0] = newer[i].lower_first + (code_point - newer[i].first);
    return 1;
}

#define L EH_ASCII_LETTER
#define N EH_ASCII_NUMBER
#define S EH_ASCII_SPACE | EH_ASCII_BLOOM_BREAK
#define P EH_ASCII_PUNCTUATION
#define B EH_ASCII_PUNCTUATION | EH_ASCII_BLOOM_BREAK
const uint8_t eh_ascii_classes[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, S, S, S, S, S, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    S, B, P, P, P, P, P, P, B, B, P, P, B, P, B, P, N, N, N, N, N, N, N, N, N, N, P, P, P, P, P, B, //
    P, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, P, P, P, P, P, //
    P, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, P, B, P, P, 0, //
};
