/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * LD_PRELOAD for the test that a worker never blocks on the store: writes to the
 * file NONBLOCK_LOG when a call that waits for the disk is made on the thread
 * that runs the event loop.  That thread is known by its calls of epoll_wait().
 *
 *     cc -shared -fPIC -o nonblock.so nonblock.c -ldl
 *
 * What nginx's core does itself (sendfile and pread of a download, its log) is
 * not looked at: only what the store uses, calls relative to a directory's
 * descriptor and the syncing ones.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>


static __thread int  calls;
static __thread int  looping;


static void
say(int stack, const char *format, ...)
{
    int      fd, n;
    char     line[PATH_MAX + 128], *file;
    void    *frames[16];
    va_list  args;

    file = getenv("NONBLOCK_LOG");
    if (file == NULL) {
        return;
    }

    fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY|O_CREAT|O_APPEND, 0666);
    if (fd == -1) {
        return;
    }

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);

    if (syscall(SYS_write, fd, line, n) == n && stack) {
        n = backtrace(frames, 16);
        backtrace_symbols_fd(frames, n, fd);
    }

    syscall(SYS_close, fd);
}


static void
caught(const char *call, const char *what)
{
    say(1, "%s(%s) on the event thread of %d\n", call, what ? what : "",
        (int) getpid());
}


#define real(name)                                                            \
    static __typeof__(name)  *next;                                           \
    if (next == NULL) {                                                       \
        next = (__typeof__(name) *) dlsym(RTLD_NEXT, #name);                  \
    }


int
epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
    real(epoll_wait);

    /* nginx tries epoll out once before it starts to loop */

    if (!looping && ++calls == 2) {
        looping = 1;
        say(0, "watching %d\n", (int) getpid());
    }

    return next(epfd, events, maxevents, timeout);
}


int
fsync(int fd)
{
    real(fsync);

    if (looping) {
        caught("fsync", NULL);
    }

    return next(fd);
}


int
fdatasync(int fd)
{
    real(fdatasync);

    if (looping) {
        caught("fdatasync", NULL);
    }

    return next(fd);
}


static int
open_mode(int flags, va_list args)
{
    return (flags & (O_CREAT|O_TMPFILE)) ? va_arg(args, int) : 0;
}


int
openat(int dirfd, const char *path, int flags, ...)
{
    int      mode;
    va_list  args;

    real(openat);

    va_start(args, flags);
    mode = open_mode(flags, args);
    va_end(args);

    if (looping && dirfd >= 0) {
        caught("openat", path);
    }

    return next(dirfd, path, flags, mode);
}


int
openat64(int dirfd, const char *path, int flags, ...)
{
    int      mode;
    va_list  args;

    real(openat64);

    va_start(args, flags);
    mode = open_mode(flags, args);
    va_end(args);

    if (looping && dirfd >= 0) {
        caught("openat", path);
    }

    return next(dirfd, path, flags, mode);
}


int
linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath,
    int flags)
{
    real(linkat);

    if (looping) {
        caught("linkat", newpath);
    }

    return next(olddirfd, oldpath, newdirfd, newpath, flags);
}


int
unlinkat(int dirfd, const char *path, int flags)
{
    real(unlinkat);

    if (looping) {
        caught("unlinkat", path);
    }

    return next(dirfd, path, flags);
}


int
mkdirat(int dirfd, const char *path, mode_t mode)
{
    real(mkdirat);

    if (looping) {
        caught("mkdirat", path);
    }

    return next(dirfd, path, mode);
}


ssize_t
pwritev64(int fd, const struct iovec *iov, int n, off64_t off)
{
    real(pwritev64);

    if (looping) {
        caught("pwritev", NULL);
    }

    return next(fd, iov, n, off);
}


ssize_t
pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    real(pwritev);

    if (looping) {
        caught("pwritev", NULL);
    }

    return next(fd, iov, n, off);
}


int
fstatvfs(int fd, struct statvfs *fs)
{
    real(fstatvfs);

    if (looping) {
        caught("fstatvfs", NULL);
    }

    return next(fd, fs);
}


int
fstatvfs64(int fd, struct statvfs64 *fs)
{
    real(fstatvfs64);

    if (looping) {
        caught("fstatvfs", NULL);
    }

    return next(fd, fs);
}
