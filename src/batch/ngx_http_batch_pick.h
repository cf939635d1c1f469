/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Which line starts next, of all batches that this worker has chunks of.
 *
 * Batches of a higher priority come first; those of a lower one get what is
 * left.  Within one priority the tenant is next that has the fewest lines in
 * flight in the lane, however many batches it has; a tenant's own batches take
 * turns, so that a small one does not wait for a huge one to end.  Whether a
 * line may start at all is the budget's decision (ngx_http_batch_budget.h).
 */

#ifndef _NGX_HTTP_BATCH_PICK_H_INCLUDED_
#define _NGX_HTTP_BATCH_PICK_H_INCLUDED_

#include "ngx_http_batch_run.h"


/* what a batch can do, told by the room that has its chunks */

typedef struct {
    /* 1: it has a line that has not been started */
    ngx_uint_t   (*ready)(ngx_http_batch_run_t *run);
    /* starts the next one.  NGX_OK; anything else: none could be started now */
    ngx_int_t    (*start)(ngx_http_batch_run_t *run);
} ngx_http_batch_pick_t;


/* a chunk of the batch is open here; the last one was given back.  Both may
 * be said again */
void ngx_http_batch_pick_add(ngx_http_batch_run_t *run);
void ngx_http_batch_pick_remove(ngx_http_batch_run_t *run);

/* starts at most max lines; how many were */
ngx_uint_t ngx_http_batch_pick_lines(const ngx_http_batch_pick_t *pick,
    ngx_uint_t max);

void ngx_http_batch_pick_init(void);


#endif /* _NGX_HTTP_BATCH_PICK_H_INCLUDED_ */
