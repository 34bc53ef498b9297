// A job as its YAML file, the presets and --set make it: plain values, every default filled in. schema.c is the one
// list of keys, types, defaults, ranges and help.
#ifndef EH_JOB_JOB_H
#define EH_JOB_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/string.h"

// EH_USE_CONTROL: text that only the control 'neutral' is trained on; what is held out of it is measured.
typedef enum { EH_USE_TRAIN, EH_USE_EVALUATE, EH_USE_BOTH, EH_USE_CONTROL } eh_data_use;
typedef enum { EH_TASK_NONE, EH_TASK_GAP_FILL, EH_TASK_REWRITE, EH_TASK_LM, EH_TASK_PREFERRED } eh_task;
typedef enum { EH_ORDER_STEREOTYPE, EH_ORDER_GROUP, EH_ORDER_BOTH, EH_ORDER_RANDOM, EH_ORDER_REVERSED } eh_pair_order;
typedef enum { EH_LABELS_APPEND, EH_LABELS_OVERLAY } eh_label_layout;
typedef enum { EH_BLANK_EACH, EH_BLANK_FIRST } eh_blank;

typedef enum { EH_PARSER_OWN_CLASS, EH_PARSER_UNRELATED } eh_answer_parser;
typedef enum { EH_PROMPT_ITEM, EH_PROMPT_CHARACTERS } eh_prompt_iteration;
typedef enum { EH_LENGTH_NEW, EH_LENGTH_TOTAL } eh_length_limit;
typedef enum { EH_SCORE_CONTINUATION, EH_SCORE_ALL } eh_score_text;
typedef enum { EH_HONEST_REFERENCE, EH_HONEST_INVERTED, EH_HONEST_WORD, EH_HONEST_SENTENCE } eh_honest_mode;
typedef enum { EH_REGARD_BOTH, EH_REGARD_FIRST } eh_regard_groups;
typedef enum { EH_OPTIONS_ALL, EH_OPTIONS_FILE } eh_option_order;
typedef enum { EH_SELECT_LAST, EH_SELECT_HELDOUT, EH_SELECT_TASK_AND_CAPABILITY } eh_select;
typedef enum { EH_SPLIT_BY_CLUSTER, EH_SPLIT_BY_ROW } eh_split_unit;

// `switches:`, one key for each defect of the 2023 study (PROTOCOL part 3, in its order). `preset` sets them all, a key
// overrides one; the first value of each enum is preset evenhand's.
typedef struct {
    eh_pair_order pair_order;     // default of data[].pair_order
    eh_label_layout label_layout; // default of data[].label_layout
    eh_blank blank;               // default of data[].blank
    eh_answer_parser answer_parser;
    eh_prompt_iteration prompt_iteration;
    eh_length_limit max_length;
    eh_score_text score_text;
    eh_honest_mode honest_mode;
    eh_regard_groups regard_groups;
    eh_option_order option_order; // default of evaluate[].orders
    eh_select select;
    eh_split_unit split;
} eh_job_switches;

// One entry of `data:`.
typedef struct {
    char *name, *format, *path;
    eh_data_use use;
    eh_task task;
    double holdout; // share of the examples that is held out, [0, 1)
    char *train_on; // groups that train, separated by commas, the others are held out; NULL: all train
    char *prompt;   // user template with {text} {answer} {more} {less} {context}; NULL: the task's own
    eh_pair_order pair_order;
    eh_label_layout label_layout;
    eh_blank blank;
    int64_t limit;      // at most so many rows, 0: all
    int64_t max_length; // tokens of an input, 0: the model's
    double replay;      // share of a training batch drawn from this set, 0: in proportion to its size
} eh_job_data;
// Whether the treatment is trained on the set.
bool eh_data_is_learnt(const eh_job_data *data);
// Whether a metric may take it: it is not for training alone.
bool eh_data_is_measured(const eh_job_data *data);

typedef struct {
    char **items;
    int64_t count, capacity;
} eh_texts;

// One entry of `evaluate:`.
typedef struct {
    char *metric;        // "stereoset", "crows-pairs", "perplexity", ...
    char *protocol;      // "likelihood", "prompt", "study"; NULL: the metric's default
    char *data;          // name of a data entry; NULL: all whose format the metric takes
    char *orders;        // "all", "file"
    char *wording;       // "a", "b"
    char *context_nulls; // "left-out", "both", "none": null pickers that ask the model without its context
    char *head;          // "own", or one of the model's other heads: "next-sentence"
    char *classifier;    // folder of a classifier model
    char *lexicon;
    char *group; // regard: the one that is kept under switches.regard_groups: first
    int64_t samples, max_new_tokens, limit;
    eh_texts stop;                 // strings that end a generated text
    int64_t per_entity, per_group; // prompts of each entity (BOLD), items of each group at most; 0: all
} eh_job_metric;

// Models that are measured beside the treated one, so that mitigation can be told from damage (PROTOCOL part 5).
typedef enum {
    EH_CONTROL_PLACEBO,  // the same training, pairs in random direction
    EH_CONTROL_REVERSED, // the same training towards the stereotype
    EH_CONTROL_NEUTRAL,  // as many steps on neutral text
    EH_CONTROL_DAMAGE,   // the base with noise that costs as much capability as the treatment
    EH_CONTROL_REPEAT,   // the base, measured again
    EH_CONTROL_COUNT,
} eh_control;

typedef struct {
    unsigned which;   // bits 1 << eh_control
    double tolerance; // relative: how close the damaged model's capability must come to the treated one's
    int64_t draws;    // of the damage control's noise, each put on with both signs
} eh_job_controls;

typedef struct {
    int64_t epochs, batch, micro_batches, warmup_steps, max_steps; // max_steps 0: no bound
    double lr, weight_decay, clip, beta1, beta2, eps, dropout;     // dropout < 0: the model's own
    char *schedule;                                                // "linear", "constant", "cosine"
    char *optimizer;                                               // "adamw", "adamw_hf"
    char *method;                                                  // "full", "lora", "freeze"
    char *reduction;                                               // "tree", "fast"
    char *freeze;                                                  // pattern or preset
    int64_t lora_rank;
    double lora_alpha;
    char *lora_targets;
    char *merge;            // "true": OUTPUT/model has the weights with the factors in them; "false": the factors alone
    double kl, l2;          // weights of the penalties against forgetting
    int64_t fisher;         // examples that weigh the second, 0: none
    int64_t evaluate_every; // steps between held-out losses, 0: each epoch
    int64_t keep_every;     // steps between models kept on the way as OUTPUT/step-N, 0: none
    char *kept;             // "measure", "keep"
    double loss_scale;      // fp16: the first one
    int64_t patience;       // held-out losses without a better one before the training ends, 0: it does not
    double capability_floor;
} eh_job_train;

typedef struct {
    int64_t zero;
    char *recompute, *offload;
} eh_job_memory;

typedef struct {
    char *path;         // Hugging Face folder; or
    char *architecture; // start from random: model_type, with
    char *config;       // config.json text of the random model (JSON), and
    char *tokenizer;    // path of a tokenizer.json, or "plant" data's own
} eh_job_model;

typedef struct {
    char *path; // of the job file, for messages
    char *name, *output, *device, *precision, *preset;
    uint64_t seed;
    eh_job_model model;
    eh_job_switches switches;
    eh_job_data *data;
    int64_t data_count;
    eh_job_train train;
    eh_job_memory memory;
    eh_job_metric *evaluate;
    int64_t evaluate_count;
    eh_job_controls controls; // the entry of `evaluate:` that has `controls`
    double checkpoint_minutes;
    int64_t batch_tokens; // of an evaluation; 0: a good number
    char *launcher;       // "mpirun" command line words of `evenhand run`; NULL: found
    int64_t ranks;
    struct {
        int64_t replicates; // bootstrap
        char *reference;    // CSV of published figures; NULL: none
    } report;
    struct { // margins of the verdict, fixed before the run (PROTOCOL part 5)
        double bias_points, bias_margin, capability, accuracy;
        char *planted; // output folder of a run on a planted world, which shows that the meter reads true; NULL: none
    } verdict;
} eh_job;

// Reads, checks, applies `overrides` ("train.lr=1e-4", "data.crows.task=rewrite", "evaluate.0.limit=10"; may be 0 of
// them). Relative paths in a job are relative to the current folder. One run: a job with `sweep:` is refused,
// job/sweep.h splits it. EH_INPUT: "jobs/demo.yaml:12: unknown key 'tran': did you mean 'train'?". Not collective.
EH_CHECKED eh_status eh_job_read(const char *path, const char *const *overrides, int64_t override_count, eh_job *job);
// The same from text; `path` is for messages and the default of `name`.
EH_CHECKED eh_status eh_job_parse(const char *path, const char *text, size_t size, const char *const *overrides,
                                  int64_t override_count, eh_job *job);
void eh_job_deinit(eh_job *job);
// Drops the data sets from `count` on.
void eh_job_free_data(eh_job *job, int64_t count);
// The job with every default written out; reading it gives the same job.
EH_CHECKED eh_status eh_job_to_yaml(const eh_job *job, eh_string *yaml);
// The list of keys for --help.
EH_CHECKED eh_status eh_job_help(eh_string *text);

#endif
