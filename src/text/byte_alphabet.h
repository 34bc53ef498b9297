// The alphabet in which byte-level vocabularies are written (GPT-2): printable bytes stand for themselves as code
// points, the others are numbered from U+0100 on.
#ifndef EH_TEXT_BYTE_ALPHABET_H
#define EH_TEXT_BYTE_ALPHABET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t eh_byte_letter(uint8_t byte);
// The byte that a letter stands for, -1 if it is none of the alphabet.
int eh_letter_byte(uint32_t code_point);
// Turns a token of `size` bytes into the bytes it stands for, in `bytes` (at most `size`); false if any of its letters
// is not of the alphabet.
bool eh_letters_to_bytes(const char *token, size_t size, char *bytes, size_t *byte_count);

#endif
