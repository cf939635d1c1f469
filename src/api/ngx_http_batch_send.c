/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Answers of the API, and the one place where an error becomes JSON.
 */

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_header.h"
#include "ngx_http_batch_send.h"


#define NGX_HTTP_BATCH_SEND_MESSAGE   2048         /* of an error, bytes */

#define NGX_HTTP_BATCH_UNPROCESSABLE  422


typedef struct {
    ngx_uint_t   status;
    const char  *message;
} ngx_http_batch_send_message_t;


static ngx_uint_t ngx_http_batch_send_status(ngx_http_request_t *r,
    ngx_uint_t status);
static ngx_int_t ngx_http_batch_send_retry(ngx_http_request_t *r,
    ngx_uint_t status);
static void ngx_http_batch_send_string(batch_text_t *t, const char *s);
static void ngx_http_batch_send_drop_body(ngx_http_request_t *r);


static const ngx_http_batch_send_message_t  ngx_http_batch_send_messages[] = {
    { NGX_HTTP_BAD_REQUEST, "The request is malformed." },
    { NGX_HTTP_UNAUTHORIZED, "Authorization is required." },
    { NGX_HTTP_FORBIDDEN, "Access is not allowed." },
    { NGX_HTTP_NOT_FOUND, "There is nothing at this URL." },
    { NGX_HTTP_NOT_ALLOWED, "The method is not allowed here." },
    { NGX_HTTP_REQUEST_TIME_OUT, "The request did not arrive in time." },
    { NGX_HTTP_LENGTH_REQUIRED, "The request must have a Content-Length." },
    { NGX_HTTP_PRECONDITION_FAILED,
      "A precondition of the request failed." },
    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "The request body is too large." },
    { NGX_HTTP_REQUEST_URI_TOO_LARGE, "The URL is too long." },
    { NGX_HTTP_RANGE_NOT_SATISFIABLE,
      "The requested range is not satisfiable." },
    { NGX_HTTP_TOO_MANY_REQUESTS, "Too many requests. Please retry." },
    { NGX_HTTP_BAD_GATEWAY,
      "An upstream server is unavailable. Please retry." },
    { NGX_HTTP_SERVICE_UNAVAILABLE,
      "The server is temporarily unable to handle the request. "
      "Please retry." },
    { NGX_HTTP_GATEWAY_TIME_OUT,
      "An upstream server did not answer in time. Please retry." },
    { 0, NULL }
};


ngx_int_t
ngx_http_batch_send_text(ngx_http_request_t *r, ngx_uint_t status, char *text)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        free(text);
        return NGX_ERROR;
    }

    cln->handler = free;
    cln->data = text;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL || ngx_http_batch_header_common(r) != NGX_OK) {
        return NGX_ERROR;
    }

    b->pos = (u_char *) text;
    b->last = b->pos + ngx_strlen(text);
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    if (r->reading_body) {
        r->keepalive = 0;
    }

    r->headers_out.status = status;
    ngx_http_batch_header_body(r, "application/json", b->last - b->pos);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "batch: answer %ui, %z bytes", status,
                   (ssize_t) (b->last - b->pos));

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_batch_send_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *param, const char *code, const char *fmt, ...)
{
    va_list    args;
    ngx_int_t  rc;

    va_start(args, fmt);
    rc = ngx_http_batch_send_verror(r, status, NULL, param, code, fmt, args);
    va_end(args);

    return rc;
}


ngx_int_t
ngx_http_batch_send_verror(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const char *param, const char *code, const char *fmt,
    va_list args)
{
    char          *text;
    u_char        *p;
    batch_text_t   t;
    u_char         message[NGX_HTTP_BATCH_SEND_MESSAGE];

    status = ngx_http_batch_send_status(r, status);

    if (type == NULL) {
        type = (status >= NGX_HTTP_INTERNAL_SERVER_ERROR)
               ? "server_error"
               : (status == NGX_HTTP_TOO_MANY_REQUESTS)
                 ? "rate_limit_exceeded" : "invalid_request_error";
    }

    p = ngx_vslprintf(message, message + sizeof(message), fmt, args);

    ngx_memzero(&t, sizeof(batch_text_t));

    batch_text_literal(&t, "{\"error\":{\"message\":");
    batch_text_string(&t, message, p - message);
    batch_text_printf(&t, ",\"type\":\"%s\",\"param\":", type);
    ngx_http_batch_send_string(&t, param);
    batch_text_literal(&t, ",\"code\":");
    ngx_http_batch_send_string(&t, code);
    batch_text_literal(&t, "}}");

    text = batch_text_end(&t);
    if (text == NULL) {
        return NGX_ERROR;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "batch: request is refused, status:%ui, code:%s", status,
                   code ? code : "-");

    ngx_http_batch_send_drop_body(r);

    if (ngx_http_batch_send_retry(r, status) != NGX_OK) {
        free(text);
        return NGX_ERROR;
    }

    return ngx_http_batch_send_text(r, status, text);
}


static void
ngx_http_batch_send_string(batch_text_t *t, const char *s)
{
    if (s) {
        batch_text_string(t, s, ngx_strlen(s));

    } else {
        batch_text_literal(t, "null");
    }
}


/* dialect impala: an invalid request is 422 */

static ngx_uint_t
ngx_http_batch_send_status(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (status == NGX_HTTP_BAD_REQUEST && ctx && ctx->conf
        && ctx->conf->dialect == NGX_HTTP_BATCH_IMPALA)
    {
        return NGX_HTTP_BATCH_UNPROCESSABLE;
    }

    return status;
}


/* whether SDKs are to repeat the request: 409 they do of themselves */

static ngx_int_t
ngx_http_batch_send_retry(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_table_elt_t  *h;

    switch (status) {

    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
        h = ngx_http_batch_header_add_text(r, "Retry-After", "1");
        break;

    case NGX_HTTP_CONFLICT:
    case NGX_HTTP_INSUFFICIENT_STORAGE:
        h = ngx_http_batch_header_add_text(r, "x-should-retry", "false");
        break;

    default:
        return NGX_OK;
    }

    return h ? NGX_OK : NGX_ERROR;
}


/*
 * The body of a request that is refused before it was read.  It is read and
 * thrown away while the answer is on its way, so that the client gets to see
 * the answer; "100 Continue" would invite a body that nobody wants.
 */

static void
ngx_http_batch_send_drop_body(ngx_http_request_t *r)
{
    r->expect_tested = 1;

    if (r->request_body == NULL && !r->discard_body) {

        if (ngx_http_discard_request_body(r) != NGX_OK) {
            r->keepalive = 0;
        }

        /* much is still to come: a new connection is better than waiting */

        if (r->discard_body
            && (r->headers_in.chunked
                || r->headers_in.content_length_n
                   > NGX_HTTP_BATCH_API_JSON_MAX))
        {
            r->keepalive = 0;
        }
    }
}


ngx_int_t
ngx_http_batch_send_not_found(ngx_http_request_t *r, batch_id_kind_e kind)
{
    const char                *param, *fmt;
    batch_shown_t              shown;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    param = "id";

    switch (kind) {

    case BATCH_ID_FILE:
        fmt = "No such File object: %s";
        break;

    case BATCH_ID_UPLOAD:
        fmt = "No such Upload object: %s";
        break;

    default: /* BATCH_ID_BATCH */
        param = NULL;
        fmt = "No batch found with id '%s'.";
    }

    return ngx_http_batch_send_error(r, NGX_HTTP_NOT_FOUND, param, NULL, fmt,
                                     batch_shown(&shown, ctx->id.data,
                                                 ctx->id.len));
}


ngx_int_t
ngx_http_batch_send_full(ngx_http_request_t *r)
{
    return ngx_http_batch_send_error(r, NGX_HTTP_INSUFFICIENT_STORAGE, NULL,
                                     "storage_full",
                                     "The server has no space left to store "
                                     "this.");
}


const char *
ngx_http_batch_send_message(ngx_uint_t status)
{
    const ngx_http_batch_send_message_t  *m;

    for (m = ngx_http_batch_send_messages; m->status; m++) {
        if (m->status == status) {
            return m->message;
        }
    }

    return status >= NGX_HTTP_INTERNAL_SERVER_ERROR
           ? "The server had an error while processing your request."
           : "The request cannot be served.";
}
