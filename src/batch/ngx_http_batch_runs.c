/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The batches that are not over, as this worker knows them.
 *
 * The index is polled, since it is all that the workers of all nodes share.  A
 * batch that a client creates or cancels through this worker is known at once.
 * A counter in shared memory tells the other workers of the node that there is
 * a plan in which they may share; every beat compares it.
 *
 * If there are very many batches, a window is looked at: the oldest ones, and
 * as many others in turn, so that old ones that cannot run do not hide the
 * rest.
 */

#include "ngx_http_batch_runs.h"
#include "ngx_http_batch_pick.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_POLL       200     /* ms */
#define NGX_HTTP_BATCH_ACTIVE     128     /* batches looked at */


static void ngx_http_batch_runs_poll(void);
static void ngx_http_batch_runs_polled(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_runs_changed(const char *id);
static ngx_http_batch_run_t *ngx_http_batch_runs_told(ngx_str_t *item);
static ngx_http_batch_run_t *ngx_http_batch_runs_get(ngx_str_t *id);
static void ngx_http_batch_runs_free(ngx_http_batch_run_t *run);
static ngx_http_batch_run_t *ngx_http_batch_runs_starved(
    ngx_http_batch_owner_t *owner);


static ngx_queue_t  ngx_http_batch_runs;

static const ngx_http_batch_runs_handlers_t  *ngx_http_batch_runs_handlers;

static ngx_uint_t         ngx_http_batch_runs_polling;
static ngx_msec_t         ngx_http_batch_runs_polled_at;
static ngx_uint_t         ngx_http_batch_runs_turn;     /* of the window */
static ngx_uint_t         ngx_http_batch_runs_more;     /* than it shows */
static ngx_uint_t         ngx_http_batch_runs_ended;    /* since that poll */
static ngx_atomic_uint_t  ngx_http_batch_runs_news;     /* as last seen */


void
ngx_http_batch_runs_init(const ngx_http_batch_runs_handlers_t *handlers)
{
    ngx_queue_init(&ngx_http_batch_runs);
    ngx_http_batch_owner_init();
    ngx_http_batch_pick_init();

    ngx_http_batch_runs_handlers = handlers;

    ngx_http_batch_runs_news = *ngx_http_batch_slots_news;
    ngx_http_batch_index_on_change = ngx_http_batch_runs_changed;
}


ngx_http_batch_run_t *
ngx_http_batch_runs_next(ngx_http_batch_run_t *run)
{
    ngx_queue_t  *q;

    q = run ? ngx_queue_next(&run->queue)
            : ngx_queue_head(&ngx_http_batch_runs);

    return q == ngx_queue_sentinel(&ngx_http_batch_runs)
           ? NULL : ngx_queue_data(q, ngx_http_batch_run_t, queue);
}


void
ngx_http_batch_runs_beat(void)
{
    ngx_msec_t             since;
    ngx_uint_t             news;
    ngx_http_batch_run_t  *run;

    news = (ngx_http_batch_runs_news != *ngx_http_batch_slots_news);
    ngx_http_batch_runs_news = *ngx_http_batch_slots_news;

    run = NULL;

    while ((run = ngx_http_batch_runs_next(run)) != NULL) {
        run->pace = run->starts;
        run->starts = 0;

        if (news && run->pauses) {
            ngx_http_batch_run_hurry(run);
        }
    }

    since = ngx_current_msec - ngx_http_batch_runs_polled_at;

    if (since >= NGX_HTTP_BATCH_POLL
        || (ngx_http_batch_runs_more
            && ngx_http_batch_runs_ended >= NGX_HTTP_BATCH_ACTIVE / 4))
    {
        ngx_http_batch_runs_poll();
    }
}


static void
ngx_http_batch_runs_poll(void)
{
    if (ngx_http_batch_runs_polling || ngx_http_batch_turn_leaving()) {
        return;
    }

    if (ngx_http_batch_index_run_active(NGX_HTTP_BATCH_ACTIVE,
                                        ngx_http_batch_runs_turn++,
                                        ngx_http_batch_runs_polled, NULL)
        == NGX_OK)
    {
        ngx_http_batch_runs_polling = 1;
        ngx_http_batch_runs_polled_at = ngx_current_msec;
        ngx_http_batch_runs_ended = 0;
    }
}


static void
ngx_http_batch_runs_polled(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    size_t                 i;
    ngx_uint_t             whole;
    ngx_queue_t           *q, *next;
    ngx_http_batch_run_t  *run;

    ngx_http_batch_runs_polling = 0;

    if (rc == NGX_BUSY) {
        ngx_http_batch_runs_handlers->polled(1, 0);
    }

    if (rc != NGX_OK) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %uz batches are active, window %ui", res->n,
                   ngx_http_batch_runs_turn);

    ngx_http_batch_runs_more = (res->n >= NGX_HTTP_BATCH_ACTIVE);
    whole = !ngx_http_batch_runs_more;

    run = NULL;

    while ((run = ngx_http_batch_runs_next(run)) != NULL) {
        run->seen = 0;
    }

    for (i = 0; i < res->n; i++) {
        run = ngx_http_batch_runs_told(&res->items[i]);

        if (run == NULL) {
            whole = 0;
            continue;
        }

        run->seen = 1;
        run->known = 1;
    }

    for (q = ngx_queue_head(&ngx_http_batch_runs);
         q != ngx_queue_sentinel(&ngx_http_batch_runs);
         q = next)
    {
        next = ngx_queue_next(q);

        run = ngx_queue_data(q, ngx_http_batch_run_t, queue);

        if (!run->seen && run->refs == 0 && !run->claiming) {
            ngx_http_batch_runs_free(run);
        }
    }

    ngx_http_batch_runs_handlers->polled(0, whole);
    ngx_http_batch_turn_wake();
}


/* an item of the index: the id, and behind a space its tenant's key */

static ngx_http_batch_run_t *
ngx_http_batch_runs_told(ngx_str_t *item)
{
    u_char                *p;
    uint64_t               tenant;
    ngx_str_t              id;
    ngx_http_batch_run_t  *run;

    id = *item;
    tenant = NGX_HTTP_BATCH_OWNER_UNKNOWN;

    p = ngx_strlchr(item->data, item->data + item->len, ' ');

    if (p) {
        id.len = p - item->data;
        tenant = ngx_http_batch_owner_key(p + 1, item->len - id.len - 1);
    }

    run = ngx_http_batch_runs_get(&id);

    /* what batch.json says outweighs it */

    if (run && !run->loaded && tenant != NGX_HTTP_BATCH_OWNER_UNKNOWN) {
        (void) ngx_http_batch_owner_set(run, tenant);
    }

    return run;
}


static ngx_http_batch_run_t *
ngx_http_batch_runs_get(ngx_str_t *id)
{
    ngx_http_batch_run_t  *run;

    run = NULL;

    while ((run = ngx_http_batch_runs_next(run)) != NULL) {
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

    if (ngx_http_batch_owner_set(run, NGX_HTTP_BATCH_OWNER_UNKNOWN) != NGX_OK)
    {
        ngx_free(run);
        return NULL;
    }

    ngx_memcpy(run->id, id->data, id->len);
    run->claim_after = ngx_current_msec;
    ngx_queue_init(&run->chunks);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: run begins here", run->id);

    ngx_queue_insert_tail(&ngx_http_batch_runs, &run->queue);

    return run;
}


static void
ngx_http_batch_runs_free(ngx_http_batch_run_t *run)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: run ends here", run->id);

    ngx_queue_remove(&run->queue);
    ngx_http_batch_owner_unset(run);

    if (run->root) {
        json_decref(run->root);
    }

    ngx_http_batch_plan_free(&run->plan);
    ngx_http_batch_meta_rules_free(&run->rules);
    ngx_free(run->uris);
    ngx_free(run);
}


/* a client has created or cancelled the batch through this worker */

static void
ngx_http_batch_runs_changed(const char *id)
{
    ngx_str_t                s;
    ngx_uint_t               known;
    ngx_http_batch_run_t    *run;

    s.data = (u_char *) id;
    s.len = ngx_strlen(id);

    run = ngx_http_batch_runs_get(&s);
    if (run == NULL) {
        return;
    }

    known = run->known;
    run->known = 1;
    run->seen = 1;

    ngx_http_batch_runs_handlers->changed(run);
    ngx_http_batch_run_hurry(run);

    /* a batch that no worker knew was just created */

    run->unplanned = !known;
}


void
ngx_http_batch_runs_feed(ngx_uint_t n)
{
    ngx_uint_t               i, owners, unplanned;
    ngx_http_batch_run_t    *run;
    ngx_http_batch_owner_t  *owner;

    owners = ngx_http_batch_owner_n();

    for (i = 0; n && i < owners; i++) {
        owner = ngx_http_batch_owner_first();
        ngx_http_batch_owner_last(owner);

        run = ngx_http_batch_runs_starved(owner);

        if (run) {
            unplanned = run->unplanned;

            ngx_http_batch_run_hurry(run);

            run->unplanned = unplanned;
            n--;
        }
    }
}


static ngx_http_batch_run_t *
ngx_http_batch_runs_starved(ngx_http_batch_owner_t *owner)
{
    ngx_queue_t           *q;
    ngx_http_batch_run_t  *run;

    for (q = ngx_queue_head(&owner->runs);
         q != ngx_queue_sentinel(&owner->runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_batch_run_t, mate);

        if (run->starved) {
            return run;
        }
    }

    return NULL;
}


void
ngx_http_batch_runs_over(ngx_http_batch_run_t *run)
{
    run->seen = 0;
    ngx_http_batch_runs_ended++;
    ngx_http_batch_run_pause(run);
}


ngx_uint_t
ngx_http_batch_runs_hold(void)
{
    ngx_http_batch_run_t  *run;

    run = NULL;

    while ((run = ngx_http_batch_runs_next(run)) != NULL) {

        /* a nonce is kept until there is an answer to its claim */

        if (run->claiming || run->nonce[0]) {
            return 1;
        }
    }

    return 0;
}
