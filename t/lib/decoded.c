/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * LD_PRELOAD for the test that batch.json and final.json are read and decoded
 * no more often than they have to be: a line in the file DECODED_LOG for each
 * of their opens and for each call of jansson that is given one, with the thread
 * that does it.  The thread of the event loop is known by its calls of
 * epoll_wait().
 *
 *     cc -shared -fPIC -o decoded.so decoded.c -ldl
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>


static __thread int  looping;


#define real(name, type)                                                      \
    static __typeof__(type)  *next;                                           \
    if (next == NULL) {                                                       \
        next = (__typeof__(type) *) dlsym(RTLD_NEXT, name);                   \
    }


static void
say(const char *what, const char *object)
{
    int   fd, n;
    char  line[128], *file;

    file = getenv("DECODED_LOG");
    if (file == NULL) {
        return;
    }

    fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY|O_APPEND);
    if (fd == -1) {
        return;
    }

    n = snprintf(line, sizeof(line), "%s %s %s\n", what, object,
                 looping ? "loop" : "thread");

    (void) !syscall(SYS_write, fd, line, n);
    syscall(SYS_close, fd);
}


int
epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
    real("epoll_wait", int (int, struct epoll_event *, int, int));

    looping = 1;

    return next(epfd, events, maxevents, timeout);
}


static void
opened(const char *path, int flags)
{
    const char  *name;

    if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH)) {
        return;
    }

    name = strrchr(path, '/');
    name = name ? name + 1 : path;

    if (strcmp(name, "batch.json") == 0 || strcmp(name, "final.json") == 0) {
        say("open", name);
    }
}


#define OPENAT(name)                                                          \
    int                                                                       \
    name(int dirfd, const char *path, int flags, ...)                         \
    {                                                                         \
        int      mode;                                                        \
        va_list  args;                                                        \
                                                                              \
        real(#name, int (int, const char *, int, ...));                       \
                                                                              \
        va_start(args, flags);                                                \
        mode = (flags & (O_CREAT|O_TMPFILE)) ? va_arg(args, int) : 0;         \
        va_end(args);                                                         \
                                                                              \
        opened(path, flags);                                                  \
                                                                              \
        return next(dirfd, path, flags, mode);                                \
    }

OPENAT(openat)
OPENAT(openat64)


void *
json_loadb(const char *data, size_t len, size_t flags, void *error)
{
    real("json_loadb", void *(const char *, size_t, size_t, void *));

    if (data && memmem(data, len, "\"input_file_id\"", 15)) {
        say("decode", "batch.json");

    } else if (data && memmem(data, len, "\"finalizing_at\"", 15)) {
        say("decode", "final.json");
    }

    return next(data, len, flags, error);
}
