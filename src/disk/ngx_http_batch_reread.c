/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A text is read back before it is published: one reader for each kind.
 */


#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_cancel.h"
#include "ngx_http_batch_final.h"
#include "ngx_http_batch_keys.h"
#include "ngx_http_batch_object_int.h"
#include "ngx_http_batch_plan.h"
#include "ngx_http_batch_reread.h"
#include "ngx_http_batch_uploads.h"


#define NGX_HTTP_BATCH_REREAD_SUM  32     /* bytes, room for the checksum */


typedef ngx_int_t (*ngx_http_batch_reread_pt)(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);

typedef struct {
    ngx_http_batch_reread_pt   read;     /* NULL: any bytes will do */
    size_t                     max;      /* bytes, the reader's limit */
} ngx_http_batch_reread_kind_t;


static ngx_int_t ngx_http_batch_reread_file(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_mark(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_meta(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_plan(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_cancel(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_final(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_manifests(
    const ngx_http_batch_final_t *final, const u_char *data, size_t len,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_hook(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_upload(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_end(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_key(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_version(const char *id,
    const u_char *data, size_t len, ngx_log_t *log);
static ngx_int_t ngx_http_batch_reread_id(json_t *object, const char *id);
static ngx_int_t ngx_http_batch_reread_failed(const char *id,
    const char *name, ngx_log_t *log);


static const ngx_http_batch_reread_kind_t
    ngx_http_batch_reread_kinds[NGX_HTTP_BATCH_REREAD_N] =
{
    /* BLOB       */ { NULL, 0 },
    /* FILE       */ { ngx_http_batch_reread_file,
                       NGX_HTTP_BATCH_MANIFEST_MAX },
    /* FILE_DEL   */ { ngx_http_batch_reread_mark,
                       NGX_HTTP_BATCH_MANIFEST_MAX },
    /* META       */ { ngx_http_batch_reread_meta,
                       NGX_HTTP_BATCH_MANIFEST_MAX },
    /* INPUT      */ { NULL, 0 },
    /* PLAN       */ { ngx_http_batch_reread_plan, NGX_HTTP_BATCH_PLAN_MAX },
    /* CANCEL     */ { ngx_http_batch_reread_cancel,
                       NGX_HTTP_BATCH_CANCEL_MAX },
    /* FINAL      */ { ngx_http_batch_reread_final,
                       NGX_HTTP_BATCH_FINAL_MAX },
    /* HOOK       */ { ngx_http_batch_reread_hook,
                       NGX_HTTP_BATCH_MANIFEST_MAX },
    /* DELETED    */ { ngx_http_batch_reread_mark,
                       NGX_HTTP_BATCH_MANIFEST_MAX },
    /* UPLOAD     */ { ngx_http_batch_reread_upload,
                       NGX_HTTP_BATCH_UPLOAD_JSON_MAX },
    /* UPLOAD_END */ { ngx_http_batch_reread_end,
                       NGX_HTTP_BATCH_UPLOAD_JSON_MAX },
    /* KEY        */ { ngx_http_batch_reread_key, NGX_HTTP_BATCH_KEY_MAX },
    /* VERSION    */ { ngx_http_batch_reread_version,
                       NGX_HTTP_BATCH_VERSION_MAX }
};


ngx_int_t
ngx_http_batch_reread(ngx_uint_t kind, const char *id, const char *name,
    const void *data, size_t len, ngx_log_t *log)
{
    const ngx_http_batch_reread_kind_t  *k;

    k = &ngx_http_batch_reread_kinds[kind];

    if (k->read == NULL) {
        return NGX_OK;
    }

    /* what is wrong, but not in the JSON itself, is damaged, too */

    ngx_set_errno(EBADMSG);

    if (len > k->max - NGX_HTTP_BATCH_REREAD_SUM
        || k->read(id, data, len, log) != NGX_OK)
    {
        return ngx_http_batch_reread_failed(id, name, log);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_reread_seal(const char *batch_id, uint32_t chunk,
    uint32_t epoch, const char *name, const void *data, size_t len,
    ngx_log_t *log)
{
    int           rc;
    batch_seal_t  seal;

    rc = batch_seal_decode(data, len, batch_id, chunk, epoch, &seal);

    if (rc == BATCH_OK && len <= NGX_HTTP_BATCH_SEAL_MAX) {
        free(seal.picks);
        return NGX_OK;
    }

    free(seal.picks);

    ngx_set_errno(rc == BATCH_AGAIN ? NGX_ENOMEM : EBADMSG);

    return ngx_http_batch_reread_failed(batch_id, name, log);
}


static ngx_int_t
ngx_http_batch_reread_failed(const char *id, const char *name, ngx_log_t *log)
{
    /* there was no memory to find it out */

    if (!ngx_http_batch_store_damaged()) {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_ALERT, log, 0,
                  "batch: %s: \"%s\" could not be read again, it is not"
                  " published", id, name);
    ngx_set_errno(EIO);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_reread_file(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    json_t                 *root;
    ngx_http_batch_file_t   f;

    if (ngx_http_batch_file_decode_of(&f, id, data, len, &root) != NGX_OK) {
        return NGX_ERROR;
    }

    json_decref(root);

    return NGX_OK;
}


/* its existence says all, but it must be JSON to have a checksum */

static ngx_int_t
ngx_http_batch_reread_mark(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    json_t     *root;
    ngx_int_t   rc;

    root = ngx_http_batch_object_load(data, len);
    rc = json_is_object(root) ? NGX_OK : NGX_ERROR;
    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_batch_reread_meta(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    json_t                 *root;
    ngx_int_t               rc;
    ngx_http_batch_meta_t   m;

    rc = ngx_http_batch_meta_decode(&m, data, len, &root);

    if (rc == NGX_OK && ngx_strcmp(m.id, id) != 0) {
        rc = NGX_ERROR;
    }

    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_batch_reread_plan(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    ngx_http_batch_plan_t  plan;

    if (ngx_http_batch_plan_decode(&plan, data, len, log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_batch_plan_free(&plan);

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_reread_cancel(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    int64_t  at;

    return ngx_http_batch_cancel_decode(data, len, &at) == NGX_ERROR
           ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_batch_reread_final(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    u_char                  *copy;
    ngx_int_t                rc;
    ngx_http_batch_final_t   final;

    copy = malloc(len + 1);

    if (copy == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    ngx_memcpy(copy, data, len);

    if (ngx_http_batch_final_decode(&final, id, copy, len) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_reread_manifests(&final, data, len, log);

    ngx_http_batch_final_free(&final);

    return rc;
}


/* the files that it names are read from other names of the same text */

static ngx_int_t
ngx_http_batch_reread_manifests(const ngx_http_batch_final_t *final,
    const u_char *data, size_t len, ngx_log_t *log)
{
    json_t             *v;
    ngx_uint_t          i;
    static const char  *keys[] = { "output", "error" };

    for (i = 0; i < 2; i++) {
        v = json_object_get(final->root, keys[i]);

        if (v == NULL || json_is_null(v)) {
            continue;
        }

        if (final->files[i].id[0] == '\0'
            || len > NGX_HTTP_BATCH_MANIFEST_MAX - NGX_HTTP_BATCH_REREAD_SUM
            || ngx_http_batch_reread_file(final->files[i].id, data, len, log)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_reread_id(json_t *object, const char *id)
{
    const char  *was;

    was = json_string_value(json_object_get(object, "id"));

    return (was && ngx_strcmp(was, id) == 0) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_reread_hook(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    json_t     *root;
    ngx_int_t   rc;

    root = ngx_http_batch_object_load(data, len);
    rc = ngx_http_batch_reread_id(root, id);
    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_batch_reread_upload(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    json_t                   *root;
    ngx_int_t                 rc;
    ngx_http_batch_upload_t   u;

    rc = ngx_http_batch_uploads_decode(&u, data, len, &root);

    if (rc == NGX_OK && ngx_strcmp(u.id, id) != 0) {
        rc = NGX_ERROR;
    }

    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_batch_reread_end(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    json_t                          *root;
    ngx_int_t                        rc;
    ngx_str_t                        parts;
    ngx_http_batch_file_t            f;
    ngx_http_batch_upload_status_e   status;

    if (ngx_http_batch_uploads_end_decode(&status, &parts, &f, data, len,
                                          &root)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_reread_id(root, id);
    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_batch_reread_key(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    json_t                 *root;
    ngx_http_batch_key_t    key;

    if (ngx_http_batch_keys_decode(&key, data, len, &root) != NGX_OK) {
        return NGX_ERROR;
    }

    json_decref(root);

    return NGX_OK;
}


static ngx_int_t
ngx_http_batch_reread_version(const char *id, const u_char *data, size_t len,
    ngx_log_t *log)
{
    json_int_t  format;

    return ngx_http_batch_version_decode(data, len, &format);
}
