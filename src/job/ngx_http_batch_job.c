/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Jobs: what is done once per batch, in a thread, by the worker that holds the
 * lease.
 *
 *   state     means                                   next
 *   RUNNING   a task validates or finalizes; or the   TELLING, gone
 *             index is asked whether the tenant may
 *             have so many lines
 *   TELLING   the disk has the result; every beat     gone
 *             tells the index until it answers
 *
 *   what a job tells, by what its task has come to:
 *   VALID                       PLANNED   the run gets what was read
 *   INVALID, ENDED, FINAL_OK    FINAL     the batch is over
 *   FINAL_REDO                  REDO      a chunk runs again
 *   all else                    NOTHING   the lease is given back (renewed for
 *                                         0 ms); after trouble this worker
 *                                         waits two seconds
 *
 * When a lease is lost, and another worker does the same job, the disk decides
 * which of them was first.
 */

#include "ngx_http_batch_job.h"
#include "ngx_http_batch_runs.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"
#include "ngx_http_batch_validate.h"
#include "ngx_http_batch_lookup.h"


#define NGX_HTTP_BATCH_JOBS      16     /* at once, per worker */


typedef enum {
    NGX_HTTP_BATCH_JOB_RUNNING = 0,
    NGX_HTTP_BATCH_JOB_TELLING
} ngx_http_batch_job_life_e;


typedef enum {
    NGX_HTTP_BATCH_TELL_NOTHING = 0,   /* give the lease back */
    NGX_HTTP_BATCH_TELL_PLANNED,
    NGX_HTTP_BATCH_TELL_FINAL,
    NGX_HTTP_BATCH_TELL_REDO
} ngx_http_batch_job_tell_e;


/* the context of its task, freed here; index call and queue point to it */

typedef struct {
    ngx_queue_t                   queue;
    ngx_http_batch_run_t         *run;
    ngx_http_batch_claim_e        kind;
    uint32_t                      epoch;
    ngx_http_batch_job_life_e     life;
    ngx_http_batch_job_tell_e     tell;
    ngx_msec_t                    renewed;
    ngx_uint_t                    telling;
    ngx_uint_t                    renewing;
    ngx_http_batch_job_end_pt     handler;        /* of _end() */
    void                         *data;
    ngx_uint_t                    counted;        /* in njobs */

    /* the task's, by kind */
    ngx_http_batch_validate_t     v;
    ngx_uint_t                    asked;          /* the index has answered
                                                     whether v has room */
    ngx_http_batch_finalize_t     f;

    /* what the task has found; the job's own */
    ngx_http_batch_meta_t         meta;           /* strings in root, or, if
                                                     that is NULL, the run's */
    json_t                       *root;
    ngx_http_batch_plan_t         plan;           /* to be told: PLANNED */
    ngx_http_batch_final_t        final;          /* ... FINAL */
} ngx_http_batch_job_t;


#if (NGX_DEBUG)
static const char *ngx_http_batch_job_name(ngx_http_batch_job_t *job);
#endif
static void ngx_http_batch_job_insert(ngx_http_batch_job_t *job);
static ngx_http_batch_job_t *ngx_http_batch_job_create(
    ngx_http_batch_run_t *run, ngx_http_batch_claim_e kind);
static void ngx_http_batch_job_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_job_done(void *ctx, ngx_log_t *log);
static ngx_int_t ngx_http_batch_job_count(ngx_http_batch_job_t *job);
static void ngx_http_batch_job_counted(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_job_validated(ngx_http_batch_job_t *job);
static void ngx_http_batch_job_finalized(ngx_http_batch_job_t *job);
static void ngx_http_batch_job_tell(ngx_http_batch_job_t *job);
static void ngx_http_batch_job_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_job_renewed(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_job_free(ngx_http_batch_job_t *job);


#if (NGX_DEBUG)

/* by ngx_http_batch_validate_e, ngx_http_batch_finalize_e */

static const char *const  ngx_http_batch_job_verdicts[] = {
    "valid", "valid, to be counted", "not valid", "cancelled", "has ended",
    "worker leaves", "location is gone", "trouble"
};

static const char *const  ngx_http_batch_job_ends[] = {
    "final.json is there", "a chunk runs again", "worker leaves", "trouble"
};

/* by ngx_http_batch_job_tell_e */

static const char *const  ngx_http_batch_job_news[] = {
    "lease that ends", "plan", "end", "chunk that runs again"
};

#endif


static ngx_queue_t                  ngx_http_batch_jobs;
static ngx_uint_t                   ngx_http_batch_njobs;
static ngx_http_batch_job_ended_pt  ngx_http_batch_job_ended;


void
ngx_http_batch_job_init(ngx_http_batch_job_ended_pt ended)
{
    ngx_queue_init(&ngx_http_batch_jobs);

    ngx_http_batch_job_ended = ended;
}


ngx_uint_t
ngx_http_batch_job_idle(void)
{
    return ngx_queue_empty(&ngx_http_batch_jobs);
}


ngx_uint_t
ngx_http_batch_job_room(void)
{
    return NGX_HTTP_BATCH_JOBS - ngx_http_batch_njobs;
}


ngx_int_t
ngx_http_batch_job_start(ngx_http_batch_run_t *run,
    ngx_http_batch_claim_e kind, ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_job_t  *job;

    if (run->job || ngx_http_batch_njobs >= NGX_HTTP_BATCH_JOBS) {
        return NGX_BUSY;
    }

    job = ngx_http_batch_job_create(run, kind);
    if (job == NULL) {
        return NGX_ERROR;
    }

    if (run->loaded) {
        job->f.known = &run->meta;
    }

    if (res) {
        job->epoch = res->epoch;
        job->f.expired = res->expired;
        job->f.finalizing_at = res->finalizing_at;
    }

    if (ngx_http_batch_task_start(job) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_batch_njobs++;
    job->counted = 1;

    ngx_http_batch_job_insert(job);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: %s begins, epoch %uD", run->id,
                   ngx_http_batch_job_name(job), job->epoch);

    return NGX_OK;
}


#if (NGX_DEBUG)

static const char *
ngx_http_batch_job_name(ngx_http_batch_job_t *job)
{
    return job->kind == NGX_HTTP_BATCH_CLAIM_VALIDATE ? "validation"
                                                      : "finalizing";
}

#endif


static ngx_http_batch_job_t *
ngx_http_batch_job_create(ngx_http_batch_run_t *run,
    ngx_http_batch_claim_e kind)
{
    ngx_http_batch_job_t  *job;

    job = ngx_http_batch_task_create(sizeof(ngx_http_batch_job_t),
                                     ngx_http_batch_job_run,
                                     ngx_http_batch_job_done);
    if (job == NULL) {
        return NULL;
    }

    job->run = run;
    job->kind = kind;
    job->renewed = ngx_current_msec;

    ngx_memcpy(job->v.id, run->id, BATCH_ID_LEN);
    ngx_memcpy(job->f.id, run->id, BATCH_ID_LEN);

    return job;
}


static void
ngx_http_batch_job_insert(ngx_http_batch_job_t *job)
{
    job->run->job = 1;
    job->run->refs++;

    ngx_queue_insert_tail(&ngx_http_batch_jobs, &job->queue);
}


/* needs no lease: that of its only chunk is ours */

ngx_int_t
ngx_http_batch_job_end(ngx_http_batch_run_t *run,
    ngx_http_batch_finalize_line_t *lines, size_t n,
    ngx_http_batch_job_end_pt handler, void *data)
{
    ngx_http_batch_job_t  *job;

    job = ngx_http_batch_job_create(run, NGX_HTTP_BATCH_CLAIM_FINALIZE);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->handler = handler;
    job->data = data;
    job->f.known = &run->meta;
    job->f.plan = &run->plan;
    job->f.lines = lines;
    job->f.nlines = n;

    if (ngx_http_batch_task_start(job) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_batch_job_insert(job);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: ends with %uz lines that no segment has",
                   run->id, n);

    return NGX_OK;
}


static void
ngx_http_batch_job_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_job_t *job = ctx;

    if (job->kind == NGX_HTTP_BATCH_CLAIM_FINALIZE) {
        ngx_http_batch_finalize(&job->f, log);

    } else if (job->asked) {
        ngx_http_batch_validate_decide(&job->v, log);

    } else {
        ngx_http_batch_validate(&job->v, log);
    }
}


static void
ngx_http_batch_job_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_job_t *job = ctx;

    if (job->kind == NGX_HTTP_BATCH_CLAIM_FINALIZE) {
        ngx_http_batch_job_finalized(job);
        return;
    }

    if (job->v.rc == NGX_HTTP_BATCH_COUNTED) {

        if (ngx_http_batch_job_count(job) == NGX_OK) {
            return;
        }

        job->v.rc = NGX_HTTP_BATCH_TROUBLE;
    }

    ngx_http_batch_job_validated(job);
}


/* the place that the batch has had since its creation grows to its lines */

static ngx_int_t
ngx_http_batch_job_count(ngx_http_batch_job_t *job)
{
    ngx_http_batch_hold_t  h;

    ngx_memzero(&h, sizeof(ngx_http_batch_hold_t));

    h.use = NGX_HTTP_BATCH_USE_BATCHES;
    h.tenant = job->v.meta.tenant;
    h.id = job->v.id;
    h.amount = (int64_t) job->v.plan.total;
    h.max_sum = job->v.max_lines;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: asks for %uL lines of a quota of %ui", job->v.id,
                   job->v.plan.total, job->v.max_lines);

    return ngx_http_batch_index_use_hold(&h, ngx_http_batch_job_counted, job);
}


static void
ngx_http_batch_job_counted(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_job_t *job = data;

    if (rc == NGX_OK || rc == NGX_DECLINED) {
        job->asked = 1;
        job->v.over = (rc == NGX_DECLINED);

        /* its own place was one line */

        job->v.used = res->used ? res->used - 1 : 0;

        if (ngx_http_batch_task_post(job) == NGX_OK) {
            return;
        }
    }

    job->v.rc = NGX_HTTP_BATCH_TROUBLE;
    ngx_http_batch_job_validated(job);
}


static void
ngx_http_batch_job_validated(ngx_http_batch_job_t *job)
{
    job->meta = job->v.meta;
    job->root = job->v.root;
    job->plan = job->v.plan;
    job->final = job->v.final;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: validated: %s, %uL lines in %uD chunks",
                   job->run->id, ngx_http_batch_job_verdicts[job->v.rc],
                   job->plan.total, job->plan.nchunks);

    switch (job->v.rc) {

    case NGX_HTTP_BATCH_VALID:
        job->tell = NGX_HTTP_BATCH_TELL_PLANNED;
        break;

    case NGX_HTTP_BATCH_INVALID:
    case NGX_HTTP_BATCH_ENDED:
        job->tell = NGX_HTTP_BATCH_TELL_FINAL;
        break;

    case NGX_HTTP_BATCH_UNROUTED:
        ngx_http_batch_run_unrouted(job->run, &job->meta.route);

        /* fall through */

    case NGX_HTTP_BATCH_TROUBLE:
        job->run->claim_after = ngx_current_msec + 2000;
        break;

    default: /* NGX_HTTP_BATCH_CANCELLED_EARLY, NGX_HTTP_BATCH_QUIT */
        break;
    }

    job->life = NGX_HTTP_BATCH_JOB_TELLING;
    ngx_http_batch_job_tell(job);
}


static void
ngx_http_batch_job_finalized(ngx_http_batch_job_t *job)
{
    void                       *data;
    ngx_http_batch_job_end_pt   handler;

    job->meta = job->f.meta;
    job->root = job->f.root;
    job->final = job->f.final;
    handler = job->handler;
    data = job->data;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: finalized: %s, %uz bytes", job->run->id,
                   ngx_http_batch_job_ends[job->f.rc], job->final.text.len);

    if (handler && job->f.rc != NGX_HTTP_BATCH_FINAL_OK) {
        ngx_http_batch_job_free(job);
        handler(data, 0);
        return;
    }

    switch (job->f.rc) {

    case NGX_HTTP_BATCH_FINAL_OK:
        job->tell = NGX_HTTP_BATCH_TELL_FINAL;
        ngx_http_batch_slot->finalized++;
        break;

    case NGX_HTTP_BATCH_FINAL_REDO:
        job->tell = NGX_HTTP_BATCH_TELL_REDO;
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: %s, chunk %uD: runs again", job->run->id,
                       job->f.redo_chunk);
        break;

    case NGX_HTTP_BATCH_FINAL_TROUBLE:
        job->run->claim_after = ngx_current_msec + 2000;
        break;

    default: /* NGX_HTTP_BATCH_FINAL_QUIT */
        break;
    }

    job->life = NGX_HTTP_BATCH_JOB_TELLING;
    ngx_http_batch_job_tell(job);

    if (handler) {
        handler(data, 1);
    }
}


static void
ngx_http_batch_job_tell(ngx_http_batch_job_t *job)
{
    char       *id;
    ngx_int_t   rc;

    if (job->telling || job->renewing) {
        return;
    }

    id = job->run->id;

    switch (job->tell) {

    case NGX_HTTP_BATCH_TELL_PLANNED:
        rc = ngx_http_batch_index_run_planned(id, &job->meta.tenant,
                                              job->plan.total,
                                              job->plan.nchunks,
                                              &job->plan.model,
                                              job->plan.in_progress_at,
                                              ngx_http_batch_job_told, job);
        break;

    case NGX_HTTP_BATCH_TELL_FINAL:
        rc = ngx_http_batch_index_batch_final(&job->meta, &job->final,
                               ngx_http_batch_lookup_hook(&job->meta.route),
                               ngx_http_batch_lookup_ended(&job->meta.route),
                                              ngx_http_batch_job_told, job);
        break;

    case NGX_HTTP_BATCH_TELL_REDO:
        rc = ngx_http_batch_index_run_chunk_redo(id, job->f.redo_chunk,
                                                 ngx_http_batch_job_told, job);
        break;

    default: /* NGX_HTTP_BATCH_TELL_NOTHING */
        rc = ngx_http_batch_index_run_renew(id, job->kind, job->epoch, 0,
                                            ngx_http_batch_job_told, job);
    }

    if (rc == NGX_OK) {
        job->telling = 1;
        return;
    }

    if (ngx_http_batch_turn_leaving()) {
        /* the next owner of the lease finds what is on disk */
        ngx_http_batch_job_free(job);
    }
}


static void
ngx_http_batch_job_told(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_job_t *job = data;

    ngx_http_batch_run_t  *run;

    job->telling = 0;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: index was told of the %s: %i", job->run->id,
                   ngx_http_batch_job_news[job->tell], rc);

    if (rc == NGX_OK || rc == NGX_DECLINED
        || ngx_http_batch_turn_leaving())
    {
        run = job->run;

        if (job->tell == NGX_HTTP_BATCH_TELL_FINAL && rc == NGX_OK) {
            ngx_http_batch_runs_over(run);

        } else if (job->tell != NGX_HTTP_BATCH_TELL_NOTHING) {
            ngx_http_batch_run_hurry(run);
        }

        if (job->tell == NGX_HTTP_BATCH_TELL_PLANNED) {
            run->planned = job->plan.nchunks;

            if (run->planned > 1) {
                ngx_http_batch_slots_tell();
            }

            /* the chunks of this worker need not read it again */

            ngx_http_batch_run_adopt(run, job->root, &job->meta, &job->plan);

            job->root = NULL;
            ngx_memzero(&job->plan, sizeof(ngx_http_batch_plan_t));
        }

        if (job->tell == NGX_HTTP_BATCH_TELL_FINAL) {
            ngx_http_batch_job_ended(run);
        }

        ngx_http_batch_job_free(job);
    }

    /* otherwise again with the next tick */
}


void
ngx_http_batch_job_beat(void)
{
    ngx_queue_t           *q, *next;
    ngx_http_batch_job_t  *job;

    for (q = ngx_queue_head(&ngx_http_batch_jobs);
         q != ngx_queue_sentinel(&ngx_http_batch_jobs);
         q = next)
    {
        next = ngx_queue_next(q);

        job = ngx_queue_data(q, ngx_http_batch_job_t, queue);

        if (job->epoch && !job->renewing && !job->telling
            && ngx_current_msec - job->renewed >= NGX_HTTP_BATCH_LEASE / 4)
        {
            if (ngx_http_batch_index_run_renew(job->run->id, job->kind,
                                               job->epoch, NGX_HTTP_BATCH_LEASE,
                                               ngx_http_batch_job_renewed, job)
                == NGX_OK)
            {
                job->renewing = 1;
                job->renewed = ngx_current_msec;
            }
        }

        if (job->life == NGX_HTTP_BATCH_JOB_TELLING) {
            ngx_http_batch_job_tell(job);
        }
    }
}


static void
ngx_http_batch_job_renewed(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_job_t *job = data;

    job->renewing = 0;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: lease of its %s renewed, epoch %uD: %i",
                   job->run->id, ngx_http_batch_job_name(job), job->epoch,
                   rc);

    if (job->life == NGX_HTTP_BATCH_JOB_TELLING) {
        ngx_http_batch_job_tell(job);
    }
}


static void
ngx_http_batch_job_free(ngx_http_batch_job_t *job)
{
    ngx_queue_remove(&job->queue);

    ngx_http_batch_njobs -= job->counted;

    job->run->job = 0;
    job->run->refs--;

    json_decref(job->root);
    ngx_http_batch_plan_free(&job->plan);
    ngx_http_batch_final_free(&job->final);
    ngx_http_batch_task_free(job);

    ngx_http_batch_runs_feed(1);
    ngx_http_batch_turn_wake();
}
