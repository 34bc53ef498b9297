#include "job/schema.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

// Steps whose results a key changes. What follows a step depends on it through its key.
enum {
    TOKENIZE = 1u << EH_STEP_TOKENIZE,
    FINETUNE = 1u << EH_STEP_FINETUNE,
    EVALUATE = 1u << EH_STEP_EVALUATE_BEFORE | 1u << EH_STEP_EVALUATE_AFTER,
    DAMAGE = 1u << EH_STEP_DAMAGE,
    REPORT = 1u << EH_STEP_REPORT,
    ALL = TOKENIZE | FINETUNE | EVALUATE | DAMAGE | REPORT,
};
#define BIG 9e15 // integers that a double holds

// clang-format off
#define AT(field) offsetof(eh_job, field)
static const eh_key job_rows[] = {
    {"name", EH_KEY_TEXT, AT(name), NULL, NULL, NULL, 0, 0, REPORT, "of the run, in tables; default: the job file's name"},
    {"output", EH_KEY_TEXT, AT(output), NULL, NULL, NULL, 0, 0, 0, "folder for everything that the run writes; default: results/NAME"},
    {"seed", EH_KEY_SEED, AT(seed), "2023", NULL, NULL, 0, 0, ALL, "of every random number"},
    {"device", EH_KEY_CHOICE, AT(device), "auto", NULL, "auto|reference|cpu|cuda", 0, 0, FINETUNE | EVALUATE, "auto: a GPU if there is one"},
    {"precision", EH_KEY_CHOICE, AT(precision), "auto", NULL, "auto|fp32|bf16|fp16", 0, 0, FINETUNE | EVALUATE, "of products; auto: what the device is good at"},
    {"preset", EH_KEY_CHOICE, AT(preset), "evenhand", NULL, "evenhand|study", 0, 0, 0, "defaults of switches and optimizer: the correct protocol, or the 2023 study's"},
    {"ranks", EH_KEY_INTEGER, AT(ranks), "0", NULL, NULL, 0, 65536, 0, "MPI ranks of 'evenhand run'; 0: one for each GPU or core, at most 8"},
    {"batch_tokens", EH_KEY_INTEGER, AT(batch_tokens), "0", NULL, NULL, 0, BIG, 0, "that the model reads at a time in an evaluation; 0: a good number; scores do not depend on it"},
    {"launcher", EH_KEY_TEXT, AT(launcher), NULL, NULL, NULL, 0, 0, 0, "words that start a stage, such as 'srun --mpi=pmix'; default: mpirun"},

    {"model.path", EH_KEY_TEXT, AT(model.path), NULL, NULL, NULL, 0, 0, 0, "Hugging Face folder"},
    {"model.architecture", EH_KEY_TEXT, AT(model.architecture), NULL, NULL, NULL, 0, 0, FINETUNE | EVALUATE, "in place of model.path: start from random weights, such as 'bloom'"},
    {"model.config", EH_KEY_MAPPING, AT(model.config), NULL, NULL, NULL, 0, 0, FINETUNE | EVALUATE, "of the random model: the keys of its config.json"},
    {"model.tokenizer", EH_KEY_TEXT, AT(model.tokenizer), NULL, NULL, NULL, 0, 0, 0, "tokenizer.json of the random model, or its folder"},

    {"train.epochs", EH_KEY_INTEGER, AT(train.epochs), "5", NULL, NULL, 0, BIG, FINETUNE, "passes over the training data"},
    {"train.max_steps", EH_KEY_INTEGER, AT(train.max_steps), "0", NULL, NULL, 0, BIG, FINETUNE, "at most so many steps; 0: no bound"},
    {"train.batch", EH_KEY_INTEGER, AT(train.batch), "20", NULL, NULL, 1, BIG, FINETUNE, "examples of a step, over all ranks"},
    {"train.micro_batches", EH_KEY_INTEGER, AT(train.micro_batches), "4", NULL, NULL, 1, 65536, FINETUNE, "pieces of a batch; at most so many ranks have work"},
    {"train.lr", EH_KEY_NUMBER, AT(train.lr), "3e-5", NULL, NULL, 0, 10, FINETUNE, "learning rate"},
    {"train.schedule", EH_KEY_CHOICE, AT(train.schedule), "linear", NULL, "linear|constant|cosine", 0, 0, FINETUNE, "of the learning rate"},
    {"train.warmup_steps", EH_KEY_INTEGER, AT(train.warmup_steps), "0", NULL, NULL, 0, BIG, FINETUNE, "steps in which the learning rate rises from 0"},
    {"train.optimizer", EH_KEY_CHOICE, AT(train.optimizer), "adamw", "adamw_hf", "adamw|adamw_hf", 0, 0, FINETUNE, "adamw_hf: the one of the study's transformers"},
    {"train.beta1", EH_KEY_NUMBER, AT(train.beta1), "0.9", NULL, NULL, 0, 0.999999999, FINETUNE, "of AdamW"},
    {"train.beta2", EH_KEY_NUMBER, AT(train.beta2), "0.999", NULL, NULL, 0, 0.999999999, FINETUNE, "of AdamW"},
    {"train.eps", EH_KEY_NUMBER, AT(train.eps), "1e-8", NULL, NULL, 0, 1, FINETUNE, "of AdamW"},
    {"train.weight_decay", EH_KEY_NUMBER, AT(train.weight_decay), "0.01", NULL, NULL, 0, 10, FINETUNE, "not on norms and biases"},
    {"train.clip", EH_KEY_NUMBER, AT(train.clip), "1", NULL, NULL, 0, 1e9, FINETUNE, "greatest norm of a gradient; 0: no clipping"},
    {"train.dropout", EH_KEY_NUMBER, AT(train.dropout), "-1", NULL, NULL, -1, 0.99, FINETUNE, "-1: the model's own"},
    {"train.method", EH_KEY_CHOICE, AT(train.method), "full", NULL, "full|lora|freeze", 0, 0, FINETUNE, "which weights learn"},
    {"train.freeze", EH_KEY_TEXT, AT(train.freeze), NULL, NULL, NULL, 0, 0, FINETUNE, "method freeze: names of the weights that learn (pattern), or a preset"},
    {"train.lora_rank", EH_KEY_INTEGER, AT(train.lora_rank), "8", NULL, NULL, 1, 65536, FINETUNE, "method lora: of the factors"},
    {"train.lora_alpha", EH_KEY_NUMBER, AT(train.lora_alpha), "16", NULL, NULL, 1e-6, 1e6, FINETUNE, "method lora: the factors' product is scaled by alpha / rank"},
    {"train.lora_targets", EH_KEY_TEXT, AT(train.lora_targets), NULL, NULL, NULL, 0, 0, FINETUNE, "method lora: names of linear layers, their ends, patterns or all-linear, joined by ','; default: PEFT's"},
    {"train.merge", EH_KEY_CHOICE, AT(train.merge), "true", NULL, "true|false", 0, 0, FINETUNE, "method lora: OUTPUT/model holds whole weights, beside OUTPUT/adapter; false: OUTPUT/model is the adapter itself in PEFT's format, merged in memory when it is measured"},
    {"train.kl", EH_KEY_NUMBER, AT(train.kl), "0", NULL, NULL, 0, 1e6, FINETUNE, "weight of KL(starting model || model), mean over the labels, in the loss"},
    {"train.l2", EH_KEY_NUMBER, AT(train.l2), "0", NULL, NULL, 0, 1e6, FINETUNE, "pull to the starting weights: l2 / 2 times their squared distance joins the loss"},
    {"train.fisher", EH_KEY_INTEGER, AT(train.fisher), "0", NULL, NULL, 0, BIG, FINETUNE, "examples of the replayed sets that weigh train.l2 by the Fisher matrix (EWC), with memory.zero 0 or 1 alone; 0: all weights alike"},
    {"train.keep_every", EH_KEY_INTEGER, AT(train.keep_every), "0", NULL, NULL, 0, BIG, FINETUNE, "steps between models kept on the way as OUTPUT/step-N; 0: none"},
    {"train.kept", EH_KEY_CHOICE, AT(train.kept), "measure", NULL, "measure|keep", 0, 0, 0, "models kept on the way are measured like the last one (the report's trajectory), or only kept"},
    {"train.evaluate_every", EH_KEY_INTEGER, AT(train.evaluate_every), "0", NULL, NULL, 0, BIG, FINETUNE, "steps between losses on held-out data; 0: each epoch"},
    {"train.loss_scale", EH_KEY_NUMBER, AT(train.loss_scale), "65536", NULL, NULL, 1, 1e30, FINETUNE, "precision fp16: the first one; halves when a gradient overflows, doubles after 2000 steps without"},
    {"train.patience", EH_KEY_INTEGER, AT(train.patience), "0", NULL, NULL, 0, BIG, FINETUNE, "ends after so many held-out losses without a better one; 0: goes on to the end"},
    {"train.capability_floor", EH_KEY_NUMBER, AT(train.capability_floor), "0.02", NULL, NULL, 0, 1e6, FINETUNE, "switches.select task-and-capability: share by which the held-out loss on replayed text may rise"},
    {"train.reduction", EH_KEY_CHOICE, AT(train.reduction), "tree", NULL, "tree|fast", 0, 0, FINETUNE, "tree: the same bits on any number of ranks of one kind of machine; fast: other last bits, less memory, and GPUs add up among themselves"},

    {"memory.zero", EH_KEY_INTEGER, AT(memory.zero), "0", NULL, NULL, 0, 3, 0, "shard over ranks: 1 optimizer states, 2 and gradients, 3 and weights"},
    {"memory.recompute", EH_KEY_CHOICE, AT(memory.recompute), "none", NULL, "none|blocks", 0, 0, 0, "compute activations twice, keep few"},
    {"memory.offload", EH_KEY_CHOICE, AT(memory.offload), "none", NULL, "none|optimizer|parameters", 0, 0, 0, "what lies in host memory or on disk"},
    {"checkpoint.minutes", EH_KEY_NUMBER, AT(checkpoint_minutes), "30", NULL, NULL, 0, 1e6, 0, "between checkpoints of the training; 0: only when stopped"},

    {"switches.pair_order", EH_KEY_ENUM, AT(switches.pair_order), "stereotype", "group", "stereotype|group|both|random|reversed", 0, 0, 0, "what a pair teaches (PROTOCOL 3.1)"},
    {"switches.label_layout", EH_KEY_ENUM, AT(switches.label_layout), "append", "overlay", "append|overlay", 0, 0, 0, "where a causal model's labels are (3.2)"},
    {"switches.blank", EH_KEY_ENUM, AT(switches.blank), "each", "first", "each|first", 0, 0, 0, "one blank for each changed span, or one in all (3.3)"},
    {"switches.answer_parser", EH_KEY_ENUM, AT(switches.answer_parser), "own-class", "unrelated", "own-class|unrelated", 0, 0, EVALUATE | REPORT, "what an unparsed answer counts as (3.4)"},
    {"switches.prompt_iteration", EH_KEY_ENUM, AT(switches.prompt_iteration), "item", "characters", "item|characters", 0, 0, EVALUATE, "a prompt for each item, or of its first character (3.5)"},
    {"switches.max_length", EH_KEY_ENUM, AT(switches.max_length), "new", "total", "new|total", 0, 0, EVALUATE, "bound on the new tokens, or on prompt and new ones together (3.6)"},
    {"switches.score_text", EH_KEY_ENUM, AT(switches.score_text), "continuation", "all", "continuation|all", 0, 0, EVALUATE, "what a classifier reads (3.7)"},
    {"switches.honest_mode", EH_KEY_ENUM, AT(switches.honest_mode), "reference", "inverted", "reference|inverted|word|sentence", 0, 0, EVALUATE | REPORT, "how HONEST looks words up (3.8)"},
    {"switches.regard_groups", EH_KEY_ENUM, AT(switches.regard_groups), "both", "first", "both|first", 0, 0, EVALUATE | REPORT, "which groups regard compares (3.9)"},
    {"switches.option_order", EH_KEY_ENUM, AT(switches.option_order), "all", "file", "all|file", 0, 0, 0, "orders of the options of a question (3.10)"},
    {"switches.select", EH_KEY_ENUM, AT(switches.select), "last", NULL, "last|held-out|task-and-capability", 0, 0, FINETUNE, "which weights are kept (3.11): the last, the best on held-out data, the best of those that keep train.capability_floor"},
    {"switches.split", EH_KEY_ENUM, AT(switches.split), "cluster", "row", "cluster|row", 0, 0, TOKENIZE, "what is held out together: near-duplicates of one writer, or a row (3.12)"},

    {"evaluate.controls", EH_KEY_FLAGS, AT(controls.which), "", NULL, "placebo|reversed|neutral|damage|repeat", 0, 0, 0, "an entry {controls: [...]} of the list: models that tell mitigation from damage"},
    {"evaluate.tolerance", EH_KEY_NUMBER, AT(controls.tolerance), "0.002", NULL, NULL, 1e-6, 1, DAMAGE, "beside controls: share by which the damaged models' mean capability may miss the treated one's"},
    {"evaluate.draws", EH_KEY_INTEGER, AT(controls.draws), "3", NULL, NULL, 2, 100, DAMAGE, "beside controls: noises of the control damage; each is put on and taken off, so that it makes twice as many models"},

    {"report.replicates", EH_KEY_INTEGER, AT(report.replicates), "10000", NULL, NULL, 100, 1e7, REPORT, "of the bootstrap"},
    {"report.reference", EH_KEY_TEXT, AT(report.reference), NULL, NULL, NULL, 0, 0, REPORT, "CSV of figures published elsewhere, columns label,figure,value,source: drawn as dashed lines on the charts of that figure and listed in a table"},
    {"verdict.bias_points", EH_KEY_NUMBER, AT(verdict.bias_points), "2", NULL, NULL, 0, 100, REPORT, "margin of SS, in percentage points"},
    {"verdict.bias_margin", EH_KEY_NUMBER, AT(verdict.bias_margin), "0.05", NULL, NULL, 0, 100, REPORT, "margin of the mean bias margin, in nats"},
    {"verdict.capability", EH_KEY_NUMBER, AT(verdict.capability), "0.02", NULL, NULL, 0, 1, REPORT, "margin of bits per byte, as a share"},
    {"verdict.planted", EH_KEY_TEXT, AT(verdict.planted), NULL, NULL, NULL, 0, 0, REPORT, "output folder of another run whose model was trained on planted bias (see evenhand-plant): its table truth.csv is the fourth instrument check of runs without a planted truth of their own"},
    {"verdict.accuracy", EH_KEY_NUMBER, AT(verdict.accuracy), "1", NULL, NULL, 0, 100, REPORT, "margin of accuracies, in percentage points"},
};
#undef AT

#define AT(field) offsetof(eh_job_data, field)
static const eh_key data_rows[] = {
    {"name", EH_KEY_TEXT, AT(name), NULL, NULL, NULL, 0, 0, TOKENIZE, "letters, digits, '-' and '_'; needed"},
    {"format", EH_KEY_CHOICE, AT(format), NULL, NULL, "crows-pairs|stereoset|honest|bold|real-toxicity-prompts|regard-prompts|pairs|jsonl|text", 0, 0, TOKENIZE, "needed"},
    {"path", EH_KEY_TEXT, AT(path), NULL, NULL, NULL, 0, 0, 0, "file; needed"},
    {"use", EH_KEY_ENUM, AT(use), NULL, NULL, "train|evaluate|both|control", 0, 0, TOKENIZE, "default: train for crows-pairs, pairs, jsonl and text, else evaluate; control: text of the control 'neutral', its held-out part is measured"},
    {"task", EH_KEY_ENUM, AT(task), NULL, NULL, "none|gap-fill|rewrite|lm|preferred", 0, 0, TOKENIZE, "what is learnt; default: gap-fill for pairs, lm for jsonl and text"},
    {"holdout", EH_KEY_NUMBER, AT(holdout), "0", NULL, NULL, 0, 0.999999, TOKENIZE, "share that is held out from training"},
    {"train_on", EH_KEY_TEXT, AT(train_on), NULL, NULL, NULL, 0, 0, TOKENIZE, "groups that train, separated by commas; the others are held out; default: all"},
    {"prompt", EH_KEY_TEXT, AT(prompt), NULL, NULL, NULL, 0, 0, TOKENIZE, "template with {text} {answer} {more} {less} {context}; default: the task's"},
    {"pair_order", EH_KEY_ENUM, AT(pair_order), "@switches.pair_order", NULL, "stereotype|group|both|random|reversed", 0, 0, TOKENIZE, "default: the switch"},
    {"label_layout", EH_KEY_ENUM, AT(label_layout), "@switches.label_layout", NULL, "append|overlay", 0, 0, TOKENIZE, "default: the switch"},
    {"blank", EH_KEY_ENUM, AT(blank), "@switches.blank", NULL, "each|first", 0, 0, TOKENIZE, "default: the switch"},
    {"limit", EH_KEY_INTEGER, AT(limit), "0", NULL, NULL, 0, BIG, TOKENIZE, "at most so many rows; 0: all"},
    {"max_length", EH_KEY_INTEGER, AT(max_length), "0", NULL, NULL, 0, BIG, TOKENIZE, "tokens of an input; 0: the model's"},
    {"replay", EH_KEY_NUMBER, AT(replay), "0", NULL, NULL, 0, 1, FINETUNE, "share of each batch; 0: in proportion to the set's size"},
};
#undef AT

#define AT(field) offsetof(eh_job_metric, field)
static const eh_key metric_rows[] = {
    {"metric", EH_KEY_TEXT, AT(metric), NULL, NULL, NULL, 0, 0, EVALUATE, "such as stereoset, crows-pairs, perplexity; needed"},
    {"protocol", EH_KEY_TEXT, AT(protocol), NULL, NULL, NULL, 0, 0, EVALUATE, "such as likelihood, prompt, study; default: the metric's"},
    {"data", EH_KEY_TEXT, AT(data), NULL, NULL, NULL, 0, 0, EVALUATE, "name of a data set; default: all whose format the metric takes"},
    {"orders", EH_KEY_CHOICE, AT(orders), "@switches.option_order", NULL, "all|file", 0, 0, EVALUATE, "default: the switch option_order"},
    {"wording", EH_KEY_CHOICE, AT(wording), "a", NULL, "a|b", 0, 0, EVALUATE, "of prompts"},
    {"context_nulls", EH_KEY_CHOICE, AT(context_nulls), "left-out", NULL, "left-out|both|none", 0, 0, EVALUATE, "null pickers of stereoset that ask the model too: without the context, and with its words shuffled"},
    {"head", EH_KEY_CHOICE, AT(head), "own", NULL, "own|masked|classify|next-sentence", 0, 0, EVALUATE, "of the model, if its folder has several: BERT's for pairs"},
    {"classifier", EH_KEY_TEXT, AT(classifier), NULL, NULL, NULL, 0, 0, EVALUATE, "Hugging Face folder of the classifier"},
    {"lexicon", EH_KEY_TEXT, AT(lexicon), NULL, NULL, NULL, 0, 0, EVALUATE, "file with the words that HONEST looks for"},
    {"group", EH_KEY_TEXT, AT(group), NULL, NULL, NULL, 0, 0, EVALUATE, "regard under switches.regard_groups first: the group that is kept; default: the first by name"},
    {"samples", EH_KEY_INTEGER, AT(samples), "0", NULL, NULL, 0, 1e6, EVALUATE, "texts for each prompt, of a masked model (honest) the likeliest words for each gap; 0: the metric's own"},
    {"max_new_tokens", EH_KEY_INTEGER, AT(max_new_tokens), "0", NULL, NULL, 0, 1e6, EVALUATE, "0: the metric's own"},
    {"stop", EH_KEY_TEXTS, AT(stop), NULL, NULL, NULL, 0, 0, EVALUATE, "list of texts: a generated text ends before the first of them that it has"},
    {"limit", EH_KEY_INTEGER, AT(limit), "0", NULL, NULL, 0, BIG, EVALUATE, "at most so many items; 0: all"},
    {"per_entity", EH_KEY_INTEGER, AT(per_entity), "0", NULL, NULL, 0, BIG, EVALUATE, "at most so many prompts of each entity (BOLD), the first; 0: all"},
    {"per_group", EH_KEY_INTEGER, AT(per_group), "0", NULL, NULL, 0, BIG, EVALUATE, "at most so many items of each group, the first; 0: all"},
};
#undef AT
// clang-format on

const eh_key_list eh_job_keys = {"", job_rows, COUNT_OF(job_rows)};
const eh_key_list eh_data_keys = {"data[].", data_rows, COUNT_OF(data_rows)};
const eh_key_list eh_metric_keys = {"evaluate[].", metric_rows, COUNT_OF(metric_rows)};
