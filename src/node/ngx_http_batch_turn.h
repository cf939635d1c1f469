/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * A worker's turns: the beat of its timer, the pump that runs when somebody
 * wakes it, and how the worker leaves.  The rooms above are called through
 * ngx_http_batch_turn_t, so that every room may wake the worker, or ask whether
 * it leaves, without knowing who acts on it.
 */

#ifndef _NGX_HTTP_BATCH_TURN_H_INCLUDED_
#define _NGX_HTTP_BATCH_TURN_H_INCLUDED_

#include "ngx_http_batch.h"


#define NGX_HTTP_BATCH_TURN_BEAT      50       /* ms */


typedef struct {
    void         (*beat)(void);               /* every 50 ms */
    void         (*pump)(void);               /* after a wake, never inside the
                                                 call that woke it */
    void         (*leave)(ngx_uint_t cut);    /* a graceful quit; cut = 1: its
                                                 worker_shutdown_timeout */
    ngx_uint_t   (*idle)(void);               /* 1: nothing keeps a worker that
                                                 leaves */
} ngx_http_batch_turn_t;


/* init_process.  turn must outlive the process */
ngx_int_t ngx_http_batch_turn_init(ngx_cycle_t *cycle,
    const ngx_http_batch_turn_t *turn);

/* exit_process: nothing new begins from here on */
void ngx_http_batch_turn_exit(void);

/* 1 once the worker was told to quit */
ngx_uint_t ngx_http_batch_turn_leaving(void);

/* the pump runs in the next turn of the event loop */
void ngx_http_batch_turn_wake(void);

/* the pump runs after delay ms, if that is not already due */
void ngx_http_batch_turn_again(ngx_msec_t delay);


/*
 * For the data of a timer that belongs to no connection: nginx's debug log
 * reads an fd there.  Its fd is -1.
 */
extern ngx_connection_t  ngx_http_batch_turn_dummy;

/* such a timer, not set yet */
void ngx_http_batch_turn_timer(ngx_event_t *ev, ngx_event_handler_pt handler,
    ngx_uint_t cancelable);

/* set or not */
void ngx_http_batch_turn_cancel(ngx_event_t *ev);


#endif /* _NGX_HTTP_BATCH_TURN_H_INCLUDED_ */
