/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Request bodies, as they arrive: never a temporary file of ours, never more
 * in memory than the connection's buffer.  What take() does not take stays in
 * that buffer, so the client is slowed down to the speed of the disk.
 *
 * A body that another module has read before (mirror) may lie in a file: it is
 * read back piece by piece in the thread pool.
 */

#include "ngx_http_batch_body.h"
#include "ngx_http_batch_header.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_send.h"


#define NGX_HTTP_BATCH_BODY_PIECE  65536


static void ngx_http_batch_body_ready(ngx_http_request_t *r);
static void ngx_http_batch_body_process(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_body_bufs(ngx_http_batch_op_t *op,
    ngx_http_request_body_t *rb);
static ngx_int_t ngx_http_batch_body_take(ngx_http_batch_op_t *op,
    u_char **pos, u_char *last);
static ngx_int_t ngx_http_batch_body_file(ngx_http_batch_op_t *op,
    ngx_buf_t *b);
static void ngx_http_batch_body_load(ngx_http_batch_op_t *op, ngx_log_t *log);
static void ngx_http_batch_body_loaded(ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_body_failed(ngx_http_batch_op_t *op,
    ngx_int_t rc);

static ngx_int_t ngx_http_batch_body_json_take(ngx_http_batch_op_t *op,
    u_char **pos, u_char *last);
static ngx_int_t ngx_http_batch_body_json_large(ngx_http_batch_op_t *op);
static void ngx_http_batch_body_json_end(ngx_http_batch_op_t *op);


void
ngx_http_batch_body_start(ngx_http_batch_op_t *op)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_batch_api_ctx_t  *ctx;

    r = op->r;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);
    ctx->op = op;

    r->request_body_no_buffering = 1;

    ngx_http_batch_pace_start(op);

    /* takes a reference of its own, and may read, and answer, all at once */

    rc = ngx_http_read_client_request_body(r, ngx_http_batch_body_ready);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_http_batch_body_failed(op, rc);
        return;
    }

    ngx_http_finalize_request(r, NGX_DONE);
}


static void
ngx_http_batch_body_ready(ngx_http_request_t *r)
{
    r->read_event_handler = ngx_http_batch_body_process;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_batch_body_process(r);
}


void
ngx_http_batch_body_resume(ngx_http_batch_op_t *op)
{
    ngx_http_batch_body_process(op->r);
}


static void
ngx_http_batch_body_process(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_http_batch_op_t       *op;
    ngx_http_request_body_t   *rb;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);
    op = ctx->op;
    rb = r->request_body;

    if (op == NULL) {
        return;
    }

    if (rb == NULL) {
        ngx_http_batch_body_failed(op, NGX_ERROR);
        return;
    }

    ngx_http_batch_pace_resume(op);

    for ( ;; ) {

        rc = ngx_http_batch_body_bufs(op, rb);

        if (rc == NGX_AGAIN) {

            /* the disk is waited for now, not the client */

            ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "batch: request %V: body is paused at %O",
                           &op->request_id, op->pace.bytes);

            ngx_http_batch_pace_pause(op);

            if (r->connection->read->timer_set) {
                ngx_del_timer(r->connection->read);
            }

            return;
        }

        if (rc != NGX_OK) {
            return;
        }

        if (!r->reading_body) {
            ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "batch: request %V: body is read, %O bytes",
                           &op->request_id, op->pace.bytes);

            r->read_event_handler = ngx_http_block_reading;
            ctx->op = NULL;
            ngx_http_batch_pace_stop(op);
            op->body.end(op);
            return;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_batch_body_failed(op, rc);
            return;
        }

        if (rb->bufs == NULL && r->reading_body) {
            return;
        }
    }
}


static ngx_int_t
ngx_http_batch_body_bufs(ngx_http_batch_op_t *op, ngx_http_request_body_t *rb)
{
    u_char       *pos;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    while (rb->bufs) {
        cl = rb->bufs;
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            pos = b->pos;
            rc = ngx_http_batch_body_take(op, &b->pos, b->last);

            if (rc != NGX_DONE) {
                ngx_http_batch_pace_took(op, b->pos - pos);
            }

        } else if (b->in_file) {
            rc = ngx_http_batch_body_file(op, b);

        } else {
            rc = NGX_OK;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        rb->bufs = cl->next;
        ngx_free_chain(op->r->pool, cl);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_body_take(ngx_http_batch_op_t *op, u_char **pos, u_char *last)
{
    ngx_int_t  rc;

    if (*pos == last && !op->body.again) {
        return NGX_OK;
    }

    rc = op->body.take(op, pos, last);

    if (rc != NGX_DONE) {
        op->body.again = (rc == NGX_AGAIN);
    }

    return rc;
}


static ngx_int_t
ngx_http_batch_body_file(ngx_http_batch_op_t *op, ngx_buf_t *b)
{
    off_t      rest;
    ngx_int_t  rc;

    for ( ;; ) {
        rc = ngx_http_batch_body_take(op, &op->body.piece_pos,
                                      op->body.piece_last);

        if (rc != NGX_OK) {
            return rc;
        }

        if (op->pending) {
            return NGX_AGAIN;
        }

        b->file_pos += op->body.piece_size;
        op->body.piece_size = 0;

        rest = b->file_last - b->file_pos;

        if (rest <= 0) {
            return NGX_OK;
        }

        if (op->body.piece == NULL) {
            op->body.piece = ngx_palloc(op->pool, NGX_HTTP_BATCH_BODY_PIECE);
            if (op->body.piece == NULL) {
                return ngx_http_batch_body_failed(op, NGX_ERROR);
            }
        }

        if (op->body.fd == NGX_INVALID_FILE) {

            /* the request may die, and close its file, while a task reads */

            op->body.fd = dup(b->file->fd);

            if (op->body.fd == NGX_INVALID_FILE) {
                return ngx_http_batch_body_failed(op, NGX_ERROR);
            }
        }

        op->body.piece_off = b->file_pos;
        op->body.piece_size = (size_t) ngx_min(rest, NGX_HTTP_BATCH_BODY_PIECE);

        if (ngx_http_batch_op_task(op, ngx_http_batch_body_load,
                                   ngx_http_batch_body_loaded)
            != NGX_OK)
        {
            return NGX_DONE;
        }

        op->body.piece_pos = op->body.piece;
        op->body.piece_last = op->body.piece;

        return NGX_AGAIN;
    }
}


static void
ngx_http_batch_body_load(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    size_t   done;
    ssize_t  n;

    op->rc = NGX_OK;

    for (done = 0; done < op->body.piece_size; done += n) {

        n = pread(op->body.fd, op->body.piece + done,
                  op->body.piece_size - done, op->body.piece_off + done);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            n = 0;
            continue;
        }

        if (n <= 0) {
            ngx_log_error(NGX_LOG_CRIT, log, n ? ngx_errno : 0,
                          "batch: pread() of a request body failed");
            op->rc = NGX_ERROR;
            return;
        }
    }
}


static void
ngx_http_batch_body_loaded(ngx_http_batch_op_t *op)
{
    if (op->rc != NGX_OK) {
        ngx_http_batch_body_failed(op, NGX_ERROR);
        return;
    }

    op->body.piece_pos = op->body.piece;
    op->body.piece_last = op->body.piece + op->body.piece_size;

    ngx_http_batch_body_resume(op);
}


/* an rc that nginx would have made a page of; others are 500 */

static ngx_int_t
ngx_http_batch_body_failed(ngx_http_batch_op_t *op, ngx_int_t rc)
{
    const char  *what;

    if (op->r->connection->error) {
        return ngx_http_batch_op_finish(op, NGX_ERROR);
    }

    /* where the body ends is not known: what follows is not a request */

    op->r->keepalive = 0;

    switch (rc) {

    case NGX_HTTP_BAD_REQUEST:
        what = "The request body is malformed.";
        break;

    case NGX_HTTP_REQUEST_TIME_OUT:
        what = "The request body did not arrive in time.";
        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        what = "The request body is too large.";
        break;

    default:
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        what = "The server had an error while reading the request body.";
    }

    return ngx_http_batch_op_reject(op, rc, NULL, NULL, what);
}


ngx_int_t
ngx_http_batch_body_encoded(ngx_http_batch_op_t *op)
{
    batch_shown_t     shown;
    ngx_table_elt_t  *h;

    h = NULL;

    for ( ;; ) {
        h = ngx_http_batch_header_find(&op->r->headers_in.headers,
                                       "Content-Encoding", h);

        if (h == NULL) {
            return NGX_OK;
        }

        if (h->value.len != sizeof("identity") - 1
            || ngx_strncasecmp(h->value.data, (u_char *) "identity",
                               sizeof("identity") - 1)
               != 0)
        {
            break;
        }
    }

    return ngx_http_batch_op_reject(op, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, NULL,
                                    "unsupported_encoding",
                                    "Unsupported content encoding: '%s'. "
                                    "Expected an uncompressed request body.",
                                    batch_shown(&shown, h->value.data,
                                                h->value.len));
}


ngx_int_t
ngx_http_batch_body_json(ngx_http_request_t *r, size_t max,
    ngx_http_batch_op_pt parsed)
{
    ngx_http_batch_op_t  *op;

    op = ngx_http_batch_op_create(r);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_batch_body_encoded(op) != NGX_OK) {
        return NGX_DONE;
    }

    op->body.json_max = max;

    if (r->headers_in.content_length_n > (off_t) max) {
        return ngx_http_batch_body_json_large(op);
    }

    op->body.json = ngx_create_temp_buf(op->pool,
                                        r->headers_in.content_length_n >= 0
                                   ? (size_t) r->headers_in.content_length_n
                                     + 1
                                   : max);
    if (op->body.json == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    op->body.parsed = parsed;
    op->body.take = ngx_http_batch_body_json_take;
    op->body.end = ngx_http_batch_body_json_end;
    op->abandon = ngx_http_batch_op_destroy;

    ngx_http_batch_body_start(op);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_batch_body_json_take(ngx_http_batch_op_t *op, u_char **pos,
    u_char *last)
{
    ngx_buf_t *b = op->body.json;

    if (last - *pos > b->end - b->last) {
        return ngx_http_batch_body_json_large(op);
    }

    b->last = ngx_cpymem(b->last, *pos, last - *pos);
    *pos = last;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_body_json_large(ngx_http_batch_op_t *op)
{
    return ngx_http_batch_op_reject(op, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                    NULL, NULL, "The request body is too "
                                    "large. Expected at most %uz bytes.",
                                    op->body.json_max);
}


static void
ngx_http_batch_body_json_end(ngx_http_batch_op_t *op)
{
    ngx_buf_t *b = op->body.json;

    op->root = ngx_http_batch_object_json(b->pos, b->last - b->pos,
                                          JSON_REJECT_DUPLICATES);

    if (op->root == NULL && ngx_errno == NGX_ENOMEM) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    if (!json_is_object(op->root)) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                 "We could not parse the JSON body of your "
                                 "request. Expected a JSON object without "
                                 "duplicate keys.");
        return;
    }

    op->body.parsed(op);
}
