// The classes of characters that the reference's pre-tokenizers and normalizers tell apart. Its parts were built with
// different Unicode versions, so each class says whose it is; utf8proc supplies the base, short lists the differences.
// tests/text/test_oracle_unicode.c checks every code point.
#ifndef EH_TEXT_UNICODE_CLASSES_H
#define EH_TEXT_UNICODE_CLASSES_H

#include <stdbool.h>
#include <stdint.h>

// \p{L}, \p{N} and \s of the regular expressions (Unicode 16); white space is the same everywhere.
bool eh_is_letter(uint32_t code_point);
bool eh_is_number(uint32_t code_point);
bool eh_is_space(uint32_t code_point);
// What the pre-tokenizer Digits cuts out: Rust's numbers (Unicode 17).
bool eh_is_numeric(uint32_t code_point);
// \w, for added tokens that must stand alone.
bool eh_is_word(uint32_t code_point);
// What ends a piece in BLOOM's pattern.
bool eh_is_bloom_break(uint32_t code_point);
// Of the BERT normalizer and pre-tokenizer (Unicode 8): punctuation and ASCII symbols; control characters that
// clean_text drops; ideographs that get spaces around them; accents (Mn).
bool eh_is_bert_punctuation(uint32_t code_point);
bool eh_is_bert_control(uint32_t code_point);
bool eh_is_bert_chinese(uint32_t code_point);
bool eh_is_bert_accent(uint32_t code_point);

// A combining mark of any kind (M).
bool eh_is_mark(uint32_t code_point);

// The reference's normal forms (Unicode 9): canonical combining class; full decomposition, canonical or compatible,
// returns how many parts were written; what two characters compose to, or 0.
enum { EH_LONGEST_DECOMPOSITION = 18 };
uint8_t eh_combining_class(uint32_t code_point);
int eh_decompose(uint32_t code_point, bool compatible, uint32_t parts[EH_LONGEST_DECOMPOSITION]);
uint32_t eh_compose(uint32_t first, uint32_t second);
// Lower case as Rust has it (Unicode 17); writes one or two code points, returns how many.
int eh_lower_case(uint32_t code_point, uint32_t lower[2]);

// All of the above for ASCII, in one look.
enum {
    EH_ASCII_LETTER = 1,
    EH_ASCII_NUMBER = 2,
    EH_ASCII_SPACE = 4,
    EH_ASCII_BLOOM_BREAK = 8,
    EH_ASCII_PUNCTUATION = 16,
};
extern const uint8_t eh_ascii_classes[128];

#endif
