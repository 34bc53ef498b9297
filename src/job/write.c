// The job as YAML with every key written out, and the list of keys for --help: both walk the schema.
#include <stdio.h>
#include <string.h>

#include "core/version.h"
#include "job/job.h"
#include "job/schema.h"

// Those that stand in an entry of `evaluate:`.
static bool is_control_key(const eh_key *key)
{
    return strncmp(key->path, "evaluate.", strlen("evaluate.")) == 0;
}

// The keys of one level. "train.lr" is written below "train:"; keys of one section stand together in the schema.
static eh_status print_keys(const eh_key_list *list, const void *base, const char *indent, eh_string *yaml)
{
    char section[64] = "";
    for (size_t i = 0; i < list->count; i++) {
        const eh_key *key = &list->keys[i];
        if (is_control_key(key))
            continue;
        const char *dot = strchr(key->path, '.'), *name = dot != NULL ? dot + 1 : key->path;
        const int size = dot != NULL ? (int)(dot - key->path) : 0;
        if (size > 0 && ((int)strlen(section) != size || strncmp(section, key->path, (size_t)size) != 0)) {
            snprintf(section, sizeof section, "%.*s", size, key->path);
            EH_TRY(eh_string_printf(yaml, "%s%s:\n", indent, section));
        }
        EH_TRY(eh_string_printf(yaml, "%s%s%s: ", indent, size > 0 ? "  " : "", name));
        EH_TRY(eh_key_print(key, base, yaml));
        EH_TRY(eh_string_append_text(yaml, "\n"));
    }
    return EH_OK;
}

static eh_status print_entry(const eh_key_list *list, const void *base, eh_string *yaml)
{
    for (size_t i = 0; i < list->count; i++) {
        EH_TRY(eh_string_printf(yaml, "%s%s: ", i == 0 ? "  - {" : ", ", list->keys[i].path));
        EH_TRY(eh_key_print(&list->keys[i], base, yaml));
    }
    return eh_string_append_text(yaml, "}\n");
}

static eh_status print_controls(const eh_job *job, eh_string *yaml)
{
    const char *separator = "  - {";
    for (size_t i = 0; i < eh_job_keys.count; i++) {
        const eh_key *key = &eh_job_keys.keys[i];
        if (!is_control_key(key))
            continue;
        EH_TRY(eh_string_printf(yaml, "%s%s: ", separator, strchr(key->path, '.') + 1));
        EH_TRY(eh_key_print(key, job, yaml));
        separator = ", ";
    }
    return eh_string_append_text(yaml, "}\n");
}

eh_status eh_job_to_yaml(const eh_job *job, eh_string *yaml)
{
    EH_TRY(print_keys(&eh_job_keys, job, "", yaml));
    EH_TRY(eh_string_append_text(yaml, job->data_count > 0 ? "data:\n" : "data: []\n"));
    for (int64_t i = 0; i < job->data_count; i++) EH_TRY(print_entry(&eh_data_keys, &job->data[i], yaml));
    EH_TRY(eh_string_append_text(yaml, "evaluate:\n"));
    EH_TRY(print_controls(job, yaml));
    for (int64_t i = 0; i < job->evaluate_count; i++) EH_TRY(print_entry(&eh_metric_keys, &job->evaluate[i], yaml));
    return EH_OK;
}

static eh_status help_for(const eh_key *key, eh_string *text)
{
    char kind[160] = "text";
    if (key->type == EH_KEY_CHOICE || key->type == EH_KEY_ENUM || key->type == EH_KEY_FLAGS)
        snprintf(kind, sizeof kind, "%s", key->choices);
    else if (key->type == EH_KEY_MAPPING || key->type == EH_KEY_TEXTS)
        snprintf(kind, sizeof kind, "%s", key->type == EH_KEY_MAPPING ? "mapping" : "list of texts");
    else if (key->type == EH_KEY_SEED)
        snprintf(kind, sizeof kind, "whole number");
    else if (key->type != EH_KEY_TEXT) {
        const char *number = key->type == EH_KEY_INTEGER ? "whole number" : "number";
        if (key->maximum >= 1e7)
            snprintf(kind, sizeof kind, "%s from %g", number, key->minimum);
        else
            snprintf(kind, sizeof kind, "%s, %g to %g", number, key->minimum, key->maximum);
    }
    EH_TRY(eh_string_printf(text, "  %-26s %s\n", key->path, key->help));
    EH_TRY(eh_string_printf(text, "  %-26s   (%s", "", kind));
    if (key->fallback != NULL && key->fallback[0] != '\0' && key->fallback[0] != '@')
        EH_TRY(eh_string_printf(text, "; default %s", key->fallback));
    if (key->study != NULL)
        EH_TRY(eh_string_printf(text, ", preset study %s", key->study));
    return eh_string_append_text(text, ")\n");
}

eh_status eh_job_help(eh_string *text)
{
    static const struct {
        const eh_key_list *list;
        const char *title;
    } parts[] = {{&eh_job_keys, "Keys of a job file (relative paths are relative to the current folder):"},
                 {&eh_data_keys, "Keys of each entry of data: (--set data.NAME.KEY=VALUE):"},
                 {&eh_metric_keys, "Keys of each entry of evaluate: (--set evaluate.METRIC.KEY=VALUE):"}};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        EH_TRY(eh_string_printf(text, "%s\n", parts[p].title));
        for (size_t i = 0; i < parts[p].list->count; i++) EH_TRY(help_for(&parts[p].list->keys[i], text));
        EH_TRY(eh_string_append_text(text, "\n"));
    }
    return eh_string_append_text(text, "sweep: maps keys to lists of values; 'evenhand run' makes one run of each "
                                       "combination. A list of such mappings: "
                                       "the runs of each in turn.\n");
}
