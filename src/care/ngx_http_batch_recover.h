/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Recovery: disk -> Redis.  When the index is empty (a new or emptied Redis),
 * or may lack what was told last (a Redis that was started again, or another
 * one after a failover), one worker walks the store and fills it; until then
 * every API call answers 503.
 */

#ifndef _NGX_HTTP_BATCH_RECOVER_H_INCLUDED_
#define _NGX_HTTP_BATCH_RECOVER_H_INCLUDED_

#include "ngx_http_batch.h"

/* to be called whenever the Redis link gets READY, or leads to another server;
 * looks at the index at once and from then on every 2 seconds, and rebuilds it
 * in tasks when it is not filled, trying again every second until it is.  What
 * is under way with another server is given up. */
void ngx_http_batch_recover_start(void);

/* the link is down: from here on other workers may be with another server */
void ngx_http_batch_recover_down(void);

/* the worker leaves gracefully: what it fills is left to another one */
void ngx_http_batch_recover_leave(void);

/* 1: this worker has, or may have, the lock of a rebuild */
ngx_uint_t ngx_http_batch_recover_holds(void);

void ngx_http_batch_recover_exit(void);

#endif
