#include "dataset/groups.h"

#include <string.h>

#include "core/memory.h"
#include "core/string.h"

enum { MOST_GROUPS = 4000 }; // their names are one attribute of at most 64 KiB of references

static const eh_text everyone = {.bytes = "all", .size = 3};

void eh_groups_deinit(eh_groups *groups)
{
    for (int64_t g = 0; g < groups->count; g++) eh_free(&groups->names[g]);
    eh_free(&groups->names);
    *groups = (eh_groups){0};
}

static int64_t find(const eh_groups *groups, eh_text name)
{
    for (int64_t g = 0; g < groups->count; g++) {
        if (strlen(groups->names[g]) == name.size && memcmp(groups->names[g], name.bytes, name.size) == 0)
            return g;
    }
    return -1;
}

eh_status eh_groups_add(eh_groups *groups, eh_text name)
{
    if (name.size == 0)
        name = everyone;
    if (find(groups, name) >= 0)
        return EH_OK;
    if (groups->count >= MOST_GROUPS)
        return eh_error(EH_INPUT, "more than %d groups: is the group's column the right one?", MOST_GROUPS);
    char *copy = NULL;
    EH_TRY(eh_copy_bytes(name.bytes, name.size, &copy));
    const eh_status status = EH_APPEND(&groups->names, &groups->count, &groups->capacity, copy);
    if (status != EH_OK)
        eh_free(&copy);
    return status;
}

eh_status eh_groups_find(const eh_groups *groups, eh_text name, uint16_t *group)
{
    const int64_t found = find(groups, name.size > 0 ? name : everyone);
    EH_ASSERT(found >= 0);
    *group = (uint16_t)found;
    return EH_OK;
}

eh_status eh_groups_agree(eh_comm *comm, const eh_data_format *format, const eh_records *records, eh_groups *groups)
{
    eh_groups mine = {0};
    eh_string bytes = {0};
    char *all = NULL;
    size_t total = 0;
    eh_status status = EH_OK;
    for (int64_t i = 0; i < records->count && status == EH_OK; i++)
        status = eh_groups_add(&mine, eh_record_field(records, &records->records[i], format->roles.group));
    for (int64_t g = 0; g < mine.count && status == EH_OK; g++)
        status = eh_string_append(&bytes, mine.names[g], strlen(mine.names[g]) + 1);
    EH_TRY_OR(done, eh_comm_agree(comm, status));
    EH_TRY_OR(done, eh_comm_gather(comm, bytes.bytes, bytes.size, -1, (void **)&all, &total, NULL));
    for (size_t at = 0; at < total && status == EH_OK; at += strlen(all + at) + 1)
        status = eh_groups_add(groups, (eh_text){.bytes = all + at, .size = strlen(all + at)});
    status = eh_comm_agree(comm, status);
done:
    eh_free(&all);
    eh_string_deinit(&bytes);
    eh_groups_deinit(&mine);
    return status;
}

eh_status eh_groups_terminate(eh_groups *groups)
{
    EH_TRY(eh_reserve(groups->count + 1, &groups->capacity, sizeof *groups->names, (void **)&groups->names));
    groups->names[groups->count] = NULL;
    return EH_OK;
}

// The next name of a comma-separated list; false at its end.
static bool next_name(const char **at, eh_text *name)
{
    *at += strspn(*at, ", ");
    size_t size = strcspn(*at, ",");
    *name = (eh_text){*at, size};
    *at += size;
    while (name->size > 0 && name->bytes[name->size - 1] == ' ') name->size--;
    return size > 0;
}

static bool is_same(eh_text a, eh_text b)
{
    return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

bool eh_group_is_listed(const char *list, eh_text name)
{
    eh_text listed;
    for (const char *at = list; list != NULL && next_name(&at, &listed);)
        if (is_same(listed, name))
            return true;
    return list == NULL;
}

eh_status eh_groups_check_list(const eh_groups *groups, const char *list, const char *what)
{
    eh_text listed;
    for (const char *at = list; list != NULL && next_name(&at, &listed);) {
        bool known = false;
        for (int64_t g = 0; g < groups->count; g++)
            known = known || is_same(listed, (eh_text){groups->names[g], strlen(groups->names[g])});
        if (!known)
            return eh_error(EH_INPUT, "%s: there is no group '%.*s'; the first is '%s'", what, (int)listed.size,
                            listed.bytes, groups->count > 0 ? groups->names[0] : "");
    }
    return EH_OK;
}
