
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The store: files in tmp/, and objects read by kind and id.
 */


#include "ngx_http_batch_disk.h"

#include <sys/file.h>


ngx_uint_t
ngx_http_batch_store_damaged(void)
{
    ngx_err_t  err;

    err = ngx_errno;

    return err == ELOOP || err == NGX_ENOTDIR || err == EFBIG
           || err == EBADMSG;
}


ngx_fd_t
ngx_http_batch_store_tmp(char name[NGX_HTTP_BATCH_TMP_LEN], ngx_log_t *log)
{
    ngx_fd_t  fd;

    if (batch_id_random_hex(name, (NGX_HTTP_BATCH_TMP_LEN - 1) / 2)
        != BATCH_OK)
    {
        ngx_http_batch_disk_error(log, "tmp", "random bytes for", "a name");
        name[0] = '\0';
        return NGX_INVALID_FILE;
    }

    name[NGX_HTTP_BATCH_TMP_LEN - 1] = '\0';

    fd = ngx_http_batch_disk_openat(ngx_http_batch_layout_tmp, name,
                                    O_RDWR|O_CREAT|O_EXCL);

    if (fd == NGX_INVALID_FILE) {
        ngx_http_batch_disk_error(log, "tmp", "openat()", name);
        name[0] = '\0';
        return fd;
    }

    /*
     * Says that its owner lives, until the descriptor is closed, whatever the
     * clocks say.  A filesystem without locks has only the time.
     */

    (void) flock(fd, LOCK_SH|LOCK_NB);

    return fd;
}


void
ngx_http_batch_store_tmp_delete(const char *name, ngx_log_t *log)
{
    ngx_err_t  err;

    if (name[0] == '\0') {
        return;
    }

    /* called on error paths: the error that led here is the caller's */

    err = ngx_errno;

    (void) ngx_http_batch_disk_unlink(ngx_http_batch_layout_tmp, "tmp", name,
                                      log);

    ngx_set_errno(err);
}


ngx_int_t
ngx_http_batch_store_sweep_tmp(ngx_http_batch_sweep_dir_t *s, time_t age,
    ngx_uint_t n, ngx_log_t *log)
{
    return ngx_http_batch_layout_sweep(s, NGX_HTTP_BATCH_DIR_TMP, age, n, log);
}


ngx_int_t
ngx_http_batch_store_write(ngx_fd_t fd, const void *data, size_t len,
    off_t off, ngx_log_t *log)
{
    ssize_t        n;
    ngx_err_t      err;
    const u_char  *p;

    p = data;

    while (len) {
        n = pwrite(fd, p, len, off);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n <= 0) {

            /* what wrote nothing has no room */

            err = n ? ngx_errno : NGX_ENOSPC;

            ngx_log_error(NGX_LOG_CRIT, log, err,
                          "batch: pwrite() of %uz bytes at %O failed", len,
                          off);
            ngx_set_errno(err);
            return NGX_ERROR;
        }

        p += n;
        len -= n;
        off += n;
    }

    return NGX_OK;
}


/* What is not read of a segment is sent again, and has been paid for: one error
 * is not enough. */

ssize_t
ngx_http_batch_store_pread(ngx_fd_t fd, void *buf, size_t n, off_t off,
    ngx_log_t *log)
{
    size_t      done;
    ssize_t     got;
    ngx_err_t   err;
    ngx_uint_t  failed;

    failed = 0;
    done = 0;

    while (done < n) {

        got = pread(fd, (u_char *) buf + done, n - done, off + (off_t) done);

        if (got == 0) {
            break;
        }

        if (got > 0) {
            done += got;
            continue;
        }

        err = ngx_errno;

        if (err == NGX_EINTR) {
            continue;
        }

        ngx_log_error(NGX_LOG_CRIT, log, err,
                      "batch: pread() of %uz bytes at %O failed", n - done,
                      off + (off_t) done);

        if (failed++) {
            ngx_set_errno(err);
            return -1;
        }
    }

    return (ssize_t) done;
}


ngx_int_t
ngx_http_batch_store_read(ngx_http_batch_obj_e obj, const char *id, size_t max,
    ngx_str_t *data, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_int_t  rc;

    ngx_str_null(data);

    dir = ngx_http_batch_layout_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    rc = NGX_OK;

    if (obj == NGX_HTTP_BATCH_FILE) {
        ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE_DEL, id, name);

        rc = ngx_http_batch_disk_stat(dir, id, name, NULL, log);

        if (rc != 0) {
            rc = (rc == 1) ? NGX_DECLINED : NGX_ERROR;
        }
    }

    if (rc == NGX_OK) {
        ngx_http_batch_layout_name(obj, id, name);

        rc = ngx_http_batch_layout_json(obj)
             ? ngx_http_batch_sum_read(dir, id, name,
                                       ngx_http_batch_layout_named(obj), max,
                                       data, log)
             : ngx_http_batch_disk_read(dir, id, name, max, data, log);
    }

    /* the reader acts on it, so its name must be durable now, even if the
     * process that published it died before its own fsync */

    if (rc == NGX_OK
        && (obj == NGX_HTTP_BATCH_CANCEL
            || obj == NGX_HTTP_BATCH_FINAL
            || obj == NGX_HTTP_BATCH_UPLOAD_END)
        && ngx_http_batch_disk_sync_dir(dir, id, name, log) != NGX_OK)
    {
        ngx_http_batch_disk_free(data->data);
        ngx_str_null(data);

        rc = NGX_ERROR;
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}


ngx_int_t
ngx_http_batch_store_publish(ngx_http_batch_obj_e obj, const char *id,
    ngx_str_t text, ngx_log_t *log)
{
    ngx_int_t  rc;

    if (text.data == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_publish_object(obj, id, text.data, text.len, log);

    ngx_http_batch_disk_free(text.data);

    return rc;
}


ngx_fd_t
ngx_http_batch_store_open(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    char      name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t  dir, fd;

    dir = ngx_http_batch_layout_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    ngx_http_batch_layout_name(obj, id, name);

    fd = ngx_http_batch_disk_open(dir, id, name, log);

    ngx_http_batch_disk_close(dir);

    return fd;
}


ngx_int_t
ngx_http_batch_store_exists(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_int_t  rc;

    dir = ngx_http_batch_layout_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? 0 : NGX_ERROR;
    }

    ngx_http_batch_layout_name(obj, id, name);

    rc = ngx_http_batch_disk_stat(dir, id, name, NULL, log);

    ngx_http_batch_disk_close(dir);

    return rc;
}


ngx_int_t
ngx_http_batch_store_sync(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_int_t  rc;

    dir = ngx_http_batch_layout_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_disk_sync_dir(dir, id, id, log);

    ngx_http_batch_disk_close(dir);

    return rc;
}
