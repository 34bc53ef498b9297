// Time in seconds: a steady clock for durations, and the date for files.
#ifndef EH_CORE_CLOCK_H
#define EH_CORE_CLOCK_H

double eh_seconds(void);           // steady; only differences mean something
double eh_processor_seconds(void); // of all threads of this process so far
void eh_date_text(char text[32]);  // UTC, as 2026-11-24T16:02:00Z

#endif
