/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A chunk's lines -> the result: by a seal, or, where the batch was cancelled
 * or has expired, by what its segments hold.  In a thread.
 */

#ifndef _NGX_HTTP_BATCH_GATHER_H_INCLUDED_
#define _NGX_HTTP_BATCH_GATHER_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_plan.h"
#include "ngx_http_batch_result.h"

#define NGX_HTTP_BATCH_GATHER_FDS  8       /* segments kept open */

typedef struct {
    /* in */
    const char                     *id;
    const ngx_http_batch_plan_t    *plan;
    batch_rules_t                   rules;      /* freed by _free() */
    ngx_uint_t                      order;      /* NGX_HTTP_BATCH_ORDER_... */
    batch_status_e                  target;     /* of the batch */
    ngx_http_batch_result_t        *result;
    ngx_log_t                      *log;

    /* out */
    uint64_t                        sealed_us;  /* newest seal used */

    /* private */
    uint32_t                        chunk;
    ngx_fd_t                        input;
    uint32_t                        epochs[NGX_HTTP_BATCH_GATHER_FDS];
    uint64_t                        tags[NGX_HTTP_BATCH_GATHER_FDS];
    ngx_fd_t                        fds[NGX_HTTP_BATCH_GATHER_FDS];
    ngx_uint_t                      nfds;
} ngx_http_batch_gather_t;

/* what is private, after the rest is set */
void ngx_http_batch_gather_init(ngx_http_batch_gather_t *g);
void ngx_http_batch_gather_free(ngx_http_batch_gather_t *g);

/*
 * All of these: NGX_OK; NGX_DECLINED: the seal is void, nothing was added;
 * NGX_ABORT: the worker leaves; NGX_ERROR: trouble.
 */
ngx_int_t ngx_http_batch_gather_seal(ngx_http_batch_gather_t *g,
    uint32_t chunk, uint32_t epoch);

/* epochs of the chunk's segments, ascending; lines without a record are filled
 * as the target says */
ngx_int_t ngx_http_batch_gather_rest(ngx_http_batch_gather_t *g,
    uint32_t chunk, const uint32_t *epochs, size_t n);

#endif
