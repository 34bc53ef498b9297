// The file: a digest of all that its numbers depend on, then the arrays one after the other as they lie in memory. It
// is of this machine and build, and worth no more than the time to make it again: whatever does not fit is ignored.
#include "report/kept.h"

#include <string.h>

#include "core/memory.h"
#include "core/sha256.h"
#include "core/string.h"
#include "core/version.h"
#include "io/atomic.h"
#include "io/lines.h"
#include "report/comparison.h"

static eh_status add_phases(const eh_phase *phases, int64_t count, eh_string *facts)
{
    char digest[EH_SHA256_TEXT];
    for (int64_t p = 0; p < count; p++) {
        EH_TRY(eh_sha256_file(phases[p].path, digest));
        EH_TRY(eh_string_printf(facts, "%s %s\n", phases[p].name, digest));
    }
    return EH_OK;
}

static eh_status find_key(const eh_bootstrap_settings *settings, const eh_results *results, char key[EH_SHA256_TEXT])
{
    eh_string facts = {0};
    eh_status status = eh_string_printf(&facts, "results %d, %s, %s, %lld replicates, seed %llu\n", EH_RESULTS_VERSION,
                                        eh_git_revision(), eh_build_options(), (long long)settings->replicates,
                                        (unsigned long long)settings->seed);
    if (status == EH_OK)
        status = add_phases(results->phases, results->phase_count, &facts);
    if (status == EH_OK)
        status = add_phases(results->draws, results->draw_count, &facts);
    if (status == EH_OK)
        eh_sha256_text(facts.bytes, facts.size, key);
    eh_string_deinit(&facts);
    return status;
}

static eh_status find_path(const eh_results *results, char **path)
{
    eh_string text = {0};
    EH_TRY(eh_string_printf(&text, "%s/report.kept", results->folder));
    *path = text.bytes;
    return EH_OK;
}

// --- One walk over the arrays, to write or to read them ---

typedef struct {
    eh_string *text; // to write to; NULL: read
    const char *at;  // to read from
    size_t left;
    bool fits;
} walk;

static eh_status pass(walk *w, void *bytes, size_t size)
{
    if (w->text != NULL)
        return eh_string_append(w->text, bytes, size);
    w->fits = w->fits && size <= w->left;
    if (!w->fits)
        return EH_OK;
    memcpy(bytes, w->at, size);
    w->at += size;
    w->left -= size;
    return EH_OK;
}

// An array of `count` elements of `size` bytes, made where it is read.
static eh_status pass_array(walk *w, int64_t count, size_t size, void **array)
{
    if (w->text == NULL && w->fits && *array == NULL)
        EH_TRY(eh_alloc(count, size, array));
    return pass(w, *array, (size_t)count * size);
}
#define PASS(w, count, array) pass_array((w), (count), sizeof **(array), (void **)(array))

static eh_status pass_trouble(walk *w, char **trouble)
{
    int64_t size = *trouble == NULL ? 0 : (int64_t)strlen(*trouble) + 1;
    EH_TRY(pass(w, &size, sizeof size));
    w->fits = w->fits && size >= 0 && (w->text != NULL || (size_t)size <= w->left);
    return size > 0 && w->fits ? PASS(w, size, trouble) : EH_OK;
}

// A test is told by its place here.
static eh_status pass_tests(walk *w, int64_t count, const char ***tests)
{
    static const char *const names[] = {"bootstrap", "sign-flip", "McNemar mid-p"};
    if (w->text == NULL && w->fits)
        EH_TRY(EH_ALLOC(count, tests));
    for (int64_t f = 0; f < count && w->fits; f++) {
        uint8_t place = 0;
        while (w->text != NULL && place < 2 && strcmp((*tests)[f], names[place]) != 0) place++;
        EH_TRY(pass(w, &place, sizeof place));
        w->fits = w->fits && place < 3;
        if (w->text == NULL && w->fits)
            (*tests)[f] = names[place];
    }
    return EH_OK;
}

static eh_status pass_comparison(walk *w, int64_t figures, eh_comparison *comparison)
{
    EH_TRY(pass_trouble(w, &comparison->trouble));
    if (comparison->trouble != NULL || !w->fits)
        return EH_OK;
    uint8_t draws = comparison->on_average != NULL;
    EH_TRY(PASS(w, figures, &comparison->differences));
    EH_TRY(pass(w, &draws, sizeof draws));
    if (draws)
        EH_TRY(PASS(w, figures, &comparison->on_average));
    EH_TRY(PASS(w, figures, &comparison->p));
    EH_TRY(PASS(w, figures, &comparison->mcnemar));
    EH_TRY(PASS(w, figures, &comparison->p_table));
    EH_TRY(PASS(w, figures, &comparison->p_all));
    return pass_tests(w, figures, &comparison->tests);
}

static eh_status pass_results(walk *w, const eh_results *results)
{
    for (int64_t m = 0; m < results->metric_count; m++) {
        eh_metric_results *metric = &results->metrics[m];
        for (int64_t p = 0; p < results->phase_count; p++)
            if (metric->phases[p].table != NULL)
                EH_TRY(PASS(w, metric->phases[p].sample.figure_count, &metric->phases[p].estimates));
        for (int64_t c = 0; c < metric->comparison_count; c++)
            EH_TRY(pass_comparison(w, metric->figure_count, &metric->comparisons[c]));
    }
    return EH_OK;
}

// A file that ended too soon has left arrays behind.
static void forget(const eh_results *results)
{
    for (int64_t m = 0; m < results->metric_count; m++) {
        eh_metric_results *metric = &results->metrics[m];
        for (int64_t p = 0; p < results->phase_count; p++) eh_free(&metric->phases[p].estimates);
        for (int64_t c = 0; c < metric->comparison_count; c++) {
            const int64_t from = metric->comparisons[c].from, to = metric->comparisons[c].to;
            eh_comparison_deinit(&metric->comparisons[c]);
            metric->comparisons[c] = (eh_comparison){.from = from, .to = to};
        }
    }
}

eh_status eh_kept_read(const eh_bootstrap_settings *settings, eh_results *results, bool *found)
{
    char key[EH_SHA256_TEXT], *path = NULL, *bytes = NULL;
    size_t size = 0;
    eh_status status = EH_OK;
    *found = false;
    EH_TRY_OR(done, find_path(results, &path));
    if (eh_read_file(path, SIZE_MAX, &bytes, &size) != EH_OK)
        eh_error_clear(); // not there
    if (size < sizeof key)
        goto done;
    EH_TRY_OR(done, find_key(settings, results, key));
    if (memcmp(bytes, key, sizeof key) != 0)
        goto done;
    walk w = {.at = bytes + sizeof key, .left = size - sizeof key, .fits = true};
    EH_TRY_OR(done, pass_results(&w, results));
    *found = w.fits && w.left == 0;
    if (!*found)
        forget(results);
done:
    eh_free(&bytes);
    eh_free(&path);
    return status;
}

eh_status eh_kept_write(const eh_bootstrap_settings *settings, const eh_results *results)
{
    char key[EH_SHA256_TEXT], *path = NULL;
    eh_string text = {0};
    walk w = {.text = &text, .fits = true};
    eh_status status = EH_OK;
    EH_TRY_OR(done, find_path(results, &path));
    EH_TRY_OR(done, find_key(settings, results, key));
    EH_TRY_OR(done, eh_string_append(&text, key, sizeof key));
    EH_TRY_OR(done, pass_results(&w, results));
    EH_TRY_OR(done, eh_atomic_write(path, text.bytes, text.size));
done:
    eh_string_deinit(&text);
    eh_free(&path);
    return status;
}
