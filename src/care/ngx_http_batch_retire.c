/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Ended batches are deleted as files are: the index says which, a task puts
 * their tombstones on disk, then the index is told.  A portion at a time, and
 * the next one at once while there are more.  One worker of a node does this;
 * two nodes at once do no harm.
 */

#include "ngx_http_batch_retire.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_RETIRE_EVERY  10000       /* ms */
#define NGX_HTTP_BATCH_RETIRE_MORE   10          /* ms */
#define NGX_HTTP_BATCH_RETIRE_N      32          /* batches at once */
#define NGX_HTTP_BATCH_RETIRE_PAUSE  60          /* s: before it is tried
                                                    again */


/* strings of the meta point into root */

typedef struct {
    ngx_http_batch_meta_t        meta;
    json_t                      *root;
    ngx_int_t                    rc;       /* of its deletion */
} ngx_http_batch_retire_batch_t;


typedef struct {
    ngx_uint_t                     more;
    ngx_uint_t                     n;
    ngx_http_batch_retire_batch_t  old[NGX_HTTP_BATCH_RETIRE_N];
} ngx_http_batch_retire_t;


static void ngx_http_batch_retire_timer(ngx_event_t *ev);
static void ngx_http_batch_retire_next(ngx_msec_t ms);
static void ngx_http_batch_retire_found(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_retire_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_retire_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_retire_free(ngx_http_batch_retire_t *t);


static ngx_event_t  ngx_http_batch_retire_event;


void
ngx_http_batch_retire_init(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER && ngx_worker != 0) {
        return;
    }

    ngx_http_batch_turn_timer(&ngx_http_batch_retire_event,
                              ngx_http_batch_retire_timer, 1);

    ngx_http_batch_retire_next(1000);
}


static void
ngx_http_batch_retire_next(ngx_msec_t ms)
{
    if (!ngx_http_batch_turn_leaving()) {
        ngx_add_timer(&ngx_http_batch_retire_event, ms);
    }
}


static void
ngx_http_batch_retire_timer(ngx_event_t *ev)
{
    time_t   retention;
    int64_t  until;

    if (ngx_http_batch_turn_leaving()) {
        return;
    }

    retention = ngx_http_batch_conf->retention;
    until = retention ? batch_clock_sec() - retention : 0;

    if (ngx_http_batch_index_batch_old(until, NGX_HTTP_BATCH_RETIRE_N,
                                       NGX_HTTP_BATCH_RETIRE_PAUSE,
                                       ngx_http_batch_retire_found, NULL)
        != NGX_OK)
    {
        ngx_http_batch_retire_next(NGX_HTTP_BATCH_RETIRE_EVERY);
    }
}


static void
ngx_http_batch_retire_found(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    size_t                          i;
    ngx_http_batch_retire_t        *t;
    ngx_http_batch_retire_batch_t  *old;

    if (rc != NGX_OK || (res->n == 0 && !res->has_more)
        || ngx_http_batch_turn_leaving())
    {
        ngx_http_batch_retire_next(NGX_HTTP_BATCH_RETIRE_EVERY);
        return;
    }

    t = ngx_http_batch_task_create(sizeof(ngx_http_batch_retire_t),
                                   ngx_http_batch_retire_run,
                                   ngx_http_batch_retire_done);
    if (t == NULL) {
        ngx_http_batch_retire_next(NGX_HTTP_BATCH_RETIRE_EVERY);
        return;
    }

    t->more = res->has_more;

    for (i = 0; i < res->n && i < NGX_HTTP_BATCH_RETIRE_N; i++) {
        old = &t->old[t->n];

        if (ngx_http_batch_meta_decode(&old->meta, res->items[i].data,
                                       res->items[i].len, &old->root)
            == NGX_OK)
        {
            old->rc = NGX_ERROR;
            t->n++;
        }
    }

    if (ngx_http_batch_task_post(t) != NGX_OK) {
        ngx_http_batch_retire_free(t);
        ngx_http_batch_retire_next(NGX_HTTP_BATCH_RETIRE_EVERY);
    }
}


static void
ngx_http_batch_retire_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_retire_t *t = ctx;

    ngx_uint_t  i;

    for (i = 0; i < t->n && !ngx_http_batch_task_quit(); i++) {
        t->old[i].rc = ngx_http_batch_delete_batch(t->old[i].meta.id, log);
    }
}


static void
ngx_http_batch_retire_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_retire_t *t = ctx;

    ngx_uint_t                      i;
    ngx_http_batch_retire_batch_t  *old;

    for (i = 0; i < t->n; i++) {
        old = &t->old[i];

        if (old->rc != NGX_ERROR) {
            ngx_log_error(NGX_LOG_INFO, log, 0,
                          "batch: %s: ended long ago, is deleted",
                          old->meta.id);

            /* if the index is not told, it is deleted again after the pause */

            (void) ngx_http_batch_index_batch_del(old->meta.id,
                                                  &old->meta.tenant, 1, NULL,
                                                  NULL);
        }
    }

    ngx_http_batch_retire_next(t->more ? NGX_HTTP_BATCH_RETIRE_MORE
                                       : NGX_HTTP_BATCH_RETIRE_EVERY);

    ngx_http_batch_retire_free(t);
}


static void
ngx_http_batch_retire_free(ngx_http_batch_retire_t *t)
{
    ngx_uint_t  i;

    for (i = 0; i < t->n; i++) {
        json_decref(t->old[i].root);
    }

    ngx_http_batch_task_free(t);
}
