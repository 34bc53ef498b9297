// UTF-8: reading and writing code points, and finding malformed sequences.
#ifndef EH_TEXT_UTF8_H
#define EH_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EH_REPLACEMENT 0xFFFD

// The code point at text[0], and its bytes in *size. The text must be valid UTF-8 and not empty.
static inline uint32_t eh_utf8_read(const char *text, uint32_t *size)
{
    const uint8_t *byte = (const uint8_t *)text;
    if (byte[0] < 0x80) {
        *size = 1;
        return byte[0];
    }
    if (byte[0] < 0xE0) {
        *size = 2;
        return (uint32_t)(byte[0] & 0x1F) << 6 | (byte[1] & 0x3F);
    }
    if (byte[0] < 0xF0) {
        *size = 3;
        return (uint32_t)(byte[0] & 0x0F) << 12 | (uint32_t)(byte[1] & 0x3F) << 6 | (byte[2] & 0x3F);
    }
    *size = 4;
    return (uint32_t)(byte[0] & 0x07) << 18 | (uint32_t)(byte[1] & 0x3F) << 12 | (uint32_t)(byte[2] & 0x3F) << 6 |
           (byte[3] & 0x3F);
}

// Writes a code point to text[0..3], returns its bytes.
static inline uint32_t eh_utf8_write(uint32_t code_point, char *text)
{
    if (code_point < 0x80) {
        text[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        text[0] = (char)(0xC0 | code_point >> 6);
        text[1] = (char)(0x80 | (code_point & 0x3F));
        return 2;
    }
    if (code_point < 0x10000) {
        text[0] = (char)(0xE0 | code_point >> 12);
        text[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
        text[2] = (char)(0x80 | (code_point & 0x3F));
        return 3;
    }
    text[0] = (char)(0xF0 | code_point >> 18);
    text[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
    text[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
    text[3] = (char)(0x80 | (code_point & 0x3F));
    return 4;
}

// Whether this byte continues a code point.
static inline bool eh_utf8_continues(char byte)
{
    return ((uint8_t)byte & 0xC0) == 0x80;
}

// How many of the bytes are valid UTF-8 from the start on: `size` if all are.
size_t eh_utf8_valid_prefix(const char *text, size_t size);
// The bytes that one U+FFFD stands for at the malformed sequence text[0] (its maximal valid beginning, at least 1):
// what Python's errors="replace", Rust's from_utf8_lossy and the WHATWG decoder agree on.
size_t eh_utf8_malformed(const char *text, size_t size);

#endif
