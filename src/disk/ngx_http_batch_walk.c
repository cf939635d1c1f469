
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * All objects of a kind, one after the other.
 */


#include "ngx_http_batch_disk.h"


struct ngx_http_batch_walk_s {
    batch_id_kind_e                kind;
    ngx_http_batch_walk_shards_t   shards;
};


static ngx_int_t ngx_http_batch_walk_match(ngx_http_batch_walk_t *w,
    const char *name, char id[BATCH_ID_LEN], ngx_log_t *log);


ngx_int_t
ngx_http_batch_walk_shards_open(ngx_http_batch_walk_shards_t *w,
    ngx_uint_t room, ngx_log_t *log)
{
    w->shard = NULL;
    w->room = ngx_http_batch_disk_opendir(ngx_http_batch_layout_dirs[room],
                                          ngx_http_batch_layout_names[room],
                                          ".", log);

    return w->room ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_batch_walk_shards_next(ngx_http_batch_walk_shards_t *w,
    const char **name, ngx_log_t *log)
{
    if (w->shard) {
        *name = ngx_http_batch_disk_readdir(w->shard, "store", log);

        if (*name) {
            return NGX_OK;
        }

        if (ngx_errno) {
            return NGX_ERROR;
        }

        (void) closedir(w->shard);
        w->shard = NULL;

        return NGX_AGAIN;
    }

    *name = ngx_http_batch_disk_readdir(w->room, "store", log);

    if (*name == NULL) {
        return ngx_errno ? NGX_ERROR : NGX_DONE;
    }

    if (ngx_strlen(*name) == 2) {
        w->shard = ngx_http_batch_disk_opendir(dirfd(w->room), "store", *name,
                                               log);
        if (w->shard == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_AGAIN;
}


void
ngx_http_batch_walk_shards_close(ngx_http_batch_walk_shards_t *w)
{
    if (w->shard) {
        ngx_http_batch_disk_closedir(w->shard);
        w->shard = NULL;
    }

    if (w->room) {
        ngx_http_batch_disk_closedir(w->room);
        w->room = NULL;
    }
}


ngx_http_batch_walk_t *
ngx_http_batch_walk_open(batch_id_kind_e kind, ngx_log_t *log)
{
    ngx_http_batch_walk_t  *w;

    w = ngx_calloc(sizeof(ngx_http_batch_walk_t), log);
    if (w == NULL) {
        return NULL;
    }

    w->kind = kind;

    if (ngx_http_batch_walk_shards_open(&w->shards,
                                        ngx_http_batch_layout_rooms[kind], log)
        != NGX_OK)
    {
        ngx_free(w);
        return NULL;
    }

    return w;
}


void
ngx_http_batch_walk_close(ngx_http_batch_walk_t *w)
{
    ngx_http_batch_walk_shards_close(&w->shards);

    ngx_free(w);
}


ngx_int_t
ngx_http_batch_walk_next(ngx_http_batch_walk_t *w, char id[BATCH_ID_LEN],
    ngx_log_t *log)
{
    ngx_int_t    rc;
    const char  *name;

    for ( ;; ) {
        rc = ngx_http_batch_walk_shards_next(&w->shards, &name, log);

        if (rc == NGX_AGAIN) {
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        rc = ngx_http_batch_walk_match(w, name, id, log);

        if (rc != 0) {
            return rc == 1 ? NGX_OK : NGX_ERROR;
        }
    }
}


/* the name is that of an object of the kind: 1 and its id; 0: it is not;
 * NGX_ERROR: that cannot be told */

static ngx_int_t
ngx_http_batch_walk_match(ngx_http_batch_walk_t *w, const char *name,
    char id[BATCH_ID_LEN], ngx_log_t *log)
{
    char         other[NGX_HTTP_BATCH_NAME_LEN];
    size_t       len;
    ngx_fd_t     dir;
    ngx_int_t    rc;
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

    dir = dirfd(w->shards.shard);

    if (w->kind == BATCH_ID_BATCH) {
        (void) ngx_slprintf((u_char *) other,
                            (u_char *) other + NGX_HTTP_BATCH_NAME_LEN,
                            "%s/deleted.json%Z", id);

        if (fstatat(dir, other, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            return 0;
        }

        if (ngx_errno != NGX_ENOENT && !ngx_http_batch_store_damaged()) {
            ngx_http_batch_disk_error(log, id, "fstatat()", other);
            return NGX_ERROR;
        }

        (void) ngx_slprintf((u_char *) other,
                            (u_char *) other + NGX_HTTP_BATCH_NAME_LEN,
                            "%s/batch.json%Z", id);

        if (fstatat(dir, other, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            return 1;
        }

        /* a directory without it is a creation that never happened */

        if (ngx_errno == NGX_ENOENT || ngx_http_batch_store_damaged()) {
            return 0;
        }

        ngx_http_batch_disk_error(log, id, "fstatat()", other);
        return NGX_ERROR;
    }

    ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE_DEL, id, other);

    rc = ngx_http_batch_disk_stat(dir, id, other, NULL, log);

    if (rc == 1) {

        /* a deletion that was cut short after its commit point: finish it */

        (void) unlinkat(dir, name, 0);
        (void) unlinkat(dir, id, 0);

        return 0;
    }

    return rc == 0 ? 1 : NGX_ERROR;
}
