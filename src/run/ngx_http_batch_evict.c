
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Leases of a dead worker of this node need not run out: whoever sees that it
 * is dead frees them.  If Redis does not hear of it, it is tried again with the
 * next poll; also if the index is being rebuilt, when only the lock of that can
 * be freed: which batches there are is not known before.
 */

#include "ngx_http_batch_run.h"


/* one dead worker; freed when all calls about it are answered */

typedef struct {
    char                  owner[NGX_HTTP_BATCH_WORKER_ID];
    ngx_uint_t            pending;
    ngx_uint_t            failed;
} ngx_http_batch_evict_t;


static void ngx_http_batch_evict_owner(ngx_http_batch_evict_t *e);
static void ngx_http_batch_evict_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_evict_end(ngx_http_batch_evict_t *e);


void
ngx_http_batch_evict(ngx_uint_t rebuilding)
{
    char                     owner[NGX_HTTP_BATCH_WORKER_ID];
    ngx_uint_t               i;
    ngx_http_batch_evict_t  *e;

    i = 0;

    while (ngx_http_batch_slots_died(&i, owner)) {

        e = ngx_calloc(sizeof(ngx_http_batch_evict_t), ngx_cycle->log);
        if (e == NULL) {
            return;
        }

        ngx_memcpy(e->owner, owner, NGX_HTTP_BATCH_WORKER_ID);

        e->pending = 1;
        e->failed = rebuilding;

        if (!rebuilding) {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "batch: worker "
                          "%s has died, its chunks are taken over", e->owner);

            ngx_http_batch_evict_owner(e);
        }

        if (ngx_http_batch_index_rebuild_free(e->owner,
                                              ngx_http_batch_evict_told, e)
            == NGX_OK)
        {
            e->pending++;

        } else {
            e->failed = 1;
        }

        ngx_http_batch_evict_end(e);
    }
}


static void
ngx_http_batch_evict_owner(ngx_http_batch_evict_t *e)
{
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);

        if (ngx_http_batch_index_evict(run->id, e->owner,
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

    /* NGX_DECLINED: the batch is not in the index, and so is no lease of it */

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

    if (!e->failed) {
        ngx_http_batch_slots_buried(e->owner);
    }

    ngx_free(e);

    ngx_http_batch_dispatch_wake();
}
