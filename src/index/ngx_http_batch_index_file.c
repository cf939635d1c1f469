/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The index of files.
 */

#include "ngx_http_batch_index_int.h"


#define NGX_HTTP_BATCH_SCAN  250    /* keys looked at by one call */


static ngx_int_t ngx_http_batch_index_file_store(
    const ngx_http_batch_file_t *f, const char *upload, const char *filler,
    ngx_http_batch_index_pt cb, void *data);


NGX_HTTP_BATCH_SCRIPT(file_put, FILE_PUT, CODE, GEN);
NGX_HTTP_BATCH_SCRIPT(file_get, FILE_GET, ITEMS, GEN);
NGX_HTTP_BATCH_SCRIPT(file_del, FILE_DEL, CODE, GEN);
NGX_HTTP_BATCH_SCRIPT(file_list, FILE_LIST, ITEMS, GEN);
NGX_HTTP_BATCH_SCRIPT(file_expired, FILE_EXPIRED, ITEMS, GEN);
NGX_HTTP_BATCH_SCRIPT(file_scan, FILE_SCAN, ITEMS, GEN);


ngx_int_t
ngx_http_batch_index_file_put(const ngx_http_batch_file_t *f,
    const char *upload, ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_file_store(f, upload, "", cb, data);
}


ngx_int_t
ngx_http_batch_index_file_restore(const ngx_http_batch_file_t *f,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_file_store(f, NULL, ngx_http_batch_worker_id,
                                           cb, data);
}


static ngx_int_t
ngx_http_batch_index_file_store(const ngx_http_batch_file_t *f,
    const char *upload, const char *filler, ngx_http_batch_index_pt cb,
    void *data)
{
    char                   tenant[41];
    ngx_int_t              rc;
    ngx_str_t              manifest;
    ngx_http_batch_args_t  a;

    manifest = ngx_http_batch_file_encode(f);
    if (manifest.data == NULL) {
        return NGX_ERROR;
    }

    ngx_http_batch_object_tenant_key(&f->tenant, tenant);

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_file_put, f->id);
    ngx_http_batch_args_key(&a, "f", f->id, NULL);
    ngx_http_batch_args_key(&a, "fl", tenant, NULL);
    ngx_http_batch_args_key(&a, "fl", tenant, &f->purpose);
    ngx_http_batch_args_key(&a, "fx", NULL, NULL);
    ngx_http_batch_args_key(&a, "uf", tenant, NULL);
    ngx_http_batch_args_key(&a, "ufh", tenant, NULL);
    ngx_http_batch_args_server(&a, "rebuild");
    ngx_http_batch_args_key(&a, "fd", f->id, NULL);
    ngx_http_batch_args_text(&a, filler);
    ngx_http_batch_args_text(&a, f->id);
    ngx_http_batch_args_str(&a, &manifest);
    ngx_http_batch_args_int(&a, f->created_us);
    ngx_http_batch_args_int(&a, f->expires_at);
    ngx_http_batch_args_int(&a, f->bytes);
    ngx_http_batch_args_text(&a, upload ? upload : "");

    rc = ngx_http_batch_index_send(&a, cb, data);
    free(manifest.data);

    return rc;
}


ngx_int_t
ngx_http_batch_index_file_get(const char *id, ngx_http_batch_index_pt cb,
    void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_file_get, id);
    ngx_http_batch_args_key(&a, "f", id, NULL);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_file_del(const ngx_http_batch_file_t *f, ngx_uint_t check,
    ngx_uint_t deleted, ngx_http_batch_index_pt cb, void *data)
{
    char                   tenant[41];
    ngx_http_batch_args_t  a;

    ngx_http_batch_object_tenant_key(&f->tenant, tenant);

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_file_del, f->id);
    ngx_http_batch_args_key(&a, "f", f->id, NULL);
    ngx_http_batch_args_key(&a, "fl", tenant, NULL);
    ngx_http_batch_args_key(&a, "fl", tenant, &f->purpose);
    ngx_http_batch_args_key(&a, "fx", NULL, NULL);
    ngx_http_batch_args_key(&a, "uf", tenant, NULL);
    ngx_http_batch_args_key(&a, "fd", f->id, NULL);
    ngx_http_batch_args_text(&a, check ? "1" : "0");
    ngx_http_batch_args_text(&a, f->id);
    ngx_http_batch_args_text(&a, deleted ? "1" : "0");

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_file_list(const ngx_str_t *tenant,
    const ngx_str_t *purpose, const ngx_http_batch_place_t *after,
    ngx_uint_t limit, ngx_uint_t asc, ngx_http_batch_index_pt cb, void *data)
{
    char                   key[41];
    ngx_http_batch_args_t  a;

    ngx_http_batch_object_tenant_key(tenant, key);

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_file_list, NULL);
    ngx_http_batch_args_key(&a, "fl", key,
                            purpose && purpose->len ? purpose : NULL);
    ngx_http_batch_args_prefix(&a, "f");
    ngx_http_batch_args_str(&a, &after->id);
    ngx_http_batch_args_str(&a, &after->score);
    ngx_http_batch_args_int(&a, (int64_t) limit);
    ngx_http_batch_args_int(&a, NGX_HTTP_BATCH_INDEX_PIECE);
    ngx_http_batch_args_text(&a, asc ? "asc" : "desc");

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_file_expired(int64_t now, ngx_uint_t skip,
    ngx_uint_t limit, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_file_expired, NULL);
    ngx_http_batch_args_key(&a, "fx", NULL, NULL);
    ngx_http_batch_args_prefix(&a, "f");
    ngx_http_batch_args_int(&a, now);
    ngx_http_batch_args_int(&a, (int64_t) skip);
    ngx_http_batch_args_int(&a, (int64_t) limit);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_file_scan(int64_t cursor, ngx_http_batch_index_pt cb,
    void *data)
{
    return ngx_http_batch_index_file_scan_of(&ngx_http_batch_script_file_scan,
                                             "}:f:*", NGX_HTTP_BATCH_SCAN,
                                             cursor, cb, data);
}


ngx_int_t
ngx_http_batch_index_file_scan_of(ngx_http_batch_index_script_t *script,
    const char *tail, ngx_uint_t n, int64_t cursor, ngx_http_batch_index_pt cb,
    void *data)
{
    u_char                 *p;
    size_t                  i;
    ngx_int_t               rc;
    ngx_str_t               pattern, *prefix;
    ngx_http_batch_args_t   a;

    prefix = &ngx_http_batch_conf->redis.prefix;

    p = ngx_alloc(2 * prefix->len + ngx_strlen(tail) + 1, ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    pattern.data = p;
    *p++ = '{';

    for (i = 0; i < prefix->len; i++) {

        if (ngx_strchr("*?[]^-\\", prefix->data[i]) != NULL) {
            *p++ = '\\';
        }

        *p++ = prefix->data[i];
    }

    p = ngx_cpymem(p, tail, ngx_strlen(tail));
    pattern.len = p - pattern.data;

    ngx_http_batch_args_init(&a, script, NULL);
    ngx_http_batch_args_int(&a, cursor);
    ngx_http_batch_args_str(&a, &pattern);
    ngx_http_batch_args_int(&a, (int64_t) n);

    rc = ngx_http_batch_index_send(&a, cb, data);
    ngx_free(pattern.data);

    return rc;
}
