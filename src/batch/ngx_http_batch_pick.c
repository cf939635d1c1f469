/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Which line starts next: by priority, by tenant, then in turn.
 */

#include "ngx_http_batch_pick.h"
#include "ngx_http_batch_budget.h"


#define NGX_HTTP_BATCH_PICK_PASS      4        /* lines of a batch in a row */


/* where a tenant must have the fewest lines in flight */

typedef enum {
    NGX_HTTP_BATCH_PICK_ANY = 0,       /* nowhere */
    NGX_HTTP_BATCH_PICK_JOB,           /* in the job, or else in the route */
    NGX_HTTP_BATCH_PICK_ALL            /* in both */
} ngx_http_batch_pick_e;


static ngx_uint_t ngx_http_batch_pick_priorities(void);
static ngx_uint_t ngx_http_batch_pick_round(const ngx_http_batch_pick_t *pick,
    ngx_uint_t priority, ngx_uint_t max);
static ngx_uint_t ngx_http_batch_pick_least(const ngx_http_batch_pick_t *pick,
    ngx_uint_t priority);
static ngx_uint_t ngx_http_batch_pick_turns(const ngx_http_batch_pick_t *pick,
    ngx_uint_t priority, ngx_uint_t max, ngx_uint_t pass,
    ngx_http_batch_pick_e least);
static ngx_uint_t ngx_http_batch_pick_batches(
    const ngx_http_batch_pick_t *pick, ngx_http_batch_owner_t *owner,
    ngx_uint_t priority, ngx_uint_t max, ngx_uint_t pass,
    ngx_http_batch_pick_e least);
static ngx_uint_t ngx_http_batch_pick_wants(const ngx_http_batch_pick_t *pick,
    ngx_http_batch_run_t *run, ngx_uint_t priority);
static ngx_uint_t ngx_http_batch_pick_behind(ngx_http_batch_run_t *run,
    ngx_http_batch_pick_e least);
static ngx_uint_t ngx_http_batch_pick_pass(const ngx_http_batch_pick_t *pick,
    ngx_http_batch_run_t *run, ngx_uint_t max);


/* tenants that have chunks here, the one whose turn is next first */
static ngx_queue_t  ngx_http_batch_pick_ring;
static ngx_uint_t   ngx_http_batch_pick_n;

/* by lane: the fewest lines in flight of a tenant that has one to start */
static ngx_uint_t   ngx_http_batch_pick_fewest[NGX_HTTP_BATCH_LANES];


void
ngx_http_batch_pick_init(void)
{
    ngx_queue_init(&ngx_http_batch_pick_ring);
    ngx_http_batch_pick_n = 0;
}


void
ngx_http_batch_pick_add(ngx_http_batch_run_t *run)
{
    ngx_http_batch_owner_t  *owner;

    if (run->picked) {
        return;
    }

    run->picked = 1;
    owner = run->owner;

    if (ngx_queue_empty(&owner->picks)) {
        ngx_queue_insert_tail(&ngx_http_batch_pick_ring, &owner->ring);
        ngx_http_batch_pick_n++;
    }

    ngx_queue_insert_tail(&owner->picks, &run->turn);
}


void
ngx_http_batch_pick_remove(ngx_http_batch_run_t *run)
{
    if (!run->picked) {
        return;
    }

    run->picked = 0;
    ngx_queue_remove(&run->turn);

    if (ngx_queue_empty(&run->owner->picks)) {
        ngx_queue_remove(&run->owner->ring);
        ngx_http_batch_pick_n--;
    }
}


ngx_uint_t
ngx_http_batch_pick_lines(const ngx_http_batch_pick_t *pick, ngx_uint_t max)
{
    ngx_int_t   priority;
    ngx_uint_t  n, started, present;

    if (!ngx_http_batch_budget_turn()) {
        return 0;
    }

    started = 0;
    present = ngx_http_batch_pick_priorities();

    for (priority = NGX_HTTP_BATCH_PRIORITY_MAX; priority >= 0; priority--) {

        if (!(present & (1 << priority))) {
            continue;
        }

        do {
            n = ngx_http_batch_pick_round(pick, priority, max - started);
            started += n;

        } while (n && started < max);
    }

    return started;
}


/* a bit for each priority that a batch here has */

static ngx_uint_t
ngx_http_batch_pick_priorities(void)
{
    ngx_uint_t               present;
    ngx_queue_t             *q, *p;
    ngx_http_batch_run_t    *run;
    ngx_http_batch_owner_t  *owner;

    present = 0;

    for (q = ngx_queue_head(&ngx_http_batch_pick_ring);
         q != ngx_queue_sentinel(&ngx_http_batch_pick_ring);
         q = ngx_queue_next(q))
    {
        owner = ngx_queue_data(q, ngx_http_batch_owner_t, ring);

        for (p = ngx_queue_head(&owner->picks);
             p != ngx_queue_sentinel(&owner->picks);
             p = ngx_queue_next(p))
        {
            run = ngx_queue_data(p, ngx_http_batch_run_t, turn);
            present |= 1 << run->priority;
        }
    }

    return present;
}


/*
 * One tenant: each of its batches, a few lines each.  Several: one line of each
 * that has the fewest in flight, of the route and of its job; then of those for
 * which that is true of the job alone, since who has few lines in a job may have
 * many elsewhere.  If none of those can start now, say while its input is being
 * read, no place stays empty for it.
 */

static ngx_uint_t
ngx_http_batch_pick_round(const ngx_http_batch_pick_t *pick,
    ngx_uint_t priority, ngx_uint_t max)
{
    ngx_uint_t  n;

    if (max == 0) {
        return 0;
    }

    if (ngx_http_batch_pick_n < 2
        || ngx_http_batch_pick_least(pick, priority) < 2)
    {
        return ngx_http_batch_pick_turns(pick, priority, max,
                                         NGX_HTTP_BATCH_PICK_PASS,
                                         NGX_HTTP_BATCH_PICK_ANY);
    }

    n = ngx_http_batch_pick_turns(pick, priority, max, 1,
                                  NGX_HTTP_BATCH_PICK_ALL);

    if (n == 0) {
        n = ngx_http_batch_pick_turns(pick, priority, 1, 1,
                                      NGX_HTTP_BATCH_PICK_JOB);
    }

    return n ? n : ngx_http_batch_pick_turns(pick, priority, 1, 1,
                                             NGX_HTTP_BATCH_PICK_ANY);
}


/* sets fewest; how many tenants have a line to start */

static ngx_uint_t
ngx_http_batch_pick_least(const ngx_http_batch_pick_t *pick,
    ngx_uint_t priority)
{
    ngx_uint_t               n, mine, *fewest;
    ngx_queue_t             *q, *p;
    ngx_http_batch_run_t    *run;
    ngx_http_batch_owner_t  *owner;

    n = 0;
    fewest = ngx_http_batch_pick_fewest;

    ngx_memset(fewest, 0xff, sizeof(ngx_http_batch_pick_fewest));

    for (q = ngx_queue_head(&ngx_http_batch_pick_ring);
         q != ngx_queue_sentinel(&ngx_http_batch_pick_ring);
         q = ngx_queue_next(q))
    {
        owner = ngx_queue_data(q, ngx_http_batch_owner_t, ring);
        mine = 0;

        for (p = ngx_queue_head(&owner->picks);
             p != ngx_queue_sentinel(&owner->picks);
             p = ngx_queue_next(p))
        {
            run = ngx_queue_data(p, ngx_http_batch_run_t, turn);

            if (!ngx_http_batch_pick_wants(pick, run, priority)) {
                continue;
            }

            mine = 1;
            fewest[run->route] = ngx_min(fewest[run->route],
                                         owner->inflight[run->route]);

            if (run->jcf) {
                fewest[run->job_lane] = ngx_min(fewest[run->job_lane],
                                              owner->inflight[run->job_lane]);
            }
        }

        n += mine;
    }

    return n;
}


/*
 * Each tenant once.  One that has started lines goes to the end of the ring, so
 * the next round, also in a later turn of the event loop, goes on with those
 * that have waited longest.
 */

static ngx_uint_t
ngx_http_batch_pick_turns(const ngx_http_batch_pick_t *pick,
    ngx_uint_t priority, ngx_uint_t max, ngx_uint_t pass,
    ngx_http_batch_pick_e least)
{
    ngx_uint_t               i, n, got, started;
    ngx_queue_t             *q, *next;
    ngx_http_batch_owner_t  *owner;

    started = 0;
    n = ngx_http_batch_pick_n;
    q = ngx_queue_head(&ngx_http_batch_pick_ring);

    for (i = 0;
         i < n && q != ngx_queue_sentinel(&ngx_http_batch_pick_ring)
         && started < max;
         i++, q = next)
    {
        next = ngx_queue_next(q);
        owner = ngx_queue_data(q, ngx_http_batch_owner_t, ring);

        got = ngx_http_batch_pick_batches(pick, owner, priority,
                                          max - started, pass, least);
        started += got;

        if (got && !ngx_queue_empty(&owner->picks)) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&ngx_http_batch_pick_ring, q);
        }
    }

    return started;
}


/* a tenant's batches in turn: all of them, or, with pass 1, one */

static ngx_uint_t
ngx_http_batch_pick_batches(const ngx_http_batch_pick_t *pick,
    ngx_http_batch_owner_t *owner, ngx_uint_t priority, ngx_uint_t max,
    ngx_uint_t pass,
    ngx_http_batch_pick_e least)
{
    ngx_uint_t             got, started;
    ngx_queue_t           *q, *next, *last;
    ngx_http_batch_run_t  *run;

    started = 0;
    last = ngx_queue_last(&owner->picks);
    next = ngx_queue_head(&owner->picks);

    do {
        q = next;
        next = ngx_queue_next(q);
        run = ngx_queue_data(q, ngx_http_batch_run_t, turn);

        if (!ngx_http_batch_pick_wants(pick, run, priority)
            || ngx_http_batch_pick_behind(run, least))
        {
            continue;
        }

        got = ngx_http_batch_pick_pass(pick, run,
                                       ngx_min(max - started, pass));
        if (got == 0) {
            continue;
        }

        run->starts += got;
        started += got;

        if (run->picked) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&owner->picks, q);
        }

    } while (q != last && started < max && (started == 0 || pass > 1));

    return started;
}


static ngx_uint_t
ngx_http_batch_pick_wants(const ngx_http_batch_pick_t *pick,
    ngx_http_batch_run_t *run, ngx_uint_t priority)
{
    return run->priority == priority && !run->stop && pick->ready(run)
           && !ngx_http_batch_budget_refused(run);
}


/* 1: another tenant has fewer lines in flight where this one would go */

static ngx_uint_t
ngx_http_batch_pick_behind(ngx_http_batch_run_t *run,
    ngx_http_batch_pick_e least)
{
    ngx_uint_t  capped, *inflight;

    if (least == NGX_HTTP_BATCH_PICK_ANY) {
        return 0;
    }

    inflight = run->owner->inflight;
    capped = run->jcf && run->jcf->concurrency;

    if (capped && inflight[run->job_lane]
                  > ngx_http_batch_pick_fewest[run->job_lane])
    {
        return 1;
    }

    return (least == NGX_HTTP_BATCH_PICK_ALL || !capped)
           && inflight[run->route] > ngx_http_batch_pick_fewest[run->route];
}


static ngx_uint_t
ngx_http_batch_pick_pass(const ngx_http_batch_pick_t *pick,
    ngx_http_batch_run_t *run, ngx_uint_t max)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    for (n = 0; n < max; n++) {

        if (!ngx_http_batch_budget_reserve(run)) {
            break;
        }

        rc = pick->start(run);

        ngx_http_batch_budget_settle(run);

        if (rc != NGX_OK) {
            break;
        }
    }

    return n;
}
