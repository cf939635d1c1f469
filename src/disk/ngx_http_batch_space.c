
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Free space of the store's filesystem.
 */


#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_space.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"

#include <sys/statvfs.h>


#define NGX_HTTP_BATCH_SPACE_EVERY      1000     /* ms */
#define NGX_HTTP_BATCH_SPACE_MIN        ((uint64_t) 64 * 1024 * 1024)
#define NGX_HTTP_BATCH_SPACE_MAX        ((uint64_t) 1024 * 1024 * 1024)
#define NGX_HTTP_BATCH_SPACE_INODES     1000
#define NGX_HTTP_BATCH_SPACE_SMALL      8        /* the floor is at most this
                                                    part of a small one */
#define NGX_HTTP_BATCH_SPACE_PAUSE      1000     /* ms, doubled each time */
#define NGX_HTTP_BATCH_SPACE_PAUSE_MAX  30000


typedef struct {
    ngx_http_batch_space_t     space;
    ngx_int_t                  rc;
} ngx_http_batch_measure_t;


static void ngx_http_batch_space_timer(ngx_event_t *ev);
static void ngx_http_batch_space_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_space_done(void *ctx, ngx_log_t *log);
static ngx_int_t ngx_http_batch_space_measure(ngx_http_batch_space_t *s,
    ngx_log_t *log);
static void ngx_http_batch_space_take(ngx_http_batch_space_t *s,
    ngx_log_t *log);


static ngx_http_batch_space_t  ngx_http_batch_space_now;
static ngx_event_t             ngx_http_batch_space_event;

static ngx_msec_t              ngx_http_batch_space_pause;
static ngx_msec_t              ngx_http_batch_space_until;


void
ngx_http_batch_space_init(ngx_cycle_t *cycle)
{
    ngx_http_batch_space_t   s;

    /* before the event loop: nobody waits yet */

    if (ngx_http_batch_space_measure(&s, cycle->log) == NGX_OK) {
        ngx_http_batch_space_take(&s, cycle->log);
    }

    ngx_http_batch_turn_timer(&ngx_http_batch_space_event,
                              ngx_http_batch_space_timer, 1);

    ngx_add_timer(&ngx_http_batch_space_event, NGX_HTTP_BATCH_SPACE_EVERY);
}


static void
ngx_http_batch_space_timer(ngx_event_t *ev)
{
    void  *ctx;

    ctx = ngx_http_batch_task_create(sizeof(ngx_http_batch_measure_t),
                                     ngx_http_batch_space_run,
                                     ngx_http_batch_space_done);

    if (ctx == NULL || ngx_http_batch_task_start(ctx) != NGX_OK) {
        ngx_add_timer(ev, NGX_HTTP_BATCH_SPACE_EVERY);
    }
}


static void
ngx_http_batch_space_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_measure_t *m = ctx;

    m->rc = ngx_http_batch_space_measure(&m->space, log);
}


static void
ngx_http_batch_space_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_measure_t *m = ctx;

    /* what cannot be measured is as it was: writes will tell */

    if (m->rc == NGX_OK) {
        ngx_http_batch_space_take(&m->space, log);
    }

    ngx_http_batch_task_free(ctx);

    if (!ngx_quit && !ngx_exiting && !ngx_terminate) {
        ngx_add_timer(&ngx_http_batch_space_event, NGX_HTTP_BATCH_SPACE_EVERY);
    }
}


/* in a thread; the configuration does not change under a worker */

static ngx_int_t
ngx_http_batch_space_measure(ngx_http_batch_space_t *s, ngx_log_t *log)
{
    uint64_t        size;
    struct statvfs  fs;

    ngx_memzero(s, sizeof(ngx_http_batch_space_t));

    if (fstatvfs(ngx_http_batch_layout_tmp, &fs) == -1) {
        ngx_http_batch_disk_error(log, "store", "fstatvfs()", "tmp");
        return NGX_ERROR;
    }

    s->bytes = (uint64_t) fs.f_bavail * fs.f_frsize;
    size = (uint64_t) fs.f_blocks * fs.f_frsize;

    /* filesystems that make inodes as they need them count none */

    s->inodes = fs.f_files ? (uint64_t) fs.f_favail
                           : NGX_HTTP_BATCH_SPACE_ANY;

    if (ngx_http_batch_conf->min_free != NGX_CONF_UNSET) {
        s->min_bytes = (uint64_t) ngx_http_batch_conf->min_free;

    } else {
        s->min_bytes = ngx_max(size / 100, NGX_HTTP_BATCH_SPACE_MIN);
        s->min_bytes = ngx_min(s->min_bytes, NGX_HTTP_BATCH_SPACE_MAX);
        s->min_bytes = ngx_min(s->min_bytes,
                               size / NGX_HTTP_BATCH_SPACE_SMALL);
    }

    if (s->min_bytes && fs.f_files) {
        s->min_inodes = ngx_min(NGX_HTTP_BATCH_SPACE_INODES,
                                (uint64_t) fs.f_files
                                / NGX_HTTP_BATCH_SPACE_SMALL);
    }

    s->full = (s->bytes < s->min_bytes || s->inodes < s->min_inodes);

    return NGX_OK;
}


static void
ngx_http_batch_space_take(ngx_http_batch_space_t *s, ngx_log_t *log)
{
    if (s->full != ngx_http_batch_space_now.full) {

        if (s->full) {
            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "batch: the store is full: %uL bytes and %uL inodes"
                          " are free, %uL and %uL are kept; nothing new is"
                          " let in", s->bytes, s->inodes, s->min_bytes,
                          s->min_inodes);

        } else {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "batch: there is room in the store again");
        }
    }

    ngx_http_batch_space_now = *s;
}


ngx_uint_t
ngx_http_batch_space_full(off_t bytes)
{
    uint64_t                 need;
    ngx_http_batch_space_t  *s;

    s = &ngx_http_batch_space_now;

    if (s->full) {
        return 1;
    }

    if (s->min_bytes == 0 || bytes <= 0) {
        return 0;
    }

    need = (uint64_t) bytes;

    return need > s->bytes - s->min_bytes;
}


ngx_uint_t
ngx_http_batch_space_paused(void)
{
    if (ngx_http_batch_space_now.full) {
        return 1;
    }

    return ngx_http_batch_space_pause
           && (ngx_msec_int_t) (ngx_current_msec - ngx_http_batch_space_until)
              < 0;
}


/*
 * An answer that cannot be kept is paid for in vain: while the disk refuses,
 * lines start again only after a pause, which grows.
 */

void
ngx_http_batch_space_failed(ngx_uint_t failed)
{
    ngx_msec_t  *pause;

    pause = &ngx_http_batch_space_pause;

    if (!failed) {
        *pause = 0;
        return;
    }

    if (*pause
        && (ngx_msec_int_t) (ngx_current_msec - ngx_http_batch_space_until)
           < 0)
    {
        /* another chunk of the same trouble */
        return;
    }

    *pause = *pause ? ngx_min(*pause * 2, NGX_HTTP_BATCH_SPACE_PAUSE_MAX)
                    : NGX_HTTP_BATCH_SPACE_PAUSE;

    ngx_http_batch_space_until = ngx_current_msec + *pause;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "batch: the store cannot be written, no line starts for"
                  " %M ms", *pause);
}


const ngx_http_batch_space_t *
ngx_http_batch_space(void)
{
    return &ngx_http_batch_space_now;
}
