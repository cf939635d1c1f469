/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * LD_PRELOAD for the test of a Redis whose name has several addresses:
 * getaddrinfo() of the name in NAMES ("redis.test=127.0.0.2,127.0.0.1") gives
 * these, in this order, and of every other name what it gives anyway.
 *
 *     cc -shared -fPIC -o names.so names.c -ldl
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>


typedef int (*names_pt)(const char *, const char *, const struct addrinfo *,
    struct addrinfo **);


int
getaddrinfo(const char *node, const char *service,
    const struct addrinfo *hints, struct addrinfo **res)
{
    char              *names, *p, *save;
    size_t             len;
    names_pt           next;
    struct addrinfo  **last;

    next = (names_pt) dlsym(RTLD_NEXT, "getaddrinfo");
    names = getenv("NAMES");
    len = node ? strlen(node) : 0;

    if (len == 0 || names == NULL || strncmp(names, node, len) != 0
        || names[len] != '=')
    {
        return next(node, service, hints, res);
    }

    names = strdup(names + len + 1);
    last = res;

    for (p = strtok_r(names, ",", &save); p; p = strtok_r(NULL, ",", &save)) {

        if (next(p, service, hints, last) != 0) {
            return EAI_FAIL;
        }

        while (*last) {
            last = &(*last)->ai_next;
        }
    }

    free(names);

    return 0;
}
