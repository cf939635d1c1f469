
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * An upload's parts, and how they become a file.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_task.h"
#include "ngx_http_batch_uploads.h"

#include <sys/file.h>
#include <sys/sendfile.h>


#define NGX_HTTP_BATCH_PARTS_PIECE   (1024 * 1024)        /* through memory */
#define NGX_HTTP_BATCH_PARTS_CHUNK   (16 * 1024 * 1024)   /* by the system */


typedef enum {
    NGX_HTTP_BATCH_PARTS_RANGE = 0,
    NGX_HTTP_BATCH_PARTS_SENDFILE,
    NGX_HTTP_BATCH_PARTS_MEMORY
} ngx_http_batch_parts_how_e;


static ngx_int_t ngx_http_batch_parts_join(ngx_fd_t in, off_t size,
    ngx_fd_t out, off_t *off, const char *id, const char *name,
    ngx_log_t *log);
static ssize_t ngx_http_batch_parts_join_some(ngx_http_batch_parts_how_e *how,
    ngx_fd_t in, off_t in_off, ngx_fd_t out, off_t out_off, size_t n,
    u_char **buf);


ngx_int_t
ngx_http_batch_parts_publish(const char *id, const char *part,
    ngx_fd_t fd, const char *tmp, ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_err_t  err;
    ngx_int_t  rc;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        err = ngx_errno;
        ngx_http_batch_store_tmp_delete(tmp, log);
        ngx_set_errno(err);

        return err == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    rc = ngx_http_batch_publish_link(dir, id, part, fd, tmp, 0, log);

    if (rc == NGX_ERROR && ngx_http_batch_disk_gone(dir)) {
        rc = NGX_DECLINED;
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}


ngx_int_t
ngx_http_batch_parts_sum(const char *id, ngx_uint_t *n, off_t *bytes,
    ngx_log_t *log)
{
    DIR          *d;
    ngx_fd_t      dir;
    ngx_int_t     rc;
    const char   *name;
    struct stat   st;

    *n = 0;
    *bytes = 0;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    d = ngx_http_batch_disk_fdopendir(dir, id, log);

    if (d == NULL) {
        return NGX_ERROR;
    }

    while ((name = ngx_http_batch_disk_readdir(d, id, log)) != NULL) {

        if (ngx_http_batch_uploads_named(name, BATCH_ID_PART)
            && fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        {
            *n += 1;
            *bytes += st.st_size;
        }
    }

    rc = ngx_errno ? NGX_ERROR : NGX_OK;

    ngx_http_batch_disk_closedir(d);

    return rc;
}


ngx_int_t
ngx_http_batch_parts_size(const char *id, const char *part, off_t *bytes,
    ngx_log_t *log)
{
    ngx_fd_t     dir;
    ngx_int_t    rc;
    struct stat  st;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    rc = ngx_http_batch_disk_stat(dir, id, part, &st, log);

    if (rc == 1) {
        *bytes = st.st_size;
        rc = NGX_OK;

    } else if (rc == 0) {
        rc = NGX_DECLINED;
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}


ngx_int_t
ngx_http_batch_parts_lock(const char *id, ngx_fd_t *fd, ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_int_t  rc;

    *fd = NGX_INVALID_FILE;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    rc = NGX_OK;

    /* for writing: NFS makes a lock of bytes of it, which needs that */

    *fd = ngx_http_batch_disk_openat(dir, "upload.json", O_RDWR|O_NONBLOCK);

    if (*fd == NGX_INVALID_FILE) {
        rc = (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;

        if (rc == NGX_ERROR) {
            ngx_http_batch_disk_error(log, id, "openat()", "upload.json");
        }

    } else if (flock(*fd, LOCK_EX|LOCK_NB) == -1
               && ngx_errno == EWOULDBLOCK)
    {
        rc = NGX_AGAIN;
        ngx_http_batch_disk_close(*fd);
        *fd = NGX_INVALID_FILE;
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}


ngx_int_t
ngx_http_batch_parts_append(const char *id, const char *part, ngx_fd_t fd,
    off_t *off, ngx_log_t *log)
{
    ngx_fd_t     dir, in;
    ngx_int_t    rc;
    struct stat  st;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    in = ngx_http_batch_disk_openat(dir, part, O_RDONLY|O_NONBLOCK);

    if (in == NGX_INVALID_FILE) {
        rc = (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;

        if (rc == NGX_ERROR) {
            ngx_http_batch_disk_error(log, id, "openat()", part);
        }

    } else if (fstat(in, &st) == -1) {
        ngx_http_batch_disk_error(log, id, "fstat()", part);
        rc = NGX_ERROR;

    } else {
        rc = ngx_http_batch_parts_join(in, st.st_size, fd, off, id, part,
                                       log);
    }

    ngx_http_batch_disk_close(in);
    ngx_http_batch_disk_close(dir);

    return rc;
}


static ngx_int_t
ngx_http_batch_parts_join(ngx_fd_t in, off_t size, ngx_fd_t out, off_t *off,
    const char *id, const char *name, ngx_log_t *log)
{
    off_t                   done;
    u_char                 *buf;
    ssize_t                 n;
    ngx_err_t               err;
    ngx_int_t               rc;
    ngx_http_batch_parts_how_e   how;

    buf = NULL;
    how = NGX_HTTP_BATCH_PARTS_RANGE;
    rc = NGX_OK;

    for (done = 0; done < size; done += n) {

        if (ngx_http_batch_task_stop()) {
            rc = NGX_ABORT;
            break;
        }

        n = ngx_http_batch_parts_join_some(&how, in, done, out, *off,
                                           (size_t) ngx_min(size - done,
                                                  NGX_HTTP_BATCH_PARTS_CHUNK),
                                           &buf);
        if (n > 0) {
            *off += n;
            continue;
        }

        err = n ? ngx_errno : EIO;        /* a part never gets shorter */
        n = 0;

        if (err == NGX_EINTR || err == NGX_EAGAIN) {
            continue;
        }

        ngx_set_errno(err);
        ngx_http_batch_disk_error(log, id, "copying of", name);
        rc = NGX_ERROR;
        break;
    }

    ngx_http_batch_disk_free(buf);

    return rc;
}


/* As copy_file_range(); *how goes on to the next way where one is not
 * available: NGX_EAGAIN. */

static ssize_t
ngx_http_batch_parts_join_some(ngx_http_batch_parts_how_e *how, ngx_fd_t in,
    off_t in_off, ngx_fd_t out, off_t out_off, size_t n, u_char **buf)
{
    ssize_t  done;

    switch (*how) {

    case NGX_HTTP_BATCH_PARTS_RANGE:

        done = copy_file_range(in, &in_off, out, &out_off, n, 0);
        break;

    case NGX_HTTP_BATCH_PARTS_SENDFILE:

        if (lseek(out, out_off, SEEK_SET) == -1) {
            return -1;
        }

        done = sendfile(out, in, &in_off, n);
        break;

    default: /* NGX_HTTP_BATCH_PARTS_MEMORY */

        if (*buf == NULL) {
            *buf = ngx_alloc(NGX_HTTP_BATCH_PARTS_PIECE, ngx_cycle->log);
            if (*buf == NULL) {
                ngx_set_errno(NGX_ENOMEM);
                return -1;
            }
        }

        done = pread(in, *buf, ngx_min(n, NGX_HTTP_BATCH_PARTS_PIECE), in_off);

        return done > 0 ? pwrite(out, *buf, done, out_off) : done;
    }

    /*
     * Kernels and file systems differ in how they say that they cannot, some
     * (5.3 to 5.18, special file systems) by copying nothing.
     */

    if (done == 0
        || (done == -1
            && (ngx_errno == ENOSYS || ngx_errno == EXDEV
                || ngx_errno == EINVAL || ngx_errno == EOPNOTSUPP
                || ngx_errno == NGX_EPERM || ngx_errno == EBADF
                || ngx_errno == EIO)))
    {
        *how += 1;
        ngx_set_errno(NGX_EAGAIN);
        return -1;
    }

    return done;
}


void
ngx_http_batch_parts_delete(const char *id, const char *name,
    ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_err_t  err;

    err = ngx_errno;

    dir = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir != NGX_INVALID_FILE) {
        (void) ngx_http_batch_disk_unlink(dir, id, name, log);
        (void) ngx_close_file(dir);
    }

    ngx_set_errno(err);
}
