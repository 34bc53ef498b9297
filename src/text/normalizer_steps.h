// The steps of a normalizer, for normalizer.c only.
#ifndef EH_TEXT_NORMALIZER_STEPS_H
#define EH_TEXT_NORMALIZER_STEPS_H

#include "text/normalizer.h"
#include "text/pattern.h"

// --- bert_normalizer.c ---

typedef struct {
    bool clean, chinese, strip_accents, lower_case;
    uint8_t ascii[128]; // what becomes of each character; 0: it is dropped
} eh_bert_normalizer;

EH_CHECKED eh_status eh_bert_normalizer_init(const json_t *description, eh_bert_normalizer *bert);
EH_CHECKED eh_status eh_bert_normalizer_run(const eh_bert_normalizer *bert, eh_normalizer_work *work, eh_source source,
                                            uint32_t begin, uint32_t end, eh_aligned *text);

// --- precompiled.c ---

typedef struct {
    uint32_t *units; // sentencepiece's double array (Darts)
    uint32_t unit_count;
    char *replacements; // owned, each with a NUL behind it
    uint32_t replacement_bytes;
    uint8_t ascii[128]; // what becomes of each character alone, itself an ASCII character; 0: look it up
} eh_precompiled;

EH_CHECKED eh_status eh_precompiled_init(const json_t *description, eh_precompiled *map);
void eh_precompiled_deinit(eh_precompiled *map);
EH_CHECKED eh_status eh_precompiled_run(const eh_precompiled *map, eh_source source, uint32_t begin, uint32_t end,
                                        eh_aligned *text);

// --- unicode_forms.c ---

// A character on its way, and where it comes from.
typedef struct {
    uint32_t code_point;
    eh_origin origin;
} eh_character;

// Room for `count` characters in the work; what it held stays.
EH_CHECKED eh_status eh_characters_reserve(eh_normalizer_work *work, int64_t count);
// Brings the first *count characters of the work into a normal form.
typedef enum { EH_NFC, EH_NFD, EH_NFKC, EH_NFKD } eh_form;
EH_CHECKED eh_status eh_characters_normalize(eh_normalizer_work *work, int64_t *count, eh_form form);
EH_CHECKED eh_status eh_form_run(eh_form form, eh_normalizer_work *work, eh_source source, uint32_t begin, uint32_t end,
                                 eh_aligned *text);

#endif
