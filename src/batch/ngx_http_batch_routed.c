/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "ngx_http_batch_routed.h"
#include "ngx_http_batch_lookup.h"
#include "ngx_http_batch_store.h"


ngx_http_batch_loc_conf_t *
ngx_http_batch_routed(const char *id, ngx_log_t *log)
{
    json_t                     *root;
    ngx_str_t                   text;
    ngx_uint_t                  n;
    ngx_http_batch_meta_t       meta;
    ngx_http_batch_loc_conf_t  *blcf;

    if (ngx_http_batch_store_read(NGX_HTTP_BATCH_META, id,
                                  NGX_HTTP_BATCH_MANIFEST_MAX, &text, log)
        != NGX_OK)
    {
        return NULL;
    }

    blcf = NULL;

    if (ngx_http_batch_meta_decode(&meta, text.data, text.len, &root)
        == NGX_OK)
    {
        blcf = ngx_http_batch_lookup_route(&meta.route, &n);
        json_decref(root);
    }

    ngx_free(text.data);

    return blcf;
}


void
ngx_http_batch_routed_gone(ngx_http_batch_run_t *run, const ngx_str_t *text)
{
    json_t                 *root;
    ngx_uint_t              n;
    ngx_http_batch_meta_t   meta;

    if (ngx_http_batch_meta_decode(&meta, text->data, text->len, &root)
        != NGX_OK)
    {
        return;
    }

    /* the location may be there, and batch.json was not readable just now */

    if (ngx_http_batch_lookup_route(&meta.route, &n) == NULL) {
        ngx_http_batch_run_unrouted(run, &meta.route);
    }

    json_decref(root);
}
