/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Which line starts next: by priority, then in turn.
 */

#include "ngx_http_batch_pick.h"
#include "ngx_http_batch_budget.h"


#define NGX_HTTP_BATCH_PICK_PASS      4        /* lines of a batch in a row */


static ngx_uint_t ngx_http_batch_pick_priorities(void);
static ngx_uint_t ngx_http_batch_pick_round(const ngx_http_batch_pick_t *pick,
    ngx_uint_t priority, ngx_uint_t max);
static ngx_uint_t ngx_http_batch_pick_pass(const ngx_http_batch_pick_t *pick,
    ngx_http_batch_run_t *run, ngx_uint_t max);


/* batches that have chunks here, the one whose turn is next first */
static ngx_queue_t  ngx_http_batch_pick_queue;
static ngx_uint_t   ngx_http_batch_pick_n;


void
ngx_http_batch_pick_init(void)
{
    ngx_queue_init(&ngx_http_batch_pick_queue);
    ngx_http_batch_pick_n = 0;
}


void
ngx_http_batch_pick_add(ngx_http_batch_run_t *run)
{
    ngx_queue_insert_tail(&ngx_http_batch_pick_queue, &run->turn);
    ngx_http_batch_pick_n++;
}


void
ngx_http_batch_pick_remove(ngx_http_batch_run_t *run)
{
    ngx_queue_remove(&run->turn);
    ngx_http_batch_pick_n--;
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
    ngx_uint_t             present;
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    present = 0;

    for (q = ngx_queue_head(&ngx_http_batch_pick_queue);
         q != ngx_queue_sentinel(&ngx_http_batch_pick_queue);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, turn);
        present |= 1 << run->priority;
    }

    return present;
}


/*
 * Each batch of the priority once.  One that has started lines goes to the end
 * of the queue, so the next round, also in a later turn of the event loop, goes
 * on with those that have waited longest.
 */

static ngx_uint_t
ngx_http_batch_pick_round(const ngx_http_batch_pick_t *pick,
    ngx_uint_t priority, ngx_uint_t max)
{
    ngx_uint_t             i, n, got, started;
    ngx_queue_t           *q, *next;
    ngx_http_batch_run_t  *run;

    started = 0;
    n = ngx_http_batch_pick_n;
    q = ngx_queue_head(&ngx_http_batch_pick_queue);

    for (i = 0;
         i < n && q != ngx_queue_sentinel(&ngx_http_batch_pick_queue)
         && started < max;
         i++, q = next)
    {

        next = ngx_queue_next(q);
        run = ngx_queue_data(q, ngx_http_batch_run_t, turn);

        if (run->priority != priority || run->stop || !pick->ready(run)
            || ngx_http_batch_budget_refused(run))
        {
            continue;
        }

        got = ngx_http_batch_pick_pass(pick, run, max - started);

        if (got == 0) {
            continue;
        }

        run->starts += got;
        started += got;

        if (run->nchunks) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&ngx_http_batch_pick_queue, q);
        }
    }

    return started;
}


static ngx_uint_t
ngx_http_batch_pick_pass(const ngx_http_batch_pick_t *pick,
    ngx_http_batch_run_t *run, ngx_uint_t max)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    max = ngx_min(max, NGX_HTTP_BATCH_PICK_PASS);

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
