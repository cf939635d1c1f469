/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Recovery, the disk's half: the store in portions.  In a thread.
 */

#ifndef _NGX_HTTP_BATCH_RESTORE_H_INCLUDED_
#define _NGX_HTTP_BATCH_RESTORE_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_object.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_final.h"

#define NGX_HTTP_BATCH_PORTION       256                /* objects */
#define NGX_HTTP_BATCH_PORTION_SIZE  (4 * 1024 * 1024)  /* bytes, about */

typedef enum {
    NGX_HTTP_BATCH_ITEM_FILE = 0,
    NGX_HTTP_BATCH_ITEM_BATCH,       /* under way */
    NGX_HTTP_BATCH_ITEM_FINAL,       /* terminal */
    NGX_HTTP_BATCH_ITEM_GHOST        /* a file or a batch (its meta has an id)
                                        that the index has; alone? */
} ngx_http_batch_item_e;

typedef struct {
    uint32_t                   chunk;
    uint32_t                   epoch;       /* highest */
    ngx_uint_t                 done;        /* has a seal */
    uint64_t                   ok;
    uint64_t                   failed;
    int64_t                    sealed;      /* seconds, if done */
} ngx_http_batch_item_chunk_t;

typedef struct {
    ngx_http_batch_item_e      type;
    json_t                    *root;        /* of file or meta */
    ngx_http_batch_file_t      file;        /* FILE, GHOST */
    ngx_str_t                  manifest;    /* GHOST, malloc() */
    ngx_uint_t                 batch;       /* GHOST: the manifest is a
                                               batch.json */
    ngx_uint_t                 deleted;     /* GHOST: it has a tombstone */
    ngx_http_batch_meta_t      meta;        /* BATCH, FINAL */

    /* BATCH */
    ngx_uint_t                 planned;
    uint64_t                   total;
    int64_t                    in_progress_at;
    ngx_str_t                  model;       /* malloc() */
    uint32_t                   nplan;       /* chunks planned */
    ngx_http_batch_item_chunk_t  *chunks;   /* those with work files */
    size_t                     nchunks;
    size_t                     nalloc;
    int64_t                    cancelling_at;

    /* FINAL */
    ngx_http_batch_final_t     final;       /* files that were deleted since
                                               have no id any more */
    ngx_uint_t                 unheard;     /* its webhook, if it has one, is
                                               not known to be delivered */
} ngx_http_batch_item_t;

/* zeroed to begin with */
typedef struct {
    ngx_http_batch_walk_t     *walk;
    ngx_uint_t                 rooms;       /* walked: files, then batches */
    ngx_uint_t                 end;         /* all of them */
    ngx_http_batch_item_t     *items;
    size_t                     n;
} ngx_http_batch_portion_t;

/* Reads the next portion.  NGX_OK, NGX_ERROR (trouble), NGX_ABORT (the worker
 * leaves); the caller frees its items in any case. */
ngx_int_t ngx_http_batch_restore_read(ngx_http_batch_portion_t *p,
    ngx_log_t *log);
/* Takes manifests, of files or of batches, that the index has as items.
 * NGX_OK, NGX_ERROR (memory). */
ngx_int_t ngx_http_batch_restore_suspect(ngx_http_batch_portion_t *p,
    const ngx_str_t *manifests, size_t n, ngx_uint_t batch, ngx_log_t *log);
/* In a thread: of these only those stay whose object the store has not, or not
 * any more.  NGX_OK, NGX_ERROR. */
ngx_int_t ngx_http_batch_restore_ghosts(ngx_http_batch_portion_t *p,
    ngx_log_t *log);
void ngx_http_batch_restore_items_free(ngx_http_batch_portion_t *p);
/* items and walk ("any" thread, also the worker's) */
void ngx_http_batch_restore_free(ngx_http_batch_portion_t *p);

#endif
