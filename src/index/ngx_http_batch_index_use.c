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
NGX_HTTP_BATCH_SCRIPT(part, PART, USE, GEN);
NGX_HTTP_BATCH_SCRIPT(upload_end, UPLOAD_END, CODE, ANY);
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
    ngx_http_batch_args_int(&a, h->most);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_use_part(const ngx_http_batch_hold_part_t *h,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_part, h->hold.id);
    ngx_http_batch_index_use_keys(&a, h->hold.use, &h->hold.tenant);
    ngx_http_batch_args_key(&a, "up", h->hold.id, NULL);
    ngx_http_batch_args_text(&a, h->hold.id);
    ngx_http_batch_args_text(&a, h->part);
    ngx_http_batch_args_text(&a, h->what);
    ngx_http_batch_args_int(&a, h->hold.amount);
    ngx_http_batch_args_int(&a, h->hold.most);
    ngx_http_batch_args_int(&a, h->bytes);
    ngx_http_batch_args_int(&a, h->max);
    ngx_http_batch_args_int(&a, (int64_t) h->hold.max_sum);
    ngx_http_batch_args_int(&a, (int64_t) h->hold.hold);
    ngx_http_batch_args_int(&a, h->stored);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_use_end(const ngx_str_t *tenant, const char *upload,
    ngx_msec_t keep, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_upload_end, upload);
    ngx_http_batch_index_use_keys(&a, NGX_HTTP_BATCH_USE_FILES, tenant);
    ngx_http_batch_args_key(&a, "up", upload, NULL);
    ngx_http_batch_args_text(&a, upload);
    ngx_http_batch_args_int(&a, (int64_t) keep);

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
