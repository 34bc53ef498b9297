#include "text/byte_alphabet.h"

#include "text/utf8.h"

static bool stands_for_itself(uint32_t byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

// The others in order: 0x00-0x20, 0x7F-0xA0, 0xAD.
uint32_t eh_byte_letter(uint8_t byte)
{
    if (stands_for_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    return byte == 0xAD ? 0x143 : 0x121u + byte - 0x7F;
}

int eh_letter_byte(uint32_t code_point)
{
    if (code_point < 0x100)
        return stands_for_itself(code_point) ? (int)code_point : -1;
    if (code_point <= 0x120)
        return (int)code_point - 0x100;
    if (code_point <= 0x142)
        return (int)code_point - 0x121 + 0x7F;
    return code_point == 0x143 ? 0xAD : -1;
}

bool eh_letters_to_bytes(const char *token, size_t size, char *bytes, size_t *byte_count)
{
    *byte_count = 0;
    for (size_t at = 0; at < size;) {
        uint32_t letter_size;
        const int byte = eh_letter_byte(eh_utf8_read(token + at, &letter_size));
        if (byte < 0)
            return false;
        bytes[(*byte_count)++] = (char)byte;
        at += letter_size;
    }
    return true;
}
