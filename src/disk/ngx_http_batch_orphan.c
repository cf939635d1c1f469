
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What crashes have left.
 */


#include "ngx_http_batch_disk.h"


struct ngx_http_batch_orphans_s {
    ngx_uint_t                     room;
    ngx_http_batch_walk_shards_t   shards;
    time_t                         old;      /* what was not touched since,
                                                counts */
    ngx_uint_t                     unsure;
};


static ngx_int_t ngx_http_batch_orphan_name(ngx_http_batch_orphans_t *o,
    const char *name, char id[BATCH_ID_LEN], ngx_log_t *log);
static ngx_int_t ngx_http_batch_orphan_batch(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, const char *id, ngx_log_t *log);
static void ngx_http_batch_orphan_deleted(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, ngx_fd_t dir, const char *id, time_t at, ngx_log_t *log);
static void ngx_http_batch_orphan_file(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, const char *name, ngx_log_t *log);
static void ngx_http_batch_orphan_blob(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, const char *id, ngx_log_t *log);
static void ngx_http_batch_orphan_tombstone(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, const char *id, ngx_log_t *log);


ngx_http_batch_orphans_t *
ngx_http_batch_orphan_open(ngx_log_t *log)
{
    ngx_http_batch_orphans_t  *o;

    o = ngx_calloc(sizeof(ngx_http_batch_orphans_t), log);
    if (o == NULL) {
        return NULL;
    }

    /* batches first: what they name must have its manifest when it is met */

    o->room = NGX_HTTP_BATCH_DIR_BATCHES;
    o->old = time(NULL) - NGX_HTTP_BATCH_ORPHAN_AGE;

    if (ngx_http_batch_walk_shards_open(&o->shards, o->room, log) != NGX_OK) {
        ngx_free(o);
        return NULL;
    }

    return o;
}


void
ngx_http_batch_orphan_close(ngx_http_batch_orphans_t *o)
{
    ngx_http_batch_walk_shards_close(&o->shards);

    ngx_free(o);
}


void
ngx_http_batch_orphan_unsure(ngx_http_batch_orphans_t *o)
{
    o->unsure = 1;
}


ngx_int_t
ngx_http_batch_orphan_next(ngx_http_batch_orphans_t *o, char id[BATCH_ID_LEN],
    ngx_log_t *log)
{
    ngx_int_t    rc;
    const char  *name;

    rc = ngx_http_batch_walk_shards_next(&o->shards, &name, log);

    if (rc == NGX_OK) {
        return ngx_http_batch_orphan_name(o, name, id, log);
    }

    if (rc != NGX_DONE || o->room == NGX_HTTP_BATCH_DIR_FILES) {
        return rc;
    }

    ngx_http_batch_walk_shards_close(&o->shards);

    o->room = NGX_HTTP_BATCH_DIR_FILES;

    return ngx_http_batch_walk_shards_open(&o->shards, o->room, log) == NGX_OK
           ? NGX_AGAIN : NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_orphan_name(ngx_http_batch_orphans_t *o, const char *name,
    char id[BATCH_ID_LEN], ngx_log_t *log)
{
    size_t    len;
    ngx_fd_t  shard;

    shard = dirfd(o->shards.shard);
    len = ngx_strlen(name);

    if (o->room == NGX_HTTP_BATCH_DIR_FILES) {
        ngx_http_batch_orphan_file(o, shard, name, log);
        return NGX_AGAIN;
    }

    if (len >= BATCH_ID_LEN
        || !batch_id_check(BATCH_ID_BATCH, (const u_char *) name, len))
    {
        return NGX_AGAIN;
    }

    ngx_memcpy(id, name, len + 1);

    return ngx_http_batch_orphan_batch(o, shard, id, log);
}


static ngx_int_t
ngx_http_batch_orphan_batch(ngx_http_batch_orphans_t *o, ngx_fd_t shard,
    const char *id, ngx_log_t *log)
{
    ngx_fd_t     dir;
    ngx_int_t    rc;
    struct stat  st;

    dir = ngx_http_batch_disk_openat(shard, id, O_RDONLY|O_DIRECTORY);

    if (dir == NGX_INVALID_FILE) {
        if (ngx_errno != NGX_ENOENT) {
            ngx_http_batch_disk_error(log, id, "openat()", id);
            o->unsure = 1;
        }

        return NGX_AGAIN;
    }

    rc = ngx_http_batch_disk_stat(dir, id, "deleted.json", &st, log);

    if (rc == 1) {
        ngx_http_batch_orphan_deleted(o, shard, dir, id, st.st_mtime, log);
        (void) ngx_close_file(dir);

        return NGX_AGAIN;
    }

    if (rc == 0) {
        rc = ngx_http_batch_disk_stat(dir, id, "final.json", &st, log);
    }

    if (rc == 1) {
        rc = NGX_OK;

    } else if (rc == NGX_ERROR) {
        o->unsure = 1;
        rc = NGX_AGAIN;

    } else {
        rc = NGX_AGAIN;

        /* a creation that died between the directory and its commit; one that
         * is not empty stays, as rmdir() sees to it */

        if (ngx_http_batch_disk_stat(dir, id, "batch.json", &st, log) == 0
            && fstat(dir, &st) == 0
            && st.st_mtime < o->old)
        {
            if (unlinkat(shard, id, AT_REMOVEDIR) == 0) {
                ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                               "batch: %s: was never created, directory "
                               "deleted", id);
            }
        }
    }

    (void) ngx_close_file(dir);

    return rc;
}


/* finishes the deletion; the tombstone goes last, when nobody is left who could
 * put a name beside it, and a power cut brings none back */

static void
ngx_http_batch_orphan_deleted(ngx_http_batch_orphans_t *o, ngx_fd_t shard,
    ngx_fd_t dir, const char *id, time_t at, ngx_log_t *log)
{
    if (ngx_http_batch_delete_rest(id, log) != NGX_OK
        || at >= o->old
        || ngx_http_batch_disk_sync_dir(dir, id, "deleted.json", log)
           != NGX_OK
        || ngx_http_batch_disk_unlink(dir, id, "deleted.json", log) != NGX_OK)
    {
        return;
    }

    /* if it is not empty, it stays: something is not ours */

    if (unlinkat(shard, id, AT_REMOVEDIR) == 0) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: tombstone and directory deleted", id);
    }
}


static void
ngx_http_batch_orphan_file(ngx_http_batch_orphans_t *o, ngx_fd_t shard,
    const char *name, ngx_log_t *log)
{
    char    id[BATCH_ID_LEN];
    size_t  len;

    len = ngx_strlen(name);

    if (len > 4 && ngx_strcmp(name + len - 4, ".del") == 0) {
        len -= 4;
    }

    if (len >= BATCH_ID_LEN
        || !batch_id_check(BATCH_ID_FILE, (const u_char *) name, len))
    {
        return;
    }

    ngx_memcpy(id, name, len);
    id[len] = '\0';

    if (name[len] == '\0') {
        ngx_http_batch_orphan_blob(o, shard, id, log);

    } else {
        ngx_http_batch_orphan_tombstone(o, shard, id, log);
    }
}


static void
ngx_http_batch_orphan_blob(ngx_http_batch_orphans_t *o, ngx_fd_t shard,
    const char *id, ngx_log_t *log)
{
    char         other[NGX_HTTP_BATCH_NAME_LEN];
    struct stat  blob, st;

    ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE, id, other);

    /*
     * With a second name it is an upload's that is not finished, or a batch's
     * input.
     */

    if (o->unsure
        || ngx_http_batch_disk_stat(shard, id, id, &blob, log) != 1
        || !S_ISREG(blob.st_mode)
        || blob.st_nlink != 1
        || blob.st_mtime >= o->old
        || ngx_http_batch_disk_stat(shard, id, other, &st, log) != 0)
    {
        return;
    }

    if (ngx_http_batch_disk_unlink(shard, id, id, log) == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "batch: %s: never became a file, blob deleted", id);
    }
}


static void
ngx_http_batch_orphan_tombstone(ngx_http_batch_orphans_t *o, ngx_fd_t shard,
    const char *id, ngx_log_t *log)
{
    char         json[NGX_HTTP_BATCH_NAME_LEN], del[NGX_HTTP_BATCH_NAME_LEN];
    ngx_int_t    rc;
    struct stat  st;

    ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE, id, json);
    ngx_http_batch_layout_name(NGX_HTTP_BATCH_FILE_DEL, id, del);

    /* a deletion that was cut short after its commit point */

    rc = ngx_http_batch_disk_unlink(shard, id, json, log);

    if (ngx_http_batch_disk_unlink(shard, id, id, log) != NGX_OK
        || rc != NGX_OK
        || ngx_http_batch_disk_stat(shard, id, del, &st, log) != 1
        || st.st_mtime >= o->old)
    {
        return;
    }

    /* nothing may come back after it is gone, by a power cut either */

    if (ngx_http_batch_disk_sync_dir(shard, id, del, log) != NGX_OK) {
        return;
    }

    if (ngx_http_batch_disk_unlink(shard, id, del, log) == NGX_OK) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s: tombstone deleted", id);
    }
}
