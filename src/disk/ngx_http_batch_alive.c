
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Locked files tell living workers from dead ones, see the header.
 *
 * A worker's lock is exclusive and those that look take a shared one, so they
 * are not in each other's way, and one that is refused has met the worker
 * itself.
 * There is one look at a time in a process; what is proven belongs to it.
 */


#include "ngx_http_batch_alive.h"
#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"

#include <sys/file.h>


#define ngx_http_batch_alive_dir                                              \
    ngx_http_batch_layout_dirs[NGX_HTTP_BATCH_DIR_WORKERS]


#define NGX_HTTP_BATCH_ALIVE_EVERY    400       /* ms ... */
#define NGX_HTTP_BATCH_ALIVE_JITTER   200       /* ... and up to so many more */
#define NGX_HTTP_BATCH_ALIVE_FRESH    2000      /* ms since a beat */
#define NGX_HTTP_BATCH_ALIVE_TOUCH    3600      /* s */
#define NGX_HTTP_BATCH_ALIVE_AGE      (48 * 3600)             /* s */

#define NGX_HTTP_BATCH_ALIVE_LIVE     128       /* known without a look */
#define NGX_HTTP_BATCH_ALIVE_DEAD     32        /* of one look */
#define NGX_HTTP_BATCH_ALIVE_PROVEN   32
#define NGX_HTTP_BATCH_ALIVE_MACHINE  64        /* bytes, NUL included */

#define NGX_HTTP_BATCH_ALIVE_BOOT     "/proc/sys/kernel/random/boot_id"


/* the context of a task: siblings go in, dead workers come out */

typedef struct {
    ngx_uint_t  nlive;
    ngx_uint_t  ndead;
    char        live[NGX_HTTP_BATCH_ALIVE_LIVE][NGX_HTTP_BATCH_WORKER_ID];
    char        dead[NGX_HTTP_BATCH_ALIVE_DEAD][NGX_HTTP_BATCH_WORKER_ID];
} ngx_http_batch_look_t;


static ngx_int_t ngx_http_batch_alive_machine(ngx_log_t *log);
static ngx_int_t ngx_http_batch_alive_make(ngx_log_t *log);
static ngx_int_t ngx_http_batch_alive_without(ngx_log_t *log,
    const char *call);
static void ngx_http_batch_alive_timer(ngx_event_t *ev);
static void ngx_http_batch_alive_again(void);
static void ngx_http_batch_alive_siblings(ngx_http_batch_look_t *look);
static void ngx_http_batch_alive_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_alive_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_alive_touch(void);
static ngx_uint_t ngx_http_batch_alive_other(ngx_http_batch_look_t *look,
    const char *name);
static ngx_uint_t ngx_http_batch_alive_dead(ngx_fd_t dir, const char *name,
    ngx_log_t *log);
static ngx_uint_t ngx_http_batch_alive_proven(const char *machine);
static void ngx_http_batch_alive_prove(const char *machine);


/* open, and so locked, as long as this worker lives */
static ngx_fd_t          ngx_http_batch_alive_fd = NGX_INVALID_FILE;
static time_t            ngx_http_batch_alive_touched;

static ngx_event_t       ngx_http_batch_alive_event;

/* the first one is our own; "": it could not be found out */
static char
    ngx_http_batch_alive_machines[1 + NGX_HTTP_BATCH_ALIVE_PROVEN]
                                 [NGX_HTTP_BATCH_ALIVE_MACHINE];
static ngx_uint_t        ngx_http_batch_alive_nmachines = 1;


void
ngx_http_batch_alive_init(ngx_cycle_t *cycle)
{
    if (ngx_http_batch_alive_machine(cycle->log) == NGX_OK) {
        (void) ngx_http_batch_alive_make(cycle->log);
    }

    ngx_http_batch_turn_timer(&ngx_http_batch_alive_event,
                              ngx_http_batch_alive_timer, 1);

    ngx_add_timer(&ngx_http_batch_alive_event, 1);
}


void
ngx_http_batch_alive_exit(ngx_uint_t holds)
{
    if (ngx_http_batch_alive_fd == NGX_INVALID_FILE) {
        return;
    }

    if (!holds) {
        (void) ngx_http_batch_alive_forget(ngx_http_batch_worker_id,
                                           ngx_cycle->log);
    }

    (void) ngx_close_file(ngx_http_batch_alive_fd);
    ngx_http_batch_alive_fd = NGX_INVALID_FILE;
}


ngx_int_t
ngx_http_batch_alive_forget(const char *owner, ngx_log_t *log)
{
    if (ngx_http_batch_disk_unlink(ngx_http_batch_alive_dir, "workers", owner,
                                   log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                   "batch: worker %s: its file is gone", owner);

    return NGX_OK;
}


/* a container that is started anew is on the same machine */

static ngx_int_t
ngx_http_batch_alive_machine(ngx_log_t *log)
{
    char        *machine;
    size_t       n;
    ssize_t      got;
    ngx_fd_t     fd;
    struct stat  st;

    machine = ngx_http_batch_alive_machines[0];

    fd = ngx_http_batch_disk_openat(AT_FDCWD, NGX_HTTP_BATCH_ALIVE_BOOT,
                                    O_RDONLY);
    if (fd == NGX_INVALID_FILE) {
        return ngx_http_batch_alive_without(log, "open() of "
                                            NGX_HTTP_BATCH_ALIVE_BOOT);
    }

    /* 36 characters and a linefeed */

    got = pread(fd, machine, 36, 0);

    (void) ngx_close_file(fd);

    if (got <= 0
        || fstat(ngx_http_batch_alive_dir, &st) == -1)
    {
        machine[0] = '\0';
        return ngx_http_batch_alive_without(log, "asking for the machine");
    }

    n = (size_t) got;

    *ngx_snprintf((u_char *) machine + n,
                  NGX_HTTP_BATCH_ALIVE_MACHINE - 1 - n, " %xL",
                  (uint64_t) st.st_dev) = '\0';

    return NGX_OK;
}


/* in tmp/, whose sweep takes what a death leaves there */

static ngx_int_t
ngx_http_batch_alive_make(ngx_log_t *log)
{
    size_t       len;
    ngx_fd_t     fd, tmp;
    const char  *id, *call;

    id = ngx_http_batch_worker_id;
    tmp = ngx_http_batch_layout_tmp;
    len = ngx_strlen(ngx_http_batch_alive_machines[0]);

    fd = ngx_http_batch_disk_openat(tmp, id, O_RDWR|O_CREAT|O_EXCL);

    if (fd == NGX_INVALID_FILE) {
        return ngx_http_batch_alive_without(log, "openat()");
    }

    call = NULL;
    ngx_set_errno(0);            /* of half a write */

    if (flock(fd, LOCK_EX|LOCK_NB) == -1) {
        call = "flock()";

    } else if (pwrite(fd, ngx_http_batch_alive_machines[0], len, 0)
               != (ssize_t) len)
    {
        call = "pwrite()";

    } else if (renameat(tmp, id, ngx_http_batch_alive_dir, id) == -1) {
        call = "renameat()";
    }

    if (call) {
        (void) ngx_http_batch_alive_without(log, call);

        ngx_http_batch_store_tmp_delete(id, log);
        (void) ngx_close_file(fd);

        return NGX_ERROR;
    }

    ngx_http_batch_alive_fd = fd;
    ngx_http_batch_alive_touched = time(NULL);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                   "batch: worker %s: its file is locked", id);

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_alive_without(ngx_log_t *log, const char *call)
{
    ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                  "batch: %s failed, so this worker has no file in "
                  "workers: if it dies together with all of its nginx, its "
                  "leases have to run out", call);

    return NGX_ERROR;
}


static void
ngx_http_batch_alive_timer(ngx_event_t *ev)
{
    void  *ctx;

    ctx = ngx_http_batch_task_create(sizeof(ngx_http_batch_look_t),
                                     ngx_http_batch_alive_run,
                                     ngx_http_batch_alive_done);

    if (ctx) {
        ngx_http_batch_alive_siblings(ctx);

        if (ngx_http_batch_task_start(ctx) == NGX_OK) {
            return;
        }
    }

    ngx_http_batch_alive_again();
}


static void
ngx_http_batch_alive_again(void)
{
    if (ngx_quit || ngx_exiting || ngx_terminate) {
        return;
    }

    ngx_add_timer(&ngx_http_batch_alive_event, NGX_HTTP_BATCH_ALIVE_EVERY
                  + (ngx_msec_t) ngx_random() % NGX_HTTP_BATCH_ALIVE_JITTER);
}


/* one that beats needs no look; a process id may by now be another's */

static void
ngx_http_batch_alive_siblings(ngx_http_batch_look_t *look)
{
    ngx_uint_t              i;
    ngx_http_batch_slot_t  *slot;

    i = 0;

    while (look->nlive < NGX_HTTP_BATCH_ALIVE_LIVE) {

        slot = ngx_http_batch_slots_next(&i);

        if (slot == NULL) {
            return;
        }

        if ((ngx_msec_int_t) (ngx_current_msec - (ngx_msec_t) slot->beat)
            < NGX_HTTP_BATCH_ALIVE_FRESH)
        {
            ngx_memcpy(look->live[look->nlive++], slot->owner,
                       NGX_HTTP_BATCH_WORKER_ID);
        }
    }
}


/* in a thread */

static void
ngx_http_batch_alive_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_look_t *look = ctx;

    static ngx_uint_t  blind;

    DIR         *d;
    const char  *name;

    ngx_http_batch_alive_touch();

    d = ngx_http_batch_disk_opendir(ngx_http_batch_alive_dir, "workers", ".",
                                    NULL);
    if (d == NULL) {

        /* the next look comes soon: once is enough */

        if (!blind) {
            blind = 1;
            ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                          "batch: opening of workers failed");
        }

        return;
    }

    blind = 0;

    while (look->ndead < NGX_HTTP_BATCH_ALIVE_DEAD
           && !ngx_http_batch_task_quit())
    {
        name = ngx_http_batch_disk_readdir(d, "workers", NULL);

        if (name == NULL) {
            break;
        }

        if (ngx_http_batch_alive_other(look, name)
            && ngx_http_batch_alive_dead(dirfd(d), name, log))
        {
            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                           "batch: worker %s: found dead", name);

            ngx_memcpy(look->dead[look->ndead++], name,
                       NGX_HTTP_BATCH_WORKER_ID);
        }
    }

    (void) closedir(d);
}


static void
ngx_http_batch_alive_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_look_t *look = ctx;

    ngx_uint_t  i;

    for (i = 0; i < look->ndead; i++) {
        ngx_http_batch_slots_dead(look->dead[i]);
    }

    ngx_http_batch_task_free(ctx);

    ngx_http_batch_alive_again();
}


/* or machines that know nothing of ours take it for forgotten */

static void
ngx_http_batch_alive_touch(void)
{
    time_t  now;

    now = time(NULL);

    if (ngx_http_batch_alive_fd != NGX_INVALID_FILE
        && (now < ngx_http_batch_alive_touched
            || now - ngx_http_batch_alive_touched
               > NGX_HTTP_BATCH_ALIVE_TOUCH))
    {
        ngx_http_batch_alive_touched = now;
        (void) futimens(ngx_http_batch_alive_fd, NULL);
    }
}


/* the name is a worker's, and it is worth a look */

static ngx_uint_t
ngx_http_batch_alive_other(ngx_http_batch_look_t *look, const char *name)
{
    ngx_uint_t  i;

    if (strspn(name, "0123456789abcdef") != NGX_HTTP_BATCH_WORKER_ID - 1
        || name[NGX_HTTP_BATCH_WORKER_ID - 1] != '\0'
        || ngx_strcmp(name, ngx_http_batch_worker_id) == 0)
    {
        return 0;
    }

    for (i = 0; i < look->nlive; i++) {
        if (ngx_memcmp(name, look->live[i], NGX_HTTP_BATCH_WORKER_ID) == 0) {
            return 0;
        }
    }

    return 1;
}


/* what cannot be opened, read or locked is not believed to be dead */

static ngx_uint_t
ngx_http_batch_alive_dead(ngx_fd_t dir, const char *name, ngx_log_t *log)
{
    ssize_t      n;
    ngx_fd_t     fd;
    ngx_uint_t   dead;
    struct stat  st;
    char         machine[NGX_HTTP_BATCH_ALIVE_MACHINE];

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_NONBLOCK);

    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    dead = 0;

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        goto done;
    }

    n = pread(fd, machine, NGX_HTTP_BATCH_ALIVE_MACHINE - 1, 0);

    if (n < 0) {
        goto done;
    }

    machine[n] = '\0';

    if (flock(fd, LOCK_SH|LOCK_NB) == -1) {

        if (ngx_errno == EWOULDBLOCK) {
            ngx_http_batch_alive_prove(machine);
        }

        goto done;
    }

    /* a worker that leaves takes the name away, then drops the lock */

    if (fstat(fd, &st) == -1 || st.st_nlink == 0) {
        goto done;
    }

    if (ngx_http_batch_alive_proven(machine)) {
        dead = 1;

    } else if (st.st_mtime < time(NULL) - NGX_HTTP_BATCH_ALIVE_AGE) {
        (void) ngx_http_batch_alive_forget(name, log);
    }

done:

    (void) ngx_close_file(fd);

    return dead;
}


static ngx_uint_t
ngx_http_batch_alive_proven(const char *machine)
{
    ngx_uint_t  i;

    if (machine[0] == '\0') {
        return 0;
    }

    for (i = 0; i < ngx_http_batch_alive_nmachines; i++) {
        if (ngx_strcmp(machine, ngx_http_batch_alive_machines[i]) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_batch_alive_prove(const char *machine)
{
    static ngx_uint_t  next;

    ngx_uint_t  i;

    if (machine[0] == '\0' || ngx_http_batch_alive_proven(machine)) {
        return;
    }

    /* machines come with their boots and go: the oldest makes room */

    i = 1 + next++ % NGX_HTTP_BATCH_ALIVE_PROVEN;

    ngx_memcpy(ngx_http_batch_alive_machines[i], machine,
               NGX_HTTP_BATCH_ALIVE_MACHINE);

    ngx_http_batch_alive_nmachines = ngx_max(ngx_http_batch_alive_nmachines,
                                             i + 1);
}
