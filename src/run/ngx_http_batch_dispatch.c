/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * WHAT: per worker: which batches are there, what may be claimed, how many
 * lines may start now.
 *
 * DESIGN: the index is polled (it is the only thing that workers of all nodes
 * share); an API call served by this worker hurries it.  Lines are started by
 * the pump, never from a line's own stack, a few per turn of the event loop, so
 * that clients of the same worker are served in between.
 *
 *   tick (timer)        poll, leases, counts, graces
 *   pump (posted event) reap ended lines, start lines, claim
 *   hold (timer)        keeps a quitting worker until its chunks are given back
 *   watcher             a connection that is none: nginx tells it of a graceful
 *                       quit and of worker_shutdown_timeout
 */

#include "ngx_http_batch_run.h"


#define NGX_HTTP_BATCH_TICK           50       /* ms */
#define NGX_HTTP_BATCH_POLL           200
#define NGX_HTTP_BATCH_CLAIM_PAUSE    200      /* after "nothing free" */
#define NGX_HTTP_BATCH_ACTIVE         64       /* batches looked at */
#define NGX_HTTP_BATCH_CHUNKS         64       /* held at most */
#define NGX_HTTP_BATCH_FLYING         1        /* blocked, own lines in flight */
#define NGX_HTTP_BATCH_IDLE           2        /* blocked, none */
#define NGX_HTTP_BATCH_PASS           4        /* lines of a batch in a row */


static void ngx_http_batch_dispatch_tick(ngx_event_t *ev);
static void ngx_http_batch_dispatch_beat(void);
static void ngx_http_batch_dispatch_poll(void);
static void ngx_http_batch_dispatch_polled(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_dispatch_evict(void);
static ngx_http_batch_run_t *ngx_http_batch_run_get(ngx_str_t *id);
static void ngx_http_batch_run_free(ngx_http_batch_run_t *run);
static void ngx_http_batch_dispatch_changed(const char *id);
static void ngx_http_batch_dispatch_pump(ngx_event_t *ev);
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
static ngx_int_t ngx_http_batch_dispatch_watch(ngx_cycle_t *cycle);
static void ngx_http_batch_dispatch_watcher(ngx_event_t *ev);
static void ngx_http_batch_dispatch_hold(ngx_event_t *ev);


static ngx_queue_t               ngx_http_batch_runs;
static ngx_uint_t                ngx_http_batch_polling;
static ngx_msec_t                ngx_http_batch_polled_at;
static ngx_uint_t                ngx_http_batch_leaving;

static ngx_connection_t          ngx_http_batch_dummy;
static ngx_event_t               ngx_http_batch_tick_event;
static ngx_event_t               ngx_http_batch_pump_event;
static ngx_event_t               ngx_http_batch_again_event;
static ngx_event_t               ngx_http_batch_hold_event;
static ngx_connection_t         *ngx_http_batch_watcher;


ngx_int_t
ngx_http_batch_dispatch_init(ngx_cycle_t *cycle)
{
    ngx_event_t  *ev;

    ngx_queue_init(&ngx_http_batch_runs);
    ngx_queue_init(&ngx_http_batch_chunks);
    ngx_queue_init(&ngx_http_batch_jobs);

    ngx_http_batch_line_init();

    ngx_http_batch_dummy.fd = (ngx_socket_t) -1;

    ev = &ngx_http_batch_tick_event;
    ev->handler = ngx_http_batch_dispatch_tick;
    ev->data = &ngx_http_batch_dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ev = &ngx_http_batch_pump_event;
    ev->handler = ngx_http_batch_dispatch_pump;
    ev->data = &ngx_http_batch_dummy;
    ev->log = cycle->log;

    ev = &ngx_http_batch_again_event;
    ev->handler = ngx_http_batch_dispatch_pump;
    ev->data = &ngx_http_batch_dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ev = &ngx_http_batch_hold_event;
    ev->handler = ngx_http_batch_dispatch_hold;
    ev->data = &ngx_http_batch_dummy;
    ev->log = cycle->log;

    ngx_http_batch_index_on_change = ngx_http_batch_dispatch_changed;

    ngx_add_timer(&ngx_http_batch_tick_event, NGX_HTTP_BATCH_TICK);

    ngx_http_batch_sweep_init(cycle);

    return ngx_http_batch_dispatch_watch(cycle);
}


/*
 * Leases run out by themselves; what is in memory and not on disk is done again
 * by the next owner.
 */

void
ngx_http_batch_dispatch_exit(void)
{
    ngx_http_batch_leaving = 1;

    if (ngx_http_batch_watcher) {
        /* or nginx finds an "open socket #-2" */
        ngx_http_batch_watcher->fd = (ngx_socket_t) -1;
        ngx_http_batch_watcher = NULL;
    }
}


ngx_uint_t
ngx_http_batch_dispatch_leaving(void)
{
    return ngx_http_batch_leaving;
}


void
ngx_http_batch_dispatch_wake(void)
{
    ngx_event_t  *ev;

    ev = &ngx_http_batch_pump_event;

    if (!ev->posted) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


static void
ngx_http_batch_dispatch_tick(ngx_event_t *ev)
{
    ngx_http_batch_dispatch_beat();

    if (!ngx_http_batch_leaving) {
        ngx_add_timer(ev, NGX_HTTP_BATCH_TICK);
    }
}


static void
ngx_http_batch_dispatch_beat(void)
{
    ngx_queue_t             *q, *next;
    ngx_http_batch_run_t    *run;
    ngx_http_batch_chunk_t  *c;

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);
        run->pace = run->starts;
        run->starts = 0;
    }

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);
        ngx_http_batch_chunk_tick(c);
    }

    ngx_http_batch_job_tick();

    if (ngx_current_msec - ngx_http_batch_polled_at >= NGX_HTTP_BATCH_POLL) {
        ngx_http_batch_dispatch_poll();
    }

    ngx_http_batch_dispatch_wake();
}


static void
ngx_http_batch_dispatch_poll(void)
{
    if (ngx_http_batch_polling || ngx_http_batch_leaving) {
        return;
    }

    if (ngx_http_batch_index_active(NGX_HTTP_BATCH_ACTIVE,
                                    ngx_http_batch_dispatch_polled, NULL)
        == NGX_OK)
    {
        ngx_http_batch_polling = 1;
        ngx_http_batch_polled_at = ngx_current_msec;
    }
}


static void
ngx_http_batch_dispatch_polled(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    size_t                 i;
    ngx_queue_t           *q, *next;
    ngx_http_batch_run_t  *run;

    ngx_http_batch_polling = 0;

    if (rc != NGX_OK) {
        return;
    }

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);
        run->seen = 0;
    }

    for (i = 0; i < res->n; i++) {
        run = ngx_http_batch_run_get(&res->items[i]);

        if (run) {
            run->seen = 1;
        }
    }

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = next)
    {
        next = ngx_queue_next(q);

        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);

        if (!run->seen && run->refs == 0 && !run->claiming) {
            ngx_http_batch_run_free(run);
        }
    }

    ngx_http_batch_dispatch_evict();
    ngx_http_batch_dispatch_wake();
}


/*
 * Leases of a dead worker of this node need not run out.  If Redis does not
 * hear of it, they do.
 */

static void
ngx_http_batch_dispatch_evict(void)
{
    char                   owner[NGX_HTTP_BATCH_WORKER_ID];
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    while (ngx_http_batch_slots_died(owner)) {

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "batch: a worker has died, its chunks are taken over");

        for (q = ngx_queue_head(&ngx_http_batch_runs);
             q != ngx_queue_sentinel(&ngx_http_batch_runs);
             q = ngx_queue_next(q))
        {
            run = ngx_queue_data(q, ngx_http_batch_run_t, queue);

            if (ngx_http_batch_index_evict(run->id, owner,
                                           ngx_http_batch_dispatch_returned,
                                           NULL)
                == NGX_OK)
            {
                run->claim_after = ngx_current_msec;
            }
        }
    }
}


static ngx_http_batch_run_t *
ngx_http_batch_run_get(ngx_str_t *id)
{
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);

        if (ngx_strncmp(run->id, id->data, id->len) == 0
            && run->id[id->len] == '\0')
        {
            return run;
        }
    }

    if (!batch_id_check(BATCH_ID_BATCH, id->data, id->len)) {
        return NULL;
    }

    run = ngx_calloc(sizeof(ngx_http_batch_run_t), ngx_cycle->log);
    if (run == NULL) {
        return NULL;
    }

    ngx_memcpy(run->id, id->data, id->len);
    run->claim_after = ngx_current_msec;

    ngx_queue_insert_tail(&ngx_http_batch_runs, &run->queue);

    return run;
}


static void
ngx_http_batch_run_free(ngx_http_batch_run_t *run)
{
    ngx_queue_remove(&run->queue);

    if (run->root) {
        json_decref(run->root);
    }

    ngx_http_batch_plan_free(&run->plan);
    ngx_free(run->uri.data);
    ngx_free(run);
}


/* a batch was created or cancelled through this worker */

static void
ngx_http_batch_dispatch_changed(const char *id)
{
    ngx_str_t                s;
    ngx_queue_t             *q, *next;
    ngx_http_batch_run_t    *run;
    ngx_http_batch_chunk_t  *c;

    s.data = (u_char *) id;
    s.len = ngx_strlen(id);

    run = ngx_http_batch_run_get(&s);
    if (run == NULL) {
        return;
    }

    run->seen = 1;

    for (q = ngx_queue_head(&ngx_http_batch_chunks);
         q != ngx_queue_sentinel(&ngx_http_batch_chunks);
         q = next)
    {
        next = ngx_queue_next(q);

        c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);

        if (c->run == run) {
            /* due to be told, and so to hear the status */
            c->told_at = ngx_current_msec - NGX_HTTP_BATCH_LEASE;
            ngx_http_batch_chunk_tick(c);
        }
    }

    ngx_http_batch_run_hurry(run);
}


void
ngx_http_batch_run_hurry(ngx_http_batch_run_t *run)
{
    run->claim_after = ngx_current_msec;
    ngx_http_batch_dispatch_wake();
}


void
ngx_http_batch_run_status(ngx_http_batch_run_t *run,
    ngx_http_batch_index_res_t *res)
{
    if (run->stop) {
        return;
    }

    if (res->status == BATCH_CANCELLING
        || batch_status_terminal(res->status)
        || (res->status == BATCH_FINALIZING && res->expired))
    {
        run->stop = 1;
        run->stop_at = ngx_current_msec;
    }
}


static void
ngx_http_batch_dispatch_pump(ngx_event_t *ev)
{
    ngx_uint_t  started, blocked;

    ngx_http_batch_line_reap();

    if (ngx_http_batch_leaving) {
        return;
    }

    blocked = 0;
    started = ngx_http_batch_dispatch_lines(&blocked);

    if (started >= NGX_HTTP_BATCH_TURN) {
        ngx_http_batch_dispatch_wake();

    } else if (blocked && !ngx_http_batch_again_event.timer_set) {
        /*
         * Other workers hold the slots, and do not tell when one is free.  Own
         * lines that end come here anyway.
         */
        ngx_add_timer(&ngx_http_batch_again_event,
                      blocked == NGX_HTTP_BATCH_IDLE ? 2 : 20);
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
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);

        if (!ngx_http_batch_dispatch_wants(run)) {
            continue;
        }

        if (run->nonce[0] == '\0'
            && batch_id_random_hex(run->nonce, 8) != BATCH_OK)
        {
            return;
        }

        nonce.data = (u_char *) run->nonce;
        nonce.len = 16;

        if (ngx_http_batch_index_claim(run->id, &nonce, NGX_HTTP_BATCH_LEASE,
                                       ngx_http_batch_dispatch_claimed, run)
            != NGX_OK)
        {
            return;
        }

        run->claiming = 1;
    }
}


/*
 * A chunk is claimed when the lines at hand would not fill the worker's slots
 * and last for a tick besides: opening the next one takes syncs.  A batch of which this worker has nothing is always asked for: it may
 * need validation or finalizing, or it is new and should get its turn.
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
        return ngx_http_batch_slot->chunks < NGX_HTTP_BATCH_CHUNKS * 2;
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

    if (rc == NGX_ERROR) {
        /* unknown: the same nonce gets the same claim */
        run->claim_after = ngx_current_msec + NGX_HTTP_BATCH_CLAIM_PAUSE;
        return;
    }

    run->nonce[0] = '\0';

    if (rc != NGX_OK) {
        run->claim_after = ngx_current_msec + NGX_HTTP_BATCH_CLAIM_PAUSE;
        return;
    }

    ngx_http_batch_run_status(run, res);

    switch (res->claim) {

    case NGX_HTTP_BATCH_CLAIM_CHUNK:
        ngx_http_batch_chunk_open(run, res->chunk, res->epoch);
        ngx_http_batch_dispatch_wake();
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
            run->claim_after = ngx_current_msec + NGX_HTTP_BATCH_CLAIM_PAUSE;
        }

        return;

    case NGX_HTTP_BATCH_CLAIM_GONE:
        run->seen = 0;

        /* fall through */

    default: /* NGX_HTTP_BATCH_CLAIM_NONE */
        run->claim_after = ngx_current_msec + NGX_HTTP_BATCH_CLAIM_PAUSE;
    }
}


static void
ngx_http_batch_dispatch_returned(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    /* if it failed, the lease runs out by itself */
}


/*
 * ngx_close_idle_connections() and the timer of worker_shutdown_timeout walk
 * the connections whose fd is not -1; lines are not among them.
 */

static ngx_int_t
ngx_http_batch_dispatch_watch(ngx_cycle_t *cycle)
{
    ngx_connection_t  *c, *saved;

    saved = cycle->files ? cycle->files[0] : NULL;

    c = ngx_get_connection(0, cycle->log);

    if (cycle->files) {
        cycle->files[0] = saved;
    }

    if (c == NULL) {
        return NGX_ERROR;
    }

    c->fd = (ngx_socket_t) -2;
    c->idle = 1;
    c->read->handler = ngx_http_batch_dispatch_watcher;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->log = cycle->log;

    ngx_http_batch_watcher = c;

    return NGX_OK;
}


static void
ngx_http_batch_dispatch_watcher(ngx_event_t *ev)
{
    ngx_queue_t             *q, *next;
    ngx_connection_t        *w;
    ngx_http_batch_chunk_t  *c;

    w = ev->data;
    w->close = 0;

    ngx_http_batch_leaving = 1;

    if (w->error) {

        /* worker_shutdown_timeout: lines in flight are for the next owner */

        for (q = ngx_queue_head(&ngx_http_batch_chunks);
             q != ngx_queue_sentinel(&ngx_http_batch_chunks);
             q = next)
        {
            next = ngx_queue_next(q);

            c = ngx_queue_data(q, ngx_http_batch_chunk_t, queue);
            ngx_http_batch_chunk_abort(c);
        }
    }

    ngx_http_batch_dispatch_hold(&ngx_http_batch_hold_event);
}


static void
ngx_http_batch_dispatch_hold(ngx_event_t *ev)
{
    ngx_http_batch_dispatch_beat();

    if (ngx_queue_empty(&ngx_http_batch_chunks)
        && ngx_queue_empty(&ngx_http_batch_jobs))
    {
        return;
    }

    if (!ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_BATCH_TICK);
    }
}
