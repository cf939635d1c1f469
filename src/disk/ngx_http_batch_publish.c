
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Objects are published: synced under a name in tmp/, then linked to their own,
 * which the first one gets.  See docs/internals/disk.md; the order of the calls
 * is modelled in spec/.
 */


#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_reread.h"


static ngx_int_t ngx_http_batch_publish_name(ngx_fd_t dir, const char *id,
    const char *name, ngx_fd_t fd, const char *tmp, ngx_uint_t keep,
    ngx_log_t *log);
static ngx_uint_t ngx_http_batch_publish_ours(ngx_fd_t dir, const char *name,
    ngx_fd_t fd);
static ngx_int_t ngx_http_batch_publish_decide(ngx_fd_t dir, const char *id,
    ngx_fd_t fd, const char *tmp, ngx_log_t *log);
static ngx_int_t ngx_http_batch_publish_undelete(ngx_fd_t dir,
    const char *file_id, ngx_log_t *log);
static ngx_int_t ngx_http_batch_publish_alive(ngx_fd_t dir, const char *id,
    const char *name, ngx_log_t *log);


ngx_int_t
ngx_http_batch_publish_link(ngx_fd_t dir, const char *id, const char *name,
    ngx_fd_t fd, const char *tmp, ngx_uint_t keep, ngx_log_t *log)
{
    ngx_int_t  rc;

    if (fdatasync(fd) == -1) {
        ngx_http_batch_disk_error(log, id, "fdatasync() for", name);
        rc = NGX_ERROR;

    } else {
        rc = ngx_http_batch_publish_name(dir, id, name, fd, tmp, keep, log);
    }

    ngx_http_batch_store_tmp_delete(tmp, log);

    return rc;
}


static ngx_int_t
ngx_http_batch_publish_name(ngx_fd_t dir, const char *id, const char *name,
    ngx_fd_t fd, const char *tmp, ngx_uint_t keep, ngx_log_t *log)
{
    ngx_err_t  err;
    ngx_int_t  rc;

    rc = NGX_OK;

    if (linkat(ngx_http_batch_layout_tmp, tmp, dir, name, 0) == -1) {

        if (ngx_errno == NGX_ENOENT && ngx_http_batch_disk_gone(dir)) {
            ngx_log_error(NGX_LOG_INFO, log, ngx_errno,
                          "batch: %s: was deleted before \"%s\" was published",
                          id, name);
            ngx_set_errno(NGX_ENOENT);
            return NGX_ERROR;
        }

        if (ngx_errno != NGX_EEXIST) {
            ngx_http_batch_disk_error(log, id, "linkat() of", name);
            return NGX_ERROR;
        }

        /* on NFS a repeated request says EEXIST of our own link */

        if (!ngx_http_batch_publish_ours(dir, name, fd)) {
            rc = NGX_DECLINED;
        }
    }

    /* also when declined: the caller acts on the winner's object, whose name
     * the winner may not have made durable yet */

    if (ngx_http_batch_disk_sync_dir(dir, id, name, log) != NGX_OK) {

        if (rc == NGX_OK && !keep) {
            err = ngx_errno;
            (void) unlinkat(dir, name, 0);
            ngx_set_errno(err);
        }

        return NGX_ERROR;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, log, 0, "batch: %s: \"%s\" %s", id,
                   name, rc == NGX_OK ? "published" : "was there already");

    return rc;
}


static ngx_uint_t
ngx_http_batch_publish_ours(ngx_fd_t dir, const char *name, ngx_fd_t fd)
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
    ngx_int_t   rc;
    ngx_uint_t  make;

    /* only what begins an object's life makes its directory: a late cancel or
     * result must not bring back a batch that is gone */

    make = (obj == NGX_HTTP_BATCH_BLOB
            || obj == NGX_HTTP_BATCH_FILE
            || obj == NGX_HTTP_BATCH_META
            || obj == NGX_HTTP_BATCH_UPLOAD);

    dir = make ? ngx_http_batch_layout_dir(obj, id, 1, log)
               : ngx_http_batch_layout_must(obj, id, log);

    if (dir == NGX_INVALID_FILE) {
        ngx_http_batch_store_tmp_delete(tmp, log);
        return NGX_ERROR;
    }

    ngx_http_batch_layout_name(obj, id, name);

    rc = ngx_http_batch_publish_link(dir, id, name, fd, tmp, !make, log);

    if (rc == NGX_OK && obj == NGX_HTTP_BATCH_FILE) {
        rc = ngx_http_batch_publish_undelete(dir, id, log);
    }

    if (rc == NGX_OK
        && (obj == NGX_HTTP_BATCH_META || obj == NGX_HTTP_BATCH_CANCEL
            || obj == NGX_HTTP_BATCH_FINAL))
    {
        rc = ngx_http_batch_publish_alive(dir, id, name, log);
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}


ngx_int_t
ngx_http_batch_publish_write(ngx_http_batch_obj_e obj, const char *id,
    ngx_fd_t fd, const void *data, size_t len, ngx_log_t *log)
{
    char  name[NGX_HTTP_BATCH_NAME_LEN];

    if (!ngx_http_batch_layout_json(obj)) {
        return ngx_http_batch_store_write(fd, data, len, 0, log);
    }

    ngx_http_batch_layout_name(obj, id, name);

    if (ngx_http_batch_reread(obj, id, name, data, len, log) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_batch_sum_write(fd, id, name,
                                    ngx_http_batch_layout_named(obj), data,
                                    len, log);
}


ngx_int_t
ngx_http_batch_publish_object(ngx_http_batch_obj_e obj, const char *id,
    const void *data, size_t len, ngx_log_t *log)
{
    char       tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t   fd;
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

    ngx_http_batch_disk_close(fd);

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
    ngx_int_t  rc;

    dir = ngx_http_batch_layout_must(NGX_HTTP_BATCH_FINAL, batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd != NGX_INVALID_FILE) {
        rc = ngx_http_batch_publish_write(NGX_HTTP_BATCH_FINAL, batch_id, fd,
                                          data, len, log);

        if (rc == NGX_OK && decide) {
            rc = ngx_http_batch_reread(NGX_HTTP_BATCH_CANCEL, batch_id,
                                       "cancel.json", data, len, log);
        }

        if (rc == NGX_OK && fdatasync(fd) == -1) {
            ngx_http_batch_disk_error(log, batch_id, "fdatasync() for",
                                      "final.json");
            rc = NGX_ERROR;
        }

        if (rc == NGX_OK && decide) {
            rc = ngx_http_batch_publish_decide(dir, batch_id, fd, tmp, log);
        }

        if (rc == NGX_OK) {
            rc = ngx_http_batch_publish_name(dir, batch_id, "final.json", fd,
                                             tmp, 1, log);
        }

        if (rc == NGX_OK
            && ngx_http_batch_publish_alive(dir, batch_id, "final.json", log)
               != NGX_OK)
        {
            ngx_set_errno(NGX_ENOENT);
            rc = NGX_ERROR;
        }

        ngx_http_batch_store_tmp_delete(tmp, log);
        ngx_http_batch_disk_close(fd);
    }

    ngx_http_batch_disk_close(dir);

    return rc;
}


/* NGX_ABORT: another process has decided before, be it alike */

static ngx_int_t
ngx_http_batch_publish_decide(ngx_fd_t dir, const char *id, ngx_fd_t fd,
    const char *tmp, ngx_log_t *log)
{
    if (linkat(ngx_http_batch_layout_tmp, tmp, dir, "cancel.json", 0) == 0) {
        return NGX_OK;
    }

    if (ngx_errno != NGX_EEXIST) {
        ngx_http_batch_disk_error(log, id, "linkat() of", "cancel.json");
        return NGX_ERROR;
    }

    if (ngx_http_batch_publish_ours(dir, "cancel.json", fd)) {
        return NGX_OK;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                   "batch: %s: its end was decided before", id);

    return NGX_ABORT;
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
    ngx_int_t  rc;

    from = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_FINAL, batch_id, 0, log);

    if (from == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    to = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_FILE, file_id, 0, log);

    if (to != NGX_INVALID_FILE) {
        rc = NGX_OK;
        ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE, file_id, name);

        if (linkat(from, "final.json", to, name, 0) == -1
            && ngx_errno != NGX_EEXIST)
        {
            ngx_http_batch_disk_error(log, batch_id, "linkat() of", name);
            rc = NGX_ERROR;
        }

        if (rc == NGX_OK) {
            rc = ngx_http_batch_publish_undelete(to, file_id, log);
        }

        ngx_http_batch_disk_close(to);
    }

    ngx_http_batch_disk_close(from);

    if (rc == NGX_OK) {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: manifest of %s linked", batch_id, file_id);
    }

    return rc;
}


/* deleted is deleted: nothing puts a manifest beside a tombstone */

static ngx_int_t
ngx_http_batch_publish_undelete(ngx_fd_t dir, const char *file_id,
    ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_int_t  rc;

    ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE_DEL, file_id, name);

    rc = ngx_http_batch_disk_stat(dir, file_id, name, NULL, log);

    if (rc == 1) {
        ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE, file_id, name);
        (void) ngx_http_batch_disk_unlink(dir, file_id, name, log);

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: was deleted, its manifest is taken back",
                       file_id);

        return NGX_DECLINED;
    }

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


/*
 * Nothing that begins or ends a batch stays beside its tombstone: a key that is
 * used again, or a finalizer that was stopped for long, would bring it back.
 * Whoever did not find the name there has linked it after the tombstone was
 * made, as deletion takes names away after that only.
 */

static ngx_int_t
ngx_http_batch_publish_alive(ngx_fd_t dir, const char *id, const char *name,
    ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_disk_stat(dir, id, "deleted.json", NULL, log);

    if (rc == 1) {
        (void) ngx_http_batch_disk_unlink(dir, id, name, log);

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: was deleted, \"%s\" is taken back", id,
                       name);

        return NGX_DECLINED;
    }

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_batch_publish_input(const char *batch_id, const char *file_id,
    ngx_log_t *log)
{
    ngx_fd_t   from, to;
    ngx_int_t  rc;

    to = ngx_http_batch_layout_must(NGX_HTTP_BATCH_INPUT, batch_id, log);

    if (to == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    from = ngx_http_batch_layout_dir(NGX_HTTP_BATCH_BLOB, file_id, 0, log);

    if (from == NGX_INVALID_FILE) {
        rc = (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;

    } else if (linkat(from, file_id, to, "input", 0) == -1
               && ngx_errno != NGX_EEXIST)
    {
        if (ngx_errno == NGX_ENOENT) {
            rc = NGX_DECLINED;

        } else {
            ngx_http_batch_disk_error(log, batch_id, "linkat() of", "input");
            rc = NGX_ERROR;
        }
    }

    ngx_http_batch_disk_close(from);
    ngx_http_batch_disk_close(to);

    if (rc == NGX_OK) {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: input %s linked", batch_id, file_id);
    }

    return rc;
}
