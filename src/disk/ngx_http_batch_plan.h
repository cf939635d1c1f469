/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * plan.json: the input is good, and how it is cut into chunks.  Published once
 * by the validation; all who read it later see the same chunks.
 *
 * {"v":1,"total":n,"model":"...","in_progress_at":s,
 *  "chunks":[[offset,length,first_line,count],...]}
 *
 * offset and length in bytes of <batch>/input; first_line is the physical
 * number (1-based) of the first line in the chunk; count is the number of
 * requests in it (blank lines are not counted, but numbered).
 */

#ifndef _NGX_HTTP_BATCH_PLAN_H_INCLUDED_
#define _NGX_HTTP_BATCH_PLAN_H_INCLUDED_

#include "ngx_http_batch.h"

#define NGX_HTTP_BATCH_PLAN_MAX   (64 * 1024 * 1024)   /* bytes of plan.json */
#define NGX_HTTP_BATCH_MODEL_LEN  1024                 /* bytes, decoded */

typedef struct {
    off_t            offset;
    off_t            length;
    uint64_t         first_line;
    uint32_t         count;
} ngx_http_batch_plan_chunk_t;

typedef struct {
    uint64_t                      total;
    int64_t                       in_progress_at;
    ngx_str_t                     model;        /* "" = none */
    uint32_t                      nchunks;
    ngx_http_batch_plan_chunk_t  *chunks;
    void                         *owned;        /* one ngx_alloc() block */
} ngx_http_batch_plan_t;

/* its answers may all come within one group of the journal: then it ends
 * without a segment (ngx_http_batch_job_end()) */
#define ngx_http_batch_plan_small(p)  ((p)->nchunks == 1 && (p)->total <= 256)

/* Threads only.  NGX_OK, NGX_DECLINED (no plan yet), NGX_ERROR (see
 * ngx_http_batch_store_damaged()). */
ngx_int_t ngx_http_batch_plan_read(const char *batch_id,
    ngx_http_batch_plan_t *plan, ngx_log_t *log);
/* NGX_OK, NGX_DECLINED (another was first: read that one), NGX_ERROR */
ngx_int_t ngx_http_batch_plan_publish(const char *batch_id,
    const ngx_http_batch_plan_t *plan, ngx_log_t *log);
void ngx_http_batch_plan_free(ngx_http_batch_plan_t *plan);

#endif
