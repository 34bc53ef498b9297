// How the run was made, and what the data sets ask to be said.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/version.h"
#include "report/html.h"
#include "report/page.h"

static const struct {
    const char *format, *title, *licence, *warning;
} data_sets[] = {
    {"crows-pairs", "CrowS-Pairs (Nangia et al. 2020)", "CC BY-SA 4.0",
     "It contains stereotypes about real groups of people, written by crowd workers; its quality has known problems "
     "(Blodgett "
     "et al. 2021)."},
    {"stereoset", "StereoSet (Nadeem et al. 2021)", "CC BY-SA 4.0",
     "It contains stereotypes about real groups of people; its quality has known problems (Blodgett et al. 2021)."},
    {"honest", "HONEST templates (Nozza et al. 2021)", "MIT",
     "With HurtLex (CC BY-NC-SA 4.0), which is never shipped."},
    {"bold", "BOLD (Dhamala et al. 2021)", "CC BY-SA 4.0", ""},
    {"real-toxicity-prompts", "RealToxicityPrompts (Gehman et al. 2020)", "Apache-2.0", "It contains offensive text."},
    {"regard-prompts", "Regard prompts (Sheng et al. 2019)", "no licence file", "It contains offensive text."},
};

static eh_status fact(const char *name, const char *value, eh_string *html)
{
    if (value == NULL || value[0] == '\0')
        return EH_OK;
    EH_TRY(eh_string_append_text(html, "<dt>"));
    EH_TRY(eh_html_text(name, html));
    EH_TRY(eh_string_append_text(html, "</dt><dd>"));
    EH_TRY(eh_html_text(value, html));
    return eh_string_append_text(html, "</dd>\n");
}

static eh_status print_warnings(const eh_job *job, eh_string *html)
{
    for (int64_t d = 0; d < job->data_count; d++)
        if (strcmp(job->data[d].format, "crows-pairs") == 0 && eh_data_is_learnt(&job->data[d])) {
            EH_TRY(eh_string_append_text(
                html, "<p class=\"warning\" role=\"note\"><b>Warning.</b> This run trains on data in CrowS-Pairs' "
                      "format. The data statement of CrowS-Pairs says that it \"should not be used to train any "
                      "machine learning models\": a model trained on it can't be judged on it, and this run "
                      "does so only to ask what such training does. Do not deploy the trained model.</p>\n"));
            break;
        }
    EH_TRY(eh_string_append_text(html, "<ul class=\"note\">\n"));
    for (size_t i = 0; i < sizeof data_sets / sizeof *data_sets; i++)
        for (int64_t d = 0; d < job->data_count; d++) {
            if (strcmp(job->data[d].format, data_sets[i].format) != 0)
                continue;
            EH_TRY(eh_string_append_text(html, "<li><code>"));
            EH_TRY(eh_html_text(job->data[d].path, html));
            EH_TRY(eh_string_printf(html, "</code> in the format of %s (that data set: %s). %s</li>\n",
                                    data_sets[i].title, data_sets[i].licence, data_sets[i].warning));
        }
    return eh_string_append_text(html, "</ul>\n");
}

static eh_status print_phases(const eh_results *results, eh_string *html)
{
    EH_TRY(eh_string_append_text(
        html, "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>phase</th><th>model</th><th>SHA-256 "
              "of the model</th><th>seed</th><th>evenhand</th><th>score tables</th></tr></thead><tbody>\n"));
    for (int64_t p = 0; p < results->phase_count; p++) {
        const eh_phase *phase = &results->phases[p];
        const char *const texts[] = {phase->name, phase->model_path, phase->model_sha256, phase->seed, phase->version};
        EH_TRY(eh_string_append_text(html, "<tr>"));
        for (int i = 0; i < 5; i++) {
            EH_TRY(eh_string_append_text(html, i == 2 ? "<td class=\"mono\">" : "<td>"));
            EH_TRY(eh_html_text(texts[i], html));
            EH_TRY(eh_string_append_text(html, "</td>"));
        }
        EH_TRY(eh_string_append_text(html, "<td>"));
        for (int64_t t = 0; t < phase->table_count; t++) {
            char text[256];
            snprintf(text, sizeof text, "%s%s (%lld rows)", t > 0 ? ", " : "", phase->tables[t].name,
                     (long long)phase->tables[t].row_count);
            EH_TRY(eh_html_text(text, html));
        }
        EH_TRY(eh_string_append_text(html, "</td></tr>\n"));
    }
    return eh_string_append_text(html, "</tbody></table></div>\n");
}

eh_status eh_page_provenance(const eh_report_run *run, eh_string *html)
{
    const eh_job *job = run->job;
    char text[128], when[64] = "";
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) != NULL)
        strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &utc);
    EH_TRY(print_warnings(job, html));
    EH_TRY(eh_string_append_text(html, "<dl class=\"facts\">\n"));
    EH_TRY(fact("Job", job->name, html));
    EH_TRY(fact("Job file", job->path, html));
    EH_TRY(fact("Output", job->output, html));
    EH_TRY(fact("Preset", job->preset, html));
    snprintf(text, sizeof text, "%llu", (unsigned long long)job->seed);
    EH_TRY(fact("Seed", text, html));
    snprintf(text, sizeof text,
             "%lld replicates, two stages (clusters, then items), counter-based random numbers of the seed",
             (long long)job->report.replicates);
    EH_TRY(fact("Bootstrap", text, html));
    snprintf(text, sizeof text, "%s (%s)", eh_version(), eh_git_revision());
    EH_TRY(fact("evenhand", text, html));
    EH_TRY(fact("Build", eh_build_options(), html));
    EH_TRY(fact("Report made", when, html));
    EH_TRY(eh_string_append_text(html, "</dl>\n"));
    EH_TRY(print_phases(run->results, html));
    eh_string yaml = {0};
    eh_status status = eh_job_to_yaml(job, &yaml);
    if (status == EH_OK)
        status = eh_string_append_text(html, "<details><summary>The whole job, every default filled in</summary><pre>");
    if (status == EH_OK)
        status = eh_html_text(yaml.bytes, html);
    if (status == EH_OK)
        status = eh_string_append_text(html, "</pre></details>\n");
    eh_string_deinit(&yaml);
    return status;
}
