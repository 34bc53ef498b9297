// How the run was made, and what the data sets ask to be said.
#include <math.h>
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

static bool trains_on_crows_pairs(const eh_report_run *runs, int64_t run_count)
{
    for (int64_t r = 0; r < run_count; r++)
        for (int64_t d = 0; d < runs[r].job->data_count; d++)
            if (strcmp(runs[r].job->data[d].format, "crows-pairs") == 0 && eh_data_is_learnt(&runs[r].job->data[d]))
                return true;
    return false;
}

// Whether an earlier run, or an earlier entry of this one, has the same file.
static bool was_named(const eh_report_run *runs, int64_t run, int64_t data)
{
    const char *path = runs[run].job->data[data].path;
    for (int64_t r = 0; r <= run; r++)
        for (int64_t d = 0; d < (r == run ? data : runs[r].job->data_count); d++)
            if (strcmp(runs[r].job->data[d].path, path) == 0)
                return true;
    return false;
}

static eh_status print_data_set(const eh_job_data *data, eh_string *html)
{
    EH_TRY(eh_string_append_text(html, "<li><code>"));
    EH_TRY(eh_html_text(data->path, html));
    EH_TRY(eh_string_append_text(html, "</code>"));
    for (size_t i = 0; i < sizeof data_sets / sizeof *data_sets; i++)
        if (strcmp(data->format, data_sets[i].format) == 0)
            return eh_string_printf(html, " in the format of %s (that data set: %s). %s</li>\n", data_sets[i].title,
                                    data_sets[i].licence, data_sets[i].warning);
    return eh_string_printf(html, " (format %s): your own data, under your own terms.</li>\n", data->format);
}

static eh_status print_warnings(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    if (trains_on_crows_pairs(runs, run_count))
        EH_TRY(eh_string_append_text(
            html, "<p class=\"warning\" role=\"note\"><b>Warning.</b> This run trains on data in CrowS-Pairs' "
                  "format. The data statement of CrowS-Pairs says that it \"should not be used to train any "
                  "machine learning models\": a model trained on it can't be judged on it, and this run "
                  "does so only to ask what such training does. Do not deploy the trained model.</p>\n"));
    EH_TRY(eh_string_append_text(html, "<ul class=\"note\">\n"));
    for (int64_t r = 0; r < run_count; r++)
        for (int64_t d = 0; d < runs[r].job->data_count; d++)
            if (!was_named(runs, r, d))
                EH_TRY(print_data_set(&runs[r].job->data[d], html));
    return eh_string_append_text(html, "</ul>\n");
}

static eh_status print_cell(const char *label, const char *text, const char *class, eh_string *html)
{
    EH_TRY(eh_string_printf(html, "<td role=\"cell\" data-label=\"%s\" class=\"%s\">", label, class));
    EH_TRY(eh_html_text(text, html));
    return eh_string_append_text(html, "</td>");
}

static eh_status print_phase(const eh_phase *phase, eh_string *html)
{
    eh_string tables = {0};
    char parameters[32] = "";
    eh_status status = EH_OK;
    if (isfinite(phase->parameters))
        snprintf(parameters, sizeof parameters, "%.0f", phase->parameters);
    EH_TRY_OR(done, eh_string_append_text(&tables, ""));
    for (int64_t t = 0; t < phase->table_count; t++)
        EH_TRY_OR(done, eh_string_printf(&tables, "%s%s (%lld rows)", t > 0 ? ", " : "", phase->tables[t].name,
                                         (long long)phase->tables[t].row_count));
    EH_TRY_OR(done, eh_string_append_text(html, "<tr role=\"row\">"));
    EH_TRY_OR(done, print_cell("phase", phase->name, "", html));
    EH_TRY_OR(done, print_cell("model", phase->model_path, "", html));
    EH_TRY_OR(done, print_cell("parameters", parameters, "num", html));
    EH_TRY_OR(done, print_cell("SHA-256 of the model", phase->model_sha256, "mono wide", html));
    EH_TRY_OR(done, print_cell("seed", phase->seed, "", html));
    EH_TRY_OR(done, print_cell("evenhand", phase->version, "", html));
    EH_TRY_OR(done, print_cell("score tables", tables.bytes, "wide", html));
    EH_TRY_OR(done, eh_string_append_text(html, "</tr>\n"));
done:
    eh_string_deinit(&tables);
    return status;
}

static eh_status print_phases(const eh_results *results, eh_string *html)
{
    static const char *const headings[] = {"phase", "model",    "parameters",  "SHA-256 of the model",
                                           "seed",  "evenhand", "score tables"};
    EH_TRY(eh_string_append_text(
        html, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Phases\"><table role=\"table\" "
              "class=\"stack\"><thead role=\"rowgroup\"><tr role=\"row\">"));
    for (size_t i = 0; i < sizeof headings / sizeof *headings; i++)
        EH_TRY(eh_string_printf(html, "<th role=\"columnheader\" scope=\"col\">%s</th>", headings[i]));
    EH_TRY(eh_string_append_text(html, "</tr></thead><tbody role=\"rowgroup\">\n"));
    for (int64_t p = 0; p < results->phase_count; p++) EH_TRY(print_phase(&results->phases[p], html));
    return eh_string_append_text(html, "</tbody></table></div>\n");
}

static eh_status print_run(const eh_report_run *run, eh_string *html)
{
    const eh_job *job = run->job;
    char text[128], when[64] = "";
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) != NULL)
        strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &utc);
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

// What concerns all runs once, then each run; of several, folded.
eh_status eh_page_provenance(const eh_report_run *runs, int64_t run_count, eh_string *html)
{
    EH_TRY(print_warnings(runs, run_count, html));
    for (int64_t r = 0; r < run_count; r++) {
        if (run_count > 1) {
            EH_TRY(eh_string_append_text(html, "<details><summary>"));
            EH_TRY(eh_html_text(runs[r].results->name, html));
            EH_TRY(eh_string_append_text(html, "</summary>\n"));
        }
        EH_TRY(print_run(&runs[r], html));
        EH_TRY(eh_string_append_text(html, run_count > 1 ? "</details>\n" : ""));
    }
    return EH_OK;
}
