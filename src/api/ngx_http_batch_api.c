/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Router of the API.
 */

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_header.h"
#include "ngx_http_batch_send.h"
#include "ngx_http_batch_space.h"
#include "ngx_http_batch_tenant.h"


typedef struct {
    const char            *name;         /* in the debug log */
    ngx_str_t              allow;
    ngx_http_handler_pt    get;
    ngx_http_handler_pt    post;
    ngx_http_handler_pt    delete;
    unsigned               stores:1;     /* post: needs room on disk */
    unsigned               body:1;       /* post: reads the request body */
} ngx_http_batch_api_route_t;


static ngx_int_t ngx_http_batch_api_route(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_api_error(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_api_dispatch(ngx_http_request_t *r,
    ngx_http_batch_api_ctx_t *ctx, ngx_str_t *written);
static ngx_int_t ngx_http_batch_api_options(ngx_http_request_t *r);


/* in the order of batch_path_e; HEAD goes where GET does */

static ngx_http_batch_api_route_t
    ngx_http_batch_api_routes[BATCH_PATH_N] =
{

    { "files", ngx_string("GET, HEAD, POST, OPTIONS"),
      ngx_http_batch_api_list_files,
      ngx_http_batch_api_file_create,
      NULL, 1, 1 },

    { "file", ngx_string("GET, HEAD, DELETE, OPTIONS"),
      ngx_http_batch_api_file,
      NULL,
      ngx_http_batch_api_file_delete, 0, 0 },

    { "file content", ngx_string("GET, HEAD, OPTIONS"),
      ngx_http_batch_api_file_content,
      NULL,
      NULL, 0, 0 },

    { "batches", ngx_string("GET, HEAD, POST, OPTIONS"),
      ngx_http_batch_api_list_batches,
      ngx_http_batch_api_batch_create,
      NULL, 1, 1 },

    { "batch", ngx_string("GET, HEAD, OPTIONS"),
      ngx_http_batch_api_batch,
      NULL,
      NULL, 0, 0 },

    { "batch cancel", ngx_string("POST, OPTIONS"),
      NULL,
      ngx_http_batch_api_batch_cancel,
      NULL, 0, 0 },

    { "uploads", ngx_string("POST, OPTIONS"),
      NULL,
      ngx_http_batch_api_upload_create,
      NULL, 1, 1 },

    { "upload", ngx_string("GET, HEAD, OPTIONS"),
      ngx_http_batch_api_upload,
      NULL,
      NULL, 0, 0 },

    { "upload part", ngx_string("POST, OPTIONS"),
      NULL,
      ngx_http_batch_api_upload_part,
      NULL, 1, 1 },

    { "upload complete", ngx_string("POST, OPTIONS"),
      NULL,
      ngx_http_batch_api_upload_complete,
      NULL, 1, 1 },

    { "upload cancel", ngx_string("POST, OPTIONS"),
      NULL,
      ngx_http_batch_api_upload_cancel,
      NULL, 0, 0 }
};


ngx_int_t
ngx_http_batch_api_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_api_route(r);

    /* there is no memory: the client is told if there is enough for that */

    return (rc == NGX_ERROR && !r->header_sent)
           ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
}


static ngx_int_t
ngx_http_batch_api_route(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_str_t                  written;
    const char                *why;
    batch_path_t               path;
    batch_shown_t              method, shown;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_batch_api_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (r != r->main) {

        /* it has no body of its own, and a line must not get here */

        return ngx_http_batch_send_error(r, NGX_HTTP_NOT_FOUND, NULL, NULL,
                                         "The API does not answer"
                                         " subrequests.");
    }

    if (r->error_page || r->err_status) {
        return ngx_http_batch_api_error(r);
    }

    rc = ngx_http_batch_tenant_find(r, ctx, &why);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_batch_send_error(r, NGX_HTTP_BAD_REQUEST, NULL,
                                         "invalid_tenant", "%s", why);
    }

    written = ngx_http_batch_path_written(r);

    if (ngx_http_batch_path_of(r, ctx->conf->api, &path) != NGX_OK) {
        return ngx_http_batch_send_error(r, NGX_HTTP_NOT_FOUND, NULL, NULL,
                                         "Invalid URL (%s %s)",
                                         batch_shown(&method,
                                                     r->method_name.data,
                                                     r->method_name.len),
                                         batch_shown(&shown, written.data,
                                                     written.len));
    }

    ctx->call = path.call;
    ctx->id.len = path.id.len;
    ctx->id.data = (u_char *) path.id.data;

    return ngx_http_batch_api_dispatch(r, ctx, &written);
}


ngx_http_batch_api_ctx_t *
ngx_http_batch_api_create_ctx(ngx_http_request_t *r)
{
    u_char                    *p;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_batch_api_ctx_t));
    p = ngx_pnalloc(r->pool, 32);

    if (ctx == NULL || p == NULL) {
        return NULL;
    }

    if (batch_id_random_hex((char *) p, 16) != BATCH_OK) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, ngx_errno,
                      "batch: no random bytes for an id");
        return NULL;
    }

    ctx->kind = NGX_HTTP_BATCH_CTX_API;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_batch_module);
    ctx->request_id.len = 32;
    ctx->request_id.data = p;

    ngx_http_set_ctx(r, ctx, ngx_http_batch_module);

    return ctx;
}


/*
 * An error_page has led here.  The client has asked for something else, which
 * was refused: that is what it is told, never what a call would answer.
 */

static ngx_int_t
ngx_http_batch_api_error(ngx_http_request_t *r)
{
    ngx_uint_t   status;
    const char  *code;

    status = r->err_status;
    code = NULL;

    if (status < NGX_HTTP_BAD_REQUEST) {

        /* "error_page 413 = /v1/files": nginx has not kept it */

        status = NGX_HTTP_NOT_FOUND;

    } else if (status >= NGX_HTTP_NGINX_CODES
               && status < NGX_HTTP_INTERNAL_SERVER_ERROR)
    {
        status = NGX_HTTP_BAD_REQUEST;

    } else if (status == NGX_HTTP_TOO_MANY_REQUESTS) {
        code = "rate_limit_exceeded";
    }

    /* it would take the place of what is sent */

    r->err_status = 0;

    return ngx_http_batch_send_error(r, status, NULL, code, "%s",
                                     ngx_http_batch_send_message(status));
}


const ngx_str_t *
ngx_http_batch_api_allow(ngx_http_request_t *r)
{
    ngx_uint_t                   i;
    batch_path_t                 path;
    ngx_http_core_srv_conf_t    *cscf, *own;
    ngx_http_batch_loc_conf_t  **routes;
    ngx_http_batch_main_conf_t  *bmcf;

    bmcf = ngx_http_get_module_main_conf(r, ngx_http_batch_module);
    own = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    routes = bmcf->routes.elts;

    for (i = 0; i < bmcf->routes.nelts; i++) {
        cscf = ngx_http_get_module_srv_conf(routes[i]->ctx,
                                            ngx_http_core_module);

        if (cscf == own
            && ngx_http_batch_path_of(r, routes[i], &path) == NGX_OK)
        {
            return &ngx_http_batch_api_routes[path.call].allow;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_batch_api_dispatch(ngx_http_request_t *r,
    ngx_http_batch_api_ctx_t *ctx, ngx_str_t *written)
{
    ngx_int_t                    rc;
    batch_shown_t                method, shown;
    ngx_http_handler_pt          handler;
    ngx_http_batch_api_route_t  *route;

    route = &ngx_http_batch_api_routes[ctx->call];

    switch (r->method) {

    case NGX_HTTP_GET:
    case NGX_HTTP_HEAD:
        handler = route->get;
        break;

    case NGX_HTTP_POST:
        handler = route->post;
        break;

    case NGX_HTTP_DELETE:
        handler = route->delete;
        break;

    case NGX_HTTP_OPTIONS:
        handler = ngx_http_batch_api_options;
        break;

    default:
        handler = NULL;
    }

    if ((handler == NULL || r->method == NGX_HTTP_OPTIONS)
        && ngx_http_batch_header_add(r, "Allow", &route->allow) == NULL)
    {
        return NGX_ERROR;
    }

    if (handler == NULL) {
        return ngx_http_batch_send_error(r, NGX_HTTP_NOT_ALLOWED, NULL,
                                         "method_not_supported",
                                         "Not allowed to %s on %s.",
                                         batch_shown(&method,
                                                     r->method_name.data,
                                                     r->method_name.len),
                                         batch_shown(&shown, written->data,
                                                     written->len));
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "batch: request %V: %V of %s, id:\"%V\"",
                   &ctx->request_id, &r->method_name, route->name, &ctx->id);

    if (r->method != NGX_HTTP_POST || !route->body) {
        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            r->keepalive = 0;
            return ngx_http_batch_send_error(r, NGX_HTTP_BAD_REQUEST, NULL,
                                             NULL,
                                             "The request body is malformed.");
        }

    } else if (route->stores && ngx_http_batch_space_full(0)) {

        /* before the client has sent it all in vain */

        return ngx_http_batch_send_full(r);
    }

    return handler(r);
}


static ngx_int_t
ngx_http_batch_api_options(ngx_http_request_t *r)
{
    if (ngx_http_batch_header_common(r) != NGX_OK) {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}
