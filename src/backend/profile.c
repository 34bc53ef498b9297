// Profiling of backend operations: one row per operation, and one trace event per call while there is room.
#include "backend/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend_internal.h"
#include "core/clock.h"
#include "core/memory.h"

enum { EVENT_LIMIT = 1 << 20 }; // a trace of 100 MB; more would not open in a viewer

typedef struct {
    int32_t row;
    double begin, seconds, flops, bytes;
} trace_event;

struct eh_profile {
    double begin;
    eh_profile_row *rows, *sorted;
    int64_t row_count, row_capacity, sorted_capacity;
    char *trace_path;
    trace_event *events;
    int64_t event_count, event_capacity, dropped_count;
};

eh_status eh_backend_profile_begin(eh_backend *backend, const char *trace_path)
{
    eh_profile_free(&backend->profile);
    eh_profile *profile = NULL;
    EH_TRY(EH_ALLOC(1, &profile));
    if (trace_path != NULL) {
        const eh_status status = eh_copy_string(trace_path, &profile->trace_path);
        if (status != EH_OK) {
            eh_free(&profile);
            return status;
        }
    }
    profile->begin = eh_seconds();
    backend->profile = profile;
    return EH_OK;
}

void eh_profile_free(eh_profile **profile)
{
    if (*profile == NULL)
        return;
    eh_free(&(*profile)->rows);
    eh_free(&(*profile)->sorted);
    eh_free(&(*profile)->events);
    eh_free(&(*profile)->trace_path);
    eh_free(profile);
}

static eh_status find_row(eh_profile *profile, const char *operation, int64_t *row)
{
    for (*row = 0; *row < profile->row_count; ++*row)
        if (strcmp(profile->rows[*row].operation, operation) == 0)
            return EH_OK;
    const eh_profile_row fresh = {.operation = operation};
    return EH_APPEND(&profile->rows, &profile->row_count, &profile->row_capacity, fresh);
}

eh_status eh_profile_add(eh_backend *backend, const char *operation, double begin, double flops, double bytes)
{
    eh_profile *profile = backend->profile;
    EH_TRY(eh_backend_wait(backend));
    const double seconds = fmax(eh_seconds() - begin, 1e-9); // the clock's step; never divides by 0
    int64_t row = 0;
    EH_TRY(find_row(profile, operation, &row));
    profile->rows[row].calls++;
    profile->rows[row].seconds += seconds;
    profile->rows[row].flops += flops;
    profile->rows[row].bytes += bytes;
    if (profile->trace_path == NULL)
        return EH_OK;
    if (profile->event_count >= EVENT_LIMIT) {
        profile->dropped_count++;
        return EH_OK;
    }
    const trace_event event = {(int32_t)row, begin - profile->begin, seconds, flops, bytes};
    return EH_APPEND(&profile->events, &profile->event_count, &profile->event_capacity, event);
}

static int compare_seconds(const void *a, const void *b)
{
    const double difference = ((const eh_profile_row *)b)->seconds - ((const eh_profile_row *)a)->seconds;
    return (difference > 0) - (difference < 0);
}

eh_status eh_backend_profile_report(eh_backend *backend, const eh_profile_row **rows, int64_t *row_count)
{
    eh_profile *profile = backend->profile;
    *row_count = 0;
    if (profile == NULL)
        return EH_OK;
    EH_TRY(
        eh_reserve(profile->row_count, &profile->sorted_capacity, sizeof *profile->sorted, (void **)&profile->sorted));
    if (profile->row_count > 0) {
        memcpy(profile->sorted, profile->rows, (size_t)profile->row_count * sizeof *profile->rows);
        qsort(profile->sorted, (size_t)profile->row_count, sizeof *profile->sorted, compare_seconds);
    }
    *rows = profile->sorted;
    *row_count = profile->row_count;
    return EH_OK;
}

eh_status eh_backend_limits(eh_backend *backend, eh_dtype dtype, double *flops, double *bytes)
{
    return backend->table->limits(backend, dtype, flops, bytes);
}

double eh_profile_share(const eh_profile_row *row, double flops, double bytes)
{
    if (!(flops > 0 && bytes > 0 && row->seconds > 0))
        return 0;
    return fmax(row->flops / flops, row->bytes / bytes) / row->seconds;
}

static eh_status write_trace(const eh_profile *profile, const char *backend_name)
{
    FILE *file = fopen(profile->trace_path, "w");
    if (file == NULL)
        return eh_error(EH_MACHINE, "%s: the trace can't be written: does the folder exist?", profile->trace_path);
    fprintf(file, "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"device\":\"%s\",\"events_left_out\":%lld},\n",
            backend_name, (long long)profile->dropped_count);
    fprintf(file, "\"traceEvents\":[");
    for (int64_t i = 0; i < profile->event_count; i++) {
        const trace_event *event = &profile->events[i];
        fprintf(file,
                "%s\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":%ld,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"GFLOP/"
                "s\":%.3f,"
                "\"GB/s\":%.3f}}",
                i > 0 ? "," : "", profile->rows[event->row].operation, (long)getpid(), event->begin * 1e6,
                event->seconds * 1e6, event->flops / event->seconds * 1e-9, event->bytes / event->seconds * 1e-9);
    }
    fprintf(file, "\n]}\n");
    const bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        return eh_error(EH_MACHINE, "%s: the trace could not be written in full: is the disk full?",
                        profile->trace_path);
    return EH_OK;
}

eh_status eh_backend_profile_end(eh_backend *backend)
{
    if (backend->profile == NULL)
        return EH_OK;
    eh_status status = EH_OK;
    if (backend->profile->trace_path != NULL)
        status = write_trace(backend->profile, eh_backend_name(backend));
    eh_profile_free(&backend->profile);
    return status;
}
