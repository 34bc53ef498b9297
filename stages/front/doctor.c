// evenhand doctor: what this machine has of what evenhand can use, and what is missing.
#include <hdf5.h>
#include <mpi-ext.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backend/backend.h"
#include "core/memory.h"
#include "core/version.h"
#include "front.h"

typedef struct {
    int missing; // things without which nothing works
} findings;

static void say(const char *what, const char *found)
{
    printf("%-12s %s\n", what, found);
}

// The value of the first line of /proc/cpuinfo or meminfo that begins with `name`.
static bool proc_value(const char *path, const char *name, char *value, size_t size)
{
    char line[8192];
    FILE *file = fopen(path, "rb");
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL || strncmp(line, name, strlen(name)) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(value, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        found = true;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static void examine_processor(void)
{
    static const char *const sets[] = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "sve"};
    char model[256] = "unknown", flags[8192] = "", memory[64] = "?", text[1024];
    proc_value("/proc/cpuinfo", "model name", model, sizeof model);
    proc_value("/proc/cpuinfo", "flags", flags, sizeof flags);
    proc_value("/proc/meminfo", "MemAvailable", memory, sizeof memory);
    int used = snprintf(text, sizeof text, "%s, %lld cores for this process, %.1f GiB free;", model,
                        (long long)eh_front_core_count(), strtod(memory, NULL) / 1048576);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char word[32];
        snprintf(word, sizeof word, " %s ", sets[i]);
        if (strstr(flags, word) != NULL && used < (int)sizeof text)
            used += snprintf(text + used, sizeof text - (size_t)used, " %s", sets[i]);
    }
    say("processor", text);
}

static eh_status examine_mpi(findings *examination)
{
    char library[MPI_MAX_LIBRARY_VERSION_STRING], text[512], *mpirun = NULL;
    int size = 0;
    MPI_Get_library_version(library, &size);
    snprintf(text, sizeof text, "%.*s", (int)strcspn(library, ",\n"), library);
    say("MPI", text);
    say("", MPIX_Query_cuda_support() ? "CUDA-aware: GPU buffers go straight to MPI"
                                      : "not CUDA-aware: GPU buffers are staged through host memory");
    EH_TRY(eh_front_find_program("mpirun", &mpirun));
    snprintf(text, sizeof text, "launcher %s", mpirun);
    if (mpirun != NULL) {
        say("", text);
    } else {
        say("", "MISSING: mpirun is not in PATH (Debian: apt-get install openmpi-bin)");
        examination->missing++;
    }
    eh_free(&mpirun);
    return EH_OK;
}

static void examine_hdf5(void)
{
    unsigned major = 0, minor = 0, release = 0;
    char text[128];
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "%u.%u.%u, parallel (MPI-IO): %s", major, minor, release,
             H5_HAVE_PARALLEL ? "yes" : "no");
    say("HDF5", text);
}

static void examine_device(const char *name, bool needed, findings *examination)
{
    eh_backend *backend = NULL;
    char text[600], label[32];
    snprintf(label, sizeof label, "device %s", name);
    if (eh_backend_open(name, 0, 0, &backend) == EH_OK) {
        snprintf(text, sizeof text, "%s; precision auto: %s", eh_backend_description(backend),
                 eh_dtype_name(eh_backend_precision(backend, "auto")));
        eh_backend_close(&backend);
    } else {
        snprintf(text, sizeof text, "%s%s", needed ? "MISSING: " : "no: ", eh_error_message());
        if (needed)
            examination->missing++;
    }
    say(label, text);
}

// The first line that a command prints, if its program is in PATH.
static eh_status examine_program(const char *what, const char *program, const char *arguments, const char *without)
{
    char *path = NULL, command[4400], line[256] = "";
    EH_TRY(eh_front_find_program(program, &path));
    if (path == NULL) {
        say(what, without);
        return EH_OK;
    }
    snprintf(command, sizeof command, "'%s' %s 2>/dev/null", path, arguments);
    FILE *answer = popen(command, "r");
    if (answer == NULL || fgets(line, sizeof line, answer) == NULL)
        snprintf(line, sizeof line, "%s does not answer", program);
    if (answer != NULL)
        pclose(answer);
    line[strcspn(line, "\n")] = '\0';
    say(what, line);
    eh_free(&path);
    return EH_OK;
}

static void examine_disk(void)
{
    struct statvfs disk;
    char text[128];
    if (statvfs(".", &disk) != 0)
        return;
    snprintf(text, sizeof text, "%.1f GiB free in the current folder%s",
             (double)disk.f_bavail * (double)disk.f_frsize / 1073741824,
             access(".", W_OK) == 0 ? "" : ", not writable");
    say("disk", text);
}

static eh_status examine_programs(findings *examination)
{
    static const char *const stages[] = {"tokenize", "finetune", "evaluate", "report"};
    char *folder = NULL, path[4200];
    EH_TRY(eh_front_program_folder(&folder));
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        snprintf(path, sizeof path, "%s/evenhand-%s", folder, stages[i]);
        if (access(path, X_OK) == 0)
            continue;
        char text[4300];
        snprintf(text, sizeof text, "MISSING: %s: build it (cmake --build --preset release)", path);
        say("programs", text);
        examination->missing++;
    }
    eh_free(&folder);
    return EH_OK;
}

eh_status eh_front_doctor(const eh_front_options *options, const eh_log *log, int *exit_code)
{
    (void)log;
    findings examination = {0};
    if (options->word_count > 0)
        return eh_error(EH_INPUT, "'evenhand doctor' takes no '%s'", options->words[0]);
    char text[300];
    snprintf(text, sizeof text, "%s (%s), %s", eh_version(), eh_git_revision(), eh_build_options());
    say("evenhand", text);
    EH_TRY(examine_programs(&examination));
    examine_processor();
    examine_disk();
    EH_TRY(examine_mpi(&examination));
    examine_hdf5();
    examine_device("cpu", true, &examination);
    EH_TRY(examine_program("GPU", "nvidia-smi", "-L", "none: nvidia-smi is not in PATH"));
    examine_device("cuda", false, &examination);
    EH_TRY(
        examine_program("Slurm", "sbatch", "--version", "none: 'evenhand submit' needs it, 'evenhand run' does not"));
    EH_TRY(examine_program("gnuplot", "gnuplot", "--version",
                           "none: reports have no plots (Debian: apt-get install gnuplot-nox)"));
    printf("%s\n", examination.missing == 0 ? "nothing is missing" : "see MISSING above");
    *exit_code = examination.missing == 0 ? 0 : 3;
    return EH_OK;
}
