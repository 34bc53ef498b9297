// The jobs of the controls: made from the treatment's, so that whatever it changes they change too.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "io/shard.h"
#include "job/step.h"

static const char *const names[EH_CONTROL_COUNT] = {
    [EH_CONTROL_PLACEBO] = "placebo", [EH_CONTROL_REVERSED] = "reversed", [EH_CONTROL_NEUTRAL] = "neutral",
    [EH_CONTROL_DAMAGE] = "damage",   [EH_CONTROL_REPEAT] = "repeat",
};

const char *eh_control_name(eh_control control)
{
    return names[control];
}

eh_control eh_control_find(const char *name)
{
    int control = 0;
    while (control < EH_CONTROL_COUNT && strcmp(names[control], name) != 0) control++;
    return (eh_control)control;
}

// --- How many steps the treatment takes ----------------------------------------------------------------------------

static eh_status count_examples(const eh_job *job, const eh_job_data *data, int64_t *count)
{
    eh_string folder = {0};
    eh_examples examples = {0};
    eh_status status = EH_OK;
    *count = 0;
    EH_TRY_OR(done, eh_string_printf(&folder, "%s/shards", job->output));
    EH_TRY_OR(done, eh_shards_read(folder.bytes, data->name, &examples));
    for (int64_t i = 0; i < examples.count; i++) *count += examples.splits[i] == EH_SPLIT_TRAIN;
done:
    eh_examples_deinit(&examples);
    eh_string_deinit(&folder);
    return status;
}

// As the batches of the training are cut (train/batches.c): a set with a share of its own fills that share of each.
static eh_status count_steps(const eh_job *job, int64_t *steps)
{
    int64_t examples = 0, per_batch = job->train.batch;
    for (int64_t d = 0; d < job->data_count; d++) {
        const eh_job_data *data = &job->data[d];
        int64_t count = 0;
        if (!eh_data_is_learnt(data))
            continue;
        EH_TRY(count_examples(job, data, &count));
        if (data->replay <= 0)
            examples += count;
        else if (count > 0)
            per_batch -= llround(data->replay * (double)job->train.batch);
    }
    *steps = per_batch > 0 ? (examples + per_batch - 1) / per_batch * job->train.epochs : 0;
    if (job->train.max_steps > 0 && job->train.max_steps < *steps)
        *steps = job->train.max_steps;
    return EH_OK;
}

// --- The derived job -----------------------------------------------------------------------------------------------

// The treatment's job again, from its text: a copy that owns everything.
static eh_status copy_job(const eh_job *job, eh_job *copy)
{
    eh_string yaml = {0};
    static const char *const overrides[] = {"evaluate=[]"};
    eh_status status = eh_job_to_yaml(job, &yaml);
    if (status == EH_OK)
        status = eh_job_parse(job->path, yaml.bytes, yaml.size, overrides, 1, copy);
    eh_string_deinit(&yaml);
    return status;
}

static eh_status set_place(const eh_job *job, const char *control, eh_job *derived)
{
    eh_string output = {0}, name = {0};
    eh_status status = eh_string_printf(&output, "%s/control-%s", job->output, control);
    if (status == EH_OK)
        status = eh_string_printf(&name, "%s/control-%s", job->name, control);
    if (status != EH_OK) {
        eh_string_deinit(&output);
        eh_string_deinit(&name);
        return status;
    }
    eh_free(&derived->output);
    eh_free(&derived->name);
    derived->output = output.bytes;
    derived->name = name.bytes;
    return EH_OK;
}

// Whether the control is trained on the set; if so, in which way.
static bool takes(eh_control control, eh_job_data *data)
{
    if (control == EH_CONTROL_NEUTRAL) {
        const bool taken = data->use == EH_USE_CONTROL;
        data->use = EH_USE_TRAIN;
        return taken;
    }
    data->pair_order = control == EH_CONTROL_PLACEBO ? EH_ORDER_RANDOM : EH_ORDER_REVERSED;
    return eh_data_is_learnt(data);
}

static void pick_data(eh_control control, eh_job *derived)
{
    int64_t kept = 0;
    for (int64_t d = 0; d < derived->data_count; d++) {
        if (takes(control, &derived->data[d])) {
            const eh_job_data other = derived->data[kept];
            derived->data[kept++] = derived->data[d];
            derived->data[d] = other;
        }
    }
    eh_job_free_data(derived, kept);
}

eh_status eh_control_job(const eh_job *job, eh_control control, eh_job *derived)
{
    EH_ASSERT(control == EH_CONTROL_PLACEBO || control == EH_CONTROL_REVERSED || control == EH_CONTROL_NEUTRAL);
    EH_TRY(copy_job(job, derived));
    eh_status status = set_place(job, eh_control_name(control), derived);
    if (status != EH_OK) {
        eh_job_deinit(derived);
        return status;
    }
    pick_data(control, derived);
    derived->train.keep_every = 0; // the way is the treatment's
    if (control != EH_CONTROL_NEUTRAL)
        return EH_OK;
    int64_t steps = 0;
    if (count_steps(job, &steps) != EH_OK) {
        eh_error_clear();
        steps = EH_STEPS_UNKNOWN;
    }
    derived->train.max_steps = steps;
    derived->train.epochs = steps > 0 ? steps : 0; // enough of them: each has one step at least
    return EH_OK;
}
