// What a misspelt key was meant to be.
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "job/schema.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

// Edits (insert, delete, replace, swap neighbours) between two short words (Damerau 1964); 99 for long ones.
static int edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    const int n = (int)strlen(a), m = (int)strlen(b);
    if (n > LONGEST || m > LONGEST)
        return 99;
    int d[LONGEST + 1][LONGEST + 1];
    for (int i = 0; i <= n; i++) d[i][0] = i;
    for (int j = 0; j <= m; j++) d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            const int replace = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = least(replace, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

// The names directly below `section`, each once, in the schema's order: their next one after `previous` (NULL: first).
typedef struct {
    const eh_key_list *list;
    const char *section;
    size_t next;
    char name[64];
} sibling_walk;

static bool next_sibling(sibling_walk *walk)
{
    const size_t section_size = strlen(walk->section);
    for (; walk->next < walk->list->count; walk->next++) {
        const char *path = walk->list->keys[walk->next].path;
        if (strncmp(path, walk->section, section_size) != 0)
            continue;
        const char *rest = path + section_size;
        const size_t size = strcspn(rest, ".");
        if (size >= sizeof walk->name || (strncmp(walk->name, rest, size) == 0 && walk->name[size] == '\0'))
            continue;
        memcpy(walk->name, rest, size);
        walk->name[size] = '\0';
        walk->next++;
        return true;
    }
    return false;
}

static const char *const lists[] = {"data", "evaluate", "sweep"}; // top-level keys that are not rows of the job's table

eh_status eh_key_suggest(const eh_key_list *list, const char *section, const char *name, eh_string *text)
{
    const bool top = list == &eh_job_keys && section[0] == '\0';
    char best[64] = "";
    int best_distance = 99;
    eh_string all = {0};
    eh_status status = EH_OK;
    sibling_walk walk = {.list = list, .section = section};
    size_t extra = 0;
    for (;;) {
        const char *candidate = NULL;
        if (next_sibling(&walk)) {
            if (top && strcmp(walk.name, "evaluate") == 0)
                continue; // below, with the lists
            candidate = walk.name;
        } else if (top && extra < sizeof lists / sizeof *lists)
            candidate = lists[extra++];
        else
            break;
        const int distance = edit_distance(name, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            snprintf(best, sizeof best, "%s", candidate);
        }
        EH_TRY_OR(done, eh_string_printf(&all, "%s%s", all.size > 0 ? ", " : "", candidate));
    }
    const int size = (int)strlen(name);
    if (best_distance <= (size > 4 ? size / 3 + 1 : 1))
        status = eh_string_printf(text, "did you mean '%s'?", best);
    else
        status = eh_string_printf(text, "the keys here are: %s", all.bytes);
done:
    eh_string_deinit(&all);
    return status;
}
