// evenhand status: which steps of a job's runs are done, how far the training is, what Slurm says.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "front.h"

// The last whole line of a small file, "" if there is none.
static void last_line(const char *path, char line[512])
{
    line[0] = '\0';
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return;
    char text[512];
    while (fgets(text, sizeof text, file) != NULL)
        if (strchr(text, '\n') != NULL)
            snprintf(line, 512, "%.*s", (int)strcspn(text, "\r\n"), text);
    fclose(file);
}

static void first_line(const char *path, char line[512])
{
    line[0] = '\0';
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return;
    if (fgets(line, 512, file) != NULL)
        line[strcspn(line, "\r\n")] = '\0';
    else
        line[0] = '\0';
    fclose(file);
}

// "step=120 loss=2.1 ..." from the last row of metrics.csv.
static void print_training(const eh_job *job, eh_step step)
{
    char path[4096], names[512], values[512];
    const eh_step_info *info = &eh_steps[step];
    snprintf(path, sizeof path, "%s%s%s/metrics.csv", job->output, info->is_derived ? "/control-" : "",
             info->is_derived ? eh_control_name(info->control) : "");
    first_line(path, names);
    last_line(path, values);
    if (values[0] == '\0' || strcmp(names, values) == 0)
        return;
    printf("    last step:");
    const char *name = names, *value = values;
    for (int column = 0; column < 6 && *name != '\0' && *value != '\0'; column++) {
        const size_t name_size = strcspn(name, ","), value_size = strcspn(value, ",");
        printf(" %.*s %.*s%s", (int)name_size, name, (int)value_size, value,
               name[name_size] == ',' && column < 5 ? "," : "");
        name += name_size + (name[name_size] == ',');
        value += value_size + (value[value_size] == ',');
    }
    printf("\n");
}

static const char *step_state(const eh_job *job, eh_step step, bool *fresh)
{
    char key[65];
    *fresh = false;
    if (eh_step_key(job, step, key) != EH_OK)
        return "can't begin";
    if (eh_step_is_fresh(job, step, key, fresh) == EH_OK && *fresh)
        return "done";
    return eh_step_has_stamp(job, step) ? "out of date" : "to do";
}

static void print_run(const eh_job *job)
{
    for (int step = 0; step < EH_STEP_COUNT; step++) {
        if (!eh_step_wanted(job, (eh_step)step))
            continue;
        bool fresh = false;
        eh_error_clear();
        const char *state = step_state(job, (eh_step)step, &fresh);
        printf("  %-16s %s%s%s\n", eh_steps[step].name, state, eh_error_message()[0] != '\0' ? ": " : "",
               eh_error_message());
        if (strcmp(eh_steps[step].stage, "finetune") == 0 && !fresh)
            print_training(job, (eh_step)step);
    }
}

// The jobs that `evenhand submit` noted: OUTPUT/slurm/jobs has "STEP ID" lines.
static void print_slurm(const char *output)
{
    char path[4096], line[512];
    snprintf(path, sizeof path, "%s/slurm/jobs", output);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        char step[64], id[64], command[256], answer[512] = "";
        if (sscanf(line, "%63s %63[0-9]", step, id) != 2)
            continue;
        snprintf(command, sizeof command, "squeue -h -o '%%T %%M %%r' -j %s 2>/dev/null", id);
        FILE *queue = popen(command, "r");
        if (queue != NULL && fgets(answer, sizeof answer, queue) == NULL)
            answer[0] = '\0';
        if (queue != NULL)
            pclose(queue);
        answer[strcspn(answer, "\n")] = '\0';
        printf("  Slurm job %s (%s): %s\n", id, step, answer[0] != '\0' ? answer : "no longer in the queue");
    }
    fclose(file);
}

eh_status eh_front_status(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    (void)log;
    *exit_code = 0;
    const char *path = NULL;
    eh_sweep sweep;
    EH_TRY(eh_front_one_word(options, "job file", &path));
    EH_TRY(eh_sweep_read(path, options->overrides, options->override_count, &sweep));
    for (int64_t i = 0; i < sweep.run_count; i++) {
        printf("%s\n", sweep.runs[i].job.output);
        print_run(&sweep.runs[i].job);
    }
    print_slurm(sweep.output);
    eh_sweep_deinit(&sweep);
    return EH_OK;
}
