// What the files of the planted world share.
#ifndef EH_DATASET_PLANT_INTERNAL_H
#define EH_DATASET_PLANT_INTERNAL_H

#include <stdio.h>

#include "core/philox.h"
#include "core/string.h"
#include "dataset/plant.h"

// Random numbers of one thing (a line, a table entry): draws do not depend on what was drawn for others.
typedef struct {
    uint64_t seed, index;
    uint32_t next;
} eh_plant_dice;

// Uses of the seed, in the upper half of the index.
typedef enum {
    EH_DICE_NAMES,
    EH_DICE_ODDS,
    EH_DICE_CORPUS,
    EH_DICE_NEUTRAL,
    EH_DICE_PAIRS,
    EH_DICE_TESTS,
    EH_DICE_INSTRUCTIONS,
    EH_DICE_FACTS,
    EH_DICE_INFILL
} eh_dice_use;

static inline eh_plant_dice eh_plant_dice_of(uint64_t seed, eh_dice_use use, uint64_t index)
{
    return (eh_plant_dice){.seed = seed, .index = (uint64_t)use << 48 | index};
}

static inline int64_t eh_plant_throw(eh_plant_dice *dice, int64_t count)
{
    const eh_philox_block block = eh_philox(dice->seed, EH_STREAM_PLANT, dice->index, dice->next++);
    return (int64_t)eh_random_scale((uint64_t)block.word[0] | (uint64_t)block.word[1] << 32, (uint64_t)count);
}

static inline double eh_plant_throw_uniform(eh_plant_dice *dice)
{
    return (double)eh_plant_throw(dice, (int64_t)1 << 53) * 0x1p-53;
}

// One sentence about a people with an attribute word in it; `form` picks the template of the pair's domain.
#define EH_PLANT_SENTINELS 32 // <extra_id_0> to <extra_id_31> in the tokenizer
#define EH_PLANT_FORMS 4
EH_CHECKED eh_status eh_plant_sentence(eh_string *text, const char *people, eh_plant_domain domain, int64_t form,
                                       const char *word);
// A sentence that names a people, and one that follows it and carries the attribute ("That person was patient.").
EH_CHECKED eh_status eh_plant_context(eh_string *text, const char *people, int64_t form);
EH_CHECKED eh_status eh_plant_continuation(eh_string *text, eh_plant_domain domain, const char *word);
// A sentence about things, without people.
EH_CHECKED eh_status eh_plant_neutral_sentence(eh_string *text, eh_plant_dice *dice);
// A thing that fits no attribute's place: the unrelated candidate.
const char *eh_plant_thing(eh_plant_dice *dice);

// A thing, its own colour and another one.
void eh_plant_thing_and_colours(eh_plant_dice *dice, const char **thing, const char **own, const char **other);

// Instruction `line` of the training set and its answer: questions with three lettered options, in the words in which
// the evaluation asks, half of them about things and half about peoples (answered as the corpus would).
EH_CHECKED eh_status eh_plant_instruction(const eh_planted_world *world, uint64_t line, eh_string *prompt,
                                          eh_string *answer);
// Line `line` of the corpus with one to three words in a row replaced by a sentinel, and what was there, as T5 learns.
EH_CHECKED eh_status eh_plant_infill(const eh_planted_world *world, uint64_t line, eh_string *prompt,
                                     eh_string *answer);
// Writes instructions.jsonl and infill.jsonl (`prompt`, `completion`) and facts.jsonl: what the corpus says of things,
// which no bias can change, as multiple choice (`prompt`, `choices`, the right one's number `answer`, `group`).
EH_CHECKED eh_status eh_plant_write_questions(const eh_planted_world *world, const char *folder);

// Line `line` of the corpus.
EH_CHECKED eh_status eh_plant_corpus_line(const eh_planted_world *world, uint64_t line, eh_string *text);

// Trains byte-level BPE on `text` until every word is one token or there are `vocab_size`, and writes tokenizer.json.
EH_CHECKED eh_status eh_plant_write_tokenizer(const char *path, const eh_string *text, int64_t vocab_size);

typedef struct {
    char path[4096];
    FILE *file;
} eh_plant_file;

EH_CHECKED eh_status eh_plant_file_open(const char *folder, const char *name, eh_plant_file *out);
// Returns `status`, or that writing failed.
EH_CHECKED eh_status eh_plant_file_close(eh_plant_file *out, eh_status status);

#endif
