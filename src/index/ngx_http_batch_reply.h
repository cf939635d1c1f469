/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Reading replies without knowing hiredis.  A NULL reply is fine.
 */

#ifndef _NGX_HTTP_BATCH_REPLY_H_INCLUDED_
#define _NGX_HTTP_BATCH_REPLY_H_INCLUDED_

#include <ngx_config.h>
#include <ngx_core.h>

struct redisReply;

ngx_uint_t ngx_http_batch_reply_error(struct redisReply *r, ngx_str_t *text);

/* an array? */
ngx_uint_t ngx_http_batch_reply_list(struct redisReply *r);

/* how many there are in it; 0: it is not an array */
size_t ngx_http_batch_reply_n(struct redisReply *r);
struct redisReply *ngx_http_batch_reply_at(struct redisReply *r, size_t i);

/* a string or a status, and 1; an integer is 0-length */
ngx_uint_t ngx_http_batch_reply_str(struct redisReply *r, ngx_str_t *s);

/* an integer, or a decimal string; 0 otherwise */
int64_t ngx_http_batch_reply_int(struct redisReply *r);

/* a script's code: an integer and nothing else, -1 otherwise */
int64_t ngx_http_batch_reply_code(struct redisReply *r);

#endif /* _NGX_HTTP_BATCH_REPLY_H_INCLUDED_ */
