
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk: objects are published and deleted.
 */


#include "ngx_http_batch_disk.h"


static ngx_int_t ngx_http_batch_disk_link_name(ngx_fd_t dir, const char *name,
    ngx_fd_t fd, const char *tmp, ngx_uint_t keep, ngx_log_t *log);
static ngx_uint_t ngx_http_batch_disk_ours(ngx_fd_t dir, const char *name,
    ngx_fd_t fd);
static ngx_int_t ngx_http_batch_disk_decide(ngx_fd_t dir, ngx_fd_t fd,
    const char *tmp, ngx_log_t *log);
static ngx_int_t ngx_http_batch_disk_undelete(ngx_fd_t dir,
    const char *file_id, ngx_log_t *log);


ngx_int_t
ngx_http_batch_disk_link(ngx_fd_t dir, const char *name, ngx_fd_t fd,
    const char *tmp, ngx_uint_t keep, ngx_log_t *log)
{
    ngx_int_t  rc;

    if (fdatasync(fd) == -1) {
        ngx_http_batch_disk_error(log, "fdatasync() for", name);
        rc = NGX_ERROR;

    } else {
        rc = ngx_http_batch_disk_link_name(dir, name, fd, tmp, keep, log);
    }

    ngx_http_batch_store_tmp_delete(tmp, log);

    return rc;
}


static ngx_int_t
ngx_http_batch_disk_link_name(ngx_fd_t dir, const char *name, ngx_fd_t fd,
    const char *tmp, ngx_uint_t keep, ngx_log_t *log)
{
    ngx_err_t  err;
    ngx_int_t  rc;

    rc = NGX_OK;

    if (linkat(ngx_http_batch_dirs[NGX_HTTP_BATCH_DIR_TMP], tmp, dir, name, 0)
        == -1)
    {
        if (ngx_errno != NGX_EEXIST) {
            ngx_http_batch_disk_error(log, "linkat() of", name);
            return NGX_ERROR;
        }

        /* on NFS a repeated request says EEXIST of our own link */

        if (!ngx_http_batch_disk_ours(dir, name, fd)) {
            rc = NGX_DECLINED;
        }
    }

    /* also when declined: the caller acts on the winner's object, whose name
     * the winner may not have made durable yet */

    if (ngx_http_batch_disk_sync_dir(dir) == -1) {
        ngx_http_batch_disk_error(log, "fsync() of the directory of", name);

        if (rc == NGX_OK && !keep) {
            err = ngx_errno;
            (void) unlinkat(dir, name, 0);
            ngx_set_errno(err);
        }

        return NGX_ERROR;
    }

    return rc;
}


static ngx_uint_t
ngx_http_batch_disk_ours(ngx_fd_t dir, const char *name, ngx_fd_t fd)
{
    struct stat  a, b;

    if (fstat(fd, &a) == -1
        || fstatat(dir, name, &b, AT_SYMLINK_NOFOLLOW) == -1)
    {
        return 0;
    }

    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}


ngx_int_t
ngx_http_batch_publish_tmp(ngx_http_batch_obj_e obj, const char *id,
    ngx_fd_t fd, const char *tmp, ngx_log_t *log)
{
    char        name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t    dir;
    ngx_err_t   err;
    ngx_int_t   rc;
    ngx_uint_t  make;

    /* only what begins an object's life makes its directory: a late cancel or
     * result must not bring back a batch that is gone */

    make = (obj == NGX_HTTP_BATCH_BLOB
            || obj == NGX_HTTP_BATCH_FILE
            || obj == NGX_HTTP_BATCH_META
            || obj == NGX_HTTP_BATCH_UPLOAD);

    dir = ngx_http_batch_disk_dir(obj, id, make, log);

    if (dir == NGX_INVALID_FILE) {

        if (ngx_errno == NGX_ENOENT) {
            ngx_http_batch_disk_error(log, "opening the directory of", id);
        }

        ngx_http_batch_store_tmp_delete(tmp, log);
        return NGX_ERROR;
    }

    ngx_http_batch_disk_name(obj, id, name);

    rc = ngx_http_batch_disk_link(dir, name, fd, tmp, !make, log);

    if (rc == NGX_OK && obj == NGX_HTTP_BATCH_FILE) {

        rc = ngx_http_batch_disk_undelete(dir, id, log);
    }

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


ngx_uint_t
ngx_http_batch_disk_json(ngx_http_batch_obj_e obj)
{
    return obj != NGX_HTTP_BATCH_BLOB && obj != NGX_HTTP_BATCH_INPUT;
}


/* one file may be final.json, cancel.json and manifests of results */

ngx_uint_t
ngx_http_batch_disk_named(ngx_http_batch_obj_e obj)
{
    return obj == NGX_HTTP_BATCH_META || obj == NGX_HTTP_BATCH_PLAN
           || obj == NGX_HTTP_BATCH_UPLOAD
           || obj == NGX_HTTP_BATCH_UPLOAD_END;
}


ngx_int_t
ngx_http_batch_publish_write(ngx_http_batch_obj_e obj, const char *id,
    ngx_fd_t fd, const void *data, size_t len, ngx_log_t *log)
{
    char  name[NGX_HTTP_BATCH_NAME_LEN];

    if (!ngx_http_batch_disk_json(obj)) {
        return ngx_http_batch_store_write(fd, data, len, 0, log);
    }

    ngx_http_batch_disk_name(obj, id, name);

    return ngx_http_batch_disk_write_json(fd, id, name,
                                          ngx_http_batch_disk_named(obj), data,
                                          len, log);
}


ngx_int_t
ngx_http_batch_publish_object(ngx_http_batch_obj_e obj, const char *id,
    const void *data, size_t len, ngx_log_t *log)
{
    char       tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t   fd;
    ngx_err_t  err;
    ngx_int_t  rc;

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_publish_write(obj, id, fd, data, len, log);

    if (rc == NGX_OK) {
        rc = ngx_http_batch_publish_tmp(obj, id, fd, tmp, log);

    } else {
        ngx_http_batch_store_tmp_delete(tmp, log);
    }

    err = ngx_errno;
    (void) ngx_close_file(fd);
    ngx_set_errno(err);

    return rc;
}


/*
 * The decision and what it leads to are two names of one file: its content is
 * synced once, and one fsync() makes both names durable.
 */

ngx_int_t
ngx_http_batch_publish_final(const char *batch_id, const void *data,
    size_t len, ngx_uint_t decide, ngx_log_t *log)
{
    char       tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t   dir, fd;
    ngx_err_t  err;
    ngx_int_t  rc;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_FINAL, batch_id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT) {
            ngx_http_batch_disk_error(log, "opening the directory of",
                                      batch_id);
        }

        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd != NGX_INVALID_FILE) {
        rc = ngx_http_batch_publish_write(NGX_HTTP_BATCH_FINAL, batch_id,
                                               fd, data, len, log);

        if (rc == NGX_OK && fdatasync(fd) == -1) {
            ngx_http_batch_disk_error(log, "fdatasync() for", "final.json");
            rc = NGX_ERROR;
        }

        if (rc == NGX_OK && decide) {
            rc = ngx_http_batch_disk_decide(dir, fd, tmp, log);
        }

        if (rc == NGX_OK) {
            rc = ngx_http_batch_disk_link_name(dir, "final.json", fd, tmp, 1,
                                               log);
        }

        ngx_http_batch_store_tmp_delete(tmp, log);

        err = ngx_errno;
        (void) ngx_close_file(fd);
        ngx_set_errno(err);
    }

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


/* NGX_ABORT: somebody else has decided before, be it alike */

static ngx_int_t
ngx_http_batch_disk_decide(ngx_fd_t dir, ngx_fd_t fd, const char *tmp,
    ngx_log_t *log)
{
    if (linkat(ngx_http_batch_dirs[NGX_HTTP_BATCH_DIR_TMP], tmp, dir,
               "cancel.json", 0)
        == 0)
    {
        return NGX_OK;
    }

    if (ngx_errno != NGX_EEXIST) {
        ngx_http_batch_disk_error(log, "linkat() of", "cancel.json");
        return NGX_ERROR;
    }

    return ngx_http_batch_disk_ours(dir, "cancel.json", fd) ? NGX_OK
                                                            : NGX_ABORT;
}


/*
 * Not synced: it is made again from final.json, whose other name it is, so that
 * its content is durable in any case.
 */

ngx_int_t
ngx_http_batch_publish_manifest(const char *batch_id, const char *file_id,
    ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   from, to;
    ngx_err_t  err;
    ngx_int_t  rc;

    from = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_FINAL, batch_id, 0, log);

    if (from == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    to = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_FILE, file_id, 0, log);

    if (to != NGX_INVALID_FILE) {
        rc = NGX_OK;
        ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE, file_id, name);

        if (linkat(from, "final.json", to, name, 0) == -1
            && ngx_errno != NGX_EEXIST)
        {
            ngx_http_batch_disk_error(log, "linkat() of", name);
            rc = NGX_ERROR;
        }

        if (rc == NGX_OK) {
            rc = ngx_http_batch_disk_undelete(to, file_id, log);
        }

        err = ngx_errno;
        (void) ngx_close_file(to);
        ngx_set_errno(err);
    }

    err = ngx_errno;
    (void) ngx_close_file(from);
    ngx_set_errno(err);

    return rc;
}


/* deleted is deleted: nothing puts a manifest beside a tombstone */

static ngx_int_t
ngx_http_batch_disk_undelete(ngx_fd_t dir, const char *file_id,
    ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_int_t  rc;

    ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE_DEL, file_id, name);

    rc = ngx_http_batch_disk_has(dir, name, log);

    if (rc == 1) {
        ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE, file_id, name);
        (void) ngx_http_batch_disk_unlink(dir, name, log);

        return NGX_DECLINED;
    }

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_batch_store_sync(ngx_http_batch_obj_e obj, const char *id,
    ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_err_t  err;
    ngx_int_t  rc;

    dir = ngx_http_batch_disk_dir(obj, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    if (ngx_http_batch_disk_sync_dir(dir) == -1) {
        ngx_http_batch_disk_error(log, "fsync() of the directory of", id);
        rc = NGX_ERROR;
    }

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_publish_input(const char *batch_id, const char *file_id,
    ngx_log_t *log)
{
    ngx_fd_t   from, to;
    ngx_err_t  err;
    ngx_int_t  rc;

    to = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_INPUT, batch_id, 0, log);

    if (to == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT) {
            ngx_http_batch_disk_error(log, "opening the directory of",
                                      batch_id);
        }

        return NGX_ERROR;
    }

    rc = NGX_OK;

    from = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_BLOB, file_id, 0, log);

    if (from == NGX_INVALID_FILE) {
        rc = (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;
        goto done;
    }

    if (linkat(from, file_id, to, "input", 0) == -1
        && ngx_errno != NGX_EEXIST)
    {
        if (ngx_errno == NGX_ENOENT) {
            rc = NGX_DECLINED;

        } else {
            ngx_http_batch_disk_error(log, "linkat() of the input of",
                                      batch_id);
            rc = NGX_ERROR;
        }
    }

    err = ngx_errno;
    (void) ngx_close_file(from);
    ngx_set_errno(err);

done:

    err = ngx_errno;
    (void) ngx_close_file(to);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_disk_unlink(ngx_fd_t dir, const char *name, ngx_log_t *log)
{
    if (unlinkat(dir, name, 0) == -1 && ngx_errno != NGX_ENOENT) {
        ngx_http_batch_disk_error(log, "unlinkat()", name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_delete_file(const char *file_id, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_int_t  rc;

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, file_id, log);

    if (rc == 0) {

        /* a result's manifest is not synced */

        rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, file_id, log);
    }

    if (rc != 1) {
        return rc == 0 ? NGX_DECLINED : NGX_ERROR;
    }

    rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE_DEL, file_id,
                                      "{\"v\":1}", sizeof("{\"v\":1}") - 1,
                                      log);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    /* the tombstone is durable: what follows is tidying, repeated by whoever
     * meets the leftovers, and its errors change nothing for the client */

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_BLOB, file_id, 0, log);

    if (dir != NGX_INVALID_FILE) {
        ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE, file_id, name);

        (void) ngx_http_batch_disk_unlink(dir, name, log);
        (void) ngx_http_batch_disk_unlink(dir, file_id, log);

        (void) ngx_close_file(dir);
    }

    return rc;
}


ngx_int_t
ngx_http_batch_delete_plan(const char *batch_id, ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_int_t  rc;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_PLAN, batch_id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = ngx_http_batch_disk_unlink(dir, "plan.json", log);

    (void) ngx_close_file(dir);

    return rc == NGX_OK ? NGX_DECLINED : NGX_ERROR;
}


ngx_int_t
ngx_http_batch_delete_blob(const char *file_id, ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_int_t  rc;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_BLOB, file_id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_OK : NGX_ERROR;
    }

    rc = ngx_http_batch_disk_unlink(dir, file_id, log);

    (void) ngx_close_file(dir);

    return rc;
}
