/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * WHAT: per worker: what is claimed, and which lines start now.
 *
 * DESIGN: which batches there are, runs knows.  Lines are started by the pump,
 * never from a line's own stack, a few per turn of the event loop, so that
 * clients of the same worker are served in between.
 */

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_hook.h"
#include "ngx_http_batch_recover.h"


#define NGX_HTTP_BATCH_CLAIMS         32       /* at once, of idle batches */
#define NGX_HTTP_BATCH_CHUNKS         64       /* held at most */
#define NGX_HTTP_BATCH_FLYING         1        /* blocked, own lines in flight */
#define NGX_HTTP_BATCH_IDLE           2        /* blocked, none */
#define NGX_HTTP_BATCH_PASS           4        /* lines of a batch in a row */


static void ngx_http_batch_dispatch_beat(void);
static void ngx_http_batch_dispatch_pump(void);
static void ngx_http_batch_dispatch_leave(ngx_uint_t cut);
static ngx_uint_t ngx_http_batch_dispatch_idle(void);
static ngx_uint_t ngx_http_batch_dispatch_lines(ngx_uint_t *blocked);
static ngx_uint_t ngx_http_batch_dispatch_priorities(void);
static ngx_uint_t ngx_http_batch_dispatch_round(ngx_uint_t priority,
    ngx_uint_t started, ngx_uint_t *blocked);
static void ngx_http_batch_dispatch_claim(void);
static ngx_uint_t ngx_http_batch_dispatch_wants(ngx_http_batch_run_t *run);
static void ngx_http_batch_dispatch_claimed(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_dispatch_returned(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);


static const ngx_http_batch_turn_t  ngx_http_batch_dispatch_turn = {
    ngx_http_batch_dispatch_beat,
    ngx_http_batch_dispatch_pump,
    ngx_http_batch_dispatch_leave,
    ngx_http_batch_dispatch_idle
};

static ngx_uint_t  ngx_http_batch_nclaims;


ngx_int_t
ngx_http_batch_dispatch_init(ngx_cycle_t *cycle)
{
    ngx_http_batch_runs_init();
    ngx_http_batch_evict_init();

    ngx_queue_init(&ngx_http_batch_chunks);
    ngx_queue_init(&ngx_http_batch_jobs);

    ngx_http_batch_line_init();

    ngx_http_batch_sweep_init(cycle);

    if (ngx_http_batch_hook_init() != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_batch_turn_init(cycle, &ngx_http_batch_dispatch_turn);
}


/*
 * Leases are taken over, or run out; what is in memory and not on disk is done
 * again by the next owner.
 */

void
ngx_http_batch_dispatch_exit(void)
{
    ngx_http_batch_turn_exit();
}


ngx_uint_t
ngx_http_batch_dispatch_holds(void)
{
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    if (!ngx_queue_empty(&ngx_http_batch_chunks)
        || !ngx_queue_empty(&ngx_http_batch_jobs))
    {
        return 1;
    }

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);

        /* a nonce is kept until there is an answer to its claim */

        if (run->claiming || run->nonce[0]) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_batch_dispatch_beat(void)
{
    ngx_queue_t             *q, *next;
    ngx_http_batch_chunk_t  *c;

    ngx_http_batch_chunk_awake();
    ngx_http_batch_slots_beat();
    ngx_http_batch_runs_tick();

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);
        ngx_http_batch_chunk_tick(c);
    }

    ngx_http_batch_job_tick();
    ngx_http_batch_hook_tick();

    ngx_http_batch_turn_wake();
}


static void
ngx_http_batch_dispatch_pump(void)
{
    ngx_uint_t  started, blocked;

    ngx_http_batch_line_reap();

    if (ngx_http_batch_turn_leaving()) {
        return;
    }

    blocked = 0;
    started = ngx_http_batch_dispatch_lines(&blocked);

    if (started >= NGX_HTTP_BATCH_TURN) {
        ngx_http_batch_turn_wake();

    } else if (blocked) {
        /*
         * Other workers hold the slots, and do not tell when one is free.  Own
         * lines that end come here anyway.
         */
        ngx_http_batch_turn_again(blocked == NGX_HTTP_BATCH_IDLE ? 2 : 20);
    }

    ngx_http_batch_dispatch_claim();
}


/*
 * Batches of a higher priority first; those of a lower one get what is left.
 * Of one priority, batches take turns, so that a small one is not kept behind a
 * huge one; of one batch, a chunk is emptied before the next one is begun.
 */

static ngx_uint_t
ngx_http_batch_dispatch_lines(ngx_uint_t *blocked)
{
    ngx_int_t   priority;
    ngx_uint_t  before, started, present, i;

    for (i = 0; i < NGX_HTTP_BATCH_LANES; i++) {
        ngx_http_batch_slot->want[i] = 0;
    }

    if (!ngx_http_batch_budget_any()) {
        return 0;
    }

    started = 0;
    present = ngx_http_batch_dispatch_priorities();

    for (priority = NGX_HTTP_BATCH_PRIORITY_MAX; priority >= 0; priority--) {

        if (!(present & (1 << priority))) {
            continue;
        }

        do {
            before = started;
            started = ngx_http_batch_dispatch_round(priority, started,
                                                    blocked);

            if (started >= NGX_HTTP_BATCH_TURN) {
                return started;
            }

        } while (started > before);
    }

    return started;
}


/* a bit for each priority that has a chunk */

static ngx_uint_t
ngx_http_batch_dispatch_priorities(void)
{
    ngx_uint_t               present;
    ngx_queue_t             *q;
    ngx_http_batch_chunk_t  *c;

    present = 0;

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = ngx_queue_next(q))
    {
        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);
        present |= 1 << c->run->priority;
    }

    return present;
}


/* each batch of the priority once; how many lines have been started now */

static ngx_uint_t
ngx_http_batch_dispatch_round(ngx_uint_t priority, ngx_uint_t started,
    ngx_uint_t *blocked)
{
    static ngx_uint_t  round;

    ngx_int_t                rc;
    ngx_uint_t               n;
    ngx_queue_t             *q, *next;
    ngx_http_batch_run_t    *run;
    ngx_http_batch_chunk_t  *c;

    round++;

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);
        run = c->run;

        if (run->priority != priority
            || run->round == round
            || c->life != NGX_HTTP_BATCH_CHUNK_RUNNING
            || run->stop
            || ngx_http_batch_chunk_left(c) == 0
            || ngx_http_batch_slot->want[run->route]
            || (run->jcf && ngx_http_batch_slot->want[run->job_lane]))
        {
            continue;
        }

        for (n = 0; n < NGX_HTTP_BATCH_PASS; n++) {

            if (ngx_http_batch_budget(run) == 0) {
                ngx_http_batch_slot->want[run->held] = 1;
                *blocked = ngx_http_batch_slot->inflight[run->held]
                           ? ngx_max(*blocked, NGX_HTTP_BATCH_FLYING)
                           : NGX_HTTP_BATCH_IDLE;
                break;
            }

            rc = ngx_http_batch_chunk_start(c);
            ngx_http_batch_budget_started(run);

            if (rc != NGX_OK) {
                break;
            }

            run->starts++;
            run->round = round;

            if (++started >= NGX_HTTP_BATCH_TURN) {
                return started;
            }
        }
    }

    return started;
}


static void
ngx_http_batch_dispatch_claim(void)
{
    ngx_str_t              nonce;
    ngx_uint_t             idle;
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);

        idle = (run->nchunks == 0);

        if ((idle && ngx_http_batch_nclaims >= NGX_HTTP_BATCH_CLAIMS)
            || !ngx_http_batch_dispatch_wants(run))
        {
            continue;
        }

        if (run->nonce[0] == '\0'
            && batch_id_random_hex(run->nonce, 8) != BATCH_OK)
        {
            return;
        }

        nonce.data = (u_char *) run->nonce;
        nonce.len = 16;

        run->jobs = ngx_http_batch_jobs_free() > ngx_http_batch_nclaims;

        if (ngx_http_batch_index_claim(run->id, &nonce, NGX_HTTP_BATCH_LEASE,
                                       run->jobs,
                                       ngx_http_batch_dispatch_claimed, run)
            != NGX_OK)
        {
            return;
        }

        run->claiming = 1;
        run->idle = idle;
        ngx_http_batch_nclaims += idle;
        run->claimed_at = ngx_current_msec;
    }
}


/*
 * A chunk is claimed when the lines at hand would not fill the worker's slots
 * and last for a tick besides: opening the next one takes syncs.  A batch of
 * which this worker has nothing is always asked for: it may need validation or
 * finalizing, or it is new and should get its turn.
 */

static ngx_uint_t
ngx_http_batch_dispatch_wants(ngx_http_batch_run_t *run)
{
    ngx_uint_t               left, share;
    ngx_queue_t             *q;
    ngx_core_conf_t         *ccf;
    ngx_http_batch_chunk_t  *c;

    if (run->claiming || run->job
        || (ngx_msec_int_t) (ngx_current_msec - run->claim_after) < 0)
    {
        return 0;
    }

    if (run->nchunks == 0) {

        if (run->unplanned
            && ngx_http_batch_jobs_free() <= ngx_http_batch_nclaims)
        {
            /* there is no use in asking; who plans it tells */
            run->starved = 1;
            return 0;
        }

        return ngx_http_batch_slot->chunks < NGX_HTTP_BATCH_CHUNKS * 2;
    }

    if (run->planned && run->nchunks >= run->planned) {
        return 0;
    }

    if (run->stop || run->conf == NULL
        || ngx_http_batch_slot->chunks >= NGX_HTTP_BATCH_CHUNKS
        || ngx_http_batch_budget_broken(run))
    {
        return 0;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    share = (ngx_http_batch_budget_limit(run) + ccf->worker_processes - 1)
            / ccf->worker_processes
            + ngx_max(run->starts, run->pace);

    left = 0;

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = ngx_queue_next(q))
    {
        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);

        if (c->run == run) {
            left += ngx_http_batch_chunk_left(c);
        }
    }

    return left < share;
}


static void
ngx_http_batch_dispatch_claimed(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_run_t *run = data;

    ngx_int_t  started;

    run->claiming = 0;

    ngx_http_batch_nclaims -= run->idle;

    /* others may have waited for their turn to claim */

    ngx_http_batch_turn_wake();

    if (rc == NGX_ERROR) {
        /* unknown: the same nonce gets the same claim */
        ngx_http_batch_run_pause(run);
        return;
    }

    run->nonce[0] = '\0';

    if (rc != NGX_OK) {
        ngx_http_batch_run_pause(run);
        return;
    }

    ngx_http_batch_run_status(run, res);

    switch (res->claim) {

    case NGX_HTTP_BATCH_CLAIM_CHUNK:
        run->pauses = 0;
        ngx_http_batch_chunk_open(run, res->chunk, res->epoch);
        return;

    case NGX_HTTP_BATCH_CLAIM_VALIDATE:
    case NGX_HTTP_BATCH_CLAIM_FINALIZE:
        started = ngx_http_batch_job_start(run, res->claim, res);

        if (started != NGX_OK) {
            /* too many jobs: let another worker have it */
            (void) ngx_http_batch_index_renew(run->id, res->claim, res->epoch,
                                              0,
                                              ngx_http_batch_dispatch_returned,
                                              NULL);
            ngx_http_batch_run_pause(run);
        }

        return;

    case NGX_HTTP_BATCH_CLAIM_GONE:
        ngx_http_batch_run_over(run);
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


static void
ngx_http_batch_dispatch_returned(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    /* if it failed, the lease runs out by itself */
}


static void
ngx_http_batch_dispatch_leave(ngx_uint_t cut)
{
    ngx_queue_t             *q, *next;
    ngx_http_batch_chunk_t  *c;

    ngx_http_batch_recover_leave();

    if (!cut) {
        return;
    }

    /* lines in flight are for the next owner */

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);
        ngx_http_batch_chunk_abort(c);
    }

    ngx_http_batch_hook_abort();
}


static ngx_uint_t
ngx_http_batch_dispatch_idle(void)
{
    return ngx_queue_empty(&ngx_http_batch_chunks)
           && ngx_queue_empty(&ngx_http_batch_jobs)
           && ngx_http_batch_hook_idle();
}
