
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Objects are deleted.
 */


#include "ngx_http_batch_disk.h"


static ngx_int_t ngx_http_batch_delete_name(ngx_fd_t dir, const char *id,
    const char *name, ngx_log_t *log);


ngx_int_t
ngx_http_batch_delete_file(const char *file_id, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_int_t  rc;

    static const char  tombstone[] = "{\"v\":1}";

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, file_id, log);

    if (rc == 0) {

        /* a result's manifest is not synced */

        rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, file_id, log);
    }

    if (rc != 1) {
        return rc == 0 ? NGX_DECLINED : NGX_ERROR;
    }

    rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE_DEL, file_id,
                                       tombstone, sizeof(tombstone) - 1, log);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    /* the tombstone is durable: what follows is tidying, repeated by any
     * process that meets the leftovers, and its errors change nothing for the
     * client */

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_BLOB, file_id, 0, log);

    if (dir != NGX_INVALID_FILE) {
        ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE, file_id, name);

        (void) ngx_http_batch_delete_name(dir, file_id, name, log);
        (void) ngx_http_batch_delete_name(dir, file_id, file_id, log);

        (void) ngx_close_file(dir);
    }

    return rc;
}


ngx_int_t
ngx_http_batch_delete_plan(const char *batch_id, ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_int_t  rc;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_PLAN, batch_id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_delete_name(dir, batch_id, "plan.json", log);

    ngx_http_batch_disk_close(dir);

    return rc == NGX_OK ? NGX_DECLINED : NGX_ERROR;
}


ngx_int_t
ngx_http_batch_delete_blob(const char *file_id, ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_int_t  rc;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_BLOB, file_id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_OK : NGX_ERROR;
    }

    rc = ngx_http_batch_delete_name(dir, file_id, file_id, log);

    ngx_http_batch_disk_close(dir);

    return rc;
}


typedef struct {
    ngx_fd_t     dir;
    const char  *id;
    ngx_log_t   *log;
} ngx_http_batch_delete_work_t;


static ngx_int_t
ngx_http_batch_delete_work_file(void *ctx, uint32_t chunk, uint32_t epoch,
    ngx_uint_t seal)
{
    ngx_http_batch_delete_work_t *del = ctx;

    char  name[NGX_HTTP_BATCH_NAME_LEN];

    ngx_http_batch_segment_name(chunk, epoch, seal, name);

    return ngx_http_batch_delete_name(del->dir, del->id, name, del->log);
}


ngx_int_t
ngx_http_batch_delete_work(const char *batch_id, ngx_log_t *log)
{
    DIR                           *d;
    ngx_int_t                      rc;
    ngx_http_batch_delete_work_t   del;

    del.dir = ngx_http_batch_segment_dir(batch_id, log);
    del.id = batch_id;
    del.log = log;

    if (del.dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    d = ngx_http_batch_disk_opendir(del.dir, batch_id, ".", log);

    if (d) {
        rc = ngx_http_batch_segment_walk_dir(d, batch_id,
                                             ngx_http_batch_delete_work_file,
                                             &del, log);
    }

    if (ngx_http_batch_delete_name(del.dir, batch_id, "input", log)
        != NGX_OK)
    {
        rc = NGX_ERROR;
    }

    ngx_http_batch_disk_close(del.dir);

    return rc;
}


static ngx_int_t
ngx_http_batch_delete_name(ngx_fd_t dir, const char *id, const char *name,
    ngx_log_t *log)
{
    if (ngx_http_batch_disk_unlink(dir, id, name, log) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0, "batch: %s: \"%s\" deleted",
                   id, name);

    return NGX_OK;
}
