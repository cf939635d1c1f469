/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * When a worker acts: timers, the pump, a graceful quit.
 *
 * nginx has no hook for "this worker is about to quit".  It closes idle
 * connections then, and worker_shutdown_timeout marks those that are left, so
 * one connection without a socket (the watcher) hears of both.
 *
 *   tick    (timer)         the beat
 *   pump    (posted event)  what a wake asks for
 *   again   (timer)         the pump, a little later
 *   hold    (timer)         keeps a quitting worker until nothing is left
 *   watcher (connection)    a graceful quit, and worker_shutdown_timeout
 */

#include "ngx_http_batch_turn.h"


static void ngx_http_batch_turn_tick(ngx_event_t *ev);
static void ngx_http_batch_turn_pump(ngx_event_t *ev);
static ngx_int_t ngx_http_batch_turn_watch(ngx_cycle_t *cycle);
static void ngx_http_batch_turn_watcher(ngx_event_t *ev);
static void ngx_http_batch_turn_hold(ngx_event_t *ev);


ngx_http_batch_main_conf_t  *ngx_http_batch_conf;
char                         ngx_http_batch_worker_id[
                                                     NGX_HTTP_BATCH_WORKER_ID];

ngx_connection_t  ngx_http_batch_turn_dummy = { .fd = (ngx_socket_t) -1 };

static const ngx_http_batch_turn_t  *ngx_http_batch_turn;

static ngx_uint_t         ngx_http_batch_turn_left;

static ngx_event_t        ngx_http_batch_turn_tick_event;
static ngx_event_t        ngx_http_batch_turn_pump_event;
static ngx_event_t        ngx_http_batch_turn_again_event;
static ngx_event_t        ngx_http_batch_turn_hold_event;
static ngx_connection_t  *ngx_http_batch_turn_watching;


ngx_int_t
ngx_http_batch_turn_init(ngx_cycle_t *cycle, const ngx_http_batch_turn_t *turn)
{
    ngx_http_batch_turn = turn;

    ngx_http_batch_turn_timer(&ngx_http_batch_turn_tick_event,
                              ngx_http_batch_turn_tick, 1);
    ngx_http_batch_turn_timer(&ngx_http_batch_turn_pump_event,
                              ngx_http_batch_turn_pump, 0);
    ngx_http_batch_turn_timer(&ngx_http_batch_turn_again_event,
                              ngx_http_batch_turn_pump, 1);
    ngx_http_batch_turn_timer(&ngx_http_batch_turn_hold_event,
                              ngx_http_batch_turn_hold, 0);

    ngx_add_timer(&ngx_http_batch_turn_tick_event, NGX_HTTP_BATCH_TURN_BEAT);

    return ngx_http_batch_turn_watch(cycle);
}


void
ngx_http_batch_turn_timer(ngx_event_t *ev, ngx_event_handler_pt handler,
    ngx_uint_t cancelable)
{
    ev->handler = handler;
    ev->data = &ngx_http_batch_turn_dummy;
    ev->log = ngx_cycle->log;
    ev->cancelable = cancelable;
}


void
ngx_http_batch_turn_cancel(ngx_event_t *ev)
{
    if (ev->timer_set) {
        ngx_del_timer(ev);
    }
}


void
ngx_http_batch_turn_exit(void)
{
    ngx_http_batch_turn_left = 1;

    if (ngx_http_batch_turn_watching) {
        /* nginx would report an "open socket #-2" */
        ngx_http_batch_turn_watching->fd = (ngx_socket_t) -1;
        ngx_http_batch_turn_watching = NULL;
    }
}


ngx_uint_t
ngx_http_batch_turn_leaving(void)
{
    return ngx_http_batch_turn_left;
}


void
ngx_http_batch_turn_wake(void)
{
    ngx_event_t  *ev;

    ev = &ngx_http_batch_turn_pump_event;

    if (!ev->posted) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


void
ngx_http_batch_turn_again(ngx_msec_t delay)
{
    if (!ngx_http_batch_turn_again_event.timer_set) {
        ngx_add_timer(&ngx_http_batch_turn_again_event, delay);
    }
}


static void
ngx_http_batch_turn_tick(ngx_event_t *ev)
{
    ngx_http_batch_turn->beat();

    if (!ngx_http_batch_turn_left) {
        ngx_add_timer(ev, NGX_HTTP_BATCH_TURN_BEAT);
    }
}


static void
ngx_http_batch_turn_pump(ngx_event_t *ev)
{
    ngx_http_batch_turn->pump();
}


/*
 * ngx_close_idle_connections() and the timer of worker_shutdown_timeout walk
 * all connections whose fd is not -1.  The connections of lines have fd -1.
 */

static ngx_int_t
ngx_http_batch_turn_watch(ngx_cycle_t *cycle)
{
    ngx_connection_t  *c, *saved;

    saved = cycle->files ? cycle->files[0] : NULL;

    c = ngx_get_connection(0, cycle->log);

    if (cycle->files) {
        cycle->files[0] = saved;
    }

    if (c == NULL) {
        return NGX_ERROR;
    }

    c->fd = (ngx_socket_t) -2;
    c->idle = 1;
    c->read->handler = ngx_http_batch_turn_watcher;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->log = cycle->log;

    ngx_http_batch_turn_watching = c;

    return NGX_OK;
}


static void
ngx_http_batch_turn_watcher(ngx_event_t *ev)
{
    ngx_connection_t  *w;

    w = ev->data;
    w->close = 0;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "batch: worker leaves, cut: %d", w->error);

    ngx_http_batch_turn_left = 1;

    ngx_http_batch_turn->leave(w->error);

    ngx_http_batch_turn_hold(&ngx_http_batch_turn_hold_event);
}


static void
ngx_http_batch_turn_hold(ngx_event_t *ev)
{
    ngx_http_batch_turn->beat();

    if (ngx_http_batch_turn->idle()) {
        return;
    }

    if (!ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_BATCH_TURN_BEAT);
    }
}
