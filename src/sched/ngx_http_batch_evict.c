/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The leases of a dead worker are freed before they run out, by any worker that
 * knows that it is dead.  If Redis does not hear of it, the next poll tries
 * again.  While the index is being rebuilt, only the lock of the rebuild can be
 * freed, since it is not known which batches there are.  If there are more
 * batches than a poll shows, this goes on until the leases have run out.
 *
 * A worker that dies while it does this changes nothing: the file of the dead
 * worker is deleted after all its leases, its grave last of all.
 */

#include "ngx_http_batch_evict.h"
#include "ngx_http_batch_alive.h"
#include "ngx_http_batch_runs.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_EVICT_AGAIN  10000   /* ms, after its file could not be
                                               deleted */


/* one dead worker; freed when it is buried and all calls have returned */

typedef struct {
    ngx_queue_t           queue;
    char                  owner[NGX_HTTP_BATCH_WORKER_ID];
    ngx_uint_t            pending;
    ngx_msec_t            after;        /* not before */
    unsigned              failed:1;
    unsigned              told:1;       /* to the log */
    unsigned              seen:1;
} ngx_http_batch_evict_t;


/* the context of a task */

typedef struct {
    char                     owner[NGX_HTTP_BATCH_WORKER_ID];
    ngx_int_t                rc;
    ngx_http_batch_evict_t  *evict;
} ngx_http_batch_forget_t;


static ngx_http_batch_evict_t *ngx_http_batch_evict_get(const char *owner);
static void ngx_http_batch_evict_begin(ngx_http_batch_evict_t *e,
    ngx_uint_t rebuilding);
static void ngx_http_batch_evict_owner(ngx_http_batch_evict_t *e);
static void ngx_http_batch_evict_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_evict_end(ngx_http_batch_evict_t *e);
static void ngx_http_batch_evict_forget(ngx_http_batch_evict_t *e);
static void ngx_http_batch_evict_forget_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_evict_forget_done(void *ctx, ngx_log_t *log);


static ngx_queue_t  ngx_http_batch_evicts;


void
ngx_http_batch_evict_init(void)
{
    ngx_queue_init(&ngx_http_batch_evicts);
}


void
ngx_http_batch_evict(ngx_uint_t rebuilding, ngx_uint_t whole)
{
    char                     owner[NGX_HTTP_BATCH_WORKER_ID];
    ngx_uint_t               i;
    ngx_msec_t               age;
    ngx_queue_t             *q, *next;
    ngx_http_batch_evict_t  *e;

    i = 0;

    while (ngx_http_batch_slots_died(&i, owner, &age)) {

        e = ngx_http_batch_evict_get(owner);
        if (e == NULL) {
            return;
        }

        e->seen = 1;

        if (e->pending
            || (ngx_msec_int_t) (ngx_current_msec - e->after) < 0)
        {
            continue;
        }

        e->failed = (rebuilding || (!whole && age <= NGX_HTTP_BATCH_LEASE));

        ngx_http_batch_evict_begin(e, rebuilding);
    }

    for (q = ngx_queue_head(&ngx_http_batch_evicts);
         q != ngx_queue_sentinel(&ngx_http_batch_evicts);
         q = next)
    {
        next = ngx_queue_next(q);
        e = ngx_queue_data(q, ngx_http_batch_evict_t, queue);

        if (!e->seen && !e->pending) {
            ngx_queue_remove(q);
            ngx_free(e);
            continue;
        }

        e->seen = 0;
    }
}


static ngx_http_batch_evict_t *
ngx_http_batch_evict_get(const char *owner)
{
    ngx_queue_t             *q;
    ngx_http_batch_evict_t  *e;

    for (q = ngx_queue_head(&ngx_http_batch_evicts);
         q != ngx_queue_sentinel(&ngx_http_batch_evicts);
         q = ngx_queue_next(q))
    {
        e = ngx_queue_data(q, ngx_http_batch_evict_t, queue);

        if (ngx_strcmp(e->owner, owner) == 0) {
            return e;
        }
    }

    e = ngx_calloc(sizeof(ngx_http_batch_evict_t), ngx_cycle->log);
    if (e == NULL) {
        return NULL;
    }

    ngx_memcpy(e->owner, owner, NGX_HTTP_BATCH_WORKER_ID);
    e->after = ngx_current_msec;

    ngx_queue_insert_tail(&ngx_http_batch_evicts, &e->queue);

    return e;
}


static void
ngx_http_batch_evict_begin(ngx_http_batch_evict_t *e, ngx_uint_t rebuilding)
{
    e->pending = 1;

    if (!rebuilding) {

        if (!e->told) {
            e->told = 1;

            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "batch: worker %s has died, its chunks are taken"
                          " over", e->owner);
        }

        ngx_http_batch_evict_owner(e);
    }

    if (ngx_http_batch_index_era_unlock(e->owner, ngx_http_batch_evict_told,
                                        e)
        == NGX_OK)
    {
        e->pending++;

    } else {
        e->failed = 1;
    }

    ngx_http_batch_evict_end(e);
}


static void
ngx_http_batch_evict_owner(ngx_http_batch_evict_t *e)
{
    ngx_http_batch_run_t  *run;

    run = NULL;

    while ((run = ngx_http_batch_runs_next(run)) != NULL) {
        if (ngx_http_batch_index_run_evict(run->id, e->owner,
                                           ngx_http_batch_evict_told, e)
            == NGX_OK)
        {
            e->pending++;
            run->claim_after = ngx_current_msec;

        } else {
            e->failed = 1;
        }
    }
}


static void
ngx_http_batch_evict_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_evict_t *e = data;

    /* NGX_DECLINED: the index knows neither the batch nor a lease of it */

    if (rc != NGX_OK && rc != NGX_DECLINED) {
        e->failed = 1;
    }

    ngx_http_batch_evict_end(e);
}


static void
ngx_http_batch_evict_end(ngx_http_batch_evict_t *e)
{
    if (--e->pending) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: worker %s: leases freed, failed: %d", e->owner,
                   e->failed);

    if (!e->failed) {
        ngx_http_batch_evict_forget(e);
    }

    ngx_http_batch_turn_wake();
}


static void
ngx_http_batch_evict_forget(ngx_http_batch_evict_t *e)
{
    ngx_http_batch_forget_t  *f;

    f = ngx_http_batch_task_create(sizeof(ngx_http_batch_forget_t),
                                   ngx_http_batch_evict_forget_run,
                                   ngx_http_batch_evict_forget_done);
    if (f == NULL) {
        return;
    }

    ngx_memcpy(f->owner, e->owner, NGX_HTTP_BATCH_WORKER_ID);
    f->evict = e;

    if (ngx_http_batch_task_start(f) != NGX_OK) {
        return;
    }

    e->pending = 1;
}


static void
ngx_http_batch_evict_forget_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_forget_t *f = ctx;

    f->rc = ngx_http_batch_alive_forget(f->owner, log);
}


static void
ngx_http_batch_evict_forget_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_forget_t *f = ctx;

    f->evict->pending = 0;

    if (f->rc == NGX_OK) {
        ngx_http_batch_slots_buried(f->owner);

    } else {
        /* without its grave it would be found dead again at once */
        f->evict->after = ngx_current_msec + NGX_HTTP_BATCH_EVICT_AGAIN;
    }

    ngx_http_batch_task_free(ctx);
}
