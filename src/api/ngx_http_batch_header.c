/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Headers of requests and answers.
 */

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_header.h"


ngx_table_elt_t *
ngx_http_batch_header_find(ngx_list_t *headers, const char *name,
    ngx_table_elt_t *prev)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    for (part = &headers->part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (prev) {
                if (&h[i] == prev) {
                    prev = NULL;
                }

                continue;
            }

            if (h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


ngx_table_elt_t *
ngx_http_batch_header_add(ngx_http_request_t *r, const char *key,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.len = ngx_strlen(key);
    h->key.data = (u_char *) key;
    h->value = *value;

    return h;
}


ngx_table_elt_t *
ngx_http_batch_header_add_text(ngx_http_request_t *r, const char *key,
    const char *value)
{
    ngx_str_t  s;

    s.len = ngx_strlen(value);
    s.data = (u_char *) value;

    return ngx_http_batch_header_add(r, key, &s);
}


ngx_int_t
ngx_http_batch_header_vary(ngx_http_request_t *r, const ngx_str_t *names)
{
    u_char           *p;
    ngx_str_t         value;
    ngx_table_elt_t  *h;

    h = ngx_http_batch_header_find(&r->headers_out.headers, "Vary", NULL);

    if (h == NULL || h->hash == 0) {
        return ngx_http_batch_header_add(r, "Vary", names) ? NGX_OK : NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, h->value.len + 2 + names->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%V, %V", &h->value, names) - p;
    h->value = value;

    return NGX_OK;
}


void
ngx_http_batch_header_kept(ngx_http_request_t *r, ngx_uint_t kept)
{
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (kept) {
        ngx_str_set(&ctx->cache->value, "private, no-cache");

    } else {
        ngx_str_set(&ctx->cache->value, "private, no-store");
    }
}


ngx_int_t
ngx_http_batch_header_common(ngx_http_request_t *r)
{
    ngx_http_batch_api_ctx_t   *ctx;
    ngx_http_batch_loc_conf_t  *route;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (ctx->headers) {
        return NGX_OK;
    }

    ctx->cache = ngx_http_batch_header_add_text(r, "Cache-Control", "");

    if (ctx->cache == NULL) {
        return NGX_ERROR;
    }

    ngx_http_batch_header_kept(r, 0);

    route = ctx->conf->api;

    if (route && route->from && route->from->vary.len
        && ngx_http_batch_header_vary(r, &route->from->vary) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_batch_header_add(r, "X-Request-Id", &ctx->request_id) == NULL
        || ngx_http_batch_header_add_text(r, "X-Content-Type-Options",
                                          "nosniff")
           == NULL)
    {
        return NGX_ERROR;
    }

    ctx->headers = 1;

    return NGX_OK;
}


void
ngx_http_batch_header_body(ngx_http_request_t *r, const char *type,
    off_t length)
{
    r->headers_out.content_length_n = length;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
}
