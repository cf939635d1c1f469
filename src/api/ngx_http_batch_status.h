/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_status: the state of the module on this node, as JSON or, with
 * format=prometheus in the query, as Prometheus text.
 */

#ifndef _NGX_HTTP_BATCH_STATUS_H_INCLUDED_
#define _NGX_HTTP_BATCH_STATUS_H_INCLUDED_

#include "ngx_http_batch.h"

ngx_int_t ngx_http_batch_status_handler(ngx_http_request_t *r);

#endif
