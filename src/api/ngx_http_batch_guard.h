/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Pages that are the operator's: open to this machine, and to others only if
 * the configuration says so.
 */

#ifndef _NGX_HTTP_BATCH_GUARD_H_INCLUDED_
#define _NGX_HTTP_BATCH_GUARD_H_INCLUDED_

#include "ngx_http_batch.h"


/*
 * 1 if the client's address is of the loopback or a unix socket, or if the
 * request's location says who may come: allow, deny, auth_basic, auth_request.
 * These rules themselves were applied before.
 */
ngx_uint_t ngx_http_batch_guard_open(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BATCH_GUARD_H_INCLUDED_ */
