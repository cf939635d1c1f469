/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * LD_PRELOAD for tests of what happens while the disk does not: pwrite() waits
 * as long as the file GATE exists, but not for more than a minute, so that a
 * test that dies leaves no process behind.
 *
 *     cc -shared -fPIC -o gate.so gate.c -ldl
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>


ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    int    i;
    char  *gate;

    static ssize_t  (*next)(int, const void *, size_t, off_t);

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "pwrite");
    }

    gate = getenv("GATE");

    for (i = 0; gate && i < 6000 && access(gate, F_OK) == 0; i++) {
        usleep(10000);
    }

    return next(fd, buf, n, offset);
}


ssize_t
pwrite64(int fd, const void *buf, size_t n, off_t offset)
{
    return pwrite(fd, buf, n, offset);
}
