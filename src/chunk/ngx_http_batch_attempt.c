/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One attempt of a line, or of a webhook: a fake main request of its own and
 * one real subrequest to batch_pass + endpoint, or to batch_webhook.
 *
 * WHY a main request each: everything that a subrequest allocates stays in the
 * main request's pool until that dies.  WHY a connection struct of its own with
 * fd -1: a line must not take a slot of clients' connections.  WHY we tear the
 * main request down: nginx's own way of finalizing it would close the
 * connection, and there is none.
 *
 * Life of an attempt:
 *   send -> ngx_http_subrequest() -> phases, upstream
 *   filters (capture.c) take header and body
 *   the post handler, which error_page may cause to be called twice, never lets
 *   nginx terminate the main request
 *   nginx posts the main request: done -> teardown, type->answered()
 */

#include "ngx_http_batch_attempt.h"


static void ngx_http_batch_attempt_connection(ngx_http_batch_attempt_t *at);
static u_char *ngx_http_batch_attempt_log(ngx_log_t *log, u_char *buf,
    size_t len);
static void ngx_http_batch_attempt_debug(ngx_http_batch_attempt_t *at,
    const char *event);
static ngx_int_t ngx_http_batch_attempt_request(ngx_http_batch_attempt_t *at);
static ngx_int_t ngx_http_batch_attempt_subrequest(
    ngx_http_batch_attempt_t *at);
static ngx_int_t ngx_http_batch_attempt_headers(ngx_http_batch_attempt_t *at);
static ngx_table_elt_t *ngx_http_batch_attempt_header(
    ngx_http_batch_attempt_t *at, char *name, ngx_str_t *value);
static void ngx_http_batch_attempt_event(ngx_event_t *ev);
static ngx_int_t ngx_http_batch_attempt_post(ngx_http_request_t *sr,
    void *data, ngx_int_t rc);
static void ngx_http_batch_attempt_done(ngx_http_request_t *r);
static void ngx_http_batch_attempt_teardown(ngx_http_batch_attempt_t *at);


static ngx_buf_t           ngx_http_batch_attempt_buf;
static struct sockaddr_in  ngx_http_batch_attempt_sockaddr;

static ngx_str_t           ngx_http_batch_attempt_addr =
                                                     ngx_string("127.0.0.1");

/* as nginx has it: a space that does not count comes after it */
static ngx_str_t           ngx_http_batch_attempt_method = { 4,
                                                        (u_char *) "POST " };


void
ngx_http_batch_attempt_init(void)
{
    struct sockaddr_in  *sin;

    sin = &ngx_http_batch_attempt_sockaddr;

    sin->sin_family = AF_INET;
    sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}


ngx_int_t
ngx_http_batch_attempt_send(ngx_http_batch_attempt_t *at)
{
    at->done = 0;
    at->last = 0;

    ngx_http_batch_attempt_connection(at);

    ngx_http_batch_attempt_debug(at, "attempt");

    if (ngx_http_batch_attempt_request(at) != NGX_OK
        || ngx_http_batch_attempt_subrequest(at) != NGX_OK)
    {
        ngx_http_batch_attempt_teardown(at);
        return NGX_ERROR;
    }

    ngx_http_run_posted_requests(&at->c);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_attempt_cut(ngx_http_batch_attempt_t *at)
{
    if (at->r == NULL) {
        return NGX_OK;
    }

    if (at->r->blocked) {
        return NGX_AGAIN;
    }

    ngx_http_batch_attempt_debug(at, "cut attempt");

    ngx_http_batch_attempt_teardown(at);

    return NGX_OK;
}


/*
 * The fields that nginx looks at in a client's connection.  Both events are
 * "active", so that epoll is never called for fd -1.
 */

static void
ngx_http_batch_attempt_connection(ngx_http_batch_attempt_t *at)
{
    ngx_log_t                 *log;
    ngx_pool_t                *pool;
    ngx_event_t               *rev, *wev;
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = &at->c;
    rev = &at->rev;
    wev = &at->wev;
    log = &at->log;
    pool = c->pool;

    ngx_reset_pool(pool);

    ngx_memzero(c, sizeof(ngx_connection_t));
    ngx_memzero(rev, sizeof(ngx_event_t));
    ngx_memzero(wev, sizeof(ngx_event_t));

    clcf = ngx_http_get_module_loc_conf(at->conf,
                                        ngx_http_core_module);

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    *log = *clcf->error_log;
    log->connection = c->number;
    log->handler = ngx_http_batch_attempt_log;
    log->data = &at->log_ctx;
    log->action = at->type->action;

    at->log_ctx.connection = c;
    at->log_ctx.request = NULL;
    at->log_ctx.current_request = NULL;

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
    c->buffer = &ngx_http_batch_attempt_buf;
    c->sockaddr = (struct sockaddr *) &ngx_http_batch_attempt_sockaddr;
    c->socklen = sizeof(struct sockaddr_in);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;
    c->addr_text = ngx_http_batch_attempt_addr;

    rev->data = c;
    rev->index = NGX_INVALID_INDEX;
    rev->log = log;
    rev->handler = ngx_http_batch_attempt_event;
    rev->active = 1;

    wev->data = c;
    wev->index = NGX_INVALID_INDEX;
    wev->log = log;
    wev->handler = ngx_http_batch_attempt_event;
    wev->write = 1;
    wev->active = 1;
    wev->ready = 1;

    pool->log = log;

    ngx_memzero(&at->hc, sizeof(ngx_http_connection_t));
    at->hc.conf_ctx = at->conf;

    c->data = &at->hc;
}


/* as ngx_http_log_error(), with the attempt's owner in the client's place */

static u_char *
ngx_http_batch_attempt_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                    *p;
    ngx_http_request_t        *r;
    ngx_http_log_ctx_t        *ctx;
    ngx_http_batch_attempt_t  *at;

    ctx = log->data;
    at = (ngx_http_batch_attempt_t *)
             ((u_char *) ctx - offsetof(ngx_http_batch_attempt_t, log_ctx));

    p = at->type->log(at, buf, len);
    len -= p - buf;

    r = ctx->request;

    return r ? r->log_handler(r, ctx->current_request, p, len) : p;
}


/* nginx calls no log handler for a debug line */

static void
ngx_http_batch_attempt_debug(ngx_http_batch_attempt_t *at, const char *event)
{
#if (NGX_DEBUG)
    u_char  whose[160];

    if (at->log.log_level & NGX_LOG_DEBUG_HTTP) {
        *at->type->log(at, whose, sizeof(whose) - 1) = '\0';

        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, &at->log, 0,
                       "batch: %s to \"%V\"%s", event, &at->uri, whose);
    }
#endif
}


static ngx_int_t
ngx_http_batch_attempt_request(ngx_http_batch_attempt_t *at)
{
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_srv_conf_t  *cscf;

    c = &at->c;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NGX_ERROR;
    }

    c->data = r;
    at->r = r;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
    r->stat_reading = 0;
#endif

    r->http_state = NGX_HTTP_PROCESS_REQUEST_STATE;
    r->method = NGX_HTTP_POST;
    r->method_name = ngx_http_batch_attempt_method;
    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->http_protocol, "HTTP/1.1");

    r->request_line = at->request_line;
    r->uri = at->uri;
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
    r->write_event_handler = ngx_http_batch_attempt_done;

    ngx_http_set_ctx(r, at, ngx_http_batch_module);

    return ngx_list_init(&r->headers_in.headers, r->pool, 4,
                         sizeof(ngx_table_elt_t));
}


static ngx_int_t
ngx_http_batch_attempt_subrequest(ngx_http_batch_attempt_t *at)
{
    ngx_buf_t                   *b;
    ngx_str_t                    uri;
    ngx_chain_t                 *cl;
    ngx_http_request_t          *r, *sr;
    ngx_http_post_subrequest_t  *ps;

    r = at->r;

    ps = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ngx_http_batch_attempt_post;
    ps->data = at;

    uri = at->uri;

    if (ngx_http_subrequest(r, &uri, NULL, &sr, ps, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    at->sr = sr;

    sr->method = NGX_HTTP_POST;
    sr->method_name = ngx_http_batch_attempt_method;
    sr->http_version = NGX_HTTP_VERSION_11;
    sr->header_in = r->header_in;

    if (ngx_http_batch_attempt_headers(at) != NGX_OK) {
        return NGX_ERROR;
    }

    sr->request_body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    b = ngx_calloc_buf(r->pool);
    cl = ngx_alloc_chain_link(r->pool);

    if (sr->request_body == NULL || b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    /* start and end: the next upstream server gets the body from its start */

    b->start = at->body.data;
    b->pos = b->start;
    b->end = b->start + at->body.len;
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
 * The list is built from nothing: what ngx_http_subrequest() copied ends in the
 * main request's struct, and nothing of the uploader's headers may travel.
 */

static ngx_int_t
ngx_http_batch_attempt_headers(ngx_http_batch_attempt_t *at)
{
    ngx_uint_t               i;
    ngx_table_elt_t         *h;
    ngx_http_headers_in_t   *in;

    static ngx_keyval_t  usual[] = {
        { ngx_string("Content-Type"), ngx_string("application/json") },
        { ngx_string("Accept"), ngx_string("application/json") },
        { ngx_string("User-Agent"), ngx_string("nginx-batch") },
    };

    in = &at->sr->headers_in;

    if (ngx_list_init(&in->headers, at->sr->pool, 8, sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    in->host = ngx_http_batch_attempt_header(at, "Host",
                                             &at->r->headers_in.server);
    h = in->host;

    for (i = 0; h && i < 3; i++) {
        h = ngx_http_batch_attempt_header(at, (char *) usual[i].key.data,
                                          &usual[i].value);

        if (i == 0) {
            in->content_type = h;
        }
    }

    in->user_agent = h;

    for (i = 0; h && i < at->nheaders; i++) {
        h = ngx_http_batch_attempt_header(at,
                                          (char *) at->headers[i].key.data,
                                          &at->headers[i].value);
    }

    in->content_length = NULL;
    in->content_length_n = at->body.len;
    in->chunked = 0;

    return h ? NGX_OK : NGX_ERROR;
}


/* name and value must live as long as the attempt */

static ngx_table_elt_t *
ngx_http_batch_attempt_header(ngx_http_batch_attempt_t *at, char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&at->sr->headers_in.headers);
    if (h == NULL) {
        return NULL;
    }

    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    h->lowcase_key = ngx_pnalloc(at->sr->pool, h->key.len);
    if (h->lowcase_key == NULL) {
        return NULL;
    }

    h->hash = ngx_hash_strlow(h->lowcase_key, h->key.data, h->key.len);
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return h;
}


/* delays of limit_req, send timeouts and ends of aio come this way */

static void
ngx_http_batch_attempt_event(ngx_event_t *ev)
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

    if (ev->write && ev->timedout) {

        /*
         * send_timeout, but it is our own disk that is slow.  It may expire
         * just when the disk has caught up, and nobody has read on yet.
         */

        ev->timedout = 0;

        if (!ev->ready) {
            return;
        }
    }

    if (ev->write) {
        r->write_event_handler(r);

    } else {
        r->read_event_handler(r);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * To nginx it looks as if a client took nothing more: once nginx's buffers are
 * full, it reads no more from the upstream.  What does not fit into them must
 * not go to nginx's temporary file, which it would write on the event thread.
 */

void
ngx_http_batch_attempt_hold(ngx_http_batch_attempt_t *at)
{
    ngx_http_upstream_t  *u;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, &at->log, 0,
                   "batch: attempt waits for the disk");

    /* after an rc >= 300 it is nginx's, for which send_timeout is a client's */
    at->wev.handler = ngx_http_batch_attempt_event;
    at->wev.ready = 0;

    u = at->sr->upstream;

    if (u && u->buffering && u->pipe) {
        u->pipe->max_temp_file_size = 0;
    }
}


void
ngx_http_batch_attempt_resume(ngx_http_batch_attempt_t *at)
{
    if (at->r == NULL || at->wev.ready) {
        return;
    }

    at->wev.ready = 1;
    ngx_post_event(&at->wev, &ngx_posted_events);
}


/*
 * May be called twice: an rc >= 300 that is passed on makes nginx send an error
 * page, or follow error_page, and finalize again.  NGX_ERROR and the like are
 * not passed on: nginx would terminate the main request without us.
 */

static ngx_int_t
ngx_http_batch_attempt_post(ngx_http_request_t *sr, void *data, ngx_int_t rc)
{
    ngx_http_batch_attempt_t  *at = data;

    ngx_uint_t  cut;

    at->done = 1;

    /* set when a filter fails, ours included: nginx terminates on it, too */
    at->c.error = 0;

    cut = (rc == NGX_ERROR
           || rc == NGX_HTTP_REQUEST_TIME_OUT
           || rc == NGX_HTTP_CLIENT_CLOSED_REQUEST
           || rc == NGX_HTTP_CLOSE);

    at->type->post(at, rc, cut);

    return cut ? NGX_OK : rc;
}


/* the main request's write event handler: its subrequest has ended */

static void
ngx_http_batch_attempt_done(ngx_http_request_t *r)
{
    ngx_http_batch_attempt_t  *at;

    at = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (!at->done || r->count != 1 || r->blocked) {
        return;
    }

    ngx_http_batch_attempt_teardown(at);
    at->type->answered(at);
}


static void
ngx_http_batch_attempt_teardown(ngx_http_batch_attempt_t *at)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = &at->c;
    r = at->r;

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
        /* the main request has no line in the access log; log_subrequest writes
         * one for the location */
        r->logged = 1;

        /* runs the cleanups: an upstream connection under way is closed */
        ngx_http_free_request(r, 0);
    }

    c->read->closed = 1;
    c->write->closed = 1;
    c->destroyed = 1;
    c->pool->log = ngx_cycle->log;

    at->r = NULL;
    at->sr = NULL;
    at->held = NULL;
}


ngx_http_batch_attempt_t *
ngx_http_batch_attempt_of(ngx_http_request_t *r)
{
    ngx_uint_t  *kind;

    kind = ngx_http_get_module_ctx(r->main, ngx_http_batch_module);

    if (kind == NULL || *kind != NGX_HTTP_BATCH_CTX_ATTEMPT) {
        return NULL;
    }

    return (ngx_http_batch_attempt_t *) kind;
}
