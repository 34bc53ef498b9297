// The front end: what a user types. Each command is a file of this folder; evenhand.c lists them.
#ifndef EH_STAGES_FRONT_H
#define EH_STAGES_FRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/log.h"
#include "core/status.h"
#include "job/step.h"
#include "job/sweep.h"

// What was typed behind the command's name.
typedef struct {
    const char *command;
    const char **words; // JOB, FILE, ...: what is not an option
    int64_t word_count;
    const char **overrides; // of --set
    int64_t override_count;
    int64_t ranks; // -n; 0: not given
    bool force, profile, dry_run;
    const char *gpu;        // plan --gpu
    const char *only_run;   // --run NUMBER
    const char *only_steps; // --step NAMES
    const char *stereoset;  // conform --stereoset DEV.json
    const char *only;       // conform --only
    const char *device;     // conform --device
    const char **slurm;     // words handed on to sbatch
    int64_t slurm_count;
    int64_t nodes, gpus_per_node;
    int64_t example;       // inspect --example, from 1; 0: not given
    const char *tokenizer; // inspect --tokenizer
} eh_front_options;

typedef struct {
    const char *name, *arguments, *help;
    // Sets *exit_code where it is neither 0 nor that of a status.
    eh_status (*run)(const eh_front_options *options, const eh_log *log, int *exit_code);
} eh_front_command;

// Fills options from the words behind the command's name; arrays are allocated (eh_front_options_deinit).
EH_CHECKED eh_status eh_front_read_options(int argc, char **argv, eh_front_options *options);
void eh_front_options_deinit(eh_front_options *options);
void eh_front_print_options(void);
// The one word that a command needs, EH_INPUT if there is none or more.
EH_CHECKED eh_status eh_front_one_word(const eh_front_options *options, const char *what, const char **word);

eh_status eh_front_run(const eh_front_options *options, const eh_log *log, int *exit_code);
eh_status eh_front_status(const eh_front_options *options, const eh_log *log, int *exit_code);
eh_status eh_front_submit(const eh_front_options *options, const eh_log *log, int *exit_code);
eh_status eh_front_conform(const eh_front_options *options, const eh_log *log, int *exit_code);
eh_status eh_front_plan(const eh_front_options *options, const eh_log *log, int *exit_code);
eh_status eh_front_inspect(const eh_front_options *options, const eh_log *log, int *exit_code);
eh_status eh_front_doctor(const eh_front_options *options, const eh_log *log, int *exit_code);

// --- Starting a stage (launch.c) -----------------------------------------------------------------------------------

// Folder of this program, where the stages lie too; eh_free.
EH_CHECKED eh_status eh_front_program_folder(char **folder);
// The full path of a program of PATH, eh_free; NULL if there is none.
EH_CHECKED eh_status eh_front_find_program(const char *name, char **path);
int64_t eh_front_core_count(void); // that this process may use
int64_t eh_front_gpu_count(void);
// -n, the job's ranks, or one for each GPU or core, at most 8.
int64_t eh_front_rank_count(const eh_front_options *options, const eh_job *job);

// Runs `words` (NULL-terminated) in a process group of its own and waits. SIGINT, SIGTERM and SIGUSR1 ask it to stop
// with SIGUSR1, which mpirun hands on to the ranks (it would kill them on SIGTERM), and end it after `grace_seconds`,
// or at the second SIGINT. *exit_code: its own; 3 if a signal ended it unasked; 130 if it was ended after SIGINT.
EH_CHECKED eh_status eh_front_execute(char *const *words, double grace_seconds, int *exit_code);

// One step of a run through mpirun (or the job's launcher): `job_path` and overrides as the stage is to read them.
typedef struct {
    const char *job_path;
    const char *const *overrides;
    int64_t override_count;
    int64_t ranks;
    bool force, profile;
} eh_front_launch;
EH_CHECKED eh_status eh_front_launch_step(const eh_job *job, eh_step step, const eh_front_launch *launch,
                                          int *exit_code);

#endif
