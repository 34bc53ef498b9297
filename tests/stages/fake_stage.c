// Stands in for every stage, under its name, in tests of the front end and of how stages begin and end: makes the
// step's result as an empty file and notes the call in OUTPUT/calls. FAKE_FAIL=STEP:RANK:HOW fails there (input,
// machine, abort, kill), FAKE_SLEEP=STEP:SECONDS waits for that long or until it is asked to stop.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/signals.h"
#include "io/atomic.h"
#include "job/step.h"
#include "stage.h"

static eh_status note_call(const eh_stage *stage, eh_step step)
{
    char *path = NULL;
    EH_TRY(eh_stage_path(stage, &path, "calls"));
    FILE *file = fopen(path, "ab");
    eh_free(&path);
    if (file == NULL)
        return eh_error(EH_MACHINE, "no file for calls");
    fprintf(file, "%s ranks=%d threads=%s task=%d\n", eh_steps[step].name, eh_comm_size(stage->comm),
            getenv("OMP_NUM_THREADS"), stage->job.data_count > 0 ? (int)stage->job.data[0].task : -1);
    fclose(file);
    return EH_OK;
}

static eh_status make_result(const eh_stage *stage, eh_step step)
{
    char *path = NULL;
    EH_TRY(eh_stage_path(stage, &path, "%s%s", eh_steps[step].result,
                         step == EH_STEP_TOKENIZE ? "/x-00000-of-00001.h5" : ""));
    eh_status status = eh_atomic_write(path, stage->job.name, strlen(stage->job.name));
    eh_free(&path);
    if (status != EH_OK || step != EH_STEP_REPORT)
        return status;
    char table[256];
    snprintf(table, sizeof table, "metric,value\n\"a, b\",%g\n", stage->job.train.lr);
    EH_TRY(eh_stage_path(stage, &path, "tables/scores.csv"));
    status = eh_atomic_write(path, table, strlen(table));
    eh_free(&path);
    if (status != EH_OK)
        return status;
    // As the report's own tables begin; with a line of a null picker, or without that column.
    const char *own = stage->job.train.lr < 0.4 ? "run,value,metric\n\"a model, mine\",3,\"b, c\"\n"
                                                : "run,metric,null_picker,value\n\"a model, mine\",\"b, c\",,1\n"
                                                  "\"a model, mine\",\"b, c\",random,2\n";
    EH_TRY(eh_stage_path(stage, &path, "tables/own.csv"));
    status = eh_atomic_write(path, own, strlen(own));
    eh_free(&path);
    return status;
}

static eh_status fail(const eh_stage *stage, eh_step step)
{
    char name[64], how[64];
    int rank = 0;
    const char *text = getenv("FAKE_FAIL");
    if (text == NULL || sscanf(text, "%63[^:]:%d:%63s", name, &rank, how) != 3 ||
        strcmp(name, eh_steps[step].name) != 0)
        return EH_OK;
    if (rank != eh_comm_rank(stage->comm))
        return EH_OK;
    if (strcmp(how, "kill") == 0)
        raise(SIGKILL);
    const eh_status status =
        eh_error(strcmp(how, "input") == 0 ? EH_INPUT : EH_MACHINE, "row 7 of the fake data is broken");
    if (strcmp(how, "abort") == 0)
        eh_comm_abort(stage->comm, status);
    return status;
}

static eh_status wait_for_a_stop(const eh_stage *stage, eh_step step)
{
    char name[64];
    double seconds = 0;
    const char *text = getenv("FAKE_SLEEP");
    if (text == NULL || sscanf(text, "%63[^:]:%lf", name, &seconds) != 2 || strcmp(name, eh_steps[step].name) != 0)
        return EH_OK;
    eh_log_line(&stage->log, "waiting");
    for (const double end = eh_seconds() + seconds; eh_seconds() < end;) {
        const struct timespec pause = {0, 20000000};
        nanosleep(&pause, NULL);
        if (eh_signals_stop_asked())
            return eh_error(EH_STOPPED, "stopped, a checkpoint was saved");
    }
    return EH_OK;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *dash = strchr(slash != NULL ? slash : argv[0], '-');
    eh_stage stage;
    eh_status status = eh_stage_begin(&stage, dash != NULL ? dash + 1 : "evaluate", argc, argv);
    const eh_step step = status == EH_OK ? eh_step_find(stage.name, stage.phase) : EH_STEP_COUNT;
    if (status == EH_OK && eh_comm_rank(stage.comm) == 0)
        status = note_call(&stage, step);
    if (status == EH_OK)
        status = fail(&stage, step);
    if (status == EH_OK)
        status = wait_for_a_stop(&stage, step);
    status = stage.comm != NULL && step != EH_STEP_COUNT ? eh_comm_agree(stage.comm, status) : status;
    if (status == EH_OK && eh_comm_rank(stage.comm) == 0)
        status = make_result(&stage, step);
    return eh_stage_end(&stage, status);
}
