/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Filters that take a line's answer instead of sending it anywhere.
 *
 * The line is found by the main request's context: the subrequest's own is
 * wiped by internal redirects.  Filters that nginx runs after ours (headers,
 * charset, gunzip, postpone, write) never see these answers.
 */

#include "ngx_http_batch_line.h"


static ngx_int_t ngx_http_batch_capture_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_capture_body(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_batch_capture_buf(ngx_http_batch_line_t *line,
    ngx_http_request_t *r, ngx_buf_t *b);


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
    ngx_http_batch_line_t  *line;

    line = ngx_http_batch_line_of(r);

    if (line == NULL) {
        return ngx_http_next_header_filter(r);
    }

    r->header_sent = 1;
    r->filter_need_in_memory = 1;

    if (r != line->at.sr) {
        /* a subrequest of the location's own (addition, ssi) */
        return NGX_OK;
    }

    if (ngx_http_batch_answer_header(line, r) != NGX_OK) {
        return NGX_ERROR;
    }

    /*
     * Did nginx make this answer itself?  After an rc >= 300 the page has that
     * status, unless error_page has led to another answer; and the upstream,
     * if there was one, has not said it.  It may have said another one, and
     * then a header that nginx could not take.
     */

    if (line->made) {

        if (line->status == (ngx_uint_t) line->made
            && (r->upstream == NULL
                || r->upstream->headers_in.status_n
                   != (ngx_uint_t) line->made))
        {
            line->rc = line->made;
            line->garbled = (r->upstream && r->upstream->state
                             && r->upstream->state->bytes_received > 0);

        } else {
            line->made = 0;
        }
    }

    return NGX_OK;
}


/*
 * Is the disk slower than the upstream, nginx is made to stop reading.  With
 * buffers (ngx_event_pipe) it then passes on nothing more than these hold.
 * Without them (proxy_buffering off) it reads on as long as what it passed on
 * is taken, so it is left where it is, and comes again when the disk has caught
 * up.
 */

static ngx_int_t
ngx_http_batch_capture_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t            *cl;
    ngx_http_batch_line_t  *line;

    line = ngx_http_batch_line_of(r);

    if (line == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    if (r == line->at.sr && r->upstream && !r->upstream->buffering) {

        if (ngx_chain_add_copy(r->pool, &line->at.held, in) != NGX_OK) {
            return NGX_ERROR;
        }

        while (line->at.held) {

            if (ngx_http_batch_spool_full(line->spool)) {
                ngx_http_batch_attempt_hold(&line->at);
                return NGX_AGAIN;
            }

            cl = line->at.held;
            line->at.held = cl->next;

            if (ngx_http_batch_capture_buf(line, r, cl->buf) != NGX_OK) {
                return NGX_ERROR;
            }

            ngx_free_chain(r->pool, cl);
        }

        return NGX_OK;
    }

    for (cl = in; cl; cl = cl->next) {
        if (ngx_http_batch_capture_buf(line, r, cl->buf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (r == line->at.sr && ngx_http_batch_spool_full(line->spool)) {
        ngx_http_batch_attempt_hold(&line->at);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_capture_buf(ngx_http_batch_line_t *line, ngx_http_request_t *r,
    ngx_buf_t *b)
{
    if (ngx_buf_in_memory(b)) {

        if (r == line->at.sr && b->last > b->pos
            && ngx_http_batch_answer_body(line, b->pos, b->last - b->pos)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        b->pos = b->last;
    }

    if (b->in_file) {
        b->file_pos = b->file_last;
    }

    if (r == line->at.sr && (b->last_buf || b->last_in_chain)) {
        line->last = 1;
    }

    return NGX_OK;
}
