/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The index of batches: what clients see, and the end of a batch.
 */

#include "ngx_http_batch_index_int.h"
#include "batch_hook.h"


static ngx_int_t ngx_http_batch_index_batch_store(
    const ngx_http_batch_meta_t *m, ngx_uint_t flags,
    ngx_http_batch_index_pt cb, void *data);
static ngx_int_t ngx_http_batch_index_batch_end(const char *id, int64_t at,
    ngx_uint_t flags, ngx_http_batch_index_pt cb, void *data);
static void ngx_http_batch_index_batch_final_keys(ngx_http_batch_args_t *a,
    const ngx_http_batch_meta_t *m, const ngx_http_batch_final_t *final);
static void ngx_http_batch_index_batch_final_args(ngx_http_batch_args_t *a,
    const ngx_http_batch_meta_t *m, const ngx_http_batch_final_t *final,
    const ngx_str_t *meta, const char *hook, ngx_uint_t keep);


NGX_HTTP_BATCH_SCRIPT(batch_put, BATCH_PUT, STATUS, GEN);
NGX_HTTP_BATCH_SCRIPT(batch_get, BATCH_GET, VIEW, FILLED);
NGX_HTTP_BATCH_SCRIPT(batch_list, BATCH_LIST, VIEWS, FILLED);
NGX_HTTP_BATCH_SCRIPT(batch_cancel, BATCH_CANCEL, VIEW, GEN);
NGX_HTTP_BATCH_SCRIPT(batch_old, BATCH_OLD, ITEMS, GEN);
NGX_HTTP_BATCH_SCRIPT(batch_del, BATCH_DEL, CODE, ANY);
NGX_HTTP_BATCH_SCRIPT(batch_scan, BATCH_SCAN, ITEMS, GEN);
NGX_HTTP_BATCH_SCRIPT(final, FINAL, STATUS, ANY);


ngx_int_t
ngx_http_batch_index_batch_put(const ngx_http_batch_meta_t *m,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_batch_store(m, NGX_HTTP_BATCH_INDEX_CLIENT,
                                            cb, data);
}


ngx_int_t
ngx_http_batch_index_batch_restore(const ngx_http_batch_meta_t *m,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_batch_store(m, 0, cb, data);
}


static ngx_int_t
ngx_http_batch_index_batch_store(const ngx_http_batch_meta_t *m,
    ngx_uint_t flags, ngx_http_batch_index_pt cb, void *data)
{
    char                   tenant[41];
    ngx_int_t              rc;
    ngx_str_t              meta;
    ngx_http_batch_args_t  a;

    meta = ngx_http_batch_meta_encode(m);
    if (meta.data == NULL) {
        return NGX_ERROR;
    }

    ngx_http_batch_object_tenant_key(&m->tenant, tenant);

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_batch_put, m->id);
    a.flags |= flags;
    ngx_http_batch_args_key(&a, "b", m->id, NULL);
    ngx_http_batch_args_key(&a, "bl", tenant, NULL);
    ngx_http_batch_args_key(&a, "active", NULL, NULL);
    ngx_http_batch_args_key(&a, "ub", tenant, NULL);
    ngx_http_batch_args_key(&a, "ubh", tenant, NULL);
    ngx_http_batch_args_key(&a, "bd", m->id, NULL);
    ngx_http_batch_args_text(&a, flags ? "1" : "0");
    ngx_http_batch_args_text(&a, m->id);
    ngx_http_batch_args_str(&a, &meta);
    ngx_http_batch_args_int(&a, m->created_us);
    ngx_http_batch_args_int(&a, m->expires_at);

    rc = ngx_http_batch_index_send(&a, cb, data);
    free(meta.data);

    return rc;
}


ngx_int_t
ngx_http_batch_index_batch_get(const char *id, ngx_http_batch_index_pt cb,
    void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_batch_get, id);
    ngx_http_batch_args_key(&a, "b", id, NULL);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_batch_list(const ngx_str_t *tenant,
    const ngx_http_batch_place_t *after, ngx_uint_t limit,
    ngx_http_batch_index_pt cb, void *data)
{
    char                   key[41];
    ngx_http_batch_args_t  a;

    ngx_http_batch_object_tenant_key(tenant, key);

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_batch_list, NULL);
    ngx_http_batch_args_key(&a, "bl", key, NULL);
    ngx_http_batch_args_prefix(&a, "b");
    ngx_http_batch_args_str(&a, &after->id);
    ngx_http_batch_args_str(&a, &after->score);
    ngx_http_batch_args_int(&a, (int64_t) limit);
    ngx_http_batch_args_int(&a, NGX_HTTP_BATCH_INDEX_PIECE);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_batch_cancel(const char *id, int64_t at,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_batch_end(id, at, NGX_HTTP_BATCH_INDEX_CLIENT,
                                          cb, data);
}


ngx_int_t
ngx_http_batch_index_batch_restore_end(const char *id, int64_t at,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_batch_end(id, at, 0, cb, data);
}


static ngx_int_t
ngx_http_batch_index_batch_end(const char *id, int64_t at, ngx_uint_t flags,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_batch_cancel, id);
    a.flags |= flags;
    ngx_http_batch_args_key(&a, "b", id, NULL);
    ngx_http_batch_args_text(&a, flags ? "1" : "0");
    ngx_http_batch_args_int(&a, at);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_batch_final(const ngx_http_batch_meta_t *m,
    const ngx_http_batch_final_t *final, ngx_uint_t hook, ngx_uint_t keep,
    ngx_http_batch_index_pt cb, void *data)
{
    char                          receiver[BATCH_HOOK_RECEIVER];
    ngx_int_t                     rc;
    ngx_str_t                     meta, text[2];
    ngx_uint_t                    i;
    batch_str_t                   route, tenant;
    ngx_http_batch_args_t         a;
    const ngx_http_batch_file_t  *f;

    meta = ngx_http_batch_meta_encode(m);
    rc = (meta.data == NULL) ? NGX_ERROR : NGX_OK;

    route.data = m->route.data;
    route.len = m->route.len;
    tenant.data = m->tenant.data;
    tenant.len = m->tenant.len;
    batch_hook_receiver(&route, &tenant, receiver);

    for (i = 0; i < 2; i++) {
        ngx_str_null(&text[i]);

        if (final->files[i].id[0]) {
            text[i] = ngx_http_batch_file_encode(&final->files[i]);

            if (text[i].data == NULL) {
                rc = NGX_ERROR;
            }
        }
    }

    if (rc == NGX_OK) {
        ngx_http_batch_args_init(&a, &ngx_http_batch_script_final, m->id);
        ngx_http_batch_index_batch_final_keys(&a, m, final);
        ngx_http_batch_index_batch_final_args(&a, m, final, &meta,
                                              hook ? receiver : "0", keep);

        for (i = 0; i < 2; i++) {
            f = &final->files[i];

            if (f->id[0]) {
                ngx_http_batch_args_text(&a, f->id);
                ngx_http_batch_args_str(&a, &text[i]);
                ngx_http_batch_args_int(&a, f->created_us);
                ngx_http_batch_args_int(&a, f->expires_at);
                ngx_http_batch_args_int(&a, f->bytes);
            }
        }

        rc = ngx_http_batch_index_send(&a, cb, data);
    }

    free(meta.data);
    free(text[0].data);
    free(text[1].data);

    return rc;
}


static void
ngx_http_batch_index_batch_final_keys(ngx_http_batch_args_t *a,
    const ngx_http_batch_meta_t *m, const ngx_http_batch_final_t *final)
{
    char                          tenant[41];
    ngx_uint_t                    i;
    const ngx_http_batch_file_t  *f;

    ngx_http_batch_object_tenant_key(&m->tenant, tenant);

    ngx_http_batch_args_key(a, "b", m->id, NULL);
    ngx_http_batch_args_key(a, "bl", tenant, NULL);
    ngx_http_batch_args_key(a, "active", NULL, NULL);
    ngx_http_batch_args_key(a, "c", m->id, NULL);
    ngx_http_batch_args_key(a, "l", m->id, NULL);
    ngx_http_batch_args_key(a, "fx", NULL, NULL);
    ngx_http_batch_args_key(a, "uf", tenant, NULL);
    ngx_http_batch_args_key(a, "ub", tenant, NULL);
    ngx_http_batch_args_key(a, "ubh", tenant, NULL);
    ngx_http_batch_args_key(a, "hd", NULL, NULL);
    ngx_http_batch_args_key(a, "be", NULL, NULL);
    ngx_http_batch_args_key(a, "bo", NULL, NULL);
    ngx_http_batch_args_key(a, "be", tenant, NULL);
    ngx_http_batch_args_key(a, "bd", m->id, NULL);

    for (i = 0; i < 2; i++) {
        f = &final->files[i];

        if (f->id[0]) {
            ngx_http_batch_object_tenant_key(&f->tenant, tenant);
            ngx_http_batch_args_key(a, "f", f->id, NULL);
            ngx_http_batch_args_key(a, "fl", tenant, NULL);
            ngx_http_batch_args_key(a, "fl", tenant, &f->purpose);
        }
    }
}


static void
ngx_http_batch_index_batch_final_args(ngx_http_batch_args_t *a,
    const ngx_http_batch_meta_t *m, const ngx_http_batch_final_t *final,
    const ngx_str_t *meta, const char *hook, ngx_uint_t keep)
{
    ngx_http_batch_args_text(a, m->id);
    ngx_http_batch_args_text(a, batch_status_name(final->status));
    ngx_http_batch_args_str(a, &final->brief);
    ngx_http_batch_args_str(a, meta);
    ngx_http_batch_args_int(a, m->created_us);
    ngx_http_batch_args_int(a, m->expires_at);
    ngx_http_batch_args_int(a, (int64_t) final->total);
    ngx_http_batch_args_int(a, (int64_t) final->completed);
    ngx_http_batch_args_int(a, (int64_t) final->failed);
    ngx_http_batch_args_str(a, &final->model);
    ngx_http_batch_args_int(a, final->in_progress_at);
    ngx_http_batch_args_int(a, final->finalizing_at);
    ngx_http_batch_args_int(a, final->cancelling_at);
    ngx_http_batch_args_text(a, hook);
    ngx_http_batch_args_int(a, final->ended_at);
    ngx_http_batch_args_int(a, (int64_t) keep);
}


ngx_int_t
ngx_http_batch_index_batch_old(int64_t until, ngx_uint_t limit, int64_t pause,
    ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_batch_old, NULL);
    ngx_http_batch_args_key(&a, "be", NULL, NULL);
    ngx_http_batch_args_key(&a, "bo", NULL, NULL);
    ngx_http_batch_args_key(&a, "hd", NULL, NULL);
    ngx_http_batch_args_prefix(&a, "b");
    ngx_http_batch_args_int(&a, until);
    ngx_http_batch_args_int(&a, (int64_t) limit);
    ngx_http_batch_args_int(&a, pause);

    return ngx_http_batch_index_send(&a, cb, data);
}


ngx_int_t
ngx_http_batch_index_batch_del(const char *id, const ngx_str_t *tenant,
    ngx_uint_t deleted, ngx_http_batch_index_pt cb, void *data)
{
    char                   key[41];
    ngx_http_batch_args_t  a;

    ngx_http_batch_object_tenant_key(tenant, key);

    ngx_http_batch_args_init(&a, &ngx_http_batch_script_batch_del, id);
    ngx_http_batch_args_key(&a, "b", id, NULL);
    ngx_http_batch_args_key(&a, "bl", key, NULL);
    ngx_http_batch_args_key(&a, "active", NULL, NULL);
    ngx_http_batch_args_key(&a, "c", id, NULL);
    ngx_http_batch_args_key(&a, "l", id, NULL);
    ngx_http_batch_args_key(&a, "ub", key, NULL);
    ngx_http_batch_args_key(&a, "ubh", key, NULL);
    ngx_http_batch_args_key(&a, "hd", NULL, NULL);
    ngx_http_batch_args_key(&a, "be", NULL, NULL);
    ngx_http_batch_args_key(&a, "bo", NULL, NULL);
    ngx_http_batch_args_key(&a, "be", key, NULL);
    ngx_http_batch_args_key(&a, "bd", id, NULL);
    ngx_http_batch_args_text(&a, id);
    ngx_http_batch_args_text(&a, deleted ? "1" : "0");

    return ngx_http_batch_index_send(&a, cb, data);
}


/* a batch.json may have 36 KB: fewer at once than of files */

ngx_int_t
ngx_http_batch_index_batch_scan(int64_t cursor, ngx_http_batch_index_pt cb,
    void *data)
{
    return ngx_http_batch_index_file_scan_of(&ngx_http_batch_script_batch_scan,
                                             "}:b:*", 50, cursor, cb, data);
}
