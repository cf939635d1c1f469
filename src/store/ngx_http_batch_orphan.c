
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The disk: what crashes have left.
 */


#include "ngx_http_batch_disk.h"

#include <dirent.h>


struct ngx_http_batch_orphans_s {
    ngx_uint_t   room;
    DIR         *shards;
    DIR         *shard;        /* NULL: open the next one */
    time_t       old;          /* what was not touched since, counts */
    ngx_uint_t   unsure;
};


static ngx_int_t ngx_http_batch_orphan_name(ngx_http_batch_orphans_t *o,
    const char *name, char id[BATCH_ID_LEN], ngx_log_t *log);
static ngx_int_t ngx_http_batch_orphan_batch(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, const char *id, ngx_log_t *log);
static void ngx_http_batch_orphan_file(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, const char *name, ngx_log_t *log);
static void ngx_http_batch_orphan_blob(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, const char *id, ngx_log_t *log);
static void ngx_http_batch_orphan_tombstone(ngx_http_batch_orphans_t *o,
    ngx_fd_t shard, const char *id, ngx_log_t *log);
static ngx_int_t ngx_http_batch_orphan_stat(ngx_fd_t dir, const char *name,
    struct stat *st, ngx_log_t *log);


static DIR *
ngx_http_batch_orphan_opendir(ngx_fd_t dir, const char *name, ngx_log_t *log)
{
    DIR       *d;
    ngx_fd_t   fd;

    fd = ngx_http_batch_disk_openat(dir, name, O_RDONLY|O_DIRECTORY);

    if (fd == NGX_INVALID_FILE) {
        ngx_http_batch_disk_error(log, "openat()", name);
        return NULL;
    }

    d = fdopendir(fd);

    if (d == NULL) {
        ngx_http_batch_disk_error(log, "fdopendir()", name);
        (void) ngx_close_file(fd);
    }

    return d;
}


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

    o->shards = ngx_http_batch_orphan_opendir(ngx_http_batch_dirs[o->room],
                                              ".", log);
    if (o->shards == NULL) {
        ngx_free(o);
        return NULL;
    }

    return o;
}


void
ngx_http_batch_orphan_close(ngx_http_batch_orphans_t *o)
{
    if (o->shard) {
        (void) closedir(o->shard);
    }

    if (o->shards) {
        (void) closedir(o->shards);
    }

    ngx_free(o);
}


void
ngx_http_batch_orphan_unsure(ngx_http_batch_orphans_t *o)
{
    o->unsure = 1;
}


/* the next name of the walk's directory; NULL: no more, or *rc is NGX_ERROR */

static const char *
ngx_http_batch_orphan_read(DIR *d, ngx_int_t *rc, ngx_log_t *log)
{
    struct dirent  *de;

    do {
        ngx_set_errno(0);

        de = readdir(d);

    } while (de && de->d_name[0] == '.');

    if (de) {
        return de->d_name;
    }

    *rc = NGX_OK;

    if (ngx_errno) {
        ngx_http_batch_disk_error(log, "readdir()", "orphans");
        *rc = NGX_ERROR;
    }

    return NULL;
}


ngx_int_t
ngx_http_batch_orphan_next(ngx_http_batch_orphans_t *o,
    char id[BATCH_ID_LEN], ngx_log_t *log)
{
    ngx_int_t    rc;
    const char  *name;

    if (o->shard) {
        name = ngx_http_batch_orphan_read(o->shard, &rc, log);

        if (name) {
            return ngx_http_batch_orphan_name(o, name, id, log);
        }

        (void) closedir(o->shard);
        o->shard = NULL;

        return rc == NGX_OK ? NGX_AGAIN : NGX_ERROR;
    }

    name = ngx_http_batch_orphan_read(o->shards, &rc, log);

    if (name) {
        if (ngx_strlen(name) == 2) {
            o->shard = ngx_http_batch_orphan_opendir(dirfd(o->shards), name,
                                                     log);
            if (o->shard == NULL) {
                return NGX_ERROR;
            }
        }

        return NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (o->room == NGX_HTTP_BATCH_DIR_FILES) {
        return NGX_DONE;
    }

    (void) closedir(o->shards);

    o->room = NGX_HTTP_BATCH_DIR_FILES;
    o->shards = ngx_http_batch_orphan_opendir(ngx_http_batch_dirs[o->room],
                                              ".", log);

    return o->shards ? NGX_AGAIN : NGX_ERROR;
}


static ngx_int_t
ngx_http_batch_orphan_name(ngx_http_batch_orphans_t *o, const char *name,
    char id[BATCH_ID_LEN], ngx_log_t *log)
{
    size_t    len;
    ngx_fd_t  shard;

    shard = dirfd(o->shard);
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


/* 1: there, 0: not there, NGX_ERROR: not known */

static ngx_int_t
ngx_http_batch_orphan_stat(ngx_fd_t dir, const char *name, struct stat *st,
    ngx_log_t *log)
{
    if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0) {
        return 1;
    }

    if (ngx_errno == NGX_ENOENT) {
        return 0;
    }

    ngx_http_batch_disk_error(log, "fstatat()", name);

    return NGX_ERROR;
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
            ngx_http_batch_disk_error(log, "openat()", id);
            o->unsure = 1;
        }

        return NGX_AGAIN;
    }

    rc = ngx_http_batch_orphan_stat(dir, "final.json", &st, log);

    if (rc == 1) {
        rc = NGX_OK;

    } else if (rc == NGX_ERROR) {
        o->unsure = 1;
        rc = NGX_AGAIN;

    } else {
        rc = NGX_AGAIN;

        /* a creation that died between the directory and its commit; one that
         * is not empty stays, as rmdir() sees to it */

        if (ngx_http_batch_orphan_stat(dir, "batch.json", &st, log) == 0
            && fstat(dir, &st) == 0
            && st.st_mtime < o->old)
        {
            (void) unlinkat(shard, id, AT_REMOVEDIR);
        }
    }

    (void) ngx_close_file(dir);

    return rc;
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

    ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE, id, other);

    /*
     * With a second name it is an upload's that is not finished, or a batch's
     * input.
     */

    if (o->unsure
        || ngx_http_batch_orphan_stat(shard, id, &blob, log) != 1
        || !S_ISREG(blob.st_mode)
        || blob.st_nlink != 1
        || blob.st_mtime >= o->old
        || ngx_http_batch_orphan_stat(shard, other, &st, log) != 0)
    {
        return;
    }

    if (ngx_http_batch_disk_unlink(shard, id, log) == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "batch: swept %s, which never became a file", id);
    }
}


static void
ngx_http_batch_orphan_tombstone(ngx_http_batch_orphans_t *o, ngx_fd_t shard,
    const char *id, ngx_log_t *log)
{
    char         json[NGX_HTTP_BATCH_NAME_LEN], del[NGX_HTTP_BATCH_NAME_LEN];
    ngx_int_t    rc;
    struct stat  st;

    ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE, id, json);
    ngx_http_batch_disk_name(NGX_HTTP_BATCH_FILE_DEL, id, del);

    /* a deletion that was cut short behind its commit point */

    rc = ngx_http_batch_disk_unlink(shard, json, log);

    if (ngx_http_batch_disk_unlink(shard, id, log) != NGX_OK
        || rc != NGX_OK
        || ngx_http_batch_orphan_stat(shard, del, &st, log) != 1
        || st.st_mtime >= o->old)
    {
        return;
    }

    /* nothing may come back after it is gone, by a power cut either */

    if (ngx_http_batch_disk_sync_dir(shard) == -1) {
        ngx_http_batch_disk_error(log, "fsync() of the directory of", del);
        return;
    }

    (void) ngx_http_batch_disk_unlink(shard, del, log);
}
