#include "metrics/list.h"

#include <string.h>

#include "core/string.h"
#include "metrics/metric.h"

#define DECLARE(metric) extern const eh_metric metric;
EH_METRIC_LIST(DECLARE)
#undef DECLARE

static const eh_metric *const all[] = {
#define ENTRY(metric) &metric,
    EH_METRIC_LIST(ENTRY)
#undef ENTRY
        NULL};

const eh_metric *const *eh_metrics(void)
{
    return all;
}

eh_status eh_metric_find(const char *metric, const char *protocol, const eh_metric **found)
{
    for (const eh_metric *const *m = all; *m != NULL; m++)
        if (strcmp((*m)->metric, metric) == 0 && (protocol == NULL || strcmp((*m)->protocol, protocol) == 0)) {
            *found = *m;
            return EH_OK;
        }
    eh_string names = {0};
    for (const eh_metric *const *m = all; *m != NULL; m++)
        EH_TRY(eh_string_printf(&names, "%s%s/%s", m == all ? "" : ", ", (*m)->metric, (*m)->protocol));
    const eh_status status = eh_error(EH_INPUT, "there is no metric '%s%s%s'; there are: %s", metric,
                                      protocol == NULL ? "" : "/", protocol == NULL ? "" : protocol, names.bytes);
    eh_string_deinit(&names);
    return status;
}

int eh_metric_answers(const eh_metric *metric, eh_model_kind kind)
{
    return metric->answers & ~(kind == EH_ENCODER ? EH_GENERATIONS : EH_FILLS);
}

const eh_metric *eh_metric_of_table(const char *table_name)
{
    const size_t length = strcspn(table_name, "@");
    for (const eh_metric *const *m = all; *m != NULL; m++)
        if (strlen((*m)->name) == length && memcmp((*m)->name, table_name, length) == 0)
            return *m;
    return NULL;
}

eh_status eh_metric_sample(const eh_score_table *table, eh_sample *sample)
{
    const eh_metric *metric = eh_metric_of_table(table->name);
    if (metric == NULL)
        return eh_error(EH_INPUT, "score table '%s' is of no metric that this version knows", table->name);
    if (table->refusal != NULL)
        return eh_error(EH_INPUT, "'%s' was not measured: %s", table->name, table->refusal);
    *sample = (eh_sample){.metric = metric};
    const eh_status status = metric->prepare(table, sample);
    if (status != EH_OK)
        eh_sample_deinit(sample);
    return status;
}

bool eh_metric_takes(const eh_metric *metric, const char *format)
{
    const size_t length = strlen(format);
    for (const char *word = metric->formats; *word != '\0'; word += strspn(word, " ")) {
        const size_t size = strcspn(word, " ");
        if (size == length && memcmp(word, format, size) == 0)
            return true;
        word += size;
    }
    return false;
}

bool eh_metric_wants(const eh_metric *metric, const eh_job_metric *settings, const eh_job_data *data)
{
    const bool seen = !eh_data_is_measured(data) && (metric->unseen_only || data->use == EH_USE_CONTROL);
    if (settings->data != NULL)
        return strcmp(settings->data, data->name) == 0;
    return eh_metric_takes(metric, data->format) && !seen;
}
