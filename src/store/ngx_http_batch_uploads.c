
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk: uploads, their parts, and how parts become a file.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_batch_disk.h"
#include "ngx_http_batch_uploads.h"
#include "ngx_http_batch_task.h"

#include <dirent.h>
#include <sys/sendfile.h>


#define NGX_HTTP_BATCH_JOIN_PIECE   (1024 * 1024)        /* through memory */
#define NGX_HTTP_BATCH_JOIN_CHUNK   (16 * 1024 * 1024)   /* by the system */


typedef enum {
    NGX_HTTP_BATCH_JOIN_RANGE = 0,
    NGX_HTTP_BATCH_JOIN_SENDFILE,
    NGX_HTTP_BATCH_JOIN_MEMORY
} ngx_http_batch_join_e;


static ngx_uint_t ngx_http_batch_uploads_is(batch_id_kind_e kind,
    const char *name);
static DIR *ngx_http_batch_uploads_opendir(const char *id, ngx_log_t *log);
static ngx_int_t ngx_http_batch_join(ngx_fd_t in, off_t size, ngx_fd_t out,
    off_t *off, const char *name, ngx_log_t *log);
static ssize_t ngx_http_batch_join_some(ngx_http_batch_join_e *how,
    ngx_fd_t in, off_t in_off, ngx_fd_t out, off_t out_off, size_t n,
    u_char **buf);
static void ngx_http_batch_uploads_unlink(const char *id, ngx_uint_t all,
    ngx_log_t *log);


static ngx_uint_t
ngx_http_batch_uploads_is(batch_id_kind_e kind, const char *name)
{
    size_t  len;

    len = ngx_strlen(name);

    return len < BATCH_ID_LEN
           && batch_id_check(kind, (const u_char *) name, len);
}


ngx_int_t
ngx_http_batch_uploads_load(const char *id, int64_t now,
    ngx_http_batch_upload_state_t *st, ngx_log_t *log)
{
    ngx_int_t    rc;
    ngx_str_t    data;
    const char  *was;

    ngx_memzero(st, sizeof(ngx_http_batch_upload_state_t));

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_UPLOAD, id,
                                   NGX_HTTP_BATCH_UPLOAD_JSON_MAX, &data, log);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_batch_uploads_decode(&st->upload, data.data, data.len,
                                      &st->root);
    ngx_free(data.data);

    if (rc != NGX_OK || ngx_strcmp(st->upload.id, id) != 0) {
        goto malformed;
    }

    rc = ngx_http_batch_store_read(NGX_HTTP_BATCH_UPLOAD_END, id,
                                   NGX_HTTP_BATCH_UPLOAD_JSON_MAX, &data, log);

    if (rc == NGX_DECLINED) {
        st->status = (st->upload.expires_at <= now)
                     ? NGX_HTTP_BATCH_UPLOAD_EXPIRED
                     : NGX_HTTP_BATCH_UPLOAD_PENDING;
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        ngx_http_batch_uploads_free(st);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_uploads_end_decode(&st->status, &st->parts, &st->file,
                                          data.data, data.len, &st->end);
    ngx_free(data.data);

    if (rc == NGX_OK) {
        was = json_string_value(json_object_get(st->end, "id"));

        if (was && ngx_strcmp(was, id) == 0) {
            return NGX_OK;
        }
    }

malformed:

    if (!ngx_http_batch_store_damaged()) {
        ngx_http_batch_uploads_free(st);
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_ALERT, log, 0,
                  "batch store: malformed JSON of \"%s\"", id);

    ngx_http_batch_uploads_free(st);
    ngx_set_errno(EBADMSG);

    return NGX_ERROR;
}


void
ngx_http_batch_uploads_free(ngx_http_batch_upload_state_t *st)
{
    ngx_err_t  err;

    err = ngx_errno;

    json_decref(st->root);
    json_decref(st->end);

    st->root = NULL;
    st->end = NULL;

    ngx_set_errno(err);
}


ngx_int_t
ngx_http_batch_uploads_end(const char *id,
    ngx_http_batch_upload_status_e status, const char *parts,
    const ngx_http_batch_file_t *f, ngx_log_t *log)
{
    ngx_err_t  err;
    ngx_int_t  rc;
    ngx_str_t  text;

    text = ngx_http_batch_uploads_end_encode(id, status, parts, f);

    if (text.data == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_UPLOAD_END, id, text.data,
                                      text.len, log);
    err = ngx_errno;
    free(text.data);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_parts_publish(const char *id, const char *part,
    ngx_fd_t fd, const char *tmp, ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_err_t  err;
    ngx_int_t  rc;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        err = ngx_errno;
        ngx_http_batch_store_tmp_delete(tmp, log);
        ngx_set_errno(err);

        return err == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    rc = ngx_http_batch_disk_link(dir, part, fd, tmp, 0, log);

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


static DIR *
ngx_http_batch_uploads_opendir(const char *id, ngx_log_t *log)
{
    DIR        *d;
    ngx_fd_t    fd;
    ngx_err_t   err;

    fd = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (fd == NGX_INVALID_FILE) {
        return NULL;
    }

    d = fdopendir(fd);

    if (d == NULL) {
        ngx_http_batch_disk_error(log, "fdopendir()", id);
        err = ngx_errno;
        (void) ngx_close_file(fd);
        ngx_set_errno(err);
    }

    return d;
}


ngx_int_t
ngx_http_batch_parts_sum(const char *id, ngx_uint_t *n, off_t *bytes,
    ngx_log_t *log)
{
    DIR            *d;
    struct stat     st;
    struct dirent  *de;

    *n = 0;
    *bytes = 0;

    d = ngx_http_batch_uploads_opendir(id, log);

    if (d == NULL) {
        return NGX_ERROR;
    }

    while ((de = readdir(d)) != NULL) {

        if (ngx_http_batch_uploads_is(BATCH_ID_PART, de->d_name)
            && fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        {
            *n += 1;
            *bytes += st.st_size;
        }
    }

    (void) closedir(d);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_parts_size(const char *id, const char *part, off_t *bytes,
    ngx_log_t *log)
{
    ngx_fd_t     dir;
    ngx_err_t    err;
    ngx_int_t    rc;
    struct stat  st;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    rc = NGX_OK;

    if (fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) == -1) {
        rc = (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;

        if (rc == NGX_ERROR) {
            ngx_http_batch_disk_error(log, "fstatat()", part);
        }

    } else {
        *bytes = st.st_size;
    }

    err = ngx_errno;
    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_parts_append(const char *id, const char *part, ngx_fd_t fd,
    off_t *off, ngx_log_t *log)
{
    ngx_fd_t     dir, in;
    ngx_err_t    err;
    ngx_int_t    rc;
    struct stat  st;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    in = ngx_http_batch_disk_openat(dir, part, O_RDONLY|O_NONBLOCK);

    if (in == NGX_INVALID_FILE) {
        rc = (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;

        if (rc == NGX_ERROR) {
            ngx_http_batch_disk_error(log, "openat()", part);
        }

    } else if (fstat(in, &st) == -1) {
        ngx_http_batch_disk_error(log, "fstat()", part);
        rc = NGX_ERROR;

    } else {
        rc = ngx_http_batch_join(in, st.st_size, fd, off, part, log);
    }

    err = ngx_errno;

    if (in != NGX_INVALID_FILE) {
        (void) ngx_close_file(in);
    }

    (void) ngx_close_file(dir);
    ngx_set_errno(err);

    return rc;
}


static ngx_int_t
ngx_http_batch_join(ngx_fd_t in, off_t size, ngx_fd_t out, off_t *off,
    const char *name, ngx_log_t *log)
{
    off_t                   done;
    u_char                 *buf;
    ssize_t                 n;
    ngx_err_t               err;
    ngx_int_t               rc;
    ngx_http_batch_join_e   how;

    buf = NULL;
    how = NGX_HTTP_BATCH_JOIN_RANGE;
    rc = NGX_OK;

    for (done = 0; done < size; done += n) {

        if (ngx_http_batch_task_stop()) {
            rc = NGX_ABORT;
            break;
        }

        n = ngx_http_batch_join_some(&how, in, done, out, *off,
                                     (size_t) ngx_min(size - done,
                                                   NGX_HTTP_BATCH_JOIN_CHUNK),
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
        ngx_http_batch_disk_error(log, "copying of", name);
        rc = NGX_ERROR;
        break;
    }

    if (buf) {
        err = ngx_errno;
        ngx_free(buf);
        ngx_set_errno(err);
    }

    return rc;
}


/* As copy_file_range(); *how goes on to the next way when one is not to be had.
 * NGX_EAGAIN: it did. */

static ssize_t
ngx_http_batch_join_some(ngx_http_batch_join_e *how, ngx_fd_t in, off_t in_off,
    ngx_fd_t out, off_t out_off, size_t n, u_char **buf)
{
    ssize_t  done;

    switch (*how) {

    case NGX_HTTP_BATCH_JOIN_RANGE:

        done = copy_file_range(in, &in_off, out, &out_off, n, 0);
        break;

    case NGX_HTTP_BATCH_JOIN_SENDFILE:

        if (lseek(out, out_off, SEEK_SET) == -1) {
            return -1;
        }

        done = sendfile(out, in, &in_off, n);
        break;

    default: /* NGX_HTTP_BATCH_JOIN_MEMORY */

        if (*buf == NULL) {
            *buf = ngx_alloc(NGX_HTTP_BATCH_JOIN_PIECE, ngx_cycle->log);
            if (*buf == NULL) {
                ngx_set_errno(NGX_ENOMEM);
                return -1;
            }
        }

        done = pread(in, *buf, ngx_min(n, NGX_HTTP_BATCH_JOIN_PIECE), in_off);

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


ngx_int_t
ngx_http_batch_parts_publish_joined(const char *id, const char *file_id,
    ngx_fd_t fd, const char *tmp, ngx_log_t *log)
{
    /* the same as a part: a name in the upload's directory */

    return ngx_http_batch_parts_publish(id, file_id, fd, tmp, log);
}


void
ngx_http_batch_parts_delete_joined(const char *id, const char *file_id,
    ngx_log_t *log)
{
    ngx_fd_t   dir;
    ngx_err_t  err;

    err = ngx_errno;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir != NGX_INVALID_FILE) {
        (void) ngx_http_batch_disk_unlink(dir, file_id, log);
        (void) ngx_close_file(dir);
    }

    ngx_set_errno(err);
}


static ngx_int_t
ngx_http_batch_uploads_link_blob(const char *id, const char *file_id,
    ngx_log_t *log)
{
    ngx_fd_t   from, to;
    ngx_err_t  err;
    ngx_int_t  rc;

    from = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (from == NGX_INVALID_FILE) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    to = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_BLOB, file_id, 1, log);

    if (to == NGX_INVALID_FILE) {
        rc = NGX_ERROR;
        goto done;
    }

    rc = NGX_OK;

    if (linkat(from, file_id, to, file_id, 0) == -1
        && ngx_errno != NGX_EEXIST)
    {
        rc = (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;

        if (rc == NGX_ERROR) {
            ngx_http_batch_disk_error(log, "linkat() of", file_id);
        }

    } else if (ngx_http_batch_disk_sync_dir(to) == -1) {
        ngx_http_batch_disk_error(log, "fsync() of the directory of",
                                  file_id);
        rc = NGX_ERROR;
    }

    err = ngx_errno;
    (void) ngx_close_file(to);
    ngx_set_errno(err);

done:

    err = ngx_errno;
    (void) ngx_close_file(from);
    ngx_set_errno(err);

    return rc;
}


ngx_int_t
ngx_http_batch_uploads_finish(const char *id,
    const ngx_http_batch_file_t *f, ngx_uint_t *made, ngx_log_t *log)
{
    ngx_err_t  err;
    ngx_int_t  rc;
    ngx_str_t  text;

    *made = 0;

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE_DEL, f->id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_DECLINED : NGX_ERROR;
    }

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE, f->id, log);

    if (rc != 0) {
        return rc == 1 ? NGX_OK : NGX_ERROR;
    }

    rc = ngx_http_batch_uploads_link_blob(id, f->id, log);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED
        && ngx_http_batch_store_exists(NGX_HTTP_BATCH_BLOB, f->id, log) != 1)
    {
        /* somebody has just finished it, and the file was deleted then; a
         * manifest without a blob must not come back */

        return NGX_DECLINED;
    }

    text = ngx_http_batch_file_encode(f);

    if (text.data == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_FILE, f->id, text.data,
                                      text.len, log);
    err = ngx_errno;
    free(text.data);
    ngx_set_errno(err);

    if (rc == NGX_OK) {
        *made = 1;
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    /* somebody was first, with the manifest or with the tombstone */

    rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_FILE_DEL, f->id, log);

    if (rc == 1) {
        (void) ngx_http_batch_delete_blob(f->id, log);
        return NGX_DECLINED;
    }

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_batch_uploads_unlink(const char *id, ngx_uint_t all, ngx_log_t *log)
{
    DIR            *d;
    struct dirent  *de;

    d = ngx_http_batch_uploads_opendir(id, log);

    if (d == NULL) {
        return;
    }

    while ((de = readdir(d)) != NULL && !ngx_http_batch_task_quit()) {

        if (de->d_name[0] == '.') {
            continue;
        }

        if (all
            || ngx_http_batch_uploads_is(BATCH_ID_PART, de->d_name)
            || ngx_http_batch_uploads_is(BATCH_ID_FILE, de->d_name))
        {
            (void) ngx_http_batch_disk_unlink(dirfd(d), de->d_name, log);
        }
    }

    (void) closedir(d);
}


void
ngx_http_batch_uploads_clean(const char *id, ngx_log_t *log)
{
    ngx_http_batch_uploads_unlink(id, 0, log);
}


void
ngx_http_batch_uploads_delete(const char *id, ngx_log_t *log)
{
    char       shard[3], path[BATCH_ID_LEN + 4];
    ngx_fd_t   dir;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return;
    }

    /* without it there is no upload, however far we get */

    (void) ngx_http_batch_disk_unlink(dir, "upload.json", log);
    (void) ngx_close_file(dir);

    ngx_http_batch_uploads_unlink(id, 1, log);

    ngx_memcpy(shard, strpbrk(id, "-_") + 1, 2);
    shard[2] = '\0';

    (void) ngx_slprintf((u_char *) path, (u_char *) path + sizeof(path),
                        "%s/%s%Z", shard, id);

    if (unlinkat(ngx_http_batch_dirs[NGX_HTTP_BATCH_DIR_UPLOADS], path,
                 AT_REMOVEDIR)
        == -1
        && ngx_errno != NGX_ENOENT && ngx_errno != ENOTEMPTY)
    {
        ngx_http_batch_disk_error(log, "unlinkat()", path);
    }
}


ngx_uint_t
ngx_http_batch_uploads_old(const char *id, time_t age, ngx_log_t *log)
{
    ngx_fd_t     dir;
    ngx_uint_t   old;
    struct stat  st;

    dir = ngx_http_batch_disk_dir(NGX_HTTP_BATCH_UPLOAD, id, 0, log);

    if (dir == NGX_INVALID_FILE) {
        return 0;
    }

    old = (fstat(dir, &st) == 0 && st.st_mtime < time(NULL) - age);

    (void) ngx_close_file(dir);

    return old;
}
