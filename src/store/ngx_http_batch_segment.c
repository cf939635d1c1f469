
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk: a batch's work files (segments and seals).
 */


#include "ngx_http_batch_disk.h"

#include <dirent.h>


typedef struct {
    uint32_t     chunk;
    ngx_uint_t   seals;
    uint32_t    *epochs;
    size_t       n;
    size_t       nalloc;
} ngx_http_batch_epochs_t;


static void
ngx_http_batch_work_name(uint32_t chunk, uint32_t epoch, ngx_uint_t seal,
    char name[NGX_HTTP_BATCH_NAME_LEN])
{
    (void) ngx_slprintf((u_char *) name,
                        (u_char *) name + NGX_HTTP_BATCH_NAME_LEN,
                        "c%uD.%uD.%s%Z", chunk, epoch, seal ? "seal" : "seg");
}


/* "c<chunk>.<epoch>.seg" or ".seal": 1 and the numbers, else 0 */

static ngx_uint_t
ngx_http_batch_work_parse(const char *name, uint32_t *chunk, uint32_t *epoch,
    ngx_uint_t *seal)
{
    uint64_t     v[2];
    ngx_uint_t   i, digits;
    const char  *p;

    p = name;

    if (*p++ != 'c') {
        return 0;
    }

    for (i = 0; i < 2; i++) {
        v[i] = 0;

        for (digits = 0; *p >= '0' && *p <= '9'; p++, digits++) {
            v[i] = v[i] * 10 + (*p - '0');

            if (v[i] > NGX_MAX_UINT32_VALUE) {
                return 0;
            }
        }

        if (digits == 0 || *p++ != '.') {
            return 0;
        }
    }

    if (ngx_strcmp(p, "seg") == 0) {
        *seal = 0;

    } else if (ngx_strcmp(p, "seal") == 0) {
        *seal = 1;

    } else {
        return 0;
    }

    *chunk = (uint32_t) v[0];
    *epoch = (uint32_t) v[1];

    return 1;
}


static ngx_fd_t
ngx_http_batch_work_dir(const char *batch_id, ngx_log_t *log)
{
    ngx_fd_t  dir;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_META, batch_id, 0, log);

    if (dir == NGX_INVALID_FILE && ngx_errno == NGX_ENOENT) {
        ngx_http_batch_disk_error(log, "opening the directory of", batch_id);
    }

    return dir;
}


ngx_fd_t
ngx_http_batch_segment_create(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir, fd;
    ngx_err_t  err;

    dir = ngx_http_batch_work_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    ngx_http_batch_work_name(chunk, epoch, 0, name);

    /* not O_APPEND: with it Linux' pwrite() ignores the offset */

    fd = ngx_http_batch_disk_openat(dir, name, O_RDWR|O_CREAT|O_EXCL);

    if (fd == NGX_INVALID_FILE) {
        if (ngx_errno != NGX_EEXIST) {
            ngx_http_batch_disk_error(log, "openat()", name);
        }

    } else if (ngx_http_batch_disk_sync_dir(dir) == -1) {

        ngx_http_batch_disk_error(log, "fsync() of the directory of", name);

        err = ngx_errno;
        (void) ngx_close_file(fd);
        ngx_set_errno(err);

        fd = NGX_INVALID_FILE;
    }

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return fd;
}


ngx_fd_t
ngx_http_batch_segment_open(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir, fd;
    ngx_err_t  err;

    dir = ngx_http_batch_work_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    ngx_http_batch_work_name(chunk, epoch, 0, name);

    fd = ngx_http_batch_disk_open(dir, name, log);

    /* what is no file holds no record, and its lines run again */

    err = (fd == NGX_INVALID_FILE && ngx_http_batch_store_damaged())
          ? NGX_ENOENT : ngx_errno;

    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return fd;
}


/* What is not read is sent again, and has been paid for: one error is not
 * enough. */

ssize_t
ngx_http_batch_store_pread(ngx_fd_t fd, void *buf, size_t n, off_t off,
    ngx_log_t *log)
{
    size_t      done;
    ssize_t     got;
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

        if (ngx_errno == NGX_EINTR) {
            continue;
        }

        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      "batch: pread() of a segment failed");

        if (failed++) {
            return -1;
        }
    }

    return (ssize_t) done;
}


/* calls cb for the work files in the open directory, which it closes */

static ngx_int_t
ngx_http_batch_work_walk_dir(ngx_fd_t dir, ngx_http_batch_segment_walk_pt cb,
    void *ctx, ngx_log_t *log)
{
    DIR            *d;
    uint32_t        chunk, epoch;
    ngx_err_t       err;
    ngx_int_t       rc;
    ngx_uint_t      seal;
    struct dirent  *de;

    d = fdopendir(dir);

    if (d == NULL) {
        ngx_http_batch_disk_error(log, "fdopendir()", "batch");
        err = ngx_errno;
        (void) ngx_close_file(dir);
        ngx_set_errno(err);
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for ( ;; ) {
        ngx_set_errno(0);

        de = readdir(d);

        if (de == NULL) {
            if (ngx_errno) {
                ngx_http_batch_disk_error(log, "readdir()", "batch");
                rc = NGX_ERROR;
            }

            break;
        }

        if (!ngx_http_batch_work_parse(de->d_name, &chunk, &epoch, &seal)) {
            continue;
        }

        rc = cb(ctx, chunk, epoch, seal);

        if (rc != NGX_OK) {
            break;
        }
    }

    err = ngx_errno;
    (void) closedir(d);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_segment_walk(const char *batch_id,
    ngx_http_batch_segment_walk_pt cb, void *ctx, ngx_log_t *log)
{
    ngx_fd_t  dir;

    dir = ngx_http_batch_work_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    return ngx_http_batch_work_walk_dir(dir, cb, ctx, log);
}


static ngx_int_t
ngx_http_batch_epochs_add(void *ctx, uint32_t chunk, uint32_t epoch,
    ngx_uint_t seal)
{
    uint32_t                 *p;
    size_t                    n;
    ngx_http_batch_epochs_t  *e = ctx;

    if (chunk != e->chunk || seal != e->seals) {
        return NGX_OK;
    }

    if (e->n == e->nalloc) {
        n = e->nalloc ? e->nalloc * 2 : 8;

        p = realloc(e->epochs, n * sizeof(uint32_t));
        if (p == NULL) {
            return NGX_ERROR;
        }

        e->epochs = p;
        e->nalloc = n;
    }

    e->epochs[e->n++] = epoch;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_batch_epochs_cmp(const void *one, const void *two)
{
    uint32_t  a, b;

    a = *(const uint32_t *) one;
    b = *(const uint32_t *) two;

    return (a > b) - (a < b);
}


ngx_int_t
ngx_http_batch_segment_epochs(const char *batch_id, uint32_t chunk,
    ngx_uint_t seals, uint32_t **epochs, ngx_log_t *log)
{
    ngx_http_batch_epochs_t  e;

    ngx_memzero(&e, sizeof(ngx_http_batch_epochs_t));

    e.chunk = chunk;
    e.seals = seals ? 1 : 0;

    *epochs = NULL;

    /* one element more than none: the caller always has a block to free */

    e.epochs = ngx_alloc(8 * sizeof(uint32_t), log);
    if (e.epochs == NULL) {
        return NGX_ERROR;
    }

    e.nalloc = 8;

    if (ngx_http_batch_segment_walk(batch_id, ngx_http_batch_epochs_add,
                                       &e, log)
        != NGX_OK)
    {
        ngx_free(e.epochs);
        return NGX_ERROR;
    }

    ngx_qsort(e.epochs, e.n, sizeof(uint32_t), ngx_http_batch_epochs_cmp);

    *epochs = e.epochs;

    return e.n;
}


ngx_int_t
ngx_http_batch_seal_publish(const char *batch_id, uint32_t chunk,
    uint32_t epoch, const void *data, size_t len, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN], tmp[NGX_HTTP_BATCH_TMP_LEN];
    ngx_fd_t   dir, fd;
    ngx_err_t  err;
    ngx_int_t  rc;

    dir = ngx_http_batch_work_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    fd = ngx_http_batch_store_tmp(tmp, log);

    if (fd != NGX_INVALID_FILE) {

        if (ngx_http_batch_store_write(fd, data, len, 0, log) == NGX_OK) {
            ngx_http_batch_work_name(chunk, epoch, 1, name);

            rc = ngx_http_batch_disk_link(dir, name, fd, tmp, 1, log);

        } else {
            ngx_http_batch_store_tmp_delete(tmp, log);
        }

        err = ngx_errno;
        (void) ngx_close_file(fd);
        ngx_set_errno(err);
    }

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_seal_read(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_str_t *data, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_err_t  err;
    ngx_int_t  rc;

    ngx_str_null(data);

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_META, batch_id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    ngx_http_batch_work_name(chunk, epoch, 1, name);

    rc = ngx_http_batch_disk_read(dir, name, NGX_HTTP_BATCH_SEAL_MAX, data,
                                  log);

    if (rc == NGX_ERROR && ngx_http_batch_store_damaged()) {
        rc = NGX_DECLINED;
    }

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_seal_delete(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_log_t *log)
{
    char       name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t   dir;
    ngx_int_t  rc;

    dir = ngx_http_batch_work_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    ngx_http_batch_work_name(chunk, epoch, 1, name);

    rc = ngx_http_batch_disk_unlink(dir, name, log);

    (void) ngx_close_file(dir);

    return rc;
}


typedef struct {
    ngx_fd_t    dir;
    ngx_log_t  *log;
} ngx_http_batch_work_delete_t;


static ngx_int_t
ngx_http_batch_work_delete(void *ctx, uint32_t chunk, uint32_t epoch,
    ngx_uint_t seal)
{
    char                           name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_http_batch_work_delete_t  *del = ctx;

    ngx_http_batch_work_name(chunk, epoch, seal, name);

    return ngx_http_batch_disk_unlink(del->dir, name, del->log);
}


ngx_int_t
ngx_http_batch_delete_work(const char *batch_id, ngx_log_t *log)
{
    ngx_fd_t                      dir, copy;
    ngx_int_t                     rc;
    ngx_http_batch_work_delete_t  del;

    dir = ngx_http_batch_work_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    copy = ngx_http_batch_disk_openat(dir, ".", O_RDONLY|O_DIRECTORY);

    if (copy != NGX_INVALID_FILE) {
        del.dir = dir;
        del.log = log;

        rc = ngx_http_batch_work_walk_dir(copy, ngx_http_batch_work_delete,
                                          &del, log);
    }

    if (ngx_http_batch_disk_unlink(dir, "input", log) != NGX_OK) {
        rc = NGX_ERROR;
    }

    (void) ngx_close_file(dir);

    return rc;
}
