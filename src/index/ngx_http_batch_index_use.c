/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The index of what tenants use: places are taken before something is
 * published, so that two requests at once cannot both get the last one.
 */

#include "ngx_http_batch_index_int.h"


static void ngx_http_batch_index_use_keys(ngx_http_batch_args_t *a,
    ngx_http_batch_use_e use, const ngx_str_t *tenant);


NGX_HTTP_BATCH_SCRIPT(hold, HOLD, USE, GEN);
NGX_HTTP_BATCH_SCRIPT(drop, DROP, CODE, ANY);


ngx_int_t
ngx_http_batch_index_use_hold(const ngx_http_batch_hold_t *h,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_hold, h->id);
    ngx_http_batch_index_use_keys(&a, h->use, &h->tenant);
    ngx_http_batch_args_text(&a, h->id);
    ngx_http_batch_args_int(&a, h->amount);
    ngx_http_batch_args_int(&a, (int64_t) h->max_sum);
    ngx_http_batch_args_int(&a, (int64_t) h->max_number);
    ngx_http_batch_args_int(&a, (int64_t) h->hold);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_use_drop(ngx_http_batch_use_e use, const ngx_str_t *tenant,
    const char *id, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_drop, id);
    ngx_http_batch_index_use_keys(&a, use, tenant);
    ngx_http_batch_args_text(&a, id);

    return ngx_http_batch_index_send(&a, cb, data);
}


static void
ngx_http_batch_index_use_keys(ngx_http_batch_args_t *a,
    ngx_http_batch_use_e use, const ngx_str_t *tenant)
{
    char        key[41];
    ngx_uint_t  files;

    files = (use == NGX_HTTP_BATCH_USE_FILES);

    ngx_http_batch_object_tenant_key(tenant, key);

    ngx_http_batch_args_key(a, files ? "uf" : "ub", key, NULL);
    ngx_http_batch_args_key(a, files ? "ufh" : "ubh", key, NULL);
}
