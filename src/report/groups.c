#include "report/groups.h"

#include <string.h>

#include "core/memory.h"

// Whether a line of a job's text begins a key that tells the runs of a group apart.
static bool tells_apart(const char *line, eh_difference difference)
{
    static const char *const keys[] = {"name:",  "output:", "seed:",         "model:", // for both, then for models
                                       "ranks:", "memory:", "batch_tokens:", "launcher:"};
    const size_t count = difference == EH_DIFFER_IN_MODEL ? sizeof keys / sizeof *keys : 3;
    for (size_t i = 0; i < count; i++)
        if (strncmp(line, keys[i], strlen(keys[i])) == 0)
            return true;
    return false;
}

// The job's text without those keys and what is indented below them.
static eh_status job_text(const eh_job *job, eh_difference difference, eh_string *text)
{
    eh_string yaml = {0};
    eh_status status = eh_job_to_yaml(job, &yaml);
    bool left_out = false;
    for (const char *line = yaml.bytes; status == EH_OK && line != NULL && *line != '\0';) {
        const size_t size = strcspn(line, "\n"), whole = size + (line[size] == '\n');
        if (*line != ' ' && *line != '-')
            left_out = tells_apart(line, difference);
        if (!left_out)
            status = eh_string_append(text, line, whole);
        line += whole;
    }
    eh_string_deinit(&yaml);
    return status;
}

eh_status eh_group_runs(const eh_report_run *runs, int64_t run_count, eh_difference difference, int64_t *group)
{
    eh_string *texts = NULL;
    eh_status status = EH_OK;
    EH_TRY(EH_ALLOC(run_count, &texts));
    for (int64_t r = 0; r < run_count && status == EH_OK; r++) {
        status = job_text(runs[r].job, difference, &texts[r]);
        group[r] = r;
        for (int64_t other = 0; other < r && status == EH_OK && group[r] == r; other++)
            if (texts[other].size == texts[r].size && memcmp(texts[other].bytes, texts[r].bytes, texts[r].size) == 0)
                group[r] = group[other];
    }
    for (int64_t r = 0; r < run_count; r++) eh_string_deinit(&texts[r]);
    eh_free(&texts);
    return status;
}
