/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * May another line of a batch start now?  Everything that holds lines back
 * meets here: the limits of route and job on this node and this worker's fair
 * share of them, an upstream that is taken for dead, a store that is full or
 * cannot be written, connections that clients need.  Which line starts is the
 * next file's: ngx_http_batch_pick.h.
 *
 * A lane has a limit of lines in flight: it is a route or a job.  The numbers
 * are in shared memory (ngx_http_batch_slots.h), each written by its own
 * worker.
 */

#ifndef _NGX_HTTP_BATCH_BUDGET_H_INCLUDED_
#define _NGX_HTTP_BATCH_BUDGET_H_INCLUDED_

#include "ngx_http_batch_run.h"


/*
 * Begins a turn: lanes that were refused in the last one may be asked again.
 * 0: no line of any batch may start; the beat notices when that ends.
 */
ngx_uint_t ngx_http_batch_budget_turn(void);

/* 1: a lane of the run was refused in this turn already */
ngx_uint_t ngx_http_batch_budget_refused(ngx_http_batch_run_t *run);

/*
 * 1: a place is reserved, and settle() must follow, whether a line was started
 * or not.  0: the lane is full, and other workers of the node see that this one
 * wants a place in it.
 */
ngx_uint_t ngx_http_batch_budget_reserve(ngx_http_batch_run_t *run);
void ngx_http_batch_budget_settle(ngx_http_batch_run_t *run);

/* ms after which to try again what was refused because of other workers, which
 * do not tell when a place is free.  0: nothing was refused */
ngx_msec_t ngx_http_batch_budget_pause(void);

/* a line of the run is in flight; no longer */
void ngx_http_batch_budget_enter(ngx_http_batch_run_t *run);
void ngx_http_batch_budget_leave(ngx_http_batch_run_t *run);

/*
 * An attempt ended.  dead = 1: with no connection, or 429, 502 or 503, from the
 * upstream or from nginx in its place.  16 of these in a row, and the upstream
 * of the lane is taken for dead until one ends otherwise.
 */
void ngx_http_batch_budget_outcome(ngx_http_batch_run_t *run, ngx_uint_t dead);

/* 1 while the upstream of the run's lane is taken for dead */
ngx_uint_t ngx_http_batch_budget_broken(ngx_http_batch_run_t *run);

/* lines of the run that this worker may have in flight, as its fair share */
ngx_uint_t ngx_http_batch_budget_share(ngx_http_batch_run_t *run);


#endif /* _NGX_HTTP_BATCH_BUDGET_H_INCLUDED_ */
