/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * POST /uploads: upload.json is published; a file of that size has its place
 * in the quota from now on.
 */

#include "ngx_http_batch_api_upload.h"
#include "ngx_http_batch_op.h"
#include "ngx_http_batch_param.h"
#include "ngx_http_batch_purpose.h"
#include "ngx_http_batch_store.h"


#define NGX_HTTP_BATCH_UPLOAD_TTL    3600          /* s */
#define NGX_HTTP_BATCH_UPLOAD_BYTES  8589934592    /* of a file: 8 GB */
#define NGX_HTTP_BATCH_UPLOAD_NAME   255           /* bytes */


static ngx_int_t ngx_http_batch_api_upload_create_params(
    ngx_http_batch_op_t *op);
static ngx_int_t ngx_http_batch_api_upload_create_name(ngx_http_batch_op_t *op,
    ngx_http_batch_upload_t *u);
static ngx_int_t ngx_http_batch_api_upload_create_purpose(
    ngx_http_batch_op_t *op, ngx_http_batch_upload_t *u);
static ngx_int_t ngx_http_batch_api_upload_create_bytes(
    ngx_http_batch_op_t *op, ngx_http_batch_upload_t *u);
static void ngx_http_batch_api_upload_create_parsed(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_create_post(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_create_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_create_published(
    ngx_http_batch_op_t *op);


ngx_int_t
ngx_http_batch_api_upload_create(ngx_http_request_t *r)
{
    return ngx_http_batch_body_json(r, NGX_HTTP_BATCH_API_JSON_MAX,
                                    ngx_http_batch_api_upload_create_parsed);
}


static ngx_int_t
ngx_http_batch_api_upload_create_params(ngx_http_batch_op_t *op)
{
    int64_t                   seconds;
    ngx_http_batch_upload_t  *u;

    u = op->data;

    if (ngx_http_batch_api_upload_create_name(op, u) != NGX_OK
        || ngx_http_batch_api_upload_create_purpose(op, u) != NGX_OK
        || ngx_http_batch_api_upload_create_bytes(op, u) != NGX_OK
        || ngx_http_batch_param_string(op, "mime_type", 1,
                                       NGX_HTTP_BATCH_UPLOAD_NAME,
                                       &u->mime_type)
           != NGX_OK)
    {
        return NGX_DONE;
    }

    seconds = 0;

    if (ngx_http_batch_param_ttl(op, "expires_after", &seconds) != NGX_OK) {
        return NGX_DONE;
    }

    u->tenant = op->tenant;
    u->created_us = batch_clock_us();
    u->expires_at = u->created_us / 1000000 + NGX_HTTP_BATCH_UPLOAD_TTL;

    if (seconds) {
        u->file_expires_at = u->created_us / 1000000 + seconds;

    } else if (ngx_http_batch_purpose_is_batch(&u->purpose)
               && op->conf->file_ttl)
    {
        u->file_expires_at = u->created_us / 1000000 + op->conf->file_ttl;
    }

    return NGX_OK;
}


/* as the filename of a form's part: no directories, no control bytes, 255
 * bytes */

static ngx_int_t
ngx_http_batch_api_upload_create_name(ngx_http_batch_op_t *op,
    ngx_http_batch_upload_t *u)
{
    u_char     *p, *last;
    size_t      len;
    ngx_str_t   s;

    if (ngx_http_batch_param_string(op, "filename", 1, 0, &s) != NGX_OK) {
        return NGX_DONE;
    }

    last = s.data + s.len;

    for (p = last; p > s.data && p[-1] != '/' && p[-1] != '\\'; p--) {
        /* void */
    }

    len = last - p;

    if (len > NGX_HTTP_BATCH_UPLOAD_NAME) {
        len = NGX_HTTP_BATCH_UPLOAD_NAME;

        while ((p[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    if (len == 0) {
        return ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "filename",
                                        "invalid_value",
                                        "Invalid 'filename': empty string. "
                                        "Expected the name of a file.");
    }

    u->filename.len = len;
    u->filename.data = p;

    for ( /* void */ ; len; len--, p++) {
        if (*p < 0x20 || *p == 0x7f) {
            *p = '_';
        }
    }

    return ngx_http_batch_param_suffix(op, "filename", &u->filename);
}


static ngx_int_t
ngx_http_batch_api_upload_create_purpose(ngx_http_batch_op_t *op,
    ngx_http_batch_upload_t *u)
{
    ngx_str_t   s;
    ngx_uint_t  optional;

    optional = (op->conf->dialect == NGX_HTTP_BATCH_TENSORZERO);

    if (ngx_http_batch_param_string(op, "purpose", !optional, 0, &s)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    if (optional && s.len == 0) {
        u->purpose = ngx_http_batch_purpose_batch;
        return NGX_OK;
    }

    return ngx_http_batch_param_purpose(op, &s, &u->purpose);
}


static ngx_int_t
ngx_http_batch_api_upload_create_bytes(ngx_http_batch_op_t *op,
    ngx_http_batch_upload_t *u)
{
    off_t    max;
    int64_t  n;

    max = NGX_HTTP_BATCH_UPLOAD_BYTES;

    if (ngx_http_batch_purpose_is_batch(&u->purpose)
        && op->conf->max_file_size && op->conf->max_file_size < max)
    {
        max = op->conf->max_file_size;
    }

    if (ngx_http_batch_param_json_int(op, "bytes",
                                      json_object_get(op->root, "bytes"), 1,
                                      max, &n)
        != NGX_OK)
    {
        return NGX_DONE;
    }

    u->bytes = n;

    return NGX_OK;
}


static void
ngx_http_batch_api_upload_create_parsed(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_t  *u;

    u = ngx_pcalloc(op->pool, sizeof(ngx_http_batch_upload_t));
    if (u == NULL) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    op->data = u;

    if (ngx_http_batch_api_upload_create_params(op) != NGX_OK) {
        return;
    }

    if (ngx_http_batch_op_new_id(op, BATCH_ID_UPLOAD, u->id) != NGX_OK) {
        return;
    }

    ngx_http_batch_quota_take(op, NGX_HTTP_BATCH_USE_FILES, u->id, u->bytes,
                              NGX_HTTP_BATCH_QUOTA_UPLOAD,
                              ngx_http_batch_api_upload_create_post);
}


static void
ngx_http_batch_api_upload_create_post(ngx_http_batch_op_t *op)
{
    (void) ngx_http_batch_op_task(op, ngx_http_batch_api_upload_create_publish,
                                  ngx_http_batch_api_upload_create_published);
}


static void
ngx_http_batch_api_upload_create_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log)
{
    ngx_str_t                 text;
    ngx_http_batch_upload_t  *u;

    u = op->data;

    text = ngx_http_batch_uploads_encode(u);

    if (text.data == NULL) {
        op->rc = NGX_ERROR;
        op->err = NGX_ENOMEM;
        return;
    }

    op->rc = ngx_http_batch_publish_object(NGX_HTTP_BATCH_UPLOAD, u->id,
                                           text.data, text.len, log);
    op->err = ngx_errno;

    free(text.data);
}


static void
ngx_http_batch_api_upload_create_published(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_t  *u;

    if (op->rc != NGX_OK) {
        ngx_http_batch_op_disk_error(op);
        return;
    }

    u = op->data;

    ngx_http_batch_quota_keep(op, u->id);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_http_batch_op_log(op), 0,
                   "batch: %s: created, %O bytes", u->id, u->bytes);

    ngx_http_batch_api_upload_answer(op, u, NGX_HTTP_BATCH_UPLOAD_PENDING,
                                     NULL);
}
