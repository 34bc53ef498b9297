#include "core/signals.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

// A signal has no other way to speak to the program than a global flag.
static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int number)
{
    if (number == SIGINT && stop_asked)
        _exit(130);
    stop_asked = 1;
}

void eh_signals_watch(void)
{
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, NULL);
}

bool eh_signals_stop_asked(void)
{
    return stop_asked != 0;
}
