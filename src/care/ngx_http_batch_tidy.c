/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What crashes have left in the store: files in tmp/, results whose manifests
 * are missing, work files of batches that have ended, blobs and directories
 * that never became anything, tombstones that are not needed any more.  They are looked for every hour in one walk, a thousand
 * names a second.  One worker of a node does it; two nodes at once do no harm.
 *
 * Also the work files of a batch that has just ended.
 */

#include "ngx_http_batch_tidy.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"
#include "ngx_http_batch_final.h"


#define NGX_HTTP_BATCH_TIDY_EVERY    3600000        /* ms between walks */
#define NGX_HTTP_BATCH_TIDY_PAUSE    1000           /* ms between portions */
#define NGX_HTTP_BATCH_TIDY_PORTION  1000           /* names */


typedef struct {
    ngx_http_batch_sweep_dir_t   tmp;
    ngx_http_batch_orphans_t    *orphans;     /* NULL: tmp/ comes first */
} ngx_http_batch_tidy_walk_t;


typedef struct {
    ngx_http_batch_tidy_walk_t   walk;
    ngx_uint_t                   done;
} ngx_http_batch_tidy_t;


static void ngx_http_batch_tidy_timer(ngx_event_t *ev);
static void ngx_http_batch_tidy_run(void *ctx, ngx_log_t *log);
static ngx_int_t ngx_http_batch_tidy_batch(const char *id, ngx_log_t *log);
static void ngx_http_batch_tidy_done(void *ctx, ngx_log_t *log);
static void ngx_http_batch_tidy_work_run(void *ctx, ngx_log_t *log);


static ngx_event_t                 ngx_http_batch_tidy_event;

/* the walk under way, while no task has it */
static ngx_http_batch_tidy_walk_t  ngx_http_batch_tidy_walk;


void
ngx_http_batch_tidy_init(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER && ngx_worker != 0) {
        return;
    }

    ngx_http_batch_turn_timer(&ngx_http_batch_tidy_event,
                              ngx_http_batch_tidy_timer, 1);

    ngx_add_timer(&ngx_http_batch_tidy_event, NGX_HTTP_BATCH_TIDY_PAUSE);
}


static void
ngx_http_batch_tidy_timer(ngx_event_t *ev)
{
    ngx_http_batch_tidy_t  *t;

    if (ngx_http_batch_turn_leaving()) {
        return;
    }

    t = ngx_http_batch_task_create(sizeof(ngx_http_batch_tidy_t),
                                   ngx_http_batch_tidy_run,
                                   ngx_http_batch_tidy_done);
    if (t) {
        t->walk = ngx_http_batch_tidy_walk;

        if (ngx_http_batch_task_start(t) == NGX_OK) {
            ngx_memzero(&ngx_http_batch_tidy_walk,
                        sizeof(ngx_http_batch_tidy_walk_t));
            return;
        }
    }

    ngx_add_timer(ev, NGX_HTTP_BATCH_TIDY_PAUSE);
}


static void
ngx_http_batch_tidy_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_tidy_t *t = ctx;

    char        id[BATCH_ID_LEN];
    ngx_int_t   rc;
    ngx_uint_t  n;

    if (t->walk.orphans == NULL) {

        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: walk over the store begins");

        /* first: a blob has a second name while its tmp file is there */

        rc = ngx_http_batch_store_sweep_tmp(&t->walk.tmp,
                                            NGX_HTTP_BATCH_TMP_AGE,
                                            NGX_HTTP_BATCH_TIDY_PORTION, log);
        if (rc == NGX_AGAIN) {
            return;
        }

        t->walk.orphans = ngx_http_batch_orphan_open(log);

        if (t->walk.orphans == NULL) {
            t->done = 1;
            return;
        }
    }

    for (n = 0; n < NGX_HTTP_BATCH_TIDY_PORTION; n++) {

        if (ngx_http_batch_task_quit()) {
            break;
        }

        rc = ngx_http_batch_orphan_next(t->walk.orphans, id, log);

        if (rc == NGX_AGAIN) {
            continue;
        }

        if (rc != NGX_OK) {
            t->done = 1;
            ngx_http_batch_orphan_close(t->walk.orphans);
            return;
        }

        if (ngx_http_batch_tidy_batch(id, log) != NGX_OK) {
            ngx_http_batch_orphan_unsure(t->walk.orphans);
        }
    }
}


/*
 * The batch has ended.  The worker that ended it may have died right then, and
 * after a power cut the manifests, which are not synced, may be missing.
 */

static ngx_int_t
ngx_http_batch_tidy_batch(const char *id, ngx_log_t *log)
{
    ngx_int_t               rc;
    ngx_http_batch_final_t  final;

    if (ngx_http_batch_final_read(&final, id, log) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_final_settle(&final, log);

    if (rc == NGX_OK) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: has ended, its work files are deleted", id);

        (void) ngx_http_batch_delete_work(id, log);
    }

    ngx_http_batch_final_free(&final);

    return rc;
}


static void
ngx_http_batch_tidy_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_tidy_t *t = ctx;

    ngx_uint_t  done;

    done = t->done;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0, "batch: walk over the store %s",
                   done ? "has ended" : "pauses");

    if (!done) {
        ngx_http_batch_tidy_walk = t->walk;
    }

    ngx_http_batch_task_free(ctx);

    if (!ngx_http_batch_turn_leaving()) {
        ngx_add_timer(&ngx_http_batch_tidy_event,
                      done ? NGX_HTTP_BATCH_TIDY_EVERY
                           : NGX_HTTP_BATCH_TIDY_PAUSE);
    }
}


/*
 * Hundreds of unlink() take longer than the commit does, and no client waits
 * for them, so the job tells the index of the end first.  The walk deletes what
 * this task leaves.
 */

void
ngx_http_batch_tidy_work(const char *id)
{
    void  *ctx;

    ctx = ngx_http_batch_task_create(BATCH_ID_LEN,
                                     ngx_http_batch_tidy_work_run, NULL);
    if (ctx == NULL) {
        return;
    }

    ngx_memcpy(ctx, id, BATCH_ID_LEN);

    (void) ngx_http_batch_task_start(ctx);
}


static void
ngx_http_batch_tidy_work_run(void *ctx, ngx_log_t *log)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                   "batch: %s: work files are deleted", (char *) ctx);

    (void) ngx_http_batch_delete_work(ctx, log);
}
