/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The batches that are not over, as this worker knows them.
 */

#ifndef _NGX_HTTP_BATCH_RUNS_H_INCLUDED_
#define _NGX_HTTP_BATCH_RUNS_H_INCLUDED_

#include "ngx_http_batch_run.h"


typedef struct {
    /* the index was polled.  rebuilding = 1: it cannot say which batches there
     * are; whole = 0: there are others than those that are known */
    void   (*polled)(ngx_uint_t rebuilding, ngx_uint_t whole);
    /* a client has created or cancelled the batch through this worker */
    void   (*changed)(ngx_http_batch_run_t *run);
} ngx_http_batch_runs_handlers_t;


/* handlers must outlive the process */
void ngx_http_batch_runs_init(const ngx_http_batch_runs_handlers_t *handlers);

/* polls the index when that is due */
void ngx_http_batch_runs_beat(void);

/* 1: a claim is under way whose outcome is not known */
ngx_uint_t ngx_http_batch_runs_hold(void);

/* the batch has ended: there is nothing to claim of it any more */
void ngx_http_batch_runs_over(ngx_http_batch_run_t *run);

/* n jobs may start that had to wait: each tenant's turn comes in between */
void ngx_http_batch_runs_feed(ngx_uint_t n);

/* the batch after it; NULL: the first one, and of the last one */
ngx_http_batch_run_t *ngx_http_batch_runs_next(ngx_http_batch_run_t *run);


#endif /* _NGX_HTTP_BATCH_RUNS_H_INCLUDED_ */
