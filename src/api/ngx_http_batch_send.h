/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Answers of the API.  What these functions return goes to
 * ngx_http_finalize_request(); a handler that waits for something answers with
 * its op (ngx_http_batch_op.h).
 */

#ifndef _NGX_HTTP_BATCH_SEND_H_INCLUDED_
#define _NGX_HTTP_BATCH_SEND_H_INCLUDED_

#include "ngx_http_batch.h"


/* JSON text from malloc(), which is freed with the request */
ngx_int_t ngx_http_batch_send_text(ngx_http_request_t *r, ngx_uint_t status,
    char *text);

/*
 * {"error":...}.  type NULL: by status, invalid_request_error,
 * rate_limit_exceeded (429) or, from 500 on, server_error.  param and code may be NULL; fmt is that of ngx_sprintf().
 */
ngx_int_t ngx_http_batch_send_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *param, const char *code, const char *fmt, ...);
ngx_int_t ngx_http_batch_send_verror(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const char *param, const char *code, const char *fmt,
    va_list args);

/* what an error says that nginx has found */
const char *ngx_http_batch_send_message(ngx_uint_t status);

/* the 404 of unknown, foreign and malformed ids: that in the path */
ngx_int_t ngx_http_batch_send_not_found(ngx_http_request_t *r,
    batch_id_kind_e kind);
/* 507 */
ngx_int_t ngx_http_batch_send_full(ngx_http_request_t *r);


#endif /* _NGX_HTTP_BATCH_SEND_H_INCLUDED_ */
