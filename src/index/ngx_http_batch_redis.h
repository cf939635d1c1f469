/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Commands and scripts on the link to Redis.
 */

#ifndef _NGX_HTTP_BATCH_REDIS_H_INCLUDED_
#define _NGX_HTTP_BATCH_REDIS_H_INCLUDED_

#include "ngx_http_batch_link.h"
#include "ngx_http_batch_reply.h"

/*
 * reply is NULL when the link broke or timed out before the answer: whether the
 * command ran is then unknown.  It is valid during the call only.
 */
typedef void (*ngx_http_batch_redis_pt)(void *data, struct redisReply *reply);

/*
 * Sends a command (arguments are copied).  NGX_OK: cb will be called exactly
 * once, never from inside this call; NGX_ERROR: not sent (link not READY, or
 * too many commands pending), cb will not be called.
 */
ngx_int_t ngx_http_batch_redis_command(ngx_uint_t argc, const ngx_str_t *argv,
    ngx_http_batch_redis_pt cb, void *data);

/* a script: text from the .lua file, its SHA-1 is computed at first use */
typedef struct {
    const char   *name;
    const char   *text;
    char          sha1[41];
} ngx_http_batch_script_t;

/* EVALSHA; on NOSCRIPT it is sent again as EVAL.  argv holds nkeys keys, then
 * the arguments. */
ngx_int_t ngx_http_batch_redis_eval(ngx_http_batch_script_t *script,
    ngx_uint_t nkeys, ngx_uint_t argc, const ngx_str_t *argv,
    ngx_http_batch_redis_pt cb, void *data);

#endif /* _NGX_HTTP_BATCH_REDIS_H_INCLUDED_ */
