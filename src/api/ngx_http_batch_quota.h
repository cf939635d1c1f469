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


#define NGX_HTTP_BATCH_QUOTA_HOLD    600000    /* ms: for publishing */
#define NGX_HTTP_BATCH_QUOTA_UPLOAD  4200000   /* ms: an upload's hour, and a
                                                  call that came in time */
#define NGX_HTTP_BATCH_QUOTA_STEP    4194304   /* bytes: a place grows so much
                                                  ahead of a body without a
                                                  length */


/* a part of the upload op->id: its bytes have a place together with those of
 * the others, on disk or under way; see ngx_http_batch_index_use_part() */

typedef struct {
    char                        id[BATCH_ID_LEN];  /* "": it is not a part */
    int64_t                     whole;         /* bytes of the upload */
    int64_t                     max;           /* bytes of all its parts */
    int64_t                     stored;        /* bytes of those on disk */
    int64_t                     expires_at;    /* s: the upload */
    unsigned                    ended:1;       /* the upload has */
} ngx_http_batch_quota_part_t;


/* a place that an op has taken, or was refused; see
 * ngx_http_batch_index_use_hold() */

typedef struct {
    ngx_http_batch_use_e        use;
    char                        id[BATCH_ID_LEN];
    int64_t                     amount;        /* bytes, lines */
    ngx_http_batch_over_e       over;          /* refused: by which limit */
    uint64_t                    used;          /* by others */
    int64_t                     left;          /* checked: for this file */
    int64_t                     granted;       /* grown: bytes it has */
    ngx_http_batch_quota_part_t part;
    ngx_event_t                 timer;         /* grown: holds it longer */
    ngx_http_batch_op_pt        next;
    unsigned                    held:1;        /* to be given back */
    unsigned                    kept:1;        /* never to be, nor to shrink:
                                                  set by the handler that takes
                                                  it */
    unsigned                    growing:1;     /* the file has more, perhaps */
} ngx_http_batch_quota_place_t;


/* Is the index filled, and would a file of that many bytes do?  quota.left is
 * how many would. */
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

/*
 * The place of a file whose body still comes: next() when it has at least so
 * many bytes, and quota.granted, which is up to most if there is room.  What is
 * to be written is granted before.  The place is held until it is taken with
 * the file's size, or the op ends.  With a key, see above.  NGX_AGAIN, or
 * NGX_DONE if the op has ended.
 */
ngx_int_t ngx_http_batch_quota_grow(ngx_http_batch_op_t *op, const char *id,
    int64_t bytes, int64_t most, ngx_http_batch_op_pt next);
/*
 * The same of a part of the upload op->id; quota.part must be set.  most 0: it
 * has just that many bytes.  next(), too, with quota.over, if its upload has
 * ended, or takes no more.
 */
ngx_int_t ngx_http_batch_quota_grow_part(ngx_http_batch_op_t *op,
    int64_t bytes, int64_t most, ngx_http_batch_op_pt next);
/* the part is stored */
void ngx_http_batch_quota_keep_part(ngx_http_batch_op_t *op);
/* the upload op->id has ended, by this op or before */
void ngx_http_batch_quota_end(ngx_http_batch_op_t *op);

/* 1 if there are limits */
ngx_uint_t ngx_http_batch_quota_any(ngx_http_batch_op_t *op,
    ngx_http_batch_use_e use);
void ngx_http_batch_quota_reject(ngx_http_batch_op_t *op);

/* what has that id is published and in the index */
void ngx_http_batch_quota_keep(ngx_http_batch_op_t *op, const char *id);
/* for ngx_http_batch_op_destroy() */
void ngx_http_batch_quota_release(ngx_http_batch_op_t *op);


#endif /* _NGX_HTTP_BATCH_QUOTA_H_INCLUDED_ */
