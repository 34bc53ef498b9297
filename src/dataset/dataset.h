// Data sets as rows of text: a format reads a file and yields records, each a few named fields; a task (task.h) turns
// records into tokenized examples. One file per format, one line in list.h.
#ifndef EH_DATASET_DATASET_H
#define EH_DATASET_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/string.h"

#define EH_FIELD_SEPARATOR '\x1f'
#define EH_CHOICE_SEPARATOR '\x1e' // between the choices of a multiple choice question, in one field
#define EH_RECORD_FIELDS 12
#define EH_RECORD_LABELS 3

typedef enum {
    EH_RECORD_PAIR,   // two sentences, one more stereotypical than the other
    EH_RECORD_ITEM,   // a context and labelled sentences to choose from
    EH_RECORD_PROMPT, // a prompt, maybe with its completion
    EH_RECORD_TEXT,   // a document
} eh_record_kind;

// Gold labels of candidates: of a StereoSet sentence, and of a pair's sentence.
typedef enum { EH_LABEL_STEREOTYPE, EH_LABEL_ANTI_STEREOTYPE, EH_LABEL_UNRELATED, EH_LABEL_RELATED } eh_gold_label;

// What a field is to the tasks; -1 where a format has none.
typedef struct {
    int id, group;
    int more, less, direction, writer; // pairs; direction "stereo" or "antistereo"
    int context, sentence;             // items; sentence: the first of EH_RECORD_LABELS
    int prompt, completion;            // prompts
    int text;                          // documents
} eh_field_roles;
// The roles of a format of prompts; -1 where it has none.
#define EH_PROMPT_ROLES(id_field, group_field, prompt_field, completion_field)                                \
    {                                                                                                         \
        .id = (id_field), .group = (group_field), .prompt = (prompt_field), .completion = (completion_field), \
        .context = -1, .sentence = -1, .more = -1, .less = -1, .direction = -1, .writer = -1, .text = -1      \
    }

// The fields of a row, joined by EH_FIELD_SEPARATOR: exactly what a shard keeps as its `text`.
typedef struct {
    uint64_t row; // of the data set, from 0
    int64_t line; // of the file, from 1
    int64_t text_begin, text_size;
    int8_t labels[EH_RECORD_LABELS]; // items: eh_gold_label
    int8_t label_count;
} eh_record;

typedef struct {
    uint64_t row;
    int64_t line;
    char reason[96];
} eh_rejected_row;

// Records as they are read. All zero is empty; reuse keeps the memory.
typedef struct {
    const char *path;
    int64_t limit; // rows, 0: all
    eh_string text;
    eh_record *records;
    int64_t count, capacity;
    eh_rejected_row *rejected;
    int64_t rejected_count, rejected_capacity;
    const char *problem; // of the record that is being made
    int64_t field_count;
} eh_records;

typedef struct {
    const char *name; // data.format
    eh_record_kind kind;
    const char *const *field_names; // NULL-terminated, at most EH_RECORD_FIELDS
    eh_field_roles roles;
    bool ids_are_unique;
    // One of the two: the whole file (every rank reads it), or one line of it (ranks share it by byte ranges, and it
    // may be larger than memory).
    eh_status (*read)(const char *path, eh_records *records);
    eh_status (*read_line)(const char *line, size_t size, uint64_t row, int64_t line_number, eh_records *records);
} eh_data_format;

// EH_INPUT with the formats there are.
EH_CHECKED eh_status eh_data_format_find(const char *name, const eh_data_format **format);
const eh_data_format *const *eh_data_formats(void); // NULL-terminated

// A whole file, whichever way its format reads. EH_INPUT for what the format can't be, for duplicate ids, and for a
// file of which no row can be used.
EH_CHECKED eh_status eh_records_read(const eh_data_format *format, const char *path, int64_t limit,
                                     eh_records *records);
void eh_records_clear(eh_records *records); // keeps the memory
void eh_records_deinit(eh_records *records);

typedef struct {
    const char *bytes; // borrowed, not NUL-terminated
    size_t size;
} eh_text;
// Field `index` of a record; empty for -1.
eh_text eh_record_field(const eh_records *records, const eh_record *record, int index);
// Field `index` of joined fields, such as a shard's text.
eh_text eh_joined_field(const char *text, size_t size, int index);

// --- For the formats: making a record field by field -----------------------------------------------------------------
// A field that can't be kept (not UTF-8, U+001F, a NUL) makes eh_records_end reject the row, with the reason.
EH_CHECKED eh_status eh_records_begin(eh_records *records, uint64_t row, int64_t line);
EH_CHECKED eh_status eh_records_field(eh_records *records, const char *bytes, size_t size);
EH_CHECKED eh_status eh_records_field_text(eh_records *records, const char *text);
void eh_records_problem(eh_records *records, const char *reason); // a literal; the first one counts
void eh_records_label(eh_records *records, int8_t label);
EH_CHECKED eh_status eh_records_end(eh_records *records);
EH_CHECKED eh_status eh_records_reject(eh_records *records, uint64_t row, int64_t line, const char *reason);
// True when `limit` rows were read: the format may stop.
bool eh_records_full(const eh_records *records, uint64_t row);

#endif
