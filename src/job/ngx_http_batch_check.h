/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The pass over an input file: its defects, or its plan.  In a thread.
 */

#ifndef _NGX_HTTP_BATCH_CHECK_H_INCLUDED_
#define _NGX_HTTP_BATCH_CHECK_H_INCLUDED_

#include "ngx_http_batch.h"
#include "ngx_http_batch_defects.h"
#include "ngx_http_batch_plan.h"

#define NGX_HTTP_BATCH_GRANULE      8            /* requests */
#define NGX_HTTP_BATCH_GRANULES     32768        /* then they double */
#define NGX_HTTP_BATCH_CHUNK_MAX    2048         /* requests */
#define NGX_HTTP_BATCH_CHUNK_SIZE   (16 * 1024 * 1024)   /* bytes */
#define NGX_HTTP_BATCH_CHUNK_MIN    64           /* requests */

/* a chunk's share of what is left: with many requests its files count for more
 * than that workers end at the same moment */
#define NGX_HTTP_BATCH_CHUNK_SHARE  16
#define NGX_HTTP_BATCH_CHUNK_MANY   1024         /* requests, from there on */
#define NGX_HTTP_BATCH_CHUNK_LARGE  8

typedef struct {
    /* in */
    ngx_fd_t                    input;
    batch_rules_t               rules;            /* the caller's */
    ngx_uint_t                  max_requests;     /* 0 = no limit */
    off_t                       max_file_size;    /* 0 = no limit */
    size_t                      max_line_size;

    /* out: defects if there are any, else the plan (without its time); both
     * are freed by the caller */
    ngx_http_batch_defects_t    defects;
    ngx_http_batch_plan_t       plan;
} ngx_http_batch_check_t;

/* NGX_OK; NGX_ERROR: trouble; NGX_ABORT: the worker leaves */
ngx_int_t ngx_http_batch_check(ngx_http_batch_check_t *c, ngx_log_t *log);

#endif
