/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Tasks of the thread pool, each with its context in the same block.
 */

#include "ngx_http_batch_task.h"
#include "ngx_http_batch_turn.h"


/* ms; any value works, the timer only has to be set */
#define NGX_HTTP_BATCH_TASK_GUARD  1000

/* from a task to its context; aligned for any type */
#define NGX_HTTP_BATCH_TASK_HEAD                                              \
    ngx_align(sizeof(ngx_http_batch_task_t), 16)


typedef struct {
    ngx_thread_task_t        thread;
    ngx_http_batch_task_pt   run;
    ngx_http_batch_task_pt   done;
    ngx_event_t              guard;
} ngx_http_batch_task_t;


static void ngx_http_batch_task_run(void *data, ngx_log_t *log);
static void ngx_http_batch_task_done(ngx_event_t *ev);
static void ngx_http_batch_task_guard(ngx_event_t *ev);


static ngx_uint_t  ngx_http_batch_task_closed;


static ngx_http_batch_task_t *
ngx_http_batch_task_of(void *ctx)
{
    return (ngx_http_batch_task_t *)
               ((u_char *) ctx - NGX_HTTP_BATCH_TASK_HEAD);
}


void *
ngx_http_batch_task_create(size_t size, ngx_http_batch_task_pt run,
    ngx_http_batch_task_pt done)
{
    ngx_http_batch_task_t  *task;

    task = ngx_calloc(NGX_HTTP_BATCH_TASK_HEAD + size, ngx_cycle->log);
    if (task == NULL) {
        return NULL;
    }

    task->run = run;
    task->done = done;

    task->thread.ctx = task;
    task->thread.handler = ngx_http_batch_task_run;
    task->thread.event.data = task;
    task->thread.event.handler = ngx_http_batch_task_done;
    task->thread.event.log = ngx_cycle->log;

    ngx_http_batch_turn_timer(&task->guard, ngx_http_batch_task_guard, 0);

    return (u_char *) task + NGX_HTTP_BATCH_TASK_HEAD;
}


ngx_int_t
ngx_http_batch_task_start(void *ctx)
{
    if (ngx_http_batch_task_post(ctx) != NGX_OK) {
        ngx_http_batch_task_free(ctx);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_task_post(void *ctx)
{
    ngx_http_batch_task_t  *task = ngx_http_batch_task_of(ctx);

    if (ngx_http_batch_task_closed) {
        return NGX_ERROR;
    }

    if (ngx_http_batch_conf == NULL || ngx_http_batch_conf->tp == NULL) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: task posted without a thread pool");
        return NGX_ERROR;
    }

    if (ngx_thread_task_post(ngx_http_batch_conf->tp, &task->thread)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_add_timer(&task->guard, NGX_HTTP_BATCH_TASK_GUARD);

    return NGX_OK;
}


void
ngx_http_batch_task_close(void)
{
    ngx_http_batch_task_closed = 1;
}


void
ngx_http_batch_task_free(void *ctx)
{
    ngx_http_batch_task_t  *task = ngx_http_batch_task_of(ctx);

    ngx_http_batch_turn_cancel(&task->guard);

    ngx_free(task);
}


ngx_uint_t
ngx_http_batch_task_quit(void)
{
    /*
     * ngx_exiting alone is too late for a thread: the worker may wait for this
     * very task before it looks at its signals.
     */

    return (ngx_terminate || ngx_quit || ngx_exiting) ? 1 : 0;
}


ngx_uint_t
ngx_http_batch_task_stop(void)
{
    return ngx_terminate ? 1 : 0;
}


static void
ngx_http_batch_task_run(void *data, ngx_log_t *log)
{
    ngx_http_batch_task_t  *task = data;

    task->run((u_char *) task + NGX_HTTP_BATCH_TASK_HEAD, log);
}


static void
ngx_http_batch_task_done(ngx_event_t *ev)
{
    ngx_http_batch_task_t  *task = ev->data;

    void  *ctx = (u_char *) task + NGX_HTTP_BATCH_TASK_HEAD;

    ngx_http_batch_turn_cancel(&task->guard);

    if (task->done == NULL) {
        ngx_http_batch_task_free(ctx);
        return;
    }

    /* may free the task, or post it again */

    task->done(ctx, ngx_cycle->log);
}


static void
ngx_http_batch_task_guard(ngx_event_t *ev)
{
    ngx_add_timer(ev, NGX_HTTP_BATCH_TASK_GUARD);
}
