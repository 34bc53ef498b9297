// What the plan says of a training that is about to run, kept beside its output: the report sets it against what was
// measured.
#include <math.h>
#include <stdio.h>

#include "core/memory.h"
#include "core/string.h"
#include "io/atomic.h"
#include "plan.h"
#include "stage_model.h"

static eh_status write_prediction(const eh_planned_run *run, const eh_plan_of_memory *plan, double evaluation_bytes,
                                  double evaluation_seconds)
{
    eh_string path = {0}, text = {0};
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_string_printf(&path, "%s/predicted.csv", run->job->output));
    EH_TRY_OR(done, eh_string_printf(&text, "step,ranks,seconds,peak_bytes\nfinetune,%d,%.3f,%.0f\n", run->ranks,
                                     plan->step_seconds * (double)run->size.steps, plan->resident_bytes));
    EH_TRY_OR(done, eh_string_printf(&text, "evaluate,%d,", run->ranks));
    if (isfinite(evaluation_seconds))
        EH_TRY_OR(done, eh_string_printf(&text, "%.3f", evaluation_seconds));
    EH_TRY_OR(done, eh_string_printf(&text, ",%.0f\n", evaluation_bytes));
    EH_TRY_OR(done, eh_atomic_write(path.bytes, text.bytes, text.size));
done:
    eh_string_deinit(&path);
    eh_string_deinit(&text);
    return status;
}

eh_status eh_plan_record(const eh_front_options *options, const eh_job *job, eh_planned_device *device)
{
    const eh_memory_choice choice = eh_plan_choice(job);
    eh_planned_run run = {0};
    eh_plan_of_memory plan;
    eh_model_outline outline;
    char *config = NULL;
    double evaluation = 0, seconds = 0;
    run.device = *device;
    eh_status status = eh_plan_begin(options, job, &config, &outline, &run);
    *device = run.device;
    if (status == EH_OK)
        status = eh_plan_memory(&run, &choice, &plan);
    if (status == EH_OK)
        status = eh_plan_evaluation(&run, &outline, false, &evaluation, &seconds);
    if (status == EH_OK && run.device.is_here && run.size.measured)
        status = write_prediction(&run, &plan, evaluation, seconds);
    eh_free(&config);
    return status;
}
