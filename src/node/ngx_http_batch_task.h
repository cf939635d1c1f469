/*
 * Work for the thread pool.  Disk calls block; a worker must not.
 *
 * A task is allocated with ngx_http_batch_task_create() and belongs to the
 * creator until it is posted, to the pool while it runs, and to its done
 * handler afterwards, which frees it with ngx_http_batch_task_free() (or posts
 * it again).  The context is malloc()ed with the task and shares its life.
 * Nothing of a request's pool may be touched in run(): requests can die while
 * a task is under way.
 *
 * While a task is under way a non-cancelable timer keeps the worker from
 * exiting under it.  When the queue is full the post fails: the caller answers
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
    void                    *ctx;        /* size bytes behind this struct */
    ngx_event_t              guard;
};

/* zeroed; NULL if there is no memory */
ngx_http_batch_task_t *ngx_http_batch_task_create(size_t size,
    ngx_http_batch_task_pt run, ngx_http_batch_task_pt done);

ngx_int_t ngx_http_batch_task_post(ngx_http_batch_task_t *task);

void ngx_http_batch_task_free(ngx_http_batch_task_t *task);

/* the task whose ctx this is */
ngx_http_batch_task_t *ngx_http_batch_task_of(void *ctx);

/* exit_process: nginx has ended its thread pools already, every post fails */
void ngx_http_batch_task_close(void);

/* 1 once the worker was told to leave: long tasks look at it and stop */
ngx_uint_t ngx_http_batch_task_quit(void);

/* the same for what a client waits for: a worker that quits gracefully, as after
 * a reload, ends its requests first; 1 once it was told to stop at once */
ngx_uint_t ngx_http_batch_task_stop(void);

#endif
