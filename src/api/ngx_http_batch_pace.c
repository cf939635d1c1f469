/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * How fast a request body must come (batch_body_rate).  client_body_timeout
 * starts again with each byte, so a client that sends one now and then would
 * hold its connection, its buffers and its tmp file for ever.
 *
 * Each byte buys time, but only so much ahead: or a client that sends some
 * megabytes at once could be silent for hours afterwards.
 *
 * Only the time spent waiting for the client counts, not that spent waiting
 * for the disk.
 */

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_pace.h"


#define NGX_HTTP_BATCH_PACE_PAUSED  1000           /* ms, then it looks again */
#define NGX_HTTP_BATCH_PACE_AHEAD   60000          /* ms: what can be bought, if
                                                      grace is not longer */


static void ngx_http_batch_pace_timer(ngx_event_t *ev);
static void ngx_http_batch_pace_wait(ngx_http_batch_op_t *op, uint64_t used);
static uint64_t ngx_http_batch_pace_used(ngx_http_batch_op_t *op);


void
ngx_http_batch_pace_start(ngx_http_batch_op_t *op)
{
    ngx_event_t                 *ev;
    ngx_http_batch_pace_conf_t  *conf;

    conf = op->conf->pace;

    if (conf == NULL) {
        return;
    }

    op->pace.since = ngx_current_msec;
    op->pace.allowed = conf->max ? ngx_min(conf->grace, conf->max)
                                 : conf->grace;

    ev = &op->pace.timer;
    ev->handler = ngx_http_batch_pace_timer;
    ev->data = op;
    ev->log = op->r->connection->log;

    ngx_http_batch_pace_wait(op, 0);
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


void
ngx_http_batch_pace_took(ngx_http_batch_op_t *op, size_t n)
{
    uint64_t                     bought, most;
    ngx_http_batch_pace_conf_t  *conf;

    op->pace.bytes += n;

    conf = op->conf->pace;

    if (conf == NULL) {
        return;
    }

    /* what is less than a millisecond is not lost */

    bought = (uint64_t) n * 1000 + op->pace.rest;

    op->pace.rest = bought % conf->rate;
    op->pace.allowed += bought / conf->rate;

    most = ngx_http_batch_pace_used(op)
           + ngx_max(conf->grace, NGX_HTTP_BATCH_PACE_AHEAD);

    if (op->pace.allowed > most) {
        op->pace.allowed = most;
    }

    if (conf->max && op->pace.allowed > conf->max) {
        op->pace.allowed = conf->max;
    }
}


static void
ngx_http_batch_pace_timer(ngx_event_t *ev)
{
    ngx_http_batch_op_t *op = ev->data;

    uint64_t           used;
    ngx_connection_t  *c;

    if (op->pace.paused) {
        ngx_add_timer(ev, NGX_HTTP_BATCH_PACE_PAUSED);
        return;
    }

    used = ngx_http_batch_pace_used(op);

    if (used < op->pace.allowed) {
        ngx_http_batch_pace_wait(op, used);
        return;
    }

    c = op->r->connection;
    ngx_http_set_log_request(c->log, op->r);

    ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                  "batch: client sends its request body too slowly");

    ngx_http_batch_op_reject(op, NGX_HTTP_REQUEST_TIME_OUT, NULL, NULL,
                             "The request body did not arrive in time: %O "
                             "bytes in %uL seconds.", op->pace.bytes,
                             used / 1000);

    ngx_http_run_posted_requests(c);
}


/* until what is allowed now is used up; when the timer ends, it looks again */

static void
ngx_http_batch_pace_wait(ngx_http_batch_op_t *op, uint64_t used)
{
    uint64_t  ms;

    ms = op->pace.allowed - used;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, op->r->connection->log, 0,
                   "batch: request %V: body may wait %uL ms",
                   &op->request_id, ms);

    ngx_add_timer(&op->pace.timer,
                  (ngx_msec_t) ngx_min(ms, NGX_MAX_INT32_VALUE));
}


/* ms spent waiting for the client */

static uint64_t
ngx_http_batch_pace_used(ngx_http_batch_op_t *op)
{
    return op->pace.used + (op->pace.paused
                            ? 0 : ngx_current_msec - op->pace.since);
}
