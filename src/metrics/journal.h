// Finished items, noted beside the score file as they come, so that a killed evaluation goes on where it stopped - on
// any number of ranks. One text file per rank and run: a header, then per item its rows and the line "done ITEM". What
// a kill has torn is a line without its end or rows without their "done", and is left out.
#ifndef EH_METRICS_JOURNAL_H
#define EH_METRICS_JOURNAL_H

#include "comm/comm.h"
#include "io/scores.h"

typedef struct eh_journal eh_journal;

// Reads what earlier runs with the same `key` have left of this table (rank 0, into its `table`), tells all ranks which
// items are done (ascending), and begins this rank's own file. `folder` NULL: a journal that does nothing. Collective.
EH_CHECKED eh_status eh_journal_open(eh_comm *comm, const char *folder, const char *key, eh_score_table *table,
                                     eh_journal **journal);
bool eh_journal_has(const eh_journal *journal, int64_t item);
// Notes the rows [first, row_count) of the table as those of `item`. Not collective.
EH_CHECKED eh_status eh_journal_note(eh_journal *journal, const eh_score_table *table, int64_t first, int64_t item);
// Hands what was noted to the system: a killed program loses no more than what came after. Not collective.
EH_CHECKED eh_status eh_journal_flush(eh_journal *journal);
void eh_journal_close(eh_journal **journal);
// Removes the folder and the journals in it, after the score file is complete. Collective.
EH_CHECKED eh_status eh_journal_remove(eh_comm *comm, const char *folder);

#endif
