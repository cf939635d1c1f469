/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * LD_PRELOAD for tests of what happens in an hour or a month.  The file
 * BATCH_CLOCK has two signed integers of 8 bytes, in the host's order, which
 * may change at any time: by so many seconds the process' wall clock is off, and
 * by so many milliseconds its monotonic clock, and with it each of nginx's
 * timers, is ahead.  A timer that is due by that is seen when the process wakes up the
 * next time.
 *
 *     cc -shared -fPIC -o clock.so clock.c
 *
 * The file is mapped when the process starts, before nginx clears its
 * environment, and workers inherit the mapping.  The times of files are the
 * kernel's: they do not move.
 */

#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


static const volatile int64_t  *offset;        /* s, ms */


__attribute__((constructor))
static void
begin(void)
{
    int    fd;
    char  *file;
    void  *map;

    file = getenv("BATCH_CLOCK");
    fd = file ? open(file, O_RDONLY|O_CLOEXEC) : -1;

    if (fd == -1) {
        return;
    }

    map = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);

    if (map != MAP_FAILED) {
        offset = map;
    }

    close(fd);
}


int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int      rc;
    int64_t  ns;

    rc = syscall(SYS_clock_gettime, id, ts);

    if (rc != 0 || offset == NULL) {
        return rc;
    }

    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) {
        ts->tv_sec += offset[0];

    } else if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE) {
        ns = ts->tv_nsec + offset[1] % 1000 * 1000000;
        ts->tv_sec += offset[1] / 1000 + ns / 1000000000;
        ts->tv_nsec = ns % 1000000000;
    }

    return rc;
}


int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    struct timespec  ts;

    (void) tz;

    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}


time_t
time(time_t *t)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    if (t) {
        *t = ts.tv_sec;
    }

    return ts.tv_sec;
}
