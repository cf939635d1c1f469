/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * X-Accel-* of what answers a line or a webhook is no order: with
 * X-Accel-Redirect an inference server could make any internal location answer
 * in its place.
 *
 * The request decides about that, not the location: an attempt may come to any
 * location, by error_page, rewrite, try_files or an X-Accel of its own, and
 * clients' requests through the same one go on to obey.  So the handlers of
 * these headers are wrapped, in nginx's table that all kinds of upstream share.
 * The table is the cycle's; the structs that it points to are nginx's own, for
 * all cycles, and are left alone.
 */

#include "ngx_http_batch_attempt.h"


static ngx_int_t ngx_http_batch_accel_header(ngx_http_request_t *r,
    ngx_table_elt_t *h, ngx_uint_t offset);


ngx_int_t
ngx_http_batch_accel_add(ngx_conf_t *cf)
{
    ngx_uint_t                      i, n;
    ngx_hash_t                     *hash;
    ngx_hash_elt_t                 *elt;
    ngx_http_upstream_header_t     *own;
    ngx_http_upstream_main_conf_t  *umcf;

    static ngx_str_t  prefix = ngx_string("x-accel-");

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    hash = &umcf->headers_in_hash;
    n = 0;

    for (i = 0; i < hash->size; i++) {

        for (elt = hash->buckets[i]; elt && elt->value;
             elt = (ngx_hash_elt_t *) ngx_align_ptr(&elt->name[0] + elt->len,
                                                    sizeof(void *)))
        {
            if (elt->len < prefix.len
                || ngx_strncmp(elt->name, prefix.data, prefix.len) != 0)
            {
                continue;
            }

            own = ngx_palloc(cf->pool, sizeof(ngx_http_upstream_header_t));
            if (own == NULL) {
                return NGX_ERROR;
            }

            /* the offset is for the handler alone: it leads to nginx's */

            *own = *(ngx_http_upstream_header_t *) elt->value;
            own->handler = ngx_http_batch_accel_header;
            own->offset = (ngx_uint_t) elt->value;

            elt->value = own;
            n++;
        }
    }

    if (n == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "this nginx keeps X-Accel headers where the module does"
                      " not find them");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_accel_header(ngx_http_request_t *r, ngx_table_elt_t *h,
    ngx_uint_t offset)
{
    ngx_http_upstream_header_t  *hh;

    if (ngx_http_batch_attempt_of(r)) {
        return NGX_OK;
    }

    hh = (ngx_http_upstream_header_t *) offset;

    return hh->handler(r, h, hh->offset);
}
