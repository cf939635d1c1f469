/*
 * One Redis link per worker: hiredis on nginx's events.  The only room that
 * knows hiredis.
 *
 * States of the link and their transitions:
 *   DOWN        -> CONNECTING  timer (backoff 0.1 .. 5 s with jitter)
 *   CONNECTING  -> SETUP       connected: AUTH, SELECT when configured, who
 *                              the server is
 *   SETUP       -> READY       all answered well, and it is no replica
 *   any         -> DOWN        error, time-out, closed
 * Commands are taken in READY only.  A worker takes requests from its first
 * moment on, some milliseconds before that: they can wait for it.
 */

#ifndef _NGX_HTTP_BATCH_REDIS_H_INCLUDED_
#define _NGX_HTTP_BATCH_REDIS_H_INCLUDED_

#include "ngx_http_batch.h"

struct redisReply;

/*
 * reply is NULL when the link broke or timed out before the answer: whether the
 * command ran is then unknown.  It is valid during the call only.
 */
typedef void (*ngx_http_batch_redis_pt)(void *data, struct redisReply *reply);

/* called when the link gets READY (ready = 1), again when the server turns out
 * to be another one, and when the link goes down (0) */
typedef void (*ngx_http_batch_link_state_pt)(ngx_uint_t ready);

ngx_int_t ngx_http_batch_link_init(ngx_http_batch_redis_conf_t *conf,
    ngx_http_batch_link_state_pt on_state, ngx_log_t *log);
void ngx_http_batch_link_exit(void);

/*
 * Which server, and which life of its data: the replication id, which is new
 * after each start of a server and each promotion of a replica.  "unknown" if
 * the server does not say.  Known from READY on, valid until the link goes down
 * or on_state is called again.
 */
const char *ngx_http_batch_link_server(void);

/* closes the link, if it is READY, and connects anew to where the address leads
 * by now; not from inside a callback */
void ngx_http_batch_link_leave(const char *why);

/* asks again: a server can be demoted and promoted while the link stays up */
void ngx_http_batch_link_server_look(void);

/*
 * NGX_OK: the worker is connecting for the first time in its life; handler will
 * be called once, when that has ended, after the time-out at the latest: 1:
 * READY, commands are taken; 0: it has failed.  There is one handler: it may be
 * named again meanwhile.  NGX_DECLINED: there is nothing to wait for.
 */
ngx_int_t ngx_http_batch_link_wait(ngx_http_batch_link_state_pt handler);

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

/* Reading replies without knowing hiredis.  NULL replies are fine. */
ngx_uint_t ngx_http_batch_reply_error(struct redisReply *r, ngx_str_t *text);
ngx_uint_t ngx_http_batch_reply_list(struct redisReply *r);   /* an array? */
size_t ngx_http_batch_reply_n(struct redisReply *r);      /* 0: no array */
struct redisReply *ngx_http_batch_reply_at(struct redisReply *r, size_t i);
/* string or status; an integer is 0-length; 1 if there is one */
ngx_uint_t ngx_http_batch_reply_str(struct redisReply *r, ngx_str_t *s);
/* integer, or a decimal string; 0 otherwise */
int64_t ngx_http_batch_reply_int(struct redisReply *r);
/* a script's code: an integer and nothing else, -1 otherwise */
int64_t ngx_http_batch_reply_code(struct redisReply *r);

#endif
