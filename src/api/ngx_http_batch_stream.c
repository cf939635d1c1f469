/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Answers in pieces.  What nginx has not sent yet lies in the request's pool,
 * because it outlives the op.
 */

#include "ngx_http_batch_header.h"
#include "ngx_http_batch_op.h"


struct ngx_http_batch_stream_s {
    batch_text_t           text;       /* the piece that is being sent */
    ngx_buf_t              buf;
    ngx_http_batch_op_pt   next;       /* NULL: no piece is being sent */
};


static ngx_int_t ngx_http_batch_stream_start(ngx_http_batch_op_t *op);
static void ngx_http_batch_stream_free(void *data);
static ngx_uint_t ngx_http_batch_stream_busy(ngx_http_request_t *r,
    ngx_http_batch_stream_t *s);
static ngx_int_t ngx_http_batch_stream_wait(ngx_http_request_t *r);
static void ngx_http_batch_stream_writer(ngx_http_request_t *r);


ngx_int_t
ngx_http_batch_stream_send(ngx_http_batch_op_t *op, ngx_uint_t last,
    ngx_http_batch_op_pt next)
{
    ngx_int_t                 rc;
    ngx_buf_t                *b;
    ngx_chain_t               out;
    ngx_http_request_t       *r;
    ngx_http_batch_stream_t  *s;

    r = op->r;

    if (op->stream == NULL) {
        rc = ngx_http_batch_stream_start(op);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return ngx_http_batch_op_finish(op, rc);
        }
    }

    s = op->stream;

    batch_text_free(&s->text);

    s->text = op->text;
    ngx_memzero(&op->text, sizeof(batch_text_t));

    b = &s->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));

    b->pos = s->text.data;
    b->last = b->pos + s->text.len;
    b->memory = 1;
    b->flush = !last;
    b->last_buf = last;
    b->last_in_chain = last;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_output_filter(r, &out);

    if (last || rc == NGX_ERROR) {
        return ngx_http_batch_op_finish(op, rc);
    }

    if (!ngx_http_batch_stream_busy(r, s)) {
        return NGX_OK;
    }

    if (ngx_http_batch_stream_wait(r) != NGX_OK) {
        return ngx_http_batch_op_finish(op, NGX_ERROR);
    }

    s->next = next;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_batch_stream_start(ngx_http_batch_op_t *op)
{
    ngx_http_request_t        *r;
    ngx_pool_cleanup_t        *cln;
    ngx_http_batch_stream_t   *s;
    ngx_http_batch_api_ctx_t  *ctx;

    r = op->r;

    s = ngx_pcalloc(r->pool, sizeof(ngx_http_batch_stream_t));
    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (s == NULL || cln == NULL || ngx_http_batch_header_common(r) != NGX_OK) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_batch_stream_free;
    cln->data = s;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);
    ctx->op = op;
    op->stream = s;

    r->headers_out.status = NGX_HTTP_OK;
    ngx_http_batch_header_body(r, "application/json", -1);

    r->write_event_handler = ngx_http_batch_stream_writer;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "batch: request %V: answer in pieces", &op->request_id);

    return ngx_http_send_header(r);
}


static void
ngx_http_batch_stream_free(void *data)
{
    ngx_http_batch_stream_t *s = data;

    batch_text_free(&s->text);
}


static ngx_uint_t
ngx_http_batch_stream_busy(ngx_http_request_t *r, ngx_http_batch_stream_t *s)
{
    return ngx_buf_size(&s->buf) != 0 || r->buffered || r->postponed
           || r->connection->buffered;
}


static ngx_int_t
ngx_http_batch_stream_wait(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    return ngx_handle_write_event(wev, clcf->send_lowat);
}


static void
ngx_http_batch_stream_writer(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_event_t               *wev;
    ngx_http_batch_op_t       *op;
    ngx_http_batch_op_pt       next;
    ngx_http_batch_stream_t   *s;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);
    op = ctx->op;
    s = op->stream;
    wev = r->connection->write;

    if (s->next == NULL) {
        return;
    }

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "batch: request %V: client timed out",
                      &op->request_id);
        r->connection->timedout = 1;
        ngx_http_batch_op_finish(op, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (!wev->delayed) {
        rc = ngx_http_output_filter(r, NULL);

        if (rc == NGX_ERROR) {
            ngx_http_batch_op_finish(op, NGX_ERROR);
            return;
        }
    }

    if (wev->delayed || ngx_http_batch_stream_busy(r, s)) {

        if (ngx_http_batch_stream_wait(r) != NGX_OK) {
            ngx_http_batch_op_finish(op, NGX_ERROR);
        }

        return;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    next = s->next;
    s->next = NULL;

    next(op);
}


ngx_int_t
ngx_http_batch_stream_cut(ngx_http_batch_op_t *op)
{
    if (op->r) {
        ngx_log_error(NGX_LOG_ERR, op->r->connection->log, 0,
                      "batch: request %V: answer cannot be continued, "
                      "connection closed", &op->request_id);
    }

    return ngx_http_batch_op_finish(op, NGX_ERROR);
}
