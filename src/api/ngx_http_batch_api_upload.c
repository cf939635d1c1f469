/*
 * Copyright (C) the ngx_http_batch_module authors
 *
 * The Uploads API: a file in parts.  Redis knows nothing of uploads: each call
 * reads the disk in a task.  Only a completed upload's file goes to the index.
 */

#include "ngx_http_batch_form.h"
#include "ngx_http_batch_api_upload.h"


#define NGX_HTTP_BATCH_UPLOAD_TTL       3600              /* s */
#define NGX_HTTP_BATCH_UPLOAD_BYTES     8589934592        /* of a file: 8 GB */
#define NGX_HTTP_BATCH_UPLOAD_PART      67108864          /* bytes: 64 MB */
#define NGX_HTTP_BATCH_UPLOAD_NAME      255               /* bytes */


/* from the op's pool */

typedef struct {
    ngx_http_batch_form_t           form;      /* of a call that adds one */
    char                            part[BATCH_ID_LEN];
    int64_t                         now;       /* us */
    ngx_uint_t                      nparts;    /* on disk */
    off_t                           sum;       /* their bytes */
    ngx_http_batch_upload_state_t   st;
} ngx_http_batch_api_part_t;


static void ngx_http_batch_api_upload_cleanup(void *state);
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

static ngx_int_t ngx_http_batch_api_upload_op(ngx_http_request_t *r,
    ngx_http_batch_op_run_pt run, ngx_http_batch_op_pt done);
static void ngx_http_batch_api_upload_show(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_cancel_run(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_shown(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_cancel_done(ngx_http_batch_op_t *op);

static void ngx_http_batch_api_upload_part_load(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_part_loaded(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_part_end(ngx_http_batch_op_t *op);
static void ngx_http_batch_api_upload_part_publish(ngx_http_batch_op_t *op,
    ngx_log_t *log);
static void ngx_http_batch_api_upload_part_published(ngx_http_batch_op_t *op);


static const ngx_str_t  ngx_http_batch_api_part_fields[] = {
    ngx_null_string,
    ngx_string("data")
};

static const char  ngx_http_batch_api_part_too_large[] =
    "Part is too large. Expected at most 67108864 bytes.";


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
    ngx_str_t  *tenant;

    ngx_http_batch_uploads_free(st);

    op->rc = ngx_http_batch_uploads_load(op->id, batch_clock_sec(), st,
                                              log);
    op->err = ngx_errno;

    if (op->rc != NGX_OK) {
        return;
    }

    tenant = &st->upload.tenant;

    if (tenant->len != op->tenant.len
        || ngx_memcmp(tenant->data, op->tenant.data, tenant->len) != 0)
    {
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
        ngx_http_batch_op_finish(op,
                                 op->r ? ngx_http_batch_send_no_upload(op->r)
                                       : NGX_OK);
        return NGX_DONE;

    case NGX_ABORT:
        ngx_http_batch_op_unavailable(op, NGX_ABORT);
        return NGX_DONE;

    default:
        ngx_http_batch_op_disk_error(op);
        return NGX_DONE;
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


ngx_int_t
ngx_http_batch_api_upload_create(ngx_http_request_t *r)
{
    return ngx_http_batch_body_json(r, NGX_HTTP_BATCH_API_JSON_MAX,
                                    ngx_http_batch_api_upload_create_parsed);
}


static ngx_int_t
ngx_http_batch_api_upload_create_params(ngx_http_batch_op_t *op)
{
    json_t                   *value;
    int64_t                   seconds;
    ngx_http_batch_upload_t  *u;

    u = op->data;

    if (ngx_http_batch_api_upload_create_name(op, u) != NGX_OK
        || ngx_http_batch_api_upload_create_purpose(op, u) != NGX_OK
        || ngx_http_batch_api_upload_create_bytes(op, u) != NGX_OK
        || ngx_http_batch_param_string(op, "mime_type", 1, &u->mime_type)
           != NGX_OK)
    {
        return NGX_DONE;
    }

    if (u->mime_type.len > NGX_HTTP_BATCH_UPLOAD_NAME) {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "mime_type",
                                 "string_above_max_length",
                                 "Invalid 'mime_type': string too long. "
                                 "Expected a string with maximum length %d.",
                                 NGX_HTTP_BATCH_UPLOAD_NAME);
        return NGX_DONE;
    }

    seconds = 0;
    value = json_object_get(op->root, "expires_after");

    if (value && !json_is_null(value)
        && ngx_http_batch_param_expires(op, "expires_after", value, &seconds)
           != NGX_OK)
    {
        return NGX_DONE;
    }

    u->tenant = op->tenant;
    u->created_us = batch_clock_us();
    u->expires_at = u->created_us / 1000000 + NGX_HTTP_BATCH_UPLOAD_TTL;

    if (seconds) {
        u->file_expires_at = u->created_us / 1000000 + seconds;

    } else if (ngx_http_batch_for_batch(&u->purpose) && op->conf->file_ttl) {
        u->file_expires_at = u->created_us / 1000000 + op->conf->file_ttl;
    }

    return NGX_OK;
}


/* as with a part's filename: no directories, no control bytes, 255 bytes */

static ngx_int_t
ngx_http_batch_api_upload_create_name(ngx_http_batch_op_t *op,
    ngx_http_batch_upload_t *u)
{
    u_char     *p, *last;
    size_t      len;
    ngx_str_t   s;

    if (ngx_http_batch_param_string(op, "filename", 1, &s) != NGX_OK) {
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
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, "filename",
                                 "invalid_value",
                                 "Invalid 'filename': empty string. Expected "
                                 "the name of a file.");
        return NGX_DONE;
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

    if (ngx_http_batch_param_string(op, "purpose", !optional, &s) != NGX_OK) {
        return NGX_DONE;
    }

    if (optional && s.len == 0) {
        u->purpose = ngx_http_batch_purpose;
        return NGX_OK;
    }

    return ngx_http_batch_param_purpose(op, s.data, s.len, &u->purpose);
}


static ngx_int_t
ngx_http_batch_api_upload_create_bytes(ngx_http_batch_op_t *op,
    ngx_http_batch_upload_t *u)
{
    u_char    text[NGX_INT64_LEN + 1], *end;
    off_t     max;
    json_t   *value;
    int64_t   n;

    value = json_object_get(op->root, "bytes");

    if (value == NULL) {
        ngx_http_batch_param_missing(op, "bytes");
        return NGX_DONE;
    }

    if (!json_is_integer(value)) {
        ngx_http_batch_param_type(op, "bytes", "an integer", value);
        return NGX_DONE;
    }

    max = NGX_HTTP_BATCH_UPLOAD_BYTES;

    if (ngx_http_batch_for_batch(&u->purpose)
        && op->conf->max_file_size && op->conf->max_file_size < max)
    {
        max = op->conf->max_file_size;
    }

    end = ngx_sprintf(text, "%L", (int64_t) json_integer_value(value));

    if (ngx_http_batch_param_int(op, "bytes", text, end - text, 1, max, &n)
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

    if (batch_id_make(BATCH_ID_UPLOAD, u->id) == 0) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                      "no random bytes for an upload id");
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    ngx_http_batch_quota_take(op, NGX_HTTP_BATCH_USE_FILES, u->id, u->bytes,
                              NGX_HTTP_BATCH_UPLOAD_TTL * 1000
                              + NGX_HTTP_BATCH_QUOTA_HOLD,
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

    ngx_http_batch_op_json(op,
                           ngx_http_batch_render_upload(u,
                                              NGX_HTTP_BATCH_UPLOAD_PENDING,
                                              NULL));
}


/* the way of the calls that need nothing but the disk */

static ngx_int_t
ngx_http_batch_api_upload_op(ngx_http_request_t *r,
    ngx_http_batch_op_run_pt run, ngx_http_batch_op_pt done)
{
    ngx_http_batch_op_t       *op;
    ngx_http_batch_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (!batch_id_check(BATCH_ID_UPLOAD, ctx->id.data, ctx->id.len)) {
        return ngx_http_batch_send_no_upload(r);
    }

    op = ngx_http_batch_op_create(r);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->data = ngx_http_batch_api_upload_data(op,
                                       sizeof(ngx_http_batch_upload_state_t),
                                       0);
    if (op->data == NULL) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return NGX_DONE;
    }

    (void) ngx_http_batch_op_task(op, run, done);

    return NGX_DONE;
}


/* an extension: OpenAI's service has no such call */

ngx_int_t
ngx_http_batch_api_upload(ngx_http_request_t *r)
{
    return ngx_http_batch_api_upload_op(r, ngx_http_batch_api_upload_show,
                                        ngx_http_batch_api_upload_shown);
}


static void
ngx_http_batch_api_upload_show(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_upload_read(op, op->data, log);
}


static void
ngx_http_batch_api_upload_shown(ngx_http_batch_op_t *op)
{
    ngx_http_batch_upload_state_t *st = op->data;

    if (ngx_http_batch_api_upload_check(op) == NGX_OK) {
        ngx_http_batch_op_json(op,
                         ngx_http_batch_render_upload(&st->upload, st->status,
                                                      &st->file));
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

    if (ngx_http_batch_quota_any(op, NGX_HTTP_BATCH_USE_FILES)) {
        (void) ngx_http_batch_index_use_drop(NGX_HTTP_BATCH_USE_FILES, &op->tenant,
                                         op->id, NULL, NULL);
    }

    ngx_http_batch_api_upload_shown(op);
}


ngx_int_t
ngx_http_batch_api_upload_part(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_http_batch_op_t        *op;
    ngx_http_batch_api_part_t  *pt;
    ngx_http_batch_api_ctx_t   *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_batch_module);

    if (!batch_id_check(BATCH_ID_UPLOAD, ctx->id.data, ctx->id.len)) {
        return ngx_http_batch_send_no_upload(r);
    }

    if (ngx_http_batch_form_check(r, &ngx_http_batch_api_part_fields[1],
                                  NGX_HTTP_BATCH_UPLOAD_PART,
                                  ngx_http_batch_api_part_too_large, &rc)
        != NGX_OK)
    {
        return rc;
    }

    op = ngx_http_batch_op_create(r);
    if (op == NULL) {
        return NGX_ERROR;
    }

    pt = ngx_http_batch_api_upload_data(op, sizeof(ngx_http_batch_api_part_t),
                                        offsetof(ngx_http_batch_api_part_t,
                                                 st));
    if (pt == NULL) {
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return NGX_DONE;
    }

    op->data = pt;

    pt->form.names = ngx_http_batch_api_part_fields;
    pt->form.n = 2;
    pt->form.max = NGX_HTTP_BATCH_UPLOAD_PART;
    pt->form.too_large = ngx_http_batch_api_part_too_large;
    pt->form.on_end = ngx_http_batch_api_upload_part_end;

    if (ngx_http_batch_form_init(op) == NGX_OK) {
        (void) ngx_http_batch_op_task(op, ngx_http_batch_api_upload_part_load,
                                      ngx_http_batch_api_upload_part_loaded);
    }

    return NGX_DONE;
}


static void
ngx_http_batch_api_upload_part_load(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_part_t *pt = op->data;

    ngx_http_batch_api_upload_read(op, &pt->st, log);

    if (op->rc == NGX_OK && pt->st.status == NGX_HTTP_BATCH_UPLOAD_PENDING) {
        op->rc = ngx_http_batch_parts_sum(op->id, &pt->nparts, &pt->sum,
                                                log);
        op->err = ngx_errno;
    }
}


static void
ngx_http_batch_api_upload_part_loaded(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t *pt = op->data;

    if (ngx_http_batch_api_upload_check(op) != NGX_OK) {
        return;
    }

    if (pt->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_api_upload_ended(op, "add a part to", pt->st.status);
        return;
    }

    /* parts that were sent twice are no mistake, but there is an end to it */

    if (pt->nparts >= NGX_HTTP_BATCH_UPLOAD_PARTS_MAX
        || pt->sum > 2 * pt->st.upload.bytes + NGX_HTTP_BATCH_UPLOAD_PART)
    {
        ngx_http_batch_op_reject(op, NGX_HTTP_BAD_REQUEST, NULL,
                                 "too_many_parts",
                                 "The upload has too many parts: %ui parts of "
                                 "%O bytes for a file of %O bytes.",
                                 pt->nparts, pt->sum, pt->st.upload.bytes);
        return;
    }

    ngx_http_batch_body_start(op);
}


static void
ngx_http_batch_api_upload_part_end(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t *pt = op->data;

    if (batch_id_make(BATCH_ID_PART, pt->part) == 0) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                      "no random bytes for a part id");
        ngx_http_batch_op_unavailable(op, NGX_ERROR);
        return;
    }

    pt->now = batch_clock_us();

    if (ngx_http_batch_op_task(op, ngx_http_batch_api_upload_part_publish,
                               ngx_http_batch_api_upload_part_published)
        == NGX_OK)
    {
        op->abandon = NULL;
    }
}


static void
ngx_http_batch_api_upload_part_publish(ngx_http_batch_op_t *op, ngx_log_t *log)
{
    ngx_http_batch_api_part_t *pt = op->data;

    if (ngx_http_batch_form_flush(op, log) != NGX_OK) {
        return;
    }

    /* its status may have changed while the body came */

    ngx_http_batch_api_upload_read(op, &pt->st, log);

    if (op->rc != NGX_OK || pt->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_store_tmp_delete(pt->form.tmp, log);
        return;
    }

    op->rc = ngx_http_batch_parts_publish(op->id, pt->part, op->fd,
                                               pt->form.tmp, log);
    op->err = ngx_errno;
}


static void
ngx_http_batch_api_upload_part_published(ngx_http_batch_op_t *op)
{
    ngx_http_batch_api_part_t *pt = op->data;

    if (ngx_http_batch_api_upload_check(op) != NGX_OK) {
        return;
    }

    if (pt->st.status != NGX_HTTP_BATCH_UPLOAD_PENDING) {
        ngx_http_batch_api_upload_ended(op, "add a part to", pt->st.status);
        return;
    }

    ngx_http_batch_op_json(op, json_pack("{s:s,s:s,s:I,s:s}", "id", pt->part,
                                         "object", "upload.part",
                                         "created_at",
                                         (json_int_t) (pt->now / 1000000),
                                         "upload_id", op->id));
}
