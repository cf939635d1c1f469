/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One attempt to deliver a webhook: signed anew, sent through the location of
 * batch_webhook.  Its status is all that matters.
 */

#include "ngx_http_batch_hook.h"


#define NGX_HTTP_BATCH_HOOK_TIMEOUT  10000      /* ms, an attempt */
#define NGX_HTTP_BATCH_HOOK_ANSWER   65536      /* bytes that are read of one */


static ngx_int_t ngx_http_batch_hook_send_sign(ngx_http_batch_hook_t *h,
    ngx_str_t *secret);
static void ngx_http_batch_hook_send_timer(ngx_event_t *ev);
static u_char *ngx_http_batch_hook_send_log(ngx_http_batch_attempt_t *at,
    u_char *buf, size_t len);
static ngx_int_t ngx_http_batch_hook_send_variable(ngx_http_batch_attempt_t *at,
    ngx_http_request_t *r, ngx_http_batch_variable_e var, ngx_str_t *value);
static ngx_int_t ngx_http_batch_hook_send_header(ngx_http_batch_attempt_t *at);
static ngx_int_t ngx_http_batch_hook_send_body(ngx_http_batch_attempt_t *at,
    const u_char *p, size_t len);
static ngx_uint_t ngx_http_batch_hook_send_full(ngx_http_batch_attempt_t *at);
static void ngx_http_batch_hook_send_posted(ngx_http_batch_attempt_t *at,
    ngx_int_t rc, ngx_uint_t cut);
static void ngx_http_batch_hook_send_answered(ngx_http_batch_attempt_t *at);


static const ngx_http_batch_attempt_type_t  ngx_http_batch_hook_send_type = {
    "sending webhook",
    ngx_http_batch_hook_send_log,
    ngx_http_batch_hook_send_variable,
    ngx_http_batch_hook_send_header,
    ngx_http_batch_hook_send_body,
    ngx_http_batch_hook_send_full,
    ngx_http_batch_hook_send_posted,
    ngx_http_batch_hook_send_answered
};


void
ngx_http_batch_hook_send_init(ngx_http_batch_hook_t *h)
{
    h->at.kind = NGX_HTTP_BATCH_CTX_ATTEMPT;
    h->at.type = &ngx_http_batch_hook_send_type;
    h->at.headers = h->headers;

    h->timer.handler = ngx_http_batch_hook_send_timer;
    h->timer.data = &h->at.c;
    h->timer.log = ngx_cycle->log;
}


void
ngx_http_batch_hook_send(ngx_http_batch_hook_t *h)
{
    ngx_http_batch_loc_conf_t  **routes;

    routes = ngx_http_batch_conf->routes.elts;

    h->answer = 0;
    h->received = 0;

    h->at.conf = routes[h->route]->ctx;
    h->at.uri = routes[h->route]->hook->uri;
    h->at.request_line = routes[h->route]->hook->request_line;

    if (ngx_http_batch_hook_send_sign(h,
        &routes[h->route]->hook->key) != NGX_OK) {
        ngx_http_batch_hook_verdict(h);
        return;
    }

    ngx_add_timer(&h->timer, NGX_HTTP_BATCH_HOOK_TIMEOUT);

    if (ngx_http_batch_attempt_send(&h->at) != NGX_OK) {
        ngx_http_batch_hook_verdict(h);
    }
}


static ngx_int_t
ngx_http_batch_hook_send_sign(ngx_http_batch_hook_t *h, ngx_str_t *secret)
{
    int          n;
    int64_t      now;
    batch_str_t  key, body;

    now = batch_clock_sec();

    n = batch_hook_body(h->id, h->status, h->ended_at, h->body);

    if (n == BATCH_ERROR
        || batch_hook_id("wh_", h->id, h->status, h->hook_id) != BATCH_OK)
    {
        return NGX_ERROR;
    }

    key.data = secret->data;
    key.len = secret->len;
    body.data = (u_char *) h->body;
    body.len = n;

    if (batch_hook_sign(&key, h->hook_id, now, &body, h->signature)
        != BATCH_OK)
    {
        return NGX_ERROR;
    }

    h->at.body.data = (u_char *) h->body;
    h->at.body.len = n;

    ngx_str_set(&h->headers[0].key, "webhook-id");
    h->headers[0].value.data = (u_char *) h->hook_id;
    h->headers[0].value.len = ngx_strlen(h->hook_id);

    ngx_str_set(&h->headers[1].key, "webhook-timestamp");
    h->headers[1].value.data = h->stamp;
    h->headers[1].value.len = ngx_sprintf(h->stamp, "%L", now) - h->stamp;

    ngx_str_set(&h->headers[2].key, "webhook-signature");
    h->headers[2].value.data = (u_char *) h->signature;
    h->headers[2].value.len = ngx_strlen(h->signature);

    h->at.nheaders = 3;

    return NGX_OK;
}


static void
ngx_http_batch_hook_send_posted(ngx_http_batch_attempt_t *at, ngx_int_t rc,
    ngx_uint_t cut)
{
    /* the header filter has seen the answer, if there is one */
}


static void
ngx_http_batch_hook_send_answered(ngx_http_batch_attempt_t *at)
{
    ngx_http_batch_hook_verdict((ngx_http_batch_hook_t *) at);
}


void
ngx_http_batch_hook_send_cut(ngx_http_batch_hook_t *h)
{
    if (ngx_http_batch_attempt_cut(&h->at) != NGX_OK) {
        ngx_add_timer(&h->timer, NGX_HTTP_BATCH_ATTEMPT_BLOCKED);
        return;
    }

    ngx_http_batch_hook_verdict(h);
}


static void
ngx_http_batch_hook_send_timer(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_http_batch_hook_send_cut((ngx_http_batch_hook_t *)
                                 ((u_char *) c
                             - offsetof(ngx_http_batch_hook_t, at.c)));
}


static ngx_int_t
ngx_http_batch_hook_send_variable(ngx_http_batch_attempt_t *at,
    ngx_http_request_t *r, ngx_http_batch_variable_e var, ngx_str_t *value)
{
    ngx_http_batch_hook_t  *h;

    h = (ngx_http_batch_hook_t *) at;

    switch (var) {

    case NGX_HTTP_BATCH_VARIABLE_ID:
        value->data = (u_char *) h->id;
        value->len = ngx_strlen(h->id);
        return NGX_OK;

    case NGX_HTTP_BATCH_VARIABLE_TENANT:
        return ngx_http_batch_variable_text(r->pool, &h->tenant, value);

    default:
        return NGX_DECLINED;
    }
}


static u_char *
ngx_http_batch_hook_send_log(ngx_http_batch_attempt_t *at, u_char *buf,
    size_t len)
{
    ngx_http_batch_hook_t  *h;

    h = (ngx_http_batch_hook_t *) at;

    return ngx_snprintf(buf, len, ", batch: %s, webhook: %s",
                        h->id, h->hook_id);
}


static ngx_int_t
ngx_http_batch_hook_send_header(ngx_http_batch_attempt_t *at)
{
    ((ngx_http_batch_hook_t *) at)->answer = at->sr->headers_out.status;

    return NGX_OK;
}


/* what the receiver says besides is of no interest, and need not end */

static ngx_int_t
ngx_http_batch_hook_send_body(ngx_http_batch_attempt_t *at, const u_char *p,
    size_t len)
{
    ngx_http_batch_hook_t  *h;

    h = (ngx_http_batch_hook_t *) at;
    h->received += len;

    return h->received > NGX_HTTP_BATCH_HOOK_ANSWER ? NGX_ERROR : NGX_OK;
}


static ngx_uint_t
ngx_http_batch_hook_send_full(ngx_http_batch_attempt_t *at)
{
    return 0;
}
