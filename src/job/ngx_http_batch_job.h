/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Jobs: what is done once per batch: validation and finalizing.
 */

#ifndef _NGX_HTTP_BATCH_JOB_H_INCLUDED_
#define _NGX_HTTP_BATCH_JOB_H_INCLUDED_

#include "ngx_http_batch_run.h"
#include "ngx_http_batch_finalize.h"


/* a job has ended the batch: disk and index know it */
typedef void (*ngx_http_batch_job_ended_pt)(ngx_http_batch_run_t *run);

/* what ngx_http_batch_job_end() came to.  ended = 0: nothing has changed */
typedef void (*ngx_http_batch_job_end_pt)(void *data, ngx_uint_t ended);


void ngx_http_batch_job_init(ngx_http_batch_job_ended_pt ended);

/* how many more jobs this worker may start */
ngx_uint_t ngx_http_batch_job_room(void);

/* one at a time per run.  res: the claim's; NULL: the lease is not ours, only
 * the index is told again.  NGX_BUSY: there are too many */
ngx_int_t ngx_http_batch_job_start(ngx_http_batch_run_t *run,
    ngx_http_batch_claim_e kind, ngx_http_batch_index_res_t *res);

/*
 * The batch is ended with these lines, all that it has.  NGX_OK: handler will
 * be called, and until then they must stay; anything else: nothing has changed.
 */
ngx_int_t ngx_http_batch_job_end(ngx_http_batch_run_t *run,
    ngx_http_batch_finalize_line_t *lines, size_t n,
    ngx_http_batch_job_end_pt handler, void *data);

/* renews leases, tells the index again what it has not heard */
void ngx_http_batch_job_beat(void);

/* 1: none is under way */
ngx_uint_t ngx_http_batch_job_idle(void);


#endif /* _NGX_HTTP_BATCH_JOB_H_INCLUDED_ */
