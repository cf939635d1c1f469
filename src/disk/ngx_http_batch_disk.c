
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * System calls of the disk: each logs its own error and keeps errno.
 */


#include "ngx_http_batch_disk.h"


static ngx_int_t ngx_http_batch_disk_read_fd(ngx_fd_t fd, const char *id,
    const char *name, size_t max, ngx_str_t *data, ngx_log_t *log);


void
ngx_http_batch_disk_error(ngx_log_t *log, const char *id, const char *call,
    const char *name)
{
    ngx_err_t   err;
    ngx_uint_t  level;

    if (log == NULL) {
        return;
    }

    err = ngx_errno;

    /* a link is not of our making, and is not followed */

    level = (err == ELOOP) ? NGX_LOG_ALERT : NGX_LOG_CRIT;

    ngx_log_error(level, log, err,
                  "batch: %s: %s \"%s\" failed", id, call, name);

    ngx_set_errno(err);
}


ngx_fd_t
ngx_http_batch_disk_openat(ngx_fd_t dir, const char *name, int flags)
{
    ngx_fd_t  fd;

    do {
        fd = openat(dir, name, flags|O_NOFOLLOW|O_CLOEXEC, 0600);

    } while (fd == NGX_INVALID_FILE && ngx_errno == NGX_EINTR);

    return fd;
}


ngx_fd_t
ngx_http_batch_disk_open(ngx_fd_t dir, const char *id, const char *name,
    ngx_log_t *log)
{
    ngx_fd_t     fd;
    struct stat  st;

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_NONBLOCK);

    if (fd == NGX_INVALID_FILE) {

        if (ngx_errno != NGX_ENOENT) {
            ngx_http_batch_disk_error(log, id, "openat()", name);
        }

        return NGX_INVALID_FILE;
    }

    if (fstat(fd, &st) == -1) {
        ngx_http_batch_disk_error(log, id, "fstat()", name);

    } else if (!S_ISREG(st.st_mode)) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: \"%s\" is not a regular file", id, name);
        ngx_set_errno(EBADMSG);

    } else {
        return fd;
    }

    ngx_http_batch_disk_close(fd);

    return NGX_INVALID_FILE;
}


ngx_uint_t
ngx_http_batch_disk_gone(ngx_fd_t dir)
{
    ngx_err_t    err;
    ngx_uint_t   gone;
    struct stat  st;

    err = ngx_errno;
    gone = (fstat(dir, &st) == 0 && st.st_nlink == 0);
    ngx_set_errno(err);

    return gone;
}


void
ngx_http_batch_disk_close(ngx_fd_t fd)
{
    ngx_err_t  err;

    if (fd != NGX_INVALID_FILE) {
        err = ngx_errno;
        (void) ngx_close_file(fd);
        ngx_set_errno(err);
    }
}


void
ngx_http_batch_disk_free(void *p)
{
    ngx_err_t  err;

    err = ngx_errno;
    ngx_free(p);
    ngx_set_errno(err);
}


ngx_int_t
ngx_http_batch_disk_sync_dir(ngx_fd_t dir, const char *id, const char *name,
    ngx_log_t *log)
{
    if (fsync(dir) == -1) {
        ngx_http_batch_disk_error(log, id, "fsync() of the directory of",
                                  name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_disk_read(ngx_fd_t dir, const char *id, const char *name,
    size_t max, ngx_str_t *data, ngx_log_t *log)
{
    ngx_fd_t   fd;
    ngx_int_t  rc;

    ngx_str_null(data);

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_NONBLOCK);

    if (fd == NGX_INVALID_FILE) {

        if (ngx_errno == NGX_ENOENT) {
            return NGX_DECLINED;
        }

        ngx_http_batch_disk_error(log, id, "openat()", name);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_disk_read_fd(fd, id, name, max, data, log);

    ngx_http_batch_disk_close(fd);

    return rc;
}


static ngx_int_t
ngx_http_batch_disk_read_fd(ngx_fd_t fd, const char *id, const char *name,
    size_t max, ngx_str_t *data, ngx_log_t *log)
{
    size_t       size, done;
    u_char      *p;
    ssize_t      n;
    ngx_err_t    err;
    struct stat  st;

    if (fstat(fd, &st) == -1) {
        ngx_http_batch_disk_error(log, id, "fstat()", name);
        return NGX_ERROR;
    }

    if (!S_ISREG(st.st_mode) || st.st_size < 0
        || (uint64_t) st.st_size > (uint64_t) max)
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "batch: %s: \"%s\" is not a regular file of at most %uz"
                      " bytes", id, name, max);
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
            ngx_http_batch_disk_error(log, id, "pread()", name);
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


ngx_int_t
ngx_http_batch_disk_stat(ngx_fd_t dir, const char *id, const char *name,
    struct stat *st, ngx_log_t *log)
{
    struct stat  dummy;

    if (fstatat(dir, name, st ? st : &dummy, AT_SYMLINK_NOFOLLOW) == 0) {
        return 1;
    }

    if (ngx_errno == NGX_ENOENT) {
        return 0;
    }

    ngx_http_batch_disk_error(log, id, "fstatat()", name);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_batch_disk_unlink(ngx_fd_t dir, const char *id, const char *name,
    ngx_log_t *log)
{
    if (unlinkat(dir, name, 0) == -1 && ngx_errno != NGX_ENOENT) {
        ngx_http_batch_disk_error(log, id, "unlinkat()", name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


DIR *
ngx_http_batch_disk_opendir(ngx_fd_t dir, const char *id, const char *name,
    ngx_log_t *log)
{
    ngx_fd_t  fd;

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_DIRECTORY);

    if (fd == NGX_INVALID_FILE) {
        ngx_http_batch_disk_error(log, id, "openat()", name);
        return NULL;
    }

    return ngx_http_batch_disk_fdopendir(fd, id, log);
}


DIR *
ngx_http_batch_disk_fdopendir(ngx_fd_t fd, const char *id, ngx_log_t *log)
{
    DIR  *d;

    d = fdopendir(fd);

    if (d == NULL) {
        ngx_http_batch_disk_error(log, id, "fdopendir()", ".");
        ngx_http_batch_disk_close(fd);
    }

    return d;
}


const char *
ngx_http_batch_disk_readdir(DIR *d, const char *id, ngx_log_t *log)
{
    struct dirent  *de;

    do {
        ngx_set_errno(0);

        de = readdir(d);

    } while (de && de->d_name[0] == '.');

    if (de) {
        return de->d_name;
    }

    if (ngx_errno) {
        ngx_http_batch_disk_error(log, id, "readdir()", ".");
    }

    return NULL;
}


void
ngx_http_batch_disk_closedir(DIR *d)
{
    ngx_err_t  err;

    err = ngx_errno;
    (void) closedir(d);
    ngx_set_errno(err);
}
