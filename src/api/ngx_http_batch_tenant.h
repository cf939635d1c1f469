/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Whose a request is: batch_tenant.
 */

#ifndef _NGX_HTTP_BATCH_TENANT_H_INCLUDED_
#define _NGX_HTTP_BATCH_TENANT_H_INCLUDED_

#include "ngx_http_batch_api.h"


/*
 * Sets ctx->tenant.  NGX_DECLINED: the request has none, or one that may not
 * be, which is in the log once a minute; *why is what the client is told.
 */
ngx_int_t ngx_http_batch_tenant_find(ngx_http_request_t *r,
    ngx_http_batch_api_ctx_t *ctx, const char **why);


#endif /* _NGX_HTTP_BATCH_TENANT_H_INCLUDED_ */
