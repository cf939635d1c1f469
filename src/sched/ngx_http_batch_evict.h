/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Leases of dead workers are freed before they run out.
 */

#ifndef _NGX_HTTP_BATCH_EVICT_H_INCLUDED_
#define _NGX_HTTP_BATCH_EVICT_H_INCLUDED_

#include "ngx_http_batch.h"


void ngx_http_batch_evict_init(void);

/* after every poll of the index: see ngx_http_batch_runs_handlers_t */
void ngx_http_batch_evict(ngx_uint_t rebuilding, ngx_uint_t whole);


#endif /* _NGX_HTTP_BATCH_EVICT_H_INCLUDED_ */
