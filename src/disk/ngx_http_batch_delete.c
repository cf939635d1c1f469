
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Objects are deleted.
 */


#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_final.h"


static ngx_int_t ngx_http_batch_delete_results(const char *batch_id,
    ngx_log_t *log);
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
ngx_http_batch_delete_batch(const char *batch_id, ngx_log_t *log)
{
    ngx_int_t  rc;

    static const char  tombstone[] = "{\"v\":1}";

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_DELETED, batch_id, log);

    if (rc == 0) {
        rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_META, batch_id, log);

        if (rc != 1) {
            return rc == 0 ? NGX_DECLINED : NGX_ERROR;
        }

        if (ngx_http_batch_delete_results(batch_id, log) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (rc != 1) {
        return NGX_ERROR;
    }

    /* also if it is there: the one who made it may have died before its sync */

    rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_DELETED, batch_id,
                                       tombstone, sizeof(tombstone) - 1, log);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    /* what follows is tidying, which the walk repeats */

    (void) ngx_http_batch_delete_rest(batch_id, log);

    return rc;
}


/* They are other names of final.json, made again from it if need be, and not
 * synced: now they have to stand by themselves. */

static ngx_int_t
ngx_http_batch_delete_results(const char *batch_id, ngx_log_t *log)
{
    ngx_int_t                rc;
    ngx_uint_t               i;
    ngx_http_batch_final_t   final;

    rc = ngx_http_batch_final_read(&final, batch_id, log);

    if (rc != NGX_OK) {
        if (rc == NGX_DECLINED) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "batch: %s: has not ended, it is not deleted",
                          batch_id);
        }

        return NGX_ERROR;
    }

    rc = ngx_http_batch_final_settle(&final, log);

    for (i = 0; i < 2 && rc == NGX_OK; i++) {

        if (final.files[i].id[0]
            && ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE,
                                           final.files[i].id, log)
               != 0)
        {
            rc = ngx_http_batch_store_sync(NGX_HTTP_BATCH_FILE,
                                           final.files[i].id, log);
        }
    }

    ngx_http_batch_final_free(&final);

    return rc;
}


ngx_int_t
ngx_http_batch_delete_rest(const char *batch_id, ngx_log_t *log)
{
    ngx_fd_t     dir;
    ngx_int_t    rc;
    ngx_uint_t   i;

    /* an older module, which knows of no tombstone, takes a directory without
     * the first for one that never became a batch */

    static const char  *names[] = {
        "batch.json", "final.json", "cancel.json", "plan.json", "hook.json"
    };

    dir = ngx_http_batch_layout_must(NGX_HTTP_BATCH_META, batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {

        if (ngx_http_batch_delete_name(dir, batch_id, names[i], log)
            != NGX_OK)
        {
            rc = NGX_ERROR;
        }
    }

    ngx_http_batch_disk_close(dir);

    return ngx_http_batch_delete_work(batch_id, log) == NGX_OK ? rc
                                                               : NGX_ERROR;
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
