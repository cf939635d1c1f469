/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * Ops: see the header for their life.  Requests are finalized from anywhere,
 * but posted requests run only here, at the end of an event: a handler that is
 * still on the stack must find its request alive.
 */

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_render.h"
#include "ngx_http_batch_send.h"
#include "ngx_http_batch_store.h"
#include "ngx_http_batch_task.h"


/* bytes of a final.json that is not rendered by a thread */
#define NGX_HTTP_BATCH_OP_INLINE  32768


typedef struct {
    ngx_http_batch_op_t  *op;
} ngx_http_batch_op_task_t;


static void ngx_http_batch_op_gone(void *data);
static void ngx_http_batch_op_filled(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res);
static void ngx_http_batch_op_timer(ngx_event_t *ev);
static void ngx_http_batch_op_batch_run(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_connection_t *ngx_http_batch_op_enter(ngx_http_batch_op_t *op);
static void ngx_http_batch_op_task_run(void *ctx, ngx_log_t *log);
static void ngx_http_batch_op_task_done(void *ctx, ngx_log_t *log);


ngx_http_batch_op_t *
ngx_http_batch_op_create(ngx_http_request_t *r)
{
    ngx_pool_t                *pool;
    ngx_http_batch_op_t       *op;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    pool = ngx_create_pool(2048, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    op = ngx_pcalloc(pool, sizeof(ngx_http_batch_op_t));
    if (op == NULL) {
        goto failed;
    }

    op->pool = pool;
    op->conf = ctx->conf;
    op->fd = NGX_INVALID_FILE;
    op->body.fd = NGX_INVALID_FILE;

    if (ctx->id.len && ctx->id.len < BATCH_ID_LEN) {
        ngx_memcpy(op->id, ctx->id.data, ctx->id.len);
    }

    op->tenant.len = ctx->tenant.len;
    op->tenant.data = ngx_pstrdup(pool, &ctx->tenant);
    op->request_id.len = ctx->request_id.len;
    op->request_id.data = ngx_pstrdup(pool, &ctx->request_id);
    op->cln = ngx_http_cleanup_add(r, 0);

    if (op->tenant.data == NULL || op->request_id.data == NULL
        || op->cln == NULL)
    {
        goto failed;
    }

    op->cln->handler = ngx_http_batch_op_gone;
    op->cln->data = op;

    op->r = r;
    r->main->count++;

    return op;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


ngx_http_batch_op_t *
ngx_http_batch_op_of_id(ngx_http_request_t *r, batch_id_kind_e kind,
    ngx_int_t *rc)
{
    ngx_http_batch_op_t       *op;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (!batch_id_check(kind, ctx->id.data, ctx->id.len)) {
        *rc = ngx_http_batch_send_not_found(r, kind);
        return NULL;
    }

    op = ngx_http_batch_op_create(r);

    *rc = op ? NGX_DONE : NGX_ERROR;

    return op;
}


ngx_int_t
ngx_http_batch_op_find(ngx_http_request_t *r, batch_id_kind_e kind,
    ngx_http_batch_op_step_pt step)
{
    ngx_int_t             rc;
    ngx_http_batch_op_t  *op;

    op = ngx_http_batch_op_of_id(r, kind, &rc);
    if (op == NULL) {
        return rc;
    }

    if (kind == BATCH_ID_FILE) {
        rc = ngx_http_batch_index_file_get(op->id, ngx_http_batch_op_index,
                                           op);

    } else {
        rc = ngx_http_batch_index_batch_get(op->id, ngx_http_batch_op_index,
                                            op);
    }

    ngx_http_batch_op_wait(op, step, rc);

    return NGX_DONE;
}


void
ngx_http_batch_op_destroy(ngx_http_batch_op_t *op)
{
    ngx_http_batch_quota_release(op);

    if (op->timer.timer_set) {
        ngx_del_timer(&op->timer);
    }

    json_decref(op->root);
    batch_text_free(&op->text);

    if (op->fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(op->fd);
    }

    if (op->body.fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(op->body.fd);
    }

    ngx_destroy_pool(op->pool);
}


/* the request dies before its op */

static void
ngx_http_batch_op_gone(void *data)
{
    ngx_http_batch_op_t *op = data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: client is gone, pending:%d",
                   &op->request_id, op->pending);

    op->r = NULL;
    ngx_http_batch_pace_stop(op);

    if (!op->pending && op->abandon) {
        op->abandon(op);
    }
}


ngx_int_t
ngx_http_batch_op_finish(ngx_http_batch_op_t *op, ngx_int_t rc)
{
    ngx_http_request_t        *r;
    ngx_http_batch_api_ctx_t  *ctx;

    r = op->r;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: op ends, rc:%i, pending:%d",
                   &op->request_id, rc, op->pending);

    ngx_http_batch_pace_stop(op);

    if (r) {
        op->r = NULL;
        op->cln->handler = NULL;

        ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

        if (ctx) {
            /* a filter that makes a page of its own (412) removes it */
            ctx->op = NULL;
        }

        if (!r->discard_body) {
            r->read_event_handler = ngx_http_block_reading;
        }

        r->write_event_handler = ngx_http_request_empty_handler;
    }

    if (!op->pending) {

        if (op->abandon) {
            op->abandon(op);

        } else {
            ngx_http_batch_op_destroy(op);
        }
    }

    if (r) {

        if (rc == NGX_ERROR && !r->header_sent) {
            rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_finalize_request(r, rc);
    }

    return NGX_DONE;
}


void
ngx_http_batch_op_answer(ngx_http_batch_op_t *op)
{
    ngx_int_t  rc;

    if (op->text.failed) {
        ngx_http_batch_op_failed(op);
        return;
    }

    rc = NGX_OK;

    if (op->r) {
        rc = ngx_http_batch_send_text(op->r, NGX_HTTP_OK,
                                      batch_text_end(&op->text));
    }

    ngx_http_batch_op_finish(op, rc);
}


void
ngx_http_batch_op_batch(ngx_http_batch_op_t *op,
    const ngx_http_batch_view_t *v)
{
    op->view = *v;

    if (v->final.len <= NGX_HTTP_BATCH_OP_INLINE) {
        ngx_http_batch_op_batch_run(op, ngx_cycle->log);
        ngx_http_batch_op_answer(op);
        return;
    }

    /* hundreds of errors; the view is valid during the index's callback only */

    op->view.meta.data = ngx_pstrdup(op->pool, (ngx_str_t *) &v->meta);
    op->view.final.data = ngx_pstrdup(op->pool, (ngx_str_t *) &v->final);
    op->view.model.data = ngx_pstrdup(op->pool, (ngx_str_t *) &v->model);

    if (op->view.meta.data == NULL || op->view.final.data == NULL
        || op->view.model.data == NULL)
    {
        ngx_http_batch_op_failed(op);
        return;
    }

    (void) ngx_http_batch_op_task(op, ngx_http_batch_op_batch_run,
                                  ngx_http_batch_op_answer);
}


static void
ngx_http_batch_op_batch_run(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    char  id[BATCH_ID_LEN];

    if (ngx_http_batch_render_batch(&op->text, &op->view, op->conf->dialect,
                                    id)
        != NGX_OK)
    {
        op->text.failed = 1;
    }
}


ngx_int_t
ngx_http_batch_op_failed(ngx_http_batch_op_t *op)
{
    return ngx_http_batch_op_reject(op, NGX_HTTP_INTERNAL_SERVER_ERROR, NULL,
                                    NULL, "The server had an error while "
                                    "processing your request.");
}


ngx_int_t
ngx_http_batch_op_reject(ngx_http_batch_op_t *op, ngx_uint_t status,
    const char *param, const char *code, const char *fmt, ...)
{
    va_list    args;
    ngx_int_t  rc;

    rc = NGX_OK;

    if (op->stream) {
        return ngx_http_batch_stream_cut(op);
    }

    if (op->r) {
        va_start(args, fmt);
        rc = ngx_http_batch_send_verror(op->r, status, NULL, param, code, fmt,
                                        args);
        va_end(args);
    }

    return ngx_http_batch_op_finish(op, rc);
}


ngx_int_t
ngx_http_batch_op_reject_type(ngx_http_batch_op_t *op, ngx_uint_t status,
    const char *type, const char *fmt, ...)
{
    va_list    args;
    ngx_int_t  rc;

    rc = NGX_OK;

    if (op->r) {
        va_start(args, fmt);
        rc = ngx_http_batch_send_verror(op->r, status, type, NULL, NULL, fmt,
                                        args);
        va_end(args);
    }

    return ngx_http_batch_op_finish(op, rc);
}


ngx_int_t
ngx_http_batch_op_unavailable(ngx_http_batch_op_t *op, ngx_int_t rc)
{
    const char  *what;

    switch (rc) {

    case NGX_BUSY:
        what = "The index is being rebuilt. Please retry.";
        break;

    case NGX_AGAIN:
        what = "The server is overloaded. Please retry.";
        break;

    default:
        what = "The server is temporarily unable to handle the request. "
               "Please retry.";
    }

    return ngx_http_batch_op_reject(op, NGX_HTTP_SERVICE_UNAVAILABLE, NULL,
                                    NULL, what);
}


ngx_int_t
ngx_http_batch_op_malformed(ngx_http_batch_op_t *op, const char *what)
{
    if (!ngx_http_batch_store_damaged()) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                  "batch: %s: malformed %s in the index", op->id, what);

    return ngx_http_batch_op_failed(op);
}


ngx_int_t
ngx_http_batch_op_disk_error(ngx_http_batch_op_t *op)
{
    if (op->err == NGX_ENOSPC || op->err == EDQUOT) {
        return ngx_http_batch_op_full(op);
    }

    return ngx_http_batch_op_reject(op, NGX_HTTP_INTERNAL_SERVER_ERROR, NULL,
                                    NULL, "The server had an error while "
                                    "accessing its storage.");
}


ngx_int_t
ngx_http_batch_op_full(ngx_http_batch_op_t *op)
{
    return ngx_http_batch_op_finish(op, op->r
                                        ? ngx_http_batch_send_full(op->r)
                                        : NGX_OK);
}


ngx_int_t
ngx_http_batch_op_not_found(ngx_http_batch_op_t *op, batch_id_kind_e kind)
{
    return ngx_http_batch_op_finish(op, op->r
                                    ? ngx_http_batch_send_not_found(op->r,
                                                                    kind)
                                    : NGX_OK);
}


ngx_uint_t
ngx_http_batch_op_owns(ngx_http_batch_op_t *op, const ngx_str_t *tenant)
{
    return tenant->len == op->tenant.len
           && ngx_memcmp(tenant->data, op->tenant.data, tenant->len) == 0;
}


ngx_int_t
ngx_http_batch_op_new_id(ngx_http_batch_op_t *op, batch_id_kind_e kind,
    char *id)
{
    if (batch_id_make(kind, id) == 0) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                      "batch: no random bytes for an id");
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: new id %s", &op->request_id, id);

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_op_wait(ngx_http_batch_op_t *op, ngx_http_batch_op_step_pt step,
    ngx_int_t rc)
{
    if (rc != NGX_OK) {
        return ngx_http_batch_op_unavailable(op, rc);
    }

    op->step = step;
    op->pending = 1;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: index is asked", &op->request_id);

    return NGX_OK;
}


void
ngx_http_batch_op_ready(ngx_http_batch_op_t *op, ngx_http_batch_op_pt next)
{
    op->ready = next;

    ngx_http_batch_op_wait(op, ngx_http_batch_op_filled,
                           ngx_http_batch_index_era_check(-1,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_op_filled(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc != NGX_OK) {
        ngx_http_batch_op_unavailable(op, NGX_BUSY);
        return;
    }

    op->ready(op);
}


void
ngx_http_batch_op_later(ngx_http_batch_op_t *op, ngx_msec_t ms,
    ngx_http_batch_op_pt next)
{
    if (op->r == NULL) {
        op->abandon(op);
        return;
    }

    op->later = next;

    op->timer.handler = ngx_http_batch_op_timer;
    op->timer.data = op;
    op->timer.log = ngx_cycle->log;

    ngx_add_timer(&op->timer, ms);
}


static void
ngx_http_batch_op_timer(ngx_event_t *ev)
{
    ngx_http_batch_op_t *op = ev->data;

    ngx_connection_t  *c;

    c = ngx_http_batch_op_enter(op);

    op->later(op);

    if (c) {
        ngx_http_run_posted_requests(c);
    }
}


/*
 * What was pending has ended.  Returns the connection whose posted requests
 * are to run in the end; NULL: there is no client.
 */

static ngx_connection_t *
ngx_http_batch_op_enter(ngx_http_batch_op_t *op)
{
    ngx_connection_t  *c;

    op->pending = 0;

    if (op->r == NULL) {
        return NULL;
    }

    c = op->r->connection;
    ngx_http_set_log_request(c->log, op->r);

    return c;
}


void
ngx_http_batch_op_index(void *data, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_op_t *op = data;

    ngx_connection_t  *c;

    c = ngx_http_batch_op_enter(op);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: index answered, rc:%i",
                   &op->request_id, rc);

    if (c == NULL && op->abandon) {
        op->abandon(op);
        return;
    }

    if (rc == NGX_OK || rc == NGX_DECLINED) {
        op->step(op, rc, res);

    } else {
        ngx_http_batch_op_unavailable(op, rc);
    }

    if (c) {
        ngx_http_run_posted_requests(c);
    }
}


ngx_int_t
ngx_http_batch_op_task(ngx_http_batch_op_t *op, ngx_http_batch_op_run_pt run,
    ngx_http_batch_op_pt done)
{
    ngx_http_batch_op_task_t  *ctx;

    ctx = ngx_http_batch_task_create(sizeof(ngx_http_batch_op_task_t),
                                     ngx_http_batch_op_task_run,
                                     ngx_http_batch_op_task_done);

    if (ctx == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_AGAIN);
    }

    ctx->op = op;

    op->run = run;
    op->done = done;
    op->pending = 1;

    if (ngx_http_batch_task_start(ctx) != NGX_OK) {
        op->pending = 0;
        return ngx_http_batch_op_unavailable(op, NGX_AGAIN);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: task is posted", &op->request_id);

    return NGX_OK;
}


static void
ngx_http_batch_op_task_run(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_op_task_t *t = ctx;

    t->op->run(t->op, log);
}


static void
ngx_http_batch_op_task_done(void *ctx, ngx_log_t *log)
{
    ngx_http_batch_op_task_t *t = ctx;

    ngx_connection_t     *c;
    ngx_http_batch_op_t  *op;

    op = t->op;
    ngx_http_batch_task_free(t);

    c = ngx_http_batch_op_enter(op);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: request %V: task has ended, rc:%i",
                   &op->request_id, op->rc);

    if (c == NULL && op->abandon) {
        op->abandon(op);
        return;
    }

    op->done(op);

    if (c) {
        ngx_http_run_posted_requests(c);
    }
}
