/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * How fast a request body must come (batch_body_rate).  client_body_timeout
 * starts again with each byte, so a client that sends one now and then would
 * hold its connection, its buffers and its tmp file for ever.
 *
 * Only the time spent waiting for the client counts, not that spent waiting
 * for the disk.
 */

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_pace.h"


#define NGX_HTTP_BATCH_PACE_PAUSED  1000           /* ms, then it looks again */


static void ngx_http_batch_pace_timer(ngx_event_t *ev);
static ngx_msec_t ngx_http_batch_pace_allowed(ngx_http_batch_op_t *op);


void
ngx_http_batch_pace_start(ngx_http_batch_op_t *op)
{
    ngx_event_t  *ev;

    if (op->conf->pace == NULL) {
        return;
    }

    op->pace.since = ngx_current_msec;

    ev = &op->pace.timer;
    ev->handler = ngx_http_batch_pace_timer;
    ev->data = op;
    ev->log = op->r->connection->log;

    ngx_add_timer(ev, ngx_http_batch_pace_allowed(op));
}


void
ngx_http_batch_pace_stop(ngx_http_batch_op_t *op)
{
    if (op->pace.timer.timer_set) {
        ngx_del_timer(&op->pace.timer);
    }
}


void
ngx_http_batch_pace_pause(ngx_http_batch_op_t *op)
{
    op->pace.used += ngx_current_msec - op->pace.since;
    op->pace.paused = 1;
}


void
ngx_http_batch_pace_resume(ngx_http_batch_op_t *op)
{
    if (op->pace.paused) {
        op->pace.paused = 0;
        op->pace.since = ngx_current_msec;
    }
}


static void
ngx_http_batch_pace_timer(ngx_event_t *ev)
{
    ngx_http_batch_op_t *op = ev->data;

    ngx_msec_t         used, allowed;
    ngx_connection_t  *c;

    if (op->pace.paused) {
        ngx_add_timer(ev, NGX_HTTP_BATCH_PACE_PAUSED);
        return;
    }

    used = op->pace.used + (ngx_current_msec - op->pace.since);
    allowed = ngx_http_batch_pace_allowed(op);

    if (used < allowed) {
        ngx_add_timer(ev, allowed - used);
        return;
    }

    c = op->r->connection;
    ngx_http_set_log_request(c->log, op->r);

    ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                  "batch: client sends its request body too slowly");

    ngx_http_batch_op_reject(op, NGX_HTTP_REQUEST_TIME_OUT, NULL, NULL,
                             "The request body did not arrive in time: %O "
                             "bytes in %M seconds.", op->pace.bytes,
                             used / 1000);

    ngx_http_run_posted_requests(c);
}


/* ms from the start, given what has come so far */

static ngx_msec_t
ngx_http_batch_pace_allowed(ngx_http_batch_op_t *op)
{
    uint64_t                     ms;
    ngx_http_batch_pace_conf_t  *conf;

    conf = op->conf->pace;

    ms = conf->grace + (uint64_t) op->pace.bytes * 1000 / conf->rate;

    if (conf->max && ms > conf->max) {
        ms = conf->max;
    }

    /* a timer's span; it looks again when it ends */

    return (ngx_msec_t) ngx_min(ms, NGX_MAX_INT32_VALUE);
}
