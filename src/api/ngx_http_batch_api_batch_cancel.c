/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /batches/{id}/cancel: a mark on disk that excludes the publication of
 * the batch's result, then the index is told.
 */

#include "ngx_http_batch_api_batch.h"
#include "ngx_http_batch_cancel.h"
#include "ngx_http_batch_op.h"


static void ngx_http_batch_api_batch_cancel_step(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static void ngx_http_batch_api_batch_cancel_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_batch_cancel_published(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_batch_cancel_answer(ngx_http_batch_op_t *op,
    ngx_int_t rc, ngx_http_batch_index_res_t *res);
static ngx_uint_t ngx_http_batch_api_batch_cancel_late(ngx_http_batch_op_t *op,
    batch_status_e status);
static void ngx_http_batch_api_batch_cancel_reject(ngx_http_batch_op_t *op,
    batch_status_e status);


ngx_int_t
ngx_http_batch_api_batch_cancel(ngx_http_request_t *r)
{
    return ngx_http_batch_op_find(r, BATCH_ID_BATCH,
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

    if (ngx_http_batch_api_batch_cancel_late(op, status)) {
        return;
    }

    op->at = batch_clock_since(ngx_max(op->at,
                                       ngx_max(res->view->in_progress_at,
                                               res->view->finalizing_at)));

    (void) ngx_http_batch_op_task(op, ngx_http_batch_api_batch_cancel_publish,
                                  ngx_http_batch_api_batch_cancel_published);
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

        ngx_http_batch_api_batch_cancel_reject(op, BATCH_FINALIZING);
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: %s: cancelled at %L", op->id, op->at);

    /* another call may have been first, and have failed to tell the index */

    ngx_http_batch_op_wait(op, ngx_http_batch_api_batch_cancel_answer,
                           ngx_http_batch_index_batch_cancel(op->id, op->at,
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

    if (ngx_http_batch_api_batch_cancel_late(op, res->view->status)) {
        return;
    }

    ngx_http_batch_op_batch(op, res->view);
}


/* 1: the batch has ended in another way, and the op was rejected */

static ngx_uint_t
ngx_http_batch_api_batch_cancel_late(ngx_http_batch_op_t *op,
    batch_status_e status)
{
    if (status == BATCH_CANCELLED || !batch_status_terminal(status)) {
        return 0;
    }

    ngx_http_batch_api_batch_cancel_reject(op, status);

    return 1;
}


static void
ngx_http_batch_api_batch_cancel_reject(ngx_http_batch_op_t *op,
    batch_status_e status)
{
    ngx_http_batch_op_reject(op, NGX_HTTP_CONFLICT, NULL, NULL,
                             "Cannot cancel a batch with status '%s'.",
                             batch_status_name(status));
}
