/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * CORS: pages of other origins may use the API (batch_cors).  A preflight is
 * answered before access is checked, because browsers send it without the
 * credentials of the request that it asks for.
 */

#include "ngx_http_batch_cors.h"
#include "ngx_http_batch_header.h"
#include "ngx_http_batch_page.h"


/* that a page may ask for; names beyond it are left out */
#define NGX_HTTP_BATCH_CORS_NAMES  2048            /* bytes */


static ngx_int_t ngx_http_batch_cors_preflight(ngx_http_request_t *r);
static ngx_uint_t ngx_http_batch_cors_allowed(ngx_http_request_t *r,
    ngx_http_batch_loc_conf_t *blcf, ngx_str_t *value);
static ngx_int_t ngx_http_batch_cors_names(ngx_http_request_t *r,
    ngx_str_t *names);


static const ngx_str_t  ngx_http_batch_cors_origin = ngx_string("Origin");
static const ngx_str_t  ngx_http_batch_cors_requested =
    ngx_string("Access-Control-Request-Headers");


ngx_int_t
ngx_http_batch_cors_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_batch_cors_preflight;

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_cors_preflight(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_str_t                   origin, names;
    ngx_http_batch_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_batch_module);

    if (!blcf->api || blcf->cors == NULL || r != r->main
        || r->method != NGX_HTTP_OPTIONS
        || ngx_http_batch_header_find(&r->headers_in.headers,
                                      "Access-Control-Request-Method", NULL)
           == NULL
        || !ngx_http_batch_cors_allowed(r, blcf, &origin))
    {
        return NGX_DECLINED;
    }

    if (ngx_http_batch_page_ctx(r) == NULL
        || ngx_http_batch_header_common(r) != NGX_OK
        || ngx_http_batch_header_add_text(r, "Access-Control-Allow-Methods",
                                          "GET, HEAD, POST, DELETE, OPTIONS")
           == NULL
        || ngx_http_batch_header_add_text(r, "Access-Control-Max-Age", "7200")
           == NULL
        || ngx_http_batch_header_vary(r, &ngx_http_batch_cors_requested)
           != NGX_OK
        || ngx_http_batch_cors_names(r, &names) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (names.len
        && ngx_http_batch_header_add(r, "Access-Control-Allow-Headers", &names)
           == NULL)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    /* the header filter adds the origin */

    ngx_http_finalize_request(r, ngx_http_send_header(r));

    return NGX_DONE;
}


ngx_int_t
ngx_http_batch_cors_headers(ngx_http_request_t *r)
{
    ngx_str_t                   origin, *origins;
    ngx_http_batch_api_ctx_t   *ctx;
    ngx_http_batch_loc_conf_t  *blcf;

    blcf = ngx_http_get_module_loc_conf(r, ngx_http_batch_module);

    if (blcf->cors == NULL) {
        return NGX_OK;
    }

    ctx = ngx_http_batch_page_ctx(r);

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->cors) {
        return NGX_OK;
    }

    ctx->cors = 1;

    ngx_str_null(&origin);

    (void) ngx_http_batch_cors_allowed(r, blcf, &origin);

    origins = blcf->cors->elts;

    /* a cache must not give one origin what was meant for another */

    if (origins[0].data[0] != '*'
        && ngx_http_batch_header_vary(r, &ngx_http_batch_cors_origin) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (origin.len == 0) {
        return NGX_OK;
    }

    return ngx_http_batch_header_add(r, "Access-Control-Allow-Origin", &origin)
           && ngx_http_batch_header_add_text(r,
                                             "Access-Control-Expose-Headers",
                                             "X-Request-Id, "
                                             "Content-Disposition, "
                                             "Retry-After, X-Should-Retry")
           ? NGX_OK : NGX_ERROR;
}


/* 1, with what the browser is to be told, if the origin may use the API */

static ngx_uint_t
ngx_http_batch_cors_allowed(ngx_http_request_t *r,
    ngx_http_batch_loc_conf_t *blcf, ngx_str_t *value)
{
    ngx_str_t        *origins;
    ngx_uint_t        i;
    ngx_table_elt_t  *origin;

    origin = ngx_http_batch_header_find(&r->headers_in.headers, "Origin",
                                        NULL);

    if (origin == NULL) {
        return 0;
    }

    origins = blcf->cors->elts;

    for (i = 0; i < blcf->cors->nelts; i++) {

        if (origins[i].data[0] == '*'
            || (origins[i].len == origin->value.len
                && ngx_memcmp(origins[i].data, origin->value.data,
                              origins[i].len)
                   == 0))
        {
            *value = origins[i];
            return 1;
        }
    }

    return 0;
}


/*
 * Which headers a page may send: those that it asks for, since SDKs send many
 * of their own.  What is not the name of a header is left out.
 */

static ngx_int_t
ngx_http_batch_cors_names(ngx_http_request_t *r, ngx_str_t *names)
{
    u_char           *p, *last, *name, *out;
    ssize_t           len;
    ngx_table_elt_t  *h;

    ngx_str_null(names);

    h = ngx_http_batch_header_find(&r->headers_in.headers,
                                   "Access-Control-Request-Headers", NULL);

    if (h == NULL) {
        return NGX_OK;
    }

    /* a comma becomes a comma and a space */

    names->data = ngx_pnalloc(r->pool, 2 * h->value.len + 1);
    if (names->data == NULL) {
        return NGX_ERROR;
    }

    out = names->data;
    p = h->value.data;
    last = p + h->value.len;

    for ( ;; ) {

        while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
            p++;
        }

        if (p == last) {
            break;
        }

        name = p;

        while (p < last
               && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
                   || (*p >= '0' && *p <= '9')
                   || (*p && ngx_strchr("!#$%&'*+-.^_`|~", *p))))
        {
            p++;
        }

        len = p - name;

        while (p < last && (*p == ' ' || *p == '\t')) {
            p++;
        }

        if (len && (p == last || *p == ',')
            && out - names->data + 2 + len <= NGX_HTTP_BATCH_CORS_NAMES)
        {
            if (out != names->data) {
                *out++ = ',';
                *out++ = ' ';
            }

            out = ngx_cpymem(out, name, len);
        }

        while (p < last && *p != ',') {
            p++;
        }
    }

    names->len = out - names->data;

    return NGX_OK;
}
