
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A batch's work files: their names, and segments.
 */


#include "ngx_http_batch_disk.h"


typedef struct {
    uint32_t     chunk;
    ngx_uint_t   seals;
    uint32_t    *epochs;
    size_t       n;
    size_t       nalloc;
    ngx_log_t   *log;
} ngx_http_batch_segment_epochs_t;


static ngx_uint_t ngx_http_batch_segment_parse(const char *name,
    uint32_t *chunk, uint32_t *epoch, ngx_uint_t *seal);
static ngx_int_t ngx_http_batch_segment_epochs_add(void *ctx, uint32_t chunk,
    uint32_t epoch, ngx_uint_t seal);
static int ngx_libc_cdecl ngx_http_batch_segment_epochs_cmp(const void *one,
    const void *two);


void
ngx_http_batch_segment_name(uint32_t chunk, uint32_t epoch, ngx_uint_t seal,
    char name[NGX_HTTP_BATCH_NAME_LEN])
{
    (void) ngx_slprintf((u_char *) name,
                        (u_char *) name + NGX_HTTP_BATCH_NAME_LEN,
                        "c%uD.%uD.%s%Z", chunk, epoch, seal ? "seal" : "seg");
}


/* "c<chunk>.<epoch>.seg" or ".seal": 1 and the numbers, else 0 */

static ngx_uint_t
ngx_http_batch_segment_parse(const char *name, uint32_t *chunk,
    uint32_t *epoch, ngx_uint_t *seal)
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


ngx_fd_t
ngx_http_batch_segment_dir(const char *batch_id, ngx_log_t *log)
{
    return ngx_http_batch_layout_must(NGX_HTTP_BATCH_META, batch_id, log);
}


ngx_fd_t
ngx_http_batch_segment_create(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_log_t *log)
{
    char      name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t  dir, fd;

    dir = ngx_http_batch_segment_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    ngx_http_batch_segment_name(chunk, epoch, 0, name);

    /* not O_APPEND: with it Linux' pwrite() ignores the offset */

    fd = ngx_http_batch_disk_openat(dir, name, O_RDWR|O_CREAT|O_EXCL);

    if (fd == NGX_INVALID_FILE) {
        if (ngx_errno != NGX_EEXIST) {
            ngx_http_batch_disk_error(log, batch_id, "openat()", name);
        }

    } else if (ngx_http_batch_disk_sync_dir(dir, batch_id, name, log)
               != NGX_OK)
    {
        ngx_http_batch_disk_close(fd);
        fd = NGX_INVALID_FILE;

    } else {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, log, 0,
                       "batch: %s, chunk %uD: segment created, epoch %uD",
                       batch_id, chunk, epoch);
    }

    ngx_http_batch_disk_close(dir);

    return fd;
}


ngx_fd_t
ngx_http_batch_segment_open(const char *batch_id, uint32_t chunk,
    uint32_t epoch, ngx_log_t *log)
{
    char      name[NGX_HTTP_BATCH_NAME_LEN];
    ngx_fd_t  dir, fd;

    dir = ngx_http_batch_segment_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_INVALID_FILE;
    }

    ngx_http_batch_segment_name(chunk, epoch, 0, name);

    fd = ngx_http_batch_disk_open(dir, batch_id, name, log);

    /* what is not a file holds no record, and its lines run again */

    if (fd == NGX_INVALID_FILE && ngx_http_batch_store_damaged()) {
        ngx_set_errno(NGX_ENOENT);
    }

    ngx_http_batch_disk_close(dir);

    return fd;
}


ngx_int_t
ngx_http_batch_segment_walk(const char *batch_id,
    ngx_http_batch_segment_walk_pt cb, void *ctx, ngx_log_t *log)
{
    DIR       *d;
    ngx_fd_t   dir;

    dir = ngx_http_batch_segment_dir(batch_id, log);

    if (dir == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    d = ngx_http_batch_disk_fdopendir(dir, batch_id, log);

    if (d == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_batch_segment_walk_dir(d, batch_id, cb, ctx, log);
}


ngx_int_t
ngx_http_batch_segment_walk_dir(DIR *d, const char *batch_id,
    ngx_http_batch_segment_walk_pt cb, void *ctx, ngx_log_t *log)
{
    uint32_t     chunk, epoch;
    ngx_int_t    rc;
    ngx_uint_t   seal;
    const char  *name;

    for ( ;; ) {
        name = ngx_http_batch_disk_readdir(d, batch_id, log);

        if (name == NULL) {
            rc = ngx_errno ? NGX_ERROR : NGX_OK;
            break;
        }

        if (!ngx_http_batch_segment_parse(name, &chunk, &epoch, &seal)) {
            continue;
        }

        rc = cb(ctx, chunk, epoch, seal);

        if (rc != NGX_OK) {
            break;
        }
    }

    ngx_http_batch_disk_closedir(d);

    return rc;
}


ngx_int_t
ngx_http_batch_segment_epochs(const char *batch_id, uint32_t chunk,
    ngx_uint_t seals, uint32_t **epochs, ngx_log_t *log)
{
    ngx_http_batch_segment_epochs_t  e;

    ngx_memzero(&e, sizeof(ngx_http_batch_segment_epochs_t));

    e.chunk = chunk;
    e.seals = seals ? 1 : 0;
    e.log = log;

    *epochs = NULL;

    /* the caller always has a block to free, also if there are none */

    e.nalloc = 8;

    e.epochs = ngx_alloc(e.nalloc * sizeof(uint32_t), log);
    if (e.epochs == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_batch_segment_walk(batch_id,
                                    ngx_http_batch_segment_epochs_add, &e,
                                    log)
        != NGX_OK)
    {
        ngx_free(e.epochs);
        return NGX_ERROR;
    }

    ngx_qsort(e.epochs, e.n, sizeof(uint32_t),
              ngx_http_batch_segment_epochs_cmp);

    *epochs = e.epochs;

    return e.n;
}


static ngx_int_t
ngx_http_batch_segment_epochs_add(void *ctx, uint32_t chunk, uint32_t epoch,
    ngx_uint_t seal)
{
    ngx_http_batch_segment_epochs_t *e = ctx;

    uint32_t  *p;

    if (chunk != e->chunk || seal != e->seals) {
        return NGX_OK;
    }

    if (e->n == e->nalloc) {

        p = ngx_alloc(2 * e->nalloc * sizeof(uint32_t), e->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(p, e->epochs, e->n * sizeof(uint32_t));
        ngx_free(e->epochs);

        e->epochs = p;
        e->nalloc *= 2;
    }

    e->epochs[e->n++] = epoch;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_batch_segment_epochs_cmp(const void *one, const void *two)
{
    uint32_t  a, b;

    a = *(const uint32_t *) one;
    b = *(const uint32_t *) two;

    return (a > b) - (a < b);
}
