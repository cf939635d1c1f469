/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * LD_PRELOAD for tests: the n-th call of the module fails, is cut short, or is
 * the last one that its process makes.
 *
 *     cc -shared -fPIC -o fault.so fault.c -ldl
 *
 * When nginx loads the module, the module's own table of imported functions is
 * patched: what nginx's core or a library calls is neither counted nor harmed.
 * Only socket() is everybody's in the process, of the core's upstreams and of
 * the link to Redis, too.  Looking at the store's workers/ (who lives?),
 * deleting there, and flock() are a class of their own and of no other: they
 * go by the clock, and other calls shall have the same numbers each time.
 *
 * The file FAULT_FILE is mapped by all processes; a test writes orders to it
 * while they run (see t/lib/BatchFault.pm).  It is made of 64-bit words:
 *
 *      0  classes of calls that count; 0: nothing happens.  To be set last
 *      1  n: which one, from 1; 0: only count
 *      2  what happens: 1 it fails, 2 it moves about half of the bytes,
 *         3 the process is killed before it, 4 after it, 5 it takes longer,
 *         6 it waits until the orders are withdrawn, a minute at most
 *      3  errno of a failure, or ms that it takes longer
 *      4  1: also with every later one
 *      5  calls so far
 *      6  how often it happened
 *      7  how often a file's descriptor whose sync had failed was synced again
 *      8  1: the filesystem says that there are free ...
 *      9     ... so many bytes
 *     10     ... and inodes
 *     11  process to which it happened last
 *     12  the call's name, 32 bytes
 *     16  which calls count: 0 all, 1 those of the thread pool, 2 the others
 *     17  only calls of this name count, 32 bytes; "": all
 *
 * With FAULT_SPEED=<k> in the environment the process' monotonic clock, and
 * with it each of its timers, is k times as fast.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>


#define CHANGES      1       /* what is on the disk */
#define READS        2
#define MEMORY       4
#define MOVES        8       /* bytes: may be cut short */
#define OPENS        16      /* takes a descriptor */
#define WORKERS      32      /* of the store's workers/: goes by the clock */

#define FAIL         1
#define SHORT        2
#define KILL_BEFORE  3
#define KILL_AFTER   4
#define SLOW         5
#define HOLD         6

#define FDS          4096
#define IOVS         1024


typedef struct {
    volatile uint64_t   armed;
    volatile uint64_t   n;
    volatile uint64_t   action;
    volatile uint64_t   err;
    volatile uint64_t   sticky;
    volatile uint64_t   count;
    volatile uint64_t   fired;
    volatile uint64_t   resynced;
    volatile uint64_t   space;
    volatile uint64_t   bytes;
    volatile uint64_t   inodes;
    volatile uint64_t   pid;
    char                name[32];
    volatile uint64_t   where;
    char                only[32];
} control_t;


static control_t  *ctl;
static char        bad_sync[FDS];
static int         loaded;               /* the module, here */
static int         speed = 1;

static __thread int  walking;             /* workers/, in this thread */


static void
die(void)
{
    kill(getpid(), SIGKILL);

    for ( ;; ) {
        pause();
    }
}


static void
hold(void)
{
    int  i;

    for (i = 0; ctl->armed && ctl->action == HOLD && i < 6000; i++) {
        usleep(10000);
    }
}


/* what is to happen to this call: 0, FAIL, SHORT, KILL_AFTER */

static int
hit(unsigned class, const char *name)
{
    uint64_t  c, n, action;

    if (walking && !(class & MEMORY)) {
        class = WORKERS;
    }

    if (!(ctl->armed & class & (CHANGES|READS|MEMORY|OPENS|WORKERS))) {
        return 0;
    }

    if (ctl->where
        && (ctl->where == 1) != (syscall(SYS_gettid) != (long) getpid()))
    {
        return 0;
    }

    if (ctl->only[0] && strcmp(ctl->only, name) != 0) {
        return 0;
    }

    n = ctl->n;
    action = ctl->action;

    if (action == SHORT && !(class & MOVES)) {
        return 0;
    }

    c = __sync_add_and_fetch(&ctl->count, 1);

    if (n == 0 || c < n || (c > n && !ctl->sticky)) {
        return 0;
    }

    strncpy(ctl->name, name, sizeof(ctl->name) - 1);
    ctl->pid = (uint64_t) getpid();
    __sync_add_and_fetch(&ctl->fired, 1);

    if (action == KILL_BEFORE) {
        die();
    }

    if (action == SLOW) {
        usleep((useconds_t) (ctl->err * 1000));
        return 0;
    }

    if (action == HOLD) {
        hold();
        return 0;
    }

    if (action == FAIL) {
        errno = (class & MEMORY) ? ENOMEM : (int) ctl->err;
    }

    return (int) action;
}


static int
in_workers(int dir)
{
    char     at[64], to[4096];
    ssize_t  n;

    if (dir < 0) {
        return 0;
    }

    snprintf(at, sizeof(at), "/proc/self/fd/%d", dir);
    n = readlink(at, to, sizeof(to));

    return n > 8 && memcmp(to + n - 8, "/workers", 8) == 0;
}


#define REAL(type, name, ...)                                                 \
    static type  (*real)(__VA_ARGS__);                                        \
    type          rc;                                                         \
    int           what;                                                       \
    if (real == NULL) {                                                       \
        real = (type (*)(__VA_ARGS__)) dlsym(RTLD_DEFAULT, #name);            \
    }

#define AFTER()                                                               \
    if (what == KILL_AFTER) {                                                 \
        die();                                                                \
    }                                                                         \
    return rc

/* a call that cannot be cut short; bad: its answer when it fails */

#define CALL(class, type, name, bad, params, args)                            \
    static type                                                               \
    w_##name params                                                           \
    {                                                                         \
        static type (*real) params;                                           \
        type  rc;                                                             \
        int   what;                                                           \
        if (real == NULL) {                                                   \
            real = (type (*) params) dlsym(RTLD_DEFAULT, #name);              \
        }                                                                     \
        what = hit(class, #name);                                             \
        if (what == FAIL) {                                                   \
            return bad;                                                       \
        }                                                                     \
        rc = real args;                                                       \
        AFTER();                                                              \
    }


/* --- the disk ------------------------------------------------------------- */

CALL(CHANGES, int, linkat, -1,
     (int a, const char *b, int c, const char *d, int e), (a, b, c, d, e))
CALL(in_workers(a) ? WORKERS : CHANGES, int, unlinkat, -1,
     (int a, const char *b, int c), (a, b, c))
CALL(CHANGES, int, renameat, -1,
     (int a, const char *b, int c, const char *d), (a, b, c, d))
CALL(CHANGES, int, mkdirat, -1, (int a, const char *b, mode_t c), (a, b, c))
CALL(CHANGES, int, ftruncate, -1, (int a, off_t b), (a, b))
CALL(CHANGES, int, ftruncate64, -1, (int a, off_t b), (a, b))

CALL(READS, int, fstat, -1, (int a, void *b), (a, b))
CALL(READS, int, fstat64, -1, (int a, void *b), (a, b))
CALL(READS, int, fstatat, -1, (int a, const char *b, void *c, int d),
     (a, b, c, d))
CALL(READS, int, fstatat64, -1, (int a, const char *b, void *c, int d),
     (a, b, c, d))
CALL(READS, void *, fdopendir, NULL, (int a), (a))
CALL(READS, void *, readdir, NULL, (void *a), (a))
CALL(READS, void *, readdir64, NULL, (void *a), (a))
CALL(READS|OPENS, int, dup, -1, (int a), (a))
CALL(READS, off_t, lseek, -1, (int a, off_t b, int c), (a, b, c))
CALL(READS, off_t, lseek64, -1, (int a, off_t b, int c), (a, b, c))


/* O_TMPFILE has O_DIRECTORY's bit in it */
#define MAKES(flags)                                                          \
    (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE)

#define OPEN(name)                                                            \
    static int                                                                \
    w_##name(int dir, const char *path, int flags, ...)                       \
    {                                                                         \
        int      mode;                                                        \
        va_list  list;                                                        \
        REAL(int, name, int, const char *, int, ...)                          \
        va_start(list, flags);                                                \
        mode = MAKES(flags) ? va_arg(list, int) : 0;                          \
        va_end(list);                                                         \
        walking = (walking || strcmp(path, ".") == 0) && in_workers(dir);     \
        what = hit((MAKES(flags) ? CHANGES : READS)|OPENS, #name);            \
        if (what == FAIL) {                                                   \
            return -1;                                                        \
        }                                                                     \
        rc = real(dir, path, flags, mode);                                    \
        AFTER();                                                              \
    }

OPEN(openat)
OPEN(openat64)


/* A failed sync of a file is not to be tried again.  A room's directory stays
 * open and is synced for each new entry. */

static void
sync_failed(int fd)
{
    int          err;
    struct stat  st;

    err = errno;

    if (fd >= 0 && fd < FDS && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        bad_sync[fd] = 1;
    }

    errno = err;
}


#define SYNC(name)                                                            \
    static int                                                                \
    w_##name(int fd)                                                          \
    {                                                                         \
        REAL(int, name, int)                                                  \
        if (fd >= 0 && fd < FDS && bad_sync[fd]) {                            \
            __sync_add_and_fetch(&ctl->resynced, 1);                          \
        }                                                                     \
        what = hit(CHANGES, #name);                                           \
        if (what == FAIL) {                                                   \
            sync_failed(fd);                                                  \
            return -1;                                                        \
        }                                                                     \
        rc = real(fd);                                                        \
        AFTER();                                                              \
    }

SYNC(fsync)
SYNC(fdatasync)


/* closes even if it fails, as the system does */

static int
w_close(int fd)
{
    REAL(int, close, int)

    if (fd >= 0 && fd < FDS) {
        bad_sync[fd] = 0;
    }

    what = hit(READS, "close");
    rc = real(fd);

    if (what == FAIL) {
        errno = (int) ctl->err;
        return -1;
    }

    AFTER();
}


#define MOVE(class, name, params, args, len)                                  \
    static ssize_t                                                            \
    w_##name params                                                           \
    {                                                                         \
        static ssize_t (*real) params;                                        \
        ssize_t  rc;                                                          \
        int      what;                                                        \
        if (real == NULL) {                                                   \
            real = (ssize_t (*) params) dlsym(RTLD_DEFAULT, #name);           \
        }                                                                     \
        what = hit(class|MOVES, #name);                                       \
        if (what == FAIL) {                                                   \
            return -1;                                                        \
        }                                                                     \
        if (what == SHORT && len > 1) {                                       \
            len /= 2;                                                         \
        }                                                                     \
        rc = real args;                                                       \
        AFTER();                                                              \
    }

MOVE(CHANGES, pwrite, (int a, const void *b, size_t n, off_t c), (a, b, n, c), n)
MOVE(CHANGES, pwrite64, (int a, const void *b, size_t n, off_t c),
     (a, b, n, c), n)
MOVE(CHANGES, copy_file_range,
     (int a, off_t *b, int c, off_t *d, size_t n, unsigned e),
     (a, b, c, d, n, e), n)
MOVE(CHANGES, sendfile, (int a, int b, off_t *c, size_t n), (a, b, c, n), n)
MOVE(CHANGES, sendfile64, (int a, int b, off_t *c, size_t n), (a, b, c, n), n)
MOVE(READS, pread, (int a, void *b, size_t n, off_t c), (a, b, n, c), n)
MOVE(READS, pread64, (int a, void *b, size_t n, off_t c), (a, b, n, c), n)
MOVE(READS, preadv, (int a, const struct iovec *b, int n, off_t c),
     (a, b, n, c), n)
MOVE(READS, preadv64, (int a, const struct iovec *b, int n, off_t c),
     (a, b, n, c), n)


#define WRITEV(name)                                                          \
    static ssize_t                                                            \
    w_##name(int fd, const struct iovec *iov, int n, off_t off)               \
    {                                                                         \
        int           i;                                                      \
        size_t        left;                                                   \
        struct iovec  some[IOVS];                                             \
        REAL(ssize_t, name, int, const struct iovec *, int, off_t)            \
        what = hit(CHANGES|MOVES, #name);                                     \
        if (what == FAIL) {                                                   \
            return -1;                                                        \
        }                                                                     \
        if (what == SHORT && n <= IOVS) {                                     \
            for (left = 0, i = 0; i < n; i++) {                               \
                left += iov[i].iov_len;                                       \
            }                                                                 \
            left = left > 1 ? left / 2 : left;                                \
            for (i = 0; i < n && left; i++) {                                 \
                some[i] = iov[i];                                             \
                if (some[i].iov_len > left) {                                 \
                    some[i].iov_len = left;                                   \
                }                                                             \
                left -= some[i].iov_len;                                      \
            }                                                                 \
            iov = some;                                                       \
            n = i;                                                            \
        }                                                                     \
        rc = real(fd, iov, n, off);                                           \
        AFTER();                                                              \
    }

WRITEV(pwritev)
WRITEV(pwritev64)


static void
say_space(struct statvfs *fs)
{
    if (ctl->space) {
        fs->f_bavail = ctl->bytes / fs->f_frsize;
        fs->f_bfree = fs->f_bavail;
        fs->f_favail = ctl->inodes;
        fs->f_ffree = ctl->inodes;
    }
}

#define STATVFS(name)                                                         \
    static int                                                                \
    w_##name(int fd, struct statvfs *fs)                                      \
    {                                                                         \
        REAL(int, name, int, struct statvfs *)                                \
        what = 0;                                                             \
        rc = real(fd, fs);                                                    \
        say_space(fs);                                                        \
        AFTER();                                                              \
    }

STATVFS(fstatvfs)
STATVFS(fstatvfs64)


/* the walk through workers/ ends */

static int
w_closedir(void *d)
{
    REAL(int, closedir, void *)

    what = 0;
    walking = 0;
    rc = real(d);
    AFTER();
}


static int
w_flock(int fd, int operation)
{
    REAL(int, flock, int, int)

    what = hit(WORKERS, "flock");

    if (what == FAIL) {
        return -1;
    }

    rc = real(fd, operation);
    AFTER();
}


/* --- memory --------------------------------------------------------------- */

CALL(MEMORY, void *, malloc, NULL, (size_t a), (a))
CALL(MEMORY, void *, calloc, NULL, (size_t a, size_t b), (a, b))
CALL(MEMORY, void *, realloc, NULL, (void *a, size_t b), (a, b))
CALL(MEMORY, void *, ngx_alloc, NULL, (size_t a, void *b), (a, b))
CALL(MEMORY, void *, ngx_calloc, NULL, (size_t a, void *b), (a, b))
CALL(MEMORY, void *, ngx_create_pool, NULL, (size_t a, void *b), (a, b))
CALL(MEMORY, void *, ngx_palloc, NULL, (void *a, size_t b), (a, b))
CALL(MEMORY, void *, ngx_pnalloc, NULL, (void *a, size_t b), (a, b))
CALL(MEMORY, void *, ngx_pcalloc, NULL, (void *a, size_t b), (a, b))
CALL(MEMORY, void *, ngx_create_temp_buf, NULL, (void *a, size_t b), (a, b))
CALL(MEMORY, void *, ngx_alloc_chain_link, NULL, (void *a), (a))
CALL(MEMORY, void *, ngx_array_create, NULL,
     (void *a, uintptr_t b, size_t c), (a, b, c))
CALL(MEMORY, void *, ngx_array_push, NULL, (void *a), (a))
CALL(MEMORY, void *, ngx_list_push, NULL, (void *a), (a))
CALL(MEMORY, void *, ngx_pool_cleanup_add, NULL, (void *a, size_t b), (a, b))
CALL(MEMORY, void *, ngx_http_cleanup_add, NULL, (void *a, size_t b), (a, b))
CALL(MEMORY, void *, ngx_http_create_request, NULL, (void *a), (a))
CALL(MEMORY, intptr_t, ngx_http_subrequest, -1,
     (void *a, void *b, void *c, void *d, void *e, uintptr_t f),
     (a, b, c, d, e, f))
CALL(MEMORY, intptr_t, ngx_http_complex_value, -1,
     (void *a, void *b, void *c), (a, b, c))
CALL(MEMORY, void *, json_object, NULL, (void), ())
CALL(MEMORY, void *, json_array, NULL, (void), ())
CALL(MEMORY, void *, json_string, NULL, (const char *a), (a))
CALL(MEMORY, void *, json_stringn, NULL, (const char *a, size_t b), (a, b))
CALL(MEMORY, void *, json_integer, NULL, (long long a), (a))
CALL(MEMORY, void *, json_real, NULL, (double a), (a))
CALL(MEMORY, char *, json_dumps, NULL, (const void *a, size_t b), (a, b))
CALL(MEMORY, int, redisAsyncCommandArgv, -1,
     (void *a, void *b, void *c, int d, const char **e, const size_t *f),
     (a, b, c, d, e, f))


/* fills in the error that the caller may want to show */

static void *
w_json_loadb(const char *buf, size_t len, size_t flags, void *error)
{
    REAL(void *, json_loadb, const char *, size_t, size_t, void *)

    what = hit(MEMORY, "json_loadb");

    if (what == FAIL) {
        /* an error by the library's own hand; errno is what malloc() leaves */
        return real("{", 1, flags, error);
    }

    rc = real(buf, len, flags, error);
    AFTER();
}


/* --- the module's imports ------------------------------------------------- */

#define IMPORT(name)  { #name, (void *) w_##name }

static const struct {
    const char   *name;
    void         *wrapper;
} imports[] = {
    IMPORT(linkat), IMPORT(unlinkat), IMPORT(renameat), IMPORT(mkdirat),
    IMPORT(ftruncate),
    IMPORT(ftruncate64), IMPORT(fstat), IMPORT(fstat64), IMPORT(fstatat),
    IMPORT(fstatat64), IMPORT(fdopendir), IMPORT(readdir), IMPORT(readdir64),
    IMPORT(dup), IMPORT(lseek), IMPORT(lseek64), IMPORT(openat),
    IMPORT(openat64), IMPORT(fsync), IMPORT(fdatasync), IMPORT(close),
    IMPORT(pwrite), IMPORT(pwrite64), IMPORT(copy_file_range),
    IMPORT(sendfile), IMPORT(sendfile64), IMPORT(pread), IMPORT(pread64),
    IMPORT(preadv), IMPORT(preadv64), IMPORT(pwritev), IMPORT(pwritev64),
    IMPORT(fstatvfs), IMPORT(fstatvfs64), IMPORT(closedir), IMPORT(flock),
    IMPORT(malloc), IMPORT(calloc), IMPORT(realloc), IMPORT(ngx_alloc),
    IMPORT(ngx_calloc), IMPORT(ngx_create_pool), IMPORT(ngx_palloc),
    IMPORT(ngx_pnalloc), IMPORT(ngx_pcalloc), IMPORT(ngx_create_temp_buf),
    IMPORT(ngx_alloc_chain_link), IMPORT(ngx_array_create),
    IMPORT(ngx_array_push), IMPORT(ngx_list_push),
    IMPORT(ngx_pool_cleanup_add), IMPORT(ngx_http_cleanup_add),
    IMPORT(ngx_http_create_request), IMPORT(ngx_http_subrequest),
    IMPORT(ngx_http_complex_value), IMPORT(json_object), IMPORT(json_array),
    IMPORT(json_string), IMPORT(json_stringn), IMPORT(json_integer),
    IMPORT(json_real), IMPORT(json_dumps), IMPORT(json_loadb),
    IMPORT(redisAsyncCommandArgv)
};


static void
patch_slot(void **slot, void *wrapper)
{
    char    *page;
    size_t   size;

    size = (size_t) sysconf(_SC_PAGESIZE);
    page = (char *) ((uintptr_t) slot & ~(uintptr_t) (size - 1));

    if (mprotect(page, size, PROT_READ|PROT_WRITE) == 0) {
        *slot = wrapper;
    }
}


static void
patch_table(const struct link_map *map, const ElfW(Rela) *rela, size_t size,
    const ElfW(Sym) *syms, const char *strings)
{
    size_t       i, k, type;
    const char  *name;

    for (i = 0; i < size / sizeof(ElfW(Rela)); i++) {

#if defined(__aarch64__)
        type = ELF64_R_TYPE(rela[i].r_info);

        if (type != R_AARCH64_JUMP_SLOT && type != R_AARCH64_GLOB_DAT) {
            continue;
        }
#else
        type = ELF64_R_TYPE(rela[i].r_info);

        if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) {
            continue;
        }
#endif

        name = strings + syms[ELF64_R_SYM(rela[i].r_info)].st_name;

        for (k = 0; k < sizeof(imports) / sizeof(imports[0]); k++) {

            if (strcmp(name, imports[k].name) == 0) {
                patch_slot((void **) (map->l_addr + rela[i].r_offset),
                           imports[k].wrapper);
                break;
            }
        }
    }
}


static void
patch(const struct link_map *map)
{
    size_t             plt_size, rela_size;
    const char        *strings;
    const ElfW(Dyn)   *d;
    const ElfW(Sym)   *syms;
    const ElfW(Rela)  *plt, *rela;

    plt = rela = NULL;
    syms = NULL;
    strings = NULL;
    plt_size = rela_size = 0;

    for (d = map->l_ld; d->d_tag != DT_NULL; d++) {

        switch (d->d_tag) {
        case DT_JMPREL:
            plt = (const void *) d->d_un.d_ptr;
            break;
        case DT_PLTRELSZ:
            plt_size = d->d_un.d_val;
            break;
        case DT_RELA:
            rela = (const void *) d->d_un.d_ptr;
            break;
        case DT_RELASZ:
            rela_size = d->d_un.d_val;
            break;
        case DT_SYMTAB:
            syms = (const void *) d->d_un.d_ptr;
            break;
        case DT_STRTAB:
            strings = (const void *) d->d_un.d_ptr;
            break;
        }
    }

    patch_table(map, plt, plt_size, syms, strings);
    patch_table(map, rela, rela_size, syms, strings);
}


void *
dlopen(const char *file, int flags)
{
    void             *handle;
    struct link_map  *map;

    static void  *(*real)(const char *, int);

    if (real == NULL) {
        real = (void *(*)(const char *, int)) dlsym(RTLD_NEXT, "dlopen");
    }

    handle = real(file, flags);

    if (handle && ctl && file && strstr(file, "ngx_http_batch_module")
        && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0)
    {
        patch(map);
        loaded = 1;
    }

    return handle;
}


int
socket(int domain, int type, int protocol)
{
    static int  (*real)(int, int, int);

    if (real == NULL) {
        real = (int (*)(int, int, int)) dlsym(RTLD_NEXT, "socket");
    }

    if (loaded && hit(OPENS, "socket") == FAIL) {
        return -1;
    }

    return real(domain, type, protocol);
}


/* --- time ----------------------------------------------------------------- */

int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int       rc;
    uint64_t  ns;

    rc = (int) syscall(SYS_clock_gettime, id, ts);

    if (rc == 0 && speed != 1
        && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE))
    {
        ns = ((uint64_t) ts->tv_sec * 1000000000 + (uint64_t) ts->tv_nsec)
             * (uint64_t) speed;
        ts->tv_sec = (time_t) (ns / 1000000000);
        ts->tv_nsec = (long) (ns % 1000000000);
    }

    return rc;
}


int
epoll_wait(int ep, struct epoll_event *events, int n, int ms)
{
    static int  (*real)(int, struct epoll_event *, int, int);

    if (real == NULL) {
        real = (int (*)(int, struct epoll_event *, int, int))
                   dlsym(RTLD_NEXT, "epoll_wait");
    }

    return real(ep, events, n, ms > 0 ? (ms + speed - 1) / speed : ms);
}


__attribute__((constructor)) static void
begin(void)
{
    int          fd;
    void        *p;
    const char  *file;

    if (getenv("FAULT_SPEED") && atoi(getenv("FAULT_SPEED")) > 0) {
        speed = atoi(getenv("FAULT_SPEED"));
    }

    file = getenv("FAULT_FILE");

    if (file == NULL) {
        return;
    }

    fd = open(file, O_RDWR|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    p = mmap(NULL, sizeof(control_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);

    if (p != MAP_FAILED) {
        ctl = p;
    }

    close(fd);
}
