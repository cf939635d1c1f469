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
static ngx_int_t ngx_http_batch_run_uri(ngx_http_batch_run_t *run);


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

    blcf = ngx_http_batch_lookup_route(&run->meta.route, &run->route);

    if (blcf == NULL) {
        ngx_http_batch_run_unrouted(run, &run->meta.route);
        return;
    }

    ngx_http_batch_run_job(run, blcf);

    if (ngx_http_batch_run_uri(run) == NGX_OK) {
        run->conf = blcf;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s: %uD chunks, priority %ui, lines go to \"%V\"",
                   run->id, run->planned, run->priority, &run->uri);
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
ngx_http_batch_run_uri(ngx_http_batch_run_t *run)
{
    u_char  *p;
    size_t   len;

    len = run->pass.len + run->meta.endpoint.len;

    p = ngx_alloc(2 * len + sizeof("POST  HTTP/1.1"), ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    run->uri.data = p;
    run->uri.len = len;
    p = ngx_sprintf(p, "%V%V", &run->pass, &run->meta.endpoint);

    run->request_line.data = p;
    p = ngx_sprintf(p, "POST %V HTTP/1.1", &run->uri);
    run->request_line.len = p - run->request_line.data;

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
