// The prompts of StereoSet as a multiple choice, and how answers are read (PROTOCOL 2.4 and part 3). Pure text.
#ifndef EH_METRICS_STEREOSET_PROMPTS_H
#define EH_METRICS_STEREOSET_PROMPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"
#include "core/string.h"

typedef enum {
    EH_WORDING_STUDY, // as the notebooks ran it: 12 spaces, cleaned choices
    EH_WORDING_A,     // letters
    EH_WORDING_B,     // the study's words without indentation and cleaning
} eh_wording;

// The study's cleaning: only a-z, A-Z, 0-9 and white space stay; runs of white space become one space; the right end is
// stripped; lower case. Replaces *clean.
EH_CHECKED eh_status eh_stereoset_clean(const char *text, eh_string *clean);
// Replaces *prompt. choices: in the order in which they are offered. context NULL: left out, its line as well.
EH_CHECKED eh_status eh_stereoset_prompt(eh_wording wording, bool intrasentence, const char *context,
                                         const char *const choices[3], eh_string *prompt);

// The position (0..2) of the answered choice, -1 if the answer names none.
// The study, FLAN-T5: the cleaned answer equals a cleaned choice; the first of equal ones.
EH_CHECKED eh_status eh_stereoset_answer_equal(const char *answer, const char *const choices[3], int *position);
// The study, BLOOMZ: the last white-space separated word of the last line of prompt + answer is Choice1, 2 or 3.
int eh_stereoset_answer_last_word(const char *prompt_and_answer);
// Ours: begins with the letter (or "Choice" and the number), or says a choice word for word.
EH_CHECKED eh_status eh_stereoset_answer_lenient(eh_wording wording, const char *answer, const char *const choices[3],
                                                 int *position);

#endif
