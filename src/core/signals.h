// A polite request to stop: SIGTERM and SIGUSR1 (Slurm's warning before the time limit) and SIGINT set a flag that long
// loops ask for between steps. A second SIGINT ends the program at once.
#ifndef EH_CORE_SIGNALS_H
#define EH_CORE_SIGNALS_H

#include <stdbool.h>

void eh_signals_watch(void);
bool eh_signals_stop_asked(void);

#endif
