/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Error pages that nginx makes itself, in the shape of the API's errors.
 */

#ifndef _NGX_HTTP_BATCH_PAGE_H_INCLUDED_
#define _NGX_HTTP_BATCH_PAGE_H_INCLUDED_

#include "ngx_http_batch_api.h"


/* in postconfiguration: a header and a body filter */
ngx_int_t ngx_http_batch_page_filter_init(ngx_conf_t *cf);

/* The request's ctx, which is made if need be.  NULL: the request is not one
 * of the API, or there is no memory. */
ngx_http_batch_api_ctx_t *ngx_http_batch_page_ctx(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BATCH_PAGE_H_INCLUDED_ */
