/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * May another line start?  See the header for what it depends on.
 */

#include "ngx_http_batch_budget.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_space.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_SPARE          16       /* connections left to clients */
#define NGX_HTTP_BATCH_REMIND         60000    /* ms: lack of connections is
                                                  not logged again */
#define NGX_HTTP_BATCH_DEAD           16       /* failures in a row */
#define NGX_HTTP_BATCH_PAUSE_FLYING   20       /* ms; own lines are in flight */
#define NGX_HTTP_BATCH_PAUSE_IDLE     2        /* ms; none is */


/* what is known of a lane's upstream */

typedef struct {
    ngx_uint_t      dead;              /* failures in a row */
    ngx_uint_t      open;
} ngx_http_batch_breaker_t;


static ngx_uint_t ngx_http_batch_budget_look(ngx_http_batch_run_t *run,
    ngx_uint_t *lane);
static ngx_uint_t ngx_http_batch_budget_connections(void);
static void ngx_http_batch_budget_starved(ngx_uint_t left);
static ngx_uint_t ngx_http_batch_budget_place(ngx_uint_t lane,
    ngx_uint_t limit);
static void ngx_http_batch_budget_unreserve(ngx_uint_t lane);
static void ngx_http_batch_budget_start(ngx_http_batch_run_t *run,
    ngx_uint_t lane);
static ngx_uint_t ngx_http_batch_budget_fair(ngx_uint_t limit);


static ngx_http_batch_breaker_t  ngx_http_batch_budget_breakers[
                                                       NGX_HTTP_BATCH_LANES];

static ngx_msec_t  ngx_http_batch_budget_wait;      /* of this turn */

/* by lane: when this worker's last line started there, ms */
static ngx_msec_t  ngx_http_batch_budget_took[NGX_HTTP_BATCH_LANES];
/* ... since when it is refused, as want has it; 0: it is not */
static ngx_msec_t  ngx_http_batch_budget_since[NGX_HTTP_BATCH_LANES];


ngx_uint_t
ngx_http_batch_budget_turn(void)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_BATCH_LANES; i++) {
        if (ngx_http_batch_slot->want[i] == 0) {
            ngx_http_batch_budget_since[i] = 0;
        }

        ngx_http_batch_slot->want[i] = 0;
    }

    ngx_http_batch_budget_wait = 0;

    return !ngx_http_batch_space_paused();
}


ngx_uint_t
ngx_http_batch_budget_refused(ngx_http_batch_run_t *run)
{
    return ngx_http_batch_slot->want[run->route]
           || (run->jcf && ngx_http_batch_slot->want[run->job_lane]);
}


ngx_uint_t
ngx_http_batch_budget_reserve(ngx_http_batch_run_t *run)
{
    ngx_uint_t  lane;

    if (ngx_http_batch_budget_look(run, &lane)) {
        return 1;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: lane %ui is full, in flight here: %uA",
                   run->id, lane, ngx_http_batch_slot->inflight[lane]);

    if (ngx_http_batch_budget_since[lane] == 0) {
        ngx_http_batch_budget_since[lane] = ngx_max(ngx_current_msec, 1);
    }

    ngx_http_batch_slot->want[lane] = ngx_http_batch_budget_since[lane];

    /*
     * Other workers hold the places, and do not tell when one is free.  A line
     * of our own that ends wakes the pump anyway.
     */

    if (ngx_http_batch_slot->inflight[lane] == 0) {
        ngx_http_batch_budget_wait = NGX_HTTP_BATCH_PAUSE_IDLE;

    } else if (ngx_http_batch_budget_wait == 0) {
        ngx_http_batch_budget_wait = NGX_HTTP_BATCH_PAUSE_FLYING;
    }

    return 0;
}


/* 0: *lane is the one that is full */

static ngx_uint_t
ngx_http_batch_budget_look(ngx_http_batch_run_t *run, ngx_uint_t *lane)
{
    ngx_uint_t  capped;

    *lane = run->route;

    if (ngx_http_batch_turn_leaving() || run->stop || run->conf == NULL) {
        return 0;
    }

    if (ngx_http_batch_budget_breakers[run->lane].open
        && ngx_http_batch_slot->inflight[run->lane])
    {
        /* lines that wait for their next attempt probe the upstream */
        *lane = run->lane;
        return 0;
    }

    if (!ngx_http_batch_budget_connections()) {
        return 0;
    }

    capped = run->jcf && run->jcf->concurrency;

    if (capped && !ngx_http_batch_budget_place(run->job_lane,
                                               run->jcf->concurrency))
    {
        *lane = run->job_lane;
        return 0;
    }

    if (ngx_http_batch_budget_place(run->route, run->conf->concurrency)) {
        return 1;
    }

    if (capped) {
        ngx_http_batch_budget_unreserve(run->job_lane);
    }

    return 0;
}


/*
 * Clients come first.  When few connections are left, as many lines may be in
 * flight as were before: these use the upstream's kept connections, and need no
 * new ones.
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

    if (n < peak && left >= NGX_HTTP_BATCH_SPARE / 4) {
        return 1;
    }

    if (n == 0) {
        ngx_http_batch_budget_starved(left);
    }

    return 0;
}


/* not even one line may start: without a word that looks like a hang */

static void
ngx_http_batch_budget_starved(ngx_uint_t left)
{
    static ngx_msec_t  logged;
    static ngx_uint_t  any;

    if (any && ngx_current_msec - logged < NGX_HTTP_BATCH_REMIND) {
        return;
    }

    any = 1;
    logged = ngx_current_msec;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "batch: no line can start, %ui of %ui worker_connections "
                  "are free and %d are kept for clients, increase "
                  "worker_connections", left, ngx_cycle->connection_n,
                  NGX_HTTP_BATCH_SPARE);
}


/*
 * The limit holds for the node.  A worker above its fair share also stands back
 * while another one below its share wants to start; and one that has had a turn
 * leaves the last place to another one that has nothing in flight, and has been
 * waiting since before that turn.  A yes is reserved, so that two workers do not
 * both take the last place.
 */

static ngx_uint_t
ngx_http_batch_budget_place(ngx_uint_t lane, ngx_uint_t limit)
{
    ngx_uint_t              i, total, share, wanted, starved;
    ngx_http_batch_slot_t  *slot;

    share = ngx_http_batch_budget_fair(limit);
    total = 0;
    wanted = 0;
    starved = 0;
    i = 0;

    /* all see ours before we look at theirs: of two, one stands back */

    (void) ngx_atomic_fetch_add(&ngx_http_batch_slot->reserved[lane], 1);

    while ((slot = ngx_http_batch_slots_recent(&i)) != NULL) {

        if (ngx_http_batch_slots_asleep(slot)) {
            continue;
        }

        total += slot->inflight[lane] + slot->reserved[lane];

        if (slot == ngx_http_batch_slot || slot->want[lane] == 0) {
            continue;
        }

        wanted |= (slot->inflight[lane] < share);

        starved |= (slot->inflight[lane] == 0
                    && (ngx_msec_int_t) (ngx_http_batch_budget_took[lane]
                                         - slot->want[lane]) > 0);
    }

    if (total > limit
        || (starved && total == limit)
        || (wanted && ngx_http_batch_slot->inflight[lane] >= share))
    {
        ngx_http_batch_budget_unreserve(lane);
        return 0;
    }

    return 1;
}


static void
ngx_http_batch_budget_unreserve(ngx_uint_t lane)
{
    ngx_memory_barrier();
    ngx_http_batch_slot->reserved[lane] = 0;
}


void
ngx_http_batch_budget_settle(ngx_http_batch_run_t *run)
{
    ngx_http_batch_budget_unreserve(run->route);

    if (run->jcf && run->jcf->concurrency) {
        ngx_http_batch_budget_unreserve(run->job_lane);
    }
}


ngx_msec_t
ngx_http_batch_budget_pause(void)
{
    return ngx_http_batch_budget_wait;
}


void
ngx_http_batch_budget_enter(ngx_http_batch_run_t *run)
{
    ngx_http_batch_budget_start(run, run->route);

    if (run->jcf) {
        ngx_http_batch_budget_start(run, run->job_lane);
    }
}


static void
ngx_http_batch_budget_start(ngx_http_batch_run_t *run, ngx_uint_t lane)
{
    ngx_http_batch_slot->inflight[lane]++;
    run->owner->inflight[lane]++;

    ngx_http_batch_budget_took[lane] = ngx_current_msec;
    ngx_http_batch_budget_since[lane] = 0;
}


void
ngx_http_batch_budget_leave(ngx_http_batch_run_t *run)
{
    ngx_http_batch_slot->inflight[run->route]--;
    run->owner->inflight[run->route]--;

    if (run->jcf) {
        ngx_http_batch_slot->inflight[run->job_lane]--;
        run->owner->inflight[run->job_lane]--;
    }
}


void
ngx_http_batch_budget_outcome(ngx_http_batch_run_t *run, ngx_uint_t dead)
{
    ngx_http_batch_breaker_t  *b;

    b = &ngx_http_batch_budget_breakers[run->lane];

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
    return ngx_http_batch_budget_breakers[run->lane].open;
}


ngx_uint_t
ngx_http_batch_budget_share(ngx_http_batch_run_t *run)
{
    ngx_uint_t  limit;

    limit = run->conf->concurrency;

    if (run->jcf && run->jcf->concurrency) {
        limit = ngx_min(run->jcf->concurrency, limit);
    }

    return ngx_http_batch_budget_fair(limit);
}


static ngx_uint_t
ngx_http_batch_budget_fair(ngx_uint_t limit)
{
    return (limit + ngx_http_batch_slots_workers - 1)
           / ngx_http_batch_slots_workers;
}
