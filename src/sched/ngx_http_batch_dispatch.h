/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The pump of a worker: starts lines, claims chunks and jobs.
 */

#ifndef _NGX_HTTP_BATCH_DISPATCH_H_INCLUDED_
#define _NGX_HTTP_BATCH_DISPATCH_H_INCLUDED_

#include "ngx_http_batch.h"


void ngx_http_batch_dispatch_init(void);

/* for ngx_http_batch_turn_t */
void ngx_http_batch_dispatch_pump(void);


#endif /* _NGX_HTTP_BATCH_DISPATCH_H_INCLUDED_ */
