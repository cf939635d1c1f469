
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk: objects are read, opened, and looked for.
 */


#include "ngx_http_batch_disk.h"


static ngx_int_t ngx_http_batch_disk_read_fd(ngx_fd_t fd, const char *name,
    size_t max, ngx_str_t *data, ngx_log_t *log);


ngx_int_t
ngx_http_batch_store_read(ngx_http_batch_obj_e obj, const char *id, size_t max,
    ngx_str_t *data, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_err_t  err;
    ngx_int_t  rc;

    ngx_str_null(data);

    dir = ngx_http_batch_disk_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    rc = NGX_OK;

    if (obj == NGX_HTTP_BATCH_FILE) {
        ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE_DEL, id, name);

        switch (ngx_http_batch_disk_has(dir, name, log)) {

        case 0:
            break;

        case 1:
            rc = NGX_DECLINED;
            break;

        default:
            rc = NGX_ERROR;
        }
    }

    if (rc == NGX_OK) {
        ngx_http_batch_disk_name(obj, id, name);

        rc = ngx_http_batch_disk_json(obj)
             ? ngx_http_batch_disk_read_json(dir, id, name,
                                             ngx_http_batch_disk_named(obj),
                                             max, data, log)
             : ngx_http_batch_disk_read(dir, name, max, data, log);
    }

    if (rc == NGX_OK
        && (obj == NGX_HTTP_BATCH_CANCEL
            || obj == NGX_HTTP_BATCH_FINAL
            || obj == NGX_HTTP_BATCH_UPLOAD_END)
        && ngx_http_batch_disk_sync_dir(dir) == -1)
    {
        /* the reader acts on it, so its name must be durable now, even if who
         * published it died before its own fsync */

        ngx_http_batch_disk_error(log, "fsync() of the directory of", name);

        err = ngx_errno;
        ngx_free(data->data);
        ngx_str_null(data);
        ngx_set_errno(err);

        rc = NGX_ERROR;
    }

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_disk_read(ngx_fd_t dir, const char *name, size_t max,
    ngx_str_t *data, ngx_log_t *log)
{
    ngx_fd_t   fd;
    ngx_err_t  err;
    ngx_int_t  rc;

    ngx_str_null(data);

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_NONBLOCK);

    if (fd == NGX_INVALID_FILE) {

        if (ngx_errno == NGX_ENOENT) {
            return NGX_DECLINED;
        }

        ngx_http_batch_disk_error(log, "openat()", name);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_disk_read_fd(fd, name, max, data, log);

    err = ngx_errno;
    (void) ngx_close_file(fd);
    ngx_set_errno(err);

    return rc;
}


static ngx_int_t
ngx_http_batch_disk_read_fd(ngx_fd_t fd, const char *name, size_t max,
    ngx_str_t *data, ngx_log_t *log)
{
    size_t       size, done;
    u_char      *p;
    ssize_t      n;
    ngx_err_t    err;
    struct stat  st;

    if (fstat(fd, &st) == -1) {
        ngx_http_batch_disk_error(log, "fstat()", name);
        return NGX_ERROR;
    }

    if (!S_ISREG(st.st_mode) || st.st_size < 0
        || (uint64_t) st.st_size > (uint64_t) max)
    {
        ngx_set_errno(EFBIG);
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch store: \"%s\" is no file of at most %uz bytes",
                      name, max);
        ngx_set_errno(EFBIG);
        return NGX_ERROR;
    }

    size = (size_t) st.st_size;

    p = ngx_alloc(size + 1, log);
    if (p == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    for (done = 0; done < size; done += n) {

        n = pread(fd, p + done, size - done, done);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            n = 0;
            continue;
        }

        if (n <= 0) {
            err = n ? ngx_errno : EIO;
            ngx_set_errno(err);
            ngx_http_batch_disk_error(log, "pread()", name);
            ngx_free(p);
            ngx_set_errno(err);
            return NGX_ERROR;
        }
    }

    p[size] = '\0';

    data->data = p;
    data->len = size;

    return NGX_OK;
}


ngx_fd_t
ngx_http_batch_store_open(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir, fd;
    ngx_err_t  err;

    dir = ngx_http_batch_disk_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    ngx_http_batch_disk_name(obj, id, name);

    fd = ngx_http_batch_disk_open(dir, name, log);

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return fd;
}


ngx_int_t
ngx_http_batch_disk_has(ngx_fd_t dir, const char *name, ngx_log_t *log)
{
    struct stat  st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return 1;
    }

    if (ngx_errno == NGX_ENOENT) {
        return 0;
    }

    ngx_http_batch_disk_error(log, "fstatat()", name);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_batch_store_exists(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_err_t  err;
    ngx_int_t  rc;

    dir = ngx_http_batch_disk_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? 0 : NGX_ERROR;
    }

    ngx_http_batch_disk_name(obj, id, name);

    rc = ngx_http_batch_disk_has(dir, name, log);

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}
