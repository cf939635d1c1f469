/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Pages that nginx makes itself in a location with batch_api (the body is
 * larger than client_max_body_size, access is denied, a limit is reached, an
 * auth_request fails ...): clients of the API get the error in the shape of
 * all others.  What error_page or return with a text say is left alone.  A
 * request that is too malformed to find its location is answered so, too, if
 * its server has such a location.
 */

#include "ngx_http_batch_cors.h"
#include "ngx_http_batch_header.h"
#include "ngx_http_batch_page.h"
#include "ngx_http_batch_send.h"


static ngx_int_t ngx_http_batch_page_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_page_make(ngx_http_request_t *r,
    ngx_http_batch_api_ctx_t *ctx);
static ngx_int_t ngx_http_batch_page_allow(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_page_body(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_int_t
ngx_http_batch_page_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_batch_page_header;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_batch_page_body;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_page_header(ngx_http_request_t *r)
{
    ngx_uint_t                  early;
    ngx_http_batch_api_ctx_t   *ctx;
    ngx_http_batch_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_batch_module);

    /*
     * In a server that has the API, a request may be refused before its
     * location is looked for (its first line or its headers are malformed or
     * too large): the phases begin with setting this handler.
     */

    early = blcf->server && r->write_event_handler == NULL;

    if (r != r->main || !(blcf->api || blcf->status || early)) {
        return ngx_http_next_header_filter(r);
    }

    if (blcf->api && ngx_http_batch_cors_headers(r) != NGX_OK) {
        return NGX_ERROR;
    }

    /* err_status: nginx is about to send a page of its own */

    if (r->err_status < NGX_HTTP_BAD_REQUEST
        || r->headers_out.status != r->err_status)
    {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_batch_page_ctx(r);

    if (ctx && ngx_http_batch_page_make(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/* that of the handler, if the request has reached it */

ngx_http_batch_api_ctx_t *
ngx_http_batch_page_ctx(ngx_http_request_t *r)
{
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (ctx) {
        return ctx->kind == NGX_HTTP_BATCH_CTX_API ? ctx : NULL;
    }

    return ngx_http_batch_api_create_ctx(r);
}


static ngx_int_t
ngx_http_batch_page_make(ngx_http_request_t *r, ngx_http_batch_api_ctx_t *ctx)
{
    ngx_buf_t   *b;
    ngx_uint_t   status;
    const char  *type, *code;

    status = r->headers_out.status;

    type = "\"invalid_request_error\"";
    code = "null";

    if (status == NGX_HTTP_TOO_MANY_REQUESTS) {
        type = "\"rate_limit_exceeded\"";
        code = type;

    } else if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        type = "\"server_error\"";

    } else if (status == NGX_HTTP_NOT_ALLOWED) {
        code = "\"method_not_supported\"";

        if (ngx_http_batch_page_allow(r) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    b = ngx_create_temp_buf(r->pool, 512);

    if (b == NULL || ngx_http_batch_header_common(r) != NGX_OK) {
        return NGX_ERROR;
    }

    if (r->filter_finalize) {
        /* nginx closes the connection after such a page: let it say so */
        r->keepalive = 0;
    }

    if (status == NGX_HTTP_TOO_MANY_REQUESTS
        || status == NGX_HTTP_SERVICE_UNAVAILABLE)
    {
        if (ngx_http_batch_header_add_text(r, "Retry-After", "1") == NULL) {
            return NGX_ERROR;
        }
    }

    b->last = ngx_slprintf(b->last, b->end,
                           "{\"error\":{\"message\":\"%s\",\"type\":%s,"
                           "\"param\":null,\"code\":%s}}",
                           ngx_http_batch_send_message(status), type, code);
    b->last_buf = 1;
    b->last_in_chain = 1;

    ngx_http_clear_content_length(r);

    ngx_http_batch_header_body(r, "application/json", b->last - b->pos);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "batch: request %V: nginx's page becomes JSON, status:%ui",
                   &ctx->request_id, status);

    ctx->page = b;

    return NGX_OK;
}


/* nginx refuses TRACE before it looks for a location, and says no more */

static ngx_int_t
ngx_http_batch_page_allow(ngx_http_request_t *r)
{
    const ngx_str_t  *allow;

    if (ngx_http_batch_header_find(&r->headers_out.headers, "Allow", NULL)) {
        return NGX_OK;
    }

    allow = ngx_http_batch_api_allow(r);

    return allow == NULL || ngx_http_batch_header_add(r, "Allow", allow)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_page_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t                 *b;
    ngx_chain_t               *cl, out;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (in == NULL || ctx == NULL || ctx->kind != NGX_HTTP_BATCH_CTX_API
        || ctx->page == NULL)
    {
        return ngx_http_next_body_filter(r, in);
    }

    /* the page that nginx has made, all at once */

    for (cl = in; cl; cl = cl->next) {
        b = cl->buf;

        b->pos = b->last;
        b->file_pos = b->file_last;
    }

    if (ctx->paged) {
        return NGX_OK;
    }

    ctx->paged = 1;

    out.buf = ctx->page;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}
