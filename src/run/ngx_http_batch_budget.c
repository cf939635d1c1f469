/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * May another line start now?  Everything that holds lines back meets here: the
 * limits of route and job on this node, an upstream that is taken for dead, a
 * store that is full or cannot be written, connections that clients need.
 */

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_space.h"
#include "ngx_http_batch_lookup.h"


#define NGX_HTTP_BATCH_SPARE          16       /* connections left to clients */
#define NGX_HTTP_BATCH_DEAD           16       /* failures in a row */


/* what is known of a lane's upstream */

typedef struct {
    ngx_uint_t      dead;              /* in a row */
    ngx_uint_t      open;
} ngx_http_batch_breaker_t;


static ngx_http_batch_breaker_t  ngx_http_batch_breakers[
                                                       NGX_HTTP_BATCH_LANES];


static ngx_uint_t ngx_http_batch_budget_connections(void);


ngx_uint_t
ngx_http_batch_budget_any(void)
{
    return !ngx_http_batch_space_paused();
}


ngx_uint_t
ngx_http_batch_budget(ngx_http_batch_run_t *run)
{
    ngx_uint_t  capped;

    run->held = run->route;

    if (ngx_http_batch_turn_leaving() || run->stop || run->conf == NULL) {
        return 0;
    }

    if (ngx_http_batch_breakers[run->lane].open
        && ngx_http_batch_slot->inflight[run->lane])
    {
        /* the lines that wait for their next attempt are the probes */
        run->held = run->lane;
        return 0;
    }

    if (!ngx_http_batch_budget_connections()) {
        return 0;
    }

    capped = run->jcf && run->jcf->concurrency;

    if (capped && !ngx_http_batch_slots_may_start(run->job_lane,
                                                  run->jcf->concurrency))
    {
        run->held = run->job_lane;
        return 0;
    }

    if (ngx_http_batch_slots_may_start(run->route, run->conf->concurrency)) {
        return 1;
    }

    if (capped) {
        ngx_http_batch_slots_started(run->job_lane);
    }

    return 0;
}


void
ngx_http_batch_budget_started(ngx_http_batch_run_t *run)
{
    ngx_http_batch_slots_started(run->route);

    if (run->jcf && run->jcf->concurrency) {
        ngx_http_batch_slots_started(run->job_lane);
    }
}


void
ngx_http_batch_budget_job(ngx_http_batch_run_t *run,
    ngx_http_batch_loc_conf_t *blcf)
{
    ngx_uint_t  n;

    run->pass = blcf->pass;
    run->lane = run->route;

    run->jcf = ngx_http_batch_lookup_job(&ngx_http_batch_conf->jobs,
                                         &run->meta.job_id, &n);

    if (run->jcf == NULL) {
        return;
    }

    run->job_lane = NGX_HTTP_BATCH_ROUTES + n;
    run->priority = run->jcf->priority;

    if (run->jcf->pass.len) {
        run->pass = run->jcf->pass;
        run->lane = run->job_lane;
    }
}


ngx_uint_t
ngx_http_batch_budget_limit(ngx_http_batch_run_t *run)
{
    if (run->jcf && run->jcf->concurrency) {
        return ngx_min(run->jcf->concurrency, run->conf->concurrency);
    }

    return run->conf->concurrency;
}


/*
 * Connections are for clients first.  Those to the upstream that lines have used
 * stay open when they end (keepalive), so with few left, as many lines may fly
 * as did before: they need no new ones.
 */

static ngx_uint_t
ngx_http_batch_budget_connections(void)
{
    ngx_uint_t         i, left;
    ngx_atomic_uint_t  n;

    static ngx_atomic_uint_t  peak;

    for (n = 0, i = 0; i < ngx_http_batch_conf->routes.nelts; i++) {
        n += ngx_http_batch_slot->inflight[i];
    }

    left = ngx_cycle->free_connection_n + ngx_cycle->reusable_connections_n;

    if (left >= NGX_HTTP_BATCH_SPARE) {
        peak = n + 1;
        return 1;
    }

    return n < peak && left >= NGX_HTTP_BATCH_SPARE / 4;
}


void
ngx_http_batch_budget_outcome(ngx_http_batch_run_t *run, ngx_uint_t dead)
{
    ngx_http_batch_breaker_t  *b;

    b = &ngx_http_batch_breakers[run->lane];

    if (dead) {
        if (++b->dead == NGX_HTTP_BATCH_DEAD && !b->open) {
            b->open = 1;

            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "batch: %d attempts in a row failed through \"%V\","
                          " lines are held back until one succeeds",
                          NGX_HTTP_BATCH_DEAD, &run->pass);
        }

        return;
    }

    if (b->open) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "batch: \"%V\" answers again", &run->pass);
    }

    b->dead = 0;
    b->open = 0;
}


ngx_uint_t
ngx_http_batch_budget_broken(ngx_http_batch_run_t *run)
{
    return ngx_http_batch_breakers[run->lane].open;
}
