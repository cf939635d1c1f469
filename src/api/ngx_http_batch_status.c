/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * batch_status: the counters of all workers of this node, added up.
 */

#include "ngx_http_batch_guard.h"
#include "ngx_http_batch_header.h"
#include "ngx_http_batch_status.h"
#include "ngx_http_batch_slots.h"
#include "ngx_http_batch_space.h"


#define NGX_HTTP_BATCH_STATUS_ROUTES  ((size_t) -1)


/* of all workers */

typedef struct {
    ngx_atomic_t             workers;
    ngx_http_batch_slot_t    sum;
} ngx_http_batch_status_totals_t;


/* a series; those of one metric follow each other, the first has the help */

typedef struct {
    const char     *name;              /* without "nginx_batch_" */
    const char     *labels;
    const char     *type;
    const char     *help;              /* NULL: as the one before */
    size_t          offset;            /* in totals, or ..._ROUTES: one each */
} ngx_http_batch_status_metric_t;


static size_t ngx_http_batch_status_size(void);
static void ngx_http_batch_status_sum(ngx_http_batch_status_totals_t *totals);
static u_char *ngx_http_batch_status_json(ngx_http_batch_status_totals_t *t,
    u_char *p, u_char *last);
static u_char *ngx_http_batch_status_json_routes(
    ngx_http_batch_status_totals_t *t, u_char *p, u_char *last);
static u_char *ngx_http_batch_status_json_store(u_char *p, u_char *last);
static u_char *ngx_http_batch_status_prometheus(
    ngx_http_batch_status_totals_t *t, u_char *p, u_char *last);
static u_char *ngx_http_batch_status_prometheus_routes(
    ngx_http_batch_status_totals_t *t, const char *name, u_char *p,
    u_char *last);
static u_char *ngx_http_batch_status_prometheus_store(u_char *p, u_char *last);
static u_char *ngx_http_batch_status_escape(u_char *p, u_char *last,
    const ngx_str_t *s);


#define ngx_http_batch_status_offset(field)                                   \
    offsetof(ngx_http_batch_status_totals_t, sum.field)

static const ngx_http_batch_status_metric_t  ngx_http_batch_status_metrics[] =
{
    { "attempts_total", "", "counter", "Requests sent for lines.",
      ngx_http_batch_status_offset(started) },

    { "retries_total", "", "counter", "Attempts after a line's first.",
      ngx_http_batch_status_offset(retried) },

    { "lines_total", "{file=\"output\"}", "counter",
      "Lines that ended, by file.",
      ngx_http_batch_status_offset(completed) },

    { "lines_total", "{file=\"error\"}", "counter", NULL,
      ngx_http_batch_status_offset(failed) },

    { "batches_finalized_total", "", "counter", "Batches finalized here.",
      ngx_http_batch_status_offset(finalized) },

    { "chunks", "", "gauge", "Chunks that workers of this node hold.",
      ngx_http_batch_status_offset(chunks) },

    { "redis_ready", "", "gauge", "Workers with a ready Redis link.",
      ngx_http_batch_status_offset(redis) },

    { "workers", "", "gauge", "Worker processes.",
      offsetof(ngx_http_batch_status_totals_t, workers) },

    { "inflight", "", "gauge", "Lines in flight, by route.",
      NGX_HTTP_BATCH_STATUS_ROUTES },

    { "webhooks_pending", "", "gauge",
      "Webhooks not delivered yet, of all nodes.",
      ngx_http_batch_status_offset(hooks_pending) },

    { "webhook_attempts_total", "{result=\"delivered\"}", "counter",
      "Attempts to deliver one, by result.",
      ngx_http_batch_status_offset(hooks_delivered) },

    { "webhook_attempts_total", "{result=\"failed\"}", "counter", NULL,
      ngx_http_batch_status_offset(hooks_failed) },

    { "webhooks_given_up_total", "", "counter",
      "Webhooks given up after 72 hours.",
      ngx_http_batch_status_offset(hooks_given_up) },

    { NULL, NULL, NULL, NULL, 0 }
};


ngx_int_t
ngx_http_batch_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_buf_t                       *b;
    ngx_str_t                        format;
    ngx_chain_t                      out;
    const char                      *type;
    ngx_http_batch_status_totals_t   t;

    if (!ngx_http_batch_guard_open(r)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "batch: batch_status refused, its location has no rule"
                      " for clients of other machines");
        return NGX_HTTP_FORBIDDEN;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_batch_header_add_text(r, "Allow", "GET, HEAD")
               ? NGX_HTTP_NOT_ALLOWED : NGX_HTTP_INTERNAL_SERVER_ERROR;
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
        b->last = ngx_http_batch_status_prometheus(&t, b->last, b->end);
        type = "text/plain; version=0.0.4";

    } else {
        b->last = ngx_http_batch_status_json(&t, b->last, b->end);
        type = "application/json";
    }

    if (ngx_http_batch_header_add_text(r, "Cache-Control", "no-store") == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    ngx_http_batch_header_body(r, type, b->last - b->pos);

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
ngx_http_batch_status_sum(ngx_http_batch_status_totals_t *totals)
{
    ngx_uint_t              i, n;
    ngx_http_batch_slot_t  *slot, *t;

    ngx_memzero(totals, sizeof(ngx_http_batch_status_totals_t));

    t = &totals->sum;

    for (i = 0; (slot = ngx_http_batch_slots_next(&i)) != NULL; /* void */ ) {

        for (n = 0; n < NGX_HTTP_BATCH_ROUTES; n++) {
            t->inflight[n] += slot->inflight[n];
        }

        totals->workers++;
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
ngx_http_batch_status_json(ngx_http_batch_status_totals_t *t, u_char *p,
    u_char *last)
{
    ngx_uint_t              i, n, inflight;
    ngx_http_batch_slot_t  *slot, *sum;

    sum = &t->sum;

    p = ngx_slprintf(p, last, "{\"workers\":%uA,\"redis\":\"%s\","
                     "\"chunks\":%uA,\"attempts\":%uA,\"retries\":%uA,"
                     "\"completed\":%uA,\"failed\":%uA,"
                     "\"chunks_claimed\":%uA,\"batches_finalized\":%uA,",
                     t->workers,
                     sum->redis == t->workers ? "ready"
                                              : sum->redis ? "partly" : "down",
                     sum->chunks, sum->started, sum->retried, sum->completed,
                     sum->failed, sum->claimed, sum->finalized);

    p = ngx_http_batch_status_json_store(p, last);

    p = ngx_slprintf(p, last, ",\"webhooks\":{\"pending\":%uA,"
                     "\"delivered\":%uA,\"failed_attempts\":%uA,"
                     "\"given_up\":%uA}", sum->hooks_pending,
                     sum->hooks_delivered, sum->hooks_failed,
                     sum->hooks_given_up);

    p = ngx_http_batch_status_json_routes(t, p, last);

    p = ngx_slprintf(p, last, ",\"processes\":[");

    for (i = 0; (slot = ngx_http_batch_slots_next(&i)) != NULL; /* void */ ) {

        for (inflight = 0, n = 0; n < NGX_HTTP_BATCH_ROUTES; n++) {
            inflight += slot->inflight[n];
        }

        p = ngx_slprintf(p, last, "%s{\"pid\":%uA,\"inflight\":%ui,"
                         "\"chunks\":%uA,\"attempts\":%uA,\"completed\":%uA,"
                         "\"failed\":%uA}", i > 1 ? "," : "", slot->pid,
                         inflight, slot->chunks, slot->started,
                         slot->completed, slot->failed);
    }

    return ngx_slprintf(p, last, "],\"connections_free\":%ui,\"pid\":%P}\n",
                        ngx_cycle->free_connection_n, ngx_pid);
}


static u_char *
ngx_http_batch_status_json_routes(ngx_http_batch_status_totals_t *t, u_char *p,
    u_char *last)
{
    ngx_uint_t                    i;
    ngx_http_batch_loc_conf_t   **routes;

    routes = ngx_http_batch_conf->routes.elts;

    p = ngx_slprintf(p, last, ",\"routes\":[");

    for (i = 0; i < ngx_http_batch_conf->routes.nelts; i++) {
        p = ngx_slprintf(p, last, "%s{\"route\":\"", i ? "," : "");
        p = ngx_http_batch_status_escape(p, last, &routes[i]->route);
        p = ngx_slprintf(p, last, "\",\"inflight\":%uA,\"concurrency\":%ui}",
                         t->sum.inflight[i], routes[i]->concurrency);
    }

    return ngx_slprintf(p, last, "]");
}


/* as the worker that answers sees it; null: not limited, or not known */

static u_char *
ngx_http_batch_status_json_store(u_char *p, u_char *last)
{
    const char                    *state;
    const ngx_http_batch_space_t  *s;

    s = ngx_http_batch_space();

    state = s->full ? "full"
                    : ngx_http_batch_space_paused() ? "failing" : "ok";

    p = ngx_slprintf(p, last, "\"store\":{\"state\":\"%s\","
                     "\"free_bytes\":%uL,\"free_inodes\":", state, s->bytes);

    if (s->inodes == NGX_HTTP_BATCH_SPACE_ANY) {
        p = ngx_slprintf(p, last, "null");

    } else {
        p = ngx_slprintf(p, last, "%uL", s->inodes);
    }

    return ngx_slprintf(p, last, ",\"min_free_bytes\":%uL,"
                        "\"min_free_inodes\":%uL}", s->min_bytes,
                        s->min_inodes);
}


static u_char *
ngx_http_batch_status_prometheus(ngx_http_batch_status_totals_t *t, u_char *p,
    u_char *last)
{
    const ngx_http_batch_status_metric_t  *m;

    for (m = ngx_http_batch_status_metrics; m->name; m++) {

        if (m->help) {
            p = ngx_slprintf(p, last, "# HELP nginx_batch_%s %s\n"
                             "# TYPE nginx_batch_%s %s\n", m->name, m->help,
                             m->name, m->type);
        }

        if (m->offset == NGX_HTTP_BATCH_STATUS_ROUTES) {
            p = ngx_http_batch_status_prometheus_routes(t, m->name, p, last);
            continue;
        }

        p = ngx_slprintf(p, last, "nginx_batch_%s%s %uA\n", m->name, m->labels,
                         *(ngx_atomic_t *) ((u_char *) t + m->offset));
    }

    return ngx_http_batch_status_prometheus_store(p, last);
}


static u_char *
ngx_http_batch_status_prometheus_routes(ngx_http_batch_status_totals_t *t,
    const char *name, u_char *p, u_char *last)
{
    ngx_uint_t                    i;
    ngx_http_batch_loc_conf_t   **routes;

    routes = ngx_http_batch_conf->routes.elts;

    for (i = 0; i < ngx_http_batch_conf->routes.nelts; i++) {
        p = ngx_slprintf(p, last, "nginx_batch_%s{route=\"", name);
        p = ngx_http_batch_status_escape(p, last, &routes[i]->route);
        p = ngx_slprintf(p, last, "\"} %uA\n", t->sum.inflight[i]);
    }

    return p;
}


static u_char *
ngx_http_batch_status_prometheus_store(u_char *p, u_char *last)
{
    const ngx_http_batch_space_t  *s;

    s = ngx_http_batch_space();

    p = ngx_slprintf(p, last,
                     "# HELP nginx_batch_store_paused No line starts: the "
                     "store is full, or writes fail.\n"
                     "# TYPE nginx_batch_store_paused gauge\n"
                     "nginx_batch_store_paused %ui\n"
                     "# HELP nginx_batch_store_free_bytes Free bytes of the "
                     "store.\n"
                     "# TYPE nginx_batch_store_free_bytes gauge\n"
                     "nginx_batch_store_free_bytes %uL\n"
                     "# HELP nginx_batch_store_min_free_bytes Bytes that are "
                     "kept free.\n"
                     "# TYPE nginx_batch_store_min_free_bytes gauge\n"
                     "nginx_batch_store_min_free_bytes %uL\n",
                     ngx_http_batch_space_paused(), s->bytes, s->min_bytes);

    if (s->inodes == NGX_HTTP_BATCH_SPACE_ANY) {
        return p;
    }

    return ngx_slprintf(p, last,
                        "# HELP nginx_batch_store_free_inodes Free inodes of "
                        "the store.\n"
                        "# TYPE nginx_batch_store_free_inodes gauge\n"
                        "nginx_batch_store_free_inodes %uL\n", s->inodes);
}


static u_char *
ngx_http_batch_status_escape(u_char *p, u_char *last, const ngx_str_t *s)
{
    if ((size_t) (last - p) < s->len + ngx_escape_json(NULL, s->data, s->len))
    {
        return p;
    }

    return (u_char *) ngx_escape_json(p, s->data, s->len);
}
