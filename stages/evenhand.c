// evenhand: the front end. Launches the stages in order and answers questions about machines, jobs and files.
#include <stdio.h>
#include <string.h>

#include "core/string.h"
#include "core/version.h"
#include "front/front.h"

static const eh_front_command commands[] = {
    {"run", "JOB", "tokenize, evaluate, fine-tune, evaluate again, report; skips what is up to date", eh_front_run},
    {"submit", "JOB", "the same through Slurm: a job for each step, arrays for a sweep", eh_front_submit},
    {"status", "JOB", "where a job stands", eh_front_status},
    {"plan", "JOB", "what a training needs in memory and time, before it runs", eh_front_plan},
    {"inspect", "FILE", "show an HDF5 file: shards, scores, checkpoints", eh_front_inspect},
    {"conform", "DIR", "check this build against expected values", eh_front_conform},
    {"doctor", "", "what this machine has, and what is missing", eh_front_doctor},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_help(void)
{
    printf("usage: evenhand COMMAND ... [options]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s %s", commands[i].name, commands[i].arguments);
        printf("  %-24s %s\n", name, commands[i].help);
    }
    printf("\nOptions (and the commands that take them):\n");
    eh_front_print_options();
    printf(
        "  --help, --version\n  --help-job               the keys of a job file\n\n"
        "Exit status: 0 done, 2 the input is wrong, 3 the machine fails, 75 stopped after a checkpoint was saved.\n");
}

static int print_job_help(void)
{
    eh_string text = {0};
    const eh_status status = eh_job_help(&text);
    if (status == EH_OK)
        fputs(text.bytes, stdout);
    eh_string_deinit(&text);
    return eh_exit_code(status);
}

static int run_command(const eh_front_command *command, int argc, char **argv)
{
    const eh_log log = eh_log_to_stderr("evenhand", true);
    eh_front_options options;
    int exit_code = 0;
    eh_status status = eh_front_read_options(argc, argv, &options);
    if (status == EH_OK)
        status = command->run(&options, &log, &exit_code);
    eh_front_options_deinit(&options);
    if (status == EH_OK)
        return exit_code;
    fprintf(stderr, "evenhand: %s\n", eh_error_message());
    return eh_exit_code(status);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            return 0;
        }
        if (strcmp(argv[i], "--help-job") == 0)
            return print_job_help();
        if (strcmp(argv[i], "--version") == 0) {
            printf("evenhand %s (%s), %s\n", eh_version(), eh_git_revision(), eh_build_options());
            return 0;
        }
    }
    if (argc < 2) {
        print_help();
        return 2;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return run_command(&commands[i], argc - 1, argv + 1);
    fprintf(stderr, "evenhand: unknown command '%s' (see evenhand --help)\n", argv[1]);
    return 2;
}
