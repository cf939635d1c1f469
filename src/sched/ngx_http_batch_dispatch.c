/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The pump of a worker: it starts lines, then claims more work.
 *
 * Only the pump starts lines; the end of one line never starts the next.  It
 * starts a few per turn of the event loop, so that the worker serves its
 * clients in between.
 * ngx_http_batch_pick.c decides which lines start, ngx_http_batch_budget.c
 * whether any may.
 */

#include "ngx_http_batch_dispatch.h"
#include "ngx_http_batch_budget.h"
#include "ngx_http_batch_chunk.h"
#include "ngx_http_batch_evict.h"
#include "ngx_http_batch_job.h"
#include "ngx_http_batch_line.h"
#include "ngx_http_batch_pick.h"
#include "ngx_http_batch_runs.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_LINES          32       /* started in one turn */
#define NGX_HTTP_BATCH_CLAIMS         32       /* at once, of idle batches */
#define NGX_HTTP_BATCH_CHUNKS         64       /* held, before no batch gets
                                                  another one ... */
#define NGX_HTTP_BATCH_CHUNKS_IDLE    128      /* ... nor a batch its first ... */
#define NGX_HTTP_BATCH_CHUNKS_MAX     160      /* ... nor a tenant */


static void ngx_http_batch_dispatch_claim(void);
static ngx_http_batch_run_t *ngx_http_batch_dispatch_next(
    ngx_http_batch_owner_t *owner);
static ngx_int_t ngx_http_batch_dispatch_send(ngx_http_batch_run_t *run);
static ngx_uint_t ngx_http_batch_dispatch_wants(ngx_http_batch_run_t *run);
static ngx_uint_t ngx_http_batch_dispatch_room(ngx_http_batch_run_t *run);
static void ngx_http_batch_dispatch_claimed(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);


static const ngx_http_batch_pick_t  ngx_http_batch_dispatch_pick = {
    ngx_http_batch_chunk_ready,
    ngx_http_batch_chunk_start
};

static const ngx_http_batch_runs_handlers_t  ngx_http_batch_dispatch_runs = {
    ngx_http_batch_evict,
    ngx_http_batch_chunk_changed
};

#if (NGX_DEBUG)

/* by ngx_http_batch_claim_e */
static const char  *ngx_http_batch_dispatch_claims[] = {
    "nothing", "validation", "a chunk", "finalizing", "nothing, it has ended"
};

#endif

static ngx_uint_t  ngx_http_batch_dispatch_nclaims;


void
ngx_http_batch_dispatch_init(void)
{
    ngx_http_batch_runs_init(&ngx_http_batch_dispatch_runs);
    ngx_http_batch_evict_init();
}


void
ngx_http_batch_dispatch_pump(void)
{
    ngx_uint_t  started;
    ngx_msec_t  pause;

    ngx_http_batch_line_reap();

    if (ngx_http_batch_turn_leaving()) {
        return;
    }

    started = ngx_http_batch_pick_lines(&ngx_http_batch_dispatch_pick,
                                        NGX_HTTP_BATCH_LINES);

    if (started >= NGX_HTTP_BATCH_LINES) {
        ngx_http_batch_turn_wake();

    } else {
        pause = ngx_http_batch_budget_pause();

        if (pause) {
            ngx_http_batch_turn_again(pause);
        }
    }

    ngx_http_batch_dispatch_claim();
}


/* a claim of each tenant in turn, until nobody wants one any more */

static void
ngx_http_batch_dispatch_claim(void)
{
    ngx_uint_t               i, n, sent;
    ngx_http_batch_run_t    *run;
    ngx_http_batch_owner_t  *owner;

    do {
        sent = 0;
        n = ngx_http_batch_owner_n();
        owner = ngx_http_batch_owner_first();

        for (i = 0; i < n; i++) {
            run = ngx_http_batch_dispatch_next(owner);
            owner = ngx_http_batch_owner_next(owner);

            if (run == NULL) {
                continue;
            }

            if (ngx_http_batch_dispatch_send(run) != NGX_OK) {
                return;
            }

            ngx_http_batch_owner_last(run->owner);
            sent = 1;
        }

    } while (sent);
}


static ngx_http_batch_run_t *
ngx_http_batch_dispatch_next(ngx_http_batch_owner_t *owner)
{
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    for (q = ngx_queue_head(&owner->runs);
         q != ngx_queue_sentinel(&owner->runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, mate);

        if ((run->nchunks
             || ngx_http_batch_dispatch_nclaims < NGX_HTTP_BATCH_CLAIMS)
            && ngx_http_batch_dispatch_wants(run))
        {
            return run;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_batch_dispatch_send(ngx_http_batch_run_t *run)
{
    ngx_str_t  nonce;

    if (run->nonce[0] == '\0'
        && batch_id_random_hex(run->nonce, 8) != BATCH_OK)
    {
        return NGX_ERROR;
    }

    nonce.data = (u_char *) run->nonce;
    nonce.len = 16;

    run->jobs = ngx_http_batch_job_room() > ngx_http_batch_dispatch_nclaims;

    if (ngx_http_batch_index_run_claim(run->id, &nonce, NGX_HTTP_BATCH_LEASE,
                                       run->jobs,
                                       ngx_http_batch_dispatch_claimed, run)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: claim sent, nonce %s, jobs: %ui",
                   run->id, run->nonce, run->jobs);

    run->claiming = 1;
    run->idle = (run->nchunks == 0);
    run->claimed_at = ngx_current_msec;

    run->owner->held += run->idle;
    ngx_http_batch_dispatch_nclaims += run->idle;

    return NGX_OK;
}


/*
 * Opening a chunk takes syncs, so the next one is claimed while the lines at
 * hand still fill this worker's places for another beat.  A batch of which the
 * worker has nothing is always asked for: it may need validation or finalizing,
 * or it is new and shall get its turn.
 */

static ngx_uint_t
ngx_http_batch_dispatch_wants(ngx_http_batch_run_t *run)
{
    if (run->claiming || run->job
        || (ngx_msec_int_t) (ngx_current_msec - run->claim_after) < 0)
    {
        return 0;
    }

    if (run->nchunks == 0) {

        if (run->unplanned
            && ngx_http_batch_job_room() <= ngx_http_batch_dispatch_nclaims)
        {
            /* only a job could do anything, and there is no room for one */
            run->starved = 1;
            return 0;
        }

        return ngx_http_batch_dispatch_room(run);
    }

    if (run->planned && run->nchunks >= run->planned) {
        return 0;
    }

    if (run->stop || run->conf == NULL
        || !ngx_http_batch_dispatch_room(run)
        || ngx_http_batch_budget_broken(run))
    {
        return 0;
    }

    return ngx_http_batch_chunk_left(run)
           < ngx_http_batch_budget_share(run) + ngx_max(run->starts, run->pace);
}


/*
 * Chunks take memory and descriptors.  A tenant that has none here gets one all
 * the same, and one that has less than its part of them gets more.
 */

static ngx_uint_t
ngx_http_batch_dispatch_room(ngx_http_batch_run_t *run)
{
    ngx_uint_t  chunks, part;

    chunks = ngx_http_batch_slot->chunks;

    if (run->nchunks == 0 && chunks < NGX_HTTP_BATCH_CHUNKS_IDLE) {
        return 1;
    }

    part = run->nchunks ? NGX_HTTP_BATCH_CHUNKS / ngx_http_batch_owner_n() : 1;

    return chunks < NGX_HTTP_BATCH_CHUNKS
           || (run->owner->held < ngx_max(part, 1)
               && chunks < NGX_HTTP_BATCH_CHUNKS_MAX);
}


static void
ngx_http_batch_dispatch_claimed(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_run_t *run = data;

    ngx_int_t  started;

    run->claiming = 0;

    run->owner->held -= run->idle;
    ngx_http_batch_dispatch_nclaims -= run->idle;

    /* other batches may have waited for their turn to claim */

    ngx_http_batch_turn_wake();

    if (rc == NGX_ERROR) {
        /* the outcome is unknown: the same nonce gets the same claim */
        ngx_http_batch_run_pause(run);
        return;
    }

    run->nonce[0] = '\0';

    if (rc != NGX_OK) {
        ngx_http_batch_run_pause(run);
        return;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: claim gave %s, chunk %uD, epoch %uD",
                   run->id, ngx_http_batch_dispatch_claims[res->claim],
                   res->chunk, res->epoch);

    ngx_http_batch_run_status(run, res);

    switch (res->claim) {

    case NGX_HTTP_BATCH_CLAIM_CHUNK:
        run->pauses = 0;
        ngx_http_batch_open_start(run, res->chunk, res->epoch);
        return;

    case NGX_HTTP_BATCH_CLAIM_VALIDATE:
    case NGX_HTTP_BATCH_CLAIM_FINALIZE:
        started = ngx_http_batch_job_start(run, res->claim, res);

        if (started != NGX_OK) {
            /* too many jobs: another worker may have it, if this fails after
             * the lease */
            (void) ngx_http_batch_index_run_renew(run->id, res->claim,
                                                  res->epoch, 0, NULL, NULL);
            ngx_http_batch_run_pause(run);
        }

        return;

    case NGX_HTTP_BATCH_CLAIM_GONE:
        ngx_http_batch_runs_over(run);
        return;

    default: /* NGX_HTTP_BATCH_CLAIM_NONE */

        if (!run->hurried) {
            run->unplanned = (res->status == BATCH_VALIDATING);
        }

        ngx_http_batch_run_pause(run);

        if (!run->jobs && run->idle) {
            run->starved = 1;
        }
    }
}
