/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the index lists by the time at which it is to go is deleted, by one
 * worker of a node: files that have expired.
 */

#ifndef _NGX_HTTP_BATCH_SWEEP_H_INCLUDED_
#define _NGX_HTTP_BATCH_SWEEP_H_INCLUDED_

#include "ngx_http_batch.h"


void ngx_http_batch_sweep_init(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_BATCH_SWEEP_H_INCLUDED_ */
