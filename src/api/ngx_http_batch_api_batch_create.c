/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * One batch: its creation, its object, its cancellation.
 */

#include "ngx_http_batch_api.h"
#include "ngx_http_batch_cancel.h"


static void ngx_http_batch_api_batch_create_parsed(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_look(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_batch_create_looked(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_check(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_begin(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_ready(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_batch_create_post(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static ngx_int_t ngx_http_batch_api_batch_create_again(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_batch_create_claim(ngx_http_batch_op_t *op,
    ngx_str_t *text, ngx_log_t *log);
static void ngx_http_batch_api_batch_create_published(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_replay(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_batch_create_announce(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_answer(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);

static ngx_int_t ngx_http_batch_api_batch_find(ngx_http_request_t *r,
    ngx_http_batch_op_step_pt step);
static ngx_int_t ngx_http_batch_api_batch_found(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_batch_show(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);

static void ngx_http_batch_api_batch_cancel_step(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_batch_cancel_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_batch_cancel_published(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_cancel_answer(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static ngx_int_t ngx_http_batch_api_batch_cancel_refused(
    ngx_http_batch_op_t *op, batch_status_e status);


ngx_int_t
ngx_http_batch_api_batch_create(ngx_http_request_t *r)
{
    return ngx_http_batch_body_json(r, NGX_HTTP_BATCH_API_JSON_MAX,
                                    ngx_http_batch_api_batch_create_parsed);
}


static void
ngx_http_batch_api_batch_create_parsed(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_idem_init(op) != NGX_OK) {
        return;
    }

    if (op->idem == NULL) {
        ngx_http_batch_api_batch_create_check(op);
        return;
    }

    ngx_http_batch_idem_add(op, op->body->pos, op->body->last - op->body->pos);

    (void) ngx_http_batch_op_task(op, ngx_http_batch_api_batch_create_look,
                                  ngx_http_batch_api_batch_create_looked);
}


static void
ngx_http_batch_api_batch_create_look(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    op->rc = ngx_http_batch_idem_look(op, log);

    if (op->rc == NGX_DONE) {
        op->rc = ngx_http_batch_api_batch_create_again(op) == NGX_OK ? NGX_DONE
                                                           : NGX_ERROR;
    }

    op->err = ngx_errno;
}


/*
 * A request that was answered before gets the same answer, whatever has become
 * of its input and of the configuration since: its job, its endpoint or its
 * window may have been removed.  So it is not checked again, and takes no place
 * of a quota; but whoever answered it may not have come to publish it.
 */

static void
ngx_http_batch_api_batch_create_looked(ngx_http_batch_op_t *op)
{
    if (op->rc == NGX_ERROR) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    if (op->rc == NGX_DONE) {
        ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_create_ready);
        ngx_http_batch_op_sent(op, ngx_http_batch_index_era_check(-1,
                                                 ngx_http_batch_op_index, op));
        return;
    }

    if (op->rc == NGX_DECLINED && ngx_http_batch_idem_check(op) != NGX_OK) {
        return;
    }

    ngx_http_batch_api_batch_create_check(op);
}


static void
ngx_http_batch_api_batch_create_check(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_api_batch_params(op) != NGX_OK) {
        return;
    }

    if (op->conf->dialect == NGX_HTTP_BATCH_IMPALA) {
        ngx_http_batch_api_batch_params_input(op,
                                       ngx_http_batch_api_batch_create_begin);
        return;
    }

    ngx_http_batch_api_batch_create_begin(op);
}


static void
ngx_http_batch_api_batch_create_begin(ngx_http_batch_op_t *op)
{
    int64_t  now;

    if (batch_id_make(BATCH_ID_BATCH, op->meta.id) == 0) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                      "no random bytes for a batch id");
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    now = batch_clock_us();

    op->meta.created_us = now;

    if (op->meta.expires_at) {
        op->meta.expires_at += now / 1000000;
    }

    /* a batch that is on disk but not in the index would surprise its client
     * later: without an index nothing is published */

    if (ngx_http_batch_quota_any(op, NGX_HTTP_BATCH_USE_BATCHES)) {

        /* how many lines it has is known when it is validated */

        ngx_http_batch_quota_take(op, NGX_HTTP_BATCH_USE_BATCHES, op->meta.id,
                                  1, NGX_HTTP_BATCH_QUOTA_HOLD,
                                  ngx_http_batch_api_batch_create_post);
        return;
    }

    ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_create_ready);
    ngx_http_batch_op_sent(op, ngx_http_batch_index_era_check(-1,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_api_batch_create_ready(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc != NGX_OK) {
        ngx_http_batch_op_unavailable(op, NGX_BUSY);
        return;
    }

    ngx_http_batch_api_batch_create_post(op);
}


static void
ngx_http_batch_api_batch_create_post(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_op_task(op, ngx_http_batch_api_batch_create_publish,
                               ngx_http_batch_api_batch_create_published)
        == NGX_OK)
    {
        op->abandon = NULL;
    }
}


static void
ngx_http_batch_api_batch_create_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log)
{
    ngx_str_t  text;

    text = ngx_http_batch_meta_encode(&op->meta);

    if (text.data == NULL) {
        op->rc = NGX_ERROR;
        op->err = NGX_ENOMEM;
        return;
    }

    op->rc = NGX_OK;

    if (op->idem && !op->idem->replay) {
        op->rc = ngx_http_batch_api_batch_create_claim(op, &text, log);
        op->err = ngx_errno;
    }

    if (op->rc == NGX_OK) {
        op->rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_META, op->meta.id,
                                              text.data, text.len, log);
        op->err = ngx_errno;

        if (op->rc == NGX_DECLINED && op->idem) {

            /* two of the same at once: both publish, one of them is declined */

            op->rc = NGX_OK;
        }
    }

    free(text.data);
}


/* with a key that was used, op->meta and text become what was made of it */

static ngx_int_t
ngx_http_batch_api_batch_create_claim(ngx_http_batch_op_t *op, ngx_str_t *text,
    ngx_log_t *log)
{
    ngx_int_t  rc;

    rc = ngx_http_batch_idem_claim(op, text, log);

    if (rc != NGX_DONE) {
        return rc;
    }

    if (ngx_http_batch_api_batch_create_again(op) != NGX_OK) {
        return NGX_ERROR;
    }

    free(text->data);
    *text = ngx_http_batch_meta_encode(&op->meta);

    if (text->data == NULL) {
        ngx_set_errno(NGX_ENOMEM);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* op->meta becomes what was recorded with the key */

static ngx_int_t
ngx_http_batch_api_batch_create_again(ngx_http_batch_op_t *op)
{
    ngx_http_batch_idem_t *idem = op->idem;

    if (ngx_http_batch_meta_decode(&op->meta, idem->first.data,
                                   idem->first.len, &idem->object)
        != NGX_OK)
    {
        ngx_set_errno(EINVAL);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_batch_api_batch_create_published(ngx_http_batch_op_t *op)
{
    if (ngx_http_batch_idem_check(op) != NGX_OK) {
        return;
    }

    if (op->rc == NGX_AGAIN) {
        ngx_http_batch_quota_reject(op);
        return;
    }

    if (op->rc != NGX_OK) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    if (op->idem && op->idem->replay) {

        /* it may be far already */

        ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_create_replay);
        ngx_http_batch_op_sent(op, ngx_http_batch_index_batch_get(op->meta.id,
                                                 ngx_http_batch_op_index, op));
        return;
    }

    ngx_http_batch_api_batch_create_announce(op);
}


static void
ngx_http_batch_api_batch_create_replay(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc == NGX_OK) {
        ngx_http_batch_op_batch(op, res->view);
        return;
    }

    ngx_http_batch_api_batch_create_announce(op);
}


static void
ngx_http_batch_api_batch_create_announce(ngx_http_batch_op_t *op)
{
    ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_create_answer);
    ngx_http_batch_op_sent(op, ngx_http_batch_index_batch_put(&op->meta,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_api_batch_create_answer(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    ngx_http_batch_view_t  view;

    if (rc != NGX_OK) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    ngx_http_batch_quota_keep(op, op->meta.id);

    /* as it was published, whatever has happened since */

    ngx_memzero(&view, sizeof(ngx_http_batch_view_t));

    view.status = BATCH_VALIDATING;
    view.meta = ngx_http_batch_meta_encode(&op->meta);

    if (view.meta.data == NULL) {
        ngx_http_batch_op_json(op, NULL);
        return;
    }

    ngx_http_batch_op_batch(op, &view);

    free(view.meta.data);
}


static ngx_int_t
ngx_http_batch_api_batch_find(ngx_http_request_t *r,
    ngx_http_batch_op_step_pt step)
{
    ngx_http_batch_op_t       *op;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (!batch_id_check(BATCH_ID_BATCH, ctx->id.data, ctx->id.len)) {
        return ngx_http_batch_send_no_batch(r);
    }

    op = ngx_http_batch_op_create(r);
    if (op == NULL) {
        return NGX_ERROR;
    }

    ngx_http_batch_op_wait(op, step);
    ngx_http_batch_op_sent(op, ngx_http_batch_index_batch_get(op->id,
                                                 ngx_http_batch_op_index, op));

    return NGX_DONE;
}


/* NGX_OK, or the op has ended with the 404 of unknown and foreign batches */

static ngx_int_t
ngx_http_batch_api_batch_found(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    json_t                 *root;
    ngx_uint_t              own;
    ngx_http_batch_meta_t   m;

    if (rc != NGX_OK) {
        ngx_http_batch_op_no_batch(op);
        return NGX_DECLINED;
    }

    if (ngx_http_batch_meta_decode(&m, res->view->meta.data,
                                   res->view->meta.len, &root)
        != NGX_OK)
    {
        ngx_http_batch_op_malformed(op, "batch.json");
        return NGX_DECLINED;
    }

    own = (m.tenant.len == op->tenant.len
           && ngx_memcmp(m.tenant.data, op->tenant.data, m.tenant.len) == 0);

    op->at = m.created_us / 1000000;

    json_decref(root);

    if (!own) {
        ngx_http_batch_op_no_batch(op);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_batch_api_batch(ngx_http_request_t *r)
{
    return ngx_http_batch_api_batch_find(r, ngx_http_batch_api_batch_show);
}


static void
ngx_http_batch_api_batch_show(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_api_batch_found(op, rc, res) == NGX_OK) {
        ngx_http_batch_op_batch(op, res->view);
    }
}


ngx_int_t
ngx_http_batch_api_batch_cancel(ngx_http_request_t *r)
{
    return ngx_http_batch_api_batch_find(r,
                                         ngx_http_batch_api_batch_cancel_step);
}


static void
ngx_http_batch_api_batch_cancel_step(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    batch_status_e  status;

    if (ngx_http_batch_api_batch_found(op, rc, res) != NGX_OK) {
        return;
    }

    status = res->view->status;

    if (status == BATCH_CANCELLING || status == BATCH_CANCELLED) {
        ngx_http_batch_op_batch(op, res->view);
        return;
    }

    if (ngx_http_batch_api_batch_cancel_refused(op, status)) {
        return;
    }

    op->at = batch_clock_since(ngx_max(op->at,
                                       ngx_max(res->view->in_progress_at,
                                               res->view->finalizing_at)));

    (void) ngx_http_batch_op_task(op, ngx_http_batch_api_batch_cancel_publish,
                                  ngx_http_batch_api_batch_cancel_published);
}


static ngx_int_t
ngx_http_batch_api_batch_cancel_refused(ngx_http_batch_op_t *op,
    batch_status_e status)
{
    if (status == BATCH_CANCELLED || !batch_status_terminal(status)) {
        return 0;
    }

    ngx_http_batch_op_reject(op, NGX_HTTP_CONFLICT, NULL, NULL,
                             "Cannot cancel a batch with status '%s'.",
                             batch_status_name(status));
    return 1;
}


static void
ngx_http_batch_api_batch_cancel_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log)
{
    op->rc = ngx_http_batch_cancel_mark(op->id, &op->at, log);
    op->err = ngx_errno;
}


static void
ngx_http_batch_api_batch_cancel_published(ngx_http_batch_op_t *op)
{
    if (op->rc == NGX_ERROR) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    if (op->rc == NGX_DECLINED) {
        /* its result is being published */
        ngx_http_batch_op_reject(op, NGX_HTTP_CONFLICT, NULL, NULL,
                                 "Cannot cancel a batch with status '%s'.",
                                 batch_status_name(BATCH_FINALIZING));
        return;
    }

    /* somebody was first, but may have failed to tell the index */

    ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_cancel_answer);
    ngx_http_batch_op_sent(op, ngx_http_batch_index_batch_cancel(op->id,
                                                 op->at,
                                                 ngx_http_batch_op_index, op));
}


static void
ngx_http_batch_api_batch_cancel_answer(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (ngx_http_batch_api_batch_found(op, rc, res) != NGX_OK) {
        return;
    }

    /* it may have ended while the cancellation was being written */

    if (ngx_http_batch_api_batch_cancel_refused(op, res->view->status)) {
        return;
    }

    ngx_http_batch_op_batch(op, res->view);
}
