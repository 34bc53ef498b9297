// Starting stages: which ranks, which launcher, and what happens to them when the user presses Ctrl-C.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/memory.h"
#include "front.h"
#include "words.h"

// --- The machine ---------------------------------------------------------------------------------------------------

int64_t eh_front_core_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int64_t eh_front_gpu_count(void)
{
    int64_t count = 0;
    DIR *folder = opendir("/proc/driver/nvidia/gpus");
    if (folder == NULL)
        return 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            count++;
    closedir(folder);
    return count;
}

int64_t eh_front_rank_count(const eh_front_options *options, const eh_job *job)
{
    if (options->ranks > 0)
        return options->ranks;
    if (job->ranks > 0)
        return job->ranks;
    enum { MOST = 8 };
    const bool on_gpu = strcmp(job->device, "cuda") == 0 || strcmp(job->device, "auto") == 0;
    const int64_t gpus = on_gpu ? eh_front_gpu_count() : 0, count = gpus > 0 ? gpus : eh_front_core_count();
    return count < MOST ? count : MOST;
}

eh_status eh_front_program_folder(char **folder)
{
    char path[4096];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0)
        return eh_error(EH_MACHINE, "/proc/self/exe: %s: where are evenhand's programs?", strerror(errno));
    path[size] = '\0';
    *strrchr(path, '/') = '\0';
    return eh_copy_string(path, folder);
}

eh_status eh_front_find_program(const char *name, char **path)
{
    *path = NULL;
    const char *at = getenv("PATH");
    while (at != NULL && *at != '\0') {
        const size_t size = strcspn(at, ":");
        char candidate[4096];
        snprintf(candidate, sizeof candidate, "%.*s/%s", (int)size, at, name);
        if (access(candidate, X_OK) == 0)
            return eh_copy_string(candidate, path);
        at += size + (at[size] == ':');
    }
    return EH_OK;
}

// --- Waiting for a child, and stopping it --------------------------------------------------------------------------

static volatile sig_atomic_t interrupts, stops;

static void note_signal(int number)
{
    if (number == SIGINT)
        interrupts++;
    stops++;
}

static void watch_signals(struct sigaction *old, bool watch)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP};
    struct sigaction action = {.sa_handler = note_signal};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], watch ? &action : &old[i], watch ? &old[i] : NULL);
}

// Two ways to end a child that was asked in vain.
static void press(pid_t child, double asked_for, double grace, int *pressed)
{
    if (*pressed == 0) {
        kill(child, SIGUSR1);
        *pressed = 1;
    } else if (*pressed == 1 && (interrupts > 1 || asked_for > grace)) {
        kill(child, SIGTERM);
        *pressed = 2;
    } else if (*pressed == 2 && (interrupts > 2 || asked_for > grace + 10)) {
        kill(-child, SIGKILL);
        *pressed = 3;
    }
}

static int await(pid_t child, double grace)
{
    int state = 0, pressed = 0;
    double asked = 0;
    for (;;) {
        const pid_t ended = waitpid(child, &state, WNOHANG);
        if (ended == child)
            break;
        if (ended < 0 && errno != EINTR)
            return 3;
        if (stops > 0) {
            if (pressed == 0)
                asked = eh_seconds();
            press(child, eh_seconds() - asked, grace, &pressed);
        }
        const struct timespec pause = {0, 20000000};
        nanosleep(&pause, NULL);
    }
    const bool killed = WIFSIGNALED(state) || (WIFEXITED(state) && WEXITSTATUS(state) >= 128);
    if (killed)
        return interrupts > 0 ? 130 : stops > 0 ? 143 : 3;
    return WEXITSTATUS(state);
}

eh_status eh_front_execute(char *const *words, double grace_seconds, int *exit_code)
{
    EH_ASSERT(words != NULL && words[0] != NULL);
    struct sigaction old[4];
    fflush(NULL);
    watch_signals(old, true);
    const pid_t child = fork();
    if (child == 0) {
        watch_signals(old, false);
        setpgid(0, 0); // a terminal's Ctrl-C reaches this program alone, which then asks politely
        const int nothing = open("/dev/null", O_RDONLY);
        if (nothing >= 0)
            dup2(nothing, STDIN_FILENO);
        execv(words[0], words);
        fprintf(stderr, "evenhand: %s: %s\n", words[0], strerror(errno));
        _exit(3);
    }
    eh_status status = EH_OK;
    if (child < 0)
        status = eh_error(EH_MACHINE, "no new process could be started: %s", strerror(errno));
    else
        *exit_code = await(child, grace_seconds);
    watch_signals(old, false);
    return status;
}

// --- A stage through mpirun ----------------------------------------------------------------------------------------

// The job's own launcher: its words as they are, the first one found in PATH.
static eh_status add_own_launcher(eh_words *list, const char *launcher)
{
    for (const char *at = launcher + strspn(launcher, " "); *at != '\0';) {
        const size_t size = strcspn(at, " ");
        char word[1024], *path = NULL;
        snprintf(word, sizeof word, "%.*s", (int)size, at);
        if (list->count == 0 && strchr(word, '/') == NULL) {
            EH_TRY(eh_front_find_program(word, &path));
            if (path == NULL)
                return eh_error(EH_INPUT, "launcher: there is no program '%s' in PATH", word);
        }
        const eh_status status = eh_words_add(list, path != NULL ? path : word);
        eh_free(&path);
        EH_TRY(status);
        at += size;
        at += strspn(at, " ");
    }
    return EH_OK;
}

static eh_status add_mpirun(eh_words *list, int64_t ranks)
{
    char *path = NULL, number[24];
    EH_TRY(eh_front_find_program("mpirun", &path));
    if (path == NULL)
        return eh_error(EH_MACHINE, "mpirun is not in PATH: install Open MPI (Debian: apt-get install openmpi-bin)");
    const eh_status status = eh_words_add(list, path);
    eh_free(&path);
    EH_TRY(status);
    snprintf(number, sizeof number, "%lld", (long long)ranks);
    // Ranks are not bound: in containers that often fails, and a rank's threads need more than the one core of mpirun's
    // default.
    EH_TRY(eh_words_add_all(list, (const char *[]){"-q", "-n", number, "--bind-to", "none", NULL}));
    if (geteuid() == 0)
        EH_TRY(eh_words_add(list, "--allow-run-as-root"));
    if (getenv("SLURM_JOB_ID") == NULL && ranks > 1)
        EH_TRY(eh_words_add(list, "--oversubscribe"));
    return EH_OK;
}

static eh_status add_stage(eh_words *list, eh_step step, const eh_front_launch *launch)
{
    char *folder = NULL, program[4200];
    EH_TRY(eh_front_program_folder(&folder));
    snprintf(program, sizeof program, "%s/evenhand-%s", folder, eh_steps[step].stage);
    eh_free(&folder);
    if (access(program, X_OK) != 0)
        return eh_error(EH_MACHINE, "%s: %s: was the build complete?", program, strerror(errno));
    EH_TRY(eh_words_add(list, program));
    EH_TRY(eh_words_add(list, launch->job_path));
    if (eh_steps[step].phase[0] != '\0')
        EH_TRY(eh_words_add_all(list, (const char *[]){"--phase", eh_steps[step].phase, NULL}));
    if (eh_steps[step].is_derived)
        EH_TRY(eh_words_add_all(list, (const char *[]){"--control", eh_control_name(eh_steps[step].control), NULL}));
    if (launch->force)
        EH_TRY(eh_words_add(list, "--force"));
    if (launch->profile)
        EH_TRY(eh_words_add(list, "--profile"));
    for (int64_t i = 0; i < launch->override_count; i++)
        EH_TRY(eh_words_add_all(list, (const char *[]){"--set", launch->overrides[i], NULL}));
    return EH_OK;
}

static eh_status build_command(const eh_job *job, eh_step step, const eh_front_launch *launch, eh_words *list)
{
    if (job->launcher != NULL && step != EH_STEP_REPORT)
        EH_TRY(add_own_launcher(list, job->launcher));
    else if (launch->ranks > 1)
        EH_TRY(add_mpirun(list, launch->ranks));
    return add_stage(list, step, launch);
}

eh_status eh_front_launch_step(const eh_job *job, eh_step step, const eh_front_launch *launch, int *exit_code)
{
    enum { GRACE_SECONDS = 10, GRACE_SECONDS_OF_CHECKPOINT = 300 };
    eh_words list = {0};
    eh_status status = build_command(job, step, launch, &list);
    if (status == EH_OK) {
        char threads[24];
        const bool own = getenv("OMP_NUM_THREADS") != NULL;
        const int64_t each = eh_front_core_count() / launch->ranks;
        snprintf(threads, sizeof threads, "%lld", (long long)(each > 1 ? each : 1));
        setenv("OMP_NUM_THREADS", threads, 0);   // the user's own wins
        setenv("OMP_WAIT_POLICY", "passive", 0); // a thread that spins takes the core of one that works
        const double grace =
            strcmp(eh_steps[step].stage, "finetune") == 0 ? GRACE_SECONDS_OF_CHECKPOINT : GRACE_SECONDS;
        status = eh_front_execute(list.words, grace, exit_code);
        if (!own)
            unsetenv("OMP_NUM_THREADS"); // the next step may have other ranks, and its own share of the cores
    }
    eh_words_free(&list);
    return status;
}
