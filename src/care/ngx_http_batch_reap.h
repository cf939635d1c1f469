/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the store alone knows, and whose time is over, is deleted, by one worker
 * of a node: uploads, records of Idempotency-Keys.
 */

#ifndef _NGX_HTTP_BATCH_REAP_H_INCLUDED_
#define _NGX_HTTP_BATCH_REAP_H_INCLUDED_

#include "ngx_http_batch.h"


void ngx_http_batch_reap_init(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_BATCH_REAP_H_INCLUDED_ */
