/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One link to Redis per worker: hiredis on nginx's events.
 *
 * States of the link and their transitions:
 *   DOWN        -> CONNECTING  timer (backoff 0.1 .. 5 s with jitter)
 *   CONNECTING  -> SETUP       connected: AUTH, SELECT when configured, which
 *                              server it is
 *   SETUP       -> READY       all answered well, and it is not a replica
 *   any         -> DOWN        error, time-out, closed
 * A name may have several addresses: the next one is tried at once, and the
 * pause comes after the last one.
 * Commands (ngx_http_batch_redis.h) are taken in READY only.  A worker takes
 * requests from its first moment on, some milliseconds before that: they can
 * wait for it.
 */

#ifndef _NGX_HTTP_BATCH_LINK_H_INCLUDED_
#define _NGX_HTTP_BATCH_LINK_H_INCLUDED_

#include "ngx_http_batch.h"

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

/* asks again: a server can be demoted and promoted while the link stays up */
void ngx_http_batch_link_server_look(void);

/* closes the link, if it is READY, and connects anew to where the address leads
 * by now; not from inside a callback */
void ngx_http_batch_link_leave(const char *why);

/*
 * NGX_OK: the worker is connecting for the first time in its life; handler will
 * be called once, when that has ended, after the time-out (for each address) at
 * the latest: 1: READY, commands are taken; 0: it has failed.  There is one handler: it may be
 * named again meanwhile.  NGX_DECLINED: there is nothing to wait for.
 */
ngx_int_t ngx_http_batch_link_wait(ngx_http_batch_link_state_pt handler);

#endif /* _NGX_HTTP_BATCH_LINK_H_INCLUDED_ */
