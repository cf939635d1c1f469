/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /batches.  One task publishes batch.json; from there on the batch
 * exists, and the index is told whether the client is there or not.
 */

#include "ngx_http_batch_api_batch.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_store.h"


static void ngx_http_batch_api_batch_create_parsed(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_look(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_batch_create_looked(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_check(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_create_begin(ngx_http_batch_op_t *op);
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

    ngx_http_batch_idem_add(op, op->body.json->pos,
                            op->body.json->last - op->body.json->pos);

    (void) ngx_http_batch_op_task(op, ngx_http_batch_api_batch_create_look,
                                  ngx_http_batch_api_batch_create_looked);
}


static void
ngx_http_batch_api_batch_create_look(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    op->rc = ngx_http_batch_idem_look(op, log);

    if (op->rc == NGX_DONE
        && ngx_http_batch_api_batch_create_again(op) != NGX_OK)
    {
        op->rc = NGX_ERROR;
    }

    op->err = ngx_errno;
}


/*
 * A request that was answered before gets the same answer, whatever has become
 * of its input and of the configuration since: its job, its endpoint or its
 * window may have been removed.  So it is not checked again, and takes no
 * place of a quota; but it may have been cut short before it was published.
 */

static void
ngx_http_batch_api_batch_create_looked(ngx_http_batch_op_t *op)
{
    if (op->rc == NGX_ERROR) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    if (op->rc == NGX_DONE) {
        ngx_http_batch_op_ready(op, ngx_http_batch_api_batch_create_post);
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

    if (ngx_http_batch_op_new_id(op, BATCH_ID_BATCH, op->meta.id) != NGX_OK) {
        return;
    }

    now = batch_clock_us();

    op->meta.created_us = now;

    if (op->meta.expires_at) {
        op->meta.expires_at += now / 1000000;
    }

    if (ngx_http_batch_quota_any(op, NGX_HTTP_BATCH_USE_BATCHES)) {

        /* its lines are counted when it is validated */

        ngx_http_batch_quota_take(op, NGX_HTTP_BATCH_USE_BATCHES, op->meta.id,
                                  1, NGX_HTTP_BATCH_QUOTA_HOLD,
                                  ngx_http_batch_api_batch_create_post);
        return;
    }

    ngx_http_batch_op_ready(op, ngx_http_batch_api_batch_create_post);
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

            /* two of the same at once: both publish, one is declined; or it
             * has ended and was deleted since */

            op->rc = ngx_http_batch_store_exists(NGX_HTTP_BATCH_DELETED,
                                                 op->meta.id, log);
            op->err = ngx_errno;

            if (op->rc != NGX_ERROR) {
                op->idem->gone = op->rc;
                op->rc = NGX_OK;
            }
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

    if (op->idem && op->idem->gone) {

        /* the answer is the same; other calls tell that it was deleted */

        ngx_http_batch_api_batch_create_answer(op, NGX_OK, NULL);
        return;
    }

    if (op->idem && op->idem->replay) {

        /* it may have got far since */

        ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_create_replay,
                               ngx_http_batch_index_batch_get(op->meta.id,
                                                 ngx_http_batch_op_index, op));
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: %s: created, input file %V", op->meta.id,
                   &op->meta.input_file_id);

    ngx_http_batch_api_batch_create_announce(op);
}


static void
ngx_http_batch_api_batch_create_replay(ngx_http_batch_op_t *op, ngx_int_t rc,
    ngx_http_batch_index_res_t *res)
{
    if (rc == NGX_OK) {
        ngx_memcpy(op->id, op->meta.id, BATCH_ID_LEN);
        ngx_http_batch_api_batch_answer(op, res->view);
        return;
    }

    ngx_http_batch_api_batch_create_announce(op);
}


static void
ngx_http_batch_api_batch_create_announce(ngx_http_batch_op_t *op)
{
    ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_create_answer,
                           ngx_http_batch_index_batch_put(&op->meta,
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
        ngx_http_batch_op_failed(op);
        return;
    }

    ngx_http_batch_op_batch(op, &view);

    free(view.meta.data);
}
