// What a plan is made of: the batches, the device, and what a choice of memory.* costs in bytes and seconds.
#ifndef EH_STAGES_FRONT_PLAN_H
#define EH_STAGES_FRONT_PLAN_H

#include "front.h"
#include "job/roofline.h"
#include "model/outline.h"

// This machine, by a measurement of its products and the share of it that a training reaches; or a published device.
typedef struct {
    const char *name;
    double memory_gib, tflops, gigabytes_per_second, share;
    eh_dtype compute;
    bool packs;                          // the backend keeps packed copies of small models' matrices
    bool is_here;                        // this machine, whose memory and cores all ranks share
    const eh_roofline_device *published; // NULL where is_here
} eh_planned_device;
EH_CHECKED eh_status eh_plan_find_device(const eh_front_options *options, const eh_job *job, eh_planned_device *found);

// The config of a published model by its folder's name, for a plan before the download; false: not one that is known.
bool eh_plan_published_shape(const char *folder, const char **config);

// What is known of the training's batches: from the shards once they are there, else assumed.
typedef struct {
    eh_batch_limits limits; // of one micro-batch
    int64_t steps, examples;
    double tokens, labels; // of a step, mean
    bool measured;
} eh_training_size;
void eh_plan_read_size(const eh_job *job, const eh_model_outline *outline, eh_training_size *size);

// A choice of memory.*.
typedef struct {
    int zero;
    bool recompute, offload;
} eh_memory_choice;

typedef struct {
    const char *name;
    double bytes;
} eh_memory_part;
enum { EH_MEMORY_PARTS = 13 };
typedef struct {
    eh_memory_part parts[EH_MEMORY_PARTS]; // of rank 0
    double rank_bytes;                     // all of them
    double resident_bytes;                 // as its resident size shows: with what it reads of other ranks' memory
    double needed_bytes;                   // of the device: of all ranks where they share it
    double host_bytes; // beside a device whose memory is its own: about what a rank takes of the node's
    double step_seconds;
    eh_roofline roofline; // of a published device; all zero where the device is this machine
    bool fits;
} eh_plan_of_memory;

// What all plans of a run know.
typedef struct {
    const eh_job *job;
    const char *config; // config.json's text
    eh_planned_device device;
    eh_training_size size;
    int ranks;
    bool is_published_shape; // config is not the folder's own
} eh_planned_run;
EH_CHECKED eh_status eh_plan_memory(const eh_planned_run *run, const eh_memory_choice *choice, eh_plan_of_memory *plan);
// The fastest choice that fits; *found false: none does.
EH_CHECKED eh_status eh_plan_cheapest(const eh_planned_run *run, eh_memory_choice *choice, eh_plan_of_memory *plan,
                                      bool *found);
// The same on 2, 4, 8, ... times as many devices, where the run's do not hold it: *ranks is how many.
EH_CHECKED eh_status eh_plan_more_ranks(const eh_planned_run *run, int *ranks, eh_memory_choice *choice,
                                        eh_plan_of_memory *plan, bool *found);

// --- plan.c ---
// The job's own memory.*.
eh_memory_choice eh_plan_choice(const eh_job *job);
// Fills in `run` for the job; its device is found where run->device has no name yet. *config by eh_free; `run` borrows
// it.
EH_CHECKED eh_status eh_plan_begin(const eh_front_options *options, const eh_job *job, char **config,
                                   eh_model_outline *outline, eh_planned_run *run);

// --- plan_record.c ---
// Writes OUTPUT/predicted.csv for a training that is about to start on this machine; nothing where its batches are not
// known yet. *device: all zero, or what an earlier call has found.
EH_CHECKED eh_status eh_plan_record(const eh_front_options *options, const eh_job *job, eh_planned_device *device);

// --- plan_evaluation.c ---
// Greatest bytes of a rank that evaluates, over all entries of `evaluate:` and their data sets; 0 without entries.
// Seconds of all ranks together by the clock, for one model; NaN where a data set is not tokenized yet.
// `prints`: the line of each that evaluate prints, and whether it fits.
EH_CHECKED eh_status eh_plan_evaluation(const eh_planned_run *run, const eh_model_outline *outline, bool prints,
                                        double *bytes, double *seconds);

// --- plan_power.c ---
// The minimal detectable change of SS, for each data set and group whose shards are there.
void eh_plan_print_power(const eh_job *job);
// What the controls add; nothing where there are none.
void eh_plan_print_controls(const eh_job *job, double training_minutes);

#endif
