/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One batch in one worker: what is known of it, and when it is asked for again.
 */

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_lookup.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_PAUSE      200     /* ms after "nothing to claim" ... */
#define NGX_HTTP_BATCH_PAUSES     2       /* ... doubled so many times */


static void ngx_http_batch_run_job(ngx_http_batch_run_t *run,
    ngx_http_batch_loc_conf_t *blcf);
static ngx_int_t ngx_http_batch_run_uris(ngx_http_batch_run_t *run);


void
ngx_http_batch_run_adopt(ngx_http_batch_run_t *run, json_t *root,
    ngx_http_batch_meta_t *meta, ngx_http_batch_plan_t *plan)
{
    ngx_http_batch_loc_conf_t  *blcf;

    if (run->loaded || plan->chunks == NULL) {
        json_decref(root);
        ngx_http_batch_plan_free(plan);
        return;
    }

    run->loaded = 1;
    run->root = root;
    run->meta = *meta;
    run->plan = *plan;
    run->planned = plan->nchunks;

    /* without memory it stays with those that it was taken for */

    (void) ngx_http_batch_owner_set(run,
                                ngx_http_batch_owner_tenant(&meta->tenant));

    blcf = ngx_http_batch_lookup_route(&run->meta.route, &run->route);

    if (blcf == NULL) {
        ngx_http_batch_run_unrouted(run, &run->meta.route);
        return;
    }

    ngx_http_batch_run_job(run, blcf);

    if (ngx_http_batch_run_uris(run) == NGX_OK) {
        run->conf = blcf;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: %uD chunks, priority %ui, lines go to \"%V\"",
                   run->id, run->planned, run->priority, &run->pass);
}


/* what the batch's job says, if it has one */

static void
ngx_http_batch_run_job(ngx_http_batch_run_t *run,
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


static ngx_int_t
ngx_http_batch_run_uris(ngx_http_batch_run_t *run)
{
    size_t                     len;
    u_char                    *p;
    ngx_uint_t                 i, n;
    const batch_target_t      *targets;
    ngx_http_batch_run_uri_t  *u;

    if (ngx_http_batch_meta_rules(&run->meta, 1, &run->rules, ngx_cycle->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    targets = run->rules.targets;
    n = run->rules.ntargets;
    len = n * sizeof(ngx_http_batch_run_uri_t);

    for (i = 0; i < n; i++) {
        len += 2 * (run->pass.len + targets[i].url.len)
               + sizeof("POST  HTTP/1.1") - 1;
    }

    run->uris = ngx_alloc(len, ngx_cycle->log);
    if (run->uris == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) &run->uris[n];

    for (i = 0; i < n; i++) {
        u = &run->uris[i];

        u->uri.data = p;
        p = ngx_cpymem(p, run->pass.data, run->pass.len);
        p = ngx_cpymem(p, targets[i].url.data, targets[i].url.len);
        u->uri.len = p - u->uri.data;

        u->request_line.data = p;
        p = ngx_sprintf(p, "POST %V HTTP/1.1", &u->uri);
        u->request_line.len = p - u->request_line.data;
    }

    return NGX_OK;
}


void
ngx_http_batch_run_unrouted(ngx_http_batch_run_t *run, ngx_str_t *route)
{
    if (run->unrouted) {
        return;
    }

    run->unrouted = 1;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "batch: %s: location \"%V\", where it was created, has no"
                  " \"batch_api\" any more, the batch waits", run->id, route);
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
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "batch: %s: no more lines, it is %s", run->id,
                       batch_status_name(res->status));

        run->stop = 1;
        run->stop_at = ngx_current_msec;
    }
}


void
ngx_http_batch_run_hurry(ngx_http_batch_run_t *run)
{
    run->claim_after = ngx_current_msec;
    run->pauses = 0;
    run->starved = 0;
    run->unplanned = 0;
    run->hurried = run->claiming;

    ngx_http_batch_turn_wake();
}


void
ngx_http_batch_run_pause(ngx_http_batch_run_t *run)
{
    if (run->hurried) {
        /* there was nothing yet when the claim was sent: ask again at once */
        run->hurried = 0;
        return;
    }

    run->claim_after = ngx_current_msec
                       + ((ngx_msec_t) NGX_HTTP_BATCH_PAUSE << run->pauses);

    if (run->pauses < NGX_HTTP_BATCH_PAUSES) {
        run->pauses++;
    }
}
