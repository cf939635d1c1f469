/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the index is asked, and what it answers.
 */

#ifndef _NGX_HTTP_BATCH_INDEX_TYPES_H_INCLUDED_
#define _NGX_HTTP_BATCH_INDEX_TYPES_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_object.h"

/* a batch, as a client sees it */

typedef struct {
    ngx_str_t        meta;             /* batch.json */
    ngx_str_t        final;            /* final.json, len 0 until terminal */
    batch_status_e   status;
    int64_t          in_progress_at;   /* seconds, 0 = null */
    int64_t          finalizing_at;
    int64_t          cancelling_at;
    uint64_t         total;
    uint64_t         ok;
    uint64_t         failed;
    ngx_str_t        model;
} ngx_http_batch_view_t;

typedef enum {
    NGX_HTTP_BATCH_CLAIM_NONE = 0,     /* nothing free now */
    NGX_HTTP_BATCH_CLAIM_VALIDATE,
    NGX_HTTP_BATCH_CLAIM_CHUNK,
    NGX_HTTP_BATCH_CLAIM_FINALIZE,
    NGX_HTTP_BATCH_CLAIM_GONE          /* terminal or unknown: forget it */
} ngx_http_batch_claim_e;

typedef enum {
    NGX_HTTP_BATCH_CHUNK_RUN = 0,      /* renew the lease, set the counts */
    NGX_HTTP_BATCH_CHUNK_DONE,         /* sealed */
    NGX_HTTP_BATCH_CHUNK_RELEASE       /* give it back: any worker may claim */
} ngx_http_batch_chunk_state_e;

/* what a tenant uses, and has quotas for */

typedef enum {
    NGX_HTTP_BATCH_USE_FILES = 0,      /* their sum is bytes */
    NGX_HTTP_BATCH_USE_BATCHES         /* their sum is lines */
} ngx_http_batch_use_e;

typedef enum {
    NGX_HTTP_BATCH_OVER_NONE = 0,
    NGX_HTTP_BATCH_OVER_SUM,
    NGX_HTTP_BATCH_OVER_NUMBER,
    NGX_HTTP_BATCH_OVER_PARTS,         /* what an upload's parts may have */
    NGX_HTTP_BATCH_OVER_ENDED          /* the upload has ended */
} ngx_http_batch_over_e;

typedef struct {
    ngx_http_batch_use_e     use;
    ngx_str_t                tenant;
    const char              *id;       /* "": nothing is taken */
    int64_t                  amount;   /* bytes, lines */
    int64_t                  most;     /* 0: just the amount; else the place
                                          only grows: to the amount at least,
                                          to this if there is room */
    uint64_t                 max_sum;  /* 0: no limit */
    uint64_t                 max_number;
    ngx_msec_t               hold;     /* 0: only what is there changes */
} ngx_http_batch_hold_t;

/* where a list goes on: behind that id.  Without a score, the id must be in
 * the list. */

typedef struct {
    ngx_str_t                id;       /* len 0: from its start */
    ngx_str_t                score;
} ngx_http_batch_place_t;

/* of a part of an upload, beside what is in its hold: id is the upload's */

typedef struct {
    ngx_http_batch_hold_t    hold;
    const char              *part;     /* id */
    const char              *what;     /* "take"; "stored": it is not under
                                          way any more; "drop": nor stored */
    int64_t                  bytes;    /* of the upload */
    int64_t                  max;      /* of its parts' sum */
    int64_t                  stored;   /* on disk, if the index knows of no
                                          part */
} ngx_http_batch_hold_part_t;

typedef struct {
    /* lists: manifests (files), or views (batches) */
    size_t                   n;
    ngx_str_t               *items;
    ngx_http_batch_view_t   *views;
    ngx_uint_t               has_more;
    ngx_http_batch_place_t   place;    /* file_list, batch_list: of the last
                                          object that was seen */
    int64_t                  cursor;   /* file_scan: 0: that was all;
                                          hook_claim: how many there are */

    ngx_http_batch_view_t   *view;     /* batch_get, batch_cancel */

    ngx_http_batch_claim_e   claim;
    uint32_t                 chunk;
    uint32_t                 epoch;
    batch_status_e           status;   /* of the batch, after the call;
                                          BATCH_STATUS_N: not known.  While a
                                          void seal's chunk runs again it is
                                          in_progress here, finalizing in
                                          views */
    int64_t                  cancelling_at;
    int64_t                  finalizing_at;
    ngx_uint_t               expired;  /* finalizing because of expiry */

    ngx_http_batch_over_e    over;     /* hold: which limit; what is used: of
                                          the sum unless it is the number's */
    uint64_t                 used;
    int64_t                  granted;  /* hold: what the place has, or would
                                          have to have */
} ngx_http_batch_index_res_t;

typedef void (*ngx_http_batch_index_pt)(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);

#endif /* _NGX_HTTP_BATCH_INDEX_TYPES_H_INCLUDED_ */
