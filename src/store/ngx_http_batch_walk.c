
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk: all objects of a kind, one after the other.
 */


#include "ngx_http_batch_disk.h"

#include <dirent.h>


struct ngx_http_batch_walk_s {
    batch_id_kind_e   kind;
    DIR              *room;
    DIR              *shard;       /* NULL: open the next one */
};


static DIR *
ngx_http_batch_walk_opendir(ngx_fd_t dir, const char *name, ngx_log_t *log)
{
    DIR        *d;
    ngx_fd_t    fd;
    ngx_err_t   err;

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_DIRECTORY);

    if (fd == NGX_INVALID_FILE) {
        ngx_http_batch_disk_error(log, "openat()", name);
        return NULL;
    }

    d = fdopendir(fd);

    if (d == NULL) {
        ngx_http_batch_disk_error(log, "fdopendir()", name);
        err = ngx_errno;
        (void) ngx_close_file(fd);
        ngx_set_errno(err);
    }

    return d;
}


ngx_http_batch_walk_t *
ngx_http_batch_walk_open(batch_id_kind_e kind, ngx_log_t *log)
{
    ngx_uint_t              room;
    ngx_http_batch_walk_t  *w;

    w = ngx_calloc(sizeof(ngx_http_batch_walk_t), log);
    if (w == NULL) {
        return NULL;
    }

    if (kind == BATCH_ID_BATCH) {
        room = NGX_HTTP_BATCH_DIR_BATCHES;

    } else if (kind == BATCH_ID_UPLOAD) {
        room = NGX_HTTP_BATCH_DIR_UPLOADS;

    } else {
        room = NGX_HTTP_BATCH_DIR_FILES;
    }

    w->kind = kind;
    w->room = ngx_http_batch_walk_opendir(ngx_http_batch_dirs[room], ".",
                                          log);
    if (w->room == NULL) {
        ngx_free(w);
        return NULL;
    }

    return w;
}


void
ngx_http_batch_walk_close(ngx_http_batch_walk_t *w)
{
    if (w->shard) {
        (void) closedir(w->shard);
    }

    (void) closedir(w->room);

    ngx_free(w);
}


/* the name is that of an object of the kind: 1 and its id; 0: it is not;
 * NGX_ERROR: that cannot be told */

static ngx_int_t
ngx_http_batch_walk_match(ngx_http_batch_walk_t *w, const char *name,
    char id[BATCH_ID_LEN], ngx_log_t *log)
{
    size_t       len;
    ngx_fd_t     dir;
    char         other[NGX_HTTP_BATCH_NAME_LEN];
    struct stat  st;

    len = ngx_strlen(name);

    if (w->kind == BATCH_ID_FILE) {

        if (len <= 5 || ngx_strcmp(name + len - 5, ".json") != 0) {
            return 0;
        }

        len -= 5;
    }

    if (len >= BATCH_ID_LEN
        || !batch_id_check(w->kind, (const u_char *) name, len))
    {
        return 0;
    }

    ngx_memcpy(id, name, len);
    id[len] = '\0';

    if (w->kind == BATCH_ID_UPLOAD) {
        return 1;
    }

    dir = dirfd(w->shard);

    if (w->kind == BATCH_ID_BATCH) {
        (void) ngx_slprintf((u_char *) other,
                            (u_char *) other + NGX_HTTP_BATCH_NAME_LEN,
                            "%s/batch.json%Z", id);

        /* a directory without it is a creation that never happened */

        if (fstatat(dir, other, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            return 1;
        }

        if (ngx_errno == NGX_ENOENT || ngx_http_batch_store_damaged()) {
            return 0;
        }

        ngx_http_batch_disk_error(log, "fstatat()", other);
        return NGX_ERROR;
    }

    ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE_DEL, id, other);

    if (fstatat(dir, other, &st, AT_SYMLINK_NOFOLLOW) == -1) {

        if (ngx_errno == NGX_ENOENT) {
            return 1;
        }

        ngx_http_batch_disk_error(log, "fstatat()", other);
        return NGX_ERROR;
    }

    /* a deletion that was cut short behind its commit point: finish it */

    (void) unlinkat(dir, name, 0);
    (void) unlinkat(dir, id, 0);

    return 0;
}


ngx_int_t
ngx_http_batch_walk_next(ngx_http_batch_walk_t *w, char id[BATCH_ID_LEN],
    ngx_log_t *log)
{
    ngx_int_t       rc;
    struct dirent  *de;

    for ( ;; ) {

        if (w->shard == NULL) {
            ngx_set_errno(0);

            de = readdir(w->room);

            if (de == NULL) {
                if (ngx_errno) {
                    ngx_http_batch_disk_error(log, "readdir()", "store");
                    return NGX_ERROR;
                }

                return NGX_DONE;
            }

            if (de->d_name[0] == '.' || ngx_strlen(de->d_name) != 2) {
                continue;
            }

            w->shard = ngx_http_batch_walk_opendir(dirfd(w->room), de->d_name,
                                                   log);
            if (w->shard == NULL) {
                return NGX_ERROR;
            }
        }

        ngx_set_errno(0);

        de = readdir(w->shard);

        if (de == NULL) {
            if (ngx_errno) {
                ngx_http_batch_disk_error(log, "readdir()", "shard");
                return NGX_ERROR;
            }

            (void) closedir(w->shard);
            w->shard = NULL;
            continue;
        }

        rc = ngx_http_batch_walk_match(w, de->d_name, id, log);

        if (rc != 0) {
            return rc == 1 ? NGX_OK : NGX_ERROR;
        }
    }
}


ngx_int_t
ngx_http_batch_walk(batch_id_kind_e kind,
    ngx_http_batch_walk_pt cb, void *ctx, ngx_log_t *log)
{
    char                    id[BATCH_ID_LEN];
    ngx_int_t               rc;
    ngx_http_batch_walk_t  *w;

    w = ngx_http_batch_walk_open(kind, log);

    if (w == NULL) {
        return NGX_ERROR;
    }

    for ( ;; ) {
        rc = ngx_http_batch_walk_next(w, id, log);

        if (rc != NGX_OK) {
            rc = (rc == NGX_DONE) ? NGX_OK : NGX_ERROR;
            break;
        }

        rc = cb(ctx, id, log);

        if (rc != NGX_OK) {
            break;
        }
    }

    ngx_http_batch_walk_close(w);

    return rc;
}
