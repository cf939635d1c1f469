
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Seals: which records of its segments a chunk's result is made of.
 */


#include "ngx_http_batch_disk.h"


ngx_int_t
ngx_http_batch_seal_publish(const char *batch_id, uint32_t chunk,
    uint32_t epoch, const void *data, size_t len, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN], tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t   dir, fd;
    ngx_int_t  rc;

    dir = ngx_http_batch_segment_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd != NGX_INVALID_FILE) {

        if (ngx_http_batch_store_write(fd, data, len, 0, log) == NGX_OK) {
            ngx_http_batch_segment_name(chunk, epoch, 1, name);

            rc = ngx_http_batch_publish_link(dir, batch_id, name, fd, tmp, 1,
                                             log);

        } else {
            ngx_http_batch_store_tmp_delete(tmp, log);
        }

        ngx_http_batch_disk_close(fd);
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}


ngx_int_t
ngx_http_batch_seal_read(const char *batch_id, uint32_t chunk, uint32_t epoch,
    ngx_str_t *data, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_int_t  rc;

    ngx_str_null(data);

    dir = ngx_http_batch_segment_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    ngx_http_batch_segment_name(chunk, epoch, 1, name);

    rc = ngx_http_batch_disk_read(dir, batch_id, name,
                                  NGX_HTTP_BATCH_SEAL_MAX, data, log);

    if (rc == NGX_ERROR && ngx_http_batch_store_damaged()) {
        rc = NGX_DECLINED;
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}


ngx_int_t
ngx_http_batch_seal_load(const char *batch_id, uint32_t chunk, uint32_t epoch,
    batch_seal_t *seal, ngx_log_t *log)
{
    int         decoded;
    ngx_int_t   rc;
    ngx_str_t   text;

    rc = ngx_http_batch_seal_read(batch_id, chunk, epoch, &text, log);

    if (rc != NGX_OK) {
        return rc;
    }

    decoded = batch_seal_decode(text.data, text.len, batch_id, chunk, epoch,
                                seal);

    ngx_free(text.data);

    if (decoded == BATCH_OK) {
        return NGX_OK;
    }

    if (decoded == BATCH_AGAIN) {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_ALERT, log, 0,
                  "batch: %s, chunk %uD: seal of epoch %uD is void: %s",
                  batch_id, chunk, epoch,
                  decoded == BATCH_FOREIGN ? "of another batch, chunk or epoch"
                                           : "damaged");

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_batch_seal_delete(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_int_t  rc;

    dir = ngx_http_batch_segment_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    ngx_http_batch_segment_name(chunk, epoch, 1, name);

    rc = ngx_http_batch_disk_unlink(dir, batch_id, name, log);

    if (rc == NGX_OK) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s, chunk %uD: seal of epoch %uD deleted",
                       batch_id, chunk, epoch);
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}
