/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_cors: pages of other origins may use the API.
 */

#ifndef _NGX_HTTP_BATCH_CORS_H_INCLUDED_
#define _NGX_HTTP_BATCH_CORS_H_INCLUDED_

#include "ngx_http_batch.h"


/* in postconfiguration: a handler for preflights */
ngx_int_t ngx_http_batch_cors_init(ngx_conf_t *cf);

/* in the header filter, of every answer of a location with batch_api; once */
ngx_int_t ngx_http_batch_cors_headers(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BATCH_CORS_H_INCLUDED_ */
