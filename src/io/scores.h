// scores-<phase>.h5: a group per metric with one row per item and a column per fact (DESIGN section 10). In memory a
// score table is a set of named, typed columns of equal length.
#ifndef EH_IO_SCORES_H
#define EH_IO_SCORES_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/comm.h"
#include "core/status.h"

typedef enum { EH_COLUMN_INTEGER, EH_COLUMN_NUMBER, EH_COLUMN_TEXT } eh_column_type;

typedef struct {
    char *name;
    eh_column_type type;
    int64_t capacity;
    int64_t *integers; // EH_COLUMN_INTEGER
    double *numbers;   // EH_COLUMN_NUMBER; NaN = not scored, and column "reason" says why
    char **texts;      // EH_COLUMN_TEXT, owned
} eh_column;

typedef struct {
    char *name;    // "stereoset/likelihood": metric and protocol, the group in the file
    char *refusal; // NULL, or why the metric could not be measured (owned): such a table has no rows
    int64_t row_count, column_count;
    eh_column *columns;
} eh_score_table;

EH_CHECKED eh_status eh_score_table_init(const char *name, eh_score_table *table);
void eh_score_table_deinit(eh_score_table *table);
// Adds a column (all rows 0 / NaN / ""); if it is there already with the same type, just finds it.
EH_CHECKED eh_status eh_score_table_add_column(eh_score_table *table, const char *name, eh_column_type type,
                                               int64_t *column);
EH_CHECKED eh_status eh_score_table_add_rows(eh_score_table *table, int64_t count); // 0 / NaN / ""
void eh_score_set_integer(eh_score_table *table, int64_t column, int64_t row, int64_t value);
void eh_score_set_number(eh_score_table *table, int64_t column, int64_t row, double value);
EH_CHECKED eh_status eh_score_set_text(eh_score_table *table, int64_t column, int64_t row, const char *text);
int64_t eh_score_column(const eh_score_table *table, const char *name); // -1 if there is none

typedef struct {
    const char *phase; // "before", "after", "control-placebo"
    const char *model_path, *model_sha256, *job;
    uint64_t seed;
    int64_t parameter_count;  // of the model: elements of all weights; 0: not known
    const char *architecture; // of the model, as config.json has it (model_type); NULL: not known
} eh_scores_origin;

// All ranks write their own rows of the same columns; the file holds them ordered by the integer column "item" (then by
// "sample" where there is one), so it does not depend on the ranks. Written beside, renamed. Collective: a table
// that is refused must be so on all ranks, with one reason.
EH_CHECKED eh_status eh_scores_write(eh_comm *comm, const char *path, const eh_scores_origin *origin,
                                     const eh_score_table *tables, int64_t table_count);
// Reads every table; not collective. *tables is an array of *table_count, each to be deinited, then eh_free.
EH_CHECKED eh_status eh_scores_read(const char *path, eh_score_table **tables, int64_t *table_count);
// The phases whose scores-PHASE.h5 is in the folder, in the order of their names; not collective. *phases is an array
// of *count texts (eh_free each, then eh_free); none if there is no folder. EH_MACHINE if it can't be read.
EH_CHECKED eh_status eh_scores_phases(const char *folder, char ***phases, int64_t *count);
// One attribute of the file's root as text (eh_free), "" if it has none.
EH_CHECKED eh_status eh_scores_attribute(const char *path, const char *name, char **value);

#endif
