// The schema of a job file: one row for each key, from which reading, --help, resolved.yaml and the keys of the steps
// are made. For src/job/ only.
#ifndef EH_JOB_SCHEMA_H
#define EH_JOB_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "job/job.h"
#include "job/step.h"

typedef enum {
    EH_KEY_TEXT,    // char *
    EH_KEY_CHOICE,  // char *, one of `choices`
    EH_KEY_ENUM,    // an enum whose values are the places in `choices`; -1: not given yet
    EH_KEY_INTEGER, // int64_t
    EH_KEY_SEED,    // uint64_t
    EH_KEY_NUMBER,  // double
    EH_KEY_MAPPING, // char *: JSON text
    EH_KEY_FLAGS,   // unsigned: a list of `choices`, bit 1 << place
    EH_KEY_TEXTS,   // eh_texts: a list of texts, or one
} eh_key_type;

typedef struct {
    const char *path;
    eh_key_type type;
    size_t offset;        // in eh_job, eh_job_data or eh_job_metric
    const char *fallback; // default; "@switches.blank": the value of that key; NULL: none
    const char *study;    // default of `preset: study` where it differs
    const char *choices;  // "linear|constant|cosine"
    double minimum, maximum;
    unsigned steps; // bits 1 << eh_step: whose results depend on the key
    const char *help;
} eh_key;

// The keys of one level: of the job itself, of an entry of `data:`, of an entry of `evaluate:`.
typedef struct {
    const char *prefix; // "", "data[].", "evaluate[]."
    const eh_key *keys;
    size_t count;
} eh_key_list;
extern const eh_key_list eh_job_keys, eh_data_keys, eh_metric_keys;

// Sets a key of `base` from text. `where` begins the message ("jobs/demo.yaml:12"). text NULL: empties it;
// EH_KEY_TEXTS: the text is added to the list.
EH_CHECKED eh_status eh_key_set(const eh_key *key, void *base, const char *text, const char *where);
// Sets every key of `base` to its default; those of "@..." are read from `job`.
EH_CHECKED eh_status eh_keys_set_defaults(const eh_key_list *list, void *base, const eh_job *job, bool study);
// The value as it stands in YAML ("null" where there is none).
EH_CHECKED eh_status eh_key_print(const eh_key *key, const void *base, eh_string *text);
void eh_keys_free(const eh_key_list *list, void *base);
const eh_key *eh_key_find(const eh_key_list *list, const char *path);
// "did you mean 'train'?" for a key that is not in the list below `section` ("" or "train."), else the keys there are.
EH_CHECKED eh_status eh_key_suggest(const eh_key_list *list, const char *section, const char *name, eh_string *text);

#endif
