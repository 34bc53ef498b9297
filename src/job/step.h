// The steps of a run, in order, and when one is up to date: a step's key is a digest of all that its results depend on
// (keys of the job, contents of its input files, keys of the steps before), and OUTPUT/stamps/STEP holds the key of the
// last success.
#ifndef EH_JOB_STEP_H
#define EH_JOB_STEP_H

#include "job/job.h"

typedef enum {
    EH_STEP_TOKENIZE,
    EH_STEP_EVALUATE_BEFORE,
    EH_STEP_FINETUNE,
    EH_STEP_EVALUATE_AFTER,
    EH_STEP_EVALUATE_STEPS, // the models kept on the way (train.keep_every)
    EH_STEP_TOKENIZE_PLACEBO,
    EH_STEP_FINETUNE_PLACEBO,
    EH_STEP_EVALUATE_PLACEBO,
    EH_STEP_TOKENIZE_REVERSED,
    EH_STEP_FINETUNE_REVERSED,
    EH_STEP_EVALUATE_REVERSED,
    EH_STEP_TOKENIZE_NEUTRAL,
    EH_STEP_FINETUNE_NEUTRAL,
    EH_STEP_EVALUATE_NEUTRAL,
    EH_STEP_DAMAGE,
    EH_STEP_EVALUATE_DAMAGE,
    EH_STEP_EVALUATE_REPEAT,
    EH_STEP_REPORT,
    EH_STEP_COUNT,
} eh_step;

typedef struct {
    const char *name;   // "evaluate-after": the stamp's name; "evaluate-placebo"
    const char *stage;  // "evaluate": the program evenhand-evaluate
    const char *phase;  // "after", or "" where the stage has none; "steps" and "control-damage" are several phases
    const char *result; // file or folder below OUTPUT that is there after success
    eh_control control; // EH_CONTROL_COUNT: the step is not a control's
    bool is_derived;    // the stage runs on the control's own job (eh_control_job), told by --control
} eh_step_info;
extern const eh_step_info eh_steps[EH_STEP_COUNT];

// The phase of the damage control's model number `index`: "control-damage-1a", "-1b" (the same noise with the other
// sign), "-2a", ...
void eh_damage_phase(int64_t index, char name[48]);

// Whether the job asks for the step at all (no training data: no finetune; nothing to evaluate: no scores).
bool eh_step_wanted(const eh_job *job, eh_step step);
// The step that a stage with this phase is; EH_STEP_COUNT if none. A stage that runs on a
// control's job does that job's steps: ("finetune", "") is EH_STEP_FINETUNE there.
eh_step eh_step_find(const char *stage, const char *phase);
// The key (EH_SHA256_TEXT chars). Reads the input files: not free for big ones. Not collective. EH_INPUT if one can't
// be read.
EH_CHECKED eh_status eh_step_key(const eh_job *job, eh_step step, char key[65]);
// Whether the stamp holds `key` and the result is there.
EH_CHECKED eh_status eh_step_is_fresh(const eh_job *job, eh_step step, const char *key, bool *fresh);
bool eh_step_has_stamp(const eh_job *job, eh_step step);                             // of whatever key
EH_CHECKED eh_status eh_step_mark(const eh_job *job, eh_step step, const char *key); // writes the stamp
// The same for a step whose result is there though it failed for want of some input: eh_step_is_partial, not fresh.
EH_CHECKED eh_status eh_step_mark_partial(const eh_job *job, eh_step step, const char *key);
EH_CHECKED eh_status eh_step_is_partial(const eh_job *job, eh_step step, const char *key, bool *partial);
EH_CHECKED eh_status eh_step_unmark(const eh_job *job, eh_step step); // removes it

// --- Controls (control.c) ------------------------------------------------------------------------------------------

const char *eh_control_name(eh_control control); // "placebo"
// EH_CONTROL_COUNT if there is none of that name.
eh_control eh_control_find(const char *name);
// The job that trains a control: that of the treatment with other pairs or text, no evaluation, and OUTPUT/control-NAME
// as its output. `neutral` takes as many steps as the treatment, which its shards tell: train.max_steps is
// EH_STEPS_UNKNOWN before they are there. Free *derived by eh_job_deinit.
#define EH_STEPS_UNKNOWN (-1)
EH_CHECKED eh_status eh_control_job(const eh_job *job, eh_control control, eh_job *derived);

#endif
