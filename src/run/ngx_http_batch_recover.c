
/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Recovery, the index's half.
 *
 *   IDLE      the index was filled when last looked at; it is looked at now and
 *             then, because Redis can be emptied while the link stays up
 *                                                     -> ASKING
 *   ASKING    is it filled?  may we fill it?          -> IDLE, WAITING, READING
 *   WAITING   another worker fills it, or Redis or the disk is in trouble: ask
 *             again in a second                       -> ASKING
 *   READING   a task reads a portion of the store     -> SENDING, WAITING
 *   SENDING   its objects go to Redis                 -> READING, MARKING,
 *                                                        WAITING
 *   MARKING   all is there: the index is opened       -> IDLE, WAITING
 */


#include "ngx_http_batch_recover.h"
#include "ngx_http_batch_index.h"
#include "ngx_http_batch_restore.h"
#include "ngx_http_batch_task.h"


#define NGX_HTTP_BATCH_RECOVER_LEASE   30000    /* ms */
#define NGX_HTTP_BATCH_RECOVER_RENEW   10000    /* ms */
#define NGX_HTTP_BATCH_RECOVER_WAIT    1000     /* ms */
#define NGX_HTTP_BATCH_RECOVER_LOOK    2000     /* ms */
#define NGX_HTTP_BATCH_RECOVER_FLIGHT  64       /* commands not answered yet */


typedef enum {
    NGX_HTTP_BATCH_RECOVER_IDLE = 0,
    NGX_HTTP_BATCH_RECOVER_ASKING,
    NGX_HTTP_BATCH_RECOVER_WAITING,
    NGX_HTTP_BATCH_RECOVER_READING,
    NGX_HTTP_BATCH_RECOVER_SENDING,
    NGX_HTTP_BATCH_RECOVER_MARKING
} ngx_http_batch_recover_e;


/* context of the task, and of all commands */

typedef struct {
    ngx_http_batch_portion_t   portion;
    ngx_int_t                  rc;           /* of the last read */
    size_t                     item;         /* being sent */
    size_t                     step;         /* of the item */
    ngx_uint_t                 flight;       /* commands not answered yet */
    ngx_uint_t                 failed;       /* give up, ask again */
} ngx_http_batch_rebuild_t;


static void ngx_http_batch_recover_ask(void);
static void ngx_http_batch_recover_wait(void);
static void ngx_http_batch_recover_waited(ngx_event_t *ev);
static void ngx_http_batch_recover_checked(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_locked(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_renew(ngx_event_t *ev);
static void ngx_http_batch_recover_read(void *data, ngx_log_t *log);
static void ngx_http_batch_recover_have(void *data, ngx_log_t *log);
static void ngx_http_batch_recover_send(ngx_http_batch_rebuild_t *b);
static ngx_int_t ngx_http_batch_recover_command(ngx_http_batch_rebuild_t *b);
static ngx_int_t ngx_http_batch_recover_batch(ngx_http_batch_rebuild_t *b,
    ngx_http_batch_item_t *item);
static void ngx_http_batch_recover_sent(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_filled(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_recover_idle(void);
static void ngx_http_batch_recover_end(void);


static ngx_http_batch_recover_e    ngx_http_batch_recover_state;
static ngx_http_batch_rebuild_t   *ngx_http_batch_rebuild;

static ngx_event_t        ngx_http_batch_recover_wait_ev;
static ngx_event_t        ngx_http_batch_recover_renew_ev;

/* nginx's debug log reads an fd behind the data of every timer */
static ngx_connection_t   ngx_http_batch_recover_dumb = {
    .fd = (ngx_socket_t) -1
};


void
ngx_http_batch_recover_start(ngx_log_t *log)
{
    ngx_event_t  *ev;

    if (ngx_http_batch_recover_state != NGX_HTTP_BATCH_RECOVER_IDLE) {
        return;
    }

    ev = &ngx_http_batch_recover_wait_ev;

    ev->handler = ngx_http_batch_recover_waited;
    ev->data = &ngx_http_batch_recover_dumb;
    ev->log = log;
    ev->cancelable = 1;

    ev = &ngx_http_batch_recover_renew_ev;

    ev->handler = ngx_http_batch_recover_renew;
    ev->data = &ngx_http_batch_recover_dumb;
    ev->log = log;
    ev->cancelable = 1;

    ngx_http_batch_recover_ask();
}


void
ngx_http_batch_recover_exit(void)
{
    if (ngx_http_batch_recover_wait_ev.timer_set) {
        ngx_del_timer(&ngx_http_batch_recover_wait_ev);
    }

    if (ngx_http_batch_recover_state == NGX_HTTP_BATCH_RECOVER_READING) {

        /* a thread may still be at it; the process ends anyway */

        return;
    }

    ngx_http_batch_recover_end();

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_IDLE;
}


static void
ngx_http_batch_recover_ask(void)
{
    if (ngx_http_batch_recover_wait_ev.timer_set) {
        ngx_del_timer(&ngx_http_batch_recover_wait_ev);
    }

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_ASKING;

    if (ngx_http_batch_index_check(ngx_http_batch_recover_checked, NULL)
        != NGX_OK)
    {
        ngx_http_batch_recover_wait();
    }
}


static void
ngx_http_batch_recover_wait(void)
{
    ngx_http_batch_recover_end();

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_WAITING;

    if (!ngx_exiting) {
        ngx_add_timer(&ngx_http_batch_recover_wait_ev,
                      NGX_HTTP_BATCH_RECOVER_WAIT);
    }
}


static void
ngx_http_batch_recover_waited(ngx_event_t *ev)
{
    if (!ngx_exiting) {
        ngx_http_batch_recover_ask();
    }
}


static void
ngx_http_batch_recover_checked(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_recover_state != NGX_HTTP_BATCH_RECOVER_ASKING) {
        return;
    }

    if (rc == NGX_OK) {
        ngx_http_batch_recover_idle();
        return;
    }

    if (rc != NGX_BUSY
        || ngx_http_batch_index_rebuild_lock(NGX_HTTP_BATCH_RECOVER_LEASE,
                                             ngx_http_batch_recover_locked,
                                             NULL)
           != NGX_OK)
    {
        ngx_http_batch_recover_wait();
    }
}


static void
ngx_http_batch_recover_locked(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_task_t  *task;

    if (ngx_http_batch_recover_state != NGX_HTTP_BATCH_RECOVER_ASKING) {
        return;
    }

    if (rc != NGX_OK || ngx_exiting) {
        ngx_http_batch_recover_wait();
        return;
    }

    task = ngx_http_batch_task_create(sizeof(ngx_http_batch_rebuild_t),
                                      ngx_http_batch_recover_read,
                                      ngx_http_batch_recover_have);
    if (task == NULL) {
        ngx_http_batch_recover_wait();
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "batch: the index is empty, it is filled from the store");

    ngx_http_batch_rebuild = task->ctx;

    if (ngx_http_batch_task_post(task) != NGX_OK) {
        ngx_http_batch_recover_wait();
        return;
    }

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_READING;

    ngx_add_timer(&ngx_http_batch_recover_renew_ev,
                  NGX_HTTP_BATCH_RECOVER_RENEW);
}


/* from a timer, so that a slow disk does not lose us the lock */

static void
ngx_http_batch_recover_renew(ngx_event_t *ev)
{
    ngx_http_batch_rebuild_t  *b;

    b = ngx_http_batch_rebuild;

    if (b == NULL || b->failed || ngx_exiting) {
        return;
    }

    if (ngx_http_batch_index_rebuild_renew(NGX_HTTP_BATCH_RECOVER_LEASE,
                                           ngx_http_batch_recover_sent, b)
        != NGX_OK)
    {
        b->failed = 1;
        return;
    }

    b->flight++;

    ngx_add_timer(ev, NGX_HTTP_BATCH_RECOVER_RENEW);
}


/* in a thread */

static void
ngx_http_batch_recover_read(void *data, ngx_log_t *log)
{
    ngx_http_batch_rebuild_t  *b = data;

    b->rc = ngx_http_batch_portion_read(&b->portion, log);
}


static void
ngx_http_batch_recover_have(void *data, ngx_log_t *log)
{
    ngx_http_batch_rebuild_t  *b = data;

    if (b->rc != NGX_OK || ngx_exiting) {
        b->failed = 1;
    }

    b->item = 0;
    b->step = 0;

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_SENDING;

    ngx_http_batch_recover_send(b);
}


/* sends what may be sent, and goes on when all of the portion is answered */

static void
ngx_http_batch_recover_send(ngx_http_batch_rebuild_t *b)
{
    while (!b->failed && b->item < b->portion.n
           && b->flight < NGX_HTTP_BATCH_RECOVER_FLIGHT)
    {
        if (ngx_http_batch_recover_command(b) != NGX_OK) {
            b->failed = 1;
            break;
        }
    }

    if (b->flight) {
        return;
    }

    if (b->failed) {
        ngx_http_batch_recover_wait();
        return;
    }

    if (b->item < b->portion.n) {
        return;
    }

    ngx_http_batch_portion_items_free(&b->portion);

    if (!b->portion.end) {

        if (ngx_http_batch_task_post(ngx_http_batch_task_of(b)) != NGX_OK) {
            ngx_http_batch_recover_wait();
            return;
        }

        ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_READING;
        return;
    }

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_MARKING;

    /* with the index opened the lock is gone, and renewing it would fail */

    if (ngx_http_batch_recover_renew_ev.timer_set) {
        ngx_del_timer(&ngx_http_batch_recover_renew_ev);
    }

    if (ngx_http_batch_index_filled(ngx_http_batch_recover_filled, b)
        != NGX_OK)
    {
        ngx_http_batch_recover_wait();
    }
}


/* the next command of the item at hand; moves on to the next item */

static ngx_int_t
ngx_http_batch_recover_command(ngx_http_batch_rebuild_t *b)
{
    ngx_int_t               rc;
    ngx_http_batch_item_t  *item;

    item = &b->portion.items[b->item];

    switch (item->type) {

    case NGX_HTTP_BATCH_ITEM_FILE:
        rc = ngx_http_batch_index_restore_file(&item->file,
                                            ngx_http_batch_recover_sent, b);
        b->item++;
        break;

    case NGX_HTTP_BATCH_ITEM_FINAL:
        rc = ngx_http_batch_index_final(&item->meta, item->status,
                                 &item->final,
                                 item->nfiles[0] ? &item->files[0] : NULL,
                                 item->nfiles[1] ? &item->files[1] : NULL,
                                 ngx_http_batch_recover_sent, b);
        b->item++;
        break;

    default: /* NGX_HTTP_BATCH_ITEM_BATCH */
        rc = ngx_http_batch_recover_batch(b, item);
    }

    if (rc == NGX_DONE) {
        b->item++;
        b->step = 0;
        return NGX_OK;
    }

    if (rc == NGX_OK) {
        b->flight++;
    }

    return rc;
}


/* steps of a batch under way: itself, its plan, its chunks, its cancel mark */

static ngx_int_t
ngx_http_batch_recover_batch(ngx_http_batch_rebuild_t *b,
    ngx_http_batch_item_t *item)
{
    size_t                        step;
    ngx_http_batch_item_chunk_t  *c;

    step = b->step++;

    if (step == 0) {
        return ngx_http_batch_index_restore_batch(&item->meta,
                                             ngx_http_batch_recover_sent, b);
    }

    step--;

    if (item->planned) {

        if (step == 0) {
            return ngx_http_batch_index_planned(item->meta.id, item->total,
                                             item->nplan, &item->model,
                                             item->in_progress_at,
                                             ngx_http_batch_recover_sent, b);
        }

        step--;
    }

    if (step < item->nchunks) {
        c = &item->chunks[step];

        return ngx_http_batch_index_chunk_restore(item->meta.id, c->chunk,
                                             c->epoch, c->done, c->ok,
                                             c->failed,
                                             ngx_http_batch_recover_sent, b);
    }

    step -= item->nchunks;

    if (step == 0 && item->cancelling_at) {
        return ngx_http_batch_index_restore_cancel(item->meta.id,
                                             item->cancelling_at,
                                             ngx_http_batch_recover_sent, b);
    }

    return NGX_DONE;
}


static void
ngx_http_batch_recover_sent(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_rebuild_t  *b = data;

    if (b != ngx_http_batch_rebuild) {
        return;
    }

    /* DECLINED: a batch unknown right after it was restored, or the lock of the
     * rebuild is lost: Redis was emptied under us */

    if (rc != NGX_OK) {
        b->failed = 1;
    }

    b->flight--;

    if (ngx_http_batch_recover_state == NGX_HTTP_BATCH_RECOVER_SENDING) {
        ngx_http_batch_recover_send(b);
    }
}


static void
ngx_http_batch_recover_filled(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_recover_state != NGX_HTTP_BATCH_RECOVER_MARKING) {
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_batch_recover_wait();
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "batch: the index is filled");

    ngx_http_batch_recover_idle();
}


static void
ngx_http_batch_recover_idle(void)
{
    ngx_http_batch_recover_end();

    ngx_http_batch_recover_state = NGX_HTTP_BATCH_RECOVER_IDLE;

    if (!ngx_exiting) {
        ngx_add_timer(&ngx_http_batch_recover_wait_ev,
                      NGX_HTTP_BATCH_RECOVER_LOOK);
    }
}


/* no thread is at it; late answers find another rebuild, or none */

static void
ngx_http_batch_recover_end(void)
{
    ngx_http_batch_rebuild_t  *b;

    if (ngx_http_batch_recover_renew_ev.timer_set) {
        ngx_del_timer(&ngx_http_batch_recover_renew_ev);
    }

    b = ngx_http_batch_rebuild;

    if (b) {
        ngx_http_batch_rebuild = NULL;

        ngx_http_batch_portion_free(&b->portion);
        ngx_http_batch_task_free(ngx_http_batch_task_of(b));
    }
}
