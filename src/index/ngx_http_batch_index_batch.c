/*
 * Copyright (C) the ngx_http_batch_module authors
 */

/*
 * The index of batches: what clients see, and the end of a batch.
 */

#include "ngx_http_batch_index_int.h"


static ngx_int_t ngx_http_batch_index_batch_store(
    const ngx_http_batch_meta_t *m, const char *check, const char *changed,
    ngx_http_batch_index_pt cb, void *data);
static ngx_int_t ngx_http_batch_index_cancel(const char *id, int64_t at,
    const char *check, const char *changed, ngx_http_batch_index_pt cb,
    void *data);
static void ngx_http_batch_index_final_keys(ngx_http_batch_args_t *a,
    const ngx_http_batch_meta_t *m, const ngx_http_batch_file_t **file);
static ngx_int_t ngx_http_batch_index_final_args(ngx_http_batch_args_t *a,
    const ngx_str_t *final);


NGX_HTTP_BATCH_SCRIPT(batch_put, NGX_HTTP_BATCH_LUA_BATCH_PUT);
NGX_HTTP_BATCH_SCRIPT(batch_get, NGX_HTTP_BATCH_LUA_BATCH_GET);
NGX_HTTP_BATCH_SCRIPT(batch_list, NGX_HTTP_BATCH_LUA_BATCH_LIST);
NGX_HTTP_BATCH_SCRIPT(batch_cancel, NGX_HTTP_BATCH_LUA_BATCH_CANCEL);
NGX_HTTP_BATCH_SCRIPT(final, NGX_HTTP_BATCH_LUA_FINAL);


ngx_int_t
ngx_http_batch_index_batch_put(const ngx_http_batch_meta_t *m,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_batch_store(m, "1", m->id, cb, data);
}


ngx_int_t
ngx_http_batch_index_batch_restore(const ngx_http_batch_meta_t *m,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_batch_store(m, "0", NULL, cb, data);
}


static ngx_int_t
ngx_http_batch_index_batch_store(const ngx_http_batch_meta_t *m,
    const char *check, const char *changed, ngx_http_batch_index_pt cb,
    void *data)
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

    ngx_http_batch_args_init(&a);
    ngx_http_batch_args_gen(&a);
    ngx_http_batch_args_key(&a, "b", m->id, NULL);
    ngx_http_batch_args_key(&a, "bl", tenant, NULL);
    ngx_http_batch_args_key(&a, "active", NULL, NULL);
    ngx_http_batch_args_key(&a, "ub", tenant, NULL);
    ngx_http_batch_args_key(&a, "ubh", tenant, NULL);
    ngx_http_batch_args_text(&a, check);
    ngx_http_batch_args_text(&a, m->id);
    ngx_http_batch_args_str(&a, &meta);
    ngx_http_batch_args_int(&a, m->created_us);
    ngx_http_batch_args_int(&a, m->expires_at);

    rc = ngx_http_batch_index_send(&ngx_http_batch_script_batch_put, &a,
                                   NGX_HTTP_BATCH_REPLY_STATUS, changed, cb,
                                   data);
    free(meta.data);

    return rc;
}


ngx_int_t
ngx_http_batch_index_batch_get(const char *id, ngx_http_batch_index_pt cb,
    void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a);
    ngx_http_batch_args_gen(&a);
    ngx_http_batch_args_key(&a, "b", id, NULL);

    return ngx_http_batch_index_send(&ngx_http_batch_script_batch_get, &a,
                                     NGX_HTTP_BATCH_REPLY_VIEW, NULL, cb,
                                     data);
}


ngx_int_t
ngx_http_batch_index_batch_list(const ngx_str_t *tenant,
    const ngx_str_t *after, ngx_uint_t limit, ngx_http_batch_index_pt cb,
    void *data)
{
    char                   key[41];
    ngx_http_batch_args_t  a;

    ngx_http_batch_object_tenant_key(tenant, key);

    ngx_http_batch_args_init(&a);
    ngx_http_batch_args_gen(&a);
    ngx_http_batch_args_key(&a, "bl", key, NULL);
    ngx_http_batch_args_prefix(&a, "b");
    ngx_http_batch_args_str(&a, after);
    ngx_http_batch_args_int(&a, (int64_t) limit);

    return ngx_http_batch_index_send(&ngx_http_batch_script_batch_list, &a,
                                     NGX_HTTP_BATCH_REPLY_VIEWS, NULL, cb,
                                     data);
}


ngx_int_t
ngx_http_batch_index_batch_cancel(const char *id, int64_t at,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_cancel(id, at, "1", id, cb, data);
}


ngx_int_t
ngx_http_batch_index_batch_restore_end(const char *id, int64_t at,
    ngx_http_batch_index_pt cb, void *data)
{
    return ngx_http_batch_index_cancel(id, at, "0", NULL, cb, data);
}


static ngx_int_t
ngx_http_batch_index_cancel(const char *id, int64_t at, const char *check,
    const char *changed, ngx_http_batch_index_pt cb, void *data)
{
    ngx_http_batch_args_t  a;

    ngx_http_batch_args_init(&a);
    ngx_http_batch_args_gen(&a);
    ngx_http_batch_args_key(&a, "b", id, NULL);
    ngx_http_batch_args_text(&a, check);
    ngx_http_batch_args_int(&a, at);

    return ngx_http_batch_index_send(&ngx_http_batch_script_batch_cancel, &a,
                                     NGX_HTTP_BATCH_REPLY_VIEW, changed, cb,
                                     data);
}


ngx_int_t
ngx_http_batch_index_batch_final(const ngx_http_batch_meta_t *m,
    batch_status_e status, const ngx_str_t *final,
    const ngx_http_batch_file_t *output, const ngx_http_batch_file_t *error,
    ngx_uint_t hook, ngx_http_batch_index_pt cb, void *data)
{
    ngx_int_t                     rc;
    ngx_str_t                     text[3];
    ngx_uint_t                    i;
    ngx_http_batch_args_t         a;
    const ngx_http_batch_file_t  *file[2];

    file[0] = output;
    file[1] = error;

    text[2] = ngx_http_batch_meta_encode(m);
    rc = (text[2].data == NULL) ? NGX_ERROR : NGX_OK;

    for (i = 0; i < 2; i++) {
        ngx_str_null(&text[i]);

        if (file[i]) {
            text[i] = ngx_http_batch_file_encode(file[i]);

            if (text[i].data == NULL) {
                rc = NGX_ERROR;
            }
        }
    }

    if (rc == NGX_OK) {
        ngx_http_batch_args_init(&a);
        ngx_http_batch_index_final_keys(&a, m, file);

        ngx_http_batch_args_text(&a, m->id);
        ngx_http_batch_args_text(&a, batch_status_name(status));
        ngx_http_batch_args_str(&a, final);
        ngx_http_batch_args_str(&a, &text[2]);
        ngx_http_batch_args_int(&a, m->created_us);
        ngx_http_batch_args_int(&a, m->expires_at);

        /* it has been parsed before: if that fails, there is no memory */

        if (ngx_http_batch_index_final_args(&a, final) != NGX_OK) {
            a.failed = 1;
        }

        ngx_http_batch_args_int(&a, hook ? 1 : 0);

        for (i = 0; i < 2; i++) {
            if (file[i]) {
                ngx_http_batch_args_text(&a, file[i]->id);
                ngx_http_batch_args_str(&a, &text[i]);
                ngx_http_batch_args_int(&a, file[i]->created_us);
                ngx_http_batch_args_int(&a, file[i]->expires_at);
                ngx_http_batch_args_int(&a, file[i]->bytes);
            }
        }

        rc = ngx_http_batch_index_send(&ngx_http_batch_script_final, &a,
                                       NGX_HTTP_BATCH_REPLY_STATUS, NULL, cb,
                                       data);
    }

    for (i = 0; i < 3; i++) {
        free(text[i].data);
    }

    return rc;
}


static void
ngx_http_batch_index_final_keys(ngx_http_batch_args_t *a,
    const ngx_http_batch_meta_t *m, const ngx_http_batch_file_t **file)
{
    char        tenant[41];
    ngx_uint_t  i;

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

    for (i = 0; i < 2; i++) {
        if (file[i]) {
            ngx_http_batch_object_tenant_key(&file[i]->tenant, tenant);
            ngx_http_batch_args_key(a, "f", file[i]->id, NULL);
            ngx_http_batch_args_key(a, "fl", tenant, NULL);
            ngx_http_batch_args_key(a, "fl", tenant, &file[i]->purpose);
        }
    }
}


/* counts, model and times as final.json has them; the model is copied */

static ngx_int_t
ngx_http_batch_index_final_args(ngx_http_batch_args_t *a,
    const ngx_str_t *final)
{
    json_t      *root, *v;
    ngx_str_t    model;
    ngx_uint_t   i;

    static const char  *names[] = {
        "total", "completed", "failed", "model", "in_progress_at",
        "finalizing_at", "cancelling_at"
    };

    root = json_loadb((const char *) final->data, final->len, 0, NULL);

    if (!json_is_object(root) || a->failed) {
        json_decref(root);
        return NGX_ERROR;
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        v = json_object_get(root, names[i]);

        if (i != 3) {
            ngx_http_batch_args_int(a, (int64_t) json_integer_value(v));
            continue;
        }

        model.len = json_is_string(v) ? json_string_length(v) : 0;
        model.data = ngx_pnalloc(a->pool, model.len + 1);

        if (model.data == NULL) {
            json_decref(root);
            return NGX_ERROR;
        }

        if (model.len) {
            ngx_memcpy(model.data, json_string_value(v), model.len);
        }

        ngx_http_batch_args_str(a, &model);
    }

    json_decref(root);

    return NGX_OK;
}
