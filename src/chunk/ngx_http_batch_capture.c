/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Filters that hand the answer to the attempt's owner instead of sending it.
 *
 * The attempt is found by the main request's context: internal redirects wipe
 * the subrequest's own.  Filters that nginx runs after ours (headers, charset,
 * gunzip, postpone, write) never see these answers.
 */

#include "ngx_http_batch_attempt.h"


static ngx_int_t ngx_http_batch_capture_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_capture_body(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_batch_capture_unbuffered(
    ngx_http_batch_attempt_t *at, ngx_chain_t *in);
static ngx_int_t ngx_http_batch_capture_buf(ngx_http_batch_attempt_t *at,
    ngx_buf_t *b);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_int_t
ngx_http_batch_capture_add(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_batch_capture_header;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_batch_capture_body;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_capture_header(ngx_http_request_t *r)
{
    ngx_http_batch_attempt_t  *at;

    at = ngx_http_batch_attempt_of(r);

    if (at == NULL) {
        return ngx_http_next_header_filter(r);
    }

    r->header_sent = 1;
    r->filter_need_in_memory = 1;

    if (r != at->sr) {
        /* a subrequest of the location's own (njs, an update of its cache) */
        return NGX_OK;
    }

    at->last = 0;

    return at->type->header(at);
}


/*
 * When the disk is slower than the upstream, nginx is made to stop reading.
 * With buffers (ngx_event_pipe) it then passes on no more than these hold.
 */

static ngx_int_t
ngx_http_batch_capture_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t               *cl;
    ngx_http_batch_attempt_t  *at;

    at = ngx_http_batch_attempt_of(r);

    if (at == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    if (r != at->sr) {

        for (cl = in; cl; cl = cl->next) {
            cl->buf->pos = cl->buf->last;
            cl->buf->file_pos = cl->buf->file_last;
        }

        return NGX_OK;
    }

    if (r->upstream && !r->upstream->buffering) {
        return ngx_http_batch_capture_unbuffered(at, in);
    }

    for (cl = in; cl; cl = cl->next) {
        if (ngx_http_batch_capture_buf(at, cl->buf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (at->type->full(at)) {
        ngx_http_batch_attempt_hold(at);
    }

    return NGX_OK;
}


/*
 * Without buffers (proxy_buffering off) nginx reads on as long as what it
 * passes on is taken.  So the filter leaves in place what has no room, and
 * nginx calls it again when the attempt is resumed.
 */

static ngx_int_t
ngx_http_batch_capture_unbuffered(ngx_http_batch_attempt_t *at,
    ngx_chain_t *in)
{
    ngx_chain_t  *cl;

    if (ngx_chain_add_copy(at->sr->pool, &at->held, in) != NGX_OK) {
        return NGX_ERROR;
    }

    while (at->held) {

        if (at->type->full(at)) {
            ngx_http_batch_attempt_hold(at);
            return NGX_AGAIN;
        }

        cl = at->held;
        at->held = cl->next;

        if (ngx_http_batch_capture_buf(at, cl->buf) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_free_chain(at->sr->pool, cl);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_capture_buf(ngx_http_batch_attempt_t *at, ngx_buf_t *b)
{
    if (ngx_buf_in_memory(b)) {

        if (b->last > b->pos
            && at->type->body(at, b->pos, b->last - b->pos) != NGX_OK)
        {
            return NGX_ERROR;
        }

        b->pos = b->last;
    }

    if (b->in_file) {
        b->file_pos = b->file_last;
    }

    if (b->last_buf || b->last_in_chain) {
        at->last = 1;
    }

    return NGX_OK;
}
