/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Router of the API.  The path is read as the client wrote it, because an id
 * that needs decoding is not an id of ours.
 */

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_header.h"
#include "ngx_http_batch_send.h"
#include "ngx_http_batch_space.h"

#include "batch_scan.h"


#define NGX_HTTP_BATCH_API_TENANT  256             /* of batch_tenant, bytes */


typedef enum {
    NGX_HTTP_BATCH_API_FILES = 0,
    NGX_HTTP_BATCH_API_FILE,
    NGX_HTTP_BATCH_API_FILE_CONTENT,
    NGX_HTTP_BATCH_API_BATCHES,
    NGX_HTTP_BATCH_API_BATCH,
    NGX_HTTP_BATCH_API_BATCH_CANCEL,
    NGX_HTTP_BATCH_API_UPLOADS,
    NGX_HTTP_BATCH_API_UPLOAD,
    NGX_HTTP_BATCH_API_UPLOAD_PART,
    NGX_HTTP_BATCH_API_UPLOAD_COMPLETE,
    NGX_HTTP_BATCH_API_UPLOAD_CANCEL
} ngx_http_batch_api_route_e;


typedef struct {
    const char            *name;         /* in the debug log */
    ngx_str_t              allow;
    ngx_http_handler_pt    get;
    ngx_http_handler_pt    post;
    ngx_http_handler_pt    delete;
    unsigned               stores:1;     /* post: needs room on disk */
    unsigned               body:1;       /* post: reads the request body */
} ngx_http_batch_api_route_t;


typedef struct {
    ngx_str_t              name;
    ngx_uint_t             route;
    ngx_uint_t             of;           /* an action's collection */
} ngx_http_batch_api_name_t;


static ngx_int_t ngx_http_batch_api_route(ngx_http_request_t *r);
static ngx_int_t ngx_http_batch_api_tenant(ngx_http_request_t *r,
    ngx_http_batch_api_ctx_t *ctx);
static ngx_int_t ngx_http_batch_api_named(
    const ngx_http_batch_api_name_t *names, ngx_uint_t of, u_char *p,
    u_char *last, ngx_uint_t *route);
static ngx_int_t ngx_http_batch_api_find_route(ngx_str_t *path,
    ngx_http_batch_api_ctx_t *ctx);
static ngx_int_t ngx_http_batch_api_match(u_char *p, u_char *last,
    ngx_http_batch_api_ctx_t *ctx);
static ngx_int_t ngx_http_batch_api_dispatch(ngx_http_request_t *r,
    ngx_http_batch_api_ctx_t *ctx, ngx_str_t *path);
static ngx_int_t ngx_http_batch_api_options(ngx_http_request_t *r);


/* in the order of ngx_http_batch_api_route_e; HEAD goes where GET does */

static ngx_http_batch_api_route_t  ngx_http_batch_api_routes[] = {

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


/* the API may lie below any prefix: what counts is the first segment that is
 * one of these and is followed by something of the API */

static const ngx_http_batch_api_name_t  ngx_http_batch_api_collections[] = {
    { ngx_string("files"), NGX_HTTP_BATCH_API_FILES, 0 },
    { ngx_string("batches"), NGX_HTTP_BATCH_API_BATCHES, 0 },
    { ngx_string("uploads"), NGX_HTTP_BATCH_API_UPLOADS, 0 },
    { ngx_null_string, 0, 0 }
};


/* what may follow a collection's id */

static const ngx_http_batch_api_name_t  ngx_http_batch_api_actions[] = {
    { ngx_string("content"), NGX_HTTP_BATCH_API_FILE_CONTENT,
      NGX_HTTP_BATCH_API_FILES },
    { ngx_string("cancel"), NGX_HTTP_BATCH_API_BATCH_CANCEL,
      NGX_HTTP_BATCH_API_BATCHES },
    { ngx_string("parts"), NGX_HTTP_BATCH_API_UPLOAD_PART,
      NGX_HTTP_BATCH_API_UPLOADS },
    { ngx_string("complete"), NGX_HTTP_BATCH_API_UPLOAD_COMPLETE,
      NGX_HTTP_BATCH_API_UPLOADS },
    { ngx_string("cancel"), NGX_HTTP_BATCH_API_UPLOAD_CANCEL,
      NGX_HTTP_BATCH_API_UPLOADS },
    { ngx_null_string, 0, 0 }
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
    ngx_str_t                  path;
    batch_shown_t              method, shown;
    ngx_http_batch_api_ctx_t  *ctx;

    if (r != r->main) {
        /* a subrequest has no body of its own, and a line must not get here */
        return NGX_HTTP_NOT_FOUND;
    }

    ctx = ngx_http_batch_api_create_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_api_tenant(r, ctx);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_batch_send_error(r, NGX_HTTP_BAD_REQUEST, NULL,
                                         "invalid_tenant",
                                         "The tenant of this request is not "
                                         "valid. Expected UTF-8 text of at "
                                         "most %d bytes.",
                                         NGX_HTTP_BATCH_API_TENANT);
    }

    path = ngx_http_batch_api_path(r);

    if (ngx_http_batch_api_find_route(&path, ctx) != NGX_OK) {
        return ngx_http_batch_send_error(r, NGX_HTTP_NOT_FOUND, NULL, NULL,
                                         "Invalid URL (%s %s)",
                                         batch_shown(&method,
                                                     r->method_name.data,
                                                     r->method_name.len),
                                         batch_shown(&shown, path.data,
                                                     path.len));
    }

    return ngx_http_batch_api_dispatch(r, ctx, &path);
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
 * The tenant goes into manifests, which are JSON.  Mending a value that is not
 * text could make two tenants one, so it is refused: NGX_DECLINED.
 */

static ngx_int_t
ngx_http_batch_api_tenant(ngx_http_request_t *r, ngx_http_batch_api_ctx_t *ctx)
{
    if (ctx->conf->tenant == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, ctx->conf->tenant, &ctx->tenant) != NGX_OK) {
        return NGX_ERROR;
    }

    return ctx->tenant.len <= NGX_HTTP_BATCH_API_TENANT
           && batch_utf8_valid(ctx->tenant.data, ctx->tenant.len)
           ? NGX_OK : NGX_DECLINED;
}


ngx_str_t
ngx_http_batch_api_path(ngx_http_request_t *r)
{
    u_char     *p;
    ngx_str_t   path;

    path = r->unparsed_uri;

    for (p = path.data; p < path.data + path.len; p++) {
        if (*p == '?' || *p == '#') {
            path.len = p - path.data;
            break;
        }
    }

    return path;
}


static ngx_int_t
ngx_http_batch_api_named(const ngx_http_batch_api_name_t *names, ngx_uint_t of,
    u_char *p, u_char *last, ngx_uint_t *route)
{
    for ( /* void */ ; names->name.len; names++) {

        if (names->of == of && (size_t) (last - p) == names->name.len
            && ngx_memcmp(p, names->name.data, names->name.len) == 0)
        {
            *route = names->route;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_batch_api_find_route(ngx_str_t *path, ngx_http_batch_api_ctx_t *ctx)
{
    u_char  *p, *last, *next;

    p = path->data;
    last = path->data + path->len;

    while (p < last) {

        if (*p++ != '/') {
            continue;
        }

        next = ngx_strlchr(p, last, '/');
        if (next == NULL) {
            next = last;
        }

        if (ngx_http_batch_api_named(ngx_http_batch_api_collections, 0, p,
                                     next, &ctx->route)
            == NGX_OK
            && ngx_http_batch_api_match(next, last, ctx) == NGX_OK)
        {
            return NGX_OK;
        }

        p = next;
    }

    return NGX_DECLINED;
}


/* what follows the collection: nothing, "/<id>", or "/<id>/<action>" */

static ngx_int_t
ngx_http_batch_api_match(u_char *p, u_char *last,
    ngx_http_batch_api_ctx_t *ctx)
{
    u_char  *next;

    if (p == last) {
        return NGX_OK;
    }

    p++;

    next = ngx_strlchr(p, last, '/');
    if (next == NULL) {
        next = last;
    }

    if (next == p) {
        return NGX_DECLINED;
    }

    ctx->id.data = p;
    ctx->id.len = next - p;

    if (next == last) {
        ctx->route++;
        return NGX_OK;
    }

    return ngx_http_batch_api_named(ngx_http_batch_api_actions, ctx->route,
                                    next + 1, last, &ctx->route);
}


static ngx_int_t
ngx_http_batch_api_dispatch(ngx_http_request_t *r,
    ngx_http_batch_api_ctx_t *ctx, ngx_str_t *path)
{
    ngx_int_t                    rc;
    batch_shown_t                method, shown;
    ngx_http_handler_pt          handler;
    ngx_http_batch_api_route_t  *route;

    route = &ngx_http_batch_api_routes[ctx->route];

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
                                         batch_shown(&shown, path->data,
                                                     path->len));
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
