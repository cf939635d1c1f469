/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The state machine of the link, on nginx's events and timers.
 */

#include "ngx_http_batch_link_int.h"
#include "ngx_http_batch_turn.h"


#define NGX_HTTP_BATCH_LINK_BACKOFF      100     /* ms, the first */
#define NGX_HTTP_BATCH_LINK_BACKOFF_MAX  5000    /* ms */
#define NGX_HTTP_BATCH_LINK_STABLE       5000    /* ms ready: backoff starts
                                                    from the first again */
#define NGX_HTTP_BATCH_LINK_REPEAT       10000   /* ms: the same reason is not
                                                    logged again */


static void ngx_http_batch_link_first(ngx_uint_t ready);
static void ngx_http_batch_link_connect(void);
static void ngx_http_batch_link_attach(redisAsyncContext *ac,
    ngx_connection_t *c);
static void ngx_http_batch_link_connected(const redisAsyncContext *ac,
    int status);
static void ngx_http_batch_link_down(void);
static ngx_uint_t ngx_http_batch_link_next(ngx_uint_t was);
static void ngx_http_batch_link_pause(void);
static void ngx_http_batch_link_log_down(const char *why);
static void ngx_http_batch_link_timer(ngx_event_t *ev);
static void ngx_http_batch_link_overdue(ngx_event_t *ev);
static ngx_uint_t ngx_http_batch_link_unasked(ngx_connection_t *c);
static void ngx_http_batch_link_read(ngx_event_t *ev);
static void ngx_http_batch_link_write(ngx_event_t *ev);
static void ngx_http_batch_link_add_read(void *data);
static void ngx_http_batch_link_del_read(void *data);
static void ngx_http_batch_link_add_write(void *data);
static void ngx_http_batch_link_del_write(void *data);
static ngx_uint_t ngx_http_batch_link_words(ngx_connection_t *c, char *words,
    size_t size);
static void ngx_http_batch_link_cleanup(void *data);


ngx_http_batch_link_t  ngx_http_batch_link;


ngx_int_t
ngx_http_batch_link_init(ngx_http_batch_redis_conf_t *conf,
    ngx_http_batch_link_state_pt on_state, ngx_log_t *log)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    ngx_memzero(link, sizeof(ngx_http_batch_link_t));

    link->conf = conf;
    link->on_state = on_state;
    link->log = log;
    link->first = 1;
    ngx_queue_init(&link->ops);

    ngx_http_batch_turn_timer(&link->timer, ngx_http_batch_link_timer, 1);

    /* not cancelable: the worker waits for the answers to what it has sent */

    ngx_http_batch_turn_timer(&link->overdue, ngx_http_batch_link_overdue, 0);

    ngx_http_batch_link_connect();

    return NGX_OK;
}


void
ngx_http_batch_link_exit(void)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (link->conf == NULL) {
        return;
    }

    link->exiting = 1;
    link->on_state = NULL;

    ngx_http_batch_link_free("worker exits");

    ngx_http_batch_turn_cancel(&link->timer);
}


void
ngx_http_batch_link_leave(const char *why)
{
    if (ngx_http_batch_link.state == NGX_HTTP_BATCH_LINK_READY) {
        ngx_http_batch_link_free(why);
    }
}


ngx_int_t
ngx_http_batch_link_wait(ngx_http_batch_link_state_pt handler)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (!link->first || link->state == NGX_HTTP_BATCH_LINK_READY
        || link->exiting)
    {
        return NGX_DECLINED;
    }

    /* it ends with this timer at the latest, a worker that quits awaits it */

    link->timer.cancelable = 0;
    link->waiting = handler;

    return NGX_OK;
}


static void
ngx_http_batch_link_first(ngx_uint_t ready)
{
    ngx_http_batch_link_t          *link = &ngx_http_batch_link;
    ngx_http_batch_link_state_pt   waiting;

    waiting = link->waiting;

    link->first = 0;
    link->waiting = NULL;
    link->timer.cancelable = 1;

    if (waiting) {
        waiting(ready);
    }
}


static void
ngx_http_batch_link_connect(void)
{
    ngx_connection_t             *c;
    redisAsyncContext            *ac;
    ngx_http_batch_link_t        *link = &ngx_http_batch_link;
    ngx_http_batch_redis_addr_t  *addr;

    addr = &link->conf->addrs[link->addr];

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "batch: redis %V: connecting to %V", &link->conf->address,
                   &addr->name);

    link->why = NULL;

    if (addr->port == 0) {
        ac = redisAsyncConnectUnix((char *) addr->host.data);

    } else {
        ac = redisAsyncConnect((char *) addr->host.data, (int) addr->port);
    }

    if (ac == NULL) {
        link->why = "no memory";
        ngx_http_batch_link_down();
        return;
    }

    if (ac->err) {
        ngx_http_batch_link_log_down(ac->errstr);
        redisAsyncFree(ac);
        ngx_http_batch_link_down();
        return;
    }

    c = ngx_get_connection(ac->c.fd, link->log);

    if (c == NULL) {
        redisAsyncFree(ac);
        link->why = "worker_connections are not enough";
        ngx_http_batch_link_down();
        return;
    }

    ngx_http_batch_link_attach(ac, c);

    link->ac = ac;
    link->c = c;
    link->state = NGX_HTTP_BATCH_LINK_CONNECTING;

    /* the whole way to READY has to be done in this time */

    ngx_add_timer(&link->timer, link->conf->timeout);

    /* this asks for the write event, so that the hooks must be there before */

    redisAsyncSetConnectCallback(ac, ngx_http_batch_link_connected);
}


static void
ngx_http_batch_link_attach(redisAsyncContext *ac, ngx_connection_t *c)
{
    c->data = &ngx_http_batch_link;
    c->log = ngx_http_batch_link.log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_http_batch_link_read;
    c->write->handler = ngx_http_batch_link_write;
    c->log_error = NGX_ERROR_ERR;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    /*
     * c->idle stays 0.  A worker that is asked to quit closes idle connections
     * at once, but lines under way still have counts to report and chunks to
     * give back.  An open link does not keep a worker from exiting: only its
     * pending commands do, and ngx_http_batch_link_exit() closes it.
     */

    ac->ev.data = c;
    ac->ev.addRead = ngx_http_batch_link_add_read;
    ac->ev.delRead = ngx_http_batch_link_del_read;
    ac->ev.addWrite = ngx_http_batch_link_add_write;
    ac->ev.delWrite = ngx_http_batch_link_del_write;
    ac->ev.cleanup = ngx_http_batch_link_cleanup;
}


static void
ngx_http_batch_link_connected(const redisAsyncContext *ac, int status)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    /*
     * After an error hiredis frees the context itself and comes to the cleanup
     * hook; freeing it here would be a double free in 0.14.
     */

    if (status != REDIS_OK) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "batch: redis %V: connected, setting up",
                   &link->conf->address);

    link->state = NGX_HTTP_BATCH_LINK_SETUP;

    if (ngx_http_batch_link_server_setup() != NGX_OK) {
        /* the timer closes it */
        link->why = "setup could not be sent";
    }
}


void
ngx_http_batch_link_ready(void)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    ngx_http_batch_turn_cancel(&link->timer);

    link->state = NGX_HTTP_BATCH_LINK_READY;
    link->tried = 0;
    link->ready_at = ngx_current_msec;

    ngx_log_error(NGX_LOG_NOTICE, link->log, 0, "batch: redis %V is ready",
                  &link->conf->address);

    if (ngx_worker == 0) {
        ngx_http_batch_link_server_advise();
    }

    if (link->on_state) {
        link->on_state(1);
    }

    ngx_http_batch_link_first(1);
}


/* closes the link; all ways end in the cleanup hook */

void
ngx_http_batch_link_free(const char *why)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (link->ac == NULL) {
        return;
    }

    if (!link->exiting) {
        ngx_http_batch_link_log_down(why);
    }

    link->why = "";

    /* inside of a reply's callback hiredis puts it off to its end */

    redisAsyncFree(link->ac);
}


static void
ngx_http_batch_link_down(void)
{
    ngx_uint_t              was;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    was = link->state;

    link->ac = NULL;
    link->c = NULL;
    link->state = NGX_HTTP_BATCH_LINK_DOWN;

    if (link->why && link->why[0]) {
        ngx_http_batch_link_log_down(link->why);
    }

    link->why = NULL;

    ngx_http_batch_turn_cancel(&link->timer);

    if (was == NGX_HTTP_BATCH_LINK_READY
        && ngx_current_msec - link->ready_at >= NGX_HTTP_BATCH_LINK_STABLE)
    {
        link->backoff = 0;
    }

    if (!link->exiting) {

        if (ngx_http_batch_link_next(was)) {
            ngx_add_timer(&link->timer, 0);
            return;
        }

        ngx_http_batch_link_pause();
    }

    if (was == NGX_HTTP_BATCH_LINK_READY && link->on_state) {
        link->on_state(0);
    }

    ngx_http_batch_link_first(0);
}


/* 1: there is another address, which is to be tried without a pause */

static ngx_uint_t
ngx_http_batch_link_next(ngx_uint_t was)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (was == NGX_HTTP_BATCH_LINK_READY) {

        /* this address was right, and is the first to be tried again */

        return 0;
    }

    link->addr = (link->addr + 1) % link->conf->naddrs;

    if (++link->tried < link->conf->naddrs) {
        return 1;
    }

    link->tried = 0;

    return 0;
}


static void
ngx_http_batch_link_pause(void)
{
    ngx_msec_t              delay;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    link->backoff = link->backoff ? link->backoff * 2
                                  : NGX_HTTP_BATCH_LINK_BACKOFF;
    link->backoff = ngx_min(link->backoff, NGX_HTTP_BATCH_LINK_BACKOFF_MAX);

    /* all workers lose it at once: they should not all come back at once */

    delay = link->backoff / 2
            + (ngx_msec_t) ngx_random() % (link->backoff / 2 + 1);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "batch: redis %V: connecting again in %M ms",
                   &link->conf->address, delay);

    ngx_add_timer(&link->timer, delay);
}


static void
ngx_http_batch_link_log_down(const char *why)
{
    ngx_uint_t              level;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (link->state != NGX_HTTP_BATCH_LINK_READY
        && link->tried + 1 < link->conf->naddrs)
    {
        /* whether the server is down, the last address will tell */

        ngx_log_error(NGX_LOG_INFO, link->log, 0,
                      "batch: redis %V does not answer at %V: %s",
                      &link->conf->address,
                      &link->conf->addrs[link->addr].name, why);
        return;
    }

    level = NGX_LOG_ERR;

    if (ngx_strncmp(link->reason, why, sizeof(link->reason) - 1) == 0
        && ngx_current_msec - link->reason_at < NGX_HTTP_BATCH_LINK_REPEAT)
    {
        level = NGX_LOG_INFO;

    } else {
        ngx_cpystrn(link->reason, (u_char *) why, sizeof(link->reason));
        link->reason_at = ngx_current_msec;
    }

    ngx_log_error(level, link->log, 0, "batch: redis %V is down: %s",
                  &link->conf->address, why);
}


static void
ngx_http_batch_link_timer(ngx_event_t *ev)
{
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    switch (link->state) {

    case NGX_HTTP_BATCH_LINK_DOWN:
        ngx_http_batch_link_connect();
        break;

    case NGX_HTTP_BATCH_LINK_CONNECTING:
        ngx_http_batch_link_free("connecting timed out");
        break;

    default:
        ngx_http_batch_link_free(link->why ? link->why
                                           : "no answer to AUTH or PING");
        break;
    }
}


/*
 * Replies come in the order of the commands, so only the oldest can be overdue;
 * as long as bytes of its reply come, it is not.  Nothing but closing the link
 * helps: a reply that came later would be taken for another command's.
 */

static void
ngx_http_batch_link_overdue(ngx_event_t *ev)
{
    ngx_msec_int_t              left;
    ngx_http_batch_link_t      *link = &ngx_http_batch_link;
    ngx_http_batch_redis_op_t  *op;

    if (ngx_queue_empty(&link->ops)) {
        return;
    }

    op = ngx_queue_data(ngx_queue_head(&link->ops), ngx_http_batch_redis_op_t,
                        queue);

    left = (ngx_msec_int_t) (op->sent - link->heard) > 0
               ? (ngx_msec_int_t) op->sent : (ngx_msec_int_t) link->heard;
    left = (ngx_msec_int_t) ((ngx_msec_t) left + link->conf->timeout
                             - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(&link->overdue, (ngx_msec_t) left);
        return;
    }

    ngx_http_batch_link_free("a command timed out");
}


/*
 * hiredis asserts that a command waits for each reply that it reads.  An error
 * passes: a server with too many clients says so unasked, and hiredis knows it.
 */

static ngx_uint_t
ngx_http_batch_link_unasked(ngx_connection_t *c)
{
    u_char  ch;

    return ngx_http_batch_link.pending == 0
           && recv(c->fd, &ch, 1, MSG_PEEK) == 1
           && ch != '-';
}


static void
ngx_http_batch_link_read(ngx_event_t *ev)
{
    ngx_connection_t       *c = ev->data;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    if (c->close) {
        /* worker_shutdown_timeout is over */
        link->exiting = 1;
        ngx_http_batch_link_free("worker exits");
        return;
    }

    if (ngx_http_batch_link_unasked(c)) {
        ngx_http_batch_link_free(NGX_HTTP_BATCH_LINK_UNASKED);
        return;
    }

    link->heard = ngx_current_msec;

    /* afterwards neither the context nor the connection may exist */

    redisAsyncHandleRead(link->ac);
}


static void
ngx_http_batch_link_write(ngx_event_t *ev)
{
    redisAsyncHandleWrite(ngx_http_batch_link.ac);
}


/*
 * Level events (NGX_CLEAR_EVENT would be edge-triggered): hiredis reads 16 KB
 * per event and expects to be called again for the rest.
 */

static void
ngx_http_batch_link_add_read(void *data)
{
    ngx_connection_t  *c = data;

    if (!c->read->active
        && ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "batch: no read event for redis");
    }
}


static void
ngx_http_batch_link_del_read(void *data)
{
    ngx_connection_t  *c = data;

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);
    }
}


static void
ngx_http_batch_link_add_write(void *data)
{
    ngx_connection_t  *c = data;

    if (!c->write->active
        && ngx_add_event(c->write, NGX_WRITE_EVENT, NGX_LEVEL_EVENT) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "batch: no write event for redis");
    }
}


static void
ngx_http_batch_link_del_write(void *data)
{
    ngx_connection_t  *c = data;

    if (c->write->active) {
        (void) ngx_del_event(c->write, NGX_WRITE_EVENT, 0);
    }
}


/*
 * A server that does not let us in says why and closes the connection; what we
 * have sent meanwhile is then answered by a reset, and hiredis reports the
 * error of the write without reading on.  1: its words, without the "-".
 */

static ngx_uint_t
ngx_http_batch_link_words(ngx_connection_t *c, char *words, size_t size)
{
    char     *p;
    ssize_t   n;

    n = recv(c->fd, words, size - 1, MSG_PEEK|MSG_DONTWAIT);

    if (n < 2 || words[0] != '-') {
        return 0;
    }

    words[n] = '\0';
    ngx_memmove(words, words + 1, n);

    for (p = words; *p; p++) {
        if (*p < ' ' || *p > '~') {
            *p = '\0';
            break;
        }
    }

    return 1;
}


/* the one funnel: hiredis comes here whenever it frees the context */

static void
ngx_http_batch_link_cleanup(void *data)
{
    ngx_connection_t       *c = data;
    char                    words[128];
    redisAsyncContext      *ac;
    ngx_http_batch_link_t  *link = &ngx_http_batch_link;

    ac = link->ac;

    if (link->why == NULL && !link->exiting) {
        ngx_http_batch_link_log_down(
            ngx_http_batch_link_words(c, words, sizeof(words)) ? words
            : ac->err && ac->errstr ? ac->errstr
            : ac->c.err ? ac->c.errstr : "closed");
    }

    link->why = "";

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "batch: redis %V: closed, %ui commands pending",
                   &link->conf->address, link->pending);

    if (ngx_del_conn) {
        ngx_del_conn(c, 0);

    } else {
        ngx_http_batch_link_del_read(c);
        ngx_http_batch_link_del_write(c);
    }

    /* the descriptor is hiredis', which closes it right after this */

    c->shared = 1;
    ngx_close_connection(c);

    ngx_http_batch_link_down();
}
