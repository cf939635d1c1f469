/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One line: a fake main request of its own and one real subrequest to
 * batch_pass + url.
 *
 * WHY a main request per line: everything that a subrequest allocates stays in
 * the main request's pool until that dies.  WHY an own connection struct with fd
 * -1: a line must not take a slot of clients' connections.  WHY we tear the main
 * request down ourselves: nginx's own finalize path would close the connection,
 * which is none.
 *
 * Life of an attempt:
 *   start -> ngx_http_subrequest() -> phases, upstream
 *   filters capture header and body
 *   post handler (it may be called twice: error_page) notes what nginx made
 *   itself and never lets nginx terminate the main request
 *   nginx posts the main request: ngx_http_batch_line_done() -> teardown, verdict
 * From outside (deadline, cancel, shutdown): ngx_http_batch_line_cut(), which
 * waits while the request is blocked by an aio or thread operation.
 *
 * The struct itself is only used again from the next turn of the event loop on:
 * ngx_http_run_posted_requests() further up the stack still looks at the
 * connection's "destroyed".  So ended lines are dead until the dispatcher, at the
 * start of its turn, calls ngx_http_batch_line_reap().
 */

#include "ngx_http_batch_run.h"


static ngx_http_batch_line_t *ngx_http_batch_line_get(void);
static void ngx_http_batch_line_attempt(ngx_http_batch_line_t *line);
static ngx_int_t ngx_http_batch_line_request(ngx_http_batch_line_t *line);
static ngx_int_t ngx_http_batch_line_subrequest(ngx_http_batch_line_t *line);
static ngx_int_t ngx_http_batch_line_headers(ngx_http_batch_line_t *line);
static void ngx_http_batch_line_connection(ngx_http_batch_line_t *line);
static void ngx_http_batch_line_event(ngx_event_t *ev);
static ngx_int_t ngx_http_batch_line_post(ngx_http_request_t *sr, void *data,
    ngx_int_t rc);
static void ngx_http_batch_line_done(ngx_http_request_t *r);
static void ngx_http_batch_line_cut(ngx_http_batch_line_t *line);
static void ngx_http_batch_line_teardown(ngx_http_batch_line_t *line);
static void ngx_http_batch_line_verdict(ngx_http_batch_line_t *line);
static void ngx_http_batch_line_end(ngx_http_batch_line_t *line,
    ngx_http_batch_entry_t *entry);
static ngx_uint_t ngx_http_batch_line_again(ngx_http_batch_line_t *line,
    ngx_http_batch_answer_e verdict);
static void ngx_http_batch_line_timer(ngx_event_t *ev);
static u_char *ngx_http_batch_line_log(ngx_log_t *log, u_char *buf,
    size_t len);


#define NGX_HTTP_BATCH_BACKOFF        500       /* ms, doubled each time */
#define NGX_HTTP_BATCH_BACKOFF_MAX    30000
#define NGX_HTTP_BATCH_FREE_LINES     1024
#define NGX_HTTP_BATCH_POOL_SIZE      512


static ngx_queue_t         ngx_http_batch_line_free;
static ngx_queue_t         ngx_http_batch_line_dead;
static ngx_uint_t          ngx_http_batch_line_nfree;
static ngx_buf_t           ngx_http_batch_line_buf;

static struct sockaddr_in  ngx_http_batch_line_sockaddr;
static ngx_str_t           ngx_http_batch_line_addr = ngx_string("127.0.0.1");
static ngx_str_t           ngx_http_batch_line_method = { 4,
                                                        (u_char *) "POST " };


void
ngx_http_batch_line_init(void)
{
    ngx_queue_init(&ngx_http_batch_line_free);
    ngx_queue_init(&ngx_http_batch_line_dead);

    ngx_http_batch_line_sockaddr.sin_family = AF_INET;
    ngx_http_batch_line_sockaddr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}


void
ngx_http_batch_line_reap(void)
{
    ngx_queue_t            *q;
    ngx_http_batch_line_t  *line;

    while (!ngx_queue_empty(&ngx_http_batch_line_dead)) {
        q = ngx_queue_head(&ngx_http_batch_line_dead);
        ngx_queue_remove(q);

        line = ngx_queue_data(q, ngx_http_batch_line_t, queue);

        if (ngx_http_batch_line_nfree >= NGX_HTTP_BATCH_FREE_LINES) {
            ngx_destroy_pool(line->c.pool);
            ngx_free(line);
            continue;
        }

        ngx_queue_insert_head(&ngx_http_batch_line_free, q);
        ngx_http_batch_line_nfree++;
    }
}


static ngx_http_batch_line_t *
ngx_http_batch_line_get(void)
{
    ngx_queue_t            *q;
    ngx_http_batch_line_t  *line;

    if (!ngx_queue_empty(&ngx_http_batch_line_free)) {
        q = ngx_queue_head(&ngx_http_batch_line_free);
        ngx_queue_remove(q);
        ngx_http_batch_line_nfree--;

        return ngx_queue_data(q, ngx_http_batch_line_t, queue);
    }

    line = ngx_calloc(sizeof(ngx_http_batch_line_t), ngx_cycle->log);
    if (line == NULL) {
        return NULL;
    }

    line->c.pool = ngx_create_pool(NGX_HTTP_BATCH_POOL_SIZE, ngx_cycle->log);
    if (line->c.pool == NULL) {
        ngx_free(line);
        return NULL;
    }

    line->kind = NGX_HTTP_BATCH_CTX_LINE;
    line->timer.handler = ngx_http_batch_line_timer;
    line->timer.data = &line->c;
    line->timer.log = ngx_cycle->log;

    return line;
}


/* takes a copy of the line p[0..len), parses it and sends it */

ngx_int_t
ngx_http_batch_line_start(ngx_http_batch_chunk_t *c, const u_char *p,
    size_t len, uint64_t number)
{
    batch_str_t             endpoint;
    batch_line_error_t      err;
    ngx_http_batch_line_t  *line;

    line = ngx_http_batch_line_get();
    if (line == NULL) {
        return NGX_ERROR;
    }

    line->data = ngx_alloc(len ? len : 1, ngx_cycle->log);
    if (line->data == NULL) {
        ngx_queue_insert_tail(&ngx_http_batch_line_dead, &line->queue);
        return NGX_ERROR;
    }

    ngx_memcpy(line->data, p, len);

    line->chunk = c;
    line->number = number;
    line->attempt = 0;
    line->free_attempts = 0;
    line->timedout = 0;
    line->aborted = 0;
    line->deadline = ngx_current_msec + c->run->conf->timeout;

    endpoint.len = c->run->meta.endpoint.len;
    endpoint.data = c->run->meta.endpoint.data;

    if (batch_jsonl_parse(line->data, len, &endpoint, 1, &line->parsed, &err)
        != BATCH_OK)
    {
        /* the validation has accepted it: the input has changed under us */

        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "batch: %s, line %uL is not what was validated: %s",
                      c->run->id, number, err.code);

        ngx_free(line->data);
        line->data = NULL;
        ngx_queue_insert_tail(&ngx_http_batch_line_dead, &line->queue);

        c->poisoned = 1;
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&c->lines, &line->queue);
    c->nlines++;

    ngx_http_batch_slot->inflight[c->run->route]++;

    ngx_http_batch_line_attempt(line);

    return NGX_OK;
}


static void
ngx_http_batch_line_attempt(ngx_http_batch_line_t *line)
{
    ngx_msec_t  left;

    line->attempt++;
    line->life = NGX_HTTP_BATCH_LINE_FLYING;
    line->made = 0;

    ngx_http_batch_answer_reset(line);

    ngx_http_batch_slot->started++;

    if (line->attempt > 1) {
        ngx_http_batch_slot->retried++;
    }

    left = line->deadline - ngx_current_msec;
    ngx_add_timer(&line->timer, (ngx_msec_int_t) left > 0 ? left : 1);

    ngx_http_batch_line_connection(line);

    if (ngx_http_batch_line_request(line) != NGX_OK
        || ngx_http_batch_line_subrequest(line) != NGX_OK)
    {
        ngx_http_batch_line_teardown(line);
        line->rc = NGX_ERROR;
        ngx_http_batch_line_verdict(line);
        return;
    }

    ngx_http_run_posted_requests(&line->c);
}


/*
 * The fields that nginx looks at in a client's connection.  Both events are
 * "active", so no call to epoll is ever made for fd -1.
 */

static void
ngx_http_batch_line_connection(ngx_http_batch_line_t *line)
{
    ngx_log_t                 *log;
    ngx_pool_t                *pool;
    ngx_event_t               *rev, *wev;
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = &line->c;
    rev = &line->rev;
    wev = &line->wev;
    log = &line->log;
    pool = c->pool;

    ngx_reset_pool(pool);

    ngx_memzero(c, sizeof(ngx_connection_t));
    ngx_memzero(rev, sizeof(ngx_event_t));
    ngx_memzero(wev, sizeof(ngx_event_t));

    clcf = ngx_http_get_module_loc_conf(line->chunk->run->conf->ctx,
                                        ngx_http_core_module);

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    *log = *clcf->error_log;
    log->connection = c->number;
    log->handler = ngx_http_batch_line_log;
    log->data = &line->log_ctx;
    log->action = "processing batch line";

    line->log_ctx.connection = c;
    line->log_ctx.request = NULL;
    line->log_ctx.current_request = NULL;

    c->fd = (ngx_socket_t) -1;
    c->read = rev;
    c->write = wev;
    c->pool = pool;
    c->log = log;
    c->log_error = NGX_ERROR_INFO;
    c->start_time = ngx_current_msec;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    c->sndlowat = 1;
    c->buffer = &ngx_http_batch_line_buf;
    c->sockaddr = (struct sockaddr *) &ngx_http_batch_line_sockaddr;
    c->socklen = sizeof(struct sockaddr_in);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;
    c->addr_text = ngx_http_batch_line_addr;

    rev->data = c;
    rev->index = NGX_INVALID_INDEX;
    rev->log = log;
    rev->handler = ngx_http_batch_line_event;
    rev->active = 1;

    wev->data = c;
    wev->index = NGX_INVALID_INDEX;
    wev->log = log;
    wev->handler = ngx_http_batch_line_event;
    wev->write = 1;
    wev->active = 1;
    wev->ready = 1;

    pool->log = log;

    ngx_memzero(&line->hc, sizeof(ngx_http_connection_t));
    line->hc.conf_ctx = line->chunk->run->conf->ctx;

    c->data = &line->hc;
}


static ngx_int_t
ngx_http_batch_line_request(ngx_http_batch_line_t *line)
{
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_srv_conf_t  *cscf;

    c = &line->c;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NGX_ERROR;
    }

    c->data = r;
    line->r = r;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
    r->stat_reading = 0;
#endif

    r->http_state = NGX_HTTP_PROCESS_REQUEST_STATE;
    r->method = NGX_HTTP_POST;
    r->method_name = ngx_http_batch_line_method;
    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->http_protocol, "HTTP/1.1");

    r->request_line = line->chunk->run->request_line;
    r->uri = line->chunk->run->uri;
    r->unparsed_uri = r->uri;
    r->valid_unparsed_uri = 1;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    r->headers_in.server = cscf->server_name;

    if (r->headers_in.server.len == 0) {
        ngx_str_set(&r->headers_in.server, "localhost");
    }

    r->internal = 1;
    r->expect_tested = 1;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_batch_line_done;

    ngx_http_set_ctx(r, line, ngx_http_batch_module);

    return ngx_list_init(&r->headers_in.headers, r->pool, 4,
                         sizeof(ngx_table_elt_t));
}


static ngx_int_t
ngx_http_batch_line_subrequest(ngx_http_batch_line_t *line)
{
    ngx_buf_t                   *b;
    ngx_str_t                    uri;
    ngx_chain_t                 *cl;
    ngx_http_request_t          *r, *sr;
    ngx_http_post_subrequest_t  *ps;

    r = line->r;

    ps = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ngx_http_batch_line_post;
    ps->data = line;

    uri = line->chunk->run->uri;

    if (ngx_http_subrequest(r, &uri, NULL, &sr, ps, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    line->sr = sr;

    sr->method = NGX_HTTP_POST;
    sr->method_name = ngx_http_batch_line_method;
    sr->http_version = NGX_HTTP_VERSION_11;
    sr->header_in = r->header_in;

    if (ngx_http_batch_line_headers(line) != NGX_OK) {
        return NGX_ERROR;
    }

    sr->request_body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    b = ngx_calloc_buf(r->pool);
    cl = ngx_alloc_chain_link(r->pool);

    if (sr->request_body == NULL || b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    /* start and end: the next upstream server is sent the body anew */

    b->start = (u_char *) line->parsed.body.data;
    b->pos = b->start;
    b->end = b->start + line->parsed.body.len;
    b->last = b->end;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    cl->buf = b;
    cl->next = NULL;

    sr->request_body->bufs = cl;

    return NGX_OK;
}


/*
 * The list is built from nothing: what ngx_http_subrequest() copied still ends
 * in the main request's struct, and nothing of an uploader's headers may travel.
 */

static ngx_int_t
ngx_http_batch_line_headers(ngx_http_batch_line_t *line)
{
    ngx_uint_t           i;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *sr;

    static struct {
        ngx_str_t  key;
        u_char    *lowcase;
        ngx_str_t  value;
    } headers[] = {
        { ngx_string("Host"), (u_char *) "host", ngx_null_string },
        { ngx_string("Content-Type"), (u_char *) "content-type",
          ngx_string("application/json") },
        { ngx_string("Accept"), (u_char *) "accept",
          ngx_string("application/json") },
        { ngx_string("User-Agent"), (u_char *) "user-agent",
          ngx_string("nginx-batch") },
    };

    sr = line->sr;

    if (ngx_list_init(&sr->headers_in.headers, sr->pool, 4,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {

        h = ngx_list_push(&sr->headers_in.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        h->key = headers[i].key;
        h->lowcase_key = headers[i].lowcase;
        h->value = i ? headers[i].value : line->r->headers_in.server;
        h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
#if (nginx_version >= 1023000)
        h->next = NULL;
#endif

        switch (i) {
        case 0:
            sr->headers_in.host = h;
            break;
        case 1:
            sr->headers_in.content_type = h;
            break;
        case 3:
            sr->headers_in.user_agent = h;
            break;
        }
    }

    sr->headers_in.content_length = NULL;
    sr->headers_in.content_length_n = line->parsed.body.len;
    sr->headers_in.chunked = 0;

    return NGX_OK;
}


/* limit_req delays, send timeouts and aio completions come by this way */

static void
ngx_http_batch_line_event(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;

    ngx_http_set_log_request(c->log, r);

    if (ev->delayed && ev->timedout) {
        ev->delayed = 0;
        ev->timedout = 0;
    }

    if (ev->write) {
        r->write_event_handler(r);

    } else {
        r->read_event_handler(r);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * May be called twice: an rc >= 300 that is passed on makes nginx produce an
 * error page, or follow error_page, and finalize again.  NGX_ERROR and its kin
 * would make nginx terminate the main request behind our back.
 */

static ngx_int_t
ngx_http_batch_line_post(ngx_http_request_t *sr, void *data, ngx_int_t rc)
{
    ngx_http_batch_line_t  *line = data;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, sr->connection->log, 0,
                   "batch line post rc:%i status:%ui header:%d last:%d",
                   rc, sr->headers_out.status, line->header, line->last);

    line->done = 1;

    if (rc == NGX_ERROR
        || rc == NGX_HTTP_REQUEST_TIME_OUT
        || rc == NGX_HTTP_CLIENT_CLOSED_REQUEST
        || rc == NGX_HTTP_CLOSE)
    {
        if (!line->header) {
            line->rc = (rc == NGX_ERROR) ? NGX_ERROR
                                         : NGX_HTTP_GATEWAY_TIME_OUT;
        }

        return NGX_OK;
    }

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        line->made = rc;
        line->rc = rc;
    }

    return rc;
}


/* the main request's write event handler: its subrequest has ended */

static void
ngx_http_batch_line_done(ngx_http_request_t *r)
{
    ngx_http_batch_line_t  *line;

    line = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (!line->done || r->count != 1 || r->blocked) {
        return;
    }

    ngx_http_batch_line_teardown(line);

    if (ngx_http_batch_spool_busy(line->spool)) {
        line->life = NGX_HTTP_BATCH_LINE_SPOOLING;
        return;
    }

    ngx_http_batch_line_verdict(line);
}


void
ngx_http_batch_line_spooled(ngx_http_batch_line_t *line)
{
    if (line->life == NGX_HTTP_BATCH_LINE_SPOOLING) {
        ngx_http_batch_line_verdict(line);
    }
}


/* ends an attempt from outside */

static void
ngx_http_batch_line_cut(ngx_http_batch_line_t *line)
{
    if (line->life == NGX_HTTP_BATCH_LINE_FLYING) {

        if (line->r->blocked) {
            /* an aio or thread operation still points to the request */
            ngx_add_timer(&line->timer, 10);
            return;
        }

        ngx_http_batch_line_teardown(line);
    }

    ngx_http_batch_line_verdict(line);
}


void
ngx_http_batch_line_abort(ngx_http_batch_line_t *line)
{
    line->aborted = 1;
    ngx_http_batch_line_cut(line);
}


static void
ngx_http_batch_line_teardown(ngx_http_batch_line_t *line)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = &line->c;
    r = line->r;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    if (r) {
        /* no access log line for the main request; the location has its own
         * with log_subrequest */
        r->logged = 1;

        /* runs the cleanups: an upstream connection under way is closed */
        ngx_http_free_request(r, 0);
    }

    c->read->closed = 1;
    c->write->closed = 1;
    c->destroyed = 1;
    c->pool->log = ngx_cycle->log;

    line->r = NULL;
    line->sr = NULL;
}


static void
ngx_http_batch_line_verdict(ngx_http_batch_line_t *line)
{
    ngx_http_batch_run_t     *run;
    ngx_http_batch_entry_t   *entry;
    ngx_http_batch_answer_e   verdict;

    if (line->timer.timer_set) {
        ngx_del_timer(&line->timer);
    }

    if (line->aborted) {
        ngx_http_batch_line_end(line, NULL);
        return;
    }

    run = line->chunk->run;
    verdict = ngx_http_batch_answer_judge(line);

    if (!line->timedout) {
        ngx_http_batch_dispatch_outcome(run,
                                       verdict == NGX_HTTP_BATCH_ANSWER_DEAD);
    }

    if (verdict >= NGX_HTTP_BATCH_ANSWER_RETRY
        && ngx_http_batch_line_again(line, verdict))
    {
        return;
    }

    if (verdict >= NGX_HTTP_BATCH_ANSWER_RETRY
        && (run->stop || ngx_http_batch_dispatch_leaving()))
    {
        /* another attempt was due, but not here, or not any more */
        ngx_http_batch_line_end(line, NULL);
        return;
    }

    entry = ngx_http_batch_answer_finish(line, verdict);

    if (entry == NULL) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "batch: %s, line %uL: no memory for the answer, the"
                      " chunk will be run again", run->id, line->number);
        line->chunk->poisoned = 1;
    }

    ngx_http_batch_line_end(line, entry);
}


/*
 * Exponential backoff with jitter; Retry-After is a lower bound.  While the
 * upstream is taken for dead its failures are nobody's fault: they do not count,
 * and only the line's deadline ends the waiting.  A waiting line keeps its slot:
 * that is what holds the other lines back.
 */

static ngx_uint_t
ngx_http_batch_line_again(ngx_http_batch_line_t *line,
    ngx_http_batch_answer_e verdict)
{
    ngx_uint_t             n;
    ngx_msec_t             delay;
    ngx_http_batch_run_t  *run;

    run = line->chunk->run;

    if (run->stop || ngx_http_batch_dispatch_leaving()) {
        return 0;
    }

    if (verdict == NGX_HTTP_BATCH_ANSWER_DEAD
        && ngx_http_batch_dispatch_broken(run))
    {
        line->free_attempts++;
    }

    n = line->attempt - line->free_attempts;

    if (n > run->conf->retries) {
        return 0;
    }

    delay = NGX_HTTP_BATCH_BACKOFF << ngx_min(line->attempt - 1, 10);
    delay = ngx_min(delay, NGX_HTTP_BATCH_BACKOFF_MAX);
    delay = delay / 2 + ngx_random() % (delay / 2 + 1);

    if (line->retry_after > delay) {
        delay = line->retry_after + ngx_random() % (line->retry_after / 10 + 1);
    }

    if ((ngx_msec_int_t) (line->deadline - ngx_current_msec)
        <= (ngx_msec_int_t) delay)
    {
        return 0;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "batch: %s, line %uL: attempt %ui failed, next in %M ms",
                   run->id, line->number, line->attempt, delay);

    line->life = NGX_HTTP_BATCH_LINE_WAITING;
    ngx_add_timer(&line->timer, delay);

    return 1;
}


static void
ngx_http_batch_line_timer(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_batch_line_t  *line;

    c = ev->data;
    line = (ngx_http_batch_line_t *) ((u_char *) c
                                      - offsetof(ngx_http_batch_line_t, c));

    if (line->life == NGX_HTTP_BATCH_LINE_WAITING) {
        ngx_http_batch_line_attempt(line);
        return;
    }

    if (line->life == NGX_HTTP_BATCH_LINE_SPOOLING) {
        /* the answer is there: it was in time */
        return;
    }

    if (!line->aborted) {
        line->timedout = 1;
    }

    ngx_http_batch_line_cut(line);
}


static void
ngx_http_batch_line_end(ngx_http_batch_line_t *line,
    ngx_http_batch_entry_t *entry)
{
    ngx_http_batch_chunk_t  *c;

    c = line->chunk;

    line->life = NGX_HTTP_BATCH_LINE_ENDED;
    line->chunk = NULL;

    ngx_queue_remove(&line->queue);
    c->nlines--;

    ngx_http_batch_slot->inflight[c->run->route]--;

    ngx_free(line->data);
    line->data = NULL;

    if (line->entry) {
        ngx_free(line->entry);
        line->entry = NULL;
    }

    ngx_http_batch_spool_free(line->spool);
    line->spool = NULL;

    ngx_queue_insert_tail(&ngx_http_batch_line_dead, &line->queue);

    ngx_http_batch_chunk_ended(c, entry);
}


static u_char *
ngx_http_batch_line_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                 *p;
    ngx_http_request_t     *r;
    ngx_http_log_ctx_t     *ctx;
    ngx_http_batch_line_t  *line;

    ctx = log->data;
    line = (ngx_http_batch_line_t *) ((u_char *) ctx
                                  - offsetof(ngx_http_batch_line_t, log_ctx));

    if (line->chunk == NULL) {
        return buf;
    }

    p = ngx_snprintf(buf, len, ", batch: %s, line: %uL, attempt: %ui",
                     line->chunk->run->id, line->number, line->attempt);
    len -= p - buf;

    r = ctx->request;

    if (r) {
        return r->log_handler(r, ctx->current_request, p, len);
    }

    return p;
}


ngx_http_batch_line_t *
ngx_http_batch_line_of(ngx_http_request_t *r)
{
    ngx_uint_t  *kind;

    kind = ngx_http_get_module_ctx(r->main, ngx_http_batch_module);

    if (kind == NULL || *kind != NGX_HTTP_BATCH_CTX_LINE) {
        return NULL;
    }

    return (ngx_http_batch_line_t *) kind;
}
