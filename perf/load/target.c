/* The list of targets. */
#include "target.h"

#include <stdio.h>
#include <string.h>

extern const struct target_type target_ringcast, target_janus;

static const struct target_type *const types[] = {&target_ringcast, &target_janus};

#define TYPE_COUNT (sizeof(types) / sizeof(types[0]))

const struct target_type *target_type_find(const char *name)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}

const char *target_type_names(void)
{
    static char names[128];
    int n = 0;

    for (size_t i = 0; i < TYPE_COUNT; i++)
        n += snprintf(names + n, sizeof(names) - (size_t)n, i ? ", %s" : "%s", types[i]->name);
    return names;
}
