/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The Uploads API, a file in parts: what its endpoints share, and those that
 * look at an upload or cancel it.  Redis knows nothing of uploads: each call
 * reads the disk in a task.  Only a completed upload's file goes to the index.
 */

#include "ngx_http_batch_api_upload.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_render.h"
#include "ngx_http_batch_send.h"


static void ngx_http_batch_api_upload_cleanup(void *state);
static ngx_int_t ngx_http_batch_api_upload_op(ngx_http_request_t *r,
    ngx_http_batch_op_run_pt run, ngx_http_batch_op_pt done);
static void ngx_http_batch_api_upload_shown(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_cancel_run(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_cancel_done(ngx_http_batch_op_t *op);


void *
ngx_http_batch_api_upload_data(ngx_http_batch_op_t *op, size_t size,
    size_t state)
{
    void                *data;
    ngx_pool_cleanup_t  *cln;

    data = ngx_pcalloc(op->pool, size);
    cln = ngx_pool_cleanup_add(op->pool, 0);

    if (data == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_batch_api_upload_cleanup;
    cln->data = (u_char *) data + state;

    return data;
}


static void
ngx_http_batch_api_upload_cleanup(void *state)
{
    ngx_http_batch_uploads_free(state);
}


void
ngx_http_batch_api_upload_read(ngx_http_batch_op_t *op,
    ngx_http_batch_upload_state_t *st, ngx_log_t *log)
{
    ngx_http_batch_uploads_free(st);

    op->rc = ngx_http_batch_uploads_load(op->id, batch_clock_sec(), st,
                                         log);
    op->err = ngx_errno;

    if (op->rc != NGX_OK) {
        return;
    }

    if (!ngx_http_batch_op_owns(op, &st->upload.tenant)) {
        op->rc = NGX_DECLINED;
    }
}


ngx_int_t
ngx_http_batch_api_upload_check(ngx_http_batch_op_t *op)
{
    switch (op->rc) {

    case NGX_OK:
        return NGX_OK;

    case NGX_DECLINED:
        return ngx_http_batch_op_not_found(op, BATCH_ID_UPLOAD);

    case NGX_ABORT:
        return ngx_http_batch_op_unavailable(op, NGX_ABORT);

    default:
        return ngx_http_batch_op_disk_error(op);
    }
}


void
ngx_http_batch_api_upload_ended(ngx_http_batch_op_t *op, const char *what,
    ngx_http_batch_upload_status_e status)
{
    ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                             "Cannot %s an upload with status '%s'.", what,
                             ngx_http_batch_uploads_status(status));
}


void
ngx_http_batch_api_upload_answer(ngx_http_batch_op_t *op,
    const ngx_http_batch_upload_t *u, ngx_http_batch_upload_status_e status,
    const ngx_http_batch_file_t *f)
{
    ngx_http_batch_render_upload(&op->text, u, status, f);
    ngx_http_batch_op_answer(op);
}


/* calls that need nothing but the disk */

static ngx_int_t
ngx_http_batch_api_upload_op(ngx_http_request_t *r,
    ngx_http_batch_op_run_pt run, ngx_http_batch_op_pt done)
{
    ngx_int_t             rc;
    ngx_http_batch_op_t  *op;

    op = ngx_http_batch_op_of_id(r, BATCH_ID_UPLOAD, &rc);
    if (op == NULL) {
        return rc;
    }

    op->data = ngx_http_batch_api_upload_data(op,
                                       sizeof(ngx_http_batch_upload_state_t),
                                              0);
    if (op->data == NULL) {
        return ngx_http_batch_op_unavailable(op, NGX_ERROR);
    }

    (void) ngx_http_batch_op_task(op, run, done);

    return NGX_DONE;
}


/* GET /uploads/{id}: OpenAI's service has no such call */

ngx_int_t
ngx_http_batch_api_upload(ngx_http_request_t *r)
{
    return ngx_http_batch_api_upload_op(r, ngx_http_batch_api_upload_load,
                                        ngx_http_batch_api_upload_shown);
}


void
ngx_http_batch_api_upload_load(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_upload_read(op, op->data, log);
}


static void
ngx_http_batch_api_upload_shown(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_state_t *st = op->data;

    if (ngx_http_batch_api_upload_check(op) == NGX_OK) {
        ngx_http_batch_api_upload_answer(op, &st->upload, st->status,
                                         &st->file);
    }
}


ngx_int_t
ngx_http_batch_api_upload_cancel(ngx_http_request_t *r)
{
    return ngx_http_batch_api_upload_op(r,
                                        ngx_http_batch_api_upload_cancel_run,
                                        ngx_http_batch_api_upload_cancel_done);
}


static void
ngx_http_batch_api_upload_cancel_run(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_upload_state_t *st = op->data;

    ngx_http_batch_api_upload_read(op, st, log);

    if (op->rc != NGX_OK || st->status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        return;
    }

    op->rc = ngx_http_batch_uploads_end(op->id,
                                        NGX_HTTP_BATCH_UPLOAD_CANCELLED,
                                        NULL, NULL, log);
    op->err = ngx_errno;

    if (op->rc == NGX_OK) {
        st->status = NGX_HTTP_BATCH_UPLOAD_CANCELLED;
        ngx_http_batch_uploads_clean(op->id, log);

    } else if (op->rc == NGX_DECLINED) {
        ngx_http_batch_api_upload_read(op, st, log);
    }
}


static void
ngx_http_batch_api_upload_cancel_done(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_state_t *st = op->data;

    if (ngx_http_batch_api_upload_check(op) != NGX_OK) {
        return;
    }

    if (st->status != NGX_HTTP_BATCH_UPLOAD_CANCELLED) {
        ngx_http_batch_api_upload_ended(op, "cancel", st->status);
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: %s: cancelled", op->id);

    ngx_http_batch_quota_end(op);
    ngx_http_batch_api_upload_shown(op);
}
