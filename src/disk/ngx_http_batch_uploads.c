
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Uploads: what was asked for, how they end, and what is left of them.  Their
 * parts are in ngx_http_batch_parts.c.
 */


#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_object_int.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_uploads.h"


static ngx_int_t ngx_http_batch_uploads_link_blob(const char *id,
    const char *file_id, ngx_log_t *log);
static void ngx_http_batch_uploads_unlink(const char *id, ngx_uint_t all,
    ngx_log_t *log);


static const char  *ngx_http_batch_uploads_statuses[] = {
    "pending", "completed", "cancelled", "expired"
};


const char *
ngx_http_batch_uploads_status(ngx_http_batch_upload_status_e s)
{
    return ngx_http_batch_uploads_statuses[s];
}


ngx_str_t
ngx_http_batch_uploads_encode(const ngx_http_batch_upload_t *u)
{
    if (ngx_http_batch_object_text(&u->tenant) != NGX_OK
        || ngx_http_batch_object_text(&u->purpose) != NGX_OK)
    {
        return ngx_http_batch_object_dump(NULL);
    }

    return ngx_http_batch_object_dump(
               json_pack("{s:i,s:s,s:s%,s:s%,s:o,s:o,s:I,s:I,s:I,s:I}",
                         "v", NGX_HTTP_BATCH_FORMAT,
                         "id", u->id,
                         "tenant", ngx_http_batch_object_s(&u->tenant),
                         "purpose", ngx_http_batch_object_s(&u->purpose),
                         "filename", ngx_http_batch_object_name(&u->filename),
                         "mime_type",
                         ngx_http_batch_object_name(&u->mime_type),
                         "bytes", (json_int_t) u->bytes,
                         "created_us", (json_int_t) u->created_us,
                         "expires_at", (json_int_t) u->expires_at,
                         "file_expires_at",
                         (json_int_t) u->file_expires_at));
}


ngx_int_t
ngx_http_batch_uploads_decode(ngx_http_batch_upload_t *u, const u_char *data,
    size_t len, json_t **root)
{
    json_t  *o;

    ngx_memzero(u, sizeof(ngx_http_batch_upload_t));

    o = ngx_http_batch_object_load(data, len);

    if (!json_is_object(o)
        || ngx_http_batch_object_int(o, "v") < 1
        || ngx_http_batch_object_id(o, BATCH_ID_UPLOAD, u->id) != NGX_OK
        || ngx_http_batch_object_string(o, "tenant", &u->tenant) != NGX_OK
        || ngx_http_batch_object_string(o, "purpose", &u->purpose) != NGX_OK
        || ngx_http_batch_object_string(o, "filename", &u->filename) != NGX_OK
        || ngx_http_batch_object_string(o, "mime_type", &u->mime_type)
           != NGX_OK)
    {
        goto refused;
    }

    u->bytes = (off_t) ngx_http_batch_object_int(o, "bytes");
    u->created_us = ngx_http_batch_object_int(o, "created_us");
    u->expires_at = ngx_http_batch_object_int(o, "expires_at");
    u->file_expires_at = ngx_http_batch_object_int(o, "file_expires_at");

    if (u->bytes < 1 || u->created_us < 1 || u->expires_at < 1
        || u->file_expires_at < 0)
    {
        goto refused;
    }

    *root = o;

    return NGX_OK;

refused:

    json_decref(o);
    *root = NULL;

    return NGX_ERROR;
}


ngx_str_t
ngx_http_batch_uploads_end_encode(const char *id,
    ngx_http_batch_upload_status_e status, const char *parts,
    const ngx_http_batch_file_t *f)
{
    const char  *name;

    name = ngx_http_batch_uploads_status(status);

    if (f == NULL) {
        return ngx_http_batch_object_dump(
                   json_pack("{s:i,s:s,s:s}", "v", NGX_HTTP_BATCH_FORMAT,
                             "id", id, "status", name));
    }

    return ngx_http_batch_object_dump(
                                      json_pack("{s:i,s:s,s:s,s:s,s:o}",
                         "v", NGX_HTTP_BATCH_FORMAT, "id", id, "status", name,
                         "parts", parts, "file",
                         ngx_http_batch_file_json(f)));
}


ngx_int_t
ngx_http_batch_uploads_end_decode(ngx_http_batch_upload_status_e *status,
    ngx_str_t *parts, ngx_http_batch_file_t *f, const u_char *data, size_t len,
    json_t **root)
{
    json_t      *o;
    ngx_uint_t   i;
    const char  *s;

    o = ngx_http_batch_object_load(data, len);
    s = json_string_value(json_object_get(o, "status"));

    for (i = NGX_HTTP_BATCH_UPLOAD_COMPLETED;
         s && i <= NGX_HTTP_BATCH_UPLOAD_EXPIRED;
         i++)
    {
        if (ngx_strcmp(s, ngx_http_batch_uploads_statuses[i]) == 0) {
            break;
        }
    }

    if (s == NULL || i > NGX_HTTP_BATCH_UPLOAD_EXPIRED
        || ngx_http_batch_object_string(o, "parts", parts) != NGX_OK
        || (i == NGX_HTTP_BATCH_UPLOAD_COMPLETED
            && ngx_http_batch_file_from_json(f, json_object_get(o, "file"))
               != NGX_OK))
    {
        json_decref(o);
        *root = NULL;
        return NGX_ERROR;
    }

    *status = i;
    *root = o;

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_uploads_load(const char *id, int64_t now,
    ngx_http_batch_upload_state_t *st, ngx_log_t *log)
{
    ngx_int_t    rc;
    ngx_str_t    data;
    const char  *was;

    ngx_memzero(st, sizeof(ngx_http_batch_upload_state_t));

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_UPLOAD, id,
                                   NGX_HTTP_BATCH_UPLOAD_JSON_MAX, &data, log);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_batch_uploads_decode(&st->upload, data.data, data.len,
                                      &st->root);
    ngx_free(data.data);

    if (rc != NGX_OK || ngx_strcmp(st->upload.id, id) != 0) {
        goto malformed;
    }

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_UPLOAD_END, id,
                                   NGX_HTTP_BATCH_UPLOAD_JSON_MAX, &data, log);

    if (rc == NGX_DECLINED) {
        st->status = (st->upload.expires_at <= now)
                     ? NGX_HTTP_BATCH_UPLOAD_EXPIRED
                     : NGX_HTTP_BATCH_UPLOAD_PENDING;
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        ngx_http_batch_uploads_free(st);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_uploads_end_decode(&st->status, &st->parts, &st->file,
                                           data.data, data.len, &st->end);
    ngx_free(data.data);

    if (rc == NGX_OK) {
        was = json_string_value(json_object_get(st->end, "id"));

        if (was && ngx_strcmp(was, id) == 0) {
            return NGX_OK;
        }
    }

malformed:

    ngx_http_batch_object_damaged(id, "upload.json or end.json", log);

    ngx_http_batch_uploads_free(st);

    return NGX_ERROR;
}


void
ngx_http_batch_uploads_free(ngx_http_batch_upload_state_t *st)
{
    ngx_err_t  err;

    err = ngx_errno;

    json_decref(st->root);
    json_decref(st->end);

    st->root = NULL;
    st->end = NULL;

    ngx_set_errno(err);
}


ngx_int_t
ngx_http_batch_uploads_end(const char *id,
    ngx_http_batch_upload_status_e status, const char *parts,
    const ngx_http_batch_file_t *f, ngx_log_t *log)
{
    return ngx_http_batch_store_publish(NGX_HTTP_BATCH_UPLOAD_END, id,
                                        ngx_http_batch_uploads_end_encode(id,
                                                            status, parts, f),
                                        log);
}


ngx_int_t
ngx_http_batch_uploads_finish(const char *id,
    const ngx_http_batch_file_t *f, ngx_uint_t *made, ngx_log_t *log)
{
    ngx_int_t  rc;

    *made = 0;

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE_DEL, f->id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_DECLINED : NGX_ERROR;
    }

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, f->id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_OK : NGX_ERROR;
    }

    rc = ngx_http_batch_uploads_link_blob(id, f->id, log);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED
        && ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, f->id, log) != 1)
    {
        /* another process has just finished it, and the file was deleted then:
         * a manifest without a blob must not come back */

        return NGX_DECLINED;
    }

    rc = ngx_http_batch_store_publish(NGX_HTTP_BATCH_FILE, f->id,
                                      ngx_http_batch_file_encode(f), log);

    if (rc == NGX_OK) {
        *made = 1;
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    /* another process was first, with the manifest or with the tombstone */

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE_DEL, f->id, log);

    if (rc == 1) {
        (void) ngx_http_batch_delete_blob(f->id, log);
        return NGX_DECLINED;
    }

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_uploads_link_blob(const char *id, const char *file_id,
    ngx_log_t *log)
{
    ngx_fd_t   from, to;
    ngx_int_t  rc;

    from = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (from == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    to = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_BLOB, file_id, 1, log);

    if (to == NGX_INVALID_FILE) {
        rc = NGX_ERROR;

    } else if (linkat(from, file_id, to, file_id, 0) == -1
               && ngx_errno != NGX_EEXIST)
    {
        rc = (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;

        if (rc == NGX_ERROR) {
            ngx_http_batch_disk_error(log, id, "linkat() of", file_id);
        }

    } else {
        rc = ngx_http_batch_disk_sync_dir(to, id, file_id, log);
    }

    ngx_http_batch_disk_close(to);
    ngx_http_batch_disk_close(from);

    return rc;
}


void
ngx_http_batch_uploads_clean(const char *id, ngx_log_t *log)
{
    ngx_http_batch_uploads_unlink(id, 0, log);
}


void
ngx_http_batch_uploads_delete(const char *id, ngx_log_t *log)
{
    char       shard[3], path[BATCH_ID_LEN + 4];
    ngx_fd_t   dir;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return;
    }

    /* without it there is no upload, however far we get */

    (void) ngx_http_batch_disk_unlink(dir, id, "upload.json", log);
    (void) ngx_close_file(dir);

    ngx_http_batch_uploads_unlink(id, 1, log);

    ngx_memcpy(shard, strpbrk(id, "-_") + 1, 2);
    shard[2] = '\0';

    (void) ngx_slprintf((u_char *) path, (u_char *) path + sizeof(path),
                        "%s/%s%Z", shard, id);

    if (unlinkat(ngx_http_batch_layout_dirs[NGX_HTTP_BATCH_DIR_UPLOADS], path,
                 AT_REMOVEDIR)
        == -1
        && ngx_errno != NGX_ENOENT && ngx_errno != ENOTEMPTY)
    {
        ngx_http_batch_disk_error(log, id, "unlinkat()", path);
    }
}


static void
ngx_http_batch_uploads_unlink(const char *id, ngx_uint_t all, ngx_log_t *log)
{
    DIR         *d;
    ngx_fd_t     dir;
    const char  *name;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return;
    }

    d = ngx_http_batch_disk_fdopendir(dir, id, log);

    if (d == NULL) {
        return;
    }

    while ((name = ngx_http_batch_disk_readdir(d, id, log)) != NULL
           && !ngx_http_batch_task_quit())
    {
        if (all
            || ngx_http_batch_uploads_named(name, BATCH_ID_PART)
            || ngx_http_batch_uploads_named(name, BATCH_ID_FILE))
        {
            (void) ngx_http_batch_disk_unlink(dirfd(d), id, name, log);
        }
    }

    (void) closedir(d);
}


ngx_uint_t
ngx_http_batch_uploads_named(const char *name, batch_id_kind_e kind)
{
    size_t  len;

    len = ngx_strlen(name);

    return len < BATCH_ID_LEN
           && batch_id_check(kind, (const u_char *) name, len);
}


ngx_uint_t
ngx_http_batch_uploads_old(const char *id, time_t age, ngx_log_t *log)
{
    ngx_fd_t     dir;
    ngx_uint_t   old;
    struct stat  st;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return 0;
    }

    old = (fstat(dir, &st) == 0 && st.st_mtime < time(NULL) - age);

    (void) ngx_close_file(dir);

    return old;
}
