/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The settings of the location that a batch came in by, where only batch.json
 * knows which that was: for jobs, which begin before a chunk was opened.
 */

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_lookup.h"


ngx_http_batch_loc_conf_t *
ngx_http_batch_routed(const char *id, ngx_log_t *log)
{
    json_t                     *root;
    ngx_str_t                   text;
    ngx_uint_t                  n;
    ngx_http_batch_meta_t       meta;
    ngx_http_batch_loc_conf_t  *blcf;

    if (ngx_http_batch_store_read(NGX_HTTP_BATCH_META, id,
                                  NGX_HTTP_BATCH_META_MAX, &text, log)
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
ngx_http_batch_unrouted(ngx_http_batch_run_t *run, const ngx_str_t *text)
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

    if (!run->unrouted && ngx_http_batch_lookup_route(&meta.route, &n) == NULL) {

        run->unrouted = 1;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "batch: %s came in by location \"%V\", which has no"
                      " \"batch_api\" any more: it waits", run->id,
                      &meta.route);
    }

    json_decref(root);
}
