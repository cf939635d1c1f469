/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * What the endpoints of the Uploads API share.
 */

#ifndef _NGX_HTTP_BATCH_API_UPLOAD_H_INCLUDED_
#define _NGX_HTTP_BATCH_API_UPLOAD_H_INCLUDED_

#include "ngx_http_batch_op.h"
#include "ngx_http_batch_uploads.h"


/* size zeroed bytes of the op's pool; the ngx_http_batch_upload_state_t at the
 * offset state is freed with the op.  NULL if there is no memory. */
void *ngx_http_batch_api_upload_data(ngx_http_batch_op_t *op, size_t size,
    size_t state);

/* In a task: reads what is on disk of the upload op->id; sets op->rc and
 * op->err.  NGX_DECLINED also for an upload of another tenant. */
void ngx_http_batch_api_upload_read(ngx_http_batch_op_t *op,
    ngx_http_batch_upload_state_t *st, ngx_log_t *log);

/* the same as a task, if op->data begins with the state */
void ngx_http_batch_api_upload_load(ngx_http_batch_op_t *op, ngx_log_t *log);

/* after the task: NGX_OK, or NGX_DONE if the op has ended with what op->rc
 * means: NGX_DECLINED 404, NGX_ABORT 503, else by op->err */
ngx_int_t ngx_http_batch_api_upload_check(ngx_http_batch_op_t *op);

/* 200 with the upload; f: the file of a completed one */
void ngx_http_batch_api_upload_answer(ngx_http_batch_op_t *op,
    const ngx_http_batch_upload_t *u, ngx_http_batch_upload_status_e status,
    const ngx_http_batch_file_t *f);

/* rejects: "Cannot <what> an upload with status '<status>'." */
void ngx_http_batch_api_upload_ended(ngx_http_batch_op_t *op, const char *what,
    ngx_http_batch_upload_status_e status);


#endif /* _NGX_HTTP_BATCH_API_UPLOAD_H_INCLUDED_ */
