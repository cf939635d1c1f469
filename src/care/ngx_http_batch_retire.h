/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Ended batches are deleted: after batch_retention, or beyond "ended=" of
 * batch_quota.
 */

#ifndef _NGX_HTTP_BATCH_RETIRE_H_INCLUDED_
#define _NGX_HTTP_BATCH_RETIRE_H_INCLUDED_

#include "ngx_http_batch.h"


void ngx_http_batch_retire_init(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_BATCH_RETIRE_H_INCLUDED_ */
