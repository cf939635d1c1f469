/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Work for the thread pool.  Disk calls block; a worker must not.
 *
 * ngx_http_batch_task_create() allocates a task and its context in one block.
 * The task belongs to its creator until it is posted, to the pool while it
 * runs, and then to its done handler, which frees it with
 * ngx_http_batch_task_free() or posts it again.  run() must not touch a
 * request's pool: a request can die while the task is under way.
 *
 * While a task is under way, a timer that is not cancelable keeps the worker
 * from exiting.  If the queue is full, the post fails, and the caller answers
 * 503 or tries again later; nothing ever runs inline.
 */

#ifndef _NGX_HTTP_BATCH_TASK_H_INCLUDED_
#define _NGX_HTTP_BATCH_TASK_H_INCLUDED_

#include "ngx_http_batch.h"

typedef struct ngx_http_batch_task_s  ngx_http_batch_task_t;

typedef void (*ngx_http_batch_task_pt)(void *ctx, ngx_log_t *log);

struct ngx_http_batch_task_s {
    ngx_thread_task_t        thread;
    ngx_http_batch_task_pt   run;        /* in a thread: blocking calls only */
    ngx_http_batch_task_pt   done;       /* back in the worker */
    void                    *ctx;        /* size bytes after this struct */
    ngx_event_t              guard;
};

/* zeroed; NULL if there is no memory */
ngx_http_batch_task_t *ngx_http_batch_task_create(size_t size,
    ngx_http_batch_task_pt run, ngx_http_batch_task_pt done);

ngx_int_t ngx_http_batch_task_post(ngx_http_batch_task_t *task);

void ngx_http_batch_task_free(ngx_http_batch_task_t *task);

/* the task whose ctx this is */
ngx_http_batch_task_t *ngx_http_batch_task_of(void *ctx);

/* exit_process: nginx has stopped its thread pools, so every post fails */
void ngx_http_batch_task_close(void);

/* 1 once the worker was told to leave: long tasks check it and stop */
ngx_uint_t ngx_http_batch_task_quit(void);

/* the same for a task that a client waits for: 1 once the worker was told to
 * stop at once.  A worker that quits gracefully finishes its requests first */
ngx_uint_t ngx_http_batch_task_stop(void);

#endif
