// The words behind `evenhand COMMAND`.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "front.h"

typedef enum { FLAG, TEXT, COUNT, LIST, SBATCH } option_kind;

typedef struct {
    const char *name, *value, *help;
    option_kind kind;
    size_t offset;
    const char *commands; // that take it
} front_option;

#define AT(field) offsetof(eh_front_options, field)
static const front_option options_table[] = {
    {"--set", "KEY=VALUE", "override a key of the job, such as train.lr=1e-4", LIST, AT(overrides),
     "run submit plan status"},
    {"-n", "N", "MPI ranks", COUNT, AT(ranks), "run submit plan"},
    {"--ranks", "N", "the same", COUNT, AT(ranks), "run submit plan"},
    {"--force", "", "go on in an output folder that belongs to another job", FLAG, AT(force), "run submit"},
    {"--profile", "", "time every operation of the device", FLAG, AT(profile), "run"},
    {"--dry-run", "", "say what would be started, start nothing", FLAG, AT(dry_run), "run submit"},
    {"--gpu", "NAME", "plan for t4, v100, a100, h100, h200 or this machine (measured)", TEXT, AT(gpu), "plan"},
    {"--device", "NAME", "auto, reference, cpu or cuda", TEXT, AT(device), "conform"},
    {"--only", "NAME", "models whose name holds this", TEXT, AT(only), "conform"},
    {"--stereoset", "DEV.json", "score published prediction files", TEXT, AT(stereoset), "conform"},
    {"--run", "NUMBER", "only this run of a sweep, from 0", TEXT, AT(only_run), "run"},
    {"--step", "NAMES", "only these steps, such as tokenize,evaluate-before", TEXT, AT(only_steps), "run"},
    {"--example", "N", "show the N-th example or row, from 1", COUNT, AT(example), "inspect"},
    {"--tokenizer", "FILE", "a tokenizer.json: tokens as text, too", TEXT, AT(tokenizer), "inspect"},
    {"--nodes", "N", "of the cluster", COUNT, AT(nodes), "submit plan"},
    {"--gpus-per-node", "G", "one rank each", COUNT, AT(gpus_per_node), "submit plan"},
    {"--partition", "NAME", "", SBATCH, 0, "submit"},
    {"--time", "LIMIT", "", SBATCH, 0, "submit"},
    {"--account", "NAME", "", SBATCH, 0, "submit"},
    {"--qos", "NAME", "", SBATCH, 0, "submit"},
    {"--constraint", "WORDS", "", SBATCH, 0, "submit"},
    {"--mem", "SIZE", "", SBATCH, 0, "submit"},
    {"--cpus-per-task", "N", "these are handed on to sbatch", SBATCH, 0, "submit"},
};
#undef AT
enum { OPTION_COUNT = sizeof options_table / sizeof *options_table };

static bool takes(const front_option *option, const char *command)
{
    const size_t size = strlen(command);
    for (const char *at = option->commands; (at = strstr(at, command)) != NULL; at += size)
        if ((at == option->commands || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0'))
            return true;
    return false;
}

static const front_option *find_option(const char *command, const char *word, size_t size)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (strlen(options_table[i].name) == size && memcmp(options_table[i].name, word, size) == 0 &&
            takes(&options_table[i], command))
            return &options_table[i];
    return NULL;
}

static eh_status read_count(const front_option *option, const char *text, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < 1 || number > 1000000)
        return eh_error(EH_INPUT, "%s needs a whole number from 1, found '%s'", option->name, text);
    *value = number;
    return EH_OK;
}

static eh_status set_option(const front_option *option, const char *value, eh_front_options *options)
{
    void *field = (char *)options + option->offset;
    switch (option->kind) {
    case FLAG:
        *(bool *)field = true;
        return EH_OK;
    case TEXT:
        *(const char **)field = value;
        return EH_OK;
    case COUNT:
        return read_count(option, value, field);
    case LIST:
        options->overrides[options->override_count++] = value;
        return EH_OK;
    case SBATCH:
        options->slurm[options->slurm_count++] = option->name;
        options->slurm[options->slurm_count++] = value;
        return EH_OK;
    }
    return EH_OK;
}

// argv[0] is the command's name. "--option VALUE" and "--option=VALUE" are the same.
eh_status eh_front_read_options(int argc, char **argv, eh_front_options *options)
{
    *options = (eh_front_options){.command = argv[0]};
    EH_TRY(EH_ALLOC(argc, &options->words));
    EH_TRY(EH_ALLOC(argc, &options->overrides));
    EH_TRY(EH_ALLOC(2 * argc, &options->slurm));
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || word[1] == '\0') {
            options->words[options->word_count++] = word;
            continue;
        }
        const size_t size = strcspn(word, "=");
        const front_option *option = find_option(argv[0], word, size);
        if (option == NULL)
            return eh_error(EH_INPUT, "'evenhand %s' has no option %s (see evenhand --help)", argv[0], word);
        const char *value = word[size] == '=' ? word + size + 1 : NULL;
        if (option->kind == FLAG && value != NULL)
            return eh_error(EH_INPUT, "%s takes no value", option->name);
        if (option->kind != FLAG && value == NULL) {
            if (i + 1 == argc)
                return eh_error(EH_INPUT, "%s needs a value: %s %s", option->name, option->name, option->value);
            value = argv[++i];
        }
        EH_TRY(set_option(option, value, options));
    }
    return EH_OK;
}

void eh_front_options_deinit(eh_front_options *options)
{
    eh_free(&options->words);
    eh_free(&options->overrides);
    eh_free(&options->slurm);
}

void eh_front_print_options(void)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char name[40];
        snprintf(name, sizeof name, "%s %s", options_table[i].name, options_table[i].value);
        printf("  %-24s %s%s(%s)\n", name, options_table[i].help, options_table[i].help[0] != '\0' ? " " : "",
               options_table[i].commands);
    }
}

eh_status eh_front_one_word(const eh_front_options *options, const char *what, const char **word)
{
    if (options->word_count == 1) {
        *word = options->words[0];
        return EH_OK;
    }
    if (options->word_count == 0)
        return eh_error(EH_INPUT, "'evenhand %s' needs %s", options->command, what);
    return eh_error(EH_INPUT, "'evenhand %s' takes one %s, but '%s' and '%s' were given", options->command, what,
                    options->words[0], options->words[1]);
}
