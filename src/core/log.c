#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"

eh_log eh_log_to_stderr(const char *program, bool speaks)
{
    return (eh_log){.program = program, .speaks = speaks, .terminal = isatty(STDERR_FILENO) != 0};
}

static void say(const eh_log *log, const char *prefix, const char *format, va_list arguments)
{
    if (!log->speaks)
        return;
    char line[2048];
    vsnprintf(line, sizeof line, format, arguments);
    fprintf(stderr, "%s: %s%s\n", log->program, prefix, line);
}

void eh_log_line(const eh_log *log, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(log, "", format, arguments);
    va_end(arguments);
}

void eh_log_warning(const eh_log *log, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(log, "warning: ", format, arguments);
    va_end(arguments);
}

eh_progress eh_progress_begin(const eh_log *log, const char *what, const char *unit, int64_t total)
{
    const double now = eh_seconds();
    return (eh_progress){.log = log, .what = what, .unit = unit, .total = total, .began = now, .last_shown = now};
}

static void duration_text(double seconds, char text[32])
{
    if (seconds < 100)
        snprintf(text, 32, "%.1f s", seconds);
    else if (seconds < 6000)
        snprintf(text, 32, "%.0f min %02.0f s", (double)(int)(seconds / 60), seconds - 60 * (int)(seconds / 60));
    else
        snprintf(text, 32, "%.1f h", seconds / 3600);
}

void eh_progress_show(eh_progress *progress, int64_t done, const char *note)
{
    const eh_log *log = progress->log;
    const double now = eh_seconds();
    if (!log->speaks || now - progress->last_shown < (log->terminal ? 0.1 : 10.0))
        return;
    progress->last_shown = now;
    const double taken = now - progress->began, rate = taken > 0 ? (double)done / taken : 0;
    char left[32] = "?";
    if (rate > 0)
        duration_text((double)(progress->total - done) / rate, left);
    char bar[21] = "                    ";
    for (int i = 0; i < 20; i++)
        if (progress->total > 0 && (double)(i + 1) * (double)progress->total <= 20.0 * (double)done)
            bar[i] = '#';
    fprintf(stderr, "%s%s: %s [%s] %lld/%lld %s, %.1f/s, %s left%s%s%s", log->terminal ? "\r" : "", log->program,
            progress->what, bar, (long long)done, (long long)progress->total, progress->unit, rate, left,
            note[0] ? ", " : "", note, log->terminal ? "\x1b[K" : "\n");
    progress->drawn = true;
}

void eh_progress_end(eh_progress *progress, int64_t done, const char *note)
{
    const eh_log *log = progress->log;
    if (!log->speaks)
        return;
    const double taken = eh_seconds() - progress->began;
    char time_text[32];
    duration_text(taken, time_text);
    fprintf(stderr, "%s%s: %s: %lld %s in %s (%.1f/s)%s%s%s\n", log->terminal && progress->drawn ? "\r" : "",
            log->program, progress->what, (long long)done, progress->unit, time_text,
            taken > 0 ? (double)done / taken : 0.0, note[0] ? ", " : "", note, log->terminal ? "\x1b[K" : "");
}
