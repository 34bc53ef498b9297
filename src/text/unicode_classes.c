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
           of == UTF8PROC_CATEGORY_PC || code_point == 0x200C || code_point == 0x200D;
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
    return category(code_point) == UTF8PROC_CATEGORY_MN;
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
