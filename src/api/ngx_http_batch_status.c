/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "ngx_http_batch_status.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_space.h"


typedef struct {
    ngx_uint_t      workers;
    ngx_atomic_t    inflight[NGX_HTTP_BATCH_ROUTES];
    ngx_atomic_t    chunks;
    ngx_atomic_t    redis;
    ngx_atomic_t    started;
    ngx_atomic_t    retried;
    ngx_atomic_t    completed;
    ngx_atomic_t    failed;
    ngx_atomic_t    claimed;
    ngx_atomic_t    finalized;
    ngx_atomic_t    hooks_pending;
    ngx_atomic_t    hooks_delivered;
    ngx_atomic_t    hooks_failed;
    ngx_atomic_t    hooks_given_up;
} ngx_http_batch_status_totals_t;


static void ngx_http_batch_status_sum(ngx_http_batch_status_totals_t *t);
static u_char *ngx_http_batch_status_json(ngx_http_request_t *r, u_char *p,
    ngx_http_batch_status_totals_t *t);
static u_char *ngx_http_batch_status_prometheus(u_char *p,
    ngx_http_batch_status_totals_t *t);
static u_char *ngx_http_batch_status_store(u_char *p);
static u_char *ngx_http_batch_status_store_prometheus(u_char *p);
static size_t ngx_http_batch_status_size(void);


ngx_int_t
ngx_http_batch_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_buf_t                       *b;
    ngx_str_t                        format;
    ngx_chain_t                      out;
    ngx_http_batch_status_totals_t   t;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_batch_conf == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    b = ngx_create_temp_buf(r->pool, ngx_http_batch_status_size());
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_batch_status_sum(&t);

    if (ngx_http_arg(r, (u_char *) "format", 6, &format) == NGX_OK
        && format.len == 10
        && ngx_strncmp(format.data, "prometheus", 10) == 0)
    {
        b->last = ngx_http_batch_status_prometheus(b->last, &t);
        ngx_str_set(&r->headers_out.content_type,
                    "text/plain; version=0.0.4");

    } else {
        b->last = ngx_http_batch_status_json(r, b->last, &t);
        ngx_str_set(&r->headers_out.content_type, "application/json");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static size_t
ngx_http_batch_status_size(void)
{
    ngx_uint_t                    i;
    size_t                        size;
    ngx_http_batch_loc_conf_t   **routes;

    size = 8192;
    routes = ngx_http_batch_conf->routes.elts;

    for (i = 0; i < ngx_http_batch_conf->routes.nelts; i++) {
        size += 256 + 12 * routes[i]->route.len;
    }

    for (i = 0; ngx_http_batch_slots_next(&i); /* void */ ) {
        size += 512;
    }

    return size;
}


static void
ngx_http_batch_status_sum(ngx_http_batch_status_totals_t *t)
{
    ngx_uint_t              i, n;
    ngx_http_batch_slot_t  *slot;

    ngx_memzero(t, sizeof(ngx_http_batch_status_totals_t));

    for (i = 0; (slot = ngx_http_batch_slots_next(&i)) != NULL; /* void */ ) {

        for (n = 0; n < NGX_HTTP_BATCH_ROUTES; n++) {
            t->inflight[n] += slot->inflight[n];
        }

        t->workers++;
        t->chunks += slot->chunks;
        t->redis += slot->redis;
        t->started += slot->started;
        t->retried += slot->retried;
        t->completed += slot->completed;
        t->failed += slot->failed;
        t->claimed += slot->claimed;
        t->finalized += slot->finalized;
        t->hooks_delivered += slot->hooks_delivered;
        t->hooks_failed += slot->hooks_failed;
        t->hooks_given_up += slot->hooks_given_up;

        /* all have asked for the same number, at different times */

        t->hooks_pending = ngx_max(t->hooks_pending, slot->hooks_pending);
    }
}


static u_char *
ngx_http_batch_status_json(ngx_http_request_t *r, u_char *p,
    ngx_http_batch_status_totals_t *t)
{
    ngx_uint_t                    i, n, inflight;
    ngx_http_batch_slot_t        *slot;
    ngx_http_batch_loc_conf_t   **routes;

    routes = ngx_http_batch_conf->routes.elts;

    p = ngx_sprintf(p, "{\"workers\":%ui,\"redis\":\"%s\",\"chunks\":%uA,"
                    "\"attempts\":%uA,\"retries\":%uA,\"completed\":%uA,"
                    "\"failed\":%uA,\"chunks_claimed\":%uA,"
                    "\"batches_finalized\":%uA,",
                    t->workers,
                    t->redis == t->workers ? "ready"
                                           : t->redis ? "partly" : "down",
                    t->chunks, t->started, t->retried, t->completed,
                    t->failed, t->claimed, t->finalized);

    p = ngx_http_batch_status_store(p);
    p = ngx_sprintf(p, ",\"webhooks\":{\"pending\":%uA,\"delivered\":%uA,"
                    "\"failed_attempts\":%uA,\"given_up\":%uA}",
                    t->hooks_pending, t->hooks_delivered, t->hooks_failed,
                    t->hooks_given_up);
    p = ngx_sprintf(p, ",\"routes\":[");

    for (i = 0; i < ngx_http_batch_conf->routes.nelts; i++) {
        p = ngx_sprintf(p, "%s{\"route\":\"", i ? "," : "");
        p = (u_char *) ngx_escape_json(p, routes[i]->route.data,
                                       routes[i]->route.len);
        p = ngx_sprintf(p, "\",\"inflight\":%uA,\"concurrency\":%ui}",
                        t->inflight[i], routes[i]->concurrency);
    }

    p = ngx_sprintf(p, "],\"processes\":[");

    for (i = 0; (slot = ngx_http_batch_slots_next(&i)) != NULL; /* void */ ) {

        for (inflight = 0, n = 0; n < NGX_HTTP_BATCH_ROUTES; n++) {
            inflight += slot->inflight[n];
        }

        p = ngx_sprintf(p, "%s{\"pid\":%uA,\"inflight\":%ui,\"chunks\":%uA,"
                        "\"attempts\":%uA,\"completed\":%uA,\"failed\":%uA}",
                        i > 1 ? "," : "", slot->pid, inflight, slot->chunks,
                        slot->started, slot->completed, slot->failed);
    }

    return ngx_sprintf(p, "],\"connections_free\":%ui,\"pid\":%P}\n",
                       ngx_cycle->free_connection_n, ngx_pid);
}


static u_char *
ngx_http_batch_status_prometheus(u_char *p, ngx_http_batch_status_totals_t *t)
{
    ngx_uint_t                    i;
    ngx_http_batch_loc_conf_t   **routes;

    routes = ngx_http_batch_conf->routes.elts;

    p = ngx_sprintf(p,
        "# HELP nginx_batch_attempts_total Requests sent for lines.\n"
        "# TYPE nginx_batch_attempts_total counter\n"
        "nginx_batch_attempts_total %uA\n"
        "# HELP nginx_batch_retries_total Attempts after a line's first.\n"
        "# TYPE nginx_batch_retries_total counter\n"
        "nginx_batch_retries_total %uA\n"
        "# HELP nginx_batch_lines_total Lines that ended, by file.\n"
        "# TYPE nginx_batch_lines_total counter\n"
        "nginx_batch_lines_total{file=\"output\"} %uA\n"
        "nginx_batch_lines_total{file=\"error\"} %uA\n"
        "# HELP nginx_batch_batches_finalized_total Batches finalized here.\n"
        "# TYPE nginx_batch_batches_finalized_total counter\n"
        "nginx_batch_batches_finalized_total %uA\n"
        "# HELP nginx_batch_chunks Chunks that workers of this node hold.\n"
        "# TYPE nginx_batch_chunks gauge\n"
        "nginx_batch_chunks %uA\n"
        "# HELP nginx_batch_redis_ready Workers with a ready Redis link.\n"
        "# TYPE nginx_batch_redis_ready gauge\n"
        "nginx_batch_redis_ready %uA\n"
        "# HELP nginx_batch_workers Worker processes.\n"
        "# TYPE nginx_batch_workers gauge\n"
        "nginx_batch_workers %ui\n"
        "# HELP nginx_batch_inflight Lines in flight, by route.\n"
        "# TYPE nginx_batch_inflight gauge\n",
        t->started, t->retried, t->completed, t->failed, t->finalized,
        t->chunks, t->redis, t->workers);

    for (i = 0; i < ngx_http_batch_conf->routes.nelts; i++) {
        p = ngx_sprintf(p, "nginx_batch_inflight{route=\"");
        p = (u_char *) ngx_escape_json(p, routes[i]->route.data,
                                       routes[i]->route.len);
        p = ngx_sprintf(p, "\"} %uA\n", t->inflight[i]);
    }

    p = ngx_sprintf(p,
        "# HELP nginx_batch_webhooks_pending Webhooks not delivered yet, of"
        " all nodes.\n"
        "# TYPE nginx_batch_webhooks_pending gauge\n"
        "nginx_batch_webhooks_pending %uA\n"
        "# HELP nginx_batch_webhook_attempts_total Attempts to deliver one, by"
        " result.\n"
        "# TYPE nginx_batch_webhook_attempts_total counter\n"
        "nginx_batch_webhook_attempts_total{result=\"delivered\"} %uA\n"
        "nginx_batch_webhook_attempts_total{result=\"failed\"} %uA\n"
        "# HELP nginx_batch_webhooks_given_up_total Webhooks given up after 72"
        " hours.\n"
        "# TYPE nginx_batch_webhooks_given_up_total counter\n"
        "nginx_batch_webhooks_given_up_total %uA\n",
        t->hooks_pending, t->hooks_delivered, t->hooks_failed,
        t->hooks_given_up);

    return ngx_http_batch_status_store_prometheus(p);
}


/* as the worker that answers sees it; null: not limited, or not known */

static u_char *
ngx_http_batch_status_store(u_char *p)
{
    const char                    *state;
    const ngx_http_batch_space_t  *s;

    s = ngx_http_batch_space();

    state = s->full ? "full"
                    : ngx_http_batch_space_paused() ? "failing" : "ok";

    p = ngx_sprintf(p, "\"store\":{\"state\":\"%s\",\"free_bytes\":%uL,"
                    "\"free_inodes\":", state, s->bytes);

    if (s->inodes == NGX_HTTP_BATCH_SPACE_ANY) {
        p = ngx_sprintf(p, "null");

    } else {
        p = ngx_sprintf(p, "%uL", s->inodes);
    }

    return ngx_sprintf(p, ",\"min_free_bytes\":%uL,\"min_free_inodes\":%uL}",
                       s->min_bytes, s->min_inodes);
}


static u_char *
ngx_http_batch_status_store_prometheus(u_char *p)
{
    const ngx_http_batch_space_t  *s;

    s = ngx_http_batch_space();

    p = ngx_sprintf(p,
        "# HELP nginx_batch_store_paused No line starts: the store is full, or"
        " writes fail.\n"
        "# TYPE nginx_batch_store_paused gauge\n"
        "nginx_batch_store_paused %ui\n"
        "# HELP nginx_batch_store_free_bytes Free bytes of the store.\n"
        "# TYPE nginx_batch_store_free_bytes gauge\n"
        "nginx_batch_store_free_bytes %uL\n"
        "# HELP nginx_batch_store_min_free_bytes Bytes that are kept free.\n"
        "# TYPE nginx_batch_store_min_free_bytes gauge\n"
        "nginx_batch_store_min_free_bytes %uL\n",
        ngx_http_batch_space_paused(), s->bytes, s->min_bytes);

    if (s->inodes == NGX_HTTP_BATCH_SPACE_ANY) {
        return p;
    }

    return ngx_sprintf(p,
        "# HELP nginx_batch_store_free_inodes Free inodes of the store.\n"
        "# TYPE nginx_batch_store_free_inodes gauge\n"
        "nginx_batch_store_free_inodes %uL\n", s->inodes);
}
