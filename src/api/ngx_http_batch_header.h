/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Headers of requests and answers.
 */

#ifndef _NGX_HTTP_BATCH_HEADER_H_INCLUDED_
#define _NGX_HTTP_BATCH_HEADER_H_INCLUDED_

#include "ngx_http_batch.h"


/*
 * The first header of that name after prev, which is one of the list or NULL
 * to begin with.  NULL: there is none.
 */
ngx_table_elt_t *ngx_http_batch_header_find(ngx_list_t *headers,
    const char *name, ngx_table_elt_t *prev);

/* Adds one to the answer; key and value must live as long as the request.
 * NULL: there is no memory. */
ngx_table_elt_t *ngx_http_batch_header_add(ngx_http_request_t *r,
    const char *key, const ngx_str_t *value);
ngx_table_elt_t *ngx_http_batch_header_add_text(ngx_http_request_t *r,
    const char *key, const char *value);

/* Adds names to Vary: one header, since not every cache reads several.  They
 * must live as long as the request. */
ngx_int_t ngx_http_batch_header_vary(ngx_http_request_t *r,
    const ngx_str_t *names);

/* X-Request-Id and what else every answer of the API carries; once */
ngx_int_t ngx_http_batch_header_common(ngx_http_request_t *r);

/*
 * After the above: 1 if the client's own cache may keep the answer and has to
 * ask each time whether it is still good; 0, as without this call, if nobody may
 * keep it.
 */
void ngx_http_batch_header_kept(ngx_http_request_t *r, ngx_uint_t kept);

/* Content-Type, a string constant, and Content-Length */
void ngx_http_batch_header_body(ngx_http_request_t *r, const char *type,
    off_t length);


#endif /* _NGX_HTTP_BATCH_HEADER_H_INCLUDED_ */
