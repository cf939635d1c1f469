/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_quota.  These functions go on with next(), or reject the op, at once
 * or later.
 */

#ifndef _NGX_HTTP_BATCH_QUOTA_H_INCLUDED_
#define _NGX_HTTP_BATCH_QUOTA_H_INCLUDED_

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_index.h"


#define NGX_HTTP_BATCH_QUOTA_HOLD  600000      /* ms: for publishing */


/* a place that an op has taken, or was refused; see
 * ngx_http_batch_index_use_hold() */

typedef struct {
    ngx_http_batch_use_e        use;
    char                        id[BATCH_ID_LEN];
    int64_t                     amount;        /* bytes, lines */
    ngx_http_batch_over_e       over;          /* refused: by which limit */
    uint64_t                    used;
    ngx_http_batch_op_pt        next;
    unsigned                    held:1;        /* to be given back */
    unsigned                    kept:1;        /* never to be: set by the
                                                  handler that takes it */
} ngx_http_batch_quota_place_t;


/* Is the index filled, and would a file of that many bytes do? */
void ngx_http_batch_quota_check(ngx_http_batch_op_t *op, off_t bytes,
    ngx_http_batch_op_pt next);

/*
 * Takes a place, which is given back with the op unless it is kept.  With an
 * Idempotency-Key next() is called even if there is none: then quota.over is
 * set, and ngx_http_batch_idem_claim() tells whether it is to be rejected.
 */
void ngx_http_batch_quota_take(ngx_http_batch_op_t *op,
    ngx_http_batch_use_e use, const char *id, int64_t amount, ngx_msec_t hold,
    ngx_http_batch_op_pt next);

/* 1 if there are limits */
ngx_uint_t ngx_http_batch_quota_any(ngx_http_batch_op_t *op,
    ngx_http_batch_use_e use);
void ngx_http_batch_quota_reject(ngx_http_batch_op_t *op);

/* what has that id is published and in the index */
void ngx_http_batch_quota_keep(ngx_http_batch_op_t *op, const char *id);
/* for ngx_http_batch_op_destroy() */
void ngx_http_batch_quota_release(ngx_http_batch_op_t *op);


#endif /* _NGX_HTTP_BATCH_QUOTA_H_INCLUDED_ */
