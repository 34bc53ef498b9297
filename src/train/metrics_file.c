#include "train/metrics_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/atomic.h"

struct eh_metrics_file {
    FILE *file;
};

static const char header[] =
    "step,epoch,loss,holdout_loss,grad_norm,lr,tokens_per_second,seconds,kl,general_loss,loss_scale\n";

// The header, and the rows up to `step` of what an earlier run wrote.
static eh_status copy_rows(const char *path, int64_t step, FILE *out)
{
    fputs(header, out);
    FILE *old = step > 0 ? fopen(path, "r") : NULL;
    char line[512];
    while (old && fgets(line, sizeof line, old)) {
        char *end;
        const long long row_step = strtoll(line, &end, 10);
        if (end > line && *end == ',' && row_step <= step && strchr(line, '\n'))
            fputs(line, out);
    }
    if (old)
        fclose(old);
    return EH_OK;
}

eh_status eh_metrics_file_open(const char *folder, int64_t step, eh_metrics_file **metrics)
{
    eh_status status = EH_OK;
    eh_atomic atomic = {0};
    eh_string path = {0};
    EH_TRY_OR(done, eh_string_printf(&path, "%s/metrics.csv", folder));
    EH_TRY_OR(done, eh_atomic_begin(path.bytes, &atomic));
    EH_TRY_OR(done, copy_rows(path.bytes, step, atomic.file));
    EH_TRY_OR(done, eh_atomic_commit(&atomic));
    EH_TRY_OR(done, EH_ALLOC(1, metrics));
    (*metrics)->file = fopen(path.bytes, "a");
    if ((*metrics)->file == NULL)
        status = eh_error(EH_MACHINE, "%s: %s", path.bytes, strerror(errno));
done:
    eh_atomic_discard(&atomic);
    eh_string_deinit(&path);
    if (status != EH_OK)
        eh_free(metrics);
    return status;
}

static void add_cell(FILE *file, double value, char end)
{
    if (isfinite(value))
        fprintf(file, "%.9g", value);
    fputc(end, file);
}

void eh_metrics_file_add(eh_metrics_file *metrics, const eh_metrics_row *row)
{
    if (metrics == NULL)
        return;
    fprintf(metrics->file, "%lld,", (long long)row->step);
    add_cell(metrics->file, row->epoch, ',');
    add_cell(metrics->file, row->loss, ',');
    add_cell(metrics->file, row->holdout_loss, ',');
    add_cell(metrics->file, row->gradient_norm, ',');
    add_cell(metrics->file, row->learning_rate, ',');
    add_cell(metrics->file, row->tokens_per_second, ',');
    add_cell(metrics->file, row->seconds, ',');
    add_cell(metrics->file, row->divergence, ',');
    add_cell(metrics->file, row->general_loss, ',');
    add_cell(metrics->file, row->loss_scale, '\n');
    fflush(metrics->file);
}

void eh_metrics_file_close(eh_metrics_file **metrics)
{
    if (*metrics && (*metrics)->file)
        fclose((*metrics)->file);
    eh_free(metrics);
}
