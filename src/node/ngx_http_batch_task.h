/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Work for the thread pool.  Disk calls block; a worker must not.
 *
 * ngx_http_batch_task_create() allocates a task and its context in one block;
 * callers know nothing but the context.  It belongs to its creator until it is
 * posted, to the pool while it runs, and then to its done handler, which frees
 * it with ngx_http_batch_task_free() or posts it again.  run() must not touch a
 * request's pool: a request can die while the task is under way.
 *
 * While a task is under way, a timer that is not cancelable keeps the worker
 * from exiting.  If the queue is full, the post fails, and the caller answers
 * 503 or tries again later; nothing ever runs inline.
 */

#ifndef _NGX_HTTP_BATCH_TASK_H_INCLUDED_
#define _NGX_HTTP_BATCH_TASK_H_INCLUDED_

#include "ngx_http_batch.h"

typedef void (*ngx_http_batch_task_pt)(void *ctx, ngx_log_t *log);

/* zeroed; NULL if there is no memory.  run(): in a thread, blocking calls only;
 * done(): back in the worker; without one the context is only freed */
void *ngx_http_batch_task_create(size_t size, ngx_http_batch_task_pt run,
    ngx_http_batch_task_pt done);

/* posts it; on failure it is freed, or, with post(), still the caller's */
ngx_int_t ngx_http_batch_task_start(void *ctx);
ngx_int_t ngx_http_batch_task_post(void *ctx);

void ngx_http_batch_task_free(void *ctx);

/* exit_process: nginx has stopped its thread pools, so every post fails */
void ngx_http_batch_task_close(void);

/* 1 once the worker was told to leave: long tasks check it and stop */
ngx_uint_t ngx_http_batch_task_quit(void);

/* the same for a task that a client waits for: 1 once the worker was told to
 * stop at once.  A worker that quits gracefully finishes its requests first */
ngx_uint_t ngx_http_batch_task_stop(void);

#endif
